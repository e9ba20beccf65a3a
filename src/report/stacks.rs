//! Stacks as they are drawn one by one: merged where they are drawn alike, as numbers of
//! frames that are written once.

use std::borrow::Cow;

use rustc_hash::FxHashMap;

use super::files::Files;
use super::frames::{FrameLine, FrameStyle};
use super::tree::{Drawing, Place};
use crate::model::{FrameId, FunctionId, StackId, State, Tables};
use crate::profile::Profile;
use crate::units::Nanos;

/// Stacks that are drawn alike, with the time of all of them. In the order of what stands
/// before them.
pub(super) fn merged(profile: &Profile, drawing: &Drawing) -> Vec<(Place, Option<StackId>, Nanos)> {
    let mut stacks: Vec<(Place, Option<StackId>, Nanos)> = profile
        .cells()
        .iter()
        .filter(|cell| drawing.idle || cell.key.state != State::Idle)
        .map(|cell| (Place::of(&cell.key, profile.tables(), drawing), cell))
        .map(|(place, cell)| (place, cell.key.stack, cell.weight))
        .collect();
    stacks.sort_unstable();
    stacks.dedup_by(|next, kept| {
        let same = (next.0, next.1) == (kept.0, kept.1);
        if same {
            kept.2 += next.2;
        }
        same
    });
    stacks
}

/// A frame as it is drawn.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct DrawnFrame<'a> {
    /// The function's name, or another text.
    pub(super) name: Cow<'a, str>,
    /// Its file, shortened unless asked not to be; empty for none.
    pub(super) file: &'a str,
    /// The line; 0 for none.
    pub(super) line: u32,
    /// The function; `None` for a text.
    pub(super) function: Option<FunctionId>,
}

/// What a stack without a Python frame is drawn as.
pub(super) const NO_FRAME: &str = "(no Python frame)";

/// Frames as they are drawn, each once and numbered.
#[derive(Debug)]
pub(super) struct DrawnFrames<'a> {
    tables: &'a Tables,
    files: Files<'a>,
    style: FrameStyle,
    all: Vec<DrawnFrame<'a>>,
    index: FxHashMap<DrawnFrame<'a>, u32>,
    by_frame: Vec<Option<u32>>,
}

impl<'a> DrawnFrames<'a> {
    pub(super) fn new(tables: &'a Tables, style: FrameStyle) -> Self {
        Self {
            tables,
            files: Files::of(tables, style.full_filenames),
            style,
            all: Vec::new(),
            index: FxHashMap::default(),
            by_frame: vec![None; tables.frames().len()],
        }
    }

    /// All that were numbered so far.
    pub(super) fn all(&self) -> &[DrawnFrame<'a>] {
        &self.all
    }

    /// The number of a text that is no function.
    pub(super) fn text(&mut self, text: impl Into<Cow<'a, str>>) -> u32 {
        self.intern(DrawnFrame { name: text.into(), file: "", line: 0, function: None })
    }

    /// The numbers of a stack's frames, leaf first.
    pub(super) fn of_stack(&mut self, stack: Option<StackId>, frames: &mut Vec<u32>) {
        frames.clear();
        let Some(stack) = stack else {
            frames.push(self.text(NO_FRAME));
            return;
        };
        let tables = self.tables;
        frames.extend(tables.frames_from_leaf(stack).map(|frame| self.frame(frame)));
    }

    fn frame(&mut self, frame: FrameId) -> u32 {
        if let Some(known) = self.by_frame[frame.index()] {
            return known;
        }
        let line = self.tables.frame(frame).line;
        let id = self.tables.frame(frame).function;
        let function = self.tables.function(id);
        let drawn = DrawnFrame {
            name: self.tables.string(function.name).into(),
            file: self.files.name(self.tables.string(function.file)),
            line: match self.style.line {
                FrameLine::Current => line,
                FrameLine::First => function.first_line,
                FrameLine::None => 0,
            },
            function: Some(id),
        };
        let number = self.intern(drawn);
        self.by_frame[frame.index()] = Some(number);
        number
    }

    fn intern(&mut self, drawn: DrawnFrame<'a>) -> u32 {
        let all = &mut self.all;
        *self.index.entry(drawn).or_insert_with_key(|drawn| {
            all.push(drawn.clone());
            (all.len() - 1) as u32
        })
    }
}
