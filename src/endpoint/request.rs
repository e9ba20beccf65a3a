//! The request a thread serves: told, remembered, re-checked.

use rustc_hash::FxHashMap;

use super::route::fold;
use super::{
    ENVIRON_ROUTES, EnvironRoute, Part, RequestLocals, is_of_framework, is_of_server, part_of,
};
use crate::model::{Endpoint, EndpointId, Framework, Grade, RequestId, Routing, State, Tables};
use crate::python::{FoundFrame, Local, Locals, ReadMemory, Runtime};
use crate::units::RemoteAddress;

/// The most endpoints named by raw paths. Beyond that a crawler's thousand paths are
/// one: `GET (other paths)`.
const MOST_FOLDED_PATHS: usize = 500;

/// The methods of RFC 9110 and RFC 5789. A client may send any word.
const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// What all processes of a recording share.
#[derive(Debug, Default)]
pub struct Shared {
    requests: u64,
    /// Endpoints named by their path, by label.
    folded: FxHashMap<String, EndpointId>,
    /// How many names of threads that serve no request have a label of their own.
    backgrounds: usize,
}

/// What a sample is attributed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributed {
    /// The endpoint, or a label.
    pub endpoint: EndpointId,
    /// The request, where one could be told from all others.
    pub request: Option<RequestId>,
}

/// What is known of one process' functions.
#[derive(Debug, Default)]
pub struct Attribution {
    /// By [`FoundFrame::code_index`].
    roles: Vec<Role>,
    /// The [`Runtime::code_generation`] of `roles`.
    generation: u64,
    /// Whether a framework whose routes are known was ever on a stack: without one there
    /// is none to look for.
    routes_seen: bool,
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

/// What is known of one thread.
#[derive(Debug, Default)]
pub struct ThreadRequest {
    current: Option<Current>,
    name: Option<String>,
    /// Whether it was ever seen in the server's own functions.
    of_server: bool,
    /// The label for when it serves nothing, once it is known.
    background: Option<EndpointId>,
}

/// A request in progress.
#[derive(Debug)]
struct Current {
    key: Key,
    id: RequestId,
    method: String,
    endpoint: EndpointId,
    /// Whether its path is one of the many that share an endpoint.
    is_other_path: bool,
    /// Whether the endpoint will not change any more.
    settled: bool,
}

/// What tells one request from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    request: RemoteAddress,
    started: RemoteAddress,
    /// The ten bytes of the `datetime` at which it began.
    moment: [u8; 10],
}

/// `data` of `PyDateTime_DateTime` (`Include/datetime.h`): after the object's head, the
/// hash and one byte. The same from 3.8 to 3.15.
const DATETIME_DATA: u64 = 25;

/// The frames of a stack that say something.
#[derive(Debug, Default)]
struct Telling {
    request: Option<(FoundFrame, &'static RequestLocals, [Option<Local>; 3])>,
    root: Option<(FoundFrame, Option<Local>)>,
    of_server: bool,
    of_framework: bool,
}

impl ThreadRequest {
    /// The thread's own name, once its root frame was seen.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl Attribution {
    /// Tells what the thread at position `index` of [`Runtime::threads`] served at the
    /// last look. `name` is what the thread is called if it does not say so itself.
    #[allow(clippy::too_many_arguments)]
    pub fn attribute(
        &mut self,
        thread: &mut ThreadRequest,
        runtime: &mut Runtime,
        index: usize,
        memory: &dyn ReadMemory,
        tables: &mut Tables,
        shared: &mut Shared,
        state: State,
        name: &str,
    ) -> Attributed {
        let telling = self.telling(runtime, index, memory, tables);
        if let (None, Some((frame, Some(local)))) = (&thread.name, telling.root) {
            thread.name = thread_name(&mut runtime.locals(memory), &frame, local);
        }
        thread.of_server |= telling.of_server;
        self.routes_seen |= telling.of_framework;
        let torn = runtime
            .threads()
            .get(index)
            .is_none_or(|thread| matches!(thread.grade(), Grade::Partial | Grade::Lost));
        if torn && telling.request.is_none() && thread.current.is_some() {
            // The frame that holds the request may be among those that were not found.
            return Attributed { endpoint: label(tables, "(unsettled)"), request: None };
        }
        let Some((frame, locals, [request, started, environ])) = telling.request else {
            thread.current = None;
            let endpoint = thread.unserved(state, name, shared, tables);
            return Attributed { endpoint, request: None };
        };
        let mut reader = runtime.locals(memory);
        let key = request
            .zip(started)
            .and_then(|(request, started)| Key::read(&mut reader, &frame, request, started));
        let (Some(key), Some(request), Some(started)) = (key, request, started) else {
            // The server has not come so far as to note the start, or the frame's locals
            // were not read: nothing to remember it by.
            let endpoint = label(tables, "(server)");
            return Attributed { endpoint, request: None };
        };
        let is_new = thread.current.as_ref().is_none_or(|current| current.key != key);
        if is_new {
            thread.current = Current::read(&mut reader, key, locals, shared, tables);
        }
        if let Some(current) = &mut thread.current
            && (is_new || (self.routes_seen && !current.settled))
        {
            if self.routes_seen {
                current.settle(&mut reader, &frame, environ, tables);
            }
            // What was read is this request's only if the frame still has it.
            let still = (reader.reread(&frame, request), reader.reread(&frame, started));
            if still != (Some(key.request), Some(key.started)) {
                thread.current = None;
            }
        }
        match &thread.current {
            Some(current) => Attributed { endpoint: current.endpoint, request: Some(current.id) },
            None => Attributed { endpoint: label(tables, "(unsettled)"), request: None },
        }
    }

    /// Looks through a stack for known functions.
    fn telling(
        &mut self,
        runtime: &mut Runtime,
        index: usize,
        memory: &dyn ReadMemory,
        tables: &Tables,
    ) -> Telling {
        if self.generation != runtime.code_generation() {
            self.generation = runtime.code_generation();
            self.roles.clear();
        }
        let mut telling = Telling::default();
        let mut position = 0;
        while let Some(&frame) =
            runtime.threads().get(index).and_then(|thread| thread.frames().get(position))
        {
            position += 1;
            match self.role(&frame, runtime, memory, tables) {
                Role::NotAsked | Role::None => {}
                Role::OfServer => telling.of_server = true,
                Role::OfFramework => telling.of_framework = true,
                Role::Known(Part::Request(locals), slots) => {
                    telling.of_server = true;
                    telling.request = Some((frame, locals, slots));
                }
                Role::Known(Part::ThreadRoot, [slot, ..]) => telling.root = Some((frame, slot)),
            }
        }
        telling
    }

    fn role(
        &mut self,
        frame: &FoundFrame,
        runtime: &mut Runtime,
        memory: &dyn ReadMemory,
        tables: &Tables,
    ) -> Role {
        let code = frame.code_index();
        match self.roles.get(code) {
            Some(Role::NotAsked) | None => {}
            Some(&known) => return known,
        }
        if self.roles.len() <= code {
            self.roles.resize(code + 1, Role::NotAsked);
        }
        let function = tables.function(frame.function);
        let (name, file) = (tables.string(function.name), tables.string(function.file));
        let role = match part_of(name, file) {
            Some(part) => {
                let mut reader = runtime.locals(memory);
                let names = match part {
                    Part::Request(locals) => {
                        [Some(locals.request), Some(locals.started), Some(locals.environ)]
                    }
                    Part::ThreadRoot => [Some("self"), None, None],
                };
                let slots = names.map(|name| reader.find(frame, name?));
                // Names that could not be read now may be read at the next tick.
                if names.iter().zip(&slots).any(|(name, slot)| name.is_some() && slot.is_none()) {
                    return Role::Known(part, slots);
                }
                Role::Known(part, slots)
            }
            None if is_of_server(file) => Role::OfServer,
            None if is_of_framework(file) => Role::OfFramework,
            None => Role::None,
        };
        if let Some(entry) = self.roles.get_mut(code) {
            *entry = role;
        }
        role
    }
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
        match (self.background, &self.name) {
            (Some(known), Some(_)) => known,
            _ => {
                let name = self.name.as_deref().unwrap_or(name);
                let endpoint = shared.background(name, tables);
                self.background = Some(endpoint);
                endpoint
            }
        }
    }
}

impl Key {
    fn read(
        reader: &mut Locals<'_>,
        frame: &FoundFrame,
        request: Local,
        started: Local,
    ) -> Option<Self> {
        let request = reader.value(frame, request)?;
        let started = reader.value(frame, started)?;
        let moment = reader.bytes(started.plus(DATETIME_DATA))?;
        Some(Self { request, started, moment })
    }
}

impl Current {
    /// A request that was not seen before: its method and its path.
    fn read(
        reader: &mut Locals<'_>,
        key: Key,
        locals: &RequestLocals,
        shared: &mut Shared,
        tables: &mut Tables,
    ) -> Option<Self> {
        let parts = reader.attributes(key.request, [locals.method, locals.path]);
        let [Some(method), Some(path)] = reader.strings(parts) else { return None };
        if !is_method(&method) {
            return None;
        }
        shared.requests += 1;
        let id = RequestId::new(shared.requests)?;
        let folded = shared.folded_endpoint(&method, &path, tables);
        let is_other_path = folded.is_none();
        let endpoint = folded.unwrap_or_else(|| {
            let method = if METHODS.contains(&method.as_str()) { &method } else { "OTHER" };
            endpoint(tables, method, "(other paths)", Framework::None, None)
        });
        Some(Self { key, id, method, endpoint, is_other_path, settled: false })
    }

    /// Takes the framework's route, if it has one by now.
    fn settle(
        &mut self,
        reader: &mut Locals<'_>,
        frame: &FoundFrame,
        environ: Option<Local>,
        tables: &mut Tables,
    ) {
        let Some(environ) = environ.and_then(|environ| reader.value(frame, environ)) else {
            return;
        };
        for known in ENVIRON_ROUTES {
            let Some(request) = reader.dict_item(environ, known.key) else { continue };
            let Some((route, handler)) = route(reader, request, known) else { return };
            let path = self.endpoint;
            self.endpoint =
                endpoint(tables, &self.method, &route, known.framework, handler.as_deref());
            self.settled = true;
            if !self.is_other_path {
                tables.intern_routing(Routing { path, route: self.endpoint });
            }
        }
    }
}

/// The framework's route and its handler, from the framework's request object; `None` as
/// long as it has not looked for one.
fn route(
    reader: &mut Locals<'_>,
    request: RemoteAddress,
    known: &EnvironRoute,
) -> Option<(String, Option<String>)> {
    let [rule, no_route] = reader.attributes(request, [known.rule, known.no_route]);
    let Some(rule) = rule else {
        return no_route.map(|_| ("(no route)".to_owned(), None));
    };
    let parts = reader.attributes(rule, [known.route, known.handler]);
    let [route, handler] = reader.strings(parts);
    Some((route?, handler))
}

impl Shared {
    /// The endpoint of a folded path; `None` for a new one once there are too many.
    fn folded_endpoint(
        &mut self,
        method: &str,
        path: &str,
        tables: &mut Tables,
    ) -> Option<EndpointId> {
        let route = fold(path);
        let key = format!("{method} {route}");
        if let Some(&known) = self.folded.get(&key) {
            return Some(known);
        }
        if self.folded.len() >= MOST_FOLDED_PATHS {
            return None;
        }
        let new = endpoint(tables, method, &route, Framework::None, None);
        self.folded.insert(key, new);
        Some(new)
    }

    /// The label of a thread that serves no request. A server that makes a thread for
    /// each task has no end of names.
    fn background(&mut self, name: &str, tables: &mut Tables) -> EndpointId {
        const MOST_NAMES: usize = 200;
        self.backgrounds += 1;
        if self.backgrounds > MOST_NAMES {
            return label(tables, "(background other threads)");
        }
        label(tables, &format!("(background {name})"))
    }
}

/// Whether this can be an HTTP method: what else was read is not a request's.
fn is_method(text: &str) -> bool {
    (1..=20).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-' || byte == b'_')
}

fn endpoint(
    tables: &mut Tables,
    method: &str,
    route: &str,
    framework: Framework,
    handler: Option<&str>,
) -> EndpointId {
    let label = tables.intern_string(&format!("{method} {route}"));
    let method = Some(tables.intern_string(method));
    let route = Some(tables.intern_string(route));
    let handler = handler.map(|handler| tables.intern_string(handler));
    tables.intern_endpoint(Endpoint { label, method, route, framework, handler })
}

fn label(tables: &mut Tables, text: &str) -> EndpointId {
    let label = tables.intern_string(text);
    tables.intern_endpoint(Endpoint {
        label,
        method: None,
        route: None,
        framework: Framework::None,
        handler: None,
    })
}

/// `Thread._name`, through `self` of the thread's first frame.
fn thread_name(reader: &mut Locals<'_>, frame: &FoundFrame, local: Local) -> Option<String> {
    let thread = reader.value(frame, local)?;
    let name = reader.attributes(thread, ["_name"]);
    let [name] = reader.strings(name);
    name
}
