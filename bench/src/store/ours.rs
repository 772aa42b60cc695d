//! The store, measured as a file server would use it: sessions, replies, looks and checkpoints are all there.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use baton_aggregate::aggregate::{Aggregate, Fileset, Opened, Running};
use baton_aggregate::buffer::Buffer;
use baton_aggregate::create::{Overwrite, Plan, create};
use baton_aggregate::device::{Access, Device, FileDevice};
use baton_aggregate::fence::{Grant, Ring};
use baton_aggregate::file;
use baton_aggregate::fileset::Birth;
use baton_aggregate::format::{FilesetHeader, FilesetKind, HashKey, Lsn};
use baton_aggregate::nodes::Nodes;
use baton_aggregate::transaction::Operation;
use baton_types::{
    AggregateId, AggregateName, BootClock, Clock, Epoch, Fid, FilesetId, FilesetName, Incarnation, ServerId,
};
use uuid::Uuid;

use super::disk::Disk;
use super::seat::Seat;
use super::table::OWN;
use super::{DATA_BYTES, PIECE_BYTES, Subject, Work, side_by_side};
use crate::figures::Samples;

/// The one fileset.
pub(super) const FILESET: FilesetId = FilesetId(1);
/// As the sparse image of a disk is: of the usual geometry, and large enough that nothing is short.
const BYTES: u64 = 64 << 30;
/// Reads of a long file at once: a client asks ahead, as the kernel does for the others.
const READERS: usize = 2;

/// An aggregate on a disk of its own, with its threads.
pub(super) struct Ours {
    running: Running,
    root: Fid,
    long: Option<Fid>,
    piece: Buffer,
    disk: Disk,
}

impl Ours {
    /// A new one, with one fileset.
    pub fn new(directory: &Path) -> Result<Ours> {
        Ours::of(directory, BYTES)
    }

    /// The same on a disk of so many bytes.
    pub fn of(directory: &Path, bytes: u64) -> Result<Ours> {
        let disk = Disk::new(directory, bytes)?;
        let device = FileDevice::open(disk.path(), Access::Write)?;
        let plan = Plan {
            id: AggregateId::random(),
            name: AggregateName::parse("bench")?,
            geometry: None,
            overwrite: Overwrite::Insist,
            created: BootClock.date(),
        };
        create(&device, &plan)?;
        let running = serve(disk.path(), 1)?;
        let made = running.aggregate().create_fileset(
            FILESET,
            &header()?,
            &Operation {
                unique: 1,
                time: BootClock.date(),
                ..Operation::default()
            },
            BIRTH,
        )?;
        let mut piece = Buffer::scratch(PIECE_BYTES);
        rand::fill(&mut piece[..]);
        Ok(Ours {
            running,
            root: made.answer?.fid,
            long: None,
            piece,
            disk,
        })
    }

    /// The aggregate.
    pub fn aggregate(&self) -> &Aggregate {
        self.running.aggregate()
    }

    /// Ends the threads: from here on whoever waits does their work.
    pub fn into_quiet(self) -> (Aggregate, Disk) {
        let aggregate = self.aggregate().clone();
        drop(self.running);
        (aggregate, self.disk)
    }

    /// Where its device is.
    pub fn path(&self) -> &Path {
        self.disk.path()
    }

    /// Makes the long file, or makes it anew.
    pub fn long(&mut self, bytes: u64) -> Result<Fid> {
        self.write_long(bytes)?;
        self.long.context("it was written just now")
    }

    /// A client.
    pub fn seat(&self) -> Result<Seat> {
        Seat::new(self.aggregate(), FILESET)
    }

    /// The fileset.
    pub fn fileset(&self) -> Result<Fileset> {
        Ok(self.aggregate().fileset(FILESET)?)
    }

    /// A new directory.
    pub fn folder(&self, seat: &mut Seat) -> Result<Fid> {
        let name = format!("d{:016x}", rand::random::<u64>());
        let done = seat.mkdir(self.root, &name)?;
        Ok(done.answer?.fid)
    }
}

/// What everything is born with.
pub(super) const BIRTH: Birth<'static> = Birth { mode: 0o755, acl: &[] };

/// Of its fileset.
pub(super) fn header() -> Result<FilesetHeader> {
    Ok(FilesetHeader {
        kind: FilesetKind::ReadWrite,
        name: FilesetName::parse("bench")?,
        hash_key: HashKey(rand::random()),
        created: BootClock.date(),
        quota_bytes: 0,
        quota_files: 0,
        newest_snapshot: Lsn(0),
        origin: 0,
        snapshots_taken: 0,
        version: 0,
    })
}

/// From the label to service, as a takeover does it.
pub(super) fn take_over(path: &Path, epoch: u64) -> Result<Aggregate> {
    let device: Arc<dyn Device> = Arc::new(FileDevice::open(path, Access::Write)?);
    let grant = Grant {
        epoch: Epoch(epoch),
        server: ServerId(Uuid::from_u128(1)),
        incarnation: Incarnation(Uuid::from_u128(epoch.into())),
        boot: Uuid::from_u128(1),
        principal: "hosts/bench".to_owned(),
        ring: Ring::Vouched,
    };
    let opened = Opened::open(device.clone(), Nodes::new(device))?;
    Ok(opened.claim(grant, BootClock.date())?.recover()?.seal()?)
}

fn serve(path: &Path, epoch: u64) -> Result<Running> {
    Ok(Running::start(take_over(path, epoch)?, Arc::new(BootClock))?)
}

impl Subject for Ours {
    fn name(&self) -> &'static str {
        OWN
    }

    fn create_durable(&mut self, work: Work) -> Result<Samples> {
        let seat = || {
            let mut seat = self.seat()?;
            let folder = self.folder(&mut seat)?;
            Ok((seat, folder))
        };
        let seats = (0..work.threads).map(|_| seat()).collect::<Result<Vec<_>>>()?;
        let data = &self.piece[..DATA_BYTES];
        side_by_side(seats, work.per_thread, |(seat, folder), index| {
            let lsn = seat.make(*folder, &format!("f{index:07}"), data)?;
            seat.wait(lsn)
        })
    }

    fn create_many(&mut self, count: usize) -> Result<[Duration; 2]> {
        let mut seat = self.seat()?;
        let folder = self.folder(&mut seat)?;
        let begun = Instant::now();
        let mut last = Lsn(0);
        for index in 0..count {
            last = seat.make(folder, &format!("f{index:07}"), &self.piece[..DATA_BYTES])?;
        }
        let accepted = begun.elapsed();
        seat.wait(last)?;
        Ok([accepted, begun.elapsed()])
    }

    fn write_long(&mut self, bytes: u64) -> Result<Duration> {
        let mut seat = self.seat()?;
        let begun = Instant::now();
        let file = seat.create(self.root, "long")?.answer?.fid;
        let mut last = Lsn(0);
        for offset in (0..bytes).step_by(PIECE_BYTES) {
            last = seat.write(file, offset, &self.piece)?;
        }
        seat.wait(last)?;
        self.long = Some(file);
        Ok(begun.elapsed())
    }

    fn read_long(&mut self, bytes: u64) -> Result<Duration> {
        let file = self.long.context("the long file was not written")?;
        let fileset = self.fileset()?;
        let pieces = usize::try_from(bytes)? / PIECE_BYTES / READERS;
        let readers = (0..READERS).collect();
        let begun = Instant::now();
        side_by_side(readers, pieces, |reader, index| {
            let offset = (index * READERS + *reader) * PIECE_BYTES;
            let read = file::read(&fileset, file, offset as u64, PIECE_BYTES)?;
            ensure!(read.len() == PIECE_BYTES, "a read came back short");
            Ok(())
        })?;
        Ok(begun.elapsed())
    }

    fn remove_long(&mut self) -> Result<()> {
        let mut seat = self.seat()?;
        seat.remove(self.root, "long")
    }

    fn settle(&mut self) -> Result<()> {
        Ok(self.aggregate().checkpoint()?)
    }
}
