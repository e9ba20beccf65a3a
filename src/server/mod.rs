//! Who serves: which server a process belongs to, what part it plays there, and which
//! processes there are to sample now.
//!
//! ```text
//! roots ─► Fleet::poll ─┬─► Candidate(process, membership)   try to attach, say how it went
//!                       ├─► Changed(pid, membership)
//!                       └─► Left(pid)
//! ```

mod fleet;
mod gunicorn;
mod launch;
mod others;

pub use fleet::{Change, Fleet, Membership};

use crate::model::Role;

/// What a process' command line says about the server that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Server {
    /// The server's name in lower case, such as `gunicorn`.
    pub name: &'static str,
    /// What the process says of itself, if it wrote itself a title. Without one, all
    /// of a server's processes have the same command line.
    pub title: Option<Role>,
    /// What is served, such as `shop.wsgi:app`.
    pub application: Option<String>,
    /// The server's word for how it serves, such as `gthread`, if the command line
    /// says it; a configuration file may.
    pub worker_class: Option<String>,
    /// How many workers were asked for, if the command line says it.
    pub workers: Option<u32>,
    /// How many threads a worker was asked to have, if the command line says it.
    pub threads: Option<u32>,
}

/// The worker class whose own code is in this file, such as `gthread`; `None` for a file of
/// no worker class that we know.
pub fn worker_class_of_file(file: &str) -> Option<&'static str> {
    gunicorn::worker_class_of_file(file).or_else(|| others::worker_class_of_file(file))
}

/// The server that a command line starts; `None` if it is none that we know.
pub fn detect(command_line: &[String]) -> Option<Server> {
    gunicorn::detect(command_line).or_else(|| others::detect(command_line))
}

/// A command line in a few words: the server and what it serves, or the program and its
/// arguments without the folders of the first ones.
pub fn describe(command_line: &[String]) -> String {
    if let Some(server) = detect(command_line) {
        return match server.application {
            Some(application) => format!("{} {application}", server.name),
            None => server.name.to_owned(),
        };
    }
    // The program, and the script that an interpreter runs.
    let short = |(index, word): (usize, &String)| match word.rsplit_once('/') {
        Some((_, name)) if index < 2 && !name.is_empty() => name.to_owned(),
        _ => word.clone(),
    };
    command_line.iter().enumerate().map(short).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_described_in_a_few_words() {
        for (line, words) in [
            ("/v/bin/python /v/bin/gunicorn -w 2 shop:app", "gunicorn shop:app"),
            ("gunicorn -c conf.py", "gunicorn"),
            ("/v/bin/python -m uvicorn --port 80 shop:app", "uvicorn shop:app"),
            ("/usr/bin/python3 /srv/jobs/import.py /data/x.csv", "python3 import.py /data/x.csv"),
            ("", ""),
        ] {
            let line: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            assert_eq!(describe(&line), words);
        }
    }
}
