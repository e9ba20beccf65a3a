//! Which service usually listens on a port: a table.

use std::net::SocketAddr;

/// Ports with the name of their service. Only what a web application talks to, and
/// only where a port has one usual meaning.
const SERVICES: &[(u16, &str)] = &[
    (25, "smtp"),
    (53, "dns"),
    (80, "http"),
    (88, "kerberos"),
    (389, "ldap"),
    (443, "https"),
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
    (8443, "https"),
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

/// The service that usually listens on a port.
pub fn service(port: u16) -> Option<&'static str> {
    let at = SERVICES.binary_search_by_key(&port, |(port, _)| *port).ok()?;
    SERVICES.get(at).map(|(_, name)| *name)
}

/// A peer in words: `postgresql 10.0.0.5:5432`, or the address alone where the port
/// has no usual meaning.
pub fn describe(peer: SocketAddr) -> String {
    match service(peer.port()) {
        Some(service) => format!("{service} {peer}"),
        None => peer.to_string(),
    }
}

/// The service that is known by the name of its unix socket.
pub fn describe_path(path: &str) -> String {
    const NAMES: &[(&str, &str)] = &[
        (".s.PGSQL.", "postgresql"),
        ("mysql", "mysql"),
        ("redis", "redis"),
        ("memcached", "memcached"),
        ("docker.sock", "docker"),
    ];
    let file = path.rsplit('/').next().unwrap_or(path);
    match NAMES.iter().find(|(part, _)| file.contains(part)) {
        Some((_, service)) => format!("{service} {path}"),
        None => format!("unix {path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_rise_so_that_they_are_found() {
        assert!(SERVICES.is_sorted_by(|one, next| one.0 < next.0));
    }

    #[test]
    fn a_peer_is_its_service_and_its_address() {
        let described = |peer: &str| describe(peer.parse().unwrap());
        assert_eq!(described("10.0.0.5:5432"), "postgresql 10.0.0.5:5432");
        assert_eq!(described("[::1]:6379"), "redis [::1]:6379");
        assert_eq!(described("10.0.0.9:18101"), "10.0.0.9:18101");
        let path = "/var/run/postgresql/.s.PGSQL.5432";
        assert_eq!(describe_path(path), format!("postgresql {path}"));
        assert_eq!(describe_path("/run/app.sock"), "unix /run/app.sock");
    }
}
