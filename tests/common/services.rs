//! Servers that applications talk to: the real PostgreSQL, MariaDB and Redis, as Debian's
//! packages have them, on free ports of the loopback interface and with their files in
//! folders of their own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{PATIENCE, signal, skip};

/// How often a port that was free a moment ago may be taken by another.
const PORTS_TRIED: u32 = 5;

/// A port of the loopback interface that nobody listens on now.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there are free ports");
    listener.local_addr().expect("it is bound").port()
}

/// A server that a test started: ended by its PID when it is dropped.
struct Server {
    child: Child,
    /// The signal that ends it soon.
    end: &'static str,
}

impl Server {
    fn spawn(mut command: Command, end: &'static str) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        Self { child, end }
    }

    /// Waits until `ready` says so; `false` if the server ends before.
    fn wait(&mut self, ready: impl Fn() -> bool) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.child.try_wait().expect("it is our child").is_some() {
                return false;
            }
            if ready() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the server does not answer within {PATIENCE:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            signal(self.end, self.child.id());
            let deadline = Instant::now() + Duration::from_secs(5);
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A user that a server which refuses root can run as: name, number and group.
fn plain_user() -> Option<(u32, u32)> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let numbers = |name: &str| {
        let mut fields =
            users.lines().find(|line| line.split(':').next() == Some(name))?.split(':');
        let user = fields.nth(2)?.parse().ok()?;
        Some((user, fields.next()?.parse().ok()?))
    };
    numbers("postgres").or_else(|| numbers("nobody"))
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// The folder with PostgreSQL's programs: Debian keeps them out of the search path.
fn postgres_folder() -> Option<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort();
    let in_path = std::env::var_os("PATH").unwrap_or_default();
    let folders = versions.into_iter().rev().map(|(_, folder)| folder);
    folders
        .chain(std::env::split_paths(&in_path))
        .find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
}

/// A PostgreSQL with an empty database `postgres`, whose user of the same name needs no
/// password. It counts statements (`pg_stat_statements`).
pub(crate) struct Postgres {
    _server: Server,
    port: u16,
    programs: PathBuf,
    folder: TempDir,
}

impl Postgres {
    /// Starts one; `None`, said, if there is no PostgreSQL here.
    pub(crate) fn start() -> Option<Self> {
        let Some(programs) = postgres_folder() else {
            skip("PostgreSQL (the package postgresql) not found");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("pg").tempdir().expect("a temporary folder");
        let user = if is_root() { plain_user() } else { None };
        if let Some((user, group)) = user {
            chown(folder.path(), Some(user), Some(group)).expect("root may");
        }
        let command = |program: &str| {
            let program = programs.join(program);
            let Some((user, group)) = user else { return Command::new(program) };
            let mut command = Command::new("setpriv");
            command.arg(format!("--reuid={user}")).arg(format!("--regid={group}"));
            command.arg("--clear-groups").arg("--").arg(program);
            command
        };
        let data = folder.path().join("data");
        let output = command("initdb")
            .arg("-D")
            .arg(&data)
            .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync"])
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .expect("initdb starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for _ in 0..PORTS_TRIED {
            let port = free_port();
            let mut postgres = command("postgres");
            postgres.arg("-D").arg(&data).arg("-k").arg(folder.path());
            postgres.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-F"]).current_dir("/");
            for setting in [
                "shared_preload_libraries=pg_stat_statements",
                "pg_stat_statements.track=top",
                "max_connections=200",
                // Nothing that the tests do not ask for.
                "autovacuum=off",
            ] {
                postgres.args(["-c", setting]);
            }
            // SIGQUIT is its "immediate shutdown".
            let mut server = Server::spawn(postgres, "QUIT");
            let answers = || psql(&programs, port, "SELECT 1").is_some();
            if server.wait(answers) {
                let started = Self { _server: server, port, programs, folder };
                started.query("CREATE EXTENSION pg_stat_statements");
                return Some(started);
            }
        }
        panic!("PostgreSQL does not start");
    }

    /// The port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its unix socket, `.s.PGSQL.PORT`.
    pub(crate) fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// What `libpq` and everything built on it connects with.
    pub(crate) fn dsn(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres dbname=postgres", self.port)
    }

    /// The same as an address: `postgresql://…`.
    pub(crate) fn url(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Has a statement carried out: rows by line, columns with `|` between them.
    pub(crate) fn query(&self, statement: &str) -> String {
        psql(&self.programs, self.port, statement).expect("PostgreSQL carries it out")
    }
}

fn psql(programs: &Path, port: u16, statement: &str) -> Option<String> {
    let output = Command::new(programs.join("psql"))
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "postgres"])
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement])
        .stdin(Stdio::null())
        .output()
        .expect("psql starts");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A program that is in the search path or where only root usually looks.
fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// A MariaDB whose user `farrier` needs no password.
pub(crate) struct MariaDb {
    _server: Server,
    port: u16,
    _folder: TempDir,
}

impl MariaDb {
    /// Starts one; `None`, said, if there is no MariaDB here.
    pub(crate) fn start() -> Option<Self> {
        let programs = find_program("mariadbd").zip(find_program("mariadb-install-db"));
        let Some((program, install)) = programs else {
            skip("MariaDB (the package mariadb-server) not found");
            return None;
        };
        let folder = TempDir::new().expect("a temporary folder");
        let data = folder.path().join("data");
        let as_root: &[&str] = if is_root() { &["--user=root"] } else { &[] };
        let output = Command::new(install)
            .args(["--no-defaults", "--auth-root-authentication-method=normal"])
            .args(["--skip-test-db", "--skip-name-resolve"])
            .args(as_root)
            .arg(format!("--datadir={}", data.display()))
            .stdin(Stdio::null())
            .output()
            .expect("mariadb-install-db starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let init = folder.path().join("init.sql");
        let users = "CREATE USER farrier@'127.0.0.1'; GRANT ALL ON *.* TO farrier@'127.0.0.1';";
        std::fs::write(&init, format!("{}\n", users.replace("; ", ";\n")))
            .expect("a temporary folder");
        for _ in 0..PORTS_TRIED {
            let port = free_port();
            let mut mariadb = Command::new(&program);
            mariadb.arg("--no-defaults").args(as_root).args(["--bind-address=127.0.0.1"]);
            mariadb.arg(format!("--port={port}")).arg("--skip-name-resolve");
            for (option, file) in [
                ("datadir", &data),
                ("init-file", &init),
                ("socket", &folder.path().join("socket")),
                ("pid-file", &folder.path().join("pid")),
            ] {
                mariadb.arg(format!("--{option}={}", file.display()));
            }
            // SIGKILL: it has nothing to keep, and takes seconds to end.
            let mut server = Server::spawn(mariadb, "KILL");
            if server.wait(|| TcpStream::connect(("127.0.0.1", port)).is_ok()) {
                return Some(Self { _server: server, port, _folder: folder });
            }
        }
        panic!("MariaDB does not start");
    }

    /// The port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

/// A Redis that saves nothing.
pub(crate) struct Redis {
    _server: Server,
    port: u16,
    _folder: TempDir,
}

impl Redis {
    /// Starts one; `None`, said, if there is no Redis here.
    pub(crate) fn start() -> Option<Self> {
        let Some(program) = find_program("redis-server") else {
            skip("Redis (the package redis-server) not found");
            return None;
        };
        let folder = TempDir::new().expect("a temporary folder");
        for _ in 0..PORTS_TRIED {
            let port = free_port();
            let mut redis = Command::new(&program);
            redis.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
            redis.args(["--appendonly", "no", "--daemonize", "no", "--dir"]).arg(folder.path());
            let mut server = Server::spawn(redis, "TERM");
            if server.wait(|| ask(port, "PING").is_some_and(|answer| answer.starts_with("+PONG"))) {
                return Some(Self { _server: server, port, _folder: folder });
            }
        }
        panic!("Redis does not start");
    }

    /// The port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The answer to an inline command, as it comes.
    pub(crate) fn ask(&self, command: &str) -> String {
        ask(self.port, command).expect("Redis answers")
    }
}

/// One inline command on a connection of its own.
fn ask(port: u16, command: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "{command}\r\nQUIT\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
