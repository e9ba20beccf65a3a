//! Where a busy thread is said to spend its time, looked at from where farrier itself wants
//! to be, against the truth: looked at by a sampler that is kept on the thread's own CPU,
//! where the thread cannot run meanwhile. From another CPU (`--same-cpu no`) a thread that
//! calls a lot is seen in part only: that is measured as well, and said, but not judged.
//!
//! A stack whose leaf did not hold counts as `(unsettled)`, one that was lost as `(lost)`:
//! both are distance from the truth. `FARRIER_BIAS_SECONDS` is how long each of the four
//! runs takes, `FARRIER_BIAS_VERSIONS` of which versions (`3.11,3.13`).

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use farrier::model::Grade;

use common::{
    NamedFrame, Observed, Where, alone, chance, distance, observe, say, skip, start_on, two_cpus,
};

/// A fixture, and what of a leaf makes up its histogram.
struct Case {
    script: &'static str,
    name: fn(&NamedFrame) -> String,
}

const CASES: [Case; 2] = [
    Case { script: "real_mix.py", name: |leaf| format!("{} {}", leaf.file, leaf.function) },
    // By depth.
    Case {
        script: "stack_tree.py",
        name: |leaf| leaf.function.split('_').next().unwrap_or_default().to_owned(),
    },
];

/// How much further from the truth a run may be than the truth from itself.
const MARGIN: f64 = 0.03;

/// The part of a run that the target must have had its CPU for it to be judged.
const UNDISTURBED: f64 = 0.9;

/// How often a disturbed run is repeated.
const ATTEMPTS: usize = 3;

/// One run from where farrier wants to be, two from the target's CPU, one from another.
fn runs(version: &str, case: &Case, duration: Duration) -> Option<[Observed; 4]> {
    let interpreter = common::interpreter(version)?;
    let Some([cpu, other]) = two_cpus() else {
        skip("only one CPU");
        return None;
    };
    let script = start_on(cpu, &interpreter, case.script, &[]);
    for _ in 0..ATTEMPTS {
        let runs = [Where::Anywhere, Where::Same(cpu), Where::Same(cpu), Where::Another(other)]
            .map(|place| observe(&script, place, duration));
        let shares = runs.each_ref().map(|run| run.cpu_share);
        if shares.iter().all(|share| *share >= UNDISTURBED) {
            return Some(runs);
        }
        say(&format!("CPython {version}, {}: disturbed, {shares:.2?} of the CPU", case.script));
    }
    say(&format!("skipped: CPython {version}, {}: could not be judged", case.script));
    None
}

/// How far two measured distances may differ by chance. Half the sum of the absolute values
/// of k normal differences, each of variance 2p(1-p)/n, has a standard deviation of at most
/// sqrt((1 - 2/pi) / 2n); of the difference of two of them, three times that.
fn uncertainty(samples: u64) -> f64 {
    let one = ((1.0 - 2.0 / std::f64::consts::PI) / (2.0 * samples as f64)).sqrt();
    3.0 * one * 2.0_f64.sqrt()
}

fn unbiased(version: &str) {
    let _alone = alone();
    let told = |name| std::env::var(name).ok();
    if told("FARRIER_BIAS_VERSIONS").is_some_and(|list| !list.split(',').any(|one| one == version))
    {
        return;
    }
    let seconds = told("FARRIER_BIAS_SECONDS").and_then(|told| told.parse().ok()).unwrap_or(3.0);
    let mut wrong = Vec::new();
    for case in &CASES {
        let Some(runs) = runs(version, case, Duration::from_secs_f64(seconds)) else { continue };
        let [seen, truth, again, other] = runs.each_ref().map(|run| run.self_time(case.name));
        let judged = |times: &BTreeMap<String, f64>| times.values().sum::<f64>();
        for times in [&seen, &truth, &again, &other] {
            assert!(judged(times) > 0.7 * seconds, "{} of {seconds} s are judged", judged(times));
        }
        let samples = runs.iter().map(Observed::samples).min().unwrap_or_default();
        let floor = distance(&truth, &again).max(chance(&truth, samples));
        let found = distance(&seen, &truth);
        let margin = MARGIN + uncertainty(samples);
        let [exact, functions, partial, lost] = Grade::ALL.map(|grade| runs[0].share(&[grade]));
        let text = format!(
            "CPython {version:4} {:13} {samples} samples: {:.1} % from the truth, which is {:.1} % \
             from itself; {:.1} % are allowed (exact {:.1}, functions {:.1}, partial {:.1}, \
             lost {:.1} %); from another CPU {:.1} %",
            case.script,
            found * 100.0,
            floor * 100.0,
            (floor + margin) * 100.0,
            exact * 100.0,
            functions * 100.0,
            partial * 100.0,
            lost * 100.0,
            distance(&other, &truth) * 100.0,
        );
        say(&text);
        if found > floor + margin {
            say_losers(&seen, &truth);
            wrong.push(text);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What differs most.
fn say_losers(seen: &BTreeMap<String, f64>, truth: &BTreeMap<String, f64>) {
    for (name, seen, truth) in common::differences(seen, truth).into_iter().take(8) {
        say(&format!("    {name:50} {:5.1} % seen, {:5.1} % true", seen * 100.0, truth * 100.0));
    }
}

macro_rules! versions {
    ($($name:ident $version:literal;)*) => {$(
        #[test]
        fn $name() {
            unbiased($version);
        }
    )*};
}

versions! {
    no_bias_on_3_8 "3.8";
    no_bias_on_3_9 "3.9";
    no_bias_on_3_10 "3.10";
    no_bias_on_3_11 "3.11";
    no_bias_on_3_12 "3.12";
    no_bias_on_3_13 "3.13";
    no_bias_on_3_14 "3.14";
    no_bias_on_3_15 "3.15";
}
