//! The locals of one frame: names from the code object, words from the frame.

use super::super::layout::{Layout, LocalNames};
use super::super::objects::Objects;
use super::super::stack::FoundFrame;
use super::super::view::View;
use super::super::{ReadMemory, Runtime};
use super::{RenderLimits, RenderedLocal, Renderer};
use crate::units::RemoteAddress;

/// The most locals of one frame that are shown.
const MOST_LOCALS: usize = 512;

/// What stands for a name that cannot be read, or is far too long for one.
const NAMELESS: &str = "?";

/// The type name of what holds a variable that an inner function shares.
const CELL: &str = "cell";

impl Runtime {
    /// The text of an object, so much of it.
    pub fn render(
        &mut self,
        memory: &dyn ReadMemory,
        object: RemoteAddress,
        limits: RenderLimits,
    ) -> String {
        let (layout, mut objects, rendering) = self.rendering(memory);
        Renderer::new(&mut objects, layout, &mut rendering.types, limits).value(object)
    }

    /// The locals of a frame of the last look, in the order in which its function has them;
    /// those that are not bound are left out. The thread may have run since: a frame that
    /// runs another function by now has none.
    pub fn render_locals(
        &mut self,
        memory: &dyn ReadMemory,
        frame: &FoundFrame,
        limits: RenderLimits,
    ) -> Vec<RenderedLocal> {
        let raw = frame.raw();
        let Some(code) = self.code_address(frame) else { return Vec::new() };
        let (layout, mut objects, rendering) = self.rendering(memory);
        let Some(names) = names(code, &mut objects, layout) else { return Vec::new() };
        let place = Place { address: raw.address, code, count: names.len() };
        let Some(before) = place.words(&mut objects, layout) else { return Vec::new() };
        let mut renderer = Renderer::new(&mut objects, layout, &mut rendering.types, limits);
        let mut locals = Vec::new();
        for (index, (name, &word)) in names.iter().zip(&before).enumerate() {
            if !word.is_plausible() {
                continue;
            }
            let Some(value) = renderer.behind_cell(word) else { continue };
            let repr = renderer.value(value);
            locals.push((
                index,
                RenderedLocal {
                    name: name.text.clone(),
                    address: value,
                    is_argument: name.is_argument,
                    repr: Some(repr),
                },
            ));
        }
        let after = place.words(renderer.objects, layout).unwrap_or_default();
        for (index, local) in &mut locals {
            if after.get(*index) != before.get(*index) {
                local.repr = None;
            }
        }
        locals.into_iter().map(|(_, local)| local).collect()
    }
}

impl Renderer<'_, '_> {
    /// What a variable refers to that may be shared with an inner function; `None` if that
    /// is nothing yet.
    fn behind_cell(&mut self, word: RemoteAddress) -> Option<RemoteAddress> {
        let Some(class) = self.objects.type_of(word) else { return Some(word) };
        if self.types.of(class, self.objects, self.layout).is_none_or(|it| it.name != CELL) {
            return Some(word);
        }
        let inside = word.plus(self.layout.object.cell_value as u64);
        self.objects.address(inside).filter(|value| value.is_plausible())
    }
}

/// A variable of a function.
struct Name {
    text: String,
    is_argument: bool,
}

/// Where a frame is, and what it should run.
#[derive(Clone, Copy)]
struct Place {
    address: RemoteAddress,
    code: RemoteAddress,
    count: usize,
}

impl Place {
    /// The words of its locals, now; `None` if it runs other code.
    fn words(self, objects: &mut Objects<'_>, layout: &Layout) -> Option<Vec<RemoteAddress>> {
        let at = &layout.frame;
        let length = at.localsplus.checked_add(self.count.checked_mul(8)?)?;
        let bytes = objects.bytes(self.address, length.max(at.code.checked_add(8)?))?;
        let untagged = |word: u64| RemoteAddress::new(word & !at.tag_mask);
        if View(bytes).u64(at.code).map(untagged) != Some(self.code) {
            return None;
        }
        let words = bytes.get(at.localsplus..)?.chunks_exact(8);
        words.map(|word| View(word).u64(0).map(untagged)).take(self.count).collect()
    }
}

/// The names of all words of a frame of this code, in order.
fn names(code: RemoteAddress, objects: &mut Objects<'_>, layout: &Layout) -> Option<Vec<Name>> {
    // co_argcount, co_posonlyargcount, co_kwonlyargcount stand together, co_firstlineno
    // three words of 32 bits later up to 3.10 (co_nlocals, co_stacksize, co_flags between),
    // and one from 3.11 on (co_stacksize) (Include/cpython/code.h).
    let (tuples, before_line): (&[usize], usize) = match &layout.code.local_names {
        LocalNames::Three { varnames, cellvars, freevars } => {
            (&[*varnames, *cellvars, *freevars], 24)
        }
        LocalNames::One { localsplusnames } => (&[*localsplusnames], 16),
    };
    let counts = layout.code.firstlineno.checked_sub(before_line)?;
    let head = View(objects.bytes(code.plus(counts as u64), 12)?);
    let count = |offset| usize::try_from(head.i32(offset)?).ok();
    let arguments = count(0)?.saturating_add(count(8)?);
    let mut names = Vec::new();
    for &tuple in tuples {
        let tuple = objects.address(code.plus(tuple as u64))?;
        for name in objects.tuple(tuple)? {
            if names.len() >= MOST_LOCALS {
                return Some(names);
            }
            let text = objects.short_string(name).unwrap_or_else(|| NAMELESS.to_owned());
            // An argument that an inner function shares is a cell too, and bound there.
            let is_argument = names.len() < arguments
                || names.iter().take(arguments).any(|name: &Name| name.text == text);
            names.push(Name { text, is_argument });
        }
    }
    Some(names)
}
