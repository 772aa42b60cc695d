//! Sessions, and the replies they may ask for again: once, and in order (I6).
//!
//! A session's streams are in memory while it lives. Each record of an operation says whose it was and what was
//! answered, so the log rebuilds them; a freeze writes those that changed into the system tree, so a checkpoint holds
//! them like a file. What the client has seen is forgotten: with the next operation of its stream, or, in stream 0,
//! when it says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use baton_types::{Error, FilesetId, Kind, Result};
use bytes::Bytes;
use parking_lot::Mutex;

use crate::engine::{Engine, Patience};
use crate::format::{Key, KeyKind, Lsn, VnodeRange};
use crate::live::LiveTree;
use crate::transaction::{Operation, Reply, SessionId};

/// Replies of stream 0 that a session may leave unacknowledged: operations in flight, no more.
pub const UNSEEN_MAX: usize = 1_024;
/// Streams of a session; all but the first hold one call each.
pub const STREAMS_MAX: u16 = 64;

/// The sessions that were heard of since this owner began.
#[derive(Default)]
pub(crate) struct Sessions {
    table: Mutex<BTreeMap<SessionId, Arc<Mutex<Session>>>>,
}

#[derive(Default)]
struct Session {
    streams: BTreeMap<u16, Stream>,
    /// Vnodes that it was given, as far as it was asked.
    ranges: BTreeMap<FilesetId, Vec<VnodeRange>>,
    is_dirty: bool,
}

#[derive(Default)]
struct Stream {
    /// The last sequence that ran.
    last: u32,
    replies: BTreeMap<u32, Kept>,
    /// Stored replies that the client has seen.
    forgotten: Vec<u32>,
    is_running: bool,
    is_dirty: bool,
}

struct Kept {
    lsn: Lsn,
    result: Bytes,
    /// What came before it and was not durable then.
    after: Vec<(u16, u32)>,
    /// The system tree has it.
    is_stored: bool,
}

/// Whether an operation is to be done.
pub(crate) enum Turn<'a> {
    /// It was done before, and this was the answer.
    Before {
        /// Its place in history; 0 if that is as durable as can be.
        lsn: Lsn,
        /// The first answer.
        reply: Reply,
        /// Changes of its session that came before it and were not durable then.
        after: Vec<(u16, u32)>,
    },
    /// It is the next of its stream.
    Now(Running<'a>),
}

/// An operation that is being done; its stream does no other.
pub(crate) struct Running<'a> {
    session: Option<Arc<Mutex<Session>>>,
    operation: &'a Operation,
}

impl Running<'_> {
    /// Which.
    pub fn operation(&self) -> &Operation {
        self.operation
    }

    /// Whether the vnode that it makes is one of those that its session was given: another one may be given to
    /// somebody else, or is somebody else's already.
    ///
    /// # Errors
    /// `Invalid` if not; `Wait`; damage.
    pub fn may_make(&self, engine: &Engine, fileset: FilesetId, patience: Patience) -> Result<()> {
        let (Some(session), Some(vnode)) = (&self.session, self.operation.vnode) else {
            return Ok(());
        };
        let is_in = |ranges: Option<&Vec<VnodeRange>>| {
            ranges.is_some_and(|ranges| ranges.iter().rev().any(|range| range.contains(vnode)))
        };
        if is_in(session.lock().ranges.get(&fileset)) {
            return Ok(());
        }
        // It may have been given more since it was asked.
        let id = self.operation.session;
        let ranges = engine.attempt(patience, |pinned| {
            let system = engine.system.lock();
            match system
                .view(&engine.nodes, pinned)
                .get(Key::vnode_range(id.0, fileset))?
            {
                Some(bytes) => Ok(VnodeRange::decode_all(&bytes)?),
                None => Ok(Vec::new()),
            }
        })?;
        if !is_in(Some(&ranges)) {
            let reason = format!("vnode {} of fileset {fileset} was not given to it", vnode.number());
            return Err(refused(self.operation, Kind::Invalid, reason));
        }
        session.lock().ranges.insert(fileset, ranges);
        Ok(())
    }

    /// It has its place in history, which the caller still holds: a freeze must not come between record and reply. All
    /// that is durable is so up to `durable`. Returns what came before it: of its own fileset exactly that, because the
    /// caller holds the fileset, too; changes of others have nothing to do with each other.
    pub fn ran(&self, lsn: Lsn, result: Bytes, durable: Lsn) -> Vec<(u16, u32)> {
        match &self.session {
            Some(session) => session.lock().ran(self.operation, (lsn, durable), result),
            None => Vec::new(),
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(session) = &self.session
            && let Some(stream) = session.lock().streams.get_mut(&self.operation.stream)
        {
            stream.is_running = false;
        }
    }
}

impl Session {
    /// An operation ran: its reply is kept until it was seen.
    fn ran(&mut self, operation: &Operation, (lsn, durable): (Lsn, Lsn), result: Bytes) -> Vec<(u16, u32)> {
        self.is_dirty = true;
        let others = self.streams.iter().filter(|(number, _)| **number != operation.stream);
        let last = |(number, stream): (&u16, &Stream)| {
            let (sequence, kept) = stream.replies.last_key_value()?;
            (kept.lsn > durable).then_some((*number, *sequence))
        };
        let after: Vec<(u16, u32)> = others.filter_map(last).collect();
        let stream = self.streams.entry(operation.stream).or_default();
        stream.is_dirty = true;
        stream.last = stream.last.max(operation.sequence);
        let before = operation.sequence.saturating_sub(1);
        let seen = match operation.stream {
            0 => operation.seen.min(before),
            // One call at a time: a new one shows that the one before was answered.
            _ => before,
        };
        let kept = Kept {
            lsn,
            result,
            after: after.clone(),
            is_stored: false,
        };
        stream.replies.insert(operation.sequence, kept);
        stream.forget(seen);
        after
    }
}

impl Stream {
    fn forget(&mut self, seen: u32) {
        while let Some(first) = self.replies.first_entry()
            && *first.key() <= seen
        {
            let (sequence, kept) = first.remove_entry();
            self.forgotten.extend(kept.is_stored.then_some(sequence));
        }
    }
}

fn refused(operation: &Operation, kind: Kind, reason: String) -> Error {
    Error::new(kind, format!("session {}", operation.session.0)).because(reason)
}

impl Sessions {
    /// Whether `operation` is to be done now.
    ///
    /// # Errors
    /// `SessionLost` if there is no such session; `Invalid` for a reply that the client said it had; `Limit` while its
    /// stream is at work, and if too many replies were not seen: it is asked again; `Wait`.
    pub fn begin<'a>(&self, engine: &Engine, operation: &'a Operation, patience: Patience) -> Result<Turn<'a>> {
        if operation.session == SessionId::default() {
            let session = None;
            return Ok(Turn::Now(Running { session, operation }));
        }
        let session = self.find(engine, operation.session, patience)?;
        let mut locked = session.lock();
        if operation.stream >= STREAMS_MAX || operation.sequence == 0 {
            let place = format!(
                "stream {}, sequence {}: none such",
                operation.stream, operation.sequence
            );
            return Err(refused(operation, Kind::Invalid, place));
        }
        let stream = locked.streams.entry(operation.stream).or_default();
        if operation.sequence <= stream.last {
            return match stream.replies.get(&operation.sequence) {
                Some(kept) => Ok(Turn::Before {
                    lsn: kept.lsn,
                    after: kept.after.clone(),
                    reply: Reply::decode(kept.result.clone())?,
                }),
                // It was refused without a record, by an owner that is no more: what it was refused with is not known.
                None if operation.stream == 0 && operation.seen < operation.sequence => {
                    let reason = format!(
                        "{} was not done, and is not done after what came later",
                        operation.sequence
                    );
                    Err(refused(operation, Kind::Io, reason))
                }
                None => {
                    let reason = format!("the reply to {} was seen already", operation.sequence);
                    Err(refused(operation, Kind::Invalid, reason))
                }
            };
        }
        if stream.is_running {
            return Err(refused(
                operation,
                Kind::Limit,
                format!("stream {} is at work", operation.stream),
            ));
        }
        if operation.stream == 0 {
            // Their order is kept by who brings them: one that was refused without a record leaves a gap here.
            if stream.replies.range(operation.seen.saturating_add(1)..).count() >= UNSEEN_MAX {
                let reason = format!("{UNSEEN_MAX} replies were not seen");
                return Err(refused(operation, Kind::Limit, reason).remedy("acknowledge some of them"));
            }
        }
        stream.is_running = true;
        drop(locked);
        let session = Some(session);
        Ok(Turn::Now(Running { session, operation }))
    }

    /// The last sequence of each stream that ran.
    ///
    /// # Errors
    /// `SessionLost`; damage.
    pub fn last(&self, engine: &Engine, id: SessionId) -> Result<Vec<(u16, u32)>> {
        let session = self.find(engine, id, Patience::Wait)?;
        let locked = session.lock();
        let ran = locked.streams.iter().filter(|(_, stream)| stream.last > 0);
        Ok(ran.map(|(number, stream)| (*number, stream.last)).collect())
    }

    fn find(&self, engine: &Engine, id: SessionId, patience: Patience) -> Result<Arc<Mutex<Session>>> {
        if let Some(session) = self.table.lock().get(&id) {
            return Ok(session.clone());
        }
        let loaded = engine.attempt(patience, |pinned| {
            let system = engine.system.lock();
            let view = system.view(&engine.nodes, pinned);
            if view.get(Key::session(id.0))?.is_none() {
                return Ok(None);
            }
            let mut session = Session::default();
            let (first, last) = (
                Key::new(id.0, KeyKind::Stream, 0),
                Key::new(id.0, KeyKind::Reply, u64::MAX),
            );
            for item in view.scan(first, last) {
                let (key, value) = item?;
                session.load(key, value)?;
            }
            Ok(Some(session))
        })?;
        let Some(loaded) = loaded else {
            return Err(Error::new(Kind::SessionLost, format!("session {}", id.0)).because("there is no such session"));
        };
        let mut table = self.table.lock();
        Ok(table.entry(id).or_insert_with(|| Arc::new(Mutex::new(loaded))).clone())
    }

    /// A session is over.
    pub fn ended(&self, id: SessionId) {
        self.table.lock().remove(&id);
    }

    /// What a record of the log says of its session.
    ///
    /// # Errors
    /// As [`Sessions::begin`].
    pub fn replay(&self, engine: &Engine, operation: &Operation, lsn: Lsn, result: Bytes) -> Result<()> {
        if operation.session != SessionId::default() {
            let session = self.find(engine, operation.session, Patience::Wait)?;
            // A slice would keep a whole segment of the log in memory for as long as its client is silent.
            let result = Bytes::copy_from_slice(&result);
            session.lock().ran(operation, (lsn, lsn), result);
        }
        Ok(())
    }

    /// Writes what changed into the system tree's active layer. The caller holds the history alone.
    pub fn freeze(&self, system: &mut LiveTree, lsn: Lsn) {
        for (id, session) in self.table.lock().iter() {
            let mut session = session.lock();
            if !std::mem::take(&mut session.is_dirty) {
                continue;
            }
            for (number, stream) in session.streams.iter_mut().filter(|(_, stream)| stream.is_dirty) {
                stream.is_dirty = false;
                let last = Bytes::copy_from_slice(&stream.last.to_le_bytes());
                system.active.insert(Key::stream(id.0, *number), Some(last), lsn);
                for sequence in stream.forgotten.drain(..) {
                    system.active.insert(Key::reply(id.0, *number, sequence), None, lsn);
                }
                for (sequence, kept) in stream.replies.iter_mut().filter(|(_, kept)| !kept.is_stored) {
                    kept.is_stored = true;
                    let key = Key::reply(id.0, *number, *sequence);
                    system.active.insert(key, Some(kept.result.clone()), lsn);
                }
            }
        }
    }
}

impl Session {
    fn load(&mut self, key: Key, value: Bytes) -> Result<()> {
        let damaged = || Error::new(Kind::Damaged, "system tree").because("a stream's last sequence is no number");
        match key.kind {
            KeyKind::Stream => {
                let number = u16::try_from(key.sub).map_err(|_| damaged())?;
                let last = <[u8; 4]>::try_from(&value[..]).map_err(|_| damaged())?;
                self.streams.entry(number).or_default().last = u32::from_le_bytes(last);
            }
            _ => {
                let number = u16::try_from(key.sub >> 32).map_err(|_| damaged())?;
                let kept = Kept {
                    lsn: Lsn(0),
                    // And here the node that it was found in.
                    result: Bytes::copy_from_slice(&value),
                    after: Vec::new(),
                    is_stored: true,
                };
                let stream = self.streams.entry(number).or_default();
                stream.replies.insert(key.sub as u32, kept);
            }
        }
        Ok(())
    }
}
