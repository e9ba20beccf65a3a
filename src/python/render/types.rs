//! What a type is, told from the type object and remembered by its address.

use rustc_hash::FxHashMap;

use super::super::layout::Layout;
use super::super::objects::Objects;
use super::super::view::View;
use crate::units::RemoteAddress;

/// How the objects of a type are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    None,
    Ellipsis,
    Bool,
    Int,
    Float,
    Str,
    Bytes,
    Tuple,
    List,
    Set,
    FrozenSet,
    Dict,
    Other,
}

/// A type as far as it matters for its objects' text.
#[derive(Debug, Clone)]
pub(super) struct Type {
    pub(super) kind: Kind,
    /// Whether it is the built-in type itself and no subclass.
    pub(super) is_exact: bool,
    /// With its module, if that is known.
    pub(super) name: String,
}

/// Types by address, as long as a dump goes on.
#[derive(Debug, Default)]
pub(super) struct Types {
    known: FxHashMap<RemoteAddress, Type>,
}

/// Types that are remembered.
const MOST_TYPES: usize = 4096;

/// Types whose module is looked for: a type's dict may be large.
const MOST_WITH_MODULES: usize = 512;

/// `Py_TPFLAGS_HEAPTYPE`: made by a `class` statement, and may have any name.
const HEAP_TYPE: u64 = 1 << 9;

/// Built-in types without a flag of their own, by name. None of them is a heap type.
const BY_NAME: [(&str, Kind); 6] = [
    ("NoneType", Kind::None),
    ("ellipsis", Kind::Ellipsis),
    ("bool", Kind::Bool),
    ("float", Kind::Float),
    ("set", Kind::Set),
    ("frozenset", Kind::FrozenSet),
];

/// `Py_TPFLAGS_*_SUBCLASS` (`Include/object.h`, the same from 3.8 to 3.15), and the name of
/// the built-in type itself.
const BY_FLAG: [(u64, &str, Kind); 6] = [
    (1 << 24, "int", Kind::Int),
    (1 << 25, "list", Kind::List),
    (1 << 26, "tuple", Kind::Tuple),
    (1 << 27, "bytes", Kind::Bytes),
    (1 << 28, "str", Kind::Str),
    (1 << 29, "dict", Kind::Dict),
];

/// How far `tp_dict` is before `tp_dictoffset` (`Include/cpython/object.h`, unchanged since
/// 3.8: `tp_dict`, `tp_descr_get`, `tp_descr_set`, `tp_dictoffset`).
const DICT_BEFORE_DICTOFFSET: usize = 24;

impl Types {
    /// The type at this address; `None` if there is none.
    pub(super) fn of(
        &mut self,
        class: RemoteAddress,
        objects: &mut Objects<'_>,
        layout: &Layout,
    ) -> Option<Type> {
        if let Some(known) = self.known.get(&class) {
            return Some(known.clone());
        }
        let found = read(class, objects, layout, self.known.len() < MOST_WITH_MODULES)?;
        if self.known.len() < MOST_TYPES {
            self.known.insert(class, found.clone());
        }
        Some(found)
    }
}

fn read(
    class: RemoteAddress,
    objects: &mut Objects<'_>,
    layout: &Layout,
    with_module: bool,
) -> Option<Type> {
    if !class.is_plausible() {
        return None;
    }
    let at = layout.object;
    let name = objects.type_name(class)?;
    let end = at.type_flags.max(at.type_dictoffset).checked_add(8)?;
    let head = View(objects.bytes(class, end)?);
    let flags = head.u64(at.type_flags)?;
    let is_heap = flags & HEAP_TYPE != 0;
    let dict = head.address(at.type_dictoffset.checked_sub(DICT_BEFORE_DICTOFFSET)?);
    let by_name = BY_NAME.iter().find(|(known, _)| !is_heap && *known == name);
    let by_flag = BY_FLAG.iter().find(|(flag, ..)| flags & flag != 0);
    let (kind, is_exact) = match (by_name, by_flag) {
        (Some(&(_, kind)), _) => (kind, true),
        (None, Some(&(_, known, kind))) => (kind, !is_heap && known == name),
        (None, None) => (Kind::Other, true),
    };
    // A static type's name has its module in it; a heap type's is in its dict.
    let module = dict
        .filter(|dict| with_module && is_heap && dict.is_plausible())
        .and_then(|dict| objects.dict_items(dict, ["__module__"]))
        .and_then(|[module]| objects.short_string(module?))
        .filter(|module| module != "builtins" && module != "__main__");
    let name = match module {
        Some(module) if !name.contains('.') => format!("{module}.{name}"),
        _ => name,
    };
    Some(Type { kind, is_exact, name: printable(&name) })
}

/// A name that may be anything, made safe and short.
fn printable(name: &str) -> String {
    const LONGEST: usize = 100;
    let visible = |character: char| {
        if super::scalars::is_printable(character) { character } else { '?' }
    };
    name.chars().take(LONGEST).map(visible).collect()
}
