//! The functions that wait, by the file that they are defined in.

use super::Meaning::{Either, Idle, Lock, Through};
use super::{Place, Row};

macro_rules! rows {
    ($($place:ident $file:literal { $($function:literal => $meaning:expr),+ $(,)? })*) => {
        &[$($(Row {
            place: Place::$place($file),
            function: $function,
            meaning: $meaning,
        }),+),*]
    };
}

/// In a file, the first function that matches counts.
pub(super) static TABLE: &[Row] = rows! {
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
