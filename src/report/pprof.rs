//! For pprof and what reads its files: `profile.proto` of github.com/google/pprof.
//!
//! | value | what it counts |
//! |---|---|
//! | `samples` | samples |
//! | `wall` | thread-time, the one that is shown unless another is asked for |
//! | `cpu` | CPU time, by the kernel's counters |
//! | `gil` | time with the GIL held |
//!
//! What was served and what the thread did are labels, so that `-tagfocus`, `-tagroot
//! endpoint` and `-tagleaf state` work; stacks are frames alone.
//!
//! Protocol buffers add up: the encoding of a whole is those of its parts one after the
//! other, so that a sample is written as soon as it is made.

use std::io::{self, Write};

use prost::Message;
use rustc_hash::FxHashMap;

use super::stacks::DrawnFrames;
use super::tree::Drawing;
use super::{Report, visible};
use crate::model::{EndpointId, On, OnId, StackId, State, Tables, ThreadId};
use crate::profile::{Cell, Profile};

/// A file for pprof, not packed.
#[derive(Debug, Clone, Default)]
pub struct Pprof {
    /// How stacks are drawn; what stands before a stack is always a label.
    pub drawing: Drawing,
}

#[derive(Clone, PartialEq, Message)]
struct ProfilePart {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
    #[prost(int64, tag = "14")]
    default_sample_type: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    r#type: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    str: i64,
    #[prost(int64, tag = "3")]
    num: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "3")]
    system_name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
    #[prost(int64, tag = "5")]
    start_line: i64,
}

/// The file's strings, numbered; the empty one is the first.
#[derive(Default)]
struct Strings {
    index: FxHashMap<String, i64>,
    all: Vec<String>,
}

impl Strings {
    fn new() -> Self {
        let mut strings = Self::default();
        strings.number("");
        strings
    }

    fn number(&mut self, text: &str) -> i64 {
        let text = visible(text);
        if let Some(&known) = self.index.get(&*text) {
            return known;
        }
        let number = self.all.len() as i64;
        self.all.push(text.clone().into_owned());
        self.index.insert(text.into_owned(), number);
        number
    }

    fn value_type(&mut self, name: &str, unit: &str) -> ValueType {
        ValueType { r#type: self.number(name), unit: self.number(unit) }
    }
}

/// What samples of the file have in common.
type Alike = (Option<StackId>, ThreadId, EndpointId, State, Option<OnId>);

fn alike(cell: &Cell) -> Alike {
    let key = &cell.key;
    (key.stack, key.thread, key.endpoint, key.state, key.on)
}

impl Report for Pprof {
    fn write(&self, profile: &Profile, out: &mut dyn Write) -> io::Result<()> {
        let tables = profile.tables();
        let shown = |cell: &&Cell| self.drawing.idle || cell.key.state != State::Idle;
        let mut cells: Vec<&Cell> = profile.cells().iter().filter(shown).collect();
        cells.sort_unstable_by_key(|cell| alike(cell));
        let mut strings = Strings::new();
        let mut frames = DrawnFrames::new(tables, self.drawing.frames);
        let session = profile.session();
        let wall = strings.value_type("wall", "nanoseconds");
        let head = ProfilePart {
            sample_type: vec![
                strings.value_type("samples", "count"),
                wall.clone(),
                strings.value_type("cpu", "nanoseconds"),
                strings.value_type("gil", "nanoseconds"),
            ],
            time_nanos: session.start_unix_ns,
            duration_nanos: signed(profile.progress().elapsed.as_nanos()),
            period: (1e9 / session.rate_hz) as i64,
            default_sample_type: wall.r#type,
            period_type: Some(wall),
            ..ProfilePart::default()
        };
        let mut part = Part::default();
        part.write(&head, out)?;
        let mut numbers = Vec::new();
        for cells in cells.chunk_by(|one, other| alike(one) == alike(other)) {
            let Some(first) = cells.first() else { continue };
            frames.of_stack(first.key.stack, &mut numbers);
            let sum = |of: fn(&Cell) -> u64| signed(cells.iter().map(|cell| of(cell)).sum());
            let sample = Sample {
                location_id: numbers.iter().map(|&number| u64::from(number) + 1).collect(),
                value: vec![
                    sum(|cell| cell.samples),
                    sum(|cell| cell.weight.as_nanos()),
                    sum(|cell| cell.cpu.as_nanos()),
                    sum(|cell| cell.gil_held.as_nanos()),
                ],
                label: labels(first, tables, &mut strings),
            };
            part.write(&ProfilePart { sample: vec![sample], ..ProfilePart::default() }, out)?;
        }
        for (number, frame) in (1..).zip(frames.all()) {
            let name = strings.number(&frame.name);
            let first_line = frame.function.map_or(0, |id| tables.function(id).first_line);
            let function = Function {
                id: number,
                name,
                system_name: name,
                filename: strings.number(frame.file),
                start_line: first_line.into(),
            };
            let line = Line { function_id: number, line: frame.line.into() };
            let location = Location { id: number, line: vec![line] };
            let (function, location) = (vec![function], vec![location]);
            part.write(&ProfilePart { function, location, ..ProfilePart::default() }, out)?;
        }
        part.write(&ProfilePart { string_table: strings.all, ..ProfilePart::default() }, out)
    }
}

/// The buffer that parts are encoded in.
#[derive(Default)]
struct Part(Vec<u8>);

impl Part {
    fn write(&mut self, part: &ProfilePart, out: &mut dyn Write) -> io::Result<()> {
        self.0.clear();
        part.encode(&mut self.0)?;
        out.write_all(&self.0)
    }
}

fn labels(cell: &Cell, tables: &Tables, strings: &mut Strings) -> Vec<Label> {
    let key = &cell.key;
    let thread = tables.thread(key.thread);
    let mut texts = vec![
        ("endpoint", tables.string(tables.endpoint(key.endpoint).label).to_owned()),
        ("state", key.state.name().to_owned()),
        ("thread", tables.string(thread.name).to_owned()),
    ];
    match key.on.map(|on| tables.on(on)) {
        Some(On::Named(name)) => texts.push(("on", tables.string(name).to_owned())),
        Some(On::Holder { function, .. }) => {
            texts.push(("on", tables.string(tables.function(function).name).to_owned()));
        }
        None => {}
    }
    let mut label = |(name, text): (&str, String)| Label {
        key: strings.number(name),
        str: strings.number(&text),
        num: 0,
    };
    let mut labels: Vec<Label> = texts.into_iter().map(&mut label).collect();
    let numbers =
        [("pid", tables.process(thread.process).pid.get()), ("thread_id", thread.tid.get())];
    for (name, number) in numbers {
        labels.push(Label { key: strings.number(name), str: 0, num: number.into() });
    }
    labels
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The sums of a file's values.
#[cfg(test)]
pub(super) fn sums(file: &[u8]) -> [i64; 4] {
    let profile = ProfilePart::decode(file).unwrap();
    assert_eq!(profile.string_table.first().map(String::as_str), Some(""));
    let mut sums = [0; 4];
    for sample in &profile.sample {
        let known = |id: &u64| profile.location.iter().any(|location| location.id == *id);
        assert!(sample.location_id.iter().all(known));
        for (sum, value) in sums.iter_mut().zip(&sample.value) {
            *sum += value;
        }
    }
    sums
}
