#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

use std::io;

use fastrand::Rng;
use prost::Message;

use super::block::{BlockWriter, Kind};
use super::columns::{Deltas, RawSample};
use super::v1::{Entries, Events};
use super::*;
use crate::model::*;
use crate::units::{Nanos, Pid, Tid};

#[derive(Debug, Clone, PartialEq)]
enum Call {
    Begin(Session),
    Process(ProcessId, ProcessFacts),
    Tick(Tick, Vec<Sample>),
    Progress(Progress),
    Listen(ListenQueue),
    Note(Note),
    Executions(Vec<Executions>),
    Request(Request<'static>),
    Suspended(TaskLook, Vec<Suspended>),
    LoopBlocked(LoopBlocked),
    End(Progress),
}

/// Remembers every call.
#[derive(Debug, Default)]
struct Calls(Vec<Call>);

impl Sink for Calls {
    fn begin(&mut self, session: &Session) -> io::Result<()> {
        self.0.push(Call::Begin(session.clone()));
        Ok(())
    }
    fn process(&mut self, _: &Tables, id: ProcessId, facts: &ProcessFacts) -> io::Result<()> {
        self.0.push(Call::Process(id, facts.clone()));
        Ok(())
    }
    fn tick(&mut self, _: &Tables, tick: &Tick, samples: &[Sample]) -> io::Result<()> {
        self.0.push(Call::Tick(*tick, samples.to_vec()));
        Ok(())
    }
    fn progress(&mut self, _: &Tables, progress: &Progress) -> io::Result<()> {
        self.0.push(Call::Progress(*progress));
        Ok(())
    }
    fn listen(&mut self, _: &Tables, queue: &ListenQueue) -> io::Result<()> {
        self.0.push(Call::Listen(*queue));
        Ok(())
    }
    fn note(&mut self, _: &Tables, note: &Note) -> io::Result<()> {
        self.0.push(Call::Note(note.clone()));
        Ok(())
    }
    fn executions(&mut self, _: &Tables, executions: &[Executions]) -> io::Result<()> {
        self.0.push(Call::Executions(executions.to_vec()));
        Ok(())
    }
    fn request(&mut self, _: &Tables, request: &Request<'_>) -> io::Result<()> {
        // A path is for who listens live.
        self.0.push(Call::Request(Request { path: None, ..*request }));
        Ok(())
    }
    fn suspended(&mut self, _: &Tables, look: &TaskLook, tasks: &[Suspended]) -> io::Result<()> {
        self.0.push(Call::Suspended(*look, tasks.to_vec()));
        Ok(())
    }
    fn loop_blocked(&mut self, _: &Tables, blocked: &LoopBlocked) -> io::Result<()> {
        self.0.push(Call::LoopBlocked(*blocked));
        Ok(())
    }
    fn end(&mut self, _: &Tables, progress: &Progress) -> io::Result<()> {
        self.0.push(Call::End(*progress));
        Ok(())
    }
}

/// A run with tables that grow as it goes, given to `sink`.
fn random_run(seed: u64, events: usize, sink: &mut dyn Sink) -> Tables {
    let mut rng = Rng::with_seed(seed);
    let mut tables = Tables::new();
    let session = Session {
        farrier_version: "1.2.3".into(),
        start_unix_ns: rng.i64(..),
        rate_hz: rng.f64() * 100.0,
        cpu_budget: rng.bool().then(|| rng.f64()),
        slow: rng.bool().then(|| Nanos::from_nanos(rng.u64(..))),
        host: "h\u{f6}st".into(),
        cpus: rng.u32(..),
        cpu_quota: rng.bool().then(|| rng.f64()),
        command: vec!["farrier".into(), "a b".into(), String::new()],
        target: "gunicorn".into(),
    };
    sink.begin(&session).unwrap();
    let mut at = 0;
    for number in 0..events {
        at += rng.u64(0..200_000_000);
        match rng.u32(0..20) {
            3 => {
                let address = tables.intern_string("127.0.0.1:8000");
                let queue = ListenQueue {
                    at: Nanos::from_nanos(at),
                    address,
                    looks: rng.u64(..),
                    waiting: rng.u64(..),
                    most: rng.u64(..),
                    limit: rng.bool().then(|| rng.u64(..)),
                };
                sink.listen(&tables, &queue).unwrap();
            }
            0 => {
                let id = random_process(&mut rng, &mut tables);
                let facts = random_facts(&mut rng);
                sink.process(&tables, id, &facts).unwrap();
            }
            4 => {
                let executions: Vec<_> = (0..rng.usize(0..4))
                    .map(|_| random_executions(&mut rng, &mut tables))
                    .collect();
                sink.executions(&tables, &executions).unwrap();
            }
            5 | 6 => {
                let process = random_process(&mut rng, &mut tables);
                let sample = random_sample(&mut rng, &mut tables);
                let request = Request {
                    id: RequestId::new(rng.u64(1..)).unwrap(),
                    process,
                    thread: sample.thread,
                    first_seen: Nanos::from_nanos(at),
                    started: rng.bool().then(|| rng.i64(..)),
                    by_path: random_endpoint(&mut rng, &mut tables),
                    endpoint: sample.endpoint,
                    path: Some("/users/7"),
                };
                sink.request(&tables, &request).unwrap();
            }
            7 => {
                let process = random_process(&mut rng, &mut tables);
                let (tasks, looked, moved) = (rng.u32(..), rng.u32(..), rng.u32(..));
                let at = Nanos::from_nanos(at);
                let look = TaskLook { process, at, tasks, looked, moved };
                let tasks: Vec<_> =
                    (0..rng.usize(0..5))
                        .map(|_| random_sample(&mut rng, &mut tables))
                        .map(|Sample { stack, endpoint, on, request, state, weight, .. }| {
                            Suspended { stack, endpoint, on, request, state, weight }
                        })
                        .collect();
                sink.suspended(&tables, &look, &tasks).unwrap();
            }
            8 => {
                let Sample { thread, endpoint, weight, .. } = random_sample(&mut rng, &mut tables);
                let function = random_function(&mut rng, &mut tables);
                let at = Nanos::from_nanos(at);
                let blocked = LoopBlocked { thread, at, held: weight, endpoint, function };
                sink.loop_blocked(&tables, &blocked).unwrap();
            }
            1 => sink.progress(&tables, &random_progress(&mut rng)).unwrap(),
            2 => {
                let text = format!("note {number}\n;\u{1b}");
                sink.note(&tables, &Note { at: Nanos::from_nanos(at), text }).unwrap();
            }
            _ => {
                let process = random_process(&mut rng, &mut tables);
                let samples: Vec<_> =
                    (0..rng.usize(0..6)).map(|_| random_sample(&mut rng, &mut tables)).collect();
                if let [.., one, other] = samples[..] {
                    let (path, route) = (one.endpoint, other.endpoint);
                    tables.intern_routing(Routing { path, route });
                }
                let lateness = Nanos::from_nanos(rng.u64(..));
                let tick = Tick { process, at: Nanos::from_nanos(at), lateness };
                sink.tick(&tables, &tick, &samples).unwrap();
            }
        }
    }
    sink.end(&tables, &random_progress(&mut rng)).unwrap();
    tables
}

fn random_string(rng: &mut Rng, tables: &mut Tables) -> StringId {
    tables.intern_string(&"x".repeat(rng.usize(0..40)))
}

fn random_process(rng: &mut Rng, tables: &mut Tables) -> ProcessId {
    let pid = Pid::new(rng.u32(0..4));
    tables.intern_process(TargetProcess { pid, start_time: rng.u64(..) >> 62 })
}

fn random_facts(rng: &mut Rng) -> ProcessFacts {
    ProcessFacts {
        pid: Pid::new(rng.u32(..)),
        role: [Role::Arbiter, Role::Worker, Role::Other][rng.usize(0..3)],
        server: rng.bool().then(|| "gunicorn".into()),
        worker_class: rng.bool().then(String::new),
        threads: rng.u32(..),
        python: "3.11.7".into(),
        free_threaded: rng.bool(),
        cpu: Nanos::from_nanos(rng.u64(..)),
        runqueue: Nanos::from_nanos(rng.u64(..)),
        gil_switches: rng.bool().then(|| rng.u64(..)),
        gil_watched: Nanos::from_nanos(rng.u64(..)),
        requests_watched: Nanos::from_nanos(rng.u64(..)),
        rss_bytes_first: rng.u64(..),
        rss_bytes_last: rng.u64(..),
        requests: rng.bool().then(|| rng.u64(..)),
        joined: Nanos::from_nanos(rng.u64(..)),
        left: rng.bool().then(|| Nanos::from_nanos(rng.u64(..))),
    }
}

fn random_progress(rng: &mut Rng) -> Progress {
    Progress {
        elapsed: Nanos::from_nanos(rng.u64(..1 << 40)),
        ticks: rng.u64(..),
        missed_ticks: rng.u64(..),
        sampler_cpu: Nanos::from_nanos(rng.u64(..)),
        slowed: Nanos::from_nanos(rng.u64(..)),
        cut_stacks: rng.u64(..),
        system_calls: rng.u64(..),
        bytes_read: rng.u64(..),
    }
}

fn random_function(rng: &mut Rng, tables: &mut Tables) -> FunctionId {
    let name = random_string(rng, tables);
    let file = random_string(rng, tables);
    tables.intern_function(Function { name, file, first_line: rng.u32(0..10) })
}

fn random_endpoint(rng: &mut Rng, tables: &mut Tables) -> EndpointId {
    let mut maybe = || rng.bool().then(|| random_string(rng, tables));
    let (method, route, handler) = (maybe(), maybe(), maybe());
    let label = random_string(rng, tables);
    let framework = Framework::ALL[rng.usize(0..Framework::ALL.len())];
    tables.intern_endpoint(Endpoint { label, method, route, framework, handler })
}

fn random_statement(rng: &mut Rng, tables: &mut Tables) -> StatementId {
    let text = random_string(rng, tables);
    tables.intern_statement(Statement { text })
}

fn random_executions(rng: &mut Rng, tables: &mut Tables) -> Executions {
    let sample = random_sample(rng, tables);
    let statement = random_statement(rng, tables);
    let mut nanos = || Nanos::from_nanos(rng.u64(..));
    let (weight, looked, waited) = (nanos(), nanos(), nanos());
    Executions {
        seen: rng.u64(..),
        samples: rng.u64(..),
        weight,
        looks: rng.u64(..),
        looked,
        waited,
        ended: rng.u64(..),
        estimate: rng.f64() * 1e9,
        variance: rng.f64() * 1e9,
        ..Executions::none(sample.thread, sample.endpoint, (sample.state, sample.on), statement)
    }
}

fn random_sample(rng: &mut Rng, tables: &mut Tables) -> Sample {
    let process = random_process(rng, tables);
    let name = random_string(rng, tables);
    let thread = Thread { process, tid: Tid::new(rng.u32(0..8)), name };
    let thread = tables.intern_thread(thread);
    let frames: Vec<_> = (0..rng.usize(0..8))
        .map(|_| {
            let function = random_function(rng, tables);
            tables.intern_frame(Frame { function, line: rng.u32(0..10) })
        })
        .collect();
    let stack = tables.intern_stack_of(frames);
    let on = match rng.u32(0..3) {
        0 => None,
        1 => Some(On::Named(random_string(rng, tables))),
        _ => {
            let function = random_function(rng, tables);
            Some(On::Holder { function, endpoint: random_endpoint(rng, tables) })
        }
    };
    Sample {
        thread,
        stack,
        endpoint: random_endpoint(rng, tables),
        on: on.map(|on| tables.intern_on(on)),
        statement: rng.bool().then(|| random_statement(rng, tables)),
        request: RequestId::new(rng.u64(0..3)),
        weight: Nanos::from_nanos(rng.u64(..)),
        cpu: Nanos::from_nanos(rng.u64(..) >> rng.u32(0..64)),
        runqueue: Nanos::from_nanos(rng.u64(..)),
        state: State::ALL[rng.usize(0..State::ALL.len())],
        evidence: Evidence::ALL[rng.usize(0..Evidence::ALL.len())],
        grade: Grade::ALL[rng.usize(0..Grade::ALL.len())],
        holds_gil: rng.bool(),
    }
}

fn recorded(seed: u64, events: usize) -> (Vec<Call>, Vec<u8>, Tables) {
    let mut calls = Calls::default();
    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file);
    let tables = random_run(seed, events, &mut Tee(&mut calls, &mut writer));
    (calls.0, file, tables)
}

/// What a replay of these bytes calls, and how it ends.
fn replayed(file: &[u8]) -> (Vec<Call>, Result<Replayed, Error>) {
    let mut calls = Calls::default();
    let outcome = replay(file, &mut calls);
    (calls.0, outcome)
}

/// Asserts that the calls are a beginning of the real ones and then, unless nothing
/// is missing, one note.
fn assert_prefix(calls: &[Call], real: &[Call]) {
    let (last, before) = calls.split_last().unwrap();
    assert!(matches!(last, Call::Note(note) if note.text.contains("the recording ")), "{last:?}");
    assert!(real.starts_with(before));
}

#[test]
fn a_recording_gives_back_every_call_and_every_table() {
    for seed in 0..30 {
        let (calls, file, tables) = recorded(seed, 400);
        let (again, outcome) = replayed(&file);
        let outcome = outcome.unwrap();
        assert!(outcome.complete);
        assert_eq!(again, calls);
        assert_eq!(outcome.tables.strings(), tables.strings());
        assert_eq!(outcome.tables.functions(), tables.functions());
        assert_eq!(outcome.tables.frames(), tables.frames());
        assert_eq!(outcome.tables.stacks(), tables.stacks());
        assert_eq!(outcome.tables.endpoints(), tables.endpoints());
        assert_eq!(outcome.tables.ons(), tables.ons());
        assert_eq!(outcome.tables.processes(), tables.processes());
        assert_eq!(outcome.tables.threads(), tables.threads());
        assert!(!tables.statements().is_empty());
        assert_eq!(outcome.tables.statements(), tables.statements());
        assert!(!tables.routings().is_empty());
        assert_eq!(outcome.tables.routings(), tables.routings());
    }
}

#[test]
fn samples_of_before_there_were_statements_have_none() {
    let (mut rng, mut tables) = (Rng::with_seed(5), Tables::new());
    let samples: Vec<_> =
        (0..20).map(|_| RawSample::from(&random_sample(&mut rng, &mut tables))).collect();
    let (mut events, mut deltas) = (Events::default(), Deltas::default());
    deltas.restart();
    for sample in &samples {
        assert!(deltas.put_sample(sample, &mut events));
    }
    let mut taken = |events: &Events| {
        deltas.restart();
        let threads = tables.threads().len();
        (0..20).map(|index| deltas.take_sample(events, index, threads)).collect::<Vec<_>>()
    };
    assert_eq!(taken(&events), samples.iter().copied().map(Some).collect::<Vec<_>>());
    events.sample_statement.truncate(10);
    assert_eq!(taken(&events)[10..], [None; 10]);
    events.sample_statement.clear();
    let none = samples.iter().map(|sample| Some(RawSample { statement: 0, ..*sample }));
    assert_eq!(taken(&events), none.collect::<Vec<_>>());
}

#[test]
fn a_file_cut_anywhere_gives_what_is_whole_and_says_so() {
    let (calls, file, _) = recorded(99, 20);
    let mut kept = Vec::new();
    for length in 0..file.len() {
        let (again, outcome) = replayed(&file[..length]);
        match outcome {
            Ok(outcome) => {
                assert!(!outcome.complete);
                assert_prefix(&again, &calls);
                kept.push(again.len());
            }
            Err(Error::NotARecording) => assert!(length < MAGIC.len()),
            Err(Error::Empty) => assert!(again.is_empty()),
            Err(other) => panic!("{other} at {length}"),
        }
    }
    assert!(kept.is_sorted());
    // The longest cut loses the end block alone.
    assert_eq!(kept.last(), Some(&calls.len()));
}

#[test]
fn a_flipped_bit_is_noticed_wherever_it_is() {
    let (calls, file, _) = recorded(5, 12);
    for position in MAGIC.len() + 4..file.len() {
        let mut damaged = file.clone();
        damaged[position] ^= 1 << (position % 8);
        let (again, outcome) = replayed(&damaged);
        match outcome {
            Ok(outcome) => {
                assert!(!outcome.complete, "at {position}");
                assert_prefix(&again, &calls);
            }
            Err(Error::Empty) => {}
            Err(other) => panic!("{other} at {position}"),
        }
    }
}

#[test]
fn at_most_the_last_second_waits_to_be_written() {
    let mut tables = Tables::new();
    let process = tables.intern_process(TargetProcess { pid: Pid::new(1), start_time: 1 });
    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file);
    writer.begin(&Session::default()).unwrap();
    for millis in 0..=5_990 {
        let at = Nanos::from_millis(millis);
        writer.tick(&tables, &Tick { process, at, lateness: Nanos::ZERO }, &[]).unwrap();
    }
    // Never ended: as if it had been killed.
    drop(writer);
    let (calls, outcome) = replayed(&file);
    assert!(!outcome.unwrap().complete);
    let last = calls.iter().rev().find_map(|call| match call {
        Call::Tick(tick, _) => Some(tick.at),
        _ => None,
    });
    assert!(last.unwrap() >= Nanos::from_millis(4_990), "{last:?}");
    let Some(Call::Note(note)) = calls.last() else { panic!("{calls:?}") };
    assert_eq!(
        note.text,
        "the recording was cut short: it has no end after 5.0 s; all before that is here"
    );
}

#[test]
fn large_tables_and_strings_are_split_and_bounded() {
    let mut tables = Tables::new();
    let long = "\u{e9}".repeat(100_000);
    tables.intern_string(&long);
    for number in 0..300_000 {
        let function = tables.intern_function_named("f", "a.py", number);
        tables.intern_frame(Frame { function, line: number });
    }
    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file);
    writer.begin(&Session::default()).unwrap();
    writer.end(&tables, &Progress::default()).unwrap();
    let (_, outcome) = replayed(&file);
    let outcome = outcome.unwrap();
    assert!(outcome.complete);
    assert_eq!(outcome.tables.frames(), tables.frames());
    let kept = &outcome.tables.strings()[0];
    assert!(kept.len() <= 1 << 16 && long.starts_with(&**kept));
}

#[test]
fn files_of_other_kinds_and_versions_are_refused_in_a_sentence() {
    let refused = |file: &[u8]| replayed(file).1.unwrap_err().to_string();
    assert_eq!(refused(b""), "this is not a farrier recording");
    assert_eq!(refused(b"<svg>...</svg>"), "this is not a farrier recording");
    let mut newer = MAGIC.to_vec();
    newer.extend_from_slice(&7_u32.to_le_bytes());
    assert_eq!(
        refused(&newer),
        "this recording has format version 7, which is newer than this farrier reads (version 1)"
    );
    assert_eq!(refused(&MAGIC), "this recording was cut off before anything was saved in it");
}

/// A file with a session and then these blocks, all with correct checksums.
fn crafted(blocks: &[(Kind, Vec<u8>)]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut out = BlockWriter::new(&mut file);
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&VERSION.to_le_bytes());
    out.raw(&header).unwrap();
    out.block(Kind::Session, &[]).unwrap();
    for (kind, payload) in blocks {
        out.block(*kind, payload).unwrap();
    }
    file
}

#[test]
fn entries_that_cannot_be_are_refused_with_a_correct_checksum_too() {
    let string = || Entries { strings: vec!["a".into()], ..Entries::default() };
    let function = || Entries {
        function_name: vec![0],
        function_file: vec![0],
        function_line: vec![1],
        frame_function: vec![0],
        frame_line: vec![1],
        ..string()
    };
    let impossible = [
        Entries { function_name: vec![0], ..string() },
        Entries { frame_function: vec![1], frame_line: vec![1], ..function() },
        // A parent that is not before its child.
        Entries { stack_parent_distance: vec![1], stack_frame: vec![0], ..function() },
        Entries { stack_parent_distance: vec![0], stack_frame: vec![u32::MAX], ..function() },
        Entries { on_name: vec![0], on_function: vec![0], on_endpoint: vec![0], ..function() },
        Entries { on_name: vec![3], on_function: vec![0], on_endpoint: vec![0], ..function() },
        Entries { thread_process: vec![0], thread_tid: vec![1], thread_name: vec![0], ..string() },
        // Deeper than any honest stack.
        Entries {
            stack_parent_distance: std::iter::once(0)
                .chain(std::iter::repeat_n(1, 1 << 17))
                .collect(),
            stack_frame: vec![0; (1 << 17) + 1],
            ..function()
        },
    ];
    for entries in impossible {
        let file = crafted(&[(Kind::Entries, entries.encode_to_vec())]);
        let (calls, outcome) = replayed(&file);
        assert!(!outcome.unwrap().complete);
        assert!(matches!(calls.last(), Some(Call::Note(note)) if note.text.contains("damaged")));
    }
}

#[test]
fn events_that_cannot_be_are_refused_with_a_correct_checksum_too() {
    let entries = Entries {
        strings: vec!["a".into()],
        process_pid: vec![1],
        process_start_time: vec![1],
        thread_process: vec![0],
        thread_tid: vec![1],
        thread_name: vec![0],
        ..Entries::default()
    };
    let tick = |samples: u32| Events {
        order: vec![0],
        tick_process: vec![0],
        tick_at: vec![-1],
        tick_lateness: vec![0],
        tick_samples: vec![samples],
        ..Events::default()
    };
    let sample = |thread: i64, stack: i64| Events {
        sample_thread: vec![thread],
        sample_stack: vec![stack],
        sample_endpoint: vec![0],
        sample_on: vec![0],
        sample_request: vec![0],
        sample_weight: vec![1],
        sample_cpu: vec![0],
        sample_runqueue: vec![0],
        sample_flags: vec![u32::MAX],
        ..tick(1)
    };
    let impossible = [
        tick(1),
        tick(u32::MAX),
        Events { tick_process: vec![1], ..tick(0) },
        Events { order: vec![0, 0], ..tick(0) },
        Events { order: vec![9], ..tick(0) },
        Events { order: vec![1], ..tick(0) },
        sample(i64::MAX, 0),
        sample(-1, 0),
        sample(0, 1),
        // There is no endpoint at all.
        sample(0, 0),
    ];
    for events in impossible {
        let file = crafted(&[
            (Kind::Entries, entries.encode_to_vec()),
            (Kind::Events, events.encode_to_vec()),
            (Kind::End, Vec::new()),
        ]);
        let (calls, outcome) = replayed(&file);
        assert!(!outcome.unwrap().complete, "{events:?}");
        assert!(matches!(calls.last(), Some(Call::Note(note)) if note.text.contains("damaged")));
    }
}

#[test]
fn lengths_that_lie_are_noticed_and_blocks_of_later_builds_are_skipped() {
    let whole = crafted(&[(Kind::End, Vec::new())]);
    assert!(replayed(&whole).1.unwrap().complete);
    // The end block is the last 16 bytes and its payload; give it another kind.
    let end = whole.len() - 18;
    let with = |field: usize, value: u32| {
        let mut file = whole.clone();
        file[end + field..end + field + 4].copy_from_slice(&value.to_le_bytes());
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&file[end..end + 12]);
        hasher.update(&file[end + 16..]);
        file[end + 12..end + 16].copy_from_slice(&hasher.finalize().to_le_bytes());
        file
    };
    assert!(replayed(&with(0, 4)).1.unwrap().complete);
    let mut skipped = with(0, 77);
    skipped.extend_from_slice(&whole[end..]);
    assert!(replayed(&skipped).1.unwrap().complete);
    for (field, value) in [(4, u32::MAX), (4, 1), (8, 1), (8, u32::MAX)] {
        let (_, outcome) = replayed(&with(field, value));
        assert!(!outcome.unwrap().complete, "field {field} = {value}");
    }
}

#[test]
fn a_thread_that_stays_as_it_is_costs_next_to_nothing() {
    let mut rng = Rng::with_seed(1);
    let mut tables = Tables::new();
    let process = random_process(&mut rng, &mut tables);
    let samples: Vec<_> = (0..10).map(|_| random_sample(&mut rng, &mut tables)).collect();
    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file);
    writer.begin(&Session::default()).unwrap();
    for number in 0..1000 {
        let tick = Tick { process, at: Nanos::from_millis(number * 10), lateness: Nanos::ZERO };
        let steady: Vec<_> = samples
            .iter()
            .map(|sample| Sample { cpu: Nanos::ZERO, runqueue: Nanos::ZERO, ..*sample })
            .collect();
        writer.tick(&tables, &tick, &steady).unwrap();
    }
    writer.end(&tables, &Progress::default()).unwrap();
    drop(writer);
    assert!(file.len() < 10_000, "{} bytes for 10,000 samples", file.len());
}
