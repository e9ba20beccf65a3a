//! Tuples, lists, sets and dicts: so many items of each.

use super::super::view::View;
use super::Renderer;
use crate::units::RemoteAddress;

/// Entries of a set's or dict's table that are looked at for items: of what was mostly
/// deleted again, not all may be found.
const MOST_ENTRIES: usize = 1024;

/// The longest container that is believed, in items.
const LONGEST: usize = 1 << 40;

impl Renderer<'_, '_> {
    pub(super) fn tuple(
        &mut self,
        object: RemoteAddress,
        head: View<'_>,
        depth: usize,
    ) -> Option<()> {
        let at = self.layout.object;
        let count = head.length(at.ob_size, LONGEST)?;
        self.items(object.plus(at.tuple_items as u64), count, depth, ["(", ")"])
    }

    /// `PyListObject`: `ob_item` stands after `ob_size`.
    pub(super) fn list(&mut self, head: View<'_>, depth: usize) -> Option<()> {
        let at = self.layout.object.ob_size;
        let count = head.length(at, LONGEST)?;
        let items = head.address(at.checked_add(8)?)?;
        self.items(items, count, depth, ["[", "]"])
    }

    fn items(
        &mut self,
        start: RemoteAddress,
        count: usize,
        depth: usize,
        [open, close]: [&str; 2],
    ) -> Option<()> {
        let is_too_deep = depth >= self.limits.depth && count > 0;
        let shown = if is_too_deep { 0 } else { count.min(self.most_items()) };
        let items = self.objects.words(start, shown)?;
        self.push(open);
        for (index, &item) in items.iter().enumerate() {
            if self.is_full() {
                break;
            }
            if index > 0 {
                self.push(", ");
            }
            self.render(item, depth.saturating_add(1));
        }
        if count == 1 && shown == 1 && open == "(" {
            self.push(",");
        }
        self.end(shown, count, close);
        Some(())
    }

    /// `PySetObject` (`Include/cpython/setobject.h`, 3.8 to 3.15): `fill`, `used`, `mask`,
    /// `table` after the head; an entry is a key and its hash, and a deleted one has -1.
    pub(super) fn set(
        &mut self,
        head: View<'_>,
        depth: usize,
        [empty, open, close]: [&str; 3],
    ) -> Option<()> {
        let at = self.layout.object.ob_size;
        let used = head.length(at.checked_add(8)?, LONGEST)?;
        let mask = head.length(at.checked_add(16)?, LONGEST)?;
        let table = head.address(at.checked_add(24)?)?;
        if used == 0 {
            self.push(empty);
            return Some(());
        }
        let entries = mask.checked_add(1)?.min(MOST_ENTRIES);
        let words = self.objects.words(table, entries.checked_mul(2)?)?;
        let mut keys = Vec::new();
        for entry in words.chunks_exact(2) {
            if let [key, hash] = entry
                && key.is_plausible()
                && hash.get() != u64::MAX
            {
                keys.push(*key);
            }
        }
        let is_too_deep = depth >= self.limits.depth;
        keys.truncate(if is_too_deep { 0 } else { self.most_items().min(used) });
        self.push(open);
        for (index, &key) in keys.iter().enumerate() {
            if self.is_full() {
                break;
            }
            if index > 0 {
                self.push(", ");
            }
            self.render(key, depth.saturating_add(1));
        }
        self.end(keys.len(), used, close);
        Some(())
    }

    /// `PyDictObject`: `ma_used` stands after the head.
    pub(super) fn dict(
        &mut self,
        object: RemoteAddress,
        head: View<'_>,
        depth: usize,
    ) -> Option<()> {
        let used = head.length(self.layout.object.ob_size, LONGEST)?;
        let is_too_deep = depth >= self.limits.depth;
        let most = if is_too_deep { 0 } else { self.most_items().min(used) };
        let pairs = match most {
            0 => Vec::new(),
            most => self.objects.dict_pairs(object, MOST_ENTRIES, most)?,
        };
        self.push("{");
        for (index, &(key, value)) in pairs.iter().enumerate() {
            if self.is_full() {
                break;
            }
            if index > 0 {
                self.push(", ");
            }
            self.render(key, depth.saturating_add(1));
            self.push(": ");
            self.render(value, depth.saturating_add(1));
        }
        self.end(pairs.len(), used, "}");
        Some(())
    }

    /// How many items could still be shown: each takes a character at the least.
    fn most_items(&self) -> usize {
        let room = self.limits.characters.saturating_sub(self.length);
        self.limits.items.min(room).min(self.left)
    }

    fn end(&mut self, shown: usize, count: usize, close: &str) {
        if shown < count {
            if shown > 0 {
                self.push(", ");
            }
            self.cut();
        }
        self.push(close);
    }
}
