//! What a Python function says about a wait: a table.
//!
//! ```text
//! leaf ─► Condition.wait     through, "threading.Condition"
//!         Queue.get          through, "queue.Queue"
//!         WorkerThread.run   idle: a pool's thread with nothing to do
//! ```
//!
//! Frames are looked at from the leaf up, through those that only wait on behalf of
//! their caller, to the first that does anything else. So the pool's thread above is
//! idle, and a view that waits on the same queue is not: the view stands between.

/// What a function means when the thread is blocked and it is at the leaf, or above
/// functions that all wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// Nothing has been given to do.
    Idle,
    /// It waits on behalf of its caller; nothing is known of what for.
    Through,
    /// It waits on behalf of its caller for this kind of lock, queue or pool.
    Lock(&'static str),
    /// The same, by a name that two functions share in interpreters before 3.11,
    /// which do not qualify names: the first is right at the leaf, the second above.
    Either(&'static str, &'static str),
}

/// Where a function is defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In this file of the standard library.
    Library(&'static str),
    /// In an installed package: the path ends so.
    Package(&'static str),
    /// The file has exactly this name.
    Exactly(&'static str),
}

#[derive(Debug, PartialEq, Eq)]
struct Row {
    place: Place,
    /// The qualified name. An interpreter that keeps only the last part is matched by
    /// that.
    function: &'static str,
    meaning: Meaning,
}

macro_rules! rows {
    ($($place:ident $file:literal { $($function:literal => $meaning:expr),+ $(,)? })*) => {
        &[$($(Row {
            place: Place::$place($file),
            function: $function,
            meaning: $meaning,
        }),+),*]
    };
}

use Meaning::{Either, Idle, Lock, Through};

/// In a file, the first function that matches counts.
static TABLE: &[Row] = rows! {
    // Gunicorn, 19.9 to 27: `select` is called by `SyncWorker.wait` itself, by
    // `ThreadWorker.run` up to 23 and by `wait_for_and_dispatch_events` after.
    Package "gunicorn/workers/sync.py" { "SyncWorker.wait" => Idle }
    Package "gunicorn/workers/gthread.py" {
        "ThreadWorker.wait_for_and_dispatch_events" => Idle,
        "ThreadWorker.run" => Idle,
        // A pool's thread that has a connection and waits for its first bytes.
        "TConn.wait_for_data" => Through,
    }
    Package "gunicorn/workers/gasgi.py" { "ASGIWorker.run" => Idle }
    // The arbiter: `sleep` selects on a pipe up to 23, later a queue of signals.
    Package "gunicorn/arbiter.py" { "Arbiter.sleep" => Idle, "Arbiter.wait_for_signals" => Idle }
    Package "gunicorn/reloader.py" {
        "Reloader.run" => Idle,
        "InotifyReloader.run" => Idle,
    }
    Package "inotify/adapters.py" { "Inotify.event_gen" => Through }

    // Event loops. uvloop's runs in C below whoever started it.
    Library "asyncio/base_events.py" { "BaseEventLoop._run_once" => Idle }
    Library "asyncio/runners.py" { "Runner.run" => Idle, "run" => Idle }
    Package "uvloop/__init__.py" { "run" => Idle }
    Package "uvicorn/server.py" { "Server.run" => Idle }
    Package "uvicorn/workers.py" { "UvicornWorker.run" => Idle }
    Package "uvicorn_worker/_workers.py" { "UvicornWorker.run" => Idle }
    Package "uvicorn/supervisors/multiprocess.py" { "Multiprocess.run" => Idle }
    Package "uvicorn/supervisors/basereload.py" {
        "BaseReload.run" => Idle,
        "BaseReload.__next__" => Through,
        "BaseReload.pause" => Through,
    }
    Package "gevent/hub.py" { "Hub.run" => Idle }
    Package "gevent/threadpool.py" { "_WorkerGreenlet.run" => Idle }
    Package "eventlet/hubs/hub.py" { "BaseHub.run" => Idle }
    Package "eventlet/hubs/poll.py" { "Hub.wait" => Through, "Hub.do_poll" => Through }
    Package "eventlet/hubs/epolls.py" { "Hub.do_poll" => Through }
    Package "eventlet/hubs/selects.py" { "Hub.wait" => Through }

    // Other servers.
    Package "waitress/task.py" { "ThreadedTaskDispatcher.handler_thread" => Idle }
    Package "waitress/wasyncore.py" { "poll" => Idle, "poll2" => Idle }
    Library "socketserver.py" { "BaseServer.serve_forever" => Idle }

    // Celery: the parent's hub waits on its broker, a child on a pipe.
    Package "kombu/asynchronous/hub.py" { "Hub.create_loop" => Idle }
    Package "kombu/utils/eventio.py" {
        "_epoll.poll" => Through,
        "_poll.poll" => Through,
        "_select.poll" => Through,
    }
    Package "billiard/pool.py" { "Worker._make_recv_method.<locals>._recv" => Idle }
    Package "billiard/queues.py" { "_SimpleQueue.get_payload" => Through }
    Package "billiard/connection.py" {
        "Connection._recv" => Through,
        "Connection._recv_bytes" => Through,
        "Connection._poll" => Through,
        "_ConnectionBase.recv_bytes" => Through,
        "_ConnectionBase.recv" => Through,
        "_ConnectionBase.poll" => Through,
        "_SocketContainer.recv" => Through,
        "wait" => Through,
    }

    // Threads of pools, and those that libraries keep in the background.
    Library "concurrent/futures/thread.py" { "_worker" => Idle }
    Library "concurrent/futures/process.py" {
        "_process_worker" => Idle,
        "_queue_management_worker" => Idle,
        "_ExecutorManagerThread.wait_result_broken_or_wakeup" => Idle,
    }
    Library "multiprocessing/pool.py" {
        "worker" => Idle,
        "Pool._handle_workers" => Idle,
        "Pool._wait_for_updates" => Through,
        "Pool._handle_tasks" => Idle,
        "Pool._handle_results" => Idle,
    }
    Library "multiprocessing/queues.py" {
        "Queue._feed" => Idle,
        "Queue.get" => Lock("multiprocessing.Queue"),
        "SimpleQueue.get" => Lock("multiprocessing.Queue"),
    }
    Library "multiprocessing/connection.py" {
        "Connection._recv" => Through,
        "Connection._recv_bytes" => Through,
        "Connection._poll" => Through,
        "_ConnectionBase.recv_bytes" => Through,
        "_ConnectionBase.recv" => Through,
        "_ConnectionBase.poll" => Through,
        "wait" => Through,
    }
    Library "logging/handlers.py" {
        "QueueListener._monitor" => Idle,
        "QueueListener.dequeue" => Through,
    }
    Package "anyio/_backends/_asyncio.py" { "WorkerThread.run" => Idle }
    Package "sentry_sdk/_queue.py" { "Queue.get" => Through }
    Package "sentry_sdk/worker.py" { "BackgroundWorker._target" => Idle }
    Package "psycopg_pool/pool.py" {
        "ConnectionPool.worker" => Idle,
        "WaitingClient.wait" => Lock("psycopg pool"),
        "ConnectionPool._getconn_unchecked" => Lock("psycopg pool"),
        "ConnectionPool.getconn" => Lock("psycopg pool"),
    }
    Package "psycopg_pool/_acompat.py" { "Queue.get" => Through }
    Package "psycopg_pool/sched.py" { "Scheduler.run" => Idle }
    Package "pymongo/periodic_executor.py" { "PeriodicExecutor._run" => Idle }
    Package "apscheduler/schedulers/blocking.py" { "BlockingScheduler._main_loop" => Idle }

    // Pools that a request waits for.
    Package "sqlalchemy/util/queue.py" {
        "Queue.get" => Lock("sqlalchemy pool"),
        "Queue.put" => Lock("sqlalchemy pool"),
    }
    Package "sqlalchemy/pool/impl.py" { "QueuePool._do_get" => Lock("sqlalchemy pool") }
    Package "urllib3/connectionpool.py" { "HTTPConnectionPool._get_conn" => Lock("urllib3 pool") }
    Package "redis/connection.py" { "BlockingConnectionPool.get_connection" => Lock("redis pool") }
    Package "pymongo/pool.py" {
        "Pool._get_conn" => Lock("pymongo pool"),
        "Pool._get_socket" => Lock("pymongo pool"),
    }
    Package "dbutils/pooled_db.py" { "PooledDB._wait_lock" => Lock("dbutils pool") }
    Package "httpcore/_synchronization.py" { "Event.wait" => Through }
    Package "httpcore/_sync/connection_pool.py" {
        "PoolRequest.wait_for_connection" => Lock("httpx pool"),
        "ConnectionPoolRequest.wait_for_connection" => Lock("httpx pool"),
        "RequestStatus.wait_for_connection" => Lock("httpx pool"),
    }
    Package "asgiref/current_thread_executor.py" {
        "CurrentThreadExecutor.run_until_future" => Lock("async_to_sync"),
    }

    // The standard library's own.
    Library "threading.py" {
        "Condition.wait" => Either("threading.Condition", "threading.Event"),
        "Condition.wait_for" => Lock("threading.Condition"),
        "Event.wait" => Lock("threading.Event"),
        "Barrier._wait" => Through,
        "Barrier.wait" => Lock("threading.Barrier"),
        "Semaphore.acquire" => Lock("threading.Semaphore"),
        "Semaphore.__enter__" => Lock("threading.Semaphore"),
        "Condition.__enter__" => Lock("threading.Condition"),
        "Thread._wait_for_tstate_lock" => Through,
        "Thread.join" => Lock("threading.Thread.join"),
        "_shutdown" => Lock("threading.Thread.join"),
    }
    Library "queue.py" {
        "Queue.get" => Lock("queue.Queue"),
        "Queue.put" => Lock("queue.Queue"),
        "Queue.join" => Lock("queue.Queue"),
        "_PySimpleQueue.get" => Lock("queue.SimpleQueue"),
    }
    Library "concurrent/futures/_base.py" {
        "Future.result" => Lock("concurrent.futures"),
        "Future.exception" => Lock("concurrent.futures"),
        "wait" => Lock("concurrent.futures"),
        "as_completed" => Lock("concurrent.futures"),
    }
    Library "logging/__init__.py" {
        "Handler.acquire" => Lock("logging"),
        "Handler.handle" => Lock("logging"),
        "_acquireLock" => Lock("logging"),
    }
    Exactly "<frozen importlib._bootstrap>" {
        "_ModuleLock.acquire" => Lock("import lock"),
        "_ModuleLockManager.__enter__" => Lock("import lock"),
    }
    Library "selectors.py" {
        "SelectSelector.select" => Through,
        "SelectSelector._select" => Through,
        "_PollLikeSelector.select" => Through,
        "PollSelector.select" => Through,
        "EpollSelector.select" => Through,
    }
};

/// What is known of a function's waits. Worked out once, when the function is first
/// seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks(Option<&'static Row>);

/// What the topmost frames say of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing has been given to do.
    Idle,
    /// It waits for this kind of lock, queue or pool.
    Lock(&'static str),
    /// Nothing.
    Nothing,
}

impl Marks {
    /// How many frames from the leaf are worth giving to [`super::classify`].
    pub const FRAMES: usize = 6;

    /// The marks of a function, by its name (qualified where the interpreter has that)
    /// and its file.
    pub fn of(function_name: &str, file: &str) -> Self {
        Self(TABLE.iter().find(|row| row.place.holds(file) && names(row.function, function_name)))
    }

    /// What these frames, leaf first, say of a wait at the leaf.
    pub(super) fn say(frames: &[Self]) -> Said {
        let mut said = Said::Nothing;
        for (depth, Self(row)) in frames.iter().enumerate() {
            let Some(row) = row else { break };
            match row.meaning {
                Meaning::Idle => return Said::Idle,
                Meaning::Through => {}
                Meaning::Lock(name) => said = Said::Lock(name),
                Meaning::Either(leaf, above) => {
                    said = Said::Lock(if depth == 0 { leaf } else { above });
                }
            }
        }
        said
    }
}

impl Place {
    fn holds(self, file: &str) -> bool {
        // What comes before a whole number of path components at the end.
        let before = |end| match file.strip_suffix(end) {
            Some("") => Some(""),
            Some(before) => before.strip_suffix('/'),
            None => None,
        };
        match self {
            Self::Exactly(name) => file == name,
            Self::Package(end) => before(end).is_some(),
            // `…/lib/python3.11/queue.py`, `…/python311.zip/queue.py`, a source tree's
            // `…/Lib/queue.py`, or `queue.py` in a frozen program; a package's own
            // `queue.py` is none of these.
            Self::Library(end) => before(end).is_some_and(|before| {
                let parent = before.rsplit('/').next().unwrap_or_default();
                parent.is_empty() || parent.starts_with("python") || parent == "Lib"
            }),
        }
    }
}

/// Whether a table's qualified name is this one, or this is all of it that an
/// interpreter before 3.11 keeps.
fn names(qualified: &str, name: &str) -> bool {
    qualified == name || qualified.rsplit('.').next() == Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGES: &str = "/srv/venv/lib/python3.11/site-packages";
    const LIBRARY: &str = "/usr/lib/python3.11";

    /// Leaf first, each `file:function`.
    fn say(frames: &[&str]) -> Said {
        let marks = |frame: &&str| {
            let (file, function) = frame.rsplit_once(':').unwrap();
            Marks::of(function, file)
        };
        Marks::say(&frames.iter().map(marks).collect::<Vec<_>>())
    }

    fn said(frames: &[&str]) -> Said {
        let absolute: Vec<_> = frames
            .iter()
            .map(|frame| match frame.strip_prefix("lib:") {
                Some(rest) => format!("{LIBRARY}/{rest}"),
                None if frame.starts_with('/') => (*frame).to_owned(),
                None => format!("{PACKAGES}/{frame}"),
            })
            .collect();
        say(&absolute.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[test]
    fn each_worker_class_is_idle_where_it_waits() {
        let select = "lib:selectors.py:EpollSelector.select";
        for frames in [
            &["gunicorn/workers/sync.py:SyncWorker.wait"][..],
            &["gunicorn/workers/sync.py:wait", "gunicorn/workers/sync.py:run_for_one"],
            &[select, "gunicorn/workers/gthread.py:ThreadWorker.wait_for_and_dispatch_events"],
            &[select, "gunicorn/workers/gthread.py:ThreadWorker.run"],
            &["lib:selectors.py:select", "gunicorn/workers/gthread.py:run"],
            // Up to 23: as many connections as allowed; waits for one to end.
            &[
                "lib:threading.py:wait",
                "lib:threading.py:wait",
                "lib:concurrent/futures/_base.py:wait",
                "gunicorn/workers/gthread.py:run",
            ],
            &["lib:concurrent/futures/thread.py:_worker"],
            &["gevent/hub.py:Hub.run"],
            &[select, "lib:asyncio/base_events.py:BaseEventLoop._run_once"],
            &["lib:asyncio/runners.py:Runner.run", "lib:asyncio/runners.py:run"],
            &[
                "lib:threading.py:Condition.wait",
                "lib:queue.py:Queue.get",
                "anyio/_backends/_asyncio.py:WorkerThread.run",
            ],
            &[
                "lib:threading.py:Condition.wait",
                "waitress/task.py:ThreadedTaskDispatcher.handler_thread",
            ],
            &[
                "billiard/connection.py:Connection._recv",
                "billiard/connection.py:Connection._recv_bytes",
                "billiard/connection.py:_ConnectionBase.recv_bytes",
                "billiard/queues.py:_SimpleQueue.get_payload",
                "billiard/pool.py:Worker._make_recv_method.<locals>._recv",
            ],
            &["kombu/utils/eventio.py:_epoll.poll", "kombu/asynchronous/hub.py:Hub.create_loop"],
            &["gunicorn/arbiter.py:Arbiter.sleep"],
            &["gunicorn/arbiter.py:Arbiter.wait_for_signals", "gunicorn/arbiter.py:Arbiter.run"],
        ] {
            assert_eq!(said(frames), Said::Idle, "{frames:?}");
        }
    }

    #[test]
    fn a_frame_of_the_application_in_between_makes_it_busy() {
        let select = "lib:selectors.py:EpollSelector.select";
        let get = "lib:queue.py:Queue.get";
        let condition = "lib:threading.py:Condition.wait";
        for frames in [
            &[select, "/srv/app.py:view", "gunicorn/workers/gthread.py:ThreadWorker.run"][..],
            &["/srv/app.py:view", "gunicorn/workers/sync.py:SyncWorker.wait"],
            &["/srv/app.py:view", "lib:concurrent/futures/thread.py:_worker"],
            &["/srv/selectors.py:EpollSelector.select", "lib:concurrent/futures/thread.py:_worker"],
        ] {
            assert_eq!(said(frames), Said::Nothing, "{frames:?}");
        }
        let worker = "lib:concurrent/futures/thread.py:_worker";
        let view = [condition, get, "/srv/app.py:view", worker];
        assert_eq!(said(&view), Said::Lock("queue.Queue"));
    }

    #[test]
    fn a_lock_is_named_by_whom_it_serves() {
        let condition = "lib:threading.py:Condition.wait";
        for (frames, expected) in [
            (&[condition, "/srv/app.py:view"][..], "threading.Condition"),
            (&[condition, "lib:threading.py:Event.wait", "/srv/app.py:view"], "threading.Event"),
            (&["lib:threading.py:wait", "lib:threading.py:wait"], "threading.Event"),
            (&["lib:threading.py:wait", "/srv/app.py:view"], "threading.Condition"),
            (
                &[
                    condition,
                    "sqlalchemy/util/queue.py:Queue.get",
                    "sqlalchemy/pool/impl.py:QueuePool._do_get",
                    "sqlalchemy/pool/base.py:_ConnectionRecord.checkout",
                ],
                "sqlalchemy pool",
            ),
            (
                &[
                    condition,
                    "psycopg_pool/pool.py:WaitingClient.wait",
                    "psycopg_pool/pool.py:ConnectionPool._getconn_unchecked",
                ],
                "psycopg pool",
            ),
            (
                &[
                    condition,
                    "lib:queue.py:Queue.get",
                    "urllib3/connectionpool.py:HTTPConnectionPool._get_conn",
                ],
                "urllib3 pool",
            ),
            (&[condition, "lib:threading.py:Semaphore.acquire"], "threading.Semaphore"),
            (&["/<frozen importlib._bootstrap>:x"], ""),
        ] {
            let expected = if expected.is_empty() { Said::Nothing } else { Said::Lock(expected) };
            assert_eq!(said(frames), expected, "{frames:?}");
        }
        assert_eq!(
            say(&["<frozen importlib._bootstrap>:_ModuleLock.acquire"]),
            Said::Lock("import lock")
        );
    }

    #[test]
    fn only_the_standard_library_s_own_files_are_its_own() {
        let own = Place::Library("queue.py");
        for file in [
            "/usr/lib/python3.11/queue.py",
            "/opt/python311.zip/queue.py",
            "/src/cpython/Lib/queue.py",
            "queue.py",
        ] {
            assert!(own.holds(file), "{file}");
        }
        for file in
            ["/srv/app/queue.py", "/x/site-packages/rq/queue.py", "/usr/lib/python3.11/myqueue.py"]
        {
            assert!(!own.holds(file), "{file}");
        }
        assert!(!Place::Package("gevent/hub.py").holds("/x/notgevent/hub.py"));
    }

    #[test]
    fn names_are_matched_qualified_or_by_their_last_part() {
        assert!(names("SyncWorker.wait", "SyncWorker.wait"));
        assert!(names("SyncWorker.wait", "wait"));
        assert!(!names("SyncWorker.wait", "Other.wait"));
        assert!(!names("wait", "SyncWorker.wait"));
    }
}
