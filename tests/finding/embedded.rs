//! Servers that have an interpreter inside.

use std::fmt::Write as _;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::common::{alone, application, has_program, signal, skip, wait_until};
use crate::seen::Seen;

/// A server of `held_wsgi.py`, which is in a folder that every user may write to.
struct Server {
    child: Child,
    folder: TempDir,
    port: u16,
    /// Requests that never end.
    held: Vec<TcpStream>,
}

impl Server {
    /// Starts what `command` makes of a folder and a free port.
    fn start(command: impl FnOnce(&Path, u16) -> Command) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let everyone = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(folder.path(), everyone).expect("our own folder");
        std::fs::copy(application("held_wsgi.py"), folder.path().join("held_wsgi.py"))
            .expect("a temporary folder");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let port = port.expect("a free port").port();
        let log = std::fs::File::create(folder.path().join("log")).expect("a temporary folder");
        let mut command = command(folder.path(), port);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
        let child = command.spawn().expect("the server starts");
        Self { child, folder, port, held: Vec::new() }
    }

    /// Begins a request that never ends: the process and the thread that serve it.
    fn hold(&mut self, name: &str) -> (u32, u32) {
        let folder = self.folder.path();
        let mut stream =
            wait_until("the server", || TcpStream::connect(("127.0.0.1", self.port)).ok());
        let request = format!("GET /{name}?{} HTTP/1.0\r\nHost: x\r\n\r\n", folder.display());
        stream.write_all(request.as_bytes()).expect("it reads");
        self.held.push(stream);
        let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        let told = wait_until(&format!("{name}; the server said:\n{}", log()), || {
            std::fs::read_to_string(folder.join(name)).ok()
        });
        let (pid, tid) = told.split_once(' ').expect("two numbers");
        (pid.parse().expect("a number"), tid.parse().expect("a number"))
    }

    /// That both kinds of requests are seen as what they are.
    fn assert_seen(mut self) {
        let ((pid, sleeper), (also, spinner)) = (self.hold("doze"), self.hold("spin"));
        assert_eq!(pid, also, "it has one process");
        let seen = Seen::of(pid, 1.0);
        for (tid, leaf, state) in [(sleeper, "doze", "sleep"), (spinner, "spin", "running")] {
            let thread = seen.threads.get(&tid).unwrap_or_else(|| panic!("{tid}: {seen:#?}"));
            assert!(thread.leaf_share(leaf) > 0.9, "{seen:#?}");
            assert!(thread.state_share(&[state]) > 0.9, "{seen:#?}");
        }
        let others = seen.threads.iter().filter(|(tid, _)| ![sleeper, spinner].contains(tid));
        for (_, thread) in others {
            assert_eq!(thread.leaf_share(""), 1.0, "{seen:#?}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        signal("TERM", self.child.id());
        let deadline = Instant::now() + Duration::from_secs(4);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        // Its process group is its own, so this reaches no other process.
        let group = format!("-{}", self.child.id());
        let mut kill = Command::new("sh");
        kill.args(["-c", "kill -s KILL -- \"$0\" 2>/dev/null", &group]);
        let _ = kill.status();
        let _ = self.child.wait();
    }
}

#[test]
fn uwsgi() {
    let _alone = alone();
    if !has_program("uwsgi_python3") {
        return;
    }
    let server = Server::start(|folder, port| {
        let mut command = Command::new("uwsgi_python3");
        command.args(["--die-on-term", "--threads", "3", "--http-socket"]);
        command.arg(format!("127.0.0.1:{port}"));
        command.arg("--wsgi-file").arg(folder.join("held_wsgi.py"));
        command
    });
    server.assert_seen();
}

const APACHE_MODULES: &str = "/usr/lib/apache2/modules";

/// A configuration with this and nothing else in it.
fn apache(folder: &Path, port: u16, wsgi: &str) -> Command {
    let mut text = String::new();
    let shown = folder.display();
    for module in ["mpm_event", "authz_core", "wsgi"] {
        let _ = writeln!(text, "LoadModule {module}_module {APACHE_MODULES}/mod_{module}.so");
    }
    let _ = writeln!(
        text,
        "ServerRoot {shown}\nServerName localhost\nListen 127.0.0.1:{port}\nPidFile {shown}/pid\n\
         ErrorLog {shown}/log\nWSGISocketPrefix {shown}/wsgi\n{wsgi}\n\
         WSGIScriptAlias / {shown}/held_wsgi.py\n<Directory />\nRequire all granted\n</Directory>"
    );
    if nix::unistd::geteuid().is_root() {
        text.push_str("User www-data\nGroup www-data\n");
    }
    std::fs::write(folder.join("conf"), text).expect("a temporary folder");
    let mut command = Command::new("apache2");
    command.arg("-f").arg(folder.join("conf")).arg("-DFOREGROUND");
    command
}

#[test]
fn mod_wsgi_in_its_own_processes_and_inside_apache() {
    let _alone = alone();
    if !has_program("apache2") {
        return;
    }
    if !Path::new(APACHE_MODULES).join("mod_wsgi.so").exists() {
        return skip("mod_wsgi not found");
    }
    // Applications run in interpreters of their own, or all in the first.
    let own = "WSGIDaemonProcess shop threads=3\nWSGIProcessGroup shop";
    let first = format!("{own}\nWSGIApplicationGroup %{{GLOBAL}}");
    let inside = "StartServers 1\nServerLimit 1\nThreadsPerChild 4\nMaxRequestWorkers 4";
    for wsgi in [own, &first, inside] {
        Server::start(|folder, port| apache(folder, port, wsgi)).assert_seen();
    }
}
