//! Sessions and what they sent: an operation is kept until it is durable, and sent again to the next owner.

use std::collections::BTreeMap;

use baton_aggregate::format::{Lsn, VnodeRange};
use baton_aggregate::transaction::{Operation, SessionId};
use baton_types::{FilesetId, Timestamp, Vnode};

use super::actions::Action;
use crate::sim::Seed;

/// Streams of a session: the ordered one, and two of one call each.
const STREAMS: u64 = 3;

/// A client's state at the aggregate.
pub struct Session {
    /// Its number.
    pub id: SessionId,
    /// Where it had all it needs: itself, and vnodes of every fileset.
    pub opened: Lsn,
    vnodes: BTreeMap<FilesetId, VnodeRange>,
    streams: BTreeMap<u16, Vec<Sent>>,
}

/// An operation that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Where.
    pub fileset: FilesetId,
    /// Whose, and what a replay repeats.
    pub operation: Operation,
    /// What.
    pub action: Action,
    /// Its place, once it was answered.
    pub lsn: Option<Lsn>,
}

impl Session {
    /// A session that has sent nothing.
    pub fn new(id: SessionId, opened: Lsn, vnodes: BTreeMap<FilesetId, VnodeRange>) -> Session {
        Session {
            id,
            opened,
            vnodes,
            streams: BTreeMap::new(),
        }
    }

    /// The next operation: the one that was not answered, or this one.
    pub fn next(&mut self, seed: &mut Seed, durable: Lsn, (fileset, action): (FilesetId, Action)) -> Sent {
        let number = seed.below(STREAMS) as u16;
        let stream = self.streams.entry(number).or_default();
        if let Some(open) = stream.iter().find(|sent| sent.lsn.is_none()) {
            return open.clone();
        }
        let sequence = stream.len() as u32 + 1;
        let seen = stream
            .iter()
            .take_while(|sent| sent.lsn.is_some_and(|lsn| lsn <= durable))
            .count();
        let operation = Operation {
            session: self.id,
            stream: number,
            sequence,
            seen: seen as u32,
            vnode: name(self.vnodes.get(&fileset), number, sequence),
            unique: u64::from(sequence),
            time: Timestamp(i64::from(sequence)),
            uid: 1,
            gid: 1,
        };
        let sent = Sent {
            fileset,
            operation,
            action,
            lsn: None,
        };
        stream.push(sent.clone());
        sent
    }

    /// One that was sent before, if any.
    pub fn earlier(&self, seed: &mut Seed) -> Option<Sent> {
        let sent: Vec<_> = self
            .streams
            .values()
            .flatten()
            .filter(|sent| sent.lsn.is_some())
            .collect();
        (!sent.is_empty()).then(|| (*seed.pick(&sent)).clone())
    }

    /// It was answered.
    pub fn answered(&mut self, operation: &Operation, lsn: Lsn) {
        let stream = self.streams.entry(operation.stream).or_default();
        stream[operation.sequence as usize - 1].lsn = Some(lsn);
    }

    /// The operations to send again, in the order of their streams; what came after `last` was not answered.
    pub fn undurable(&mut self, told: Lsn, last: Lsn) -> Vec<Sent> {
        let mut again = Vec::new();
        for sent in self.streams.values_mut().flatten() {
            if sent.lsn.is_none_or(|lsn| lsn > told) {
                again.push(sent.clone());
            }
            sent.lsn = sent.lsn.filter(|lsn| *lsn <= last);
        }
        again
    }

    /// True if its client has the reply and said so: with its next operation, or by `seen`.
    pub fn is_seen(&self, operation: &Operation) -> bool {
        let later = &self.streams[&operation.stream][operation.sequence as usize..];
        later
            .iter()
            .any(|later| operation.stream > 0 || later.operation.seen >= operation.sequence)
    }
}

/// A name for whatever an operation makes, that no other operation of a usual history has: each stream has its share of
/// what the session was given.
fn name(range: Option<&VnodeRange>, stream: u16, sequence: u32) -> Option<Vnode> {
    let range = range?;
    let share = u64::from(range.count) / STREAMS;
    let index = u64::from(stream) * share + u64::from(sequence) % share;
    Vnode::new(range.first.number() + index).ok()
}
