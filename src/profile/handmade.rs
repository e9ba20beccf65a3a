//! A profile made by hand, for the tests of everything that is drawn from one: a
//! small shop under Gunicorn, whose every number can be checked with a pencil.

use super::{Builder, Profile};
use crate::model::*;
use crate::units::{Nanos, Pid, Tid};

/// Builds a profile sample by sample; every sample stands for itself alone.
#[derive(Debug, Default)]
pub(crate) struct Shop {
    pub(crate) tables: Tables,
    pub(crate) builder: Builder,
}

/// A sample to be changed before it is added: 10 ms, exact, told from the system call.
pub(crate) fn sample(thread: ThreadId, endpoint: EndpointId, state: State) -> Sample {
    Sample {
        thread,
        stack: None,
        endpoint,
        on: None,
        statement: None,
        request: None,
        weight: Nanos::from_millis(10),
        cpu: Nanos::ZERO,
        runqueue: Nanos::ZERO,
        state,
        evidence: Evidence::Syscall,
        grade: Grade::Exact,
        holds_gil: false,
    }
}

impl Shop {
    pub(crate) fn process(&mut self, pid: u32, role: Role, threads: u32) -> ProcessId {
        let process = TargetProcess { pid: Pid::new(pid), start_time: 1 };
        let id = self.tables.intern_process(process);
        let facts = Self::facts(pid, role, threads);
        self.builder.process(&self.tables, id, &facts).unwrap();
        id
    }

    pub(crate) fn facts(pid: u32, role: Role, threads: u32) -> ProcessFacts {
        ProcessFacts {
            pid: Pid::new(pid),
            role,
            server: Some("gunicorn".into()),
            worker_class: Some("gthread".into()),
            threads,
            python: "3.11.7".into(),
            free_threaded: false,
            cpu: Nanos::from_millis(4_000),
            runqueue: Nanos::from_millis(120),
            gil_switches: Some(7_000),
            gil_watched: Nanos::from_millis(10_000),
            requests_watched: Nanos::ZERO,
            rss_bytes_first: 50 << 20,
            rss_bytes_last: 52 << 20,
            requests: None,
            joined: Nanos::ZERO,
            left: None,
        }
    }

    pub(crate) fn thread(&mut self, process: ProcessId, tid: u32, name: &str) -> ThreadId {
        let name = self.tables.intern_string(name);
        self.tables.intern_thread(Thread { process, tid: Tid::new(tid), name })
    }

    pub(crate) fn label(&mut self, label: &str) -> EndpointId {
        let label = self.tables.intern_string(label);
        let framework = Framework::None;
        let endpoint = Endpoint { label, method: None, route: None, framework, handler: None };
        self.tables.intern_endpoint(endpoint)
    }

    pub(crate) fn route(&mut self, method: &str, route: &str, handler: &str) -> EndpointId {
        let label = self.tables.intern_string(&format!("{method} {route}"));
        let method = Some(self.tables.intern_string(method));
        let route = Some(self.tables.intern_string(route));
        let handler = Some(self.tables.intern_string(handler));
        let framework = Framework::Flask;
        self.tables.intern_endpoint(Endpoint { label, method, route, framework, handler })
    }

    /// A stack, root first, of `(function, file, first line, line)`.
    pub(crate) fn stack(&mut self, frames: &[(&str, &str, u32, u32)]) -> Option<StackId> {
        let tables = &mut self.tables;
        let frames: Vec<_> = frames
            .iter()
            .map(|&(name, file, first_line, line)| {
                let function = tables.intern_function_named(name, file, first_line);
                tables.intern_frame(Frame { function, line })
            })
            .collect();
        tables.intern_stack_of(frames)
    }

    pub(crate) fn named(&mut self, name: &str) -> Option<OnId> {
        let name = self.tables.intern_string(name);
        Some(self.tables.intern_on(On::Named(name)))
    }

    /// Adds a sample so many times, one tick each.
    pub(crate) fn add(&mut self, times: u64, sample: Sample) {
        let process = self.tables.thread(sample.thread).process;
        for number in 0..times {
            let at = Nanos::from_millis(number);
            let tick = Tick { process, at, lateness: Nanos::ZERO };
            self.builder.tick(&self.tables, &tick, &[sample]).unwrap();
        }
    }

    /// Ends the recording after ten seconds.
    pub(crate) fn finish(mut self) -> Profile {
        let progress = Progress {
            elapsed: Nanos::from_millis(10_000),
            ticks: 1_000,
            missed_ticks: 3,
            sampler_cpu: Nanos::from_millis(130),
            slowed: Nanos::from_millis(0),
            cut_stacks: 0,
            system_calls: 40_000,
            bytes_read: 9_000_000,
        };
        self.builder.end(&self.tables, &progress).unwrap();
        self.builder.finish(self.tables)
    }
}

const PACKAGES: &str = "/srv/venv/lib/python3.11/site-packages";

/// The shop: an arbiter, a worker with three threads and one with a single thread.
///
/// | endpoint | state | seconds |
/// |---|---|---|
/// | `GET /report/<int:year>` | io on postgresql | 6.0 |
/// | | running or (a tenth) runnable, holding the GIL | 1.0 |
/// | `GET /users/<int:uid>` | running, holding the GIL | 3.0 |
/// | | gil_wait for the report | 0.8 |
/// | | partial, running or (a tenth) runnable | 0.2 |
/// | `POST /orders` | lock | 0.5 |
/// | | runnable | 0.3 |
/// | `(background metrics)` | sleep | 1.0 |
/// | `(server)` | unknown, lost | 0.2 |
/// | `(idle)` | idle | 20.0 |
pub(crate) fn shop() -> Profile {
    let mut shop = Shop::default();
    let session = Session {
        farrier_version: "0.1.0".into(),
        start_unix_ns: 1_795_254_647_000_000_000,
        rate_hz: 100.0,
        cpu_budget: Some(0.05),
        slow: None,
        host: "shop-1".into(),
        cpus: 4,
        cpu_quota: Some(2.0),
        command: ["farrier", "record", "-p", "4700"].map(String::from).to_vec(),
        target: "gunicorn shop.wsgi:app (pid 4700)".into(),
    };
    shop.builder.begin(&session).unwrap();
    let arbiter = shop.process(4700, Role::Arbiter, 1);
    let first = shop.process(4711, Role::Worker, 3);
    let second = shop.process(4712, Role::Worker, 1);
    let master = shop.thread(arbiter, 4700, "MainThread");
    let pool_0 = shop.thread(first, 4721, "ThreadPoolExecutor-0_0");
    let pool_1 = shop.thread(first, 4722, "ThreadPoolExecutor-0_1");
    let metrics = shop.thread(first, 4723, "metrics");
    let main = shop.thread(second, 4712, "MainThread");

    let gunicorn = format!("{PACKAGES}/gunicorn/workers/gthread.py");
    let flask = format!("{PACKAGES}/flask/app.py");
    let sqlalchemy = format!("{PACKAGES}/sqlalchemy/engine/default.py");
    let server = ("ThreadWorker.handle_request", gunicorn.as_str(), 330, 341);
    let wsgi = ("Flask.wsgi_app", flask.as_str(), 1440, 1455);
    let report = ("yearly_report", "/srv/shop/shop/reports.py", 20, 31);
    let query = ("DefaultDialect.do_execute", sqlalchemy.as_str(), 940, 941);
    let render = ("render_rows", "/srv/shop/shop/reports.py", 50, 58);
    let users = ("show_user", "/srv/shop/shop/views.py", 10, 14);
    let walk = ("Tree.walk", "/srv/shop/shop/tree.py", 5, 9);
    let order = ("place_order", "/srv/shop/shop/views.py", 30, 33);
    let acquire = ("Pool.acquire", "/srv/shop/shop/pool.py", 12, 15);

    let yearly = shop.route("GET", "/report/<int:year>", "reports.yearly_report");
    let user = shop.route("GET", "/users/<int:uid>", "show_user");
    let orders = shop.route("POST", "/orders", "place_order");
    let background = shop.label("(background metrics)");
    let serving = shop.label("(server)");
    let idle = shop.label("(idle)");
    let request = RequestId::new;

    let stack = shop.stack(&[server, wsgi, report, query]);
    let on = shop.named("postgresql 10.0.0.5:5432");
    shop.add(600, Sample { stack, on, request: request(1), ..sample(pool_0, yearly, State::Io) });
    let stack = shop.stack(&[server, wsgi, report, render]);
    // Of each 10 ms.
    let (cpu, runqueue) = (Nanos::from_millis(9), Nanos::from_millis(1));
    let holding = Sample {
        stack,
        cpu,
        runqueue,
        request: request(2),
        holds_gil: true,
        ..sample(pool_0, yearly, State::Running)
    };
    shop.add(100, holding);

    // Recursive: counts once in the function's total.
    let stack = shop.stack(&[server, wsgi, users, walk, walk, walk]);
    let walking = Sample {
        stack,
        cpu,
        runqueue,
        request: request(3),
        holds_gil: true,
        ..sample(main, user, State::Running)
    };
    shop.add(300, walking);
    let function = shop.tables.intern_function_named(render.0, render.1, render.2);
    let on = Some(shop.tables.intern_on(On::Holder { function, endpoint: yearly }));
    let waiting = Sample { stack, on, request: request(4), ..sample(pool_1, user, State::GilWait) };
    shop.add(80, Sample { evidence: Evidence::SyscallAndFrame, ..waiting });
    let stack = shop.stack(&[server, wsgi, users]);
    let partial = Sample {
        stack,
        cpu,
        runqueue,
        request: request(4),
        grade: Grade::Partial,
        evidence: Evidence::RunFlag,
        ..sample(pool_1, user, State::Running)
    };
    shop.add(20, partial);

    let stack = shop.stack(&[server, wsgi, order, acquire]);
    let on = shop.named("threading.Lock");
    shop.add(50, Sample { stack, on, request: request(5), ..sample(pool_1, orders, State::Lock) });
    let stack = shop.stack(&[server, wsgi, order]);
    let runqueue = Nanos::from_millis(10);
    let wanting = Sample { runqueue, ..sample(pool_1, orders, State::Running) };
    shop.add(30, Sample { stack, request: request(5), grade: Grade::Functions, ..wanting });

    let stack = shop.stack(&[("Thread.run", "/usr/lib/python3.11/threading.py", 960, 982)]);
    shop.add(100, Sample { stack, ..sample(metrics, background, State::Sleep) });
    let lost = sample(main, serving, State::Unknown);
    shop.add(20, Sample { grade: Grade::Lost, evidence: Evidence::None, ..lost });
    let stack = shop.stack(&[("Arbiter.run", &gunicorn, 190, 205)]);
    shop.add(1000, Sample { stack, ..sample(master, idle, State::Idle) });
    shop.add(1000, Sample { evidence: Evidence::Unchanged, ..sample(metrics, idle, State::Idle) });

    let address = shop.tables.intern_string("0.0.0.0:8000");
    for (looks, waiting, most) in [(10, 24, 6), (10, 8, 2)] {
        let (at, limit) = (Nanos::from_millis(1_000), Some(2_048));
        let queue = ListenQueue { at, address, looks, waiting, most, limit };
        shop.builder.listen(&shop.tables, &queue).unwrap();
    }

    let text = "worker 4713 left before it could be sampled".into();
    let note = Note { at: Nanos::from_millis(2_500), text };
    shop.builder.note(&shop.tables, &note).unwrap();
    shop.finish()
}
