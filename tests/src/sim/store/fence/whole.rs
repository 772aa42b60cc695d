//! One run of a server with the whole store: what [`super::life`] does with a list, done with a fileset.
//!
//! Each number is a name and a block of data. Numbers are written anew now and then, so that blocks are freed, and
//! used again after checkpoints.

use std::sync::Arc;

use baton_aggregate::aggregate::{Aggregate, Fileset, Namesake, Need, Opened};
use baton_aggregate::buffer::Buffer;
use baton_aggregate::device::Device;
use baton_aggregate::fence::Grant;
use baton_aggregate::format::{
    BLOCK_BYTES, Checksum, Extent, FilesetHeader, FilesetKind, HashKey, Key, KeyKind, Lsn, RecordKind,
};
use baton_aggregate::nodes::Nodes;
use baton_aggregate::transaction::{Operation, Reply, Transaction};
use baton_aggregate::tree::Stop;
use baton_types::{Epoch, Error, FileName, FilesetId, FilesetName, Kind, Result, Timestamp};
use parking_lot::Mutex;

use super::habit::Bent;
use super::ledger::{self, Entry};
use super::life::name;
use super::world::World;
use crate::sim::Seed;

const FILESET: FilesetId = FilesetId(7);
/// Most things that one run does: enough for what it frees to come back to it.
const DEEDS_MAX: u64 = 25;
/// Steps of giving space back after a fileset went back.
const RECLAIMS: u32 = 4;

/// One run.
pub(super) struct Whole {
    pub world: Arc<Mutex<World>>,
    pub device: Arc<Bent>,
    pub grant: Grant,
    pub seed: Seed,
}

/// An owner that serves.
struct Serving {
    whole: Whole,
    aggregate: Aggregate,
    fileset: Fileset,
    entries: Vec<Entry>,
}

impl Whole {
    /// Lives until it is done, fenced, or crashed.
    pub fn live(self) {
        let (world, epoch) = (Arc::clone(&self.world), self.grant.epoch);
        let end = self.begin().and_then(Serving::work);
        world.lock().ended(epoch, end);
    }

    fn begin(self) -> Result<Serving> {
        let device: Arc<dyn Device> = self.device.clone();
        let epoch = self.grant.epoch;
        let opened = Opened::open(Arc::clone(&device), Nodes::new(device))?;
        let claimed = opened.claim(self.grant.clone(), Timestamp(0)).inspect_err(|error| {
            if error.kind == Kind::Damaged {
                self.world.lock().held(epoch);
            }
        })?;
        let recovered = claimed.recover().inspect_err(|error| self.believes(error))?;
        let aggregate = recovered.seal().inspect_err(|error| self.believes(error))?;
        self.looked();
        let fileset = self
            .fileset(&aggregate)
            .or_else(|error| self.doubts(&aggregate, error))?;
        let entries = self.found(&fileset).or_else(|error| self.doubts(&aggregate, error))?;
        let mut world = self.world.lock();
        world.note(name(epoch), format_args!("serves {} numbers", entries.len()));
        world.found(epoch, &entries);
        world.serves(epoch, self.grant.incarnation);
        drop(world);
        Ok(Serving {
            whole: self,
            aggregate,
            fileset,
            entries,
        })
    }

    /// The store looked before it said so.
    fn believes(&self, error: &Error) {
        if error.kind == Kind::Damaged {
            self.world
                .lock()
                .broken(format!("epoch {} finds damage: {error}", self.grant.epoch));
        }
    }

    /// An outrun owner may read blocks that the next one uses again: what it finds is believed after a look.
    fn doubts<T>(&self, aggregate: &Aggregate, error: Error) -> Result<T> {
        aggregate.look()?;
        self.believes(&error);
        Err(error)
    }

    fn fileset(&self, aggregate: &Aggregate) -> Result<Fileset> {
        match aggregate.fileset(FILESET) {
            Err(error) if error.kind == Kind::NotFound => {}
            found => return found,
        }
        let header = FilesetHeader {
            kind: FilesetKind::ReadWrite,
            name: FilesetName::parse("numbers")?,
            hash_key: HashKey([7; 16]),
            created: Timestamp(1),
            quota_bytes: 0,
            quota_files: 0,
            newest_snapshot: Lsn(0),
            origin: 0,
            snapshots_taken: 0,
            version: 0,
        };
        aggregate.change_system(RecordKind::Fileset, &Operation::default(), |transaction| {
            transaction.put(Key::fileset_header(FILESET), header.encode());
            Ok(())
        })?;
        aggregate.fileset(FILESET)
    }

    /// Every number that is there, once its data was read and is right.
    fn found(&self, fileset: &Fileset) -> Result<Vec<Entry>> {
        let items = fileset.read(|view| view.scan(Key::FIRST, Key::LAST).collect::<Result<Vec<_>, Stop>>())?;
        let mut entries = Vec::new();
        for (key, value) in items {
            let number = u32::try_from(key.object).unwrap_or_default();
            if key.kind != KeyKind::Extent {
                let author = value
                    .first_chunk()
                    .map_or(Epoch::NONE, |bytes| Epoch(u64::from_le_bytes(*bytes)));
                entries.push((number, author));
                continue;
            }
            let extent = Extent::decode(&value)?;
            let mut bytes = Buffer::scratch(BLOCK_BYTES);
            self.device.read(ledger::at(extent.block), &mut bytes)?;
            if bytes[..] != ledger::data(number)[..] {
                return Err(Error::new(Kind::Damaged, format!("number {number}"))
                    .because(format!("block {} holds something else", extent.block)));
            }
        }
        let entries = entries.into_iter().map(|(number, author)| Entry {
            number,
            author,
            block: ledger::NOWHERE,
        });
        Ok(entries.collect())
    }

    fn looked(&self) {
        self.world.lock().looked(self.grant.epoch, self.device.saw_all());
    }
}

impl Serving {
    fn work(mut self) -> Result<()> {
        let goes_back = self.whole.world.lock().goes_back;
        for _ in 0..self.whole.seed.between(1, DEEDS_MAX) {
            if goes_back && self.whole.seed.chance(150) {
                self.go_back()?;
            }
            match self.whole.seed.below(10) {
                0..4 => self.write_new()?,
                4..7 => self.write_again()?,
                7..9 => self.aggregate.checkpoint()?,
                _ => self.aggregate.beat(Timestamp(1))?,
            }
        }
        if self.whole.seed.chance(300) {
            self.aggregate.detach(Timestamp(2))?;
        }
        Ok(())
    }

    fn write_new(&mut self) -> Result<()> {
        let (number, epoch) = (self.whole.world.lock().number(), self.whole.grant.epoch);
        self.write(number, epoch)?;
        self.entries.push(Entry {
            number,
            author: epoch,
            block: ledger::NOWHERE,
        });
        let mut world = self.whole.world.lock();
        world.note(name(epoch), format_args!("tells {number}"));
        world.told(epoch, number, ledger::NOWHERE);
        Ok(())
    }

    /// The same data in another block: the block before is freed.
    fn write_again(&mut self) -> Result<()> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let Entry { number, author, .. } = *self.whole.seed.pick(&self.entries);
        self.write(number, author)
    }

    /// Back to a moment ago: what was only written anew since is as it was, and nothing that was told is lost. What the
    /// branches before had is given back.
    fn go_back(&mut self) -> Result<()> {
        let nobody = Operation::default();
        let [then, before] = [&b"then"[..], b"before"].map(FileName::parse);
        let taken = self.fileset.take_snapshot(&nobody, &then?, Namesake::Replace)?.answer?;
        self.write_again()?;
        let done = self.fileset.roll_back(&nobody, taken, &before?)?;
        done.answer?;
        self.aggregate.wait(done.lsn)?;
        self.whole.looked();
        for _ in 0..RECLAIMS {
            self.aggregate.reclaim()?;
        }
        Ok(())
    }

    fn write(&self, number: u32, author: Epoch) -> Result<()> {
        let done = self
            .fileset
            .change(&Operation::default(), Need::data(1), |transaction| {
                let key = Key::new(number.into(), KeyKind::Name, 0);
                if transaction.get(key)?.is_none() {
                    transaction.usage().files += 1;
                }
                transaction.put(key, author.0.to_le_bytes().to_vec());
                write_data(transaction, number)
            })?;
        done.answer?;
        self.aggregate.wait(done.lsn)?;
        self.whole.looked();
        Ok(())
    }
}

/// Writes the block of `number` anew.
fn write_data(transaction: &mut Transaction<'_>, number: u32) -> Result<Reply, Stop> {
    let key = Key::new(number.into(), KeyKind::Extent, 0);
    match transaction.get(key)? {
        Some(old) => {
            let old = Extent::decode(&old)?;
            transaction.free(old.block, old.count.into(), old.birth);
        }
        None => transaction.usage().bytes += BLOCK_BYTES as u64,
    }
    for run in transaction.allocate(1)? {
        let bytes = ledger::data(number);
        let extent = Extent {
            flags: 0,
            unit_shift: 12,
            block: run.block,
            count: 1,
            birth: Lsn(0),
            checksums: vec![Checksum::of(&bytes)],
        };
        transaction.put(key, extent.encode());
        transaction.write(run.block, bytes);
    }
    Ok(Reply::done())
}
