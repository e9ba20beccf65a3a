//! The servers that other tests start answer and count what they are asked.

mod common;

use common::{Postgres, Redis};

#[test]
fn postgresql_counts_statements() {
    let Some(postgres) = Postgres::start() else { return };
    for number in 0..3 {
        assert_eq!(postgres.query(&format!("SELECT {number} + 100")), (number + 100).to_string());
    }
    let calls = "SELECT calls FROM pg_stat_statements WHERE query = 'SELECT $1 + $2'";
    assert_eq!(postgres.query(calls), "3");
    let socket = postgres.socket_folder().join(format!(".s.PGSQL.{}", postgres.port()));
    assert!(socket.exists());
}

#[test]
fn redis_counts_commands() {
    let Some(redis) = Redis::start() else { return };
    assert!(redis.ask("GET nothing").starts_with("$-1"));
    assert!(redis.ask("INFO commandstats").contains("cmdstat_get:calls=1,"));
}
