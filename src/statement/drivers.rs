//! Where database drivers and frameworks keep what they ask: a table.
//!
//! What is not here cannot be seen. psycopg2's own cursor and connection are C, and so is
//! `sqlite3`: their calls have no Python frame, and the text is only in one of a framework or
//! of psycopg2's `extras` above them. A coroutine that waits is on no stack; asyncpg and the
//! asynchronous clients are seen while their code runs.

use super::Dialect;

/// A function of a driver, while which runs one execution of a statement is under way.
#[derive(Debug)]
pub(super) struct Driver {
    /// The file: the end of its path, or with a `/` at its end a part of it.
    file: &'static str,
    /// Its functions, without their class.
    functions: &'static [&'static str],
    pub(super) says: Says,
    /// The local with the values that go with the text: they are what differs from one
    /// execution to the next.
    pub(super) parameters: Option<&'static str>,
    pub(super) quoting: Quoting,
    /// A framework calls a driver; what the framework asks for still has its placeholders.
    pub(super) is_framework: bool,
}

/// Where the text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    /// In this local, a `str` or `bytes`.
    Local(&'static str),
    /// The name of a command is the first item of the tuple in this local.
    Command(&'static str),
    /// It is always the same.
    Always(&'static str),
}

/// How the dialect is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quoting {
    Of(Dialect),
    /// By the type of `self`, such as `PGDialect_psycopg2`.
    SqlAlchemy,
    /// By `self.db.settings_dict["ENGINE"]`.
    Django,
}

const fn driver(
    file: &'static str,
    functions: &'static [&'static str],
    says: Says,
    parameters: Option<&'static str>,
    quoting: Quoting,
) -> Driver {
    let is_framework = matches!(quoting, Quoting::SqlAlchemy | Quoting::Django);
    Driver { file, functions, says, parameters, quoting, is_framework }
}

const POSTGRES: Quoting = Quoting::Of(Dialect::Postgres);
const MYSQL: Quoting = Quoting::Of(Dialect::MySql);
const NONE: Quoting = Quoting::Of(Dialect::Unknown);

use Quoting::{Django, SqlAlchemy};
use Says::{Always, Command, Local};

const DRIVERS: &[Driver] = &[
    // SQLAlchemy 1.3 to 2.1: `engine/default.py`, and dialects that have their own.
    driver(
        "/sqlalchemy/",
        &["do_execute", "do_executemany"],
        Local("statement"),
        Some("parameters"),
        SqlAlchemy,
    ),
    driver("/sqlalchemy/", &["do_execute_no_params"], Local("statement"), None, SqlAlchemy),
    driver("/sqlalchemy/", &["do_commit"], Always("COMMIT"), None, SqlAlchemy),
    driver("/sqlalchemy/", &["do_rollback"], Always("ROLLBACK"), None, SqlAlchemy),
    driver("/django/db/backends/utils.py", &["_execute"], Local("sql"), Some("params"), Django),
    driver(
        "/django/db/backends/utils.py",
        &["_executemany"],
        Local("sql"),
        Some("param_list"),
        Django,
    ),
    driver("/django/db/backends/base/base.py", &["_commit"], Always("COMMIT"), None, Django),
    driver("/django/db/backends/base/base.py", &["_rollback"], Always("ROLLBACK"), None, Django),
    // psycopg 3. Its generators are not on the stack while it waits.
    driver("/psycopg/cursor.py", &["execute"], Local("query"), Some("params"), POSTGRES),
    driver("/psycopg/cursor.py", &["executemany"], Local("query"), Some("params_seq"), POSTGRES),
    driver("/psycopg/cursor.py", &["stream"], Local("query"), Some("params"), POSTGRES),
    driver("/psycopg/server_cursor.py", &["execute"], Local("query"), Some("params"), POSTGRES),
    driver("/psycopg/connection.py", &["commit"], Always("COMMIT"), None, POSTGRES),
    driver("/psycopg/connection.py", &["rollback"], Always("ROLLBACK"), None, POSTGRES),
    driver("/psycopg/cursor_async.py", &["execute"], Local("query"), Some("params"), POSTGRES),
    // psycopg2: only where its cursors are subclassed in Python.
    driver("/psycopg2/extras.py", &["execute"], Local("query"), Some("vars"), POSTGRES),
    driver(
        "/psycopg2/extras.py",
        &["execute_batch", "execute_values"],
        Local("sql"),
        Some("argslist"),
        POSTGRES,
    ),
    // PyMySQL and mysqlclient put the values into the text before they send it.
    driver("/pymysql/cursors.py", &["execute"], Local("query"), Some("args"), MYSQL),
    driver("/pymysql/connections.py", &["query"], Local("sql"), None, MYSQL),
    driver("/pymysql/connections.py", &["commit"], Always("COMMIT"), None, MYSQL),
    driver("/pymysql/connections.py", &["rollback"], Always("ROLLBACK"), None, MYSQL),
    driver("/MySQLdb/cursors.py", &["execute"], Local("query"), Some("args"), MYSQL),
    driver("/MySQLdb/cursors.py", &["_query"], Local("q"), None, MYSQL),
    driver(
        "/asyncpg/connection.py",
        &["_do_execute", "__execute", "_execute", "execute", "fetch", "fetchrow", "fetchval"],
        Local("query"),
        None,
        POSTGRES,
    ),
    driver("/redis/client.py", &["execute_command"], Command("args"), Some("args"), NONE),
    driver("/redis/cluster.py", &["execute_command"], Command("args"), Some("args"), NONE),
    driver("/redis/asyncio/client.py", &["execute_command"], Command("args"), Some("args"), NONE),
    driver("/redis/client.py", &["_execute_transaction"], Always("MULTI"), None, NONE),
    driver("/redis/client.py", &["_execute_pipeline"], Always("PIPELINE"), None, NONE),
];

/// What a function is known for, by its name (qualified or not) and its file.
pub(super) fn driver_of(name: &str, file: &str) -> Option<&'static Driver> {
    let plain = name.rsplit('.').next().unwrap_or(name);
    DRIVERS.iter().find(|driver| {
        driver.functions.contains(&plain)
            && if driver.file.ends_with('/') {
                file.contains(driver.file)
            } else {
                file.ends_with(driver.file)
            }
    })
}

/// Whose quoting an SQLAlchemy dialect or a Django engine of this name keeps to.
pub(super) fn dialect_named(name: &str) -> Dialect {
    const NAMES: &[(&str, Dialect)] = &[
        ("PGDialect", Dialect::Postgres),
        ("postgresql", Dialect::Postgres),
        ("postgis", Dialect::Postgres),
        ("MySQL", Dialect::MySql),
        ("MariaDB", Dialect::MySql),
        ("mysql", Dialect::MySql),
        ("SQLite", Dialect::Sqlite),
        ("sqlite3", Dialect::Sqlite),
    ];
    NAMES
        .iter()
        .find(|(part, _)| name.contains(part))
        .map_or(Dialect::Unknown, |(_, dialect)| *dialect)
}

/// The name of a command of Redis: its first word, and the second of those that have
/// subcommands. `None` for what is no command's name, and may be anything.
pub(super) fn command_name(text: &str) -> Option<String> {
    const WITH_SUBCOMMANDS: &[&str] = &[
        "ACL", "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "DEBUG", "FUNCTION", "LATENCY", "MEMORY",
        "MODULE", "OBJECT", "PUBSUB", "SCRIPT", "SENTINEL", "SLOWLOG", "XGROUP", "XINFO",
    ];
    let is_name = |word: &&str| {
        let known = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        word.len() <= 24
            && word.starts_with(|c: char| c.is_ascii_alphabetic())
            && word.chars().all(known)
    };
    let mut words = text.split_ascii_whitespace();
    let first = words.next().filter(is_name)?.to_ascii_uppercase();
    if !WITH_SUBCOMMANDS.contains(&first.as_str()) {
        return Some(first);
    }
    Some(match words.next().filter(is_name) {
        Some(second) => format!("{first} {}", second.to_ascii_uppercase()),
        None => first,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_known_with_and_without_their_class() {
        let says = |name: &str, file: &str| driver_of(name, file).map(|driver| driver.says);
        let sqlalchemy = "/venv/lib/python3.8/site-packages/sqlalchemy/engine/default.py";
        assert_eq!(says("do_execute", sqlalchemy), Some(Local("statement")));
        assert_eq!(says("DefaultDialect.do_execute", sqlalchemy), Some(Local("statement")));
        assert_eq!(says("execute", "/venv/psycopg/cursor.py"), Some(Local("query")));
        assert_eq!(says("execute", "/app/psycopg/other.py"), None);
        assert_eq!(says("Redis.execute_command", "/venv/redis/client.py"), Some(Command("args")));
        assert_eq!(says("do_execute", "/app/views.py"), None);
    }

    #[test]
    fn a_command_is_its_name_alone() {
        assert_eq!(command_name("GET").as_deref(), Some("GET"));
        assert_eq!(command_name("set alice secret").as_deref(), Some("SET"));
        assert_eq!(command_name("CONFIG GET").as_deref(), Some("CONFIG GET"));
        assert_eq!(command_name("config get secret").as_deref(), Some("CONFIG GET"));
        assert_eq!(command_name("FT.SEARCH").as_deref(), Some("FT.SEARCH"));
        for text in ["", " ", "4711", "alice@example.org", "a:b", "\u{fc}ber"] {
            assert_eq!(command_name(text), None, "{text}");
        }
    }

    #[test]
    fn dialects_are_told_by_what_they_are_called() {
        assert_eq!(dialect_named("PGDialect_psycopg2"), Dialect::Postgres);
        assert_eq!(dialect_named("MySQLDialect_pymysql"), Dialect::MySql);
        assert_eq!(dialect_named("SQLiteDialect_pysqlite"), Dialect::Sqlite);
        assert_eq!(dialect_named("django.db.backends.postgresql"), Dialect::Postgres);
        assert_eq!(dialect_named("OracleDialect_oracledb"), Dialect::Unknown);
    }
}
