//! What a database is being asked: from the frame of a driver's or framework's call to a
//! statement without values.
//!
//! ```text
//! frames near the leaf ─► a known function ─► its local ─► the text ─► normalise ─► Statement
//!                         (drivers.rs)        `statement`  bounded     (normalise.rs)
//! ```
//!
//! The text is read again at every look and known by its fingerprint: objects are freed and
//! their memory used again, so that an address alone says nothing. Only a text that was not
//! seen before is normalised. What is kept is the fingerprint and the normalised text; the
//! text itself, which may hold values, is not.

mod drivers;
mod normalise;
mod quoting;

use rustc_hash::FxHashMap;

pub use normalise::{LONGEST, normalise};
pub use quoting::Dialect;

use crate::model::{Statement, StatementId, Tables};
use crate::python::{Argument, FoundFrame, Local, Locals, Stack};
use drivers::{Driver, Quoting, Says, command_name, dialect_named, driver_of};

/// How far from the leaf a driver's call may be.
const NEAREST: usize = 32;

/// How many frames above a driver's a framework's call may be, for its text to count.
const ABOVE: usize = 8;

/// How many bytes of a text are read. What comes after the first 500 characters without
/// values is cut anyway.
const MOST_BYTES: usize = 1 << 14;

/// Texts that are remembered by their fingerprints. An application that writes its values
/// into them has no end of texts.
const MOST_TEXTS: usize = 4096;

/// Statements of a recording that are told apart.
const MOST_STATEMENTS: usize = 1000;

/// One that is not told apart from others, because there are too many.
const OTHERS: &str = "(other statements)";

/// One of which the text is not at hand.
const UNKNOWN: &str = "(unknown statement)";

/// What all processes of a recording share.
#[derive(Debug, Default)]
pub struct Shared {
    by_text: FxHashMap<Box<str>, StatementId>,
}

impl Shared {
    fn intern(&mut self, text: &str, tables: &mut Tables) -> StatementId {
        if let Some(&known) = self.by_text.get(text) {
            return known;
        }
        let text = if self.by_text.len() < MOST_STATEMENTS { text } else { OTHERS };
        let id = Statement { text: tables.intern_string(text) };
        let id = tables.intern_statement(id);
        self.by_text.insert(text.into(), id);
        id
    }
}

/// An execution that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Execution {
    /// What is asked.
    pub statement: StatementId,
    /// The same as long as it is the same execution, and most likely another for the next.
    pub digest: u64,
}

/// What is known of the statements of one process.
#[derive(Debug, Default)]
pub struct Statements {
    /// By [`FoundFrame::code_index`].
    roles: Vec<Role>,
    /// The [`crate::python::Runtime::code_generation`] of `roles`.
    generation: u64,
    /// By the fingerprint of the text.
    known: FxHashMap<u64, StatementId>,
}

#[derive(Debug, Clone, Copy, Default)]
enum Role {
    #[default]
    NotAsked,
    None,
    Known(&'static Driver, Slots),
}

/// Where a driver's function has its locals.
#[derive(Debug, Clone, Copy, Default)]
struct Slots {
    text: Option<Local>,
    parameters: Option<Local>,
    this: Option<Local>,
    /// How many bytes the last text had.
    expected: usize,
}

/// A known frame of a stack.
#[derive(Debug, Clone, Copy)]
struct Call {
    frame: FoundFrame,
    /// Its position from the root.
    position: usize,
    driver: &'static Driver,
    slots: Slots,
}

impl Statements {
    /// What the thread of a stack asks a database, if it is in a driver's call. `None` too if
    /// the call is over by now.
    pub fn read(
        &mut self,
        stack: &mut Stack<'_>,
        shared: &mut Shared,
        tables: &mut Tables,
    ) -> Option<Execution> {
        let call = self.call(stack, tables)?;
        let Call { frame, position, driver, slots } = call;
        let statement = match driver.says {
            Says::Always(text) => shared.intern(text, tables),
            Says::Local(_) | Says::Command(_) => {
                let mut locals = stack.locals();
                self.text(&call, slots.text?, &mut locals, shared, tables)?
            }
        };
        // Frames are `Copy` and few; the runtime is needed for their locals.
        let mut callers = [None; 8];
        let before = position.saturating_sub(callers.len());
        let frames = stack.frames().get(before..position)?;
        for (caller, frame) in callers.iter_mut().zip(frames) {
            *caller = Some(*frame);
        }
        let mut locals = stack.locals();
        let seed = statement.index() as u64;
        let callers = callers.iter().flatten();
        let digest = locals.digest(&frame, callers, slots.parameters, seed);
        Some(Execution { statement, digest })
    }

    /// The call of a driver nearest to the leaf; or the framework's that made it.
    fn call(&mut self, stack: &mut Stack<'_>, tables: &Tables) -> Option<Call> {
        if self.generation != stack.runtime.code_generation() {
            self.generation = stack.runtime.code_generation();
            self.roles.clear();
        }
        let depth = stack.frames().len();
        let mut found: Option<Call> = None;
        for position in (0..depth).rev().take(NEAREST + ABOVE) {
            let from_leaf = depth - 1 - position;
            let last = found.map_or(NEAREST, |found| depth - 1 - found.position + ABOVE);
            if from_leaf > last {
                break;
            }
            let frame = *stack.frames().get(position)?;
            let Role::Known(driver, slots) = self.role(&frame, stack, tables) else { continue };
            let call = Call { frame, position, driver, slots };
            if matches!(driver.says, Says::Command(_)) && found.is_none() {
                return Some(call);
            }
            if driver.is_framework {
                return Some(call);
            }
            found = found.or(Some(call));
        }
        found
    }

    fn role(&mut self, frame: &FoundFrame, stack: &mut Stack<'_>, tables: &Tables) -> Role {
        let code = frame.code_index();
        match self.roles.get(code) {
            Some(Role::NotAsked) | None => {}
            Some(&known) => return known,
        }
        let function = tables.function(frame.function);
        let role = match driver_of(tables.string(function.name), tables.string(function.file)) {
            None => Role::None,
            Some(driver) => {
                let mut locals = stack.locals();
                let text = match driver.says {
                    Says::Local(name) | Says::Command(name) => Some(name),
                    Says::Always(_) => None,
                };
                let slots = Slots {
                    text: text.and_then(|name| locals.find(frame, name)),
                    parameters: driver.parameters.and_then(|name| locals.find(frame, name)),
                    this: locals.find(frame, "self"),
                    expected: 512,
                };
                if text.is_some() && slots.text.is_none() {
                    // Names that could not be read now may be read at the next tick.
                    return Role::Known(driver, slots);
                }
                Role::Known(driver, slots)
            }
        };
        if self.roles.len() <= code {
            self.roles.resize(code + 1, Role::NotAsked);
        }
        self.roles[code] = role;
        role
    }

    /// The statement in a local.
    fn text(
        &mut self,
        call: &Call,
        local: Local,
        locals: &mut Locals<'_>,
        shared: &mut Shared,
        tables: &mut Tables,
    ) -> Option<StatementId> {
        let is_command = matches!(call.driver.says, Says::Command(_));
        let expected = call.slots.expected;
        let (fingerprint, is_whole, text) =
            match locals.text(&call.frame, local, is_command, expected, MOST_BYTES) {
                Argument::Text(text) => {
                    let fingerprint = text.fingerprint();
                    if let Some(Role::Known(_, slots)) = self.roles.get_mut(call.frame.code_index())
                    {
                        // A little more, so that texts of about the same length do not take
                        // turns in being too long.
                        slots.expected = text.expected.max(slots.expected / 2);
                    }
                    if let Some(&known) = self.known.get(&fingerprint) {
                        return Some(known);
                    }
                    (fingerprint, text.is_whole(), text.decode())
                }
                Argument::Other => return Some(shared.intern(UNKNOWN, tables)),
                Argument::Gone => return None,
            };
        let Some(text) = text else { return Some(shared.intern(UNKNOWN, tables)) };
        let short = if is_command {
            command_name(&text)
        } else {
            let dialect = dialect(call, locals);
            Some(normalise(&text, is_whole, dialect)).filter(|text| !text.is_empty())
        };
        let statement = shared.intern(short.as_deref().unwrap_or(UNKNOWN), tables);
        if self.known.len() >= MOST_TEXTS {
            self.known.clear();
        }
        self.known.insert(fingerprint, statement);
        Some(statement)
    }
}

/// Whose quoting the text of a call keeps to.
fn dialect(call: &Call, locals: &mut Locals<'_>) -> Dialect {
    let mut named = || match call.driver.quoting {
        Quoting::Of(dialect) => Some(dialect),
        Quoting::SqlAlchemy => {
            let name = locals.type_name(&call.frame, call.slots.this?)?;
            Some(dialect_named(&name))
        }
        Quoting::Django => {
            let wrapper = locals.value(&call.frame, call.slots.this?)?;
            let [database] = locals.attributes(wrapper, ["db"]);
            let [settings] = locals.attributes(database?, ["settings_dict"]);
            let engine = locals.dict_item(settings?, "ENGINE");
            let [name] = locals.strings([engine]);
            name.map(|name| dialect_named(&name))
        }
    };
    named().unwrap_or_default()
}

#[cfg(test)]
mod tests;
