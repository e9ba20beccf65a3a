//! Deep stacks are read whole, and cut where that is asked for.

mod common;

use std::ffi::OsStr;

use common::{Script, Summary, alone, interpreters, run};

/// As `deep_stack.py` has it.
const DEPTH: usize = 10_000;

/// The folded stacks with that function, as frames root first, and the summary.
fn record(target: &Script, depth: &[&str]) -> (Vec<Vec<String>>, Summary, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (folded, json) = (folder.path().join("x.folded"), folder.path().join("x.json"));
    let pid = target.pid().to_string();
    let fixed = ["record", "-p", &pid, "-d", "2", "--idle", "--max-cpu", "none", "--function"];
    let outputs = [OsStr::new("-o"), folded.as_os_str(), OsStr::new("-o"), json.as_os_str()];
    let arguments = fixed.iter().chain(depth).map(OsStr::new).chain(outputs);
    let outcome = run(arguments).success();
    let text = std::fs::read_to_string(&folded).expect("it was written");
    let stacks = text
        .lines()
        .filter(|line| line.contains("down ("))
        .map(|line| {
            let (stack, _) = line.rsplit_once(' ').expect("a count");
            stack.split(';').map(str::to_owned).collect()
        })
        .collect();
    (stacks, Summary::read(&json), outcome.stdout)
}

fn deepest(stacks: &[Vec<String>]) -> usize {
    let down =
        |stack: &Vec<String>| stack.iter().filter(|frame| frame.starts_with("down (")).count();
    stacks.iter().map(down).max().unwrap_or(0)
}

#[test]
fn ten_thousand_frames_are_read_and_cut_only_when_told() {
    let _alone = alone();
    for python in interpreters() {
        let target = Script::start(&python, "deep_stack.py", &[]);
        let (stacks, summary, _) = record(&target, &[]);
        assert_eq!(deepest(&stacks), DEPTH, "{}", python.version);
        assert_eq!(summary.number(&["sampling", "cut_stacks"]), 0.0, "{}", python.version);

        let (stacks, summary, said) = record(&target, &["--max-depth", "100"]);
        assert!((90..=100).contains(&deepest(&stacks)), "{}: {}", python.version, deepest(&stacks));
        let gaps = |stack: &Vec<String>| {
            stack.iter().filter(|frame| frame.starts_with("(frames left out)")).count()
        };
        assert!(stacks.iter().any(|stack| gaps(stack) == 1), "{}", python.version);
        assert!(summary.number(&["sampling", "cut_stacks"]) > 0.0, "{}", python.version);
        let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("the middle is left out; --max-depth raises it"), "{said}");
    }
}
