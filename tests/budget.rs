//! farrier keeps its own CPU time within a budget, says so, and does nothing for it without
//! need.

mod common;

use std::ffi::OsStr;

use nix::sys::resource::{UsageWho, getrusage};
use serde_json::Value;

use common::{Outcome, Script, Summary, alone, newest, run};

/// CPU seconds of all children that have ended.
fn children_cpu() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("it is there");
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6)
        .sum()
}

/// What a recording used by the kernel's account, what it printed, and its summary.
fn record(target: &Script, seconds: &str, rate: &str, budget: &str) -> (f64, Outcome, Summary) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let json = folder.path().join("x.json");
    let pid = target.pid().to_string();
    let before = children_cpu();
    let arguments = ["record", "-p", &pid, "-d", seconds, "-r", rate, "--max-cpu", budget, "-o"]
        .map(OsStr::new);
    let outcome = run(arguments.into_iter().chain([json.as_os_str()])).success();
    (children_cpu() - before, outcome, Summary::read(&json))
}

#[test]
fn a_budget_is_kept_and_named() {
    let _alone = alone();
    let Some(python) = newest() else { return };
    let target = Script::start(&python, "bench_target.py", &["4"]);

    // What it takes to begin and to end is not sampling.
    let (beginning, ..) = record(&target, "0.2", "1000", "1");
    let (whole, outcome, summary) = record(&target, "5.2", "1000", "1");
    let share = (whole - beginning) / 5.0;
    let reached = summary.number(&["sampling", "rate_reached_hz"]);
    println!("{:.2} % of a CPU, {reached:.0} Hz", share * 100.0);
    assert!(share <= 0.015, "{share}");
    assert!(reached < 900.0, "{reached}");
    assert_eq!(summary.number(&["sampling", "cpu_budget"]), 0.01);
    assert!(summary.number(&["sampling", "slowed_s"]) > 4.0);
    let words = outcome.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    let sentence = format!(
        "sampled at {reached:.0} Hz on average: the CPU budget of 1 % was reached; --max-cpu \
         raises it"
    );
    assert!(words.contains(&sentence), "{}", outcome.stdout);

    // A lower rate sees less and weighs the same: five threads, all the time.
    let seconds: f64 = summary.0["states"]
        .as_object()
        .expect("seconds by state")
        .values()
        .filter_map(Value::as_f64)
        .sum();
    assert!((24.0..=27.0).contains(&seconds), "{seconds}");
}

#[test]
fn without_need_and_without_a_limit_the_rate_is_the_one_asked_for() {
    let _alone = alone();
    let Some(python) = newest() else { return };
    let target = Script::start(&python, "bench_target.py", &["1"]);
    for (rate, budget, limit) in [("50", "5", Some(0.05)), ("1000", "none", None)] {
        let (_, outcome, summary) = record(&target, "2", rate, budget);
        assert_eq!(summary.0["sampling"]["cpu_budget"].as_f64(), limit);
        assert_eq!(summary.number(&["sampling", "slowed_s"]), 0.0, "{rate} Hz");
        assert!(!outcome.stdout.contains("budget"), "{}", outcome.stdout);
        let due =
            summary.number(&["sampling", "ticks"]) + summary.number(&["sampling", "missed_ticks"]);
        let expected: f64 = 2.0 * rate.parse::<f64>().expect("a number");
        assert!((due - expected).abs() <= 0.02 * expected + 2.0, "{due} at {rate} Hz");
    }
}
