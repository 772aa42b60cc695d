//! A client of the store, as a file server speaks for it: a session, its replies, its vnodes.

use std::ops::Range;

use anyhow::Result;
use baton_aggregate::aggregate::{Aggregate, Done, Fileset, Need};
use baton_aggregate::file;
use baton_aggregate::fileset::{self, Holders, Object, Place, Progress, SetAttributes};
use baton_aggregate::format::Lsn;
use baton_aggregate::transaction::{Operation, Reply, SessionId};
use baton_types::{BootClock, ClientId, Clock, Fid, FileName, FilesetId, Vnode};

use super::ours::BIRTH;

/// With fewer vnodes left than this a client asks for more, and goes on meanwhile: half of what it is given at once.
const VNODES_AHEAD: u64 = 512;

/// A client with a session of its own.
pub(super) struct Seat {
    aggregate: Aggregate,
    fileset: Fileset,
    session: SessionId,
    sequence: u32,
    vnodes: Range<u64>,
    /// Asked for ahead of their use, and theirs once this is durable.
    more_vnodes: Option<(Lsn, Range<u64>)>,
}

impl Seat {
    /// A new session.
    pub fn new(aggregate: &Aggregate, fileset: FilesetId) -> Result<Seat> {
        let (lsn, session) = aggregate.open_session(ClientId::random(), BootClock.date())?;
        aggregate.wait(lsn)?;
        Ok(Seat {
            aggregate: aggregate.clone(),
            fileset: aggregate.fileset(fileset)?,
            session,
            sequence: 0,
            vnodes: 0..0,
            more_vnodes: None,
        })
    }

    /// Waits until what was done is durable, and nobody else owns the aggregate.
    pub fn wait(&self, lsn: Lsn) -> Result<()> {
        Ok(self.aggregate.wait(lsn)?)
    }

    fn operation(&mut self) -> Operation {
        self.sequence += 1;
        Operation {
            session: self.session,
            stream: 0,
            sequence: self.sequence,
            seen: self.sequence - 1,
            time: BootClock.date(),
            ..Operation::default()
        }
    }

    /// An operation that makes something: with a vnode of this session's, and a `unique` that nobody guesses.
    fn birth(&mut self) -> Result<Operation> {
        if self.more_vnodes.is_none() && self.vnodes.end - self.vnodes.start < VNODES_AHEAD {
            let (lsn, range) = self.aggregate.grant_vnodes(self.session, self.fileset.id())?;
            let first = range.first.number();
            self.more_vnodes = Some((lsn, first..first + u64::from(range.count)));
        }
        if self.vnodes.is_empty()
            && let Some((lsn, vnodes)) = self.more_vnodes.take()
        {
            self.aggregate.wait(lsn)?;
            self.vnodes = vnodes;
        }
        let vnode = self.vnodes.next().map(Vnode::new).transpose()?;
        Ok(Operation {
            vnode,
            unique: rand::random(),
            ..self.operation()
        })
    }

    /// Makes an empty file.
    pub fn create(&mut self, directory: Fid, name: &str) -> Result<Done<Object>> {
        let (operation, name) = (self.birth()?, FileName::parse(name.as_bytes())?);
        let place = Place { directory, name: &name };
        Ok(self.fileset.operate(&operation, Need::GROWTH, |transaction, names| {
            fileset::create(transaction, names, place, BIRTH)
        })?)
    }

    /// Makes an empty directory.
    pub fn mkdir(&mut self, directory: Fid, name: &str) -> Result<Done<Object>> {
        let (operation, name) = (self.birth()?, FileName::parse(name.as_bytes())?);
        let place = Place { directory, name: &name };
        Ok(self.fileset.operate(&operation, Need::GROWTH, |transaction, names| {
            fileset::mkdir(transaction, names, place, BIRTH)
        })?)
    }

    /// Makes a file with data: two operations, as programs make them.
    pub fn make(&mut self, directory: Fid, name: &str, data: &[u8]) -> Result<Lsn> {
        let file = self.create(directory, name)?.answer?.fid;
        self.write(file, 0, data)
    }

    /// Writes `bytes` at `offset`.
    pub fn write(&mut self, file: Fid, offset: u64, bytes: &[u8]) -> Result<Lsn> {
        let operation = self.operation();
        let done = file::write(&self.fileset, &operation, file, offset, bytes)?;
        done.answer?;
        Ok(done.lsn)
    }

    /// Sets a file's time of change.
    pub fn touch(&mut self, file: Fid) -> Result<Lsn> {
        let operation = self.operation();
        let set = SetAttributes {
            modified: Some(operation.time),
            ..SetAttributes::default()
        };
        let done = self.fileset.operate(&operation, Need::GROWTH, |transaction, _| {
            fileset::setattr(transaction, file, &set)
        })?;
        done.answer?;
        Ok(done.lsn)
    }

    /// Takes a name away, and all of its file, a step at a time.
    pub fn remove(&mut self, directory: Fid, name: &str) -> Result<()> {
        let (operation, name) = (self.operation(), FileName::parse(name.as_bytes())?);
        let place = Place { directory, name: &name };
        let done = self.fileset.operate(&operation, Need::UPKEEP, |transaction, names| {
            fileset::unlink(transaction, names, place, Holders::Nobody)
        })?;
        let vnode = done.answer?.fid.vnode;
        let mut progress = Progress::More;
        while progress == Progress::More {
            let operation = Operation::default();
            let done = self.fileset.change(&operation, Need::UPKEEP, |transaction| {
                progress = fileset::remove_step(transaction, vnode)?;
                Ok(Reply::done())
            })?;
            done.answer?;
        }
        Ok(())
    }
}
