//! Pushes: what clients are told unasked, each on the push connection of its session.
//!
//! A push belongs to an epoch, and goes only to a connection that was bound under it: a mark of a new epoch would
//! make a client forget what only the old one knew. A revocation is kept until it is settled, and told again to each
//! new push connection: clients take the same one twice. Of marks only the newest waits to be told.

use std::collections::BTreeMap;

use baton_types::call::Push;
use baton_types::{AggregateId, ClientId, Epoch, FilesetId};
use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedSender;

use crate::service::Bound;

/// Something for the writer of a push connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// To be told.
    Push(Push),
    /// A newer mark is there: [`Pushes::mark`] has it.
    Mark(Line),
}

/// Which session's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    client: ClientId,
    aggregate: AggregateId,
    epoch: Epoch,
}

/// The push connections of all clients, and what is to be told on them.
#[derive(Debug, Default)]
pub struct Pushes {
    table: Mutex<BTreeMap<(ClientId, AggregateId), Entry>>,
}

#[derive(Debug)]
struct Entry {
    epoch: Epoch,
    to: Option<UnboundedSender<Outgoing>>,
    revocations: BTreeMap<FilesetId, u64>,
    mark: u64,
    is_mark_waiting: bool,
}

impl Entry {
    fn under(epoch: Epoch) -> Entry {
        Entry {
            epoch,
            to: None,
            revocations: BTreeMap::new(),
            mark: 0,
            is_mark_waiting: false,
        }
    }

    fn tell(&mut self, outgoing: Outgoing) {
        // A connection that is gone takes nothing; its successor is told what counts.
        if self.to.as_ref().is_some_and(|to| to.send(outgoing).is_err()) {
            self.to = None;
        }
    }
}

impl Pushes {
    /// Tells `client` something about the aggregate that `from` names, on behalf of its owner under that epoch.
    pub fn send(&self, client: ClientId, from: Bound, push: Push) {
        let mut table = self.table.lock();
        let key = (client, from.aggregate);
        let entry = table.entry(key).or_insert_with(|| Entry::under(from.epoch));
        if entry.epoch > from.epoch {
            return;
        }
        if entry.epoch < from.epoch {
            *entry = Entry::under(from.epoch);
        }
        match push {
            Push::Revoke { fileset, serial } => {
                let last = entry.revocations.entry(fileset).or_insert(0);
                *last = serial.max(*last);
                entry.tell(Outgoing::Push(push));
            }
            Push::Durable { durable, .. } => {
                entry.mark = entry.mark.max(durable);
                if entry.to.is_some() && !entry.is_mark_waiting {
                    entry.is_mark_waiting = true;
                    entry.tell(Outgoing::Mark(Line {
                        client,
                        aggregate: from.aggregate,
                        epoch: from.epoch,
                    }));
                }
            }
            Push::Moved { .. } => entry.tell(Outgoing::Push(push)),
        }
    }

    /// `client` has a push connection that is bound so: what is told goes `to` its writer from now on.
    pub fn bound(&self, client: ClientId, bound: Bound, to: UnboundedSender<Outgoing>) {
        let mut table = self.table.lock();
        let key = (client, bound.aggregate);
        let entry = table.entry(key).or_insert_with(|| Entry::under(bound.epoch));
        if entry.epoch > bound.epoch {
            return;
        }
        if entry.epoch < bound.epoch {
            *entry = Entry::under(bound.epoch);
        }
        (entry.to, entry.is_mark_waiting) = (Some(to), false);
        for (fileset, serial) in entry.revocations.clone() {
            entry.tell(Outgoing::Push(Push::Revoke { fileset, serial }));
        }
    }

    /// Whether `client` can be told anything on behalf of that owner.
    pub fn reaches(&self, client: ClientId, from: Bound) -> bool {
        let table = self.table.lock();
        let entry = table
            .get(&(client, from.aggregate))
            .filter(|entry| entry.epoch == from.epoch);
        entry
            .and_then(|entry| entry.to.as_ref())
            .is_some_and(|to| !to.is_closed())
    }

    /// The newest mark of a line; `None` if it is of an epoch that is over.
    pub fn mark(&self, line: Line) -> Option<Push> {
        let mut table = self.table.lock();
        let entry = table.get_mut(&(line.client, line.aggregate))?;
        if entry.epoch != line.epoch {
            return None;
        }
        entry.is_mark_waiting = false;
        Some(Push::Durable {
            aggregate: line.aggregate,
            durable: entry.mark,
        })
    }

    /// `client` gave a hold back, or has it no more: the revocation with this serial and those before are settled.
    pub fn settled(&self, client: ClientId, aggregate: AggregateId, fileset: FilesetId, serial: u64) {
        if let Some(entry) = self.table.lock().get_mut(&(client, aggregate)) {
            entry.revocations.retain(|id, last| *id != fileset || *last > serial);
        }
    }

    /// The last connection of `client` is closed. What is not settled is told when it comes back.
    pub fn gone(&self, client: ClientId) {
        self.table.lock().retain(|(other, _), entry| {
            if *other == client {
                entry.to = None;
            }
            *other != client || !entry.revocations.is_empty()
        });
    }

    /// The aggregate is served here no more: nothing is left to be told about it.
    pub fn forget(&self, from: Bound) {
        self.table
            .lock()
            .retain(|(_, aggregate), entry| *aggregate != from.aggregate || entry.epoch > from.epoch);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;

    fn bound(aggregate: AggregateId, epoch: u64) -> Bound {
        let epoch = Epoch(epoch);
        Bound { aggregate, epoch }
    }

    fn told(from: &mut UnboundedReceiver<Outgoing>, pushes: &Pushes) -> Vec<Push> {
        let mut told = Vec::new();
        while let Ok(outgoing) = from.try_recv() {
            match outgoing {
                Outgoing::Push(push) => told.push(push),
                Outgoing::Mark(line) => told.extend(pushes.mark(line)),
            }
        }
        told
    }

    #[test]
    fn a_revocation_is_told_to_each_connection_until_it_is_settled() {
        let (pushes, client, aggregate) = (Pushes::default(), ClientId::random(), AggregateId::random());
        let (fileset, serial) = (FilesetId(4), 7);
        let revoke = Push::Revoke { fileset, serial };
        pushes.send(client, bound(aggregate, 1), revoke);
        for _ in 0..2 {
            let (to, mut from) = unbounded_channel();
            pushes.bound(client, bound(aggregate, 1), to);
            assert_eq!(told(&mut from, &pushes), [revoke]);
            pushes.gone(client);
        }
        pushes.settled(client, aggregate, fileset, serial - 1);
        let (to, mut from) = unbounded_channel();
        pushes.bound(client, bound(aggregate, 1), to);
        assert_eq!(told(&mut from, &pushes), [revoke]);
        pushes.settled(client, aggregate, fileset, serial);
        let (to, mut from) = unbounded_channel();
        pushes.bound(client, bound(aggregate, 1), to);
        assert_eq!(told(&mut from, &pushes), []);
    }

    #[test]
    fn many_marks_are_one_and_none_crosses_an_epoch() {
        let (pushes, client, aggregate) = (Pushes::default(), ClientId::random(), AggregateId::random());
        let (to, mut from) = unbounded_channel();
        pushes.bound(client, bound(aggregate, 1), to);
        let durable = |durable| Push::Durable { aggregate, durable };
        for mark in [10, 12, 11] {
            pushes.send(client, bound(aggregate, 1), durable(mark));
        }
        assert_eq!(told(&mut from, &pushes), [durable(12)]);
        pushes.send(client, bound(aggregate, 1), durable(13));
        pushes.send(client, bound(aggregate, 2), durable(20));
        assert_eq!(told(&mut from, &pushes), [], "it is bound under the epoch before");
        let (to, mut from) = unbounded_channel();
        pushes.bound(client, bound(aggregate, 2), to);
        pushes.send(client, bound(aggregate, 1), durable(14));
        pushes.send(client, bound(aggregate, 2), durable(21));
        assert_eq!(told(&mut from, &pushes), [durable(21)]);
    }
}
