//! Claim, seal and look: who may write, and who must stop (I1 to I3).
//!
//! The rules are [`Ownership`]'s, which only decides; here its decisions are carried out on a device, by whichever
//! thread asks. [`claim`] writes the slot and finds the root that recovery starts from; [`Claimed::seal`] makes the
//! epoch serve; then whatever is told to anyone is told after [`Fence::look`] passed, and nothing after it failed:
//!
//! ```text
//! claim → Claimed {base, slots} → (the log is read) → seal → Fence: look, write_root, beat, detach, thaw
//! ```
//!
//! Looks run side by side. What writes to the slot or the head takes turns, and holds its turn over I/O: the one
//! lock here that does, because two such writes in flight could land in either order.

mod base;
mod host;
mod ownership;
mod slots;
mod stop;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use baton_types::{AggregateId, Result, Timestamp};
use parking_lot::Mutex;

pub use base::{Base, Found};
pub use host::{boot_id, ended};
pub use ownership::{Action, Event, Ownership, Reading, Then, Why};
pub use slots::{Grant, Ring, Seen, Slots};
pub use stop::{Owner, Stop};

use crate::buffer::Buffer;
use crate::device::{Device, Write};
use crate::format::{BLOCK_BYTES, Geometry, Label, Root, RootName, RootPlace, Slot};

/// Reads the slots: one read of 32 KiB.
///
/// # Errors
/// `Io` if the device fails. A slot that does not verify is no error here.
pub fn read_slots(device: &dyn Device, aggregate: AggregateId) -> Result<Slots> {
    let mut bytes = Buffer::scratch(Geometry::RING * BLOCK_BYTES);
    device.read(Geometry::SLOTS_AT, &mut bytes)?;
    let mut seen = [const { None }; Geometry::RING];
    for (seen, block) in seen.iter_mut().zip(bytes.chunks(BLOCK_BYTES)) {
        *seen = Slot::decode(&block[..Slot::BYTES])
            .ok()
            .filter(|slot| slot.aggregate == aggregate);
    }
    Ok(Slots::new(seen))
}

/// Reads all heads: the roots that verify, and where they stand.
///
/// # Errors
/// `Io` if the device fails. A root that does not verify is no error here.
pub fn read_roots(device: &dyn Device, aggregate: AggregateId) -> Result<Vec<Found>> {
    let mut bytes = Buffer::scratch(Geometry::RING * Geometry::HEAD_BYTES as usize);
    device.read(Geometry::HEADS_AT, &mut bytes)?;
    let places = (0..Geometry::RING).flat_map(|index| RootPlace::BOTH.map(|place| (index, place)));
    let found = places
        .zip(bytes.chunks(Geometry::ROOT_BYTES_MAX))
        .filter_map(|(place, bytes)| {
            let root = Root::decode(bytes).ok()?;
            (root.aggregate == aggregate).then_some(Found { place, root })
        });
    Ok(found.collect())
}

/// Claims the aggregate of `label` under `grant` at `time`: writes its slot, and finds the base of recovery.
///
/// # Errors
/// `WrongEpoch` if a newer epoch is there, may be there, or this one was used; `Busy` if the ring is not clear;
/// `Damaged` if no root is as new as the slots demand; `Io`.
pub fn claim(device: Arc<dyn Device>, label: &Label, grant: Grant, time: Timestamp) -> Result<Claimed> {
    let fence = Fence {
        device,
        aggregate: label.id,
        core: Mutex::new(Ownership::new(label.id, label.name.clone(), grant)),
        turn: Mutex::new(()),
    };
    match fence.carry_out(Event::Claim(time))? {
        Some(base) => Ok(Claimed { base: *base, fence }),
        None => unreachable!("a claim ends with a base or an error"),
    }
}

/// An epoch whose slot is written, and which reads: nothing else may be written before its seal.
pub struct Claimed {
    /// What recovery starts from.
    pub base: Base,
    fence: Fence,
}

impl Claimed {
    /// Are we still owner? Damage that recovery finds is believed only after this: an outrun owner may read what the
    /// next one is writing.
    ///
    /// # Errors
    /// As [`Fence::look`].
    pub fn look(&self) -> Result<()> {
        self.fence.look()
    }

    /// Writes `seal`, the epoch's first root, twice, and looks (R2): from here on the epoch serves.
    ///
    /// # Errors
    /// `WrongEpoch` if a newer epoch is there or may be there; `Io`.
    ///
    /// # Panics
    /// If `seal` is not this epoch's root 0.
    pub fn seal(self, seal: Root) -> Result<Fence> {
        self.fence.carry_out(Event::Seal(Box::new(seal)))?;
        Ok(self.fence)
    }
}

/// An epoch that serves, until it is fenced.
pub struct Fence {
    device: Arc<dyn Device>,
    aggregate: AggregateId,
    core: Mutex<Ownership>,
    turn: Mutex<()>,
}

impl Fence {
    /// Are we still owner? Whatever was complete on the disk before this was asked may be told when it passed (R3).
    ///
    /// # Errors
    /// `WrongEpoch` if a newer epoch is there or may be there, from then on for ever; `Detached`; `Io`.
    pub fn look(&self) -> Result<()> {
        self.carry_out(Event::Look).map(drop)
    }

    /// Writes the next root of this epoch. When this returns, it counts: what it freed may be used again (R4).
    ///
    /// # Errors
    /// As [`Fence::look`], and `Invalid` if the root is larger than its place.
    ///
    /// # Panics
    /// If `root` is not the one after [`Fence::root`].
    pub fn write_root(&self, root: Root) -> Result<()> {
        let _turn = self.turn.lock();
        self.carry_out(Event::Root(Box::new(root))).map(drop)
    }

    /// Shows a sign of life at `time`.
    ///
    /// # Errors
    /// `WrongEpoch` or `Detached` if this epoch is over; `Io`.
    pub fn beat(&self, time: Timestamp) -> Result<()> {
        let _turn = self.turn.lock();
        self.carry_out(Event::Beat(time)).map(drop)
    }

    /// Gives up at `time`. The caller knows that nothing of this epoch is in flight, and writes nothing after it:
    /// the next owner takes the slot for proof (R5).
    ///
    /// # Errors
    /// As [`Fence::beat`].
    pub fn detach(&self, time: Timestamp) -> Result<()> {
        let _turn = self.turn.lock();
        self.carry_out(Event::Detach(time)).map(drop)
    }

    /// Takes it back at `time`. Until this returned nothing may be written: somebody may have taken the slot for proof.
    ///
    /// # Errors
    /// As [`Fence::look`].
    ///
    /// # Panics
    /// If this epoch has not detached.
    pub fn thaw(&self, time: Timestamp) -> Result<()> {
        let _turn = self.turn.lock();
        self.carry_out(Event::Thaw(time)).map(drop)
    }

    /// The newest root of this epoch that counts.
    pub fn root(&self) -> RootName {
        self.core.lock().root()
    }

    /// Why this epoch is over, once it is.
    pub fn stopped(&self) -> Option<Stop> {
        self.core.lock().stopped().cloned()
    }

    /// Does what the core asks for, and tells it how that went, until it asks for nothing more.
    fn carry_out(&self, event: Event) -> Result<Option<Box<Base>>> {
        let mut action = self.core.lock().step(event);
        loop {
            let event = match action {
                Action::Pass => return Ok(None),
                Action::Recover(base) => return Ok(Some(base)),
                Action::Refuse(error) => return Err(error),
                Action::ReadSlots(reading) => Event::Slots(reading, read_slots(&*self.device, self.aggregate)),
                Action::ReadRoots => read_roots(&*self.device, self.aggregate).map_or_else(Event::Failed, Event::Roots),
                Action::WriteSlot(slot, then) => written(self.write_slot(&slot, then)),
                Action::WriteRoot(place, root) => written(self.write_root_to(place, &root)),
            };
            action = self.core.lock().step(event);
        }
    }

    fn write_slot(&self, slot: &Slot, then: Then) -> Result<()> {
        let offset = Geometry::slot_offset(Geometry::ring_index(slot.epoch));
        let bytes = Buffer::padded(&slot.encode()?);
        self.device.submit(&[Write { offset, bytes: &bytes }])?;
        match then {
            Then::Flush => self.device.flush(),
            Then::GoOn => Ok(()),
        }
    }

    fn write_root_to(&self, place: RootPlace, root: &Root) -> Result<()> {
        let offset = Geometry::root_offset(Geometry::ring_index(root.epoch), place);
        let bytes = Buffer::padded(&root.encode()?);
        self.device.submit(&[Write { offset, bytes: &bytes }])?;
        self.device.flush()
    }
}

fn written(result: Result<()>) -> Event {
    result.map_or_else(Event::Failed, |()| Event::Written)
}
