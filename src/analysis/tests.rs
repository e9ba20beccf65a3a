use super::*;
use crate::model::*;
use crate::profile::handmade::{Shop, sample, shop};
use crate::profile::{Builder, Selection};

fn endpoint<'a>(summary: &'a Summary, name: &str) -> &'a EndpointRow {
    summary.endpoints.iter().find(|row| row.endpoint == name).unwrap()
}

fn close(one: f64, other: f64) -> bool {
    (one - other).abs() < 1e-6
}

#[test]
fn endpoints_add_up_to_all_that_is_not_idle() {
    let summary = Summary::of(&shop());
    assert_eq!(summary.busy_seconds(), 13.0);
    assert_eq!(summary.states.seconds(State::Idle), 20.0);
    let names: Vec<_> = summary.endpoints.iter().map(|row| row.endpoint.as_str()).collect();
    assert_eq!(
        names,
        [
            "GET /report/<int:year>",
            "GET /users/<int:uid>",
            "(background metrics)",
            "POST /orders",
            "(server)",
            "(idle)"
        ]
    );
    let seconds: f64 = summary.endpoints.iter().map(|row| row.seconds).sum();
    assert!(close(seconds, 13.0));
    let shares: f64 = summary.endpoints.iter().map(|row| row.share).sum();
    assert!((shares - 1.0).abs() < 1e-5);

    let report = endpoint(&summary, "GET /report/<int:year>");
    assert_eq!((report.seconds, report.cpu_s, report.gil_held_s), (7.0, 0.9, 1.0));
    assert_eq!((report.requests_seen, report.framework), (2, Some("flask")));
    assert_eq!(report.handler.as_deref(), Some("reports.yearly_report"));
    assert_eq!(report.states.seconds(State::Io), 6.0);
    assert_eq!(
        report.waits,
        [EndpointWait {
            state: "io",
            on: Some("postgresql 10.0.0.5:5432".into()),
            seconds: 6.0,
            suspended: false,
            statement: None
        }]
    );
    let idle = endpoint(&summary, "(idle)");
    assert_eq!((idle.seconds, idle.states.seconds(State::Idle)), (0.0, 20.0));
    assert!(idle.functions.is_empty() && idle.method.is_none());
}

#[test]
fn recursion_counts_once_and_grades_show_as_functions() {
    let summary = Summary::of(&shop());
    let row = |name: &str| {
        let row = summary.functions.iter().find(|row| row.time.function == name).unwrap();
        (row.time.self_s, row.time.total_s)
    };
    assert_eq!(row("Tree.walk"), (3.8, 3.8));
    assert_eq!(row("Flask.wsgi_app"), (0.0, 11.8));
    assert_eq!(row("yearly_report"), (0.0, 7.0));
    assert_eq!(row("DefaultDialect.do_execute"), (6.0, 6.0));
    assert_eq!(row("(unsettled)"), (0.2, 0.2));
    assert_eq!(row("(lost)"), (0.2, 0.2));
    assert!(!summary.functions.iter().any(|row| row.time.function == "Arbiter.run"));
    let own: f64 = summary.functions.iter().map(|row| row.time.self_s).sum();
    assert!(close(own, 13.0));
    assert_eq!(summary.functions[0].time.function, "DefaultDialect.do_execute");
    assert_eq!(summary.functions[0].self_share, 0.461538);
    let users = endpoint(&summary, "GET /users/<int:uid>");
    assert_eq!(users.functions[0].function, "Tree.walk");
    assert_eq!(users.functions[0].total_s, 3.8);
}

#[test]
fn the_gil_names_who_held_it_and_who_was_blocked() {
    let gil = Summary::of(&shop()).gil.unwrap();
    // Held 4 s in three processes of 10 s; waited for 0.8 of 13 s.
    assert_eq!(gil.held_share, 0.133333);
    assert_eq!(gil.wait_share, 0.061538);
    let of = |pid| gil.by_process.iter().find(|row| row.pid == pid).unwrap().clone();
    assert_eq!((of(4711).held_share, of(4712).held_share), (0.1, 0.3));
    assert!(close(of(4711).wait_share, 0.8 / 9.8));
    assert_eq!(of(4700).wait_share, 0.0);
    let holders: Vec<_> = gil
        .holders
        .iter()
        .map(|row| (row.function.as_str(), row.held_s, row.blocked_others_s))
        .collect();
    assert_eq!(holders, [("render_rows", 1.0, 0.8), ("Tree.walk", 3.0, 0.0)]);
    assert_eq!(of(4711).switches_per_s, Some(700.0));
    let [behind] = &gil.blocked[..] else { panic!("{:?}", gil.blocked) };
    assert_eq!(behind.endpoint, "GET /users/<int:uid>");
    assert_eq!(
        (&*behind.holder_endpoint, &*behind.function),
        ("GET /report/<int:year>", "render_rows")
    );
    assert_eq!((behind.seconds, behind.share), (0.8, 0.2));
}

#[test]
fn waits_are_listed_by_what_was_waited_on() {
    let summary = Summary::of(&shop());
    let waits: Vec<_> =
        summary.waits.iter().map(|row| (row.state, row.on.as_deref(), row.seconds)).collect();
    assert_eq!(
        waits,
        [
            ("io", Some("postgresql 10.0.0.5:5432"), 6.0),
            ("sleep", None, 1.0),
            ("gil_wait", Some("render_rows (GET /report/<int:year>)"), 0.8),
            ("lock", Some("threading.Lock"), 0.5),
        ]
    );
    assert_eq!(summary.waits[0].share, 0.461538);
    assert_eq!(summary.waits[2].endpoints[0].endpoint, "GET /users/<int:uid>");
}

#[test]
fn the_sampling_and_the_processes_are_told_as_they_were() {
    let summary = Summary::of(&shop());
    let sampling = &summary.sampling;
    assert_eq!((sampling.ticks, sampling.missed_ticks, sampling.samples), (1000, 3, 3300));
    assert_eq!(
        (sampling.exact, sampling.functions, sampling.partial, sampling.lost),
        (3230, 30, 20, 20)
    );
    assert_eq!(sampling.evidence.count(Evidence::Unchanged), 1000);
    assert_eq!(summary.recorded.start, "2026-11-21T09:50:47Z");
    assert!(summary.recorded.complete);
    let pids: Vec<_> = summary.processes.iter().map(|row| (row.pid, row.busy_share)).collect();
    assert_eq!(pids, [(4700, Some(0.0)), (4711, Some(0.494949)), (4712, Some(1.0))]);
}

#[test]
fn nothing_is_made_up_where_nothing_was_measured() {
    let empty = Builder::new().finish(Tables::new());
    let summary = Summary::of(&empty);
    assert!(summary.endpoints.is_empty() && summary.functions.is_empty());
    assert!(summary.gil.is_none() && !summary.recorded.complete);
    assert_eq!(summary.busy_seconds(), 0.0);

    let mut shop = Shop::default();
    let process = shop.process(1, Role::Other, 1);
    let thread = shop.thread(process, 1, "t");
    let label = shop.label("(main)");
    let facts = ProcessFacts { free_threaded: true, ..Shop::facts(1, Role::Other, 1) };
    shop.builder.process(&shop.tables, process, &facts).unwrap();
    shop.add(1, sample(thread, label, State::Running));
    let summary = Summary::of(&shop.finish());
    assert!(summary.gil.is_none());
    assert_eq!(summary.endpoints[0].latency_ms, None);
    assert_eq!(summary.endpoints[0].requests_est, None);
    // A thread without a Python frame weighs, but is no function's time.
    assert_eq!(summary.endpoints[0].seconds, 0.01);
    assert!(summary.functions.is_empty());
}

#[test]
fn a_selection_is_summed_up_like_a_whole() {
    let only_io = Selection { states: vec![State::Io], ..Selection::default() };
    let summary = Summary::of(&shop().select(&only_io));
    assert_eq!(summary.busy_seconds(), 6.0);
    assert_eq!(summary.endpoints[0].share, 1.0);
    assert_eq!(summary.sampling.samples, 600);
}
