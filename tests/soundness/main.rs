//! No stack that cannot be: busy targets whose every possible stack is known, looked at
//! from another CPU while they run, and from where farrier itself wants to be.
//!
//! Longer, or a part of it: `FARRIER_SOUNDNESS_SECONDS` is how long each target is looked
//! at, `FARRIER_SOUNDNESS_VERSIONS` and `FARRIER_SOUNDNESS_TARGETS` which (`3.11,3.13`,
//! `tree,mix`). Everything in one table, without judgement but with the distance from what
//! is seen from the target's own CPU:
//! `cargo test --release --test soundness -- --ignored --nocapture report`.

#[path = "../common/mod.rs"]
mod common;
mod rules;

use std::time::Duration;

use farrier::model::Grade;
use serde_json::Value;

use common::{
    Interpreter, NamedFrame, Observed, Where, alone, chance, differences, distance, interpreters,
    observe, say, skip, start_on, two_cpus,
};
use rules::{Rule, Strictness, Truth};

/// A fixture and what is known of it.
struct Case {
    name: &'static str,
    script: &'static str,
    arguments: &'static [&'static str],
    /// What may be; of the real mix nothing is known.
    rule: Option<&'static Rule>,
    /// How many samples a second there have to be at the least, of a thousand ticks. From
    /// another CPU, whose target goes on to map and unmap memory, a five-hundredth.
    least: f64,
}

const fn case(name: &'static str, script: &'static str, rule: &'static Rule) -> Case {
    Case { name, script, arguments: &[], rule: Some(rule), least: 700.0 }
}

const CASES: [Case; 7] = [
    case("tree", "stack_tree.py", &rules::TREE),
    Case { arguments: &["0"], ..case("tree-calls", "stack_tree.py", &rules::TREE) },
    case("churn", "stack_churn.py", &rules::CHURN),
    case("generators", "stack_generators.py", &rules::GENERATORS),
    case("threads", "stack_threads.py", &rules::THREADS),
    // Hundreds of frames take their time.
    Case { least: 500.0, ..case("deep", "stack_deep.py", &rules::DEEP) },
    Case { rule: None, ..case("mix", "real_mix.py", &rules::TREE) },
];

/// Impossible stacks of one run: how many samples of each grade, and what was wrong.
#[derive(Default)]
struct Impossible {
    counts: [u64; 4],
    examples: Vec<(Grade, String)>,
}

impl Impossible {
    fn say(&self) {
        for (_, example) in self.examples.iter().take(6) {
            say(&format!("        {example}"));
        }
    }
}

/// Of a partial stack the callers are judged: what is left must be the beginning of a
/// possible one.
fn judge(observed: &Observed, rule: &Rule, truth: &Truth) -> Impossible {
    let mut impossible = Impossible::default();
    for (grade, frames, seen) in observed.stacks() {
        let strictness = match grade {
            Grade::Exact => Strictness::Lines,
            Grade::Functions => Strictness::Functions,
            Grade::Partial if frames.is_empty() => continue,
            Grade::Partial => Strictness::Functions,
            Grade::Lost => continue,
        };
        if let Err(wrong) = rules::judge(rule, truth, &frames, strictness) {
            impossible.counts[grade as usize] += seen.count;
            let stack: Vec<String> =
                frames.iter().map(|frame| format!("{}:{}", frame.function, frame.line)).collect();
            let example = format!("{}: {wrong}: {}", grade.name(), stack.join(" "));
            impossible.examples.push((grade, example));
        }
    }
    impossible.examples.sort();
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

fn chosen_interpreters() -> Vec<Interpreter> {
    let mut all = interpreters();
    all.retain(|interpreter| chosen("FARRIER_SOUNDNESS_VERSIONS", interpreter.version));
    all
}

fn chosen_cases() -> impl Iterator<Item = &'static Case> {
    CASES.iter().filter(|case| chosen("FARRIER_SOUNDNESS_TARGETS", case.name))
}

/// A run in a line.
fn describe(interpreter: &Interpreter, case: &Case, place: Where, run: &Observed) -> String {
    let [exact, functions, partial, lost] = Grade::ALL.map(|grade| run.share(&[grade]) * 100.0);
    let (version, name) = (interpreter.version, case.name);
    let from = match place {
        Where::Another(_) => "another CPU",
        Where::Same(_) => "the same CPU",
        Where::Anywhere => "anywhere",
    };
    let (samples, rate, cpu) = (run.samples(), run.rate(), run.cpu_share);
    format!(
        "{version:5} {name:11} from {from:12} {samples:6} samples, {rate:5.0}/s: exact {exact:5.1}, \
         functions {functions:5.1}, partial {partial:5.1}, lost {lost:4.1} %; \
         the target had {cpu:.2} of its CPU"
    )
}

/// Every target of one version.
fn nothing_impossible(version: &str) {
    let _alone = alone();
    if !chosen("FARRIER_SOUNDNESS_VERSIONS", version) {
        return;
    }
    let Some(interpreter) = common::interpreter(version) else { return };
    let Some([cpu, other]) = two_cpus() else { return skip("only one CPU") };
    let mut wrong = Vec::new();
    for case in chosen_cases() {
        let Some(rule) = case.rule else { continue };
        let script = start_on(cpu, &interpreter, case.script, case.arguments);
        let truth = Truth::new(script.truth());
        for place in [Where::Another(other), Where::Anywhere] {
            let run = observe(&script, place, seconds(1.5));
            say(&describe(&interpreter, case, place, &run));
            let impossible = judge(&run, rule, &truth);
            let [exact, functions, partial, _] = impossible.counts;
            // Of a partial stack nothing is claimed but that its callers were there.
            let rare = place != Where::Anywhere && partial * 500 <= run.samples();
            if exact + functions > 0 || (partial > 0 && !rare) {
                say(&format!("      impossible: {:?} by grade", impossible.counts));
                impossible.say();
                wrong.push(format!("{} {place:?}: {:?} by grade", case.name, impossible.counts));
            }
            let least = if place == Where::Anywhere { case.least } else { case.least / 500.0 };
            if run.rate() < least {
                wrong.push(format!("{} {place:?}: {:.0} samples a second", case.name, run.rate()));
            }
        }
    }
    assert!(wrong.is_empty(), "CPython {version}: {}", wrong.join("; "));
}

/// A program of the usual kind: the functions of nearly all stacks hold from where farrier
/// wants to be, and from another CPU, `--same-cpu no`, of at least this part.
fn most_of_a_real_mix_holds(version: &str, from_another_cpu: f64) {
    const GOAL: f64 = 0.95;
    let _alone = alone();
    if !chosen("FARRIER_SOUNDNESS_VERSIONS", version) || !chosen("FARRIER_SOUNDNESS_TARGETS", "mix")
    {
        return;
    }
    let Some(interpreter) = common::interpreter(version) else { return };
    let Some([cpu, other]) = two_cpus() else { return skip("only one CPU") };
    let mix = CASES.iter().find(|case| case.rule.is_none()).expect("it is the last");
    let script = start_on(cpu, &interpreter, mix.script, mix.arguments);
    for (place, least) in [(Where::Anywhere, GOAL), (Where::Another(other), from_another_cpu)] {
        let run = observe(&script, place, seconds(2.0));
        let text = describe(&interpreter, mix, place, &run);
        say(&text);
        let share = run.share(&[Grade::Exact, Grade::Functions]);
        assert!(share >= least, "{text}: {least} is the least");
        let least = if place == Where::Anywhere { mix.least } else { mix.least / 100.0 };
        assert!(run.rate() >= least, "{text}");
    }
}

macro_rules! versions {
    ($($name:ident $version:literal $from_another_cpu:literal;)*) => {$(
        mod $name {
            #[test]
            fn nothing_impossible() {
                super::nothing_impossible($version);
            }

            #[test]
            fn most_of_a_real_mix_holds() {
                super::most_of_a_real_mix_holds($version, $from_another_cpu);
            }
        }
    )*};
}

// With the part of a real mix that holds from another CPU: somewhat less than was measured, for
// that depends on how fast this test itself was compiled to be. To be raised with the walk.
versions! {
    v3_8 "3.8" 0.45;
    v3_9 "3.9" 0.45;
    v3_10 "3.10" 0.50;
    v3_11 "3.11" 0.60;
    v3_12 "3.12" 0.55;
    v3_13 "3.13" 0.60;
    v3_14 "3.14" 0.50;
    v3_15 "3.15" 0.50;
}

/// The rules themselves: a stack that is possible passes; with a frame taken out of its middle,
/// or a caller moved to another line, it does not.
#[test]
fn what_is_spliced_is_refused() {
    let frames = |file: &str, frames: &[(&str, u32)]| -> Vec<NamedFrame> {
        let named = |&(function, line): &(&str, u32)| NamedFrame {
            function: function.to_owned(),
            file: if function == "<module>" { format!("stack_{file}.py") } else { file.to_owned() },
            line,
        };
        frames.iter().map(named).collect()
    };
    let in_file = |file: &str, mut stack: Vec<NamedFrame>| {
        stack.iter_mut().skip(1).for_each(|frame| frame.file = file.to_owned());
        stack
    };
    let truth = Truth::new(serde_json::json!({
        "bottom": 90, "chain": 80, "make": 78, "compiled": 50, "deepest": 1000,
        "edges": [["turn", 601, "use_th0"], ["use_th0", 191, "th0_0"], ["th0_0", 31, "th0_1"]],
    }));
    let good: [(&Rule, Vec<NamedFrame>); 5] = [
        (
            &rules::TREE,
            in_file(
                "stack_tree_calls.py",
                frames("tree", &[("<module>", 90), ("n1_L", 220), ("n2_R", 510), ("n3_L", 604)]),
            ),
        ),
        (
            &rules::CHURN,
            in_file(
                "churn_65.py",
                frames(
                    "churn",
                    &[("<module>", 80), ("c65_0", 14), ("c65_1", 1015), ("c65_2", 2014)],
                ),
            ),
        ),
        (
            &rules::DEEP,
            in_file(
                "stack_deep_calls.py",
                frames("deep", &[("<module>", 90), ("d1_3", 72), ("d2_3", 112), ("d3_3", 151)]),
            ),
        ),
        (
            &rules::GENERATORS,
            in_file(
                "stack_generators_calls.py",
                frames(
                    "generators",
                    &[
                        ("<module>", 90),
                        ("turn", 601),
                        ("use_th0", 191),
                        ("th0_0", 31),
                        ("th0_1", 64),
                    ],
                ),
            ),
        ),
        (&rules::THREADS, {
            let mut stack =
                frames("", &[("t8_0", 10), ("t8_1", 110), ("t8_2", 210), ("t8_3", 302)]);
            stack.iter_mut().for_each(|frame| frame.file = "threads_8.py".to_owned());
            stack
        }),
    ];
    for (rule, stack) in good {
        let judge =
            |stack: &[NamedFrame], strictness| rules::judge(rule, &truth, stack, strictness);
        assert_eq!(judge(&stack, Strictness::Lines), Ok(()), "{stack:?}");
        for index in 0..stack.len() - 1 {
            let mut spliced = stack.clone();
            spliced.remove(index);
            assert!(judge(&spliced, Strictness::Functions).is_err(), "{spliced:?}");
            let mut moved = stack.clone();
            moved[index].line += 1;
            assert!(judge(&moved, Strictness::Lines).is_err(), "{moved:?}");
            assert_eq!(judge(&moved, Strictness::Functions), Ok(()), "{moved:?}");
        }
        let mut other_file = stack.clone();
        other_file[1].file.push('x');
        assert!(judge(&other_file, Strictness::Functions).is_err(), "{other_file:?}");
    }
}

#[test]
#[ignore = "prints a table and judges nothing"]
fn report() {
    let _alone = alone();
    let Some([cpu, other]) = two_cpus() else { return skip("only one CPU") };
    for interpreter in chosen_interpreters() {
        for case in chosen_cases() {
            let script = start_on(cpu, &interpreter, case.script, case.arguments);
            let truth = Truth::new(case.rule.map_or(Value::Null, |_| script.truth()));
            let places =
                [Where::Another(other), Where::Anywhere, Where::Same(cpu), Where::Same(cpu)];
            let runs = places.map(|place| observe(&script, place, seconds(4.0)));
            let times = runs.each_ref().map(|run| match case.rule {
                Some(_) => run.self_time(|leaf| depth(leaf).to_owned()),
                None => run.self_time(|leaf| format!("{} {}", leaf.file, leaf.function)),
            });
            for ((run, place), time) in runs.iter().zip(places).zip(&times).take(3) {
                say(&describe(&interpreter, case, place, run));
                if let Some(rule) = case.rule {
                    let impossible = judge(run, rule, &truth);
                    let [exact, functions, partial, _] = impossible.counts;
                    say(&format!(
                        "      impossible: exact {exact}, functions {functions}, partial {partial}"
                    ));
                    impossible.say();
                }
                if !matches!(case.name, "tree" | "tree-calls" | "mix") {
                    continue;
                }
                say(&format!(
                    "      self time is {:.1} % from the truth, by chance {:.1} %",
                    distance(time, &times[3]) * 100.0,
                    chance(&times[3], run.samples()) * 100.0,
                ));
                if std::env::var_os("FARRIER_SOUNDNESS_LOSERS").is_some() {
                    for (name, seen, is) in differences(time, &times[3]).into_iter().take(12) {
                        let (seen, is) = (seen * 100.0, is * 100.0);
                        say(&format!("        {name:50} {seen:5.1} % seen, {is:5.1} % true"));
                    }
                }
            }
        }
    }
}

/// `n7` of `n7_R`.
fn depth(leaf: &NamedFrame) -> &str {
    leaf.function.split('_').next().unwrap_or_default()
}
