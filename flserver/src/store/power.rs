//! A disk whose power can be cut, below redb.
//!
//! What is promised is what disks promise: after a sync, everything written before it is there; before that, each
//! sector of 512 bytes that was written is there, or is not, or is torn, whatever the order of the writes; of the
//! changes of a file's length a prefix is there. The caller draws which.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use baton_types::Kind;
use parking_lot::{Condvar, Mutex};
use redb::StorageBackend;

const SECTOR_BYTES: u64 = 512;

/// Gives a number below the one it is given. Every choice is made by one of these, so that a seed repeats it.
pub type Draw<'a> = dyn FnMut(u64) -> u64 + 'a;

/// Some named files on one disk. A clone is the same disk.
#[derive(Clone, Debug, Default)]
pub struct PowerDisk {
    state: Arc<Mutex<State>>,
    /// Told when a sync of a held file begins to wait, and when the file is let go.
    held_changed: Arc<Condvar>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<&'static str, Image>,
    /// Counts boots. A file opened before the last one is refused.
    boot: u64,
    /// How many more changes succeed, and what every one after them fails with.
    fault: Option<(u64, Kind)>,
    syncs_ignored: bool,
    held: Option<&'static str>,
    is_sync_waiting: bool,
}

#[derive(Debug, Default)]
struct Image {
    /// What the process reads.
    seen: Vec<u8>,
    /// What is certainly on the disk.
    synced: Vec<u8>,
    /// What was done since the last sync, in order.
    unsynced: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    Length(u64),
}

impl PowerDisk {
    /// A disk without files.
    pub fn new() -> PowerDisk {
        PowerDisk::default()
    }

    /// Opens a file, empty if it is new.
    pub fn file(&self, name: &'static str) -> PowerFile {
        let mut state = self.state.lock();
        state.files.entry(name).or_default();
        PowerFile {
            disk: self.clone(),
            name,
            boot: state.boot,
        }
    }

    /// Lets `changes` more writes, syncs and changes of length succeed and fails all that follow with `kind`.
    /// With `Io` and a [`PowerDisk::boot`] after it, that is a power cut.
    pub fn fail_after(&self, changes: u64, kind: Kind) {
        self.state.lock().fault = Some((changes, kind));
    }

    /// Power comes back, and finds what `draw` left of the unsynced changes.
    pub fn boot(&self, draw: &mut Draw) {
        let mut state = self.state.lock();
        for image in state.files.values_mut() {
            image.lose(draw);
        }
        state.fault = None;
        state.boot += 1;
    }

    /// The process died and the machine did not: nothing is lost, and its open files are closed.
    pub fn kill(&self) {
        let mut state = self.state.lock();
        state.files.values_mut().for_each(Image::sync);
        state.fault = None;
        state.boot += 1;
    }

    /// From now on a sync does nothing and says that it did. Only to show that an oracle notices.
    pub fn ignore_syncs(&self) {
        self.state.lock().syncs_ignored = true;
    }

    /// Syncs of this file wait until [`PowerDisk::let_go`].
    pub fn hold(&self, name: &'static str) {
        self.state.lock().held = Some(name);
    }

    /// Returns when a sync of the held file waits.
    ///
    /// # Panics
    /// If none does for a minute.
    pub fn until_sync_waits(&self) {
        let mut state = self.state.lock();
        while !state.is_sync_waiting {
            let waited = self.held_changed.wait_for(&mut state, Duration::from_secs(60));
            assert!(!waited.timed_out(), "nobody syncs what is held");
        }
    }

    /// Ends [`PowerDisk::hold`].
    pub fn let_go(&self) {
        let mut state = self.state.lock();
        (state.held, state.is_sync_waiting) = (None, false);
        self.held_changed.notify_all();
    }

    /// The bytes of a file as the disk has them.
    pub fn bytes(&self, name: &'static str) -> Vec<u8> {
        self.state.lock().files[name].synced.clone()
    }

    /// Puts other bytes on the disk.
    pub fn set_bytes(&self, name: &'static str, bytes: Vec<u8>) {
        self.state.lock().files.insert(
            name,
            Image {
                seen: bytes.clone(),
                synced: bytes,
                unsynced: Vec::new(),
            },
        );
    }
}

impl Image {
    fn sync(&mut self) {
        self.unsynced.clear();
        self.synced.clone_from(&self.seen);
    }

    /// A cut: the synced bytes, and of each unsynced change what is drawn.
    fn lose(&mut self, draw: &mut Draw) {
        let percent_kept = [0, 10, 50, 90, 100][draw(5) as usize];
        let lengths = self
            .unsynced
            .iter()
            .filter(|change| matches!(change, Change::Length(_)))
            .count() as u64;
        let mut lengths_kept = draw(lengths + 1);

        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Change::Length(len) if lengths_kept > 0 => {
                    lengths_kept -= 1;
                    self.synced.resize(len as usize, 0);
                }
                Change::Length(_) => {}
                Change::Write { offset, bytes } => self.lose_sectors(offset, &bytes, percent_kept, draw),
            }
        }
        self.seen.clone_from(&self.synced);
    }

    fn lose_sectors(&mut self, offset: u64, bytes: &[u8], percent_kept: u64, draw: &mut Draw) {
        let mut at = 0;
        while at < bytes.len() {
            let start = offset + at as u64;
            let len = ((SECTOR_BYTES - start % SECTOR_BYTES) as usize).min(bytes.len() - at);
            if draw(100) < percent_kept {
                // One in sixteen is torn: its beginning is new, its end is old.
                let whole = draw(16) != 0;
                let kept = if whole { len } else { draw(len as u64) as usize };
                self.put(start as usize, &bytes[at..at + kept]);
            }
            at += len;
        }
    }

    /// Writes what lies within the file's length; a length that was lost takes with it what lay behind.
    fn put(&mut self, start: usize, bytes: &[u8]) {
        let end = (start + bytes.len()).min(self.synced.len());
        if start < end {
            self.synced[start..end].copy_from_slice(&bytes[..end - start]);
        }
    }
}

/// A file of a [`PowerDisk`], until the next boot.
#[derive(Debug)]
pub struct PowerFile {
    disk: PowerDisk,
    name: &'static str,
    boot: u64,
}

impl State {
    /// Counts a change, which may be the one that fails.
    fn count(&mut self) -> io::Result<()> {
        match &mut self.fault {
            None => Ok(()),
            Some((0, Kind::NoSpace)) => Err(io::ErrorKind::StorageFull.into()),
            Some((0, kind)) => Err(io::Error::other(kind.text())),
            Some((changes, _)) => {
                *changes -= 1;
                Ok(())
            }
        }
    }

    fn image(&mut self, file: &PowerFile) -> io::Result<&mut Image> {
        if self.boot != file.boot {
            return Err(io::Error::other("the machine was booted since"));
        }
        Ok(self.files.entry(file.name).or_default())
    }
}

impl StorageBackend for PowerFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state.lock().image(self)?.seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = state
            .image(self)?
            .seen
            .get(start..start + out.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        let counted = state.count();
        let image = state.image(self)?;
        image.unsynced.push(Change::Length(len));
        counted?;
        image.seen.resize(len as usize, 0);
        Ok(())
    }

    /// A write that fails may still reach the disk, in part or whole.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        let counted = state.count();
        let image = state.image(self)?;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let target = image
            .seen
            .get_mut(start..start + bytes.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        image.unsynced.push(Change::Write {
            offset,
            bytes: bytes.to_vec(),
        });
        counted?;
        target.copy_from_slice(bytes);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        while state.held == Some(self.name) {
            state.is_sync_waiting = true;
            self.disk.held_changed.notify_all();
            self.disk.held_changed.wait(&mut state);
        }
        state.count()?;
        let ignored = state.syncs_ignored;
        let image = state.image(self)?;
        if !ignored {
            image.sync();
        }
        Ok(())
    }
}
