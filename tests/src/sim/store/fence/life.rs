//! One run of a server: it acts on its grant, serves as long as it can, and ends.

use std::sync::Arc;

use baton_aggregate::buffer::Buffer;
use baton_aggregate::device::{Device, Write};
use baton_aggregate::fence::{self, Base, Fence, Grant};
use baton_aggregate::format::{BLOCK_BYTES, Block, Checksum, Label, Lsn, OpenSegment, Piece, Pointer, Root, RootKind};
use baton_types::{Epoch, Kind, Result, Timestamp};
use parking_lot::Mutex;

use super::habit::{Bent, Habit};
use super::ledger::{self, List, Record, Recovered};
use super::world::World;
use crate::sim::Seed;

/// Most things that one run does: its log is one segment of 16 blocks, and a number may need two.
const DEEDS_MAX: u64 = 7;

/// One run.
pub(super) struct Life {
    pub world: Arc<Mutex<World>>,
    pub device: Arc<Bent>,
    pub label: Label,
    pub grant: Grant,
    pub habit: Habit,
    pub seed: Seed,
}

/// An owner that serves.
struct Serving {
    life: Life,
    fence: Fence,
    root: Root,
    list: List,
    /// The last record written.
    last: Lsn,
    /// Its place in the log segment; records fill it from the start.
    used: u32,
    spare: Option<Block>,
}

impl Life {
    /// Lives until it is done, fenced, or crashed.
    pub fn live(self) {
        let (world, epoch) = (Arc::clone(&self.world), self.grant.epoch);
        let end = self.begin().and_then(Serving::work);
        world.lock().ended(epoch, end);
    }

    fn begin(self) -> Result<Serving> {
        let device: Arc<dyn Device> = self.device.clone();
        let epoch = self.grant.epoch;
        let claimed = fence::claim(device, &self.label, self.grant.clone(), Timestamp(0)).inspect_err(|error| {
            if error.kind == Kind::Damaged {
                self.world.lock().held(epoch);
            }
        })?;
        self.looked();
        let base = &claimed.base;
        let Recovered { list, chain, last } = ledger::recover(&*self.device, &self.label.geometry, &base.root)
            .or_else(|damage| {
                // An outrun owner may read what the next one is writing.
                claimed.look()?;
                self.world
                    .lock()
                    .broken(format!("epoch {epoch} finds damage: {damage}"));
                Err(damage)
            })?;
        {
            let mut world = self.world.lock();
            world.seen.older_base += u64::from(base.is_older());
            world.note(
                name(epoch),
                format_args!("goes on from {} and {} numbers", base.root.name(), list.entries.len()),
            );
            world.found(epoch, &list.entries);
        }
        let list = self.released(list, base);
        let root = self.first_root(base, chain, last);
        let fence = claimed.seal(root.clone())?;
        self.looked();
        let mut world = self.world.lock();
        world.note(name(epoch), format_args!("serves"));
        world.serves(epoch, self.grant.incarnation);
        drop(world);
        Ok(Serving {
            life: self,
            fence,
            root,
            list,
            last,
            used: 0,
            spare: None,
        })
    }

    /// What older epochs had reserved is free once they are gone.
    fn released(&self, mut list: List, base: &Base) -> List {
        match self.habit {
            Habit::NoQuarantine => list.release(|_| true),
            _ => list.release(|epoch| base.gone.contains(&epoch)),
        }
        list
    }

    fn first_root(&self, base: &Base, chain: Vec<Piece>, last: Lsn) -> Root {
        let epoch = self.grant.epoch;
        let mut root = Root {
            epoch,
            seq: 0,
            kind: RootKind::Seal,
            open: Vec::<OpenSegment>::new(),
            chain,
            ..base.root.clone()
        };
        root.chain.push(self.open_piece(last, 0));
        root
    }

    /// The own log, from the block `used` and the record after `last` on.
    fn open_piece(&self, last: Lsn, used: u32) -> Piece {
        Piece {
            epoch: self.grant.epoch,
            first: Lsn(last.0 + 1),
            offset: used,
            before: Checksum::default(),
            cut: None,
            segments: vec![ledger::log_segment(&self.label.geometry, self.grant.epoch)],
        }
    }

    fn looked(&self) {
        self.world.lock().looked(self.grant.epoch, self.device.saw_all());
    }
}

impl Serving {
    fn work(mut self) -> Result<()> {
        for _ in 0..self.life.seed.between(1, DEEDS_MAX) {
            match self.life.seed.below(10) {
                0..6 => self.write()?,
                6 => self.checkpoint()?,
                7 => self.fence.beat(Timestamp(1))?,
                _ => self.detach()?,
            }
        }
        if self.life.seed.chance(300) {
            self.fence.detach(Timestamp(2))?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<()> {
        let block = self.reserved()?;
        let number = self.life.world.lock().number();
        let bytes = ledger::data(number);
        let data = Write {
            offset: ledger::at(block),
            bytes: &bytes,
        };
        self.append(Record::Number(number, block), &[data])?;
        self.spare = None;
        let epoch = self.epoch();
        let mut world = self.life.world.lock();
        world.note(name(epoch), format_args!("tells {number}, in block {block}"));
        world.told(epoch, number, block);
        drop(world);
        self.reserved().map(drop)
    }

    /// A block of the own reserve, which counts from the look after its record; one is always kept ahead.
    fn reserved(&mut self) -> Result<Block> {
        if let Some(block) = self.spare {
            return Ok(block);
        }
        let block = self.list.lowest_free(&self.life.label.geometry);
        self.append(Record::Reserve(block), &[])?;
        self.spare = Some(block);
        Ok(block)
    }

    /// Write, flush, look.
    fn append(&mut self, record: Record, data: &[Write<'_>]) -> Result<()> {
        let geometry = &self.life.label.geometry;
        let block = geometry.first_block(ledger::log_segment(geometry, self.epoch())).0 + u64::from(self.used);
        let lsn = Lsn(self.last.0 + 1);
        let bytes = record.encode(self.epoch(), lsn);
        let entry = Write {
            offset: ledger::at(Block(block)),
            bytes: &bytes,
        };
        self.life.device.submit(&[&[entry], data].concat())?;
        self.life.device.flush()?;
        self.fence.look()?;
        self.life.looked();
        self.list.apply(self.epoch(), record);
        (self.last, self.used) = (lsn, self.used + 1);
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<()> {
        let block = self.reserved()?;
        self.spare = None;
        self.list.occupy(block);
        let node = Buffer::padded(&self.list.to_node());
        let write = Write {
            offset: ledger::at(block),
            bytes: &node,
        };
        self.life.device.submit(&[write])?;
        self.life.device.flush()?;
        let root = Root {
            seq: self.root.seq + 1,
            generation: self.root.generation + 1,
            kind: RootKind::Checkpoint,
            lsn: self.last,
            system: Some(Pointer {
                block,
                blocks: (node.len() / BLOCK_BYTES) as u8,
                flags: 0,
                birth: self.last,
                checksum: Checksum::of(&node),
            }),
            chain: vec![self.life.open_piece(self.last, self.used)],
            ..self.root.clone()
        };
        self.fence.write_root(root.clone())?;
        self.life.looked();
        self.root = root;
        Ok(())
    }

    /// Gives up, and takes it back.
    fn detach(&mut self) -> Result<()> {
        self.fence.detach(Timestamp(3))?;
        self.fence.thaw(Timestamp(4))?;
        self.life.looked();
        self.life.world.lock().seen.thawed += 1;
        Ok(())
    }

    fn epoch(&self) -> Epoch {
        self.life.grant.epoch
    }
}

/// Under which name a run appears in the history.
pub(super) fn name(epoch: Epoch) -> String {
    format!("epoch {epoch}")
}
