//! Records that were asked for, and who waits for them.

use std::collections::BTreeMap;

use baton_types::limits::PARKED_PER_CLIENT_MAX;
use baton_types::{ClientId, FilesetId};

use super::Ticket;

/// Names a record that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(pub u64);

/// What is to stand in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// The client may hold something in the fileset.
    Hold(FilesetId, ClientId),
    /// It holds nothing there any more.
    Drop(FilesetId, ClientId),
    /// The client lives, with its session.
    Client(ClientId),
    /// It was silent for its lifetime: a takeover need not wait for it.
    Lapsed(ClientId),
    /// Its session is over, and what it says again is refused.
    End(ClientId),
}

/// What is done once a record is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The client's life goes on: answer its renewals.
    Life(ClientId),
    /// The client gets its hold.
    Join(FilesetId, ClientId),
    /// What the client had there is free for others; and answer its call, if there is one.
    Left(FilesetId, ClientId, Option<Ticket>),
    /// Answer a call, if there is one.
    Answer(Option<Ticket>),
}

/// Whether a renewal waits for a record that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joined {
    /// It does.
    Waits,
    /// There is none.
    None,
    /// Too many do.
    Full,
}

/// All that were asked for and not reported yet.
#[derive(Debug, Default)]
pub(super) struct Records {
    last: u64,
    waiting: BTreeMap<RecordId, Purpose>,
    /// Renewals that wait for the record that their client lives.
    lives: BTreeMap<ClientId, (RecordId, Vec<Ticket>)>,
}

impl Records {
    /// A new one.
    pub fn add(&mut self, purpose: Purpose) -> RecordId {
        self.last += 1;
        let id = RecordId(self.last);
        if purpose != Purpose::Answer(None) {
            self.waiting.insert(id, purpose);
        }
        id
    }

    /// It was reported.
    pub fn take(&mut self, id: RecordId) -> Option<Purpose> {
        self.waiting.remove(&id)
    }

    /// The record that `client` lives is under way.
    pub fn begin_life(&mut self, client: ClientId, id: RecordId, ticket: Ticket) {
        self.lives.insert(client, (id, vec![ticket]));
    }

    /// Another renewal comes while that is so.
    pub fn join_life(&mut self, client: ClientId, ticket: Ticket) -> Joined {
        match self.lives.get_mut(&client) {
            None => Joined::None,
            Some((_, tickets)) if tickets.len() >= PARKED_PER_CLIENT_MAX => Joined::Full,
            Some((_, tickets)) => {
                tickets.push(ticket);
                Joined::Waits
            }
        }
    }

    /// The record `id` is durable, or, without one, nobody is to wait any more.
    pub fn end_life(&mut self, client: ClientId, id: Option<RecordId>) -> Vec<Ticket> {
        match self.lives.get(&client) {
            Some((current, _)) if id.is_none_or(|id| id == *current) => {
                self.lives.remove(&client).map_or_else(Vec::new, |(_, tickets)| tickets)
            }
            Some(_) | None => Vec::new(),
        }
    }
}
