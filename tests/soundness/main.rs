//! No stack that cannot be: busy targets whose every possible stack is known, looked at
//! from another CPU while they run.
//!
//! `cargo test --release --test soundness -- --ignored --nocapture report` prints a table
//! instead. `FARRIER_SOUNDNESS_SECONDS` is how long each target is looked at,
//! `FARRIER_SOUNDNESS_VERSIONS` and `FARRIER_SOUNDNESS_TARGETS` which (`3.11,3.13`, `tree`).

#[path = "../common/mod.rs"]
mod common;
mod rules;

use std::time::Duration;

use farrier::model::Grade;
use serde_json::Value;

use common::{
    Interpreter, NamedFrame, Observed, Script, alone, distance, interpreters, observe, say, skip,
    start_on, two_cpus,
};
use rules::{Strictness, Verdict};

type Rule = fn(&[NamedFrame], &Value, Strictness) -> Verdict;

/// A fixture and its rule.
struct Case {
    name: &'static str,
    script: &'static str,
    arguments: &'static [&'static str],
    /// What may be; of the real mix nothing is known.
    rule: Option<Rule>,
}

const CASES: [Case; 3] = [
    Case { name: "tree", script: "stack_tree.py", arguments: &["30"], rule: Some(rules::tree) },
    Case {
        name: "tree-calls",
        script: "stack_tree.py",
        arguments: &["0"],
        rule: Some(rules::tree),
    },
    Case { name: "mix", script: "real_mix.py", arguments: &[], rule: None },
];

/// Impossible stacks of one run: how many samples of each grade, and what was wrong.
#[derive(Default)]
struct Impossible {
    counts: [u64; 4],
    examples: Vec<String>,
}

fn judge(observed: &Observed, rule: Rule, truth: &Value) -> Impossible {
    let mut impossible = Impossible::default();
    for (grade, frames, seen) in observed.stacks() {
        let strictness = match grade {
            Grade::Exact => Strictness::Lines,
            Grade::Functions | Grade::Partial => Strictness::Functions,
            Grade::Lost => continue,
        };
        if let Err(wrong) = rule(&frames, truth, strictness) {
            impossible.counts[grade as usize] += seen.count;
            let stack: Vec<String> =
                frames.iter().map(|frame| format!("{}:{}", frame.function, frame.line)).collect();
            impossible.examples.push(format!("{}: {wrong}: {}", grade.name(), stack.join(" ")));
        }
    }
    impossible
}

fn seconds(short: f64) -> Duration {
    let told = std::env::var("FARRIER_SOUNDNESS_SECONDS").ok();
    Duration::from_secs_f64(told.and_then(|told| told.parse().ok()).unwrap_or(short))
}

/// Whether a variable of the environment, if it is set, lists this word.
fn chosen(variable: &str, word: &str) -> bool {
    std::env::var(variable).map_or(true, |list| list.split(',').any(|each| each == word))
}

fn truth_of(script: &Script, case: &Case) -> Value {
    if case.rule.is_some() { script.truth() } else { Value::Null }
}

fn chosen_interpreters() -> Vec<Interpreter> {
    let mut all = interpreters();
    all.retain(|interpreter| chosen("FARRIER_SOUNDNESS_VERSIONS", interpreter.version));
    all
}

fn leaf(case: &Case) -> fn(&NamedFrame) -> String {
    match case.rule {
        // By depth.
        Some(_) => |frame| frame.function.split('_').next().unwrap_or_default().to_owned(),
        None => |frame| format!("{} {}", frame.file, frame.function),
    }
}

#[test]
#[ignore = "prints a table and judges nothing"]
fn report() {
    let _alone = alone();
    let Some([cpu, other]) = two_cpus() else { return skip("only one CPU") };
    for interpreter in chosen_interpreters() {
        for case in CASES.iter().filter(|case| chosen("FARRIER_SOUNDNESS_TARGETS", case.name)) {
            let script = start_on(cpu, &interpreter, case.script, case.arguments);
            let truth = truth_of(&script, case);
            let [run, same, again] =
                [other, cpu, cpu].map(|cpu| observe(&script, cpu, seconds(4.0)));
            let [exact, functions, partial, lost] =
                Grade::ALL.map(|grade| run.share(&[grade]) * 100.0);
            say(&format!(
                "{:5} {:11} {:6} samples {:5.0}/s  exact {exact:5.1} functions {functions:5.1} partial {partial:5.1} lost {lost:5.1} %  target's CPU {:.2}",
                interpreter.version,
                case.name,
                run.samples(),
                run.rate(),
                run.cpu_share,
            ));
            let [run_time, same_time, again_time] =
                [&run, &same, &again].map(|run| run.self_time(leaf(case)));
            say(&format!(
                "      distance from the truth {:.1} %, floor {:.1} %; same CPU: {:.0}/s, exact {:.1} %, CPU {:.2}",
                distance(&run_time, &same_time) * 100.0,
                distance(&same_time, &again_time) * 100.0,
                same.rate(),
                same.share(&[Grade::Exact]) * 100.0,
                same.cpu_share,
            ));
            let Some(rule) = case.rule else { continue };
            for (what, run) in [("other CPU", &run), ("same CPU", &same)] {
                let impossible = judge(run, rule, &truth);
                say(&format!(
                    "      {what}: impossible: exact {} functions {} partial {}",
                    impossible.counts[0], impossible.counts[1], impossible.counts[2],
                ));
                for example in impossible.examples.iter().take(4) {
                    say(&format!("        {example}"));
                }
            }
        }
    }
}
