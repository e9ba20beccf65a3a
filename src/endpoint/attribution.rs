//! What a thread is attributed to at a tick.

use super::in_flight::InFlight;
use super::key::Key;
use super::request::{Current, InProgress, Read};
use super::roles::{Roles, Stacked, Telling};
use super::routing::{from_carrier, from_frames};
use super::rows::{Serves, Standing};
use super::shared::{Shared, label};
use super::{Declared, routing::FoundRoute};
use crate::model::{EndpointId, Grade, RequestId, State, Tables};
use crate::python::{Locals, Stack};

/// What a sample is attributed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributed {
    /// The endpoint, or a label.
    pub endpoint: EndpointId,
    /// The request, where one could be told from all others.
    pub request: Option<RequestId>,
}

/// What is known of one process.
#[derive(Debug, Default)]
pub struct Attribution {
    roles: Roles,
    requests: InFlight,
    /// The frameworks that leave their routes in the carrier and were ever on a stack, as
    /// bits: without any there is none to look for.
    carriers: u8,
}

/// What is known of one thread, or of a piece of work that moves between threads.
#[derive(Debug, Default)]
pub struct ThreadRequest {
    current: Option<Key>,
    /// Whether it was ever seen in the server's own functions.
    of_server: bool,
    /// The label for when it serves nothing, and the name that it was made of.
    background: Option<(String, EndpointId)>,
}

/// What frames serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serving {
    /// A request, or a task.
    Request(Attributed),
    /// One that the server has not come so far as to mark.
    NotBegun,
    /// What was read does not hold together.
    Torn,
    /// None.
    Nothing,
}

impl Attribution {
    /// For a process of which nothing is known yet, with what a person declared.
    pub fn new(declared: Declared) -> Self {
        Self { roles: Roles::new(declared.rows()), ..Self::default() }
    }

    /// Tells what a thread served at the last look. `name` is what it is called.
    pub fn attribute(
        &mut self,
        stack: &mut Stack<'_>,
        thread: &mut ThreadRequest,
        state: State,
        name: &str,
        shared: &mut Shared,
        tables: &mut Tables,
    ) -> Attributed {
        let none = |endpoint| Attributed { endpoint, request: None };
        match self.serving(stack, thread, shared, tables) {
            Serving::Request(attributed) => attributed,
            Serving::NotBegun => none(label(tables, "(server)")),
            Serving::Torn => none(label(tables, "(unsettled)")),
            Serving::Nothing => none(thread.unserved(state, name, shared, tables)),
        }
    }

    /// Which request the frames of a stack serve: a thread's, or those of a piece of work that
    /// is on none now. `thread` is what is known of that one from before.
    pub fn serving(
        &mut self,
        stack: &mut Stack<'_>,
        thread: &mut ThreadRequest,
        shared: &mut Shared,
        tables: &mut Tables,
    ) -> Serving {
        let stacked = self.roles.look(stack, tables);
        thread.of_server |= stacked.of_server;
        self.carriers |= stacked.carriers;
        let work = stack.work();
        let mut reader = stack.locals();
        let mut has_begun = true;
        for telling in stacked.serving.iter().flatten() {
            let Some(key) = telling.key(&mut reader, work, false) else {
                has_begun &= telling.row.standing > Standing::Server;
                continue;
            };
            if thread.current != Some(key) {
                self.leave(thread);
                if !telling.row.suspends {
                    // It has begun on this thread since: what was known by the same marks was
                    // another's, of a thread that has ended.
                    self.requests.remove(&key);
                }
            }
            let served = self.serve(&mut reader, (telling, key), &stacked, work, shared, tables);
            if matches!(served, Serving::Nothing) {
                continue;
            }
            thread.current = matches!(served, Serving::Request(_)).then_some(key);
            return served;
        }
        if !has_begun {
            return Serving::NotBegun;
        }
        if thread.current.is_some() && matches!(stack.grade(), Grade::Partial | Grade::Lost) {
            // The frame that has the request may be among those that were not found.
            return Serving::Torn;
        }
        self.leave(thread);
        Serving::Nothing
    }

    /// The request that a thread served when it was last looked at.
    pub fn in_progress(&self, thread: &ThreadRequest) -> Option<InProgress<'_>> {
        self.requests.get(thread.current.as_ref()?).map(Current::in_progress)
    }

    /// The thread does something else now. What cannot go on later has ended.
    fn leave(&mut self, thread: &mut ThreadRequest) {
        if let Some(key) = thread.current.take()
            && self.requests.get(&key).is_some_and(|current| !current.suspends)
        {
            self.requests.remove(&key);
        }
    }

    /// The request with this key: the one known already, or a new one.
    fn serve(
        &mut self,
        reader: &mut Locals<'_>,
        (telling, key): (&Telling<Serves>, Key),
        stacked: &Stacked,
        work: Option<u64>,
        shared: &mut Shared,
        tables: &mut Tables,
    ) -> Serving {
        let is_new = !self.requests.sees(&key);
        if is_new {
            match Current::read(reader, telling, &key, shared, tables) {
                Read::Request(current) => self.requests.insert(key, *current),
                Read::Nothing => return Serving::Nothing,
                Read::Torn => return Serving::Torn,
            }
        }
        let Some(current) = self.requests.get_mut(&key) else { return Serving::Torn };
        if is_new || !current.settled {
            let found = if current.settled {
                None
            } else {
                find_route(reader, telling, stacked, self.carriers, &current.method)
            };
            // What was read is this request's only if the frame still serves it: not just
            // the same addresses, which the next request may have again.
            if (is_new || found.is_some()) && telling.key(reader, work, true) != Some(key) {
                self.requests.remove(&key);
                return Serving::Torn;
            }
            if let Some(found) = found {
                current.settle(&found, shared, tables);
            }
        }
        Serving::Request(Attributed { endpoint: current.endpoint, request: Some(current.id) })
    }
}

/// The framework's route, if it has one by now.
fn find_route(
    reader: &mut Locals<'_>,
    telling: &Telling<Serves>,
    stacked: &Stacked,
    present: u8,
    method: &str,
) -> Option<FoundRoute> {
    if let Some(found) = from_frames(reader, stacked, method) {
        return Some(found);
    }
    if present == 0 {
        return None;
    }
    // A server that hides its environment has handed it to an application.
    let application = stacked.serving[Standing::Application as usize].as_ref();
    let mut carrying = std::iter::once(telling).chain(application);
    let telling = carrying.find(|telling| telling.row.carrier.is_some())?;
    let (carrier, _) = telling.row.carrier?;
    let dict = telling.object(reader, 5, false)?;
    from_carrier(reader, carrier, dict, present)
}

impl ThreadRequest {
    /// The label of a thread that serves no request.
    fn unserved(
        &mut self,
        state: State,
        name: &str,
        shared: &mut Shared,
        tables: &mut Tables,
    ) -> EndpointId {
        if state == State::Idle {
            return label(tables, "(idle)");
        }
        if self.of_server {
            return label(tables, "(server)");
        }
        match &self.background {
            Some((known, endpoint)) if known == name => *endpoint,
            _ => {
                let endpoint = shared.background(name, tables);
                self.background = Some((name.to_owned(), endpoint));
                endpoint
            }
        }
    }
}
