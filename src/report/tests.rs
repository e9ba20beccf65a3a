use std::path::Path;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::*;
use crate::model::*;
use crate::profile::Builder;
use crate::profile::handmade::{Shop, sample, shop};

fn drawn(report: &dyn Report, profile: &Profile) -> String {
    let mut out = Vec::new();
    report.write(profile, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Compares with `fixtures/golden/NAME`, or writes it if asked to.
fn assert_golden(name: &str, drawn: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/golden").join(name);
    if std::env::var_os("FARRIER_ACCEPT_GOLDEN").is_some() {
        std::fs::write(&path, drawn).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert!(drawn == golden, "not as in {}:\n{drawn}", path.display());
}

/// The tooltips of a flame graph's frames, once the whole file was found to be
/// well-formed XML.
fn frames_of(svg: &str) -> Vec<String> {
    let mut reader = Reader::from_str(svg);
    let (mut titles, mut inside) = (Vec::new(), false);
    let mut depth = 0;
    loop {
        match reader.read_event().unwrap() {
            Event::Start(tag) => {
                depth += 1;
                inside = tag.name().as_ref() == b"title";
                if inside {
                    titles.push(String::new());
                }
            }
            Event::End(_) => {
                depth -= 1;
                inside = false;
            }
            Event::Text(text) if inside => {
                titles.last_mut().unwrap().push_str(&text.decode().unwrap());
            }
            Event::GeneralRef(reference) if inside => {
                let character = match reference.decode().unwrap().as_ref() {
                    "lt" => "<",
                    "gt" => ">",
                    "amp" => "&",
                    "quot" => "\"",
                    "apos" => "'",
                    other => panic!("&{other};"),
                };
                titles.last_mut().unwrap().push_str(character);
            }
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0);
    titles
}

#[test]
fn the_shop_is_drawn_as_before() {
    let shop = shop();
    assert_golden("shop.json", &drawn(&Json, &shop));
    assert_golden("shop.text", &drawn(&Text::default(), &shop));
    assert_golden("shop.folded", &drawn(&Folded::default(), &shop));
}

#[test]
fn every_format_has_all_the_time() {
    let shop = shop();
    let file: serde_json::Value =
        serde_json::from_str(&drawn(&Speedscope::default(), &shop)).unwrap();
    let profiles = file["profiles"].as_array().unwrap();
    let ends = profiles.iter().map(|profile| profile["endValue"].as_f64().unwrap());
    assert!((ends.sum::<f64>() - 13.0).abs() < 1e-9);
    let frames = file["shared"]["frames"].as_array().unwrap();
    let is_there = |name: &str, line: u32| {
        frames.iter().any(|frame| frame["name"] == name && frame["line"] == line)
    };
    assert!(is_there("Pool.acquire", 15));
    assert!(frames.iter().any(|frame| frame["name"] == "GET /report/<int:year>"));

    let wall = |drawing| {
        let mut file = Vec::new();
        Pprof { drawing }.write(&shop, &mut file).unwrap();
        super::pprof::sums(&file)
    };
    assert_eq!(wall(Drawing::default())[1], 13_000_000_000);
    assert_eq!(wall(Drawing { idle: true, ..Drawing::default() })[1], 33_000_000_000);
}

#[test]
fn the_terminal_summary_fits_and_colour_changes_no_letter() {
    let plain = drawn(&Text::default(), &shop());
    assert!(plain.lines().all(|line| unicode_width::UnicodeWidthStr::width(line) <= 80));
    let coloured = drawn(&Text { colour: true, ..Text::default() }, &shop());
    let mut stripped = String::new();
    for part in coloured.split("\u{1b}[") {
        // Everything but the first part begins with the rest of an escape.
        let text = if stripped.is_empty() { part } else { part.split_once('m').unwrap().1 };
        stripped.push_str(text);
        if stripped.is_empty() {
            stripped.push('\0');
        }
    }
    assert_eq!(stripped.trim_start_matches('\0'), plain);
    assert_ne!(coloured, plain);
}

#[test]
fn the_flame_graph_is_xml_with_every_frame_and_its_weight() {
    let svg = drawn(&FlameGraph::default(), &shop());
    let frames = frames_of(&svg);
    for frame in [
        "all (13,000,000 \u{b5}s, 100%)",
        "GET /report/<int:year> (7,000,000 \u{b5}s, 53.85%)",
        "DefaultDialect.do_execute (sqlalchemy/engine/default.py:941) (6,000,000 \u{b5}s, 46.15%)",
        "Tree.walk (tree.py:9) (3,800,000 \u{b5}s, 29.23%)",
        "(unsettled) (200,000 \u{b5}s, 1.54%)",
        "(lost) (200,000 \u{b5}s, 1.54%)",
    ] {
        assert!(frames.iter().any(|title| title == frame), "{frame} is not in {frames:#?}");
    }
    assert!(!svg.contains("(idle)"));
    assert!(svg.contains("10.0 s at 100 Hz, 1,300 samples"));
    assert_eq!(svg, drawn(&FlameGraph::default(), &shop()), "the colours are stable");
    let drawing = Drawing { idle: true, ..Drawing::default() };
    assert!(drawn(&FlameGraph { drawing }, &shop()).contains("Arbiter.run"));
}

fn folded(drawing: Drawing) -> Vec<String> {
    drawn(&Folded { drawing }, &shop()).lines().map(String::from).collect()
}

#[test]
fn stacks_can_be_grouped_and_frames_written_in_other_ways() {
    let frames = |line, full_filenames| Drawing {
        group_by: GroupBy::None,
        frames: FrameStyle { line, full_filenames },
        ..Drawing::default()
    };
    let find = |lines: &[String], part: &str| {
        lines.iter().find(|line| line.contains(part)).cloned().unwrap()
    };
    let current = folded(frames(FrameLine::Current, false));
    assert!(find(&current, "Pool.acquire").ends_with(";Pool.acquire (pool.py:15) 500000"));
    assert!(current.iter().all(|line| !line.starts_with("GET ")));
    let first = folded(frames(FrameLine::First, false));
    assert!(find(&first, "Pool.acquire").ends_with(";Pool.acquire (pool.py:12) 500000"));
    let none = folded(frames(FrameLine::None, true));
    assert!(find(&none, "Pool.acquire").ends_with(";Pool.acquire (/srv/shop/shop/pool.py) 500000"));
    let processes = folded(Drawing { group_by: GroupBy::Process, ..Drawing::default() });
    assert!(processes.iter().any(|line| line.starts_with("process (pid 4711);Thread.run")));
    let thread = "ThreadPoolExecutor-0_0 (pid 4711, tid 4721);";
    let threads = folded(Drawing { group_by: GroupBy::Thread, ..Drawing::default() });
    assert!(threads.iter().any(|line| line.starts_with(thread)));
    let both = folded(Drawing { threads: true, ..Drawing::default() });
    let start = format!("GET /report/<int:year>;{thread}ThreadWorker");
    assert!(both.iter().any(|line| line.starts_with(&start)));
}

#[test]
fn no_way_of_grouping_loses_time() {
    for group_by in [GroupBy::Endpoint, GroupBy::Process, GroupBy::Thread, GroupBy::None] {
        let lines = folded(Drawing { group_by, idle: true, ..Drawing::default() });
        let count = |line: &String| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap();
        assert_eq!(lines.iter().map(count).sum::<u64>(), 33_000_000, "{group_by:?}");
        assert!(lines.is_sorted(), "{group_by:?}: {lines:#?}");
    }
}

#[test]
fn names_that_a_target_chose_break_nothing() {
    let evil = "x;y\n\u{1b}[31m</text><script>&\0\u{202e}\" 12 34";
    let mut shop = Shop::default();
    let target = evil.to_owned();
    shop.builder.begin(&Session { target, host: evil.into(), ..Session::default() }).unwrap();
    let process = shop.process(1, Role::Worker, 1);
    let thread = shop.thread(process, 1, evil);
    let endpoint = shop.route(evil, evil, evil);
    let on = shop.named(evil);
    let stack = shop.stack(&[(evil, evil, 1, 1), (evil, "", 0, 0)]);
    shop.add(3, Sample { stack, on, ..sample(thread, endpoint, State::Io) });
    let note = Note { at: crate::units::Nanos::ZERO, text: evil.into() };
    shop.builder.note(&shop.tables, &note).unwrap();
    let profile = shop.finish();

    let drawing = Drawing { threads: true, ..Drawing::default() };
    let lines = drawn(&Folded { drawing: drawing.clone() }, &profile);
    assert_eq!(lines.lines().count(), 1);
    let (stack, count) = lines.trim_end().rsplit_once(' ').unwrap();
    assert_eq!((stack.split(';').count(), count), (4, "30000"));
    let svg = drawn(&FlameGraph { drawing }, &profile);
    let frames = frames_of(&svg);
    assert_eq!(frames.len(), 5, "{frames:#?}");
    assert!(frames.iter().all(|title| title.contains("(30,000 \u{b5}s, 100")), "{frames:#?}");
    assert!(!svg.contains("</text><script>&"));
    let text = drawn(&Text::default(), &profile);
    for drawn in [lines, svg.replace('\n', ""), text] {
        assert!(!drawn.contains(|c: char| c.is_control() && c != '\n'));
        assert!(!drawn.contains('\u{202e}'));
    }
    let json: serde_json::Value = serde_json::from_str(&drawn(&Json, &profile)).unwrap();
    assert_eq!(json["functions"][0]["function"], evil);
}

#[test]
fn very_deep_stacks_are_drawn() {
    const DEPTH: usize = 20_000;
    let mut shop = Shop::default();
    let process = shop.process(1, Role::Worker, 1);
    let thread = shop.thread(process, 1, "t");
    let endpoint = shop.label("(main)");
    let stack = shop.stack(&vec![("f", "a.py", 1, 2); DEPTH]);
    shop.add(1, Sample { stack, ..sample(thread, endpoint, State::Running) });
    let profile = shop.finish();
    let line = drawn(&Folded::default(), &profile);
    assert_eq!(line.matches(";f (a.py:2)").count(), DEPTH);
    let svg = drawn(&FlameGraph::default(), &profile);
    assert_eq!(svg.matches("<title>f (a.py:2)").count(), DEPTH);
    let json: serde_json::Value = serde_json::from_str(&drawn(&Json, &profile)).unwrap();
    assert_eq!(json["functions"][0]["total_s"], 0.01);
}

#[test]
fn narrow_frames_of_a_large_graph_are_left_out_and_their_time_is_not() {
    let mut shop = Shop::default();
    let process = shop.process(1, Role::Worker, 1);
    let thread = shop.thread(process, 1, "t");
    let endpoint = shop.label("(main)");
    for line in 0..6_000 {
        let stack = shop.stack(&[("main", "a.py", 1, 2), ("leaf", "a.py", 5, line + 1)]);
        shop.add(1, Sample { stack, ..sample(thread, endpoint, State::Running) });
    }
    let profile = shop.finish();
    let svg = drawn(&FlameGraph::default(), &profile);
    assert!(svg.contains("without frames below 0.1%"));
    assert_eq!(
        frames_of(&svg).iter().filter(|frame| frame.contains("60,000,000")).count(),
        3,
        "all, the endpoint and main"
    );
    assert!(!svg.contains("leaf"));
}

#[test]
fn an_empty_profile_is_drawn_as_empty() {
    let empty = Builder::new().finish(Tables::new());
    assert!(frames_of(&drawn(&FlameGraph::default(), &empty)).len() == 2);
    assert_eq!(drawn(&Folded::default(), &empty), "");
    assert!(drawn(&Text::default(), &empty).contains("Nothing was sampled."));
    let json: serde_json::Value = serde_json::from_str(&drawn(&Json, &empty)).unwrap();
    assert_eq!(json["schema"], "farrier/summary/1");
    assert!(json["gil"].is_null());
}
