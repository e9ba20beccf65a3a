//! Reads whatever can be read behind the locals of `known_stack.py`.

use std::collections::BTreeMap;

use farrier::model::Tables;
use farrier::process::ReadMemory;
use farrier::python::{Argument, RenderLimits, Runtime};
use farrier::units::RemoteAddress;

const LOCALS: [&str; 8] = ["self", "what", "amount", "plain", "opened", "far", "words", "wares"];
const ATTRIBUTES: [&str; 4] = ["_name", "what", "late", "unit"];
const KEYS: [&str; 6] = ["ascii", "latin", "wide", "tall", "long", "ware150"];

/// The strings behind the locals of the thread at this position, as of the last look, by
/// where they are: `groom what`, `doze plain.what`, `doze words[tall]`. Every object is
/// taken for a `str`, an instance and a dict.
pub(crate) fn strings_behind(
    runtime: &mut Runtime,
    memory: &dyn ReadMemory,
    tables: &Tables,
    index: usize,
) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for frame in runtime.threads()[index].frames().to_vec() {
        let function = tables.string(tables.function(frame.function).name);
        let function = function.rsplit('.').next().unwrap_or(function);
        let mut locals = runtime.locals(memory);
        for name in LOCALS {
            let Some(local) = locals.find(&frame, name) else { continue };
            let value = locals.value(&frame, local).or_else(|| {
                let nothing = RemoteAddress::new(0);
                let ([value], _) = locals.reread::<1, 0>(&frame, [local], nothing);
                value
            });
            let Some(value) = value else { continue };
            let [own] = locals.strings([Some(value)]);
            let place = format!("{function} {name}");
            found.extend(own.map(|text| (place.clone(), text)));
            // As what a database is asked, a text or a tuple with one in it, and as parameters.
            for in_tuple in [false, true] {
                if let Argument::Text(text) = locals.text(&frame, local, in_tuple, 64, 1 << 14) {
                    text.fingerprint();
                    let text = text.decode();
                    assert!(text.is_none_or(|text| text.len() <= 1 << 16));
                }
            }
            locals.digest(&frame, std::iter::once(&frame), Some(local), 0);
            let attributes = locals.attributes(value, ATTRIBUTES);
            for (attribute, text) in ATTRIBUTES.iter().zip(locals.strings(attributes)) {
                found.extend(text.map(|text| (format!("{place}.{attribute}"), text)));
            }
            for key in KEYS {
                let item = locals.dict_item(value, key);
                let [text] = locals.strings([item]);
                found.extend(text.map(|text| (format!("{place}[{key}]"), text)));
            }
        }
    }
    found
}

/// The locals of all frames of the thread at this position, as of the last look, as they
/// would be shown. Whatever they say, it is short and nothing in it acts on a terminal.
/// `check` is called after each frame.
pub(crate) fn rendered(
    runtime: &mut Runtime,
    memory: &dyn ReadMemory,
    index: usize,
    mut check: impl FnMut(),
) -> Vec<(String, Option<String>)> {
    let limits = RenderLimits::times(1);
    let mut found = Vec::new();
    for frame in runtime.threads()[index].frames().to_vec() {
        for local in runtime.render_locals(memory, &frame, limits) {
            let text = local.repr.as_deref().unwrap_or_default();
            // Brackets that are left open are closed beyond the limit.
            assert!(text.chars().count() <= 2 * limits.characters, "{text}");
            assert!(!text.chars().any(char::is_control), "{text:?}");
            found.push((local.name, local.repr));
        }
        check();
    }
    found
}
