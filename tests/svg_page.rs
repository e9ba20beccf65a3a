//! The flame graph as a page: headless Chromium opens it, its script runs without a
//! complaint, and the search finds a function.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Outcome, Script, alone, newest, run, say};

/// Under which names distributions have it.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

fn browser() -> Option<&'static str> {
    let there = |name: &&str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
    };
    let found = BROWSERS.into_iter().find(there);
    if found.is_none() {
        common::skip("chromium not found");
    }
    found
}

/// Opens a page and prints its document as its script left it; what the script
/// complains of goes to standard error as `…:CONSOLE…`.
fn open(browser: &str, profile: &Path, address: &str, further: &[&str]) -> Outcome {
    let mut command = Command::new(browser);
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--disable-dev-shm-usage", "--enable-logging=stderr", "--virtual-time-budget=2000"])
        .args(["--window-size=1200,800"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(further)
        .arg(address)
        .stdin(Stdio::null());
    Outcome::of(command).success()
}

/// The text of the element that says how much a search has matched.
fn matched(document: &str) -> &str {
    let (_, rest) = document.split_once("id=\"matched\"").expect("the page has a search");
    let (_, rest) = rest.split_once('>').expect("an element");
    rest.split('<').next().unwrap_or_default().trim()
}

#[test]
fn the_flame_graph_opens_and_is_searched() {
    let _alone = alone();
    let Some(browser) = browser() else { return };
    let Some(python) = newest() else { return };
    let script = Script::start(&python, "known_stack.py", &[]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let svg = folder.path().join("x.svg");
    let path = svg.to_str().expect("UTF-8");
    run(["record", "-p", &script.pid().to_string(), "-d", "2", "--idle", "-o", path]).success();

    let profile = folder.path().join("browser");
    let address = format!("file://{path}");
    let plain = open(browser, &profile, &address, &["--dump-dom"]);
    assert_eq!(matched(&plain.stdout), "", "nothing was searched for yet");
    assert!(plain.stdout.contains("Spinner.spin"));
    // The title tells target, duration, rate and the number of samples.
    let pid = script.pid().to_string();
    for word in [&pid, "100 Hz", "samples"] {
        assert!(plain.stdout.contains(word), "no word of {word}");
    }

    let found = open(browser, &profile, &format!("{address}?s=Spinner.spin"), &["--dump-dom"]);
    let share = matched(&found.stdout).trim_start_matches("Matched:").trim_end_matches('%').trim();
    let share: f64 = share.parse().unwrap_or_else(|_| panic!("{:?}", matched(&found.stdout)));
    assert!((25.0..45.0).contains(&share), "one thread of three, but {share} % matched");
    let none = open(browser, &profile, &format!("{address}?s=no_such_function"), &["--dump-dom"]);
    assert!(["", "Matched: 0.0%", "Matched: 0%"].contains(&matched(&none.stdout)));

    let picture = Path::new(env!("CARGO_TARGET_TMPDIR")).join("flamegraph.png");
    let screenshot = format!("--screenshot={}", picture.display());
    let shown = open(browser, &profile, &format!("{address}?s=Spinner.spin"), &[&screenshot]);
    let size = std::fs::metadata(&picture).expect("a screenshot was saved").len();
    assert!(size > 10_000, "a picture of {size} bytes shows nothing");
    say(&format!("the flame graph as the browser shows it: {}", PathBuf::from(&picture).display()));

    for outcome in [plain, found, none, shown] {
        let complaints: Vec<_> =
            outcome.stderr.lines().filter(|line| line.contains(":CONSOLE")).collect();
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }
}
