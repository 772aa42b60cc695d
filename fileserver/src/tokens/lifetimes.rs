//! Who was heard of when, and where each client takes part.

use std::collections::{BTreeMap, BTreeSet};

use baton_types::limits::CLIENT_SILENCE_MICROS;
use baton_types::{ClientId, FilesetId, Time};

/// Whether a client may still rely on what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It may.
    Live,
    /// It may not, by any clock.
    Lapsed,
}

#[derive(Debug)]
struct Client {
    heard: Time,
    life: Life,
    filesets: BTreeSet<FilesetId>,
}

/// The clients of an aggregate.
#[derive(Debug, Default)]
pub(super) struct Lifetimes {
    clients: BTreeMap<ClientId, Client>,
    /// Of the live ones, when each was heard of.
    live: BTreeSet<(Time, ClientId)>,
    /// Of the others, when each was last heard of.
    lapsed: BTreeSet<(Time, ClientId)>,
}

impl Lifetimes {
    /// A renewal of `client` arrived, or it is new.
    pub fn heard(&mut self, now: Time, client: ClientId) {
        let entry = self.clients.entry(client).or_insert(Client {
            heard: now,
            life: Life::Live,
            filesets: BTreeSet::new(),
        });
        self.live.remove(&(entry.heard, client));
        self.lapsed.remove(&(entry.heard, client));
        entry.heard = now;
        entry.life = Life::Live;
        self.live.insert((now, client));
    }

    /// Somebody whose lifetime is over at `now`; it has lapsed then.
    pub fn lapse(&mut self, now: Time) -> Option<ClientId> {
        let &(heard, client) = self.live.first()?;
        if heard + CLIENT_SILENCE_MICROS > now {
            return None;
        }
        self.live.remove(&(heard, client));
        self.lapsed.insert((heard, client));
        if let Some(entry) = self.clients.get_mut(&client) {
            entry.life = Life::Lapsed;
        }
        Some(client)
    }

    /// When the next one lapses.
    pub fn next_end(&self) -> Option<Time> {
        self.live.first().map(|(heard, _)| heard + CLIENT_SILENCE_MICROS)
    }

    /// It is gone.
    pub fn remove(&mut self, client: ClientId) {
        if let Some(entry) = self.clients.remove(&client) {
            self.live.remove(&(entry.heard, client));
            self.lapsed.remove(&(entry.heard, client));
        }
    }

    /// Of those who lapsed, the one who did first.
    pub fn silent_longest(&self) -> Option<ClientId> {
        self.lapsed.first().map(|(_, client)| *client)
    }

    /// `None` for one that is not known.
    pub fn life(&self, client: ClientId) -> Option<Life> {
        self.clients.get(&client).map(|entry| entry.life)
    }

    /// Whether it is known.
    pub fn knows(&self, client: ClientId) -> bool {
        self.clients.contains_key(&client)
    }

    /// Whether it is known and live.
    pub fn is_live(&self, client: ClientId) -> bool {
        self.life(client) == Some(Life::Live)
    }

    /// How many are known.
    pub fn count(&self) -> usize {
        self.clients.len()
    }

    /// It takes part there.
    pub fn enter(&mut self, client: ClientId, fileset: FilesetId) {
        if let Some(entry) = self.clients.get_mut(&client) {
            entry.filesets.insert(fileset);
        }
    }

    /// It takes part there no more.
    pub fn exit(&mut self, client: ClientId, fileset: FilesetId) {
        if let Some(entry) = self.clients.get_mut(&client) {
            entry.filesets.remove(&fileset);
        }
    }

    /// Where it takes part.
    pub fn filesets(&self, client: ClientId) -> Vec<FilesetId> {
        let entry = self.clients.get(&client);
        entry.map_or_else(Vec::new, |entry| entry.filesets.iter().copied().collect())
    }

    /// Whether it may take part in one more.
    pub fn has_room(&self, client: ClientId, fileset: FilesetId, count_max: usize) -> bool {
        let Some(entry) = self.clients.get(&client) else {
            return false;
        };
        entry.filesets.contains(&fileset) || entry.filesets.len() < count_max
    }
}
