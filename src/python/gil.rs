//! Who holds the GIL.

use super::layout::{GilLayout, Layout};
use super::view::View;
use crate::process::{Batch, Slot};
use crate::units::RemoteAddress;

/// The GIL as it was before and after the threads were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gil {
    /// Where its structure lies.
    pub address: RemoteAddress,
    /// How long it is: a futex inside belongs to the GIL. Nothing where threads run
    /// without one.
    pub size: u64,
    /// The thread state that held it in both reads; `None` when nobody did, or it
    /// changed hands meanwhile.
    pub holder: Option<RemoteAddress>,
    /// How often it has changed hands since the interpreter began.
    pub switches: u64,
}

/// The reads of one GIL in a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct GilReads {
    pub(super) address: RemoteAddress,
    length: usize,
    pub(super) before: Slot,
    pub(super) after: Option<Slot>,
}

impl GilReads {
    pub(super) fn before(address: RemoteAddress, layout: &Layout, batch: &mut Batch) -> Self {
        // The fields that are used come before the locks, the last of them being this one.
        let length = layout.gil.switch_number.saturating_add(8);
        Self { address, length, before: batch.ask(address, length), after: None }
    }

    pub(super) fn ask_after(&mut self, batch: &mut Batch) {
        self.after = Some(batch.ask(self.address, self.length));
    }

    /// Who held it by the first read.
    pub(super) fn holder(&self, layout: &Layout, batch: &Batch) -> Option<RemoteAddress> {
        holder(View(batch.bytes(self.before)?), &layout.gil)
    }

    pub(super) fn result(&self, layout: &Layout, batch: &Batch) -> Gil {
        let layout = &layout.gil;
        let number = |offset| View(batch.bytes(self.before)?).i32(offset);
        if layout.enabled.is_some_and(|enabled| number(enabled) == Some(0)) {
            return Gil { address: self.address, ..Gil::default() };
        }
        let holder = |slot| holder(View(batch.bytes(slot)?), layout);
        let before = holder(self.before);
        let after = self.after.and_then(holder);
        let switches = batch
            .bytes(self.before)
            .and_then(|bytes| View(bytes).u64(layout.switch_number))
            .unwrap_or(0);
        Gil {
            address: self.address,
            size: layout.size as u64,
            holder: before.filter(|_| before == after),
            switches,
        }
    }
}

/// `last_holder` while `locked`: an idle GIL keeps the name of its last holder.
fn holder(bytes: View<'_>, layout: &GilLayout) -> Option<RemoteAddress> {
    (bytes.i32(layout.locked)? == 1).then(|| bytes.address(layout.last_holder))?
}
