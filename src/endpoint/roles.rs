//! Which frames of a stack say something, worked out once for each code object.

use super::rows::{BY_ARGUMENTS, Known, Place, Routes, Says, Serves, Standing};
use super::rows::{carriers_of, is_of_server, says};
use crate::model::Tables;
use crate::python::{FoundFrame, Local, Locals, Stack};

/// What is known of one process' functions.
#[derive(Debug, Default)]
pub(super) struct Roles {
    /// What a person declared.
    declared: &'static [Known],
    /// By [`FoundFrame::code_index`].
    known: Vec<Role>,
    /// What the known ones say.
    told: Vec<Told>,
    /// The [`crate::python::Runtime::code_generation`] of those.
    generation: u64,
}

#[derive(Debug, Clone, Copy, Default)]
enum Role {
    #[default]
    NotAsked,
    /// It is known, but its locals' names could not be read so many times.
    Again(u8),
    Nothing,
    Known(usize),
}

/// How often a function whose locals have not the names that they should have is tried.
const MOST_TRIES: u8 = 8;

/// What the code object of a frame says.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    of_server: bool,
    carriers: u8,
    serves: Option<(&'static Serves, Slots)>,
    routes: Option<(&'static Routes, Slots)>,
}

/// Where the locals of a row's places are, in the row's order.
pub(super) type Slots = [Option<Local>; 6];

/// A frame, what it says, and where it has its locals.
#[derive(Debug, Clone, Copy)]
pub(super) struct Telling<Row: 'static> {
    pub(super) frame: FoundFrame,
    pub(super) row: &'static Row,
    pub(super) slots: Slots,
}

/// How many frames that know of a route are kept of a stack.
const MOST_ROUTES: usize = 8;

/// What the frames of a stack say.
#[derive(Debug, Default)]
pub(super) struct Stacked {
    /// Those that serve a request: of each standing the one nearest to the root.
    pub(super) serving: [Option<Telling<Serves>>; Standing::COUNT],
    /// Those that know of a route, root first.
    pub(super) routes: [Option<Telling<Routes>>; MOST_ROUTES],
    /// Whether any is the server's own.
    pub(super) of_server: bool,
    /// Which frameworks there are that leave their routes in the carrier.
    pub(super) carriers: u8,
}

impl Roles {
    /// With what a person declared of functions of their own.
    pub(super) fn new(declared: &'static [Known]) -> Self {
        Self { declared, ..Self::default() }
    }

    /// Looks through a stack for known functions.
    pub(super) fn look(&mut self, stack: &mut Stack<'_>, tables: &Tables) -> Stacked {
        if self.generation != stack.runtime.code_generation() {
            self.generation = stack.runtime.code_generation();
            self.known.clear();
            self.told.clear();
        }
        let mut found = Stacked::default();
        let mut position = 0;
        while let Some(&frame) = stack.frames().get(position) {
            position += 1;
            if let Some(told) = self.of_frame(&frame, stack, tables) {
                found.add(&frame, &told);
            }
        }
        found
    }

    fn of_frame(
        &mut self,
        frame: &FoundFrame,
        stack: &mut Stack<'_>,
        tables: &Tables,
    ) -> Option<Told> {
        let code = frame.code_index();
        let tries = match self.known.get(code) {
            Some(Role::Nothing) => return None,
            Some(&Role::Known(index)) => return self.told.get(index).copied(),
            Some(&Role::Again(tries)) => tries,
            Some(Role::NotAsked) | None => 0,
        };
        let function = tables.function(frame.function);
        let (name, file) = (tables.string(function.name), tables.string(function.file));
        let mut told =
            Told { of_server: is_of_server(file), carriers: carriers_of(file), ..Told::default() };
        let mut reader = stack.locals();
        let declared = self.declared.iter().find(|row| row.is_declared_of(name, file));
        let says = declared.map(|row| row.says).or_else(|| says(name, file));
        let says = says.or_else(|| by_arguments(&mut reader, frame));
        if let Some(Says { serves, routes }) = says {
            told.serves = serves.map(|row| (row, slots(&mut reader, frame, row.places())));
            told.routes = routes.map(|row| (row, slots(&mut reader, frame, row.places())));
            told.of_server |= serves.is_some_and(|row| row.standing <= Standing::Server);
        }
        let lacks_names = |slots: &Slots| slots.iter().all(Option::is_none);
        let unread = told.serves.as_ref().is_some_and(|(_, slots)| slots[0].is_none())
            || told.routes.as_ref().is_some_and(|(_, slots)| lacks_names(slots));
        let role = if unread && tries < MOST_TRIES {
            // Names that could not be read now may be read at the next tick.
            Role::Again(tries + 1)
        } else if says.is_none() && !told.of_server && told.carriers == 0 {
            Role::Nothing
        } else {
            self.told.push(told);
            Role::Known(self.told.len() - 1)
        };
        if self.known.len() <= code {
            self.known.resize(code + 1, Role::NotAsked);
        }
        self.known[code] = role;
        Some(told)
    }
}

impl Stacked {
    fn add(&mut self, frame: &FoundFrame, told: &Told) {
        self.of_server |= told.of_server;
        self.carriers |= told.carriers;
        let frame = *frame;
        if let Some((row, slots)) = told.serves {
            let place = &mut self.serving[row.standing as usize];
            place.get_or_insert(Telling { frame, row, slots });
        }
        if let Some((row, slots)) = told.routes {
            // Of a request that each layer of middleware has, one says it all.
            let says_the_same =
                |known: &Telling<Routes>| std::ptr::eq(known.row, row) && row.whole_if.is_none();
            if self.routes.iter().flatten().any(says_the_same) {
                return;
            }
            if let Some(place) = self.routes.iter_mut().find(|place| place.is_none()) {
                *place = Some(Telling { frame, row, slots });
            }
        }
    }
}

/// What a function says that has arguments of well-known names.
fn by_arguments(reader: &mut Locals<'_>, frame: &FoundFrame) -> Option<Says> {
    let mut rows = BY_ARGUMENTS.into_iter();
    let found = rows.find(|(names, _)| names.iter().all(|name| reader.find(frame, name).is_some()));
    found.map(|(_, says)| says)
}

fn slots(reader: &mut Locals<'_>, frame: &FoundFrame, places: [Option<Place>; 6]) -> Slots {
    places.map(|place| reader.find_object(frame, place?.local))
}
