//! A model of a server and its disk: a list of changes, kept by one owner after the other.
//!
//! The disk holds what was flushed. A server answers a change at once and flushes later; each flush looks whose the
//! disk is, and an owner that finds a newer epoch there is no more. So is every answer that promises something (I3).

use std::collections::{BTreeMap, BTreeSet};

use baton_rpc::session::server::Changes;
use baton_types::{Epoch, Time};

use crate::invariants::i06_once_in_order::Change;

/// How long a new owner waits for those whom the log knows (HA §3.4).
pub const GRACE_MICROS: Time = 8_270_000;

/// A change in history: who asked, under which name, for what, and whether it was refused there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its session.
    pub session: u64,
    /// Stream and sequence.
    pub name: (u16, u32),
    /// What it is.
    pub change: Change,
    /// It has a place, and no effect.
    pub is_refused: bool,
}

/// What survives.
#[derive(Debug, Default)]
pub struct Disk {
    /// Whose it is.
    pub owner: Epoch,
    /// What was flushed.
    pub log: Vec<Entry>,
    /// Sessions that were opened and did not end, and whose they are.
    pub sessions: BTreeMap<u64, usize>,
    /// Clients that take part.
    pub holds: BTreeSet<usize>,
    /// Sessions ever made.
    pub sessions_made: u64,
}

/// Who waits for the answer to a change: a connection and a name.
pub type Waiter = (usize, u32, u16, u32);

/// A change that is to run.
pub type Call = (u64, (u16, u32), Change);

/// What a server knows of a client.
#[derive(Clone, Copy, Debug, Default)]
pub struct Guest {
    /// Its last Bind or Renew arrived then.
    pub heard: Time,
}

/// One life of a server.
#[derive(Debug)]
pub struct Server {
    /// Under which it owns the disk, as far as it knows.
    pub epoch: Epoch,
    /// What it has: the disk's part first.
    pub log: Vec<Entry>,
    /// How much of that was flushed by it or found.
    pub durable: usize,
    /// The protocol's own core.
    pub changes: Changes<Waiter, Call>,
    /// Clients that it heard of.
    pub guests: BTreeMap<usize, Guest>,
    /// Clients that must come back before others are served.
    pub awaited: BTreeSet<usize>,
    /// When it became owner.
    pub claimed: Time,
    /// It runs.
    pub is_up: bool,
    /// A flush is on its way.
    pub is_flushing: bool,
    /// By session, the change of its ordered stream that has its place and is not over.
    pub at_work: BTreeMap<u64, u32>,
}

/// What the store says to a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It has this place.
    At(u64),
    /// It is refused, and has this place.
    RefusedAt(u64),
    /// It is refused, and nothing is left of it.
    Refused,
    /// Its reply was seen: nobody asks in earnest.
    Seen,
}

impl Server {
    /// The next owner of `disk`.
    pub fn claim(disk: &mut Disk, now: Time) -> Server {
        disk.owner = Epoch(disk.owner.0 + 1);
        Server {
            epoch: disk.owner,
            log: disk.log.clone(),
            durable: disk.log.len(),
            changes: Changes::default(),
            guests: BTreeMap::new(),
            awaited: disk.holds.clone(),
            claimed: now,
            is_up: true,
            is_flushing: false,
            at_work: BTreeMap::new(),
        }
    }

    /// The last sequence of each stream of a session.
    pub fn streams(&self, session: u64) -> Vec<(u16, u32)> {
        let mut streams = BTreeMap::new();
        for entry in self.log.iter().filter(|entry| entry.session == session) {
            let last: &mut u32 = streams.entry(entry.name.0).or_default();
            *last = entry.name.1.max(*last);
        }
        streams.into_iter().collect()
    }

    /// Does a change, or finds that it was done. What refuses is fixed by its number, so that a replay finds the same.
    pub fn run(&mut self, (session, name, change): Call) -> Done {
        let mut own = self
            .log
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.session == session);
        if let Some((place, entry)) = own.find(|(_, entry)| entry.name == name) {
            let lsn = place as u64 + 1;
            return if entry.is_refused {
                Done::RefusedAt(lsn)
            } else {
                Done::At(lsn)
            };
        }
        let streams = self.streams(session);
        if streams
            .iter()
            .any(|(stream, last)| *stream == name.0 && *last >= name.1)
        {
            return Done::Seen;
        }
        if is_refused(change) {
            return Done::Refused;
        }
        let is_refused = is_refused_for_good(change);
        self.log.push(Entry {
            session,
            name,
            change,
            is_refused,
        });
        let lsn = self.log.len() as u64;
        if is_refused {
            Done::RefusedAt(lsn)
        } else {
            Done::At(lsn)
        }
    }

    /// Whether all that is not durable is of this session.
    pub fn is_durable_but_of(&self, session: u64) -> bool {
        self.log[self.durable..].iter().all(|entry| entry.session == session)
    }

    /// The last change of each other stream that came before the one at `lsn` and is not durable.
    pub fn before(&self, lsn: u64) -> Vec<(u16, u32)> {
        let place = lsn as usize - 1;
        let own = self.log[place];
        let earlier = self.log[self.durable.min(place)..place].iter();
        let others = earlier.filter(|entry| entry.session == own.session && entry.name.0 != own.name.0);
        let last: BTreeMap<u16, u32> = others.map(|entry| entry.name).collect();
        last.into_iter().collect()
    }

    /// Whether those who are not coming back are served.
    pub fn is_open(&self) -> bool {
        self.awaited.is_empty()
    }

    /// Those whose lifetime is over are awaited no longer. Returns them.
    pub fn lapse(&mut self, now: Time) -> Vec<usize> {
        let heard = |client: &usize| self.guests.get(client).map_or(self.claimed, |guest| guest.heard);
        let over: Vec<usize> = self
            .awaited
            .iter()
            .filter(|client| now >= heard(client) + GRACE_MICROS)
            .copied()
            .collect();
        self.awaited.retain(|client| !over.contains(client));
        over
    }
}

/// Changes that are refused without leaving anything.
pub fn is_refused(change: Change) -> bool {
    change.number % 13 == 5
}

/// Those of them whose caller cannot log in: they never come to a server.
pub fn is_refused_at_the_door(change: Change) -> bool {
    change.number % 26 == 5
}

/// Changes that are refused, and whose refusal has a place.
pub fn is_refused_for_good(change: Change) -> bool {
    change.number % 17 == 7
}

/// The changes in `log` that had an effect.
pub fn effects(log: &[Entry]) -> Vec<Change> {
    let done = log.iter().filter(|entry| !entry.is_refused);
    done.map(|entry| entry.change).collect()
}
