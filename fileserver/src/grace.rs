//! Grace: after a claim, a fileset waits for the clients that the log knows there.
//!
//! | a client that the log knows | may | and its calls |
//! |---|---|---|
//! | was not heard in the fileset yet | come back, or fall silent | wait |
//! | is back | say again what it held and what it changed | changes go through, looks wait |
//! | said that this was all | | wait, like those of everybody else |
//!
//! Changes of somebody who is back are what it says again, in its order; looks wait, because another one's change
//! that a look must show may not have been said again yet (I5, I7). The fileset leaves grace when nobody is left to
//! wait for: at once, if all are done; else when who is missing is at an end, for silence, or for want of an end.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use baton_types::limits::{PARKED_PER_CLIENT_MAX, RECLAIM_MICROS_MAX};
use baton_types::{ClientId, FilesetId, Result, Time};

use crate::tokens::{Ticket, too_many};

/// What a call does, as far as grace cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// It shows something.
    Look,
    /// It changes something, or says again what a client held.
    Change,
}

/// Whether a call may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It may.
    Open,
    /// It waits, and is named when the fileset leaves grace.
    Parked,
}

/// A fileset that has left grace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Over {
    /// Which.
    pub fileset: FilesetId,
    /// The calls that waited for it, in the order they came.
    pub parked: Vec<Ticket>,
}

/// The filesets of one aggregate that are in grace.
#[derive(Debug)]
pub struct Grace {
    /// `None` once it has passed.
    until: Option<Time>,
    filesets: BTreeMap<FilesetId, Waiting>,
    /// How many calls of each client wait.
    parked: BTreeMap<ClientId, usize>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Whom it waits for.
    clients: BTreeMap<ClientId, Progress>,
    parked: Vec<(ClientId, Ticket)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Missing,
    Back,
}

impl Grace {
    /// After a claim at `claimed_at`, with those whom the log knows in each fileset.
    pub fn new(claimed_at: Time, recorded: &[(FilesetId, ClientId)]) -> Grace {
        let mut filesets: BTreeMap<FilesetId, Waiting> = BTreeMap::new();
        for &(fileset, client) in recorded {
            let clients = &mut filesets.entry(fileset).or_default().clients;
            clients.insert(client, Progress::Missing);
        }
        Grace {
            until: Some(claimed_at + RECLAIM_MICROS_MAX),
            filesets,
            parked: BTreeMap::new(),
        }
    }

    /// Whether a fileset is in grace.
    pub fn covers(&self, fileset: FilesetId) -> bool {
        self.filesets.contains_key(&fileset)
    }

    /// Whether any fileset is.
    pub fn is_on(&self) -> bool {
        !self.filesets.is_empty()
    }

    /// Whether `fileset` still waits for `client`.
    pub fn waits_for(&self, client: ClientId, fileset: FilesetId) -> bool {
        let waiting = self.filesets.get(&fileset);
        waiting.is_some_and(|waiting| waiting.clients.contains_key(&client))
    }

    /// Until when those who are back must be done; `None` when nobody is waited for.
    pub fn until(&self) -> Option<Time> {
        self.until.filter(|_| self.is_on())
    }

    /// Whether a call goes on or waits. Who waits is bounded.
    ///
    /// # Errors
    /// `Limit`.
    pub fn gate(&mut self, client: ClientId, fileset: FilesetId, errand: Errand, ticket: Ticket) -> Result<Gate> {
        let Some(waiting) = self.filesets.get_mut(&fileset) else {
            return Ok(Gate::Open);
        };
        if errand == Errand::Change && waiting.clients.get(&client) == Some(&Progress::Back) {
            return Ok(Gate::Open);
        }
        let count = self.parked.entry(client).or_default();
        if *count >= PARKED_PER_CLIENT_MAX {
            return Err(too_many("calls of one client that wait for a fileset in grace"));
        }
        *count += 1;
        waiting.parked.push((client, ticket));
        Ok(Gate::Parked)
    }

    /// `client` is back in `fileset`. Says whether it was waited for.
    pub fn back(&mut self, client: ClientId, fileset: FilesetId) -> bool {
        let waiting = self.filesets.get_mut(&fileset);
        let progress = waiting.and_then(|waiting| waiting.clients.get_mut(&client));
        progress.map(|progress| *progress = Progress::Back).is_some()
    }

    /// `client` has nothing more to say again in `fileset`, or is at an end.
    pub fn done(&mut self, client: ClientId, fileset: FilesetId) -> Option<Over> {
        let waiting = self.filesets.get_mut(&fileset)?;
        waiting.clients.remove(&client);
        if !waiting.clients.is_empty() {
            return None;
        }
        let waiting = self.filesets.remove(&fileset)?;
        for (client, _) in &waiting.parked {
            if let Some(count) = self.parked.get_mut(client) {
                *count -= 1;
            }
        }
        self.parked.retain(|_, count| *count > 0);
        let parked = waiting.parked.into_iter().map(|(_, ticket)| ticket).collect();
        Some(Over { fileset, parked })
    }

    /// Those who were not done in time, once.
    pub fn overdue(&mut self, now: Time) -> Vec<ClientId> {
        if self.until.is_none_or(|until| now < until) {
            return Vec::new();
        }
        self.until = None;
        let mut clients: Vec<ClientId> = self
            .filesets
            .values()
            .flat_map(|waiting| waiting.clients.keys().copied())
            .collect();
        clients.sort();
        clients.dedup();
        clients
    }
}
