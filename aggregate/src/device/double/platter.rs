//! What lies on the double's platter: pages as a read sees them, and per sector what is not durable yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use super::{On, Trouble};
use crate::device::{SECTOR_BYTES, Write};

const PAGE_BYTES: u64 = 4096;

type Sector = [u8; SECTOR_BYTES];

/// A write, or the sectors of it that land at one moment.
#[derive(Clone)]
pub(super) struct Piece {
    write: u64,
    /// Where the whole write begins.
    base: u64,
    sectors: Vec<(u64, Sector)>,
}

impl Piece {
    /// The first byte it touches.
    pub(super) fn offset(&self) -> u64 {
        self.sectors
            .first()
            .map_or(0, |(sector, _)| sector * SECTOR_BYTES as u64)
    }

    /// Bytes from its first to its last sector.
    pub(super) fn len(&self) -> usize {
        let end = self
            .sectors
            .last()
            .map_or(0, |(sector, _)| (sector + 1) * SECTOR_BYTES as u64);
        (end - self.offset()) as usize
    }
}

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Done,
    /// `EIO`.
    Failed,
    /// The incarnation ended in it.
    Stopped,
    /// It had ended before.
    Refused,
}

/// A sector that a power cut may take back.
#[derive(Clone)]
struct Unflushed {
    durable: Sector,
    /// What was written over it, in order; the last is what a read sees.
    versions: Vec<Version>,
}

#[derive(Clone)]
struct Version {
    write: u64,
    bytes: Sector,
}

/// What one port did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reads.
    pub reads: u64,
    /// Writes, each of a submit by itself.
    pub writes: u64,
    /// Flushes.
    pub flushes: u64,
    /// Discards.
    pub discards: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
}

impl Counts {
    fn operations(&self) -> u64 {
        self.reads + self.writes + self.flushes + self.discards
    }

    fn of(&self, on: On) -> u64 {
        match on {
            On::Read => self.reads,
            On::Write => self.writes,
            On::Flush => self.flushes,
        }
    }
}

#[derive(Default)]
struct PortState {
    stopped: bool,
    /// Ends at the operation of this number.
    stop_at: Option<u64>,
    armed: Vec<(On, u64, Trouble)>,
    counts: Counts,
    /// The writes of the submit under way that have begun, and what met each: one is one operation, in however many pieces.
    begun: BTreeMap<u64, Option<Trouble>>,
}

pub(super) struct Platter {
    len: u64,
    rng: StdRng,
    pages: BTreeMap<u64, Arc<[u8; PAGE_BYTES as usize]>>,
    unflushed: BTreeMap<u64, Unflushed>,
    late: Vec<Piece>,
    ports: Vec<PortState>,
    writes: u64,
}

impl Platter {
    pub(super) fn new(len: u64, rng: StdRng) -> Platter {
        let (pages, unflushed, late, ports) = Default::default();
        Platter {
            len,
            rng,
            pages,
            unflushed,
            late,
            ports,
            writes: 0,
        }
    }

    pub(super) fn fork(&self, rng: StdRng) -> Platter {
        let stopped = || PortState {
            stopped: true,
            ..PortState::default()
        };
        Platter {
            len: self.len,
            rng,
            pages: self.pages.clone(),
            unflushed: self.unflushed.clone(),
            late: self.late.clone(),
            // What is unflushed belongs to ports by their number: no new one may take it for its own.
            ports: self.ports.iter().map(|_| stopped()).collect(),
            writes: self.writes,
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn grow(&mut self, len: u64) {
        assert!(len >= self.len, "{len} is less than {}", self.len);
        self.len = len;
    }

    pub(super) fn open(&mut self) -> usize {
        self.ports.push(PortState::default());
        self.ports.len() - 1
    }

    pub(super) fn stop(&mut self, port: usize) {
        self.ports[port].stopped = true;
    }

    pub(super) fn stop_at(&mut self, port: usize, nth: u64) {
        let port = &mut self.ports[port];
        port.stop_at = Some(port.counts.operations() + nth);
    }

    pub(super) fn arm(&mut self, port: usize, on: On, nth: u64, trouble: Trouble) {
        let port = &mut self.ports[port];
        port.armed.push((on, port.counts.of(on) + nth, trouble));
    }

    pub(super) fn counts(&self, port: usize) -> Counts {
        self.ports[port].counts
    }

    /// Counts an operation by `count`; what stands in its way, if it happens at all.
    fn begin(&mut self, port: usize, on: Option<On>, count: impl FnOnce(&mut Counts)) -> Result<Option<Trouble>, Fate> {
        if self.ports[port].stopped {
            return Err(Fate::Refused);
        }
        self.land_some_late();
        let port = &mut self.ports[port];
        count(&mut port.counts);
        if port.stop_at.is_some_and(|at| port.counts.operations() >= at) {
            port.stopped = true;
            return Err(Fate::Stopped);
        }
        let Some(on) = on else { return Ok(None) };
        let now = port.counts.of(on);
        let mut met = port.armed.iter().filter(|(armed, at, trouble)| {
            *armed == on && (*at == now || *trouble == Trouble::FailForGood && *at < now)
        });
        Ok(met.next().map(|(_, _, trouble)| *trouble))
    }

    pub(super) fn read(&mut self, port: usize, offset: u64, into: &mut [u8]) -> Fate {
        let len = into.len() as u64;
        let count = |counts: &mut Counts| {
            counts.reads += 1;
            counts.bytes_read += len;
        };
        match self.begin(port, Some(On::Read), count) {
            Err(fate) => return fate,
            Ok(Some(Trouble::Fail | Trouble::FailForGood)) => return Fate::Failed,
            Ok(Some(Trouble::Misdirect(elsewhere))) => self.peek(elsewhere, into),
            Ok(None) => self.peek(offset, into),
        }
        Fate::Done
    }

    /// The writes in a drawn order; with `parts`, some of them in two parts that land apart.
    pub(super) fn pieces(&mut self, port: usize, writes: &[Write<'_>], parts: bool) -> Vec<Piece> {
        self.ports[port].begun.clear();
        let mut pieces = Vec::new();
        for write in writes.iter().filter(|write| !write.bytes.is_empty()) {
            self.writes += 1;
            let first = write.offset / SECTOR_BYTES as u64;
            let sectors = write.bytes.chunks(SECTOR_BYTES).map(sector_of);
            let whole: Vec<(u64, Sector)> = (first..).zip(sectors).collect();
            let whole = Piece {
                write: self.writes,
                base: write.offset,
                sectors: whole,
            };
            if parts && whole.sectors.len() > 1 && self.rng.random_ratio(1, 4) {
                pieces.extend(self.split(whole));
            } else {
                pieces.push(whole);
            }
        }
        pieces.shuffle(&mut self.rng);
        pieces
    }

    /// Any two subsets of a piece's sectors that are the whole together; one may be empty and is then left out.
    fn split(&mut self, piece: Piece) -> Vec<Piece> {
        let rng = &mut self.rng;
        let Piece { write, base, sectors } = piece;
        let (left, right) = sectors.into_iter().partition(|_| rng.random());
        let parts = [left, right].map(|sectors| Piece { write, base, sectors });
        parts.into_iter().filter(|part| !part.sectors.is_empty()).collect()
    }

    pub(super) fn land(&mut self, port: usize, piece: &Piece) -> Fate {
        let state = &self.ports[port];
        let trouble = match state.begun.get(&piece.write) {
            Some(_) if state.stopped => return Fate::Refused,
            Some(trouble) => *trouble,
            None => {
                let count = |counts: &mut Counts| {
                    counts.writes += 1;
                    counts.bytes_written += (piece.sectors.len() * SECTOR_BYTES) as u64;
                };
                match self.begin(port, Some(On::Write), count) {
                    Err(fate) => return fate,
                    Ok(trouble) => trouble,
                }
            }
        };
        self.ports[port].begun.insert(piece.write, trouble);
        match trouble {
            None => self.put(piece, 0),
            Some(Trouble::Misdirect(to)) => self.put(piece, to.wrapping_sub(piece.base)),
            Some(Trouble::Fail | Trouble::FailForGood) => {
                self.put_perhaps(piece.clone());
                return Fate::Failed;
            }
        }
        Fate::Done
    }

    /// None, some or all of it.
    fn put_perhaps(&mut self, piece: Piece) {
        match self.rng.random_range(0..3) {
            0 => {}
            1 => self.put(&piece, 0),
            _ => {
                let mut part = self.split(piece);
                self.put(&part.swap_remove(0), 0);
            }
        }
    }

    /// Writes a piece, `moved` bytes from where it belongs, into what a read sees; a power cut may take it back.
    fn put(&mut self, piece: &Piece, moved: u64) {
        for (sector, bytes) in &piece.sectors {
            let offset = (sector * SECTOR_BYTES as u64).wrapping_add(moved);
            if offset >= self.len {
                continue;
            }
            let mut durable = [0; SECTOR_BYTES];
            self.peek(offset, &mut durable);
            let unflushed = self.unflushed.entry(offset / SECTOR_BYTES as u64);
            let unflushed = unflushed.or_insert(Unflushed {
                durable,
                versions: Vec::new(),
            });
            unflushed.versions.push(Version {
                write: piece.write,
                bytes: *bytes,
            });
            self.store(offset, bytes);
        }
    }

    pub(super) fn flush(&mut self, port: usize) -> Fate {
        let fate = match self.begin(port, Some(On::Flush), |counts| counts.flushes += 1) {
            Err(Fate::Refused) => return Fate::Refused,
            Err(fate) => fate,
            Ok(Some(Trouble::Fail | Trouble::FailForGood)) => Fate::Failed,
            Ok(Some(Trouble::Misdirect(_)) | None) => Fate::Done,
        };
        // Of a flush that did not end well, some writes and not others.
        let mut drawn = BTreeMap::new();
        let rng = &mut self.rng;
        self.unflushed.retain(|_, sector| {
            let flushed = sector
                .versions
                .iter()
                .rposition(|version| fate == Fate::Done || *drawn.entry(version.write).or_insert_with(|| rng.random()));
            if let Some(index) = flushed {
                sector.durable = sector.versions[index].bytes;
                sector.versions.drain(..=index);
            }
            !sector.versions.is_empty()
        });
        fate
    }

    /// Each sector keeps what it had, becomes zero, or becomes noise; all of them, if it is stopped in the middle too.
    pub(super) fn discard(&mut self, port: usize, offset: u64, len: u64) -> Fate {
        let fate = self
            .begin(port, None, |counts| counts.discards += 1)
            .err()
            .unwrap_or(Fate::Done);
        if fate == Fate::Refused {
            return fate;
        }
        let first = offset / SECTOR_BYTES as u64;
        let mut sectors = Vec::new();
        for sector in first..first + len / SECTOR_BYTES as u64 {
            let mut bytes = [0; SECTOR_BYTES];
            match self.rng.random_range(0..3) {
                0 => continue,
                1 => {}
                _ => self.rng.fill_bytes(&mut bytes),
            }
            sectors.push((sector, bytes));
        }
        self.writes += 1;
        let piece = Piece {
            write: self.writes,
            base: offset,
            sectors,
        };
        self.put(&piece, 0);
        fate
    }

    /// Remembers what a stopped incarnation had under way.
    pub(super) fn late(&mut self, pieces: impl Iterator<Item = Piece>) {
        self.late.extend(pieces);
    }

    /// Now and then something late arrives: a piece, a part of one, or the news that it never will.
    fn land_some_late(&mut self) {
        if self.late.is_empty() || !self.rng.random_ratio(1, 4) {
            return;
        }
        let index = self.rng.random_range(0..self.late.len());
        let piece = self.late.swap_remove(index);
        match self.rng.random_range(0..8) {
            0 => {}
            1..4 => {
                let mut parts = self.split(piece);
                self.put(&parts.swap_remove(0), 0);
                self.late.extend(parts);
            }
            _ => self.put(&piece, 0),
        }
    }

    pub(super) fn land_late(&mut self) {
        for piece in std::mem::take(&mut self.late) {
            self.put(&piece, 0);
        }
    }

    pub(super) fn cut_power(&mut self) {
        while !self.late.is_empty() {
            self.land_some_late();
        }
        for port in &mut self.ports {
            port.stopped = true;
        }
        // Per write: lost, kept, or torn, which is drawn again for each sector.
        let mut drawn = BTreeMap::new();
        for (sector, unflushed) in std::mem::take(&mut self.unflushed) {
            let rng = &mut self.rng;
            let kept = unflushed.versions.iter().rev().find(|version| {
                match drawn.entry(version.write).or_insert_with(|| rng.random_range(0..3)) {
                    0 => false,
                    1 => true,
                    _ => rng.random(),
                }
            });
            let bytes = kept.map_or(unflushed.durable, |version| version.bytes);
            self.store(sector * SECTOR_BYTES as u64, &bytes);
        }
    }

    pub(super) fn flip(&mut self, offset: u64, bit: u8) {
        let mut byte = [0];
        self.peek(offset, &mut byte);
        self.poke(offset, &[byte[0] ^ 1 << (bit % 8)]);
    }

    /// Bytes as a read sees them.
    pub(super) fn peek(&self, mut offset: u64, mut into: &mut [u8]) {
        while !into.is_empty() {
            let within = (offset % PAGE_BYTES) as usize;
            let count = into.len().min(PAGE_BYTES as usize - within);
            let (head, tail) = into.split_at_mut(count);
            match self.pages.get(&(offset / PAGE_BYTES)) {
                Some(page) => head.copy_from_slice(&page[within..within + count]),
                None => head.fill(0),
            }
            into = tail;
            offset += count as u64;
        }
    }

    /// Bytes onto the platter, also under what is not durable there.
    pub(super) fn poke(&mut self, offset: u64, bytes: &[u8]) {
        self.store(offset, bytes);
        for (at, byte) in (offset..).zip(bytes) {
            let within = (at % SECTOR_BYTES as u64) as usize;
            if let Some(unflushed) = self.unflushed.get_mut(&(at / SECTOR_BYTES as u64)) {
                unflushed.durable[within] = *byte;
                unflushed
                    .versions
                    .iter_mut()
                    .for_each(|version| version.bytes[within] = *byte);
            }
        }
    }

    fn store(&mut self, mut offset: u64, mut bytes: &[u8]) {
        assert!(offset + bytes.len() as u64 <= self.len, "{offset} is beyond the end");
        while !bytes.is_empty() {
            let within = (offset % PAGE_BYTES) as usize;
            let count = bytes.len().min(PAGE_BYTES as usize - within);
            let (head, tail) = bytes.split_at(count);
            let page = self
                .pages
                .entry(offset / PAGE_BYTES)
                .or_insert_with(|| Arc::new([0; PAGE_BYTES as usize]));
            Arc::make_mut(page)[within..within + count].copy_from_slice(head);
            bytes = tail;
            offset += count as u64;
        }
    }

    pub(super) fn digest(&self) -> u64 {
        let mut hasher = blake3::Hasher::new();
        for (number, page) in &self.pages {
            hasher.update(&number.to_le_bytes()).update(&page[..]);
        }
        for (sector, unflushed) in &self.unflushed {
            hasher.update(&sector.to_le_bytes()).update(&unflushed.durable);
        }
        for (sector, bytes) in self.late.iter().flat_map(|piece| &piece.sectors) {
            hasher.update(&sector.to_le_bytes()).update(bytes);
        }
        let mut digest = [0; 8];
        hasher.finalize_xof().fill(&mut digest);
        u64::from_le_bytes(digest)
    }
}

fn sector_of(bytes: &[u8]) -> Sector {
    let mut sector = [0; SECTOR_BYTES];
    sector.copy_from_slice(bytes);
    sector
}
