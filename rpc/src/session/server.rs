//! The server's side: what may come on a connection, and which changes run.
//!
//! Two values, because they are owned by two: a [`Connection`] by whoever reads it, [`Changes`] by the server as a whole,
//! since a call may come again on another connection. Both know no socket, no thread and no store.

use std::collections::BTreeMap;

use baton_types::call::{Request, Role};
use baton_types::limits::{FRAME_META_BYTES_MAX, FRAME_PAYLOAD_BYTES_MAX};
use baton_types::{Epoch, Error, FrameHeader, FrameKind, Kind, Result};

/// Calls of one connection under way: a thread has one, the ordered stream hundreds.
pub const CALLS_MAX: usize = 1_024;
/// Bytes that the calls of one connection and their answers may take (SECURITY D10).
pub const BYTES_MAX: usize = 16 << 20;
/// Changes of an ordered stream that came before their turn.
const HELD_MAX: usize = 1_024;
/// What an answer takes besides its bulk.
const ANSWER_BYTES: usize = 4 << 10;

/// One connection, as far as rules are concerned.
#[derive(Debug, Default)]
pub struct Connection {
    role: Option<Role>,
    calls: usize,
    bytes: usize,
}

impl Connection {
    /// The client said its first words.
    pub fn greeted(&mut self, role: Role) {
        self.role = Some(role);
    }

    /// What it is for, once that was said.
    pub fn role(&self) -> Option<Role> {
        self.role
    }

    /// Judges a frame by its header.
    ///
    /// # Errors
    /// What makes the connection useless: something other than a call, or a call before the first words.
    pub fn admit(&self, header: &FrameHeader) -> Result<()> {
        let refused = |reason: &str| Err(Error::new(Kind::Invalid, "frame").because(reason));
        match (header.kind, self.role, header.op) {
            (FrameKind::Call, None, 0) => Ok(()),
            (FrameKind::Call, None, _) => refused("a call before the first words"),
            (FrameKind::Call, Some(_), 0) => refused("first words said twice"),
            (FrameKind::Call, Some(_), _) => Ok(()),
            (FrameKind::Reply | FrameKind::Push, ..) => refused("clients send calls, and nothing else"),
        }
    }

    /// A call begins that may take so much, as [`cost`] says.
    pub fn begin(&mut self, cost: usize) {
        self.calls += 1;
        self.bytes += cost;
    }

    /// It ended: its answer was written.
    pub fn end(&mut self, cost: usize) {
        self.calls -= 1;
        self.bytes -= cost;
    }

    /// Bytes that calls under way and their answers may take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// No call is under way.
    pub fn is_idle(&self) -> bool {
        self.calls == 0
    }

    /// Whether one more frame may be read. One call is always let in, whatever it takes.
    pub fn may_read(&self) -> bool {
        self.calls == 0 || (self.calls < CALLS_MAX && self.bytes < BYTES_MAX)
    }
}

/// Bytes that a call and its answer take until that is written.
pub fn cost(request: &Request, payload: usize) -> usize {
    let answer = match request {
        Request::Read { len, .. } => (*len).min(FRAME_PAYLOAD_BYTES_MAX) as usize,
        Request::Readdir { bytes, .. } => (*bytes).min(FRAME_META_BYTES_MAX) as usize,
        _ => 0,
    };
    payload + answer + ANSWER_BYTES
}

/// Whose changes: a session under one epoch.
pub type Session = (u64, Epoch);

/// The changes that run or wait for their turn; `W` is who waits for an answer, `C` a call.
#[derive(Debug)]
pub struct Changes<W, C> {
    sessions: BTreeMap<Session, Streams<W, C>>,
}

#[derive(Debug)]
struct Streams<W, C> {
    /// Under way or held, by stream and sequence, with all who asked for it.
    open: BTreeMap<(u16, u32), Vec<W>>,
    /// Of the ordered stream: the sequence whose turn it is, unless one runs.
    next: u32,
    held: BTreeMap<u32, C>,
    /// Of the ordered stream, the one that runs in its turn. No other begins meanwhile: this one may have its place in
    /// history, be counted in the answer to a `Bind` or seen by its client, and not be over yet.
    running: Option<u32>,
    /// Of the ordered stream: refusals that have no place in history, until they were seen.
    refused: BTreeMap<u32, Error>,
    is_gone: bool,
}

/// What to do with a change that arrived.
#[derive(Debug)]
pub enum Arrived<W, C> {
    /// Run it.
    Run(C),
    /// It runs already, or it is not its turn: who asked hears of it in time.
    Waits,
    /// It was refused before.
    Refused(W, Error),
}

/// How a change ended.
#[derive(Debug)]
pub enum Ended<'a> {
    /// It has its place in history, as done or as refused.
    Recorded,
    /// It was refused, and nothing of it is left.
    Refused(&'a Error),
}

impl<W, C> Default for Changes<W, C> {
    fn default() -> Changes<W, C> {
        let sessions = BTreeMap::new();
        Changes { sessions }
    }
}

impl<W, C> Changes<W, C> {
    /// A client took its session up; `last` is the last of its ordered stream that ran. Returns the one whose turn it is
    /// by that.
    pub fn bound(&mut self, session: Session, last: u32) -> Option<C> {
        let (number, epoch) = session;
        self.sessions
            .retain(|(other, old), _| *other != number || *old >= epoch);
        let streams = self.sessions.entry(session).or_insert_with(|| Streams {
            open: BTreeMap::new(),
            next: 1,
            held: BTreeMap::new(),
            running: None,
            refused: BTreeMap::new(),
            is_gone: false,
        });
        streams.is_gone = false;
        streams.next = streams.next.max(last.saturating_add(1));
        streams.due()
    }

    /// The client of a session has no connection any more: nobody waits for what it asked.
    pub fn gone(&mut self, session: Session) {
        if let Some(streams) = self.sessions.get_mut(&session) {
            let held = std::mem::take(&mut streams.held);
            let runs = |(stream, sequence): &(u16, u32)| *stream != 0 || !held.contains_key(sequence);
            streams.open.retain(|name, _| runs(name));
            // What runs goes on: if it is asked for again, it is not run twice.
            streams.open.values_mut().for_each(Vec::clear);
            if streams.open.is_empty() {
                self.sessions.remove(&session);
            } else {
                streams.is_gone = true;
            }
        }
    }

    /// The client of a session has the replies of the ordered stream up to `seen`, whoever gave them: a change whose
    /// caller could not log in never came here. Returns the one whose turn it is by that.
    pub fn seen(&mut self, session: Session, seen: u32) -> Option<C> {
        let streams = self.sessions.get_mut(&session)?;
        let next = seen.saturating_add(1);
        streams.refused = streams.refused.split_off(&next);
        streams.next = streams.next.max(next);
        streams.due()
    }

    /// A change arrived from a session that is bound.
    pub fn arrived(&mut self, session: Session, name: (u16, u32), waiter: W, call: C) -> Arrived<W, C> {
        let Some(streams) = self.sessions.get_mut(&session) else {
            let error = Error::new(Kind::WrongEpoch, format!("session {}", session.0));
            return Arrived::Refused(waiter, error.because("it is not bound"));
        };
        let (stream, sequence) = name;
        if let Some(waiters) = streams.open.get_mut(&name) {
            waiters.push(waiter);
            return Arrived::Waits;
        }
        if stream == 0 {
            if let Some(error) = streams.refused.get(&sequence) {
                return Arrived::Refused(waiter, error.clone());
            }
            if sequence > streams.next || (sequence == streams.next && streams.running.is_some()) {
                if streams.held.len() >= HELD_MAX {
                    let error = Error::new(Kind::Limit, format!("session {}", session.0));
                    let reason = format!("{HELD_MAX} changes came before their turn");
                    return Arrived::Refused(waiter, error.because(reason));
                }
                streams.open.insert(name, vec![waiter]);
                streams.held.insert(sequence, call);
                return Arrived::Waits;
            }
            // One from before its turn was answered once, and is answered the same.
            if sequence == streams.next {
                streams.running = Some(sequence);
            }
        }
        streams.open.insert(name, vec![waiter]);
        Arrived::Run(call)
    }

    /// A change ended. Returns all who asked for it, and the one whose turn it is now.
    pub fn ended(&mut self, session: Session, name: (u16, u32), ended: &Ended<'_>) -> (Vec<W>, Option<C>) {
        let Some(streams) = self.sessions.get_mut(&session) else {
            return (Vec::new(), None);
        };
        let waiters = streams.open.remove(&name).unwrap_or_default();
        if streams.is_gone && streams.open.is_empty() {
            self.sessions.remove(&session);
            return (waiters, None);
        }
        let (stream, sequence) = name;
        if stream == 0 && streams.running == Some(sequence) {
            streams.running = None;
        }
        if stream == 0 && sequence == streams.next {
            match ended {
                Ended::Recorded => streams.next += 1,
                // It will be asked for again, and what follows it waits for that.
                Ended::Refused(error) if error.kind.is_internal() => {}
                Ended::Refused(error) => {
                    streams.refused.insert(sequence, (*error).clone());
                    streams.next += 1;
                }
            }
        }
        (waiters, streams.due())
    }
}

impl<W, C> Streams<W, C> {
    /// Of the ordered stream, the first that was held and need not wait any more: it runs from here on.
    fn due(&mut self) -> Option<C> {
        let first = self.held.first_entry().filter(|first| *first.key() <= self.next)?;
        if self.running.is_some() {
            return None;
        }
        let (sequence, call) = first.remove_entry();
        self.running = Some(sequence);
        Some(call)
    }
}

#[cfg(test)]
mod tests {
    use baton_types::{Fid, FilesetId, Vnode};

    use super::*;

    const SESSION: Session = (77, Epoch(5));

    fn changes(last: u32) -> Changes<&'static str, u32> {
        let mut changes = Changes::default();
        assert!(changes.bound(SESSION, last).is_none());
        changes
    }

    fn arrive(changes: &mut Changes<&'static str, u32>, name: (u16, u32), who: &'static str) -> &'static str {
        match changes.arrived(SESSION, name, who, name.1) {
            Arrived::Run(_) => "run",
            Arrived::Waits => "waits",
            Arrived::Refused(..) => "refused",
        }
    }

    #[test]
    fn a_duplicate_of_a_running_change_hears_of_the_first() {
        let mut changes = changes(0);
        assert_eq!(arrive(&mut changes, (3, 1), "first"), "run");
        assert_eq!(arrive(&mut changes, (3, 1), "again"), "waits");
        assert_eq!(arrive(&mut changes, (4, 1), "other"), "run");
        let (told, next) = changes.ended(SESSION, (3, 1), &Ended::Recorded);
        assert_eq!((told, next), (vec!["first", "again"], None));
        assert_eq!(
            arrive(&mut changes, (3, 1), "late"),
            "run",
            "the store has its first answer"
        );
    }

    #[test]
    fn the_ordered_stream_runs_in_order_whatever_the_connections_do() {
        let mut changes = changes(4);
        assert_eq!(arrive(&mut changes, (0, 7), "c"), "waits");
        assert_eq!(arrive(&mut changes, (0, 6), "b"), "waits");
        assert_eq!(arrive(&mut changes, (0, 5), "a"), "run");
        assert_eq!(changes.ended(SESSION, (0, 5), &Ended::Recorded), (vec!["a"], Some(6)));
        assert_eq!(changes.ended(SESSION, (0, 6), &Ended::Recorded), (vec!["b"], Some(7)));
        assert_eq!(changes.ended(SESSION, (0, 7), &Ended::Recorded), (vec!["c"], None));
    }

    #[test]
    fn a_refusal_without_a_place_takes_its_turn_and_is_repeated() {
        let mut changes = changes(0);
        assert_eq!(arrive(&mut changes, (0, 1), "a"), "run");
        assert_eq!(arrive(&mut changes, (0, 2), "b"), "waits");
        let denied = Error::new(Kind::Denied, "file");
        assert_eq!(
            changes.ended(SESSION, (0, 1), &Ended::Refused(&denied)),
            (vec!["a"], Some(2))
        );
        assert_eq!(arrive(&mut changes, (0, 1), "a again"), "refused");
        assert_eq!(changes.ended(SESSION, (0, 2), &Ended::Recorded), (vec!["b"], None));
        assert_eq!(changes.seen(SESSION, 3), None);
        assert_eq!(arrive(&mut changes, (0, 4), "d"), "run", "what was seen needs no turn");
    }

    #[test]
    fn what_was_refused_elsewhere_holds_nobody_up() {
        let mut changes = changes(0);
        assert_eq!(arrive(&mut changes, (0, 2), "b"), "waits");
        assert_eq!(arrive(&mut changes, (0, 3), "c"), "waits");
        assert_eq!(changes.seen(SESSION, 1), Some(2));
        assert_eq!(changes.seen(SESSION, 1), None, "once");
        assert_eq!(changes.ended(SESSION, (0, 2), &Ended::Recorded), (vec!["b"], Some(3)));
    }

    #[test]
    fn a_connection_that_is_bound_while_a_change_ends_neither_holds_up_nor_hurries_what_follows() {
        // Its place is in the store, and whoever runs it has not said so yet: the answer to `Bind` counts it.
        for how in ["bound", "seen"] {
            let mut changes = changes(4);
            assert_eq!(arrive(&mut changes, (0, 5), "a"), "run");
            assert_eq!(arrive(&mut changes, (0, 6), "b"), "waits");
            assert_eq!(arrive(&mut changes, (0, 7), "c"), "waits");
            let due = match how {
                "bound" => changes.bound(SESSION, 5),
                _ => changes.seen(SESSION, 5),
            };
            assert_eq!(due, None, "{how}: one runs");
            assert_eq!(changes.ended(SESSION, (0, 5), &Ended::Recorded), (vec!["a"], Some(6)));
            assert_eq!(changes.ended(SESSION, (0, 6), &Ended::Recorded), (vec!["b"], Some(7)));
        }
    }

    #[test]
    fn what_comes_in_its_turn_waits_for_one_that_is_not_over() {
        let mut changes = changes(4);
        assert_eq!(arrive(&mut changes, (0, 5), "a"), "run");
        assert_eq!(changes.bound(SESSION, 5), None);
        assert_eq!(arrive(&mut changes, (0, 6), "b"), "waits");
        assert_eq!(changes.ended(SESSION, (0, 5), &Ended::Recorded), (vec!["a"], Some(6)));
    }

    #[test]
    fn what_was_done_before_is_answered_at_once() {
        let mut changes = changes(4);
        assert_eq!(arrive(&mut changes, (0, 5), "a"), "run");
        assert_eq!(arrive(&mut changes, (0, 4), "the store has its answer"), "run");
        assert_eq!(arrive(&mut changes, (0, 6), "b"), "waits");
        let (_, due) = changes.ended(SESSION, (0, 4), &Ended::Recorded);
        assert_eq!(due, None);
        assert_eq!(changes.ended(SESSION, (0, 5), &Ended::Recorded), (vec!["a"], Some(6)));
    }

    #[test]
    fn what_was_seen_to_be_done_is_run_one_after_the_other() {
        let mut changes = changes(0);
        assert_eq!(arrive(&mut changes, (0, 3), "c"), "waits");
        assert_eq!(arrive(&mut changes, (0, 4), "d"), "waits");
        assert_eq!(changes.bound(SESSION, 4), Some(3));
        assert_eq!(changes.ended(SESSION, (0, 3), &Ended::Recorded), (vec!["c"], Some(4)));
        assert_eq!(changes.ended(SESSION, (0, 4), &Ended::Recorded), (vec!["d"], None));
    }

    #[test]
    fn a_change_that_is_to_be_asked_again_keeps_its_turn() {
        let mut changes = changes(0);
        assert_eq!(arrive(&mut changes, (0, 1), "a"), "run");
        assert_eq!(arrive(&mut changes, (0, 2), "b"), "waits");
        let grace = Error::new(Kind::Grace, "fileset");
        assert_eq!(
            changes.ended(SESSION, (0, 1), &Ended::Refused(&grace)),
            (vec!["a"], None)
        );
        assert_eq!(arrive(&mut changes, (0, 1), "a again"), "run");
        assert_eq!(
            changes.ended(SESSION, (0, 1), &Ended::Recorded),
            (vec!["a again"], Some(2))
        );
    }

    #[test]
    fn what_runs_for_a_client_that_went_away_is_not_run_twice() {
        let mut changes = changes(0);
        assert_eq!(arrive(&mut changes, (0, 1), "a"), "run");
        assert_eq!(arrive(&mut changes, (0, 2), "b"), "waits");
        changes.gone(SESSION);
        changes.bound(SESSION, 0);
        assert_eq!(arrive(&mut changes, (0, 1), "a again"), "waits");
        assert_eq!(arrive(&mut changes, (0, 2), "b again"), "waits");
        let ended = changes.ended(SESSION, (0, 1), &Ended::Recorded);
        assert_eq!(ended, (vec!["a again"], Some(2)));
    }

    #[test]
    fn a_session_that_is_not_bound_changes_nothing() {
        let mut changes = changes(0);
        changes.bound((77, Epoch(6)), 0);
        assert_eq!(arrive(&mut changes, (1, 1), "old epoch"), "refused");
    }

    #[test]
    fn calls_come_after_the_first_words_and_nothing_else_comes() {
        let mut connection = Connection::default();
        let header = |kind, op| FrameHeader {
            meta_len: 0,
            payload_len: 0,
            session: 0,
            op,
            kind,
            flags: 0,
            caller: 0,
            stream: 0,
            sequence: 0,
        };
        assert!(connection.admit(&header(FrameKind::Call, 17)).is_err());
        assert!(connection.admit(&header(FrameKind::Call, 0)).is_ok());
        connection.greeted(Role::Call);
        assert!(connection.admit(&header(FrameKind::Call, 17)).is_ok());
        assert!(connection.admit(&header(FrameKind::Call, 0)).is_err());
        assert!(connection.admit(&header(FrameKind::Reply, 17)).is_err());
        assert!(connection.admit(&header(FrameKind::Push, 1)).is_err());
    }

    #[test]
    fn a_reader_that_takes_nothing_is_read_no_further() {
        let mut connection = Connection::default();
        let fid = Fid {
            fileset: FilesetId(1),
            vnode: Vnode::ROOT,
            unique: 1,
        };
        let (offset, len) = (0, u32::MAX);
        let read = cost(&Request::Read { fid, offset, len }, 0);
        let mut begun = 0;
        while connection.may_read() {
            connection.begin(read);
            begun += 1;
        }
        assert_eq!(begun, 16);
        connection.end(read);
        assert!(connection.may_read());
    }
}
