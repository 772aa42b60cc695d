//! A file system of the kernel's, measured beside the store.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use baton_aggregate::buffer::Buffer;
use rustix::fs::{Advice, AtFlags, Mode, OFlags};

use super::disk::{Disk, FileSystem, Mount, WRITTEN_BYTES};
use super::{DATA_BYTES, PIECE_BYTES, Subject, Work, side_by_side};
use crate::figures::Samples;

/// A file system on a disk of its own.
pub struct Mounted {
    kind: FileSystem,
    mount: Mount,
    /// Whether long files bypass the cache of the kernel.
    cache: Cache,
    piece: Buffer,
    _disk: Disk,
}

/// How long files are written and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// As programs do: by way of the kernel's cache, which holds nothing of the file before it is read.
    Kept,
    /// By direct I/O, as the store does.
    Bypassed,
}

impl Mounted {
    /// A new one.
    pub fn new(kind: FileSystem, directory: &Path) -> Result<Mounted> {
        let disk = Disk::new(directory, WRITTEN_BYTES)?;
        let mount = disk.format(kind)?;
        let mut piece = Buffer::scratch(PIECE_BYTES);
        rand::fill(&mut piece[..]);
        Ok(Mounted {
            kind,
            mount,
            cache: Cache::Kept,
            piece,
            _disk: disk,
        })
    }

    /// From now on long files go this way.
    pub fn set_cache(&mut self, cache: Cache) {
        self.cache = cache;
    }

    fn folder(&self) -> Result<OwnedFd> {
        let name = format!("d{:016x}", rand::random::<u64>());
        rustix::fs::mkdirat(&self.mount.root, &name, Mode::from(0o755))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.mount.root, &name, flags, Mode::empty())?)
    }

    fn open(&self, name: &str, flags: OFlags) -> Result<File> {
        let direct = match self.cache {
            Cache::Kept => OFlags::empty(),
            Cache::Bypassed => OFlags::DIRECT,
        };
        let flags = flags | direct | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.mount.root, name, flags, Mode::from(0o644))?.into())
    }
}

/// Makes the file `name` with its data.
fn create(folder: impl AsFd, name: &str, data: &[u8]) -> Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(folder, name, flags, Mode::from(0o644))?);
    file.write_all(data)?;
    Ok(file)
}

impl Subject for Mounted {
    fn name(&self) -> &'static str {
        self.kind.name()
    }

    fn create_durable(&mut self, work: Work) -> Result<Samples> {
        let folders = (0..work.threads).map(|_| self.folder()).collect::<Result<Vec<_>>>()?;
        let data = &self.piece[..DATA_BYTES];
        side_by_side(folders, work.per_thread, |folder, index| {
            create(folder, &format!("f{index:07}"), data)?.sync_all()?;
            Ok(())
        })
    }

    fn create_many(&mut self, count: usize) -> Result<[Duration; 2]> {
        let folder = self.folder()?;
        let begun = Instant::now();
        for index in 0..count {
            create(&folder, &format!("f{index:07}"), &self.piece[..DATA_BYTES])?;
        }
        let accepted = begun.elapsed();
        rustix::fs::syncfs(&self.mount.root)?;
        Ok([accepted, begun.elapsed()])
    }

    fn write_long(&mut self, bytes: u64) -> Result<Duration> {
        let begun = Instant::now();
        let mut file = self.open("long", OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
        for _ in 0..bytes / PIECE_BYTES as u64 {
            file.write_all(&self.piece)?;
        }
        file.sync_all()?;
        let took = begun.elapsed();
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
        Ok(took)
    }

    fn read_long(&mut self, bytes: u64) -> Result<Duration> {
        let mut piece = Buffer::scratch(PIECE_BYTES);
        let begun = Instant::now();
        let mut file = self.open("long", OFlags::RDONLY)?;
        for _ in 0..bytes / PIECE_BYTES as u64 {
            file.read_exact(&mut piece)?;
        }
        let took = begun.elapsed();
        ensure!(
            piece[..] == self.piece[..],
            "{} gave other bytes than it was given",
            self.name()
        );
        Ok(took)
    }

    fn remove_long(&mut self) -> Result<()> {
        Ok(rustix::fs::unlinkat(&self.mount.root, "long", AtFlags::empty())?)
    }

    fn settle(&mut self) -> Result<()> {
        Ok(rustix::fs::syncfs(&self.mount.root)?)
    }
}
