//! What the far end of a connection is called: by the client library, by the program that
//! listens, by the port. Tables, and which of them counts.

use std::net::SocketAddr;

/// Ports with the name of their service. Only what a web application talks to, and
/// only where a port has one usual meaning.
const SERVICES: &[(u16, &str)] = &[
    (25, "smtp"),
    (53, "dns"),
    (80, "http"),
    (88, "kerberos"),
    (389, "ldap"),
    (443, "http"),
    (465, "smtp"),
    (587, "smtp"),
    (636, "ldap"),
    (1433, "sqlserver"),
    (1521, "oracle"),
    (1883, "mqtt"),
    (2049, "nfs"),
    (2181, "zookeeper"),
    (2379, "etcd"),
    (3128, "http"),
    (3306, "mysql"),
    (4222, "nats"),
    (4317, "otlp"),
    (4318, "otlp"),
    (5432, "postgresql"),
    (5671, "amqp"),
    (5672, "amqp"),
    (6379, "redis"),
    (6380, "redis"),
    (6432, "pgbouncer"),
    (6650, "pulsar"),
    (7687, "neo4j"),
    (8000, "http"),
    (8080, "http"),
    (8086, "influxdb"),
    (8123, "clickhouse"),
    (8125, "statsd"),
    (8200, "vault"),
    (8443, "http"),
    (8500, "consul"),
    (9042, "cassandra"),
    (9092, "kafka"),
    (9093, "kafka"),
    (9200, "elasticsearch"),
    (11211, "memcached"),
    (26379, "redis-sentinel"),
    (27017, "mongodb"),
    (27018, "mongodb"),
    (27019, "mongodb"),
    (33060, "mysql"),
    (50051, "grpc"),
];

/// Programs that are one service's, by the name that the kernel has for them: the first 15
/// bytes of the file's name.
const PROGRAMS: &[(&str, &str)] = &[
    ("clickhouse-serv", "clickhouse"),
    ("dnsmasq", "dns"),
    ("dragonfly", "redis"),
    ("etcd", "etcd"),
    ("gunicorn", "http"),
    ("haproxy", "haproxy"),
    ("influxd", "influxdb"),
    ("keydb-server", "redis"),
    ("mariadbd", "mysql"),
    ("memcached", "memcached"),
    ("mongod", "mongodb"),
    ("mongos", "mongodb"),
    ("mosquitto", "mqtt"),
    ("mysqld", "mysql"),
    ("named", "dns"),
    ("nats-server", "nats"),
    ("nginx", "http"),
    ("pgbouncer", "pgbouncer"),
    ("postgres", "postgresql"),
    ("postmaster", "postgresql"),
    ("redis-sentinel", "redis-sentinel"),
    ("redis-server", "redis"),
    ("slapd", "ldap"),
    ("systemd-resolve", "dns"),
    ("unbound", "dns"),
    ("uvicorn", "http"),
    ("uwsgi", "http"),
    ("valkey-server", "redis"),
    ("vault", "vault"),
];

/// Runtimes that run any program, and words of a command line that tell which.
const RUNTIMES: &[(&str, &[(&str, &str)])] = &[
    ("beam.smp", &[("rabbit", "amqp")]),
    (
        "java",
        &[
            ("org.elasticsearch.", "elasticsearch"),
            ("org.opensearch.", "elasticsearch"),
            ("kafka.Kafka", "kafka"),
            ("org.apache.zookeeper.", "zookeeper"),
            ("org.apache.cassandra.", "cassandra"),
        ],
    ),
    (
        "python",
        &[
            ("/gunicorn", "http"),
            ("/uvicorn", "http"),
            ("/hypercorn", "http"),
            ("/daphne", "http"),
            ("/waitress-serve", "http"),
            ("http.server", "http"),
        ],
    ),
];

/// What a program serves, by the name that the kernel has for it and its command line. A
/// Python program is `http` only if it is a known web server: it may speak anything else.
pub fn service_of_program(
    name: &str,
    command_line: &dyn Fn() -> Vec<String>,
) -> Option<&'static str> {
    if let Some((_, service)) = PROGRAMS.iter().find(|(program, _)| *program == name) {
        return Some(service);
    }
    // `python3.11` is a `python`.
    let (_, words) = RUNTIMES.iter().find(|(runtime, _)| {
        name.strip_prefix(runtime)
            .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
    })?;
    // The program itself and what it is to run; not the values of its options.
    let command_line = command_line();
    let known = words.iter().find(|(word, _)| command_line.iter().any(|is| is.contains(word)));
    known.map(|(_, service)| *service)
}

/// The service that usually listens on a port.
pub fn service_on_port(port: u16) -> Option<&'static str> {
    let at = SERVICES.binary_search_by_key(&port, |(port, _)| *port).ok()?;
    SERVICES.get(at).map(|(_, name)| *name)
}

/// What a service is spoken to in, where that is another's protocol.
fn protocol_of(service: &'static str) -> &'static str {
    match service {
        "elasticsearch" | "clickhouse" | "influxdb" | "vault" | "consul" | "etcd" | "otlp"
        | "grpc" | "haproxy" => "http",
        "pgbouncer" => "postgresql",
        "redis-sentinel" => "redis",
        other => other,
    }
}

/// What is spoken at the far end, by the program that listens there or else the port.
pub fn protocol(program: Option<&'static str>, port: u16) -> Option<&'static str> {
    program.or_else(|| service_on_port(port)).map(protocol_of)
}

/// The name of the far end's service, from what three witnesses say of it.
///
/// - The **client library** on the stack is what the thread speaks, whatever listens: a
///   `psycopg` behind a tunnel on port 9999 is `postgresql` all the same. But it may not
///   say which of several servers that speak alike it is, and there may be none on the
///   stack, as with a driver that is written in C.
/// - The **program that listens** on this host is who is there, whatever the port; but it
///   may only pass on what it is given.
/// - The **port** is a habit.
///
/// So the library decides, and one of the others only adds to it if it says something
/// that is spoken so: `elasticsearch` for `http`, `pgbouncer` for `postgresql`. Without a
/// library the program counts, and without that the port.
pub fn service(
    library: Option<&'static str>,
    program: Option<&'static str>,
    port: u16,
) -> Option<&'static str> {
    let port = service_on_port(port);
    match library {
        Some(library) => {
            let adds = |other: &&'static str| protocol_of(other) == library;
            program.filter(adds).or(port.filter(adds)).or(Some(library))
        }
        None => program.or(port),
    }
}

/// A peer in words: `postgresql 10.0.0.5:5432`, with the host's name in place of the
/// address where that is known, or without a service where that is not.
pub fn describe(peer: SocketAddr, service: Option<&str>, host: Option<&str>) -> String {
    match host {
        Some(host) => describe_place(host, peer.port(), service),
        None => with_service(peer.to_string(), service),
    }
}

/// The same of a host's name and a port.
pub fn describe_place(host: &str, port: u16, service: Option<&str>) -> String {
    with_service(format!("{host}:{port}"), service)
}

fn with_service(place: String, service: Option<&str>) -> String {
    match service {
        Some(service) => format!("{service} {place}"),
        None => place,
    }
}

/// What is spoken on a unix socket, by the name of its path.
pub fn protocol_of_path(path: &str) -> Option<&'static str> {
    const NAMES: &[(&str, &str)] = &[
        (".s.PGSQL.", "postgresql"),
        ("mysql", "mysql"),
        ("redis", "redis"),
        ("memcached", "memcached"),
        ("docker.sock", "docker"),
    ];
    let file = path.rsplit('/').next().unwrap_or(path);
    NAMES.iter().find(|(part, _)| file.contains(part)).map(|(_, service)| *service)
}

/// A unix socket in words: by the client library on the stack, or else by the name of its
/// path. Without a path it is an end of which the kernel does not say where it leads.
pub fn describe_path(path: Option<&str>, library: Option<&str>) -> String {
    const RESOLVERS: &[&str] = &["/nscd/socket", "/io.systemd.Resolve", "/sssd/pipes/nss"];
    let Some(path) = path else {
        return library
            .map_or("unix socket".to_owned(), |library| format!("{library} unix socket"));
    };
    let by_name = || match protocol_of_path(path) {
        Some(service) => Some(service),
        None => RESOLVERS.iter().any(|end| path.ends_with(end)).then_some("dns"),
    };
    match library.or_else(by_name) {
        Some(service) => format!("{service} {path}"),
        None => format!("unix {path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_rise_so_that_they_are_found() {
        assert!(SERVICES.is_sorted_by(|one, next| one.0 < next.0));
        assert!(PROGRAMS.iter().all(|(name, _)| name.len() <= 15), "the kernel keeps no more");
    }

    #[test]
    fn a_peer_is_its_service_and_its_address() {
        let described = |peer: &str| {
            let peer: SocketAddr = peer.parse().unwrap();
            describe(peer, service(None, None, peer.port()), None)
        };
        assert_eq!(described("10.0.0.5:5432"), "postgresql 10.0.0.5:5432");
        assert_eq!(described("[::1]:6379"), "redis [::1]:6379");
        assert_eq!(described("10.0.0.9:18101"), "10.0.0.9:18101");
        let peer = "10.0.0.9:443".parse().unwrap();
        assert_eq!(describe(peer, Some("http"), Some("api.example")), "http api.example:443");
        let path = "/var/run/postgresql/.s.PGSQL.5432";
        assert_eq!(describe_path(Some(path), None), format!("postgresql {path}"));
        assert_eq!(describe_path(Some("/run/app.sock"), None), "unix /run/app.sock");
        assert_eq!(describe_path(Some("/run/app.sock"), Some("redis")), "redis /run/app.sock");
        assert_eq!(describe_path(Some("/run/nscd/socket"), None), "dns /run/nscd/socket");
        assert_eq!(describe_path(None, Some("mysql")), "mysql unix socket");
    }

    #[test]
    fn the_library_decides_and_the_others_add() {
        for (library, program, port, expected) in [
            (None, None, 5432, Some("postgresql")),
            (None, None, 18101, None),
            (None, Some("postgresql"), 18101, Some("postgresql")),
            (None, Some("redis"), 5432, Some("redis")),
            (Some("postgresql"), None, 9999, Some("postgresql")),
            (Some("postgresql"), Some("pgbouncer"), 5432, Some("pgbouncer")),
            (Some("postgresql"), Some("haproxy"), 6379, Some("postgresql")),
            (Some("http"), None, 9200, Some("elasticsearch")),
            (Some("http"), None, 443, Some("http")),
            (Some("http"), Some("postgresql"), 5432, Some("http")),
        ] {
            assert_eq!(service(library, program, port), expected, "{library:?} {program:?} {port}");
        }
    }

    #[test]
    fn a_program_is_told_by_its_name_or_its_command_line() {
        let service = |name: &str, words: &[&str]| {
            service_of_program(name, &|| words.iter().map(|&word| word.to_owned()).collect())
        };
        assert_eq!(service("postgres", &[]), Some("postgresql"));
        assert_eq!(service("redis-server", &[]), Some("redis"));
        assert_eq!(service("beam.smp", &["-s", "rabbit", "boot"]), Some("amqp"));
        assert_eq!(service("beam.smp", &["-s", "couch"]), None);
        assert_eq!(service("python3.11", &["python", "/venv/bin/gunicorn", "a:b"]), Some("http"));
        assert_eq!(service("python3", &["python3", "queue_server.py"]), None);
        assert_eq!(service("pythonic", &["/gunicorn"]), None);
        assert_eq!(service("java", &["kafka.Kafka"]), Some("kafka"));
    }
}
