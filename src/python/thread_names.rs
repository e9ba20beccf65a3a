//! What `threading` calls a process' threads, read when new ones have come.
//!
//! ```text
//! interpreter ─► sys.modules ─► threading ─► _active {ident: Thread} ─► Thread._name
//! ```
//!
//! `_active` (`Lib/threading.py`, the same from 3.8 to 3.15) has a thread from when its own
//! Python code begins until it ends; after a fork it has the one thread that is left. Threads
//! that were not made by `threading` are in it only once they have asked for themselves. An
//! `int` of this size is its own hash, so the table's hashes tell which entry is whose and
//! no key is read.

use super::layout::Layout;
use super::objects::Objects;
use super::threads::ThreadState;
use crate::units::RemoteAddress;

/// The most modules and the most threads of an interpreter that are looked through.
const MOST_ENTRIES: usize = 1 << 14;

/// The most names that are read at one time; the others keep none.
const MOST_NAMES: usize = 1024;

/// The longest name, in characters: the target chooses it.
const LONGEST_NAME: usize = 64;

/// The names of those of `threads` that have one, each with the number given for it.
pub(super) fn read(
    objects: &mut Objects<'_>,
    layout: &Layout,
    threads: &[(usize, ThreadState)],
) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    let mut interpreters: Vec<_> = threads.iter().map(|(_, thread)| thread.interpreter).collect();
    interpreters.sort_unstable();
    interpreters.dedup();
    for interpreter in interpreters {
        let Some(active) = Active::of(interpreter, objects, layout) else { continue };
        let own = threads.iter().filter(|(_, thread)| thread.interpreter == interpreter);
        for &(number, thread) in own {
            if names.len() >= MOST_NAMES {
                return names;
            }
            names.extend(active.name(thread.ident, objects).map(|name| (number, name)));
        }
    }
    names
}

/// `threading._active` of one interpreter.
struct Active {
    /// `ident` and `Thread`, by rising `ident`.
    threads: Vec<(u64, RemoteAddress)>,
    /// The type `str`.
    string: RemoteAddress,
}

impl Active {
    fn of(interpreter: RemoteAddress, objects: &mut Objects<'_>, layout: &Layout) -> Option<Self> {
        let modules = objects.address(interpreter.plus(layout.interpreter.modules as u64))?;
        let modules = objects.combined_entries(modules, MOST_ENTRIES)?;
        let place = objects.find_string(modules.iter().map(|entry| entry.key), "threading")?;
        let found = modules.get(place)?;
        // md_dict of PyModuleObject comes right after the object's head, as the size does
        // in objects that have one (Objects/moduleobject.c).
        let globals = objects.address(found.value.plus(layout.object.ob_size as u64))?;
        let [active] = objects.dict_items(globals, ["_active"])?;
        let entries = objects.combined_entries(active?, MOST_ENTRIES)?;
        let is_there = |thread: &RemoteAddress| thread.is_plausible();
        let mut threads: Vec<_> = entries
            .iter()
            .filter_map(|entry| Some((entry.hash?, Some(entry.value).filter(is_there)?)))
            .collect();
        threads.sort_unstable();
        Some(Self { threads, string: objects.type_of(found.key)? })
    }

    fn name(&self, ident: u64, objects: &mut Objects<'_>) -> Option<String> {
        let place = self.threads.binary_search_by_key(&ident, |&(ident, _)| ident).ok()?;
        let &(_, thread) = self.threads.get(place)?;
        let name = objects.attributes(thread, ["_name"]);
        let [(name, class)] = objects.strings(name);
        // The thread may have ended meanwhile, and its memory have become something else.
        name.filter(|name| !name.is_empty() && class == Some(self.string)).map(|name| tame(&name))
    }
}

/// A name as it may be shown: of bounded length, in one line, and without what a terminal
/// would obey.
fn tame(name: &str) -> String {
    let mut tamed = String::with_capacity(name.len().min(LONGEST_NAME));
    for (count, character) in name.chars().enumerate() {
        if count == LONGEST_NAME {
            tamed.push('…');
            break;
        }
        if character.is_control() {
            tamed.extend(character.escape_default());
        } else {
            tamed.push(character);
        }
    }
    tamed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_is_cut_and_has_nothing_that_a_terminal_obeys() {
        assert_eq!(tame("ThreadPoolExecutor-0_0"), "ThreadPoolExecutor-0_0");
        assert_eq!(tame("größe 🐴"), "größe 🐴");
        assert_eq!(tame("\u{1b}[2Ja\nb\u{9b}"), "\\u{1b}[2Ja\\nb\\u{9b}");
        assert_eq!(tame(&"x".repeat(64)), "x".repeat(64));
        assert_eq!(tame(&"x".repeat(1 << 18)), "x".repeat(64) + "…");
    }
}
