//! Locks: byte ranges of files that programs keep others from, as POSIX has it.
//!
//! An owner is a program on a client; its own locks never are in its way: a new one replaces what it overlaps, and
//! neighbours of one kind become one. A request that may wait is tried again, in the order they came, whenever
//! something on the file is given back; it is refused if it would close a ring of owners who wait for each other. As on
//! Linux, who comes while others wait and finds nobody holding what he wants gets it. An owner counts as one program:
//! a ring through two threads of it is one too.

mod ranges;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use baton_types::call::{Lock, LockKind, Patience};
use baton_types::limits::{DEADLOCK_OWNERS_MAX, LOCKS_PER_CLIENT_MAX, LOCKS_PER_FILE_MAX, LOCKS_WAITING_PER_FILE_MAX};
use baton_types::{ClientId, Error, Fid, FilesetId, Kind, Result};

use crate::opens::first_of;
use crate::tokens::{Ticket, too_many};
use ranges::{Held, changed, overlap};

/// Most pieces that setting one lock adds: it comes to lie in the middle of another one of its owner.
const PIECES_MAX: usize = 2;

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done; and by what was given back, so are these, which waited.
    Done(Vec<Ticket>),
    /// Not done: this lock is in the way.
    InTheWay(Lock),
    /// It waits.
    Parked,
}

/// What ends with locks that are dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Requests of others that got what they waited for.
    pub granted: Vec<Ticket>,
    /// Requests of the client itself that wait no more.
    pub refused: Vec<Ticket>,
}

/// A program: the kernel's number of it means something on its client only.
type Owner = (ClientId, u64);

/// The locks of one aggregate.
#[derive(Debug, Default)]
pub struct Locks {
    files: BTreeMap<Fid, File>,
    clients: BTreeMap<ClientId, Share>,
    /// Where each owner waits, once for each of its requests.
    waits: BTreeMap<Owner, Vec<Fid>>,
}

#[derive(Debug, Default)]
struct File {
    /// By their first bytes.
    held: Vec<Held>,
    waiting: VecDeque<Waiting>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    wanted: Held,
    ticket: Ticket,
}

/// What a client has, for its limit and its end.
#[derive(Debug, Default)]
struct Share {
    held: usize,
    waiting: usize,
    /// Where it has had anything since it last had nothing at all.
    files: BTreeSet<Fid>,
}

impl Locks {
    /// Sets a lock or takes it away.
    ///
    /// # Errors
    /// `Invalid` for a range upside down; `Deadlock`; `Limit`.
    pub fn set(
        &mut self,
        client: ClientId,
        fid: Fid,
        lock: Lock,
        patience: Patience,
        ticket: Ticket,
    ) -> Result<Outcome> {
        if lock.first > lock.last {
            return Err(refused(fid, Kind::Invalid, "the range ends before it begins"));
        }
        let wanted = Held { client, lock };
        let file = self.files.entry(fid).or_default();
        let Some(in_the_way) = file.first_conflict(&wanted).map(|held| held.lock) else {
            let outcome = self.apply(fid, wanted).map(|()| Outcome::Done(self.retry(fid)));
            self.settle(client, fid);
            return outcome;
        };
        let outcome = match patience {
            Patience::None => Ok(Outcome::InTheWay(in_the_way)),
            Patience::Wait => self.park(fid, wanted, ticket).map(|()| Outcome::Parked),
        };
        self.settle(client, fid);
        outcome
    }

    /// The first lock that keeps `client` from setting `lock`.
    pub fn test(&self, client: ClientId, fid: Fid, lock: Lock) -> Option<Lock> {
        let held = self.files.get(&fid)?.first_conflict(&Held { client, lock })?;
        Some(held.lock)
    }

    /// Whether `client` has set `lock`, all of it. Neighbours of one kind are one lock.
    pub fn holds(&self, client: ClientId, fid: Fid, lock: Lock) -> bool {
        let wanted = Held { client, lock };
        let is_it = |held: &Held| {
            let (is_own, is_kind) = (held.owner() == wanted.owner(), held.lock.kind == lock.kind);
            is_own && is_kind && held.lock.first <= lock.first && lock.last <= held.lock.last
        };
        self.files.get(&fid).is_some_and(|file| file.held.iter().any(is_it))
    }

    /// The clients whose locks keep `client` from setting `lock`.
    pub fn in_the_way(&self, client: ClientId, fid: Fid, lock: Lock) -> BTreeSet<ClientId> {
        let wanted = Held { client, lock };
        let file = self.files.get(&fid).into_iter();
        file.flat_map(|file| file.conflicts(&wanted))
            .map(|held| held.client)
            .collect()
    }

    /// Who holds what.
    pub fn all(&self) -> impl Iterator<Item = (ClientId, Fid, Lock)> {
        let files = self.files.iter();
        files.flat_map(|(fid, file)| file.held.iter().map(|held| (held.client, *fid, held.lock)))
    }

    /// Whether anybody waits for what `client` holds.
    pub fn is_waited_for(&self, client: ClientId) -> bool {
        let files = self.clients.get(&client).into_iter().flat_map(|share| &share.files);
        files.filter_map(|fid| self.files.get(fid)).any(|file| {
            let mut waiting = file.waiting.iter().filter(|waiting| waiting.wanted.client != client);
            waiting.any(|waiting| file.conflicts(&waiting.wanted).any(|held| held.client == client))
        })
    }

    /// Whether `client` holds any lock in `fileset`.
    pub fn has_any(&self, client: ClientId, fileset: FilesetId) -> bool {
        let files = self.of_client(client, fileset);
        files
            .iter()
            .filter_map(|fid| self.files.get(fid))
            .any(|file| file.has(client))
    }

    /// A program does not wait for `lock` any more. Names its request, if it still waited.
    pub fn cancel(&mut self, client: ClientId, fid: Fid, lock: Lock) -> Option<Ticket> {
        let file = self.files.get_mut(&fid)?;
        let wanted = Held { client, lock };
        let index = file.waiting.iter().position(|waiting| waiting.wanted == wanted)?;
        let waiting = file.waiting.remove(index)?;
        self.waits_no_more(fid, &waiting);
        self.settle(client, fid);
        Some(waiting.ticket)
    }

    /// `client` is not there to wait for anything.
    pub fn stop_waiting(&mut self, client: ClientId) -> Vec<Ticket> {
        let fids = self
            .clients
            .get(&client)
            .map_or_else(Vec::new, |share| share.files.iter().copied().collect());
        fids.into_iter()
            .flat_map(|fid| self.stop_waiting_on(client, fid))
            .collect()
    }

    /// `client` has nothing to do with `fileset` any more.
    pub fn leave(&mut self, client: ClientId, fileset: FilesetId) -> Dropped {
        let mut dropped = Dropped::default();
        for fid in self.of_client(client, fileset) {
            dropped.refused.extend(self.stop_waiting_on(client, fid));
            if let (Some(file), Some(share)) = (self.files.get_mut(&fid), self.clients.get_mut(&client)) {
                let before = file.held.len();
                file.held.retain(|held| held.client != client);
                share.held -= before - file.held.len();
            }
            dropped.granted.extend(self.retry(fid));
            self.settle(client, fid);
        }
        dropped
    }

    fn of_client(&self, client: ClientId, fileset: FilesetId) -> Vec<Fid> {
        let Some(share) = self.clients.get(&client) else {
            return Vec::new();
        };
        let files = share.files.range(first_of(fileset)..);
        files.take_while(|fid| fid.fileset == fileset).copied().collect()
    }

    fn stop_waiting_on(&mut self, client: ClientId, fid: Fid) -> Vec<Ticket> {
        let Some(file) = self.files.get_mut(&fid) else {
            return Vec::new();
        };
        let is_its = |waiting: &Waiting| waiting.wanted.client == client;
        let (gone, stay): (VecDeque<_>, VecDeque<_>) = file.waiting.drain(..).partition(is_its);
        file.waiting = stay;
        gone.iter().for_each(|waiting| self.waits_no_more(fid, waiting));
        self.settle(client, fid);
        gone.into_iter().map(|waiting| waiting.ticket).collect()
    }

    /// Nothing is in its way: the owner's locks change.
    fn apply(&mut self, fid: Fid, wanted: Held) -> Result<()> {
        let file = self.files.entry(fid).or_default();
        let share = self.clients.entry(wanted.client).or_default();
        let held = changed(&file.held, &wanted);
        let (before, after) = (file.held.len(), held.len());
        let is_full = after + file.waiting.len() * PIECES_MAX > LOCKS_PER_FILE_MAX
            || share.held + share.waiting * PIECES_MAX + after - before.min(after) > LOCKS_PER_CLIENT_MAX;
        if after > before && is_full {
            return Err(too_many("locks on one file, or of one client"));
        }
        share.held = share.held + after - before;
        share.files.insert(fid);
        file.held = held;
        Ok(())
    }

    fn park(&mut self, fid: Fid, wanted: Held, ticket: Ticket) -> Result<()> {
        if self.is_ring(&wanted, fid) {
            return Err(refused(fid, Kind::Deadlock, "who holds it waits for who asks for it"));
        }
        let file = self.files.entry(fid).or_default();
        let share = self.clients.entry(wanted.client).or_default();
        let is_full = file.waiting.len() >= LOCKS_WAITING_PER_FILE_MAX
            || file.held.len() + (file.waiting.len() + 1) * PIECES_MAX > LOCKS_PER_FILE_MAX
            || share.held + (share.waiting + 1) * PIECES_MAX > LOCKS_PER_CLIENT_MAX;
        if is_full {
            return Err(too_many("requests that wait for locks"));
        }
        share.waiting += 1;
        share.files.insert(fid);
        file.waiting.push_back(Waiting { wanted, ticket });
        self.waits.entry(wanted.owner()).or_default().push(fid);
        Ok(())
    }

    /// Gives those who wait what nobody holds any more, in the order they came. Who gets less than he had, a read lock
    /// for a write lock, may make room for one before him: hence again, until nothing moves.
    fn retry(&mut self, fid: Fid) -> Vec<Ticket> {
        let mut granted = Vec::new();
        while let Some(waiting) = self.files.get_mut(&fid).and_then(File::next_ready) {
            self.waits_no_more(fid, &waiting);
            // What waits was counted at its worst when it was parked: this cannot be one too many.
            let applied = self.apply(fid, waiting.wanted);
            assert!(applied.is_ok(), "room for a lock that waited was not kept: {applied:?}");
            granted.push(waiting.ticket);
        }
        granted
    }

    fn waits_no_more(&mut self, fid: Fid, waiting: &Waiting) {
        let owner = waiting.wanted.owner();
        if let Some(fids) = self.waits.get_mut(&owner) {
            if let Some(index) = fids.iter().position(|other| *other == fid) {
                fids.swap_remove(index);
            }
            if fids.is_empty() {
                self.waits.remove(&owner);
            }
        }
        if let Some(share) = self.clients.get_mut(&waiting.wanted.client) {
            share.waiting -= 1;
        }
    }

    /// Forgets what is empty.
    fn settle(&mut self, client: ClientId, fid: Fid) {
        if self.files.get(&fid).is_some_and(File::is_empty) {
            self.files.remove(&fid);
        }
        let is_idle = !self
            .files
            .get(&fid)
            .is_some_and(|file| file.has(client) || file.awaits(client));
        if let Some(share) = self.clients.get_mut(&client) {
            if is_idle {
                share.files.remove(&fid);
            }
            if share.files.is_empty() {
                self.clients.remove(&client);
            }
        }
    }

    /// Whether somebody whom `wanted` would wait for waits, directly or through others, for its owner.
    fn is_ring(&self, wanted: &Held, fid: Fid) -> bool {
        let mut seen = BTreeSet::new();
        let mut next = self.owners_in_the_way(fid, wanted);
        while let Some(owner) = next.pop() {
            if owner == wanted.owner() {
                return true;
            }
            if !seen.insert(owner) {
                continue;
            }
            if seen.len() > DEADLOCK_OWNERS_MAX {
                return false;
            }
            for fid in self.waits.get(&owner).into_iter().flatten() {
                let waiting = self.files.get(fid).into_iter().flat_map(|file| &file.waiting);
                let its = waiting.filter(|waiting| waiting.wanted.owner() == owner);
                next.extend(its.flat_map(|waiting| self.owners_in_the_way(*fid, &waiting.wanted)));
            }
        }
        false
    }

    fn owners_in_the_way(&self, fid: Fid, wanted: &Held) -> Vec<Owner> {
        let file = self.files.get(&fid).into_iter();
        file.flat_map(|file| file.conflicts(wanted)).map(Held::owner).collect()
    }
}

impl File {
    fn conflicts(&self, wanted: &Held) -> impl Iterator<Item = &Held> {
        self.held.iter().filter(|held| is_conflict(held, wanted))
    }

    fn first_conflict(&self, wanted: &Held) -> Option<&Held> {
        self.conflicts(wanted).next()
    }

    /// Takes the first one out of the queue that nothing is in the way of any more.
    fn next_ready(&mut self) -> Option<Waiting> {
        let is_ready = |waiting: &Waiting| self.first_conflict(&waiting.wanted).is_none();
        let index = self.waiting.iter().position(is_ready)?;
        self.waiting.remove(index)
    }

    fn has(&self, client: ClientId) -> bool {
        self.held.iter().any(|held| held.client == client)
    }

    fn awaits(&self, client: ClientId) -> bool {
        self.waiting.iter().any(|waiting| waiting.wanted.client == client)
    }

    fn is_empty(&self) -> bool {
        self.held.is_empty() && self.waiting.is_empty()
    }
}

fn is_conflict(held: &Held, wanted: &Held) -> bool {
    let kinds = (held.lock.kind, wanted.lock.kind);
    let may_both = kinds == (LockKind::Read, LockKind::Read) || wanted.lock.kind == LockKind::Unlock;
    !may_both && held.owner() != wanted.owner() && overlap(&held.lock, &wanted.lock)
}

fn refused(fid: Fid, kind: Kind, why: &'static str) -> Error {
    Error::new(kind, format!("lock on file {fid}")).because(why)
}
