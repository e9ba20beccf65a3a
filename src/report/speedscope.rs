//! For speedscope: one profile for each thread, as py-spy writes it.
//!
//! The format is the `sampled` profile of speedscope's `file-format-spec.ts`. Stacks that are
//! equal are one, so they stand by weight and not by time; speedscope's "Left Heavy" and
//! "Sandwich" views are what they are for.

use std::io::{self, Write};

use serde::Serialize;

use super::stacks::{DrawnFrames, merged};
use super::tree::{Drawing, thread_text};
use super::{Report, visible};
use crate::profile::Profile;

/// A speedscope file.
#[derive(Debug, Clone, Default)]
pub struct Speedscope {
    /// How stacks are drawn. Threads are told apart in any case.
    pub drawing: Drawing,
}

#[derive(Serialize)]
struct SharedFrame<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
}

impl Report for Speedscope {
    fn write(&self, profile: &Profile, out: &mut dyn Write) -> io::Result<()> {
        let drawing = Drawing { threads: true, ..self.drawing.clone() };
        let tables = profile.tables();
        let mut stacks = merged(profile, &drawing);
        stacks
            .sort_by_key(|&(place, _, weight)| (place.thread(), std::cmp::Reverse(weight), place));
        let mut frames = DrawnFrames::new(tables, drawing.frames);
        write!(out, "{{\"$schema\":\"https://www.speedscope.app/file-format-schema.json\",")?;
        write!(out, "\"exporter\":\"farrier@{}\",\"name\":", env!("CARGO_PKG_VERSION"))?;
        serde_json::to_writer(&mut *out, &*visible(&profile.session().target))?;
        write!(out, ",\"activeProfileIndex\":0,\"profiles\":[")?;
        let mut numbers = Vec::new();
        let by_thread = stacks.chunk_by(|one, other| one.0.thread() == other.0.thread());
        for (position, stacks) in by_thread.enumerate() {
            let Some(thread) = stacks.first().and_then(|(place, ..)| place.thread()) else {
                continue;
            };
            let separator = if position == 0 { "" } else { "," };
            write!(out, "{separator}{{\"type\":\"sampled\",\"name\":")?;
            serde_json::to_writer(&mut *out, &*visible(&thread_text(thread, tables)))?;
            let total: f64 = stacks.iter().map(|(.., weight)| weight.as_secs_f64()).sum();
            write!(out, ",\"unit\":\"seconds\",\"startValue\":0,\"endValue\":{total:.9}")?;
            write!(out, ",\"samples\":[")?;
            for (position, &(place, stack, _)) in stacks.iter().enumerate() {
                frames.of_stack(stack, &mut numbers);
                numbers.extend(place.group_text(tables, &drawing).map(|text| frames.text(text)));
                write!(out, "{}[", if position == 0 { "" } else { "," })?;
                for (position, number) in numbers.iter().rev().enumerate() {
                    write!(out, "{}{number}", if position == 0 { "" } else { "," })?;
                }
                write!(out, "]")?;
            }
            write!(out, "],\"weights\":[")?;
            for (position, (.., weight)) in stacks.iter().enumerate() {
                let separator = if position == 0 { "" } else { "," };
                write!(out, "{separator}{:.9}", weight.as_secs_f64())?;
            }
            write!(out, "]}}")?;
        }
        write!(out, "],\"shared\":{{\"frames\":[")?;
        for (position, frame) in frames.all().iter().enumerate() {
            if position > 0 {
                write!(out, ",")?;
            }
            let shared = SharedFrame {
                name: &visible(&frame.name),
                file: &visible(frame.file),
                line: (frame.line > 0).then_some(frame.line),
            };
            serde_json::to_writer(&mut *out, &shared)?;
        }
        writeln!(out, "]}}}}")
    }
}
