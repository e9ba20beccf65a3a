//! How many requests a server has counted itself: exact, and there for the reading.

use crate::model::Tables;
use crate::python::{Local, Locals, ReadMemory, Runtime, Stack};
use crate::units::RemoteAddress;

/// A server that counts: a function that has an object in a local, and where that keeps the
/// count.
#[derive(Debug)]
struct Counting {
    /// The end of the function's file.
    file: &'static str,
    /// Its name without the class.
    function: &'static str,
    local: &'static str,
    /// An attribute on the way, if the object itself has no count.
    through: Option<&'static str>,
    count: &'static str,
}

/// `nr` of `gunicorn.workers.base.Worker` (19.9 to 27): raised when a request is handed to the
/// application. In threads (gthread) two that raise it at once may count as one. `run` is on
/// the main thread's stack for as long as the worker lives, except with greenlets, where it
/// waits on a stack of its own.
const fn gunicorn(file: &'static str, function: &'static str) -> Counting {
    Counting { file, function, local: "self", through: None, count: "nr" }
}

/// `total_requests` of `uvicorn.server.ServerState` (0.33 to 0.54): raised when a response is
/// complete. `Server` has the state, and so has each connection's protocol, which is seen where
/// Gunicorn runs the server's coroutine (`uvicorn.workers`, `uvicorn_worker`).
const fn uvicorn(file: &'static str, function: &'static str) -> Counting {
    let through = Some("server_state");
    Counting { file, function, local: "self", through, count: "total_requests" }
}

const COUNTING: &[Counting] = &[
    gunicorn("/gunicorn/workers/sync.py", "run"),
    gunicorn("/gunicorn/workers/gthread.py", "run"),
    gunicorn("/gunicorn/workers/gtornado.py", "run"),
    gunicorn("/gunicorn/workers/gasgi.py", "run"),
    gunicorn("/gunicorn/workers/ggevent.py", "run"),
    gunicorn("/gunicorn/workers/geventlet.py", "run"),
    gunicorn("/gunicorn/workers/base_async.py", "handle_request"),
    uvicorn("/uvicorn/server.py", "run"),
    uvicorn("/uvicorn/server.py", "main_loop"),
    uvicorn("/uvicorn/server.py", "on_tick"),
    uvicorn("/uvicorn/protocols/http/httptools_impl.py", "data_received"),
    uvicorn("/uvicorn/protocols/http/httptools_impl.py", "on_headers_complete"),
    uvicorn("/uvicorn/protocols/http/httptools_impl.py", "on_response_complete"),
    uvicorn("/uvicorn/protocols/http/h11_impl.py", "data_received"),
    uvicorn("/uvicorn/protocols/http/h11_impl.py", "handle_events"),
    uvicorn("/uvicorn/protocols/http/h11_impl.py", "on_response_complete"),
];

/// What is known of a function.
#[derive(Debug, Clone, Copy, Default)]
enum Known {
    #[default]
    NotAsked,
    Other,
    Counts(&'static Counting, Local),
}

/// Finds the count of one process' server, and reads it.
#[derive(Debug, Default)]
pub struct RequestCounter {
    /// By [`crate::python::FoundFrame::code_index`].
    functions: Vec<Known>,
    /// The [`Runtime::code_generation`] of those.
    generation: u64,
    /// The object, once a stack had it. It lives as long as the server.
    place: Option<(RemoteAddress, &'static Counting)>,
    int_type: Option<RemoteAddress>,
}

impl RequestCounter {
    /// Whether it is known where the count is.
    pub const fn is_found(&self) -> bool {
        self.place.is_some()
    }

    /// Looks for it on a thread's stack.
    pub fn find(&mut self, look: &mut Stack<'_>, tables: &Tables) {
        if self.generation != look.runtime.code_generation() {
            self.generation = look.runtime.code_generation();
            self.functions.clear();
        }
        let mut position = 0;
        while let Some(&frame) = look.frames().get(position) {
            position += 1;
            let code = frame.code_index();
            let mut known = self.functions.get(code).copied().unwrap_or_default();
            if let Known::NotAsked = known {
                let function = tables.function(frame.function);
                let (name, file) = (tables.string(function.name), tables.string(function.file));
                known = match counting(name, file) {
                    None => Known::Other,
                    Some(row) => match look.locals().find(&frame, row.local) {
                        Some(local) => Known::Counts(row, local),
                        // Names that could not be read now may be read at the next tick.
                        None => Known::NotAsked,
                    },
                };
                if self.functions.len() <= code {
                    self.functions.resize(code + 1, Known::NotAsked);
                }
                self.functions[code] = known;
            }
            let Known::Counts(row, local) = known else { continue };
            let mut reader = look.locals();
            let Some(object) = reader.value(&frame, local) else { continue };
            if read(&mut reader, object, row, &mut self.int_type).is_some() {
                self.place = Some((object, row));
                return;
            }
        }
    }

    /// The count now; `None` if it is not found yet, or changes while it is read.
    pub fn read(&mut self, runtime: &mut Runtime, memory: &dyn ReadMemory) -> Option<u64> {
        let (object, row) = self.place?;
        read(&mut runtime.locals(memory), object, row, &mut self.int_type)
    }
}

/// The row of a function, by its name (qualified or not) and its file.
fn counting(name: &str, file: &str) -> Option<&'static Counting> {
    let plain = name.rsplit('.').next().unwrap_or(name);
    COUNTING.iter().find(|row| row.function == plain && file.ends_with(row.file))
}

/// The count behind an object. The number is another object each time, and the memory of the
/// last one may be used again: the attribute must still name it afterwards.
fn read(
    reader: &mut Locals<'_>,
    object: RemoteAddress,
    row: &Counting,
    int_type: &mut Option<RemoteAddress>,
) -> Option<u64> {
    let holder = match row.through {
        Some(through) => reader.attributes(object, [through])[0]?,
        None => object,
    };
    let [number] = reader.attributes(holder, [row.count]);
    let count = reader.whole_number(number?, int_type)?;
    (reader.attributes(holder, [row.count]) == [number]).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_known_by_function_and_file() {
        let sync = "/venv/lib/python3.8/site-packages/gunicorn/workers/sync.py";
        assert_eq!(counting("SyncWorker.run", sync).map(|row| row.count), Some("nr"));
        assert_eq!(counting("run", sync).map(|row| row.count), Some("nr"));
        assert!(counting("SyncWorker.run_for_one", sync).is_none());
        let server = "/v/uvicorn/server.py";
        assert_eq!(counting("Server.run", server).map(|row| row.count), Some("total_requests"));
        assert!(counting("run", "/app/server.py").is_none());
    }
}
