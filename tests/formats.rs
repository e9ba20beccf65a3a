//! Files for other tools, read by those tools: Python's `pstats`, Go's `pprof`; and
//! speedscope's next to the one that py-spy writes.

mod common;

use std::path::Path;
use std::process::Command;

use common::{
    Outcome, Script, Summary, alone, has_program, interpreter, interpreters, newest, py_spy, run,
};
use serde_json::Value;

/// What a recording of the known stack is drawn as: its folder, and the summary.
fn drawn(names: &[&str]) -> Option<(tempfile::TempDir, Summary)> {
    let python = newest()?;
    let script = Script::start(&python, "known_stack.py", &[]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let pid = script.pid().to_string();
    let mut arguments: Vec<String> = ["record", "-q", "-p", &pid, "-d", "2"].map(Into::into).into();
    for name in names.iter().chain(&["x.json"]) {
        arguments.extend(["-o".to_owned(), path(name)]);
    }
    run(arguments).success();
    let summary = Summary::read(Path::new(&path("x.json")));
    Some((folder, summary))
}

/// Thread-seconds of all states but `idle`.
fn seconds(summary: &Summary) -> f64 {
    let states = summary.0["states"].as_object().expect("an object");
    let busy = states.iter().filter(|(state, _)| *state != "idle");
    busy.map(|(_, seconds)| seconds.as_f64().expect("a number")).sum()
}

fn assert_near(what: &str, value: f64, expected: f64) {
    // Each stack is rounded by itself.
    assert!((value - expected).abs() < 1e-3 * expected, "{what}: {value} of {expected}");
}

/// A function of `pstats`: its name, file, first line, own and all seconds, and who called it.
type Row = (String, String, u32, f64, f64, Vec<String>);

#[test]
fn pstats_of_every_version_reads_it() {
    let _alone = alone();
    let Some((folder, summary)) = drawn(&["x.pstats"]) else { return };
    let program = "import json, pstats, sys\n\
        stats = pstats.Stats(sys.argv[1])\n\
        stats.sort_stats('cumulative').print_stats(5)\n\
        stats.print_callers(5)\n\
        rows = [[name, file, line, tt, ct, sorted(c[2] for c in callers)]\n\
            for (file, line, name), (cc, nc, tt, ct, callers) in stats.stats.items()]\n\
        print()\n\
        print(json.dumps([stats.total_tt, rows]))";
    for python in interpreters() {
        let mut command = Command::new(&python.python);
        command.args(["-c", program]).arg(folder.path().join("x.pstats"));
        let output = Outcome::of(command).success().stdout;
        let json = output.lines().last().expect("a line of JSON");
        let (total, rows): (f64, Vec<Row>) = serde_json::from_str(json).expect("JSON");
        assert_near("pstats' total", total, seconds(&summary));
        for expected in summary.list("functions") {
            let file = expected["file"].as_str().expect("a file");
            let same = |(name, at, line, ..): &&Row| {
                expected["function"] == name.as_str()
                    && expected["line"] == *line
                    && at.ends_with(file.trim_start_matches('/'))
            };
            let Some((_, _, _, own, all, _)) = rows.iter().find(same) else {
                assert!(file.is_empty(), "{expected} is not there");
                continue;
            };
            let number = |name: &str| expected[name].as_f64().expect("a number");
            assert!((own - number("self_s")).abs() < 1e-3, "{expected}: {own}");
            assert!((all - number("total_s")).abs() < 1e-3, "{expected}: {all}");
        }
    }
}

#[test]
fn pprof_reads_it() {
    let _alone = alone();
    if !has_program("go") {
        return;
    }
    let Some((folder, summary)) = drawn(&["x.pb.gz"]) else { return };
    let pprof = |arguments: &[&str]| {
        let mut command = Command::new("go");
        command.args(["tool", "pprof"]).args(arguments).arg(folder.path().join("x.pb.gz"));
        command.env("HOME", folder.path());
        Outcome::of(command).success().stdout
    };
    let top = pprof(&["-top", "-nodecount=1000", "-unit=ns"]);
    assert!(top.contains("Type: wall"), "{top}");
    let total = top.lines().find_map(|line| line.split("% of ").nth(1)?.strip_suffix("ns total"));
    let total: f64 = total.expect("a total").parse().expect("a number");
    assert_near("pprof's total", total / 1e9, seconds(&summary));
    for function in summary.list("functions").iter().take(5) {
        let name = function["function"].as_str().expect("a name");
        let row = top.lines().find(|line| line.ends_with(&format!("  {name}")));
        let row = row.unwrap_or_else(|| panic!("{name} is not in {top}"));
        let own =
            row.split_whitespace().next().and_then(|own| own.trim_end_matches("ns").parse().ok());
        let own: f64 = own.expect("a number");
        assert!((own / 1e9 - function["self_s"].as_f64().expect("a number")).abs() < 1e-3, "{row}");
    }
    let tags = pprof(&["-tags"]);
    for label in ["endpoint:", "state:", "thread:", "pid:"] {
        assert!(tags.contains(label), "{label} is not in {tags}");
    }
}

/// The frames of each stack of a speedscope file, and all seconds.
fn stacks(file: &Value) -> (Vec<Vec<String>>, f64) {
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let frames = list(&file["shared"]["frames"]);
    let text = |number: &Value| {
        let frame = &frames[number.as_u64().expect("a number") as usize];
        format!("{}:{}", frame["name"].as_str().expect("a name"), frame["line"])
    };
    let (mut stacks, mut seconds) = (Vec::new(), 0.0);
    for profile in list(&file["profiles"]) {
        assert_eq!((&profile["type"], &profile["unit"]), (&"sampled".into(), &"seconds".into()));
        let (samples, weights) = (list(&profile["samples"]), list(&profile["weights"]));
        assert_eq!(samples.len(), weights.len());
        let weights: f64 = weights.iter().map(|weight| weight.as_f64().expect("a number")).sum();
        let length = profile["endValue"].as_f64().expect("a number");
        assert!((length - weights).abs() < 1e-6, "{length} for {weights}");
        seconds += weights;
        stacks.extend(samples.iter().map(|sample| list(sample).iter().map(text).collect()));
    }
    (stacks, seconds)
}

#[test]
fn speedscope_shows_the_stacks_that_py_spy_shows() {
    let _alone = alone();
    let Some((folder, summary)) = drawn(&["x.speedscope.json"]) else { return };
    let read = |name: &str| {
        let text = std::fs::read(folder.path().join(name)).expect("it was written");
        serde_json::from_slice::<Value>(&text).expect("JSON")
    };
    let ours = read("x.speedscope.json");
    let (stacks_here, total) = stacks(&ours);
    assert_near("speedscope's total", total, seconds(&summary));
    let Some(py_spy) = py_spy() else { return };
    // One that it knows.
    let Some(python) = interpreter("3.13") else { return };
    let script = Script::start(&python, "known_stack.py", &[]);
    let mut command = Command::new(py_spy);
    let path = folder.path().join("py-spy.json");
    command.args(["record", "--nonblocking", "-f", "speedscope", "-d", "2"]);
    command.args(["-p", &script.pid().to_string(), "-o"]).arg(&path);
    Outcome::of(command).success();
    let theirs = read("py-spy.json");
    assert_eq!(ours["$schema"], theirs["$schema"]);
    let (stacks_there, _) = stacks(&theirs);
    let most = stacks_there.iter().max_by_key(|stack| stack.len()).expect("there are some");
    let name = |frame: &String| frame.split(':').next().expect("a name").to_owned();
    let names = |stack: &Vec<String>| stack.iter().map(name).collect::<Vec<_>>();
    // The endpoint is ours.
    assert!(stacks_here.iter().any(|stack| names(stack)[1..] == names(most)), "{most:?}");
}
