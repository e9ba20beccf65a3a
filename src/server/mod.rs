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
    gunicorn::worker_class_of_file(file)
}

/// The server that a command line starts; `None` if it is none that we know.
pub fn detect(command_line: &[String]) -> Option<Server> {
    gunicorn::detect(command_line)
}
