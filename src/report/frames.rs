//! How a frame is written.

use rustc_hash::FxHashMap;

use super::escape;
use super::files::{Files, Origin};
use crate::model::{FrameId, Tables};

/// Which line of a function stands in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FrameLine {
    /// The one that was being executed.
    #[default]
    Current,
    /// The function's first, so that a function is one frame.
    First,
    /// None.
    None,
}

/// How a frame is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameStyle {
    /// Which line it has.
    pub line: FrameLine,
    /// Whether files are written in full, not only their package part.
    pub full_filenames: bool,
}

/// What a text in a tree names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What stacks are grouped by.
    Group,
    /// A frame of somebody's code.
    Frame(Origin),
}

/// Texts, numbered, each once. Escaped for folded lines.
#[derive(Debug, Default)]
pub(super) struct Texts {
    entries: Vec<(String, Kind)>,
    index: FxHashMap<String, u32>,
}

impl Texts {
    /// The number of this text. Whoever comes first says what it names.
    pub(super) fn intern(&mut self, text: &str, kind: Kind) -> u32 {
        let text = escape::frame(text);
        if let Some(&known) = self.index.get(&*text) {
            return known;
        }
        let number = self.entries.len() as u32;
        self.entries.push((text.clone().into_owned(), kind));
        self.index.insert(text.into_owned(), number);
        number
    }

    pub(super) fn get(&self, number: u32) -> &str {
        &self.entries[number as usize].0
    }

    pub(super) fn all(&self) -> &[(String, Kind)] {
        &self.entries
    }
}

/// Writes frames, each once.
#[derive(Debug)]
pub(super) struct Frames<'a> {
    tables: &'a Tables,
    files: Files<'a>,
    style: FrameStyle,
    texts: Vec<Option<u32>>,
}

impl<'a> Frames<'a> {
    pub(super) fn new(tables: &'a Tables, style: FrameStyle) -> Self {
        let files = Files::of(tables, style.full_filenames);
        Self { tables, files, style, texts: vec![None; tables.frames().len()] }
    }

    /// The number of a frame's text: `name (file:line)`.
    pub(super) fn text(&mut self, frame: FrameId, texts: &mut Texts) -> u32 {
        if let Some(known) = self.texts[frame.index()] {
            return known;
        }
        let function = self.tables.function(self.tables.frame(frame).function);
        let name = self.tables.string(function.name);
        let path = self.tables.string(function.file);
        let file = self.files.name(path);
        let line = match self.style.line {
            FrameLine::Current => self.tables.frame(frame).line,
            FrameLine::First => function.first_line,
            FrameLine::None => 0,
        };
        let kind = Kind::Frame(self.files.origin(path));
        let number = texts.intern(&frame_text(name, file, line), kind);
        self.texts[frame.index()] = Some(number);
        number
    }
}

/// `name (file:line)`; without a line `name (file)`, and without a file `name`.
pub(super) fn frame_text(name: &str, file: &str, line: u32) -> String {
    match (file, line) {
        ("", _) => name.to_owned(),
        (file, 0) => format!("{name} ({file})"),
        (file, line) => format!("{name} ({file}:{line})"),
    }
}
