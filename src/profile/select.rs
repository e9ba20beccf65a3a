//! Narrowing a profile to what is of interest.

use super::flights::RequestTimes;
use super::{Cell, Profile, RequestsSeen, SlowLog, SlowRequest, SuspendedCell};
use crate::model::{EndpointId, Executions, ProcessId, State, ThreadId};
use crate::units::{Pid, Tid};

/// A name with wildcards: `*` stands for any text, `?` for any one character;
/// everything else, `<int:id>` and `[x]` too, stands for itself. The whole name has
/// to match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<char>);

impl Pattern {
    /// The pattern with this text.
    pub fn new(text: &str) -> Self {
        Self(text.chars().collect())
    }

    /// Whether `name` matches.
    pub fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let pattern = &self.0;
        let (mut at, mut in_name) = (0, 0);
        // Where the last `*` stands and how far it has reached: the only place one
        // ever has to go back to.
        let mut star: Option<(usize, usize)> = None;
        while in_name < name.len() {
            match pattern.get(at) {
                Some('*') => {
                    star = Some((at, in_name));
                    at += 1;
                }
                Some(&wanted) if wanted == '?' || wanted == name[in_name] => {
                    at += 1;
                    in_name += 1;
                }
                _ => {
                    let Some((position, reached)) = star else { return false };
                    star = Some((position, reached + 1));
                    at = position + 1;
                    in_name = reached + 1;
                }
            }
        }
        pattern[at..].iter().all(|&rest| rest == '*')
    }
}

/// What to keep of a profile. Each list names alternatives, and an empty one keeps
/// all; the lists must all agree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Endpoints by their label (`GET /users/*`) or their route (`/users/*`).
    pub endpoints: Vec<Pattern>,
    /// Processes.
    pub pids: Vec<Pid>,
    /// Threads by name or by their kernel identifier.
    pub threads: Vec<Pattern>,
    /// States.
    pub states: Vec<State>,
    /// Leave out threads that wait for work.
    pub drop_idle: bool,
    /// Leave out threads that do not hold the GIL.
    pub only_gil: bool,
    /// Suspended tasks in place of threads ([`Profile::of_suspended`]).
    pub suspended: bool,
}

impl Profile {
    /// The part that a selection keeps. Processes that are not selected are left
    /// out with their facts; the totals of the sampling itself stay. Requests are
    /// counted by thread and endpoint, so a choice of states does not change them; executions
    /// of statements are likewise. The listening sockets are shared by all, and stay.
    #[must_use]
    pub fn select(&self, selection: &Selection) -> Self {
        if selection.suspended {
            let selection = Selection { suspended: false, ..selection.clone() };
            return self.of_suspended().select(&selection);
        }
        let keep = Keep::new(self, selection);
        Self {
            tables: self.tables.clone(),
            session: self.session.clone(),
            processes: self.processes.iter().filter(|(id, _)| keep.process(*id)).cloned().collect(),
            progress: self.progress,
            complete: self.complete,
            notes: self.notes.clone(),
            notes_left_out: self.notes_left_out,
            cells: self.cells.iter().filter(|cell| keep.cell(cell)).copied().collect(),
            requests: self.requests.iter().filter(|seen| keep.requests(seen)).copied().collect(),
            times: self.times.iter().filter(|of| keep.times(of)).cloned().collect(),
            gaps: self.gaps.clone(),
            most_in_flight: keep.most_in_flight(&self.most_in_flight),
            slow: self.slow.as_ref().map(|slow| keep.slow(slow)),
            executions: self.executions.iter().filter(|of| keep.executions(of)).copied().collect(),
            listen: self.listen.clone(),
            suspended: self.suspended.iter().filter(|of| keep.suspended(of)).copied().collect(),
            loop_holders: {
                let all = self.loop_holders.iter();
                all.filter(|it| keep.process(it.process) && keep.endpoints[it.endpoint.index()])
                    .copied()
                    .collect()
            },
            tasks_seen: {
                let seen = self.tasks_seen.iter().filter(|seen| keep.process(seen.process));
                seen.copied().collect()
            },
        }
    }
}

/// A selection worked out for one profile: one answer for each handle.
struct Keep<'a> {
    selection: &'a Selection,
    processes: Vec<bool>,
    threads: Vec<bool>,
    endpoints: Vec<bool>,
}

impl<'a> Keep<'a> {
    fn new(profile: &Profile, selection: &'a Selection) -> Self {
        let tables = profile.tables();
        let any = |patterns: &[Pattern], name: &str| patterns.iter().any(|p| p.matches(name));
        let pid_wanted = |pid: Pid| selection.pids.is_empty() || selection.pids.contains(&pid);
        let tid_wanted = |tid: Tid| any(&selection.threads, &tid.to_string());
        let processes: Vec<bool> =
            tables.processes().iter().map(|process| pid_wanted(process.pid)).collect();
        let threads = tables.threads().iter().map(|thread| {
            processes[thread.process.index()]
                && (selection.threads.is_empty()
                    || any(&selection.threads, tables.string(thread.name))
                    || tid_wanted(thread.tid))
        });
        let endpoints = tables.endpoints().iter().map(|endpoint| {
            selection.endpoints.is_empty()
                || any(&selection.endpoints, tables.string(endpoint.label))
                || endpoint
                    .route
                    .is_some_and(|route| any(&selection.endpoints, tables.string(route)))
        });
        Self { selection, threads: threads.collect(), endpoints: endpoints.collect(), processes }
    }

    fn process(&self, id: ProcessId) -> bool {
        self.processes[id.index()]
    }

    fn place(&self, thread: ThreadId, endpoint: EndpointId) -> bool {
        self.threads[thread.index()] && self.endpoints[endpoint.index()]
    }

    fn cell(&self, cell: &Cell) -> bool {
        let (key, selection) = (&cell.key, self.selection);
        self.place(key.thread, key.endpoint)
            && (selection.states.is_empty() || selection.states.contains(&key.state))
            && !(selection.drop_idle && key.state == State::Idle)
            && (!selection.only_gil || key.holds_gil)
    }

    /// Tasks are on no thread, and hold no GIL while they are suspended.
    fn suspended(&self, of: &SuspendedCell) -> bool {
        let selection = self.selection;
        self.process(of.process)
            && self.endpoints[of.endpoint.index()]
            && selection.threads.is_empty()
            && (selection.states.is_empty() || selection.states.contains(&of.state))
            && !(selection.drop_idle && of.state == State::Idle)
            && !selection.only_gil
    }

    fn executions(&self, of: &Executions) -> bool {
        self.place(of.thread, of.endpoint)
    }

    fn requests(&self, seen: &RequestsSeen) -> bool {
        self.place(seen.thread, seen.endpoint)
    }

    /// How long requests took is kept by process: a choice of threads has nothing of it.
    fn times(&self, of: &RequestTimes) -> bool {
        self.selection.threads.is_empty()
            && self.processes[of.process.index()]
            && self.endpoints[of.endpoint.index()]
    }

    fn most_in_flight(&self, most: &[(EndpointId, u64)]) -> Vec<(EndpointId, u64)> {
        let of_all = self.selection.threads.is_empty() && self.selection.pids.is_empty();
        let wanted =
            |(endpoint, _): &&(EndpointId, u64)| of_all && self.endpoints[endpoint.index()];
        most.iter().filter(wanted).copied().collect()
    }

    /// Of a narrower choice the hundred that were kept are all that is known.
    fn slow(&self, log: &SlowLog) -> SlowLog {
        let wanted = |slow: &&SlowRequest| self.place(slow.thread, slow.endpoint);
        let kept: Vec<_> = log.kept.iter().filter(wanted).cloned().collect();
        let count = if kept.len() == log.kept.len() { log.count } else { kept.len() as u64 };
        SlowLog { threshold: log.threshold, count, kept }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Endpoint, Evidence, Framework, Grade, RequestId, Sample, Sink, Tables, TargetProcess,
        Thread, Tick,
    };
    use crate::profile::Builder;
    use crate::units::Nanos;

    #[test]
    fn patterns_match_whole_names() {
        let matches = |pattern: &str, name: &str| Pattern::new(pattern).matches(name);
        assert!(matches("GET /users/*", "GET /users/<int:uid>"));
        assert!(matches("GET /users/<int:uid>", "GET /users/<int:uid>"));
        assert!(matches("*", ""));
        assert!(matches("**a*b", "xaxab"));
        assert!(matches("*ab", "aab"));
        assert!(matches("a?c", "a\u{e9}c"));
        assert!(!matches("a?c", "ac"));
        assert!(!matches("GET /users", "GET /users/1"));
        assert!(!matches("", "a"));
        // Would take for ever if every star were tried at every place.
        assert!(!matches(&"*a".repeat(50), &"a".repeat(49)));
    }

    /// Two processes with two threads each; every thread is seen once running under
    /// `GET /a` (request 1…4) and once idle under `(idle)`.
    fn profile() -> Profile {
        let mut tables = Tables::new();
        let mut builder = Builder::new();
        let endpoint = |tables: &mut Tables, label: &str, route: Option<&str>| {
            let label = tables.intern_string(label);
            let route = route.map(|route| tables.intern_string(route));
            let framework = Framework::None;
            let endpoint = Endpoint { label, method: route, route, framework, handler: None };
            tables.intern_endpoint(endpoint)
        };
        let served = endpoint(&mut tables, "GET /a", Some("/a"));
        let idle = endpoint(&mut tables, "(idle)", None);
        for pid in [10, 20] {
            let process =
                tables.intern_process(TargetProcess { pid: Pid::new(pid), start_time: 1 });
            for number in 0..2 {
                let name = tables.intern_string(&format!("pool_{number}"));
                let tid = Tid::new(pid + number);
                let thread = tables.intern_thread(Thread { process, tid, name });
                let running = Sample {
                    thread,
                    stack: None,
                    endpoint: served,
                    on: None,
                    statement: None,
                    request: RequestId::new(u64::from(pid + number)),
                    weight: Nanos::from_millis(1),
                    cpu: Nanos::ZERO,
                    runqueue: Nanos::ZERO,
                    state: State::Running,
                    evidence: Evidence::RunFlag,
                    grade: Grade::Exact,
                    holds_gil: number == 0,
                };
                let waiting = Sample {
                    endpoint: idle,
                    request: None,
                    state: State::Idle,
                    holds_gil: false,
                    ..running
                };
                let tick = Tick { process, at: Nanos::ZERO, lateness: Nanos::ZERO };
                builder.tick(&tables, &tick, &[running, waiting]).unwrap();
            }
        }
        builder.finish(tables)
    }

    fn selected(selection: Selection) -> (usize, usize) {
        let selected = profile().select(&selection);
        (selected.cells().len(), selected.requests().len())
    }

    #[test]
    fn every_filter_narrows_and_all_must_agree() {
        let pattern = |text: &str| vec![Pattern::new(text)];
        let all = Selection::default;
        assert_eq!(selected(all()), (8, 4));
        assert_eq!(selected(Selection { endpoints: pattern("GET /*"), ..all() }), (4, 4));
        assert_eq!(selected(Selection { endpoints: pattern("/a"), ..all() }), (4, 4));
        assert_eq!(selected(Selection { endpoints: pattern("(idle)"), ..all() }), (4, 0));
        assert_eq!(selected(Selection { pids: vec![Pid::new(20)], ..all() }), (4, 2));
        assert_eq!(selected(Selection { threads: pattern("pool_1"), ..all() }), (4, 2));
        assert_eq!(selected(Selection { threads: pattern("21"), ..all() }), (2, 1));
        assert_eq!(selected(Selection { states: vec![State::Idle], ..all() }), (4, 4));
        assert_eq!(selected(Selection { drop_idle: true, ..all() }), (4, 4));
        assert_eq!(selected(Selection { only_gil: true, ..all() }), (2, 4));
        let both = Selection { pids: vec![Pid::new(10)], threads: pattern("21"), ..all() };
        assert_eq!(selected(both), (0, 0));
    }
}
