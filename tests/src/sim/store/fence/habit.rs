//! `Habit`: rules left out on purpose, one at a time, by bending what a server and its disk tell each other.
//!
//! The fence itself stays as it is: a look that is left out is a read of the slots that is answered from memory.

use baton_aggregate::buffer::Buffer;
use baton_aggregate::device::double::Port;
use baton_aggregate::device::{Device, Write};
use baton_aggregate::format::{BLOCK_BYTES, Geometry, Root, RootKind, RootName, Slot, SlotState};
use baton_types::{AggregateId, Result, Timestamp};
use parking_lot::Mutex;

use super::ledger::Record;

/// A way to behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the broken rules are for the tests of the oracles")
)]
pub(super) enum Habit {
    /// As it must be.
    Sound,
    /// The slots are read before records and data are written, not after.
    LooksBefore,
    /// A sealed epoch serves without a look.
    SealUnlooked,
    /// A slot that does not verify counts as one at birth.
    UnreadableIsBlank,
    /// The seal is written to one place of its head.
    SealOnce,
    /// Slots name no root.
    NamesNoRoot,
    /// A reserve is used as soon as its record is written.
    ReserveUnlooked,
    /// One who had detached writes again without a look.
    ThawUnlooked,
    /// What an older epoch had reserved is used though its owner is not proven gone.
    NoQuarantine,
}

/// A port that one run of a server uses, bent by its habit.
pub(super) struct Bent {
    port: Port,
    habit: Habit,
    aggregate: AggregateId,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// The slots as they were last read.
    slots: Vec<u8>,
    /// What the next read of the slots is answered with.
    instead: Option<Vec<u8>>,
    /// The own slot as it was last written.
    state: Option<SlotState>,
    seals: u32,
    saw_all: bool,
}

impl Bent {
    pub fn new(port: Port, habit: Habit, aggregate: AggregateId) -> Bent {
        Bent {
            port,
            habit,
            aggregate,
            memory: Mutex::default(),
        }
    }

    /// True if all slots verified, on the disk, when they were last read.
    pub fn saw_all(&self) -> bool {
        self.memory.lock().saw_all
    }

    fn read_slots(&self) -> Result<Buffer> {
        let mut bytes = Buffer::scratch(Geometry::RING * BLOCK_BYTES);
        self.port.read(Geometry::SLOTS_AT, &mut bytes)?;
        let mut memory = self.memory.lock();
        memory.saw_all = true;
        for (place, block) in bytes.chunks_mut(BLOCK_BYTES).enumerate() {
            if Slot::decode(&block[..Slot::BYTES]).is_ok_and(|slot| slot.fits(place)) {
                continue;
            }
            memory.saw_all = false;
            if self.habit == Habit::UnreadableIsBlank
                && let Ok(blank) = Slot::at_birth(self.aggregate, Timestamp(0)).encode()
            {
                block[..Slot::BYTES].copy_from_slice(&blank);
            }
        }
        memory.slots = bytes.to_vec();
        Ok(bytes)
    }

    /// What happens instead of, or before, this write: `None` if it is not to be done at all.
    fn bent(&self, write: &Write<'_>) -> Result<Option<Buffer>> {
        let mut bytes = Buffer::padded(write.bytes);
        match write.offset {
            ..Geometry::HEADS_AT => self.slot_written(&mut bytes)?,
            Geometry::HEADS_AT..HEADS_END => {
                let is_seal = Root::decode(write.bytes).is_ok_and(|root| root.kind == RootKind::Seal);
                let mut memory = self.memory.lock();
                memory.seals += u32::from(is_seal);
                match self.habit {
                    Habit::SealUnlooked if is_seal => memory.instead = Some(memory.slots.clone()),
                    Habit::SealOnce if is_seal && memory.seals == 2 => return Ok(None),
                    _ => {}
                }
            }
            HEADS_END.. => self.store_written(&bytes)?,
        }
        Ok(Some(bytes))
    }

    fn slot_written(&self, bytes: &mut Buffer) -> Result<()> {
        let mut slot = Slot::decode(&bytes[..Slot::BYTES])?;
        let mut memory = self.memory.lock();
        let thaws = memory.state.replace(slot.state) == Some(SlotState::Detached);
        match self.habit {
            Habit::ThawUnlooked if thaws => memory.instead = Some(memory.slots.clone()),
            Habit::NamesNoRoot => {
                slot.root = RootName::default();
                bytes[..Slot::BYTES].copy_from_slice(&slot.encode()?);
            }
            _ => {}
        }
        Ok(())
    }

    fn store_written(&self, bytes: &[u8]) -> Result<()> {
        let reserves = matches!(Record::decode(bytes), Some((_, _, Record::Reserve(_))));
        match self.habit {
            Habit::LooksBefore => {
                let slots = self.read_slots()?.to_vec();
                self.memory.lock().instead = Some(slots);
            }
            Habit::ReserveUnlooked if reserves => {
                let mut memory = self.memory.lock();
                memory.instead = Some(memory.slots.clone());
            }
            _ => {}
        }
        Ok(())
    }
}

const HEADS_END: u64 = Geometry::HEADS_AT + Geometry::RING as u64 * Geometry::HEAD_BYTES;

impl Device for Bent {
    fn len(&self) -> u64 {
        self.port.len()
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        if offset != Geometry::SLOTS_AT {
            return self.port.read(offset, into);
        }
        let instead = self.memory.lock().instead.take();
        match instead {
            Some(slots) => into.copy_from_slice(&slots),
            None => into.copy_from_slice(&self.read_slots()?),
        }
        Ok(())
    }

    fn submit(&self, writes: &[Write<'_>]) -> Result<()> {
        let mut bent = Vec::new();
        for write in writes {
            bent.extend(self.bent(write)?.map(|bytes| (write.offset, bytes)));
        }
        let writes: Vec<Write<'_>> = bent
            .iter()
            .map(|(offset, bytes)| Write { offset: *offset, bytes })
            .collect();
        self.port.submit(&writes)
    }

    fn flush(&self) -> Result<()> {
        self.port.flush()
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.port.discard(offset, len)
    }
}
