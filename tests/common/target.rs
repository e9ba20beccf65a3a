//! Applications to profile: started, waited for by handshake, and ended by PID.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::{Interpreter, PATIENCE, application, wait_until};

/// Sends a signal to a process that the test itself started.
pub(crate) fn signal(name: &str, pid: u32) {
    let status = Command::new("sh")
        .args(["-c", "kill -s \"$0\" \"$1\"", name, &pid.to_string()])
        .status()
        .expect("sh is there");
    assert!(status.success(), "could not send {name} to {pid}");
}

/// The live children of a process.
pub(crate) fn children_of(pid: u32) -> Vec<u32> {
    std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// What a process prints, line by line, read by a thread so that it never blocks.
struct Lines {
    coming: Receiver<String>,
    seen: Vec<String>,
}

impl Lines {
    fn follow(pipe: impl Read + Send + 'static) -> Self {
        let (sender, coming) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { coming, seen: Vec::new() }
    }

    /// The next line that `find` finds something in. Lines before it are passed over.
    fn wait_for<T>(&mut self, what: &str, find: impl FnMut(&str) -> Option<T>) -> T {
        self.within(PATIENCE, find).unwrap_or_else(|| {
            panic!("waited in vain for {what}; it said:\n{}", self.seen.join("\n"))
        })
    }

    /// The same, if it comes soon enough.
    fn within<T>(
        &mut self,
        patience: Duration,
        mut find: impl FnMut(&str) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.coming.recv_timeout(left).ok()?;
            let found = find(&line);
            self.seen.push(line);
            if found.is_some() {
                return found;
            }
        }
    }
}

/// A script of `fixtures/apps` that prints READY on standard output and lives until
/// its standard input closes.
pub(crate) struct Script {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines,
    ready: String,
}

impl Script {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(interpreter: &Interpreter, name: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(&interpreter.python);
        command.arg(application(name)).args(arguments);
        Self::spawn(command)
    }

    /// Starts any command that keeps to the same handshake.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command
            .env("PYTHONIOENCODING", "utf-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the interpreter starts");
        let stdin = child.stdin.take();
        let lines = Lines::follow(child.stdout.take().expect("it is piped"));
        // From here on it is ended even if it never gets ready.
        let mut script = Self { child, stdin, lines, ready: String::new() };
        script.ready = script.lines.wait_for("READY", |line| {
            line.strip_prefix("READY").map(|rest| rest.trim().to_owned())
        });
        script
    }

    /// Its PID.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it said after the word READY.
    pub(crate) fn ready(&self) -> &str {
        &self.ready
    }

    /// The JSON that it printed before READY.
    pub(crate) fn truth(&self) -> Value {
        let line = self.lines.seen.iter().find(|line| line.starts_with('{'));
        serde_json::from_str(line.expect("it printed JSON")).expect("it is valid JSON")
    }

    /// Gives it a line on its standard input: the line that it prints for that.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        let stdin = self.stdin.as_mut().expect("it runs");
        writeln!(stdin, "{line}").expect("it reads");
        self.lines.wait_for("an answer", |line| Some(line.to_owned()))
    }

    /// Writes a line to its standard input, and waits until it answers with this one.
    pub(crate) fn tell(&mut self, line: &str, answer: &str) {
        let stdin = self.stdin.as_mut().expect("it is piped");
        writeln!(stdin, "{line}").expect("it reads");
        self.lines.wait_for(answer, |line| (line == answer).then_some(()));
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it at once, as the kernel would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it was running");
        self.child.wait().expect("it is our child");
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Gunicorn that serves a fixture application on a free port of the loopback
/// interface, with its files in a folder of its own.
pub(crate) struct Gunicorn {
    arbiter: Child,
    lines: Lines,
    folder: TempDir,
    port: u16,
    workers: usize,
    _peer: Script,
}

impl Gunicorn {
    /// Starts it with `workers` workers and these further arguments, and waits until
    /// each has loaded the application and one has answered a request.
    pub(crate) fn start(
        interpreter: &Interpreter,
        app: &str,
        workers: usize,
        arguments: &[&str],
    ) -> Self {
        Self::start_with(interpreter, app, workers, arguments, &[])
    }

    /// The same with more in its environment.
    pub(crate) fn start_with(
        interpreter: &Interpreter,
        app: &str,
        workers: usize,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let peer = Script::start(interpreter, "slow_peer.py", &[]);
        let mut arbiter = Command::new(interpreter.program("gunicorn"))
            .args(["--bind", "127.0.0.1:0", "--graceful-timeout", "5"])
            .args(["--workers", &workers.to_string()])
            .arg("--pid")
            .arg(folder.path().join("gunicorn.pid"))
            .arg("--chdir")
            .arg(application(""))
            .args(arguments)
            .arg(app)
            .env("FIXTURE_DIR", folder.path())
            .env("FIXTURE_LOG", folder.path())
            .env("FIXTURE_PEER", format!("127.0.0.1:{}", peer.ready()))
            .envs(environment.iter().copied())
            // Where newer releases put their control socket.
            .env("XDG_RUNTIME_DIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("gunicorn starts");
        let mut lines = Lines::follow(arbiter.stderr.take().expect("it is piped"));
        let port = lines.wait_for("the port", |line| {
            let (_, rest) = line.split_once("Listening at: http://127.0.0.1:")?;
            rest.split_once(' ')?.0.parse().ok()
        });
        let mut gunicorn = Self { arbiter, lines, folder, port, workers, _peer: peer };
        gunicorn.wait_for_workers(workers);
        wait_until("an answer", || gunicorn.get("/").ok());
        gunicorn
    }

    /// The arbiter's PID.
    pub(crate) fn pid(&self) -> u32 {
        self.arbiter.id()
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The folder with its files, and what the application writes.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Its PID file.
    pub(crate) fn pidfile(&self) -> PathBuf {
        self.folder.path().join("gunicorn.pid")
    }

    /// The application's own account of its requests: for each process in the order of
    /// their ends.
    pub(crate) fn request_log(&self) -> Vec<Value> {
        let mut entries = Vec::new();
        for file in std::fs::read_dir(self.folder.path()).expect("it is there").flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            if !(name.starts_with("requests-") && name.ends_with(".log")) {
                continue;
            }
            // The file is longer than what was written: zeros follow.
            let bytes = std::fs::read(file.path()).expect("the application wrote its log");
            let written = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
            let text = std::str::from_utf8(written).expect("UTF-8");
            entries.extend(
                text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")),
            );
        }
        assert!(!entries.is_empty(), "the application wrote its log");
        entries
    }

    /// The PIDs of its workers now.
    pub(crate) fn workers(&self) -> Vec<u32> {
        children_of(self.pid())
    }

    /// Waits until so many more workers have loaded the application.
    fn wait_for_workers(&mut self, count: usize) -> Vec<u32> {
        let next = |lines: &mut Lines| {
            lines.wait_for("a worker", |line| line.strip_prefix("READY ")?.trim().parse().ok())
        };
        (0..count).map(|_| next(&mut self.lines)).collect()
    }

    /// Reloads it (`kill -HUP`): the PIDs of the new workers, once they are ready.
    pub(crate) fn reload(&mut self) -> Vec<u32> {
        const HEARD: &str = "Handling signal: hup";
        signal("HUP", self.pid());
        // Of a first one nothing was heard now and then, on CPython 3.15.
        let soon = Duration::from_secs(5);
        if self.lines.within(soon, |line| line.contains(HEARD).then_some(())).is_none() {
            println!("a first HUP was not heard");
            signal("HUP", self.pid());
        }
        self.wait_for_workers(self.workers)
    }

    /// Kills one of its workers (`kill -9`): the PID of the one that takes its place.
    pub(crate) fn kill_worker(&mut self, worker: u32) -> u32 {
        assert!(self.workers().contains(&worker), "{worker} is no worker of ours");
        signal("KILL", worker);
        self.wait_for_workers(1).remove(0)
    }

    /// One request, with the answer as text.
    pub(crate) fn get(&self, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer.starts_with("HTTP/1") {
            Ok(answer)
        } else {
            Err(std::io::ErrorKind::Other.into())
        }
    }
}

impl Drop for Gunicorn {
    fn drop(&mut self) {
        // SIGTERM first: an arbiter that is killed leaves its workers behind.
        let arbiter = self.pid();
        let _ =
            Command::new("sh").args(["-c", "kill -s TERM \"$0\"", &arbiter.to_string()]).status();
        let deadline = Instant::now() + Duration::from_secs(8);
        while matches!(self.arbiter.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        // Its process group is its own, so this reaches no other process.
        let _ = Command::new("sh")
            .args(["-c", "kill -s KILL -- \"-$0\" 2>/dev/null", &arbiter.to_string()])
            .status();
        let _ = self.arbiter.wait();
    }
}

/// A load generator at work.
pub(crate) struct Load(Script);

impl Load {
    /// Starts so many connections and waits until each has had an answer. It ends by
    /// itself after `at_most`.
    pub(crate) fn start(
        interpreter: &Interpreter,
        port: u16,
        connections: usize,
        at_most: Duration,
        targets: &[&str],
    ) -> Self {
        let mut command = Command::new(&interpreter.python);
        command
            .arg(application("load.py"))
            .arg("--until-stdin-closes")
            .args(["--port", &port.to_string()])
            .args(["--connections", &connections.to_string()])
            .args(["--duration", &at_most.as_secs_f64().to_string()])
            .args(targets);
        Self(Script::spawn(command))
    }

    /// Lets the requests under way finish: what it sent and how long that took.
    pub(crate) fn finish(mut self) -> Value {
        drop(self.0.stdin.take());
        self.0.lines.wait_for("the load's end", |line| serde_json::from_str(line).ok())
    }
}
