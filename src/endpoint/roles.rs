//! Which frames of a stack say something, worked out once for each code object.

use super::{Part, RequestLocals, is_of_framework, is_of_server, part_of};
use crate::model::Tables;
use crate::python::{FoundFrame, Local, Stack};

/// What is known of one process' functions.
#[derive(Debug, Default)]
pub(super) struct Roles {
    /// By [`FoundFrame::code_index`].
    known: Vec<Role>,
    /// The [`crate::python::Runtime::code_generation`] of `known`.
    generation: u64,
}

#[derive(Debug, Clone, Copy, Default)]
enum Role {
    #[default]
    NotAsked,
    None,
    OfServer,
    OfFramework,
    Known(Part, [Option<Local>; 3]),
}

/// The frames of a stack that say something.
#[derive(Debug, Default)]
pub(super) struct Telling {
    /// The frame that serves a request, and where it has its locals.
    pub(super) request: Option<(FoundFrame, &'static RequestLocals, [Option<Local>; 3])>,
    /// Whether any is the server's own.
    pub(super) of_server: bool,
    /// Whether any is of a framework whose routes are known.
    pub(super) of_framework: bool,
}

impl Roles {
    /// Looks through a stack for known functions.
    pub(super) fn telling(&mut self, stack: &mut Stack<'_>, tables: &Tables) -> Telling {
        if self.generation != stack.runtime.code_generation() {
            self.generation = stack.runtime.code_generation();
            self.known.clear();
        }
        let mut telling = Telling::default();
        let mut position = 0;
        while let Some(&frame) = stack.frames().get(position) {
            position += 1;
            match self.role(&frame, stack, tables) {
                Role::NotAsked | Role::None => {}
                Role::OfServer => telling.of_server = true,
                Role::OfFramework => telling.of_framework = true,
                Role::Known(Part::Request(locals), slots) => {
                    telling.of_server = true;
                    telling.request = Some((frame, locals, slots));
                }
            }
        }
        telling
    }

    fn role(&mut self, frame: &FoundFrame, stack: &mut Stack<'_>, tables: &Tables) -> Role {
        let code = frame.code_index();
        match self.known.get(code) {
            Some(Role::NotAsked) | None => {}
            Some(&known) => return known,
        }
        let function = tables.function(frame.function);
        let (name, file) = (tables.string(function.name), tables.string(function.file));
        let role = match part_of(name, file) {
            Some(part) => {
                let Part::Request(locals) = part;
                let mut reader = stack.locals();
                let names = [locals.request, locals.started, locals.environ];
                let slots = names.map(|name| reader.find(frame, name));
                if slots.iter().any(Option::is_none) {
                    // Names that could not be read now may be read at the next tick.
                    return Role::Known(part, slots);
                }
                Role::Known(part, slots)
            }
            None if is_of_server(file) => Role::OfServer,
            None if is_of_framework(file) => Role::OfFramework,
            None => Role::None,
        };
        if self.known.len() <= code {
            self.known.resize(code + 1, Role::NotAsked);
        }
        self.known[code] = role;
        role
    }
}
