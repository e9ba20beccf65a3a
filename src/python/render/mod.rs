//! Values of a frame's locals as Python itself would write them, without running any code
//! of the target: only what the built-in types keep in memory is read.
//!
//! ```text
//! str bytes int float bool None      as repr() has them, cut at a number of characters
//! tuple list set dict                the same, to a depth, so many items
//! their subclasses                   OrderedDict({...})
//! all others                         <shop.models.Order at 0x7f…>
//! ```
//!
//! It is the cold path and every read is bounded: the characters of a value, how deep
//! containers are followed, and how many objects are read for one frame and in all. A target
//! runs on meanwhile: a local counts only if its word is the same afterwards.

mod containers;
mod frame;
mod scalars;
mod types;

use super::layout::Layout;
use super::objects::Objects;
use super::view::View;
use crate::units::RemoteAddress;
use types::{Kind, Type, Types};

/// How much of values is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenderLimits {
    /// Characters of one local.
    pub characters: usize,
    /// Items of one container.
    pub items: usize,
    /// Containers within containers.
    pub depth: usize,
    /// Objects that are read for one frame.
    pub objects: usize,
}

impl RenderLimits {
    /// What fits a line or two of a terminal, and so many times as much.
    pub const fn times(verbosity: usize) -> Self {
        let times = if verbosity > 64 { 64 } else { verbosity };
        Self {
            characters: times.saturating_mul(128),
            items: times.saturating_mul(32),
            depth: times.saturating_add(3),
            objects: times.saturating_mul(2_000),
        }
    }
}

/// A local of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedLocal {
    /// Its name.
    pub name: String,
    /// The address of the object that it refers to.
    pub address: RemoteAddress,
    /// Whether it is a parameter that is passed by position or by name; `*args` and
    /// `**kwargs` are none.
    pub is_argument: bool,
    /// The value in Python's own words, with `…` for what was left out and without control
    /// characters; `None` if the local changed while it was read.
    pub repr: Option<String>,
}

/// What is known of a process' types, and how much of a dump's reads is left.
#[derive(Debug, Default)]
pub(crate) struct Rendering {
    types: Types,
}

/// One value on its way to text.
struct Renderer<'r, 'o> {
    objects: &'r mut Objects<'o>,
    layout: &'r Layout,
    types: &'r mut Types,
    limits: RenderLimits,
    /// How many objects may still be read.
    left: usize,
    text: String,
    /// Characters of `text`.
    length: usize,
}

/// What stands for what was left out.
const LEFT_OUT: char = '\u{2026}';

/// What is read of an object at first: the heads of all built-in types, and short strings.
const HEAD: usize = 128;

impl<'r, 'o> Renderer<'r, 'o> {
    const fn new(
        objects: &'r mut Objects<'o>,
        layout: &'r Layout,
        types: &'r mut Types,
        limits: RenderLimits,
    ) -> Self {
        let left = limits.objects;
        Self { objects, layout, types, limits, left, text: String::new(), length: 0 }
    }

    /// The text of one local's value.
    fn value(&mut self, object: RemoteAddress) -> String {
        self.text.clear();
        self.length = 0;
        self.render(object, 0);
        std::mem::take(&mut self.text)
    }

    /// Whether there is no room for more.
    const fn is_full(&self) -> bool {
        self.length >= self.limits.characters
    }

    /// Adds what fits.
    fn push(&mut self, text: &str) {
        for character in text.chars() {
            if self.is_full() {
                self.cut();
                return;
            }
            self.text.push(character);
            self.length = self.length.saturating_add(1);
        }
    }

    /// Marks that something was left out at the end.
    fn cut(&mut self) {
        if !self.text.ends_with(LEFT_OUT) {
            self.text.push(LEFT_OUT);
            self.length = self.length.saturating_add(1);
        }
    }

    fn render(&mut self, object: RemoteAddress, depth: usize) {
        if object.is_null() {
            self.push("NULL");
            return;
        }
        if self.is_full() || self.left == 0 {
            self.cut();
            return;
        }
        self.left = self.left.saturating_sub(1);
        if self.known(object, depth).is_none() {
            self.push(&format!("<unreadable at {:#x}>", object.get()));
        }
    }

    /// Renders by type; `None` if the object does not hold together.
    fn known(&mut self, object: RemoteAddress, depth: usize) -> Option<()> {
        let head = self.objects.prefix(object, HEAD)?.to_vec();
        let class = View(&head).address(self.layout.object.ob_type)?;
        let Type { kind, is_exact, name } = self.types.of(class, self.objects, self.layout)?;
        let opaque = |renderer: &mut Self| {
            renderer.push(&format!("<{name} at {:#x}>", object.get()));
            Some(())
        };
        let wrapped = !is_exact && !matches!(kind, Kind::Other);
        let mark = (self.text.len(), self.length);
        if wrapped {
            self.push(&format!("{name}("));
        }
        let head = View(&head);
        let rendered = match kind {
            Kind::None => {
                self.push("None");
                Some(())
            }
            Kind::Ellipsis => {
                self.push("Ellipsis");
                Some(())
            }
            Kind::Bool => self.boolean(head),
            Kind::Int => self.int(object, head),
            Kind::Float => self.float(head),
            Kind::Str => self.str(object, head),
            Kind::Bytes => self.bytes(object, head),
            Kind::Tuple => self.tuple(object, head, depth),
            Kind::List => self.list(head, depth),
            Kind::Set => self.set(head, depth, ["set()", "{", "}"]),
            Kind::FrozenSet => self.set(head, depth, ["frozenset()", "frozenset({", "})"]),
            Kind::Dict => self.dict(object, head, depth),
            Kind::Other => opaque(self),
        };
        if rendered.is_none() {
            // What cannot be read as what its type says is an object like any other.
            self.text.truncate(mark.0);
            self.length = mark.1;
            return opaque(self);
        }
        if wrapped {
            self.push(")");
        }
        Some(())
    }
}
