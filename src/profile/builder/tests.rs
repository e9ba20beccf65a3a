use super::*;
use crate::model::{Endpoint, Evidence, Framework, On, Routing, TargetProcess, Thread};
use crate::profile::RequestsSeen;
use crate::units::{Pid, Tid};

struct World {
    tables: Tables,
    process: ProcessId,
    sample: Sample,
}

fn world() -> World {
    let mut tables = Tables::new();
    let process = tables.intern_process(TargetProcess { pid: Pid::new(7), start_time: 1 });
    let name = tables.intern_string("MainThread");
    let thread = tables.intern_thread(Thread { process, tid: Tid::new(7), name });
    let endpoint = endpoint(&mut tables, "GET /a");
    let stack = stack(&mut tables, &["main", "view"]);
    let sample = Sample {
        thread,
        stack,
        endpoint,
        on: None,
        statement: None,
        request: None,
        weight: Nanos::from_millis(10),
        cpu: Nanos::from_millis(4),
        runqueue: Nanos::from_millis(1),
        state: State::Running,
        evidence: Evidence::Syscall,
        grade: Grade::Exact,
        holds_gil: true,
    };
    World { tables, process, sample }
}

fn endpoint(tables: &mut Tables, label: &str) -> EndpointId {
    let label = tables.intern_string(label);
    tables.intern_endpoint(Endpoint {
        label,
        method: None,
        route: None,
        framework: Framework::None,
        handler: None,
    })
}

fn stack(tables: &mut Tables, functions: &[&str]) -> Option<StackId> {
    let frames: Vec<_> = functions
        .iter()
        .map(|name| {
            let function = tables.intern_function_named(name, "app.py", 1);
            tables.intern_frame(Frame { function, line: 2 })
        })
        .collect();
    tables.intern_stack_of(frames)
}

fn tick(builder: &mut Builder, world: &World, samples: &[Sample]) {
    let tick = Tick { process: world.process, at: Nanos::ZERO, lateness: Nanos::ZERO };
    builder.tick(&world.tables, &tick, samples).unwrap();
}

#[test]
fn a_path_with_one_route_is_that_route_and_one_with_two_is_not() {
    let mut world = world();
    let mut builder = Builder::new();
    let names = ["GET /a/{int}", "GET /a/<n>", "GET /b/{int}", "GET /b/<n>", "GET /b/<m>"];
    let [a, route_a, b, one, other] = names.map(|name| endpoint(&mut world.tables, name));
    for (path, route) in [(a, route_a), (b, one), (b, other)] {
        world.tables.intern_routing(Routing { path, route });
    }
    let function = world.tables.intern_function_named("f", "f.py", 1);
    let held = |endpoint| On::Holder { function, endpoint };
    let behind_a = world.tables.intern_on(held(a));
    let request = |number| RequestId::new(number);
    tick(
        &mut builder,
        &world,
        &[
            Sample { endpoint: a, request: request(1), ..world.sample },
            Sample { endpoint: route_a, request: request(2), ..world.sample },
            Sample { endpoint: b, request: request(3), ..world.sample },
            Sample { endpoint: one, on: Some(behind_a), ..world.sample },
        ],
    );
    let profile = builder.finish(world.tables);
    let sampled = profile.cells().iter().filter(|cell| cell.samples > 0);
    let endpoints: Vec<_> = sampled.map(|cell| cell.key.endpoint).collect();
    assert_eq!(endpoints, [route_a, route_a, b, one]);
    let on = profile.cells()[3].key.on.map(|on| profile.tables().on(on));
    assert_eq!(on, Some(held(route_a)));
    let thread = world.sample.thread;
    let seen = |endpoint, count| RequestsSeen { thread, endpoint, count };
    let mut wanted = vec![seen(route_a, 2), seen(b, 1)];
    wanted.sort_unstable_by_key(|seen| seen.endpoint);
    assert_eq!(profile.requests(), wanted);
}

fn names(profile: &Profile, cell: &Cell) -> Vec<String> {
    let tables = profile.tables();
    let mut names: Vec<_> = tables
        .frames_from_leaf(cell.key.stack.unwrap())
        .map(|frame| tables.function(tables.frame(frame).function).name)
        .map(|name| tables.string(name).to_owned())
        .collect();
    names.reverse();
    names
}

#[test]
fn equal_keys_add_up_and_the_steady_state_grows_nothing() {
    let world = world();
    let waiting = Sample { state: State::Io, holds_gil: false, ..world.sample };
    let mut builder = Builder::new();
    tick(&mut builder, &world, &[world.sample, waiting]);
    let room = |b: &Builder| (b.cells.room(), b.threads.capacity());
    let before = room(&builder);
    for _ in 0..10_000 {
        tick(&mut builder, &world, &[world.sample, waiting]);
    }
    assert_eq!(room(&builder), before);
    let profile = builder.finish(world.tables);
    let cells = profile.cells().iter();
    let cells: Vec<_> = cells.map(|cell| (cell.key.state, cell.weight, cell.samples)).collect();
    // Of 20 ms each time, 8 on a CPU and 2 waiting for one.
    let wanted = [
        (State::Running, Nanos::from_millis(80_008), 10_001),
        (State::Io, Nanos::from_millis(100_010), 10_001),
        (State::Runnable, Nanos::from_millis(20_002), 0),
    ];
    assert_eq!(cells, wanted);
    let [running, io, runnable] = profile.cells() else { panic!() };
    assert_eq!([running.cpu, io.cpu, runnable.cpu].map(Nanos::as_nanos), [80_008_000_000, 0, 0]);
    // Whoever holds the GIL holds it as long as it is seen to.
    assert_eq!(running.gil_held, Nanos::from_millis(100_010));
}

#[test]
fn a_request_counts_once_under_its_last_endpoint() {
    let mut world = world();
    let provisional = world.sample.endpoint;
    let routed = endpoint(&mut world.tables, "GET /b");
    let at =
        |request, endpoint| Sample { request: RequestId::new(request), endpoint, ..world.sample };
    let mut builder = Builder::new();
    tick(&mut builder, &world, &[at(1, provisional)]);
    tick(&mut builder, &world, &[at(1, routed)]);
    tick(&mut builder, &world, &[at(1, routed)]);
    tick(&mut builder, &world, &[at(0, provisional)]);
    tick(&mut builder, &world, &[at(1, routed)]);
    tick(&mut builder, &world, &[at(2, routed)]);
    tick(&mut builder, &world, &[at(3, provisional)]);
    let thread = world.sample.thread;
    let profile = builder.finish(world.tables);
    assert_eq!(
        profile.requests(),
        [
            RequestsSeen { thread, endpoint: provisional, count: 1 },
            RequestsSeen { thread, endpoint: routed, count: 2 },
        ]
    );
}

#[test]
fn grades_below_exact_are_visible_and_marked_once() {
    let mut world = world();
    let marked = stack(&mut world.tables, &["main"]);
    let unsettled = world.tables.intern_function_named("(unsettled)", "", 0);
    let frame = world.tables.intern_frame(Frame { function: unsettled, line: 0 });
    let marked = world.tables.intern_stack(StackNode { parent: marked, frame });
    let partial = Sample { grade: Grade::Partial, ..world.sample };
    let mut builder = Builder::new();
    tick(
        &mut builder,
        &world,
        &[
            partial,
            Sample { stack: Some(marked), ..partial },
            Sample { stack: None, grade: Grade::Lost, ..world.sample },
            Sample { grade: Grade::Functions, ..world.sample },
        ],
    );
    let profile = builder.finish(world.tables);
    let stacks: Vec<_> = profile.cells().iter().map(|cell| names(&profile, cell)).collect();
    assert_eq!(stacks[0], ["main", "view", "(unsettled)"]);
    assert_eq!(stacks[1], ["main", "(unsettled)"]);
    assert_eq!(stacks[2], ["(lost)"]);
    assert_eq!(stacks[3], ["main", "view"]);
}

#[test]
fn facts_notes_and_progress_are_the_last_known_and_bounded() {
    let world = world();
    let mut builder = Builder::new();
    let session = Session { target: "gunicorn".into(), ..Session::default() };
    builder.begin(&session).unwrap();
    for number in 0..NOTES_KEPT + 5 {
        let note = Note { at: Nanos::ZERO, text: format!("note {number}") };
        builder.note(&world.tables, &note).unwrap();
    }
    let early = Progress { elapsed: Nanos::from_millis(1), ticks: 5, ..Progress::default() };
    let at = Nanos::from_millis(9);
    let late = Tick { process: world.process, at, lateness: Nanos::ZERO };
    builder.tick(&world.tables, &late, &[]).unwrap();
    builder.progress(&world.tables, &early).unwrap();
    let profile = builder.finish(world.tables);
    assert_eq!(profile.session().target, "gunicorn");
    assert_eq!(profile.progress().elapsed, at);
    assert_eq!(profile.progress().ticks, 5);
    assert!(!profile.is_complete());
    assert_eq!(profile.notes().len(), NOTES_KEPT);
    assert_eq!(profile.notes()[3].text, "note 3");
    assert_eq!(profile.notes_left_out(), 5);
}
