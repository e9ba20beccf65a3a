//! The route of a request as its framework names it.

use super::key::object;
use super::roles::{Stacked, Telling};
use super::rows::{CARRIED, Carrier, Carries, Routes};
use crate::model::Framework;
use crate::python::Locals;
use crate::units::RemoteAddress;

/// A route as a framework names it.
#[derive(Debug)]
pub(super) struct FoundRoute {
    pub(super) framework: Framework,
    pub(super) route: String,
    pub(super) handler: Option<String>,
}

/// The longest route that is kept, in characters.
const LONGEST: usize = 300;

impl FoundRoute {
    /// A route begins with a slash here even where its framework leaves that out.
    fn new(framework: Framework, mut route: String, handler: Option<String>) -> Self {
        if !route.starts_with('/') {
            route.insert(0, '/');
        }
        if let Some((end, _)) = route.char_indices().nth(LONGEST) {
            route.truncate(end);
            route.push('…');
        }
        Self { framework, route, handler }
    }

    fn none(framework: Framework) -> Self {
        Self { framework, route: "(no route)".to_owned(), handler: None }
    }
}

/// What functions on the stack know of the route of a request with this method: nothing as
/// long as the framework has not looked for it.
pub(super) fn from_frames(
    reader: &mut Locals<'_>,
    stacked: &Stacked,
    method: &str,
) -> Option<FoundRoute> {
    let mut prefix = String::new();
    for telling in stacked.routes.iter().flatten() {
        let framework = telling.row.framework;
        if telling.is_in_vain(reader) {
            return Some(FoundRoute::none(framework));
        }
        let Some(text) = telling.text(reader, 0).or_else(|| telling.text(reader, 1)) else {
            continue;
        };
        if telling.row.whole_if.is_some() && telling.object(reader, 4).is_none() {
            prefix.push_str(&text);
            if prefix.len() > LONGEST {
                return None;
            }
            continue;
        }
        let handler = telling.text(reader, 2).map(|handler| match telling.action(reader, method) {
            Some(action) => format!("{handler}.{action}"),
            None => handler,
        });
        return Some(FoundRoute::new(framework, prefix + &text, handler));
    }
    None
}

/// What frameworks have left of it in the carrier. `present` are those whose files were ever on
/// a stack, as bits.
pub(super) fn from_carrier(
    reader: &mut Locals<'_>,
    carrier: Carrier,
    dict: RemoteAddress,
    present: u8,
) -> Option<FoundRoute> {
    let known = CARRIED.into_iter().enumerate();
    let mut known =
        known.filter(|(index, row)| row.carrier == carrier && present >> index & 1 == 1);
    known.find_map(|(_, row)| carried_by(reader, dict, row))
}

fn carried_by(reader: &mut Locals<'_>, dict: RemoteAddress, row: &Carries) -> Option<FoundRoute> {
    let mut text = |steps| {
        let object = reader.follow(dict, steps)?;
        reader.text_of(object)
    };
    if let Some(route) = text(row.route) {
        // One that is not there at all was read in the middle of a change: it is looked for again.
        let handler = reader.follow(dict, row.handler);
        if handler.is_none() && !row.handler.is_empty() {
            return None;
        }
        let handler = handler.and_then(|handler| reader.text_of(handler));
        return Some(FoundRoute::new(row.framework, route, handler));
    }
    let is_in_vain = !row.no_route.is_empty() && reader.follow(dict, row.no_route).is_some();
    is_in_vain.then(|| FoundRoute::none(row.framework))
}

impl Telling<Routes> {
    fn object(&self, reader: &mut Locals<'_>, place: usize) -> Option<RemoteAddress> {
        let steps = self.row.places()[place]?.steps;
        object(reader, self, self.slots[place]?, steps, false)
    }

    fn text(&self, reader: &mut Locals<'_>, place: usize) -> Option<String> {
        let object = self.object(reader, place)?;
        reader.text_of(object)
    }

    fn is_in_vain(&self, reader: &mut Locals<'_>) -> bool {
        let Some((_, class)) = self.row.no_route_if else { return false };
        let object = self.object(reader, 5);
        object.is_some_and(|object| class.is_empty() || reader.is_of_type(object, class))
    }

    /// The name of the handler's function for a method.
    fn action(&self, reader: &mut Locals<'_>, method: &str) -> Option<String> {
        const METHODS: [(&str, &str); 7] = [
            ("GET", "get"),
            ("HEAD", "head"),
            ("POST", "post"),
            ("PUT", "put"),
            ("PATCH", "patch"),
            ("DELETE", "delete"),
            ("OPTIONS", "options"),
        ];
        let actions = self.object(reader, 3)?;
        let (_, method) = METHODS.into_iter().find(|(name, _)| *name == method)?;
        let action = reader.dict_item(actions, method)?;
        reader.text_of(action)
    }
}
