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
