//! Tokens: who may rely on what, fileset by fileset, and how that is taken back.
//!
//! For now there is one token a fileset, read-write on all of it: a *hold*, `Alone` or `Shared`. A client is alone
//! while nobody else holds anything in the fileset; it then keeps what it was told. The hold of a client that was not
//! heard of for [`CLIENT_SILENCE_MICROS`] may be taken: its lifetime is over by any clock (I4).
//!
//! | holder | a second client joins | the holder returns | the holder falls silent |
//! |---|---|---|---|
//! | none | recorded, then `Alone` | | |
//! | one, `Alone` | parked, holder revoked | holder `Shared`, joiner recorded, then `Shared` | parked: holder ended; none: it keeps the hold |
//! | `Shared` | recorded, then `Shared` | | keeps its hold; [`State`](crate::state::State) drops it if nothing is open there |
//!
//! What a grant rests on stands in the log before it: the record of the joiner is asked for after the other one's
//! return or end, so that once it is durable, all that went before is too (I5). Each grant and each revocation of a
//! fileset has a higher serial than those before it: a grant that arrives after a higher revocation is beaten by it.
//!
//! Kinds and ranges come later: a holder's `Hold` becomes a set of tokens, a joiner's wish one of them, and "is there
//! anybody else" a look at what conflicts. Serials, records, revocations and silence stay as they are.

mod event;
mod lifetimes;
mod records;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use baton_types::call::Hold;
use baton_types::limits::{CLIENTS_MAX, HOLDS_PER_CLIENT_MAX, PARKED_PER_CLIENT_MAX};
use baton_types::{ClientId, Core, Error, FilesetId, Kind, Result, Time};

pub use event::{Action, Event, Session, Ticket};
use lifetimes::{Life, Lifetimes};
use records::{Joined, Purpose, Records};
pub use records::{Note, RecordId};

/// The tokens of one aggregate.
#[derive(Debug)]
pub struct Tokens {
    lifetimes: Lifetimes,
    filesets: BTreeMap<FilesetId, Fileset>,
    /// Revocations that holders were told of and have not followed, with their serials.
    revocations: BTreeMap<(ClientId, FilesetId), u64>,
    records: Records,
    /// The last one given: rising over the whole aggregate, it rises in each fileset.
    serial: u64,
    /// The aggregate is about to be given up: nobody is alone.
    is_recalling: bool,
    actions: Vec<Action>,
}

#[derive(Debug, Default)]
struct Fileset {
    holders: BTreeMap<ClientId, Holder>,
    /// Who waits to be told what it holds: in no holder's way, they are recorded at once, together.
    joiners: BTreeMap<ClientId, Joiner>,
    /// The newest record that somebody holds nothing here any more.
    last_drop: Option<RecordId>,
}

#[derive(Clone, Copy, Debug)]
struct Holder {
    hold: Hold,
    serial: u64,
}

#[derive(Debug, Default)]
struct Joiner {
    tickets: Vec<Ticket>,
    record: Option<RecordId>,
}

impl Core for Tokens {
    type Event = Event;
    type Action = Action;

    fn step(&mut self, now: Time, event: Event) -> Vec<Action> {
        while let Some(client) = self.lifetimes.lapse(now) {
            self.lapsed(client);
        }
        match event {
            Event::Bound(client, session, ticket) => self.bound(now, client, session, ticket),
            Event::Renewed(client, ticket) => self.renewed(now, client, ticket),
            Event::Join(client, fileset, ticket) => self.join(client, fileset, ticket),
            Event::Return(client, fileset, serial) => self.returned(client, fileset, serial),
            Event::Leave(client, fileset, ticket) => self.leave(client, fileset, Some(ticket)),
            Event::Drop(client, fileset) => self.leave(client, fileset, None),
            Event::End(client, ticket) => self.end(client, ticket),
            Event::Recorded(id) => self.recorded(id, Ok(())),
            Event::Unrecorded(id, error) => self.recorded(id, Err(error)),
            Event::Recall => self.recall(),
            Event::Relent => self.is_recalling = false,
            Event::Wake => {}
        }
        std::mem::take(&mut self.actions)
    }
}

impl Tokens {
    /// After a claim at `claimed_at`, with those whom the log knows in each fileset: as if each had renewed just then.
    pub fn new(claimed_at: Time, recorded: &[(FilesetId, ClientId)]) -> Tokens {
        let mut tokens = Tokens {
            lifetimes: Lifetimes::default(),
            filesets: BTreeMap::new(),
            revocations: BTreeMap::new(),
            records: Records::default(),
            serial: 0,
            is_recalling: false,
            actions: Vec::new(),
        };
        for &(fileset, client) in recorded {
            tokens.lifetimes.heard(claimed_at, client);
            tokens.lifetimes.enter(client, fileset);
            tokens.grant(fileset, client, None);
        }
        // Who was alone is the only one recorded: the record of the next is written when he has returned.
        for fileset in tokens.filesets.values_mut().filter(|fileset| fileset.holders.len() > 1) {
            fileset
                .holders
                .values_mut()
                .for_each(|holder| holder.hold = Hold::Shared);
        }
        tokens
    }

    /// What a client may rely on in a fileset; `None`: it takes no part there.
    pub fn hold(&self, client: ClientId, fileset: FilesetId) -> Option<Hold> {
        Some(self.filesets.get(&fileset)?.holders.get(&client)?.hold)
    }

    /// What clients hold, fileset by fileset.
    pub fn holds(&self) -> Vec<(ClientId, Hold)> {
        let holders = self.filesets.values().flat_map(|entry| &entry.holders);
        holders.map(|(client, holder)| (*client, holder.hold)).collect()
    }

    /// Whether a client has a session here and is not at an end.
    pub fn knows(&self, client: ClientId) -> bool {
        self.lifetimes.knows(client)
    }

    /// Where a client holds something or waits to.
    pub fn filesets_of(&self, client: ClientId) -> Vec<FilesetId> {
        self.lifetimes.filesets(client)
    }

    /// Whether a client was heard of too long ago, and nothing but courtesy keeps what it has.
    pub fn is_silent(&self, client: ClientId) -> bool {
        !self.lifetimes.is_live(client)
    }

    /// When the next lifetime is over.
    pub fn wake_at(&self) -> Option<Time> {
        self.lifetimes.next_end()
    }

    fn bound(&mut self, now: Time, client: ClientId, session: Session, ticket: Ticket) {
        if session == Session::New && self.lifetimes.knows(client) {
            self.forget(client);
        }
        if self.lifetimes.knows(client) {
            return self.renewed(now, client, ticket);
        }
        if self.lifetimes.count() >= CLIENTS_MAX {
            match self.lifetimes.silent_longest() {
                Some(silent) => self.end(silent, None),
                None => return self.refuse(ticket, too_many("clients at this aggregate")),
            }
        }
        self.lifetimes.heard(now, client);
        self.record_life(client, ticket);
    }

    fn renewed(&mut self, now: Time, client: ClientId, ticket: Ticket) {
        let was = self.lifetimes.life(client);
        if was.is_some() {
            self.lifetimes.heard(now, client);
        }
        match was {
            None => return self.refuse(ticket, Error::new(Kind::SessionLost, format!("client {client}"))),
            Some(Life::Live) => match self.records.join_life(client, ticket) {
                Joined::Waits => {}
                Joined::None => self.actions.push(Action::Done(ticket)),
                Joined::Full => self.refuse(ticket, too_many("renewals that wait")),
            },
            // The log says that it lapsed, and the next owner would not wait for it: first that must change.
            Some(Life::Lapsed) => self.record_life(client, ticket),
        }
        self.revoke_again(client);
    }

    fn record_life(&mut self, client: ClientId, ticket: Ticket) {
        let id = self.record(Note::Client(client), Purpose::Life(client));
        self.records.begin_life(client, id, ticket);
    }

    /// A push may have been lost with its connection: whoever renews is told again.
    fn revoke_again(&mut self, client: ClientId) {
        let all = (client, FilesetId(0))..=(client, FilesetId(u64::MAX));
        let again = self.revocations.range(all);
        let again = again.map(|(&(client, fileset), serial)| Action::Revoke(client, fileset, *serial));
        self.actions.extend(again);
    }

    fn join(&mut self, client: ClientId, fileset: FilesetId, ticket: Ticket) {
        if !self.lifetimes.is_live(client) {
            return self.refuse(ticket, not_joined(client, fileset));
        }
        let entry = self.filesets.entry(fileset).or_default();
        if let Some(holder) = entry.holders.get(&client).copied()
            && (holder.hold == Hold::Alone || !entry.is_lone(client))
        {
            // Asked again, or by the connection that was lost: the same answer. A revocation beats it.
            self.actions.push(Action::Joined(ticket, holder.hold, holder.serial));
            return self.revoke_again(client);
        }
        let joiner = entry.joiners.entry(client).or_default();
        if joiner.tickets.len() >= PARKED_PER_CLIENT_MAX {
            return self.refuse(ticket, too_many("calls that wait for one hold"));
        }
        joiner.tickets.push(ticket);
        if !self.lifetimes.has_room(client, fileset, HOLDS_PER_CLIENT_MAX) {
            return self.give_up(fileset, client, &too_many("filesets of one client"));
        }
        self.lifetimes.enter(client, fileset);
        self.advance(fileset);
    }

    /// Somebody joined, returned, left or ended: what can be done now.
    fn advance(&mut self, fileset: FilesetId) {
        let Some(entry) = self.filesets.get_mut(&fileset) else {
            return;
        };
        if entry.holders.is_empty() && entry.joiners.is_empty() {
            self.filesets.remove(&fileset);
            return;
        }
        let alone = entry.holders.first_key_value();
        let Some((&client, _)) = alone.filter(|(_, holder)| holder.hold == Hold::Alone) else {
            let waiting = entry.joiners.iter().filter(|(_, joiner)| joiner.record.is_none());
            for client in waiting.map(|(client, _)| *client).collect::<Vec<_>>() {
                let id = self.record(Note::Hold(fileset, client), Purpose::Join(fileset, client));
                self.joiner(fileset, client).record = Some(id);
            }
            return;
        };
        if entry.joiners.is_empty() {
            return;
        }
        if self.lifetimes.is_live(client) {
            self.revoke(client, fileset);
        } else {
            self.end(client, None);
        }
    }

    fn revoke(&mut self, client: ClientId, fileset: FilesetId) {
        if let Entry::Vacant(revocation) = self.revocations.entry((client, fileset)) {
            self.serial += 1;
            revocation.insert(self.serial);
            self.actions.push(Action::Revoke(client, fileset, self.serial));
        }
    }

    /// Whoever is alone gives that back; who is silent has nothing to give.
    fn recall(&mut self) {
        self.is_recalling = true;
        let holders = self.filesets.iter().flat_map(|(fileset, entry)| {
            let alone = entry.holders.iter().filter(|(_, holder)| holder.hold == Hold::Alone);
            alone.map(|(client, _)| (*client, *fileset))
        });
        for (client, fileset) in holders.collect::<Vec<_>>() {
            if self.lifetimes.is_live(client) {
                self.revoke(client, fileset);
            }
        }
    }

    fn joiner(&mut self, fileset: FilesetId, client: ClientId) -> &mut Joiner {
        let entry = self.filesets.entry(fileset).or_default();
        entry.joiners.entry(client).or_default()
    }

    fn returned(&mut self, client: ClientId, fileset: FilesetId, serial: u64) {
        if self.revocations.get(&(client, fileset)) != Some(&serial) {
            return; // an old one, sent again
        }
        self.revocations.remove(&(client, fileset));
        let holders = self.filesets.get_mut(&fileset).map(|entry| &mut entry.holders);
        if let Some(holder) = holders.and_then(|holders| holders.get_mut(&client)) {
            let hold = Hold::Shared;
            *holder = Holder { hold, serial };
        }
        self.advance(fileset);
    }

    fn leave(&mut self, client: ClientId, fileset: FilesetId, ticket: Option<Ticket>) {
        self.remove(client, fileset, &not_joined(client, fileset));
        // Answered when it is durable: else the next owner would wait for somebody who does not come back.
        self.drop_hold(fileset, client, ticket);
        self.advance(fileset);
    }

    /// A client's calls to join a fileset are refused; a hold that it has stays.
    fn give_up(&mut self, fileset: FilesetId, client: ClientId, why: &Error) {
        let Some(entry) = self.filesets.get_mut(&fileset) else {
            return;
        };
        let Some(joiner) = entry.joiners.remove(&client) else {
            return;
        };
        let is_holder = entry.holders.contains_key(&client);
        for ticket in joiner.tickets {
            self.refuse(ticket, why.clone());
        }
        if !is_holder {
            self.lifetimes.exit(client, fileset);
            if joiner.record.is_some() {
                self.drop_hold(fileset, client, None);
            }
        }
        self.advance(fileset);
    }

    /// Whatever a client holds or waits for in a fileset is gone. Says whether the log may know of it.
    fn remove(&mut self, client: ClientId, fileset: FilesetId, why: &Error) -> bool {
        let Some(entry) = self.filesets.get_mut(&fileset) else {
            return false;
        };
        let holder = entry.holders.remove(&client);
        self.revocations.remove(&(client, fileset));
        let joiner = entry.joiners.remove(&client).unwrap_or_default();
        self.lifetimes.exit(client, fileset);
        for ticket in joiner.tickets {
            self.refuse(ticket, why.clone());
        }
        holder.is_some() || joiner.record.is_some()
    }

    fn lapsed(&mut self, client: ClientId) {
        let error = Error::new(Kind::TimedOut, format!("client {client}")).because("it was silent for too long");
        for ticket in self.records.end_life(client, None) {
            self.refuse(ticket, error.clone());
        }
        let filesets = self.lifetimes.filesets(client);
        for &fileset in &filesets {
            self.give_up(fileset, client, &not_joined(client, fileset));
        }
        if self.stands_in_the_way(client, &filesets) {
            return self.end(client, None);
        }
        self.record(Note::Lapsed(client), Purpose::Answer(None));
        self.actions.push(Action::Lapsed(client));
    }

    /// Whether others wait for what this client holds alone.
    fn stands_in_the_way(&self, client: ClientId, filesets: &[FilesetId]) -> bool {
        filesets
            .iter()
            .filter_map(|fileset| self.filesets.get(fileset))
            .any(|entry| {
                let holder = entry.holders.get(&client);
                holder.is_some_and(|holder| holder.hold == Hold::Alone) && !entry.joiners.is_empty()
            })
    }

    fn end(&mut self, client: ClientId, ticket: Option<Ticket>) {
        // First the session: of the two, a hold without a session costs the next owner a wait, a session without
        // holds would let the client say again what others have built upon.
        self.record(Note::End(client), Purpose::Answer(ticket));
        self.forget(client);
    }

    /// A client and all that it holds go.
    fn forget(&mut self, client: ClientId) {
        let error = Error::new(Kind::SessionLost, format!("client {client}"));
        for ticket in self.records.end_life(client, None) {
            self.refuse(ticket, error.clone());
        }
        let filesets = self.lifetimes.filesets(client);
        for &fileset in &filesets {
            if self.remove(client, fileset, &error) {
                self.drop_hold(fileset, client, None);
            }
        }
        self.lifetimes.remove(client);
        for fileset in filesets {
            self.advance(fileset);
        }
    }

    /// The log is told; others get what the client had there once it knows, so that no next owner hears of it twice.
    fn drop_hold(&mut self, fileset: FilesetId, client: ClientId, ticket: Option<Ticket>) {
        let id = self.record(Note::Drop(fileset, client), Purpose::Left(fileset, client, ticket));
        if let Some(entry) = self.filesets.get_mut(&fileset) {
            entry.last_drop = Some(id);
        }
    }

    fn record(&mut self, note: Note, purpose: Purpose) -> RecordId {
        let id = self.records.add(purpose);
        self.actions.push(Action::Record(id, note));
        id
    }

    fn recorded(&mut self, id: RecordId, result: Result<()>) {
        let answered = match self.records.take(id) {
            None => return, // nobody waits for it, or no more
            Some(Purpose::Join(fileset, client)) => return self.join_recorded(id, fileset, client, result),
            Some(Purpose::Life(client)) => self.records.end_life(client, Some(id)),
            Some(Purpose::Answer(ticket)) => Vec::from_iter(ticket),
            Some(Purpose::Left(fileset, client, ticket)) => {
                if result.is_ok() {
                    self.actions.push(Action::Left(client, fileset));
                }
                Vec::from_iter(ticket)
            }
        };
        for ticket in answered {
            self.actions.push(match &result {
                Ok(()) => Action::Done(ticket),
                Err(error) => Action::Refused(ticket, error.clone()),
            });
        }
    }

    fn join_recorded(&mut self, id: RecordId, fileset: FilesetId, client: ClientId, result: Result<()>) {
        let joiners = self.filesets.get_mut(&fileset).map(|entry| &mut entry.joiners);
        let Some(joiner) = joiners.and_then(|joiners| joiners.get(&client)) else {
            return; // it gave up, and perhaps joined again: that has a record of its own
        };
        if joiner.record != Some(id) {
            return;
        }
        if let Err(error) = result {
            return self.give_up(fileset, client, &error);
        }
        let tickets = std::mem::take(&mut self.joiner(fileset, client).tickets);
        let Holder { hold, serial } = self.grant(fileset, client, Some(id));
        for ticket in tickets {
            self.actions.push(Action::Joined(ticket, hold, serial));
        }
        self.advance(fileset);
    }

    /// Gives a hold: alone, if nobody else is there or about to be, also by what the next owner would find: who left
    /// after `record` was asked for may stand in the log still, and would share the fileset with who is alone in it.
    fn grant(&mut self, fileset: FilesetId, client: ClientId, record: Option<RecordId>) -> Holder {
        self.serial += 1;
        let entry = self.filesets.entry(fileset).or_default();
        let hold = if entry.is_lone(client) && entry.last_drop <= record && !self.is_recalling {
            Hold::Alone
        } else {
            Hold::Shared
        };
        entry.joiners.remove(&client);
        let serial = self.serial;
        entry.holders.insert(client, Holder { hold, serial });
        Holder { hold, serial }
    }

    fn refuse(&mut self, ticket: Ticket, error: Error) {
        self.actions.push(Action::Refused(ticket, error));
    }
}

impl Fileset {
    /// Whether nobody but `client` is there or about to be.
    fn is_lone(&self, client: ClientId) -> bool {
        let mut all = self.holders.keys().chain(self.joiners.keys());
        all.all(|other| *other == client)
    }
}

/// What a client is told that must renew and join before it asks anything in `fileset`.
pub(crate) fn not_joined(client: ClientId, fileset: FilesetId) -> Error {
    Error::new(Kind::NotJoined, format!("fileset {fileset}"))
        .because(format!("client {client} takes no part in it"))
        .remedy("renew, join, and ask again")
}

/// What a client is told that asks for more than there is.
pub(crate) fn too_many(what: &str) -> Error {
    Error::new(Kind::Limit, what)
        .because("there are too many")
        .remedy("wait until some are done")
}
