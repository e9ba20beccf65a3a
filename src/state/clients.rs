//! Client libraries by their files: which protocol a thread speaks that waits in one, and
//! where the library keeps the host's name.

/// What a function's file says of the far end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Client {
    /// Nothing: it is the application's, or of a package that is not known.
    #[default]
    Unknown,
    /// It is of the standard library, so that its caller may say more.
    Through,
    /// It speaks this protocol.
    Speaks(&'static str),
}

/// Where a function's frame has the name of the host that it is connected to, and the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostPlace {
    /// The local.
    pub local: &'static str,
    /// Its attributes of which the first that it has is the name; empty if the local is the
    /// name itself.
    pub attributes: &'static [&'static str],
    /// Its attribute with the port; another local if the local is the name itself.
    pub port: &'static str,
}

/// Packages that speak one protocol, by their folder or only file. A package that speaks
/// HTTP to servers of one kind is `http` here: the port or the listening program may say
/// more.
const PACKAGES: &[(&str, &[&str])] = &[
    ("amqp", &["aio_pika", "aiormq", "amqp", "amqpstorm", "pamqp", "pika"]),
    ("cassandra", &["cassandra"]),
    ("clickhouse", &["clickhouse_driver"]),
    ("dns", &["dns"]),
    ("grpc", &["grpc", "grpclib"]),
    (
        "http",
        &[
            "aiohttp",
            "botocore",
            "elastic_transport",
            "elasticsearch",
            "httpcore",
            "httplib2",
            "httpx",
            "opensearchpy",
            "requests",
            "urllib3",
        ],
    ),
    ("kafka", &["aiokafka", "confluent_kafka", "kafka"]),
    ("ldap", &["ldap", "ldap3"]),
    ("memcached", &["aiomcache", "bmemcached", "memcache.py", "pylibmc", "pymemcache"]),
    ("mongodb", &["motor", "pymongo"]),
    ("mqtt", &["paho"]),
    ("mysql", &["MySQLdb", "aiomysql", "asyncmy", "mysql", "pymysql"]),
    ("nats", &["nats"]),
    ("neo4j", &["neo4j"]),
    ("oracle", &["cx_Oracle", "oracledb"]),
    ("postgresql", &["aiopg", "asyncpg", "pg8000", "psycopg", "psycopg2"]),
    ("redis", &["aioredis", "coredis", "redis", "redis_lock", "rediscluster", "valkey"]),
    ("sqlserver", &["pymssql", "pytds"]),
    ("ssh", &["asyncssh", "paramiko"]),
    ("zookeeper", &["kazoo"]),
];

/// Files of the standard library that speak one protocol.
const STANDARD: &[(&str, &str)] = &[
    ("http/client.py", "http"),
    ("urllib/request.py", "http"),
    ("ftplib.py", "ftp"),
    ("imaplib.py", "imap"),
    ("poplib.py", "pop3"),
    ("smtplib.py", "smtp"),
];

/// The functions whose frame has the host's name: the end of the file, the name without its
/// class, and the place.
const HOSTS: &[(&str, &[&str], HostPlace)] = &[
    ("/socket.py", &["create_connection"], HOST),
    ("/urllib3/util/connection.py", &["create_connection"], HOST),
    (
        "/http/client.py",
        &["connect", "getresponse", "send", "endheaders", "_send_output", "request"],
        SELF_HOST,
    ),
    ("/urllib3/connection.py", &["_new_conn", "connect", "getresponse", "request"], SELF_HOST),
    ("/redis/connection.py", &["_connect", "connect", "read_response"], SELF_HOST),
    ("/pymysql/connections.py", &["connect", "_read_bytes", "_read_packet"], SELF_HOST),
];

const HOST: HostPlace = HostPlace { local: "host", attributes: &[], port: "port" };

/// urllib3's connection has `host` as a property, and keeps it as `_dns_host`.
const SELF_HOST: HostPlace =
    HostPlace { local: "self", attributes: &["host", "_dns_host"], port: "port" };

impl Client {
    pub(super) fn of(function_name: &str, file: &str) -> Self {
        if let Some(rest) = in_packages(file) {
            let package = rest.split('/').next().unwrap_or_default();
            let known = PACKAGES.iter().find(|(_, packages)| packages.contains(&package));
            return known.map_or(Self::Unknown, |(protocol, _)| Self::Speaks(protocol));
        }
        if !is_of_standard_library(file) {
            return Self::Unknown;
        }
        if file.ends_with("/socket.py") && last_part(function_name) == "getaddrinfo" {
            return Self::Speaks("dns");
        }
        let known = STANDARD.iter().find(|(end, _)| ends_with_path(file, end));
        known.map_or(Self::Through, |(_, protocol)| Self::Speaks(protocol))
    }
}

impl HostPlace {
    pub(super) fn of(function_name: &str, file: &str) -> Option<&'static Self> {
        let name = last_part(function_name);
        let is_library = in_packages(file).is_some() || is_of_standard_library(file);
        let known = HOSTS
            .iter()
            .find(|(end, names, _)| is_library && file.ends_with(end) && names.contains(&name));
        known.map(|(.., place)| place)
    }
}

/// What follows the folder that packages are installed in.
fn in_packages(file: &str) -> Option<&str> {
    let folders = ["/site-packages/", "/dist-packages/"];
    folders.iter().find_map(|folder| Some(file.rsplit_once(folder)?.1))
}

/// Whether a file is the standard library's: `…/lib/python3.11/queue.py`, `<frozen …>`, or
/// of a source tree's `Lib`.
fn is_of_standard_library(file: &str) -> bool {
    in_packages(file).is_none()
        && (file.starts_with("<frozen ")
            || ["/lib/python3.", "/lib64/python3.", "/Lib/"]
                .iter()
                .any(|folder| file.contains(folder)))
}

fn ends_with_path(file: &str, end: &str) -> bool {
    file.strip_suffix(end).is_some_and(|before| before.ends_with('/'))
}

fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Whether this can be the name of a host: letters, digits, `.`, `-` and `_`, as in RFC
/// 1123, and not an address. `localhost` says no more than the address does.
pub fn is_host_name(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
        && text != "localhost"
        && text.parse::<std::net::IpAddr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_is_spoken() {
        let venv = "/srv/venv/lib/python3.11/site-packages";
        let library = "/usr/lib/python3.11";
        for (file, function, expected) in [
            (format!("{venv}/redis/connection.py"), "read_response", Client::Speaks("redis")),
            (format!("{venv}/memcache.py"), "get", Client::Speaks("memcached")),
            (format!("{venv}/urllib3/connection.py"), "connect", Client::Speaks("http")),
            (format!("{venv}/sqlalchemy/engine/default.py"), "do_execute", Client::Unknown),
            (format!("{library}/http/client.py"), "begin", Client::Speaks("http")),
            (format!("{library}/socket.py"), "SocketIO.readinto", Client::Through),
            (format!("{library}/socket.py"), "getaddrinfo", Client::Speaks("dns")),
            ("/srv/app/redis/connection.py".to_owned(), "get", Client::Unknown),
            ("/srv/app/http/client.py".to_owned(), "get", Client::Unknown),
        ] {
            assert_eq!(Client::of(function, &file), expected, "{file}");
        }
    }

    #[test]
    fn hosts_are_where_libraries_keep_them() {
        let client = "/usr/lib/python3.11/http/client.py";
        let place = HostPlace::of("HTTPConnection.getresponse", client).unwrap();
        assert_eq!((place.local, place.attributes[0]), ("self", "host"));
        assert!(HostPlace::of("HTTPResponse.begin", client).is_none());
        assert!(HostPlace::of("create_connection", "/srv/app/socket.py").is_none());
    }

    #[test]
    fn only_names_are_names() {
        for name in ["api.example", "redis", "db-1.internal.", "a_b"] {
            assert!(is_host_name(name), "{name}");
        }
        let long = "a".repeat(254);
        for bad in ["", "10.0.0.1", "::1", "localhost", "a b", "a\u{1b}[2J", "é", "12", &long] {
            assert!(!is_host_name(bad), "{bad:?}");
        }
    }
}
