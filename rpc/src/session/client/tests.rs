//! The client core by hand: what it sends, in which order, and what it believes.

use std::collections::VecDeque;

use baton_types::call::{Answer, At, Hold, Keep, Lock, LockKind, Patience};
use baton_types::file::{Attributes, FileKind, Object, Place};
use baton_types::{Fid, FileName, Vnode};
use bytes::Bytes;

use super::*;

/// A client core and what it asked for, with short ways to answer.
struct Rig {
    client: Client,
    now: Time,
    actions: VecDeque<Action>,
}

const EPOCH: Epoch = Epoch(5);
const FILESET: FilesetId = FilesetId(4);

fn rig() -> Rig {
    Rig {
        client: Client::new(AggregateId::random()),
        now: 1_000_000,
        actions: VecDeque::new(),
    }
}

fn fid(number: u64) -> Fid {
    Fid {
        fileset: FILESET,
        vnode: Vnode::new(number).unwrap(),
        unique: 9,
    }
}

fn write(offset: u64) -> Request {
    Request::Write {
        fid: fid(2),
        at: At::Offset(offset),
        time: Timestamp(1),
    }
}

fn unlink(name: &str) -> Request {
    Request::Unlink {
        place: Place {
            directory: fid(1),
            name: FileName::parse(name.as_bytes()).unwrap(),
        },
        keep: Keep::Closed,
        time: Timestamp(1),
    }
}

fn object() -> Object {
    Object {
        fid: fid(2),
        attributes: Attributes {
            kind: FileKind::Regular,
            mode: 0o644,
            uid: 1,
            gid: 1,
            links: 1,
            size: 0,
            blocks: 0,
            data_version: 1,
            accessed: Timestamp(0),
            modified: Timestamp(0),
            changed: Timestamp(0),
            created: Timestamp(0),
            parent: None,
            device: 0,
            acl: 0,
        },
    }
}

fn changed(lsn: u64, durable: u64) -> Outcome {
    changed_after(lsn, durable, &[])
}

fn changed_after(lsn: u64, durable: u64, after: &[(u16, u32)]) -> Outcome {
    let changed = Answer::Changed {
        object: object(),
        lsn,
        durable,
        after: after.to_vec(),
    };
    Ok((changed, Bytes::new()))
}

fn joined() -> Outcome {
    let (hold, serial, root) = (Hold::Alone, 3, object());
    Ok((Answer::Joined { hold, serial, root }, Bytes::new()))
}

fn done() -> Outcome {
    Ok((Answer::Done, Bytes::new()))
}

fn refused(kind: Kind) -> Outcome {
    Err(Error::new(kind, "test").into())
}

impl Rig {
    fn step(&mut self, event: Event) {
        self.now += 10;
        let actions = self.client.step(self.now, event);
        self.actions.extend(actions);
    }

    fn ask(&mut self, call: CallNumber, request: Request, order: Order) {
        self.step(Event::Asked(Asked {
            call,
            caller: 1,
            request,
            payload: Bytes::from_static(b"payload"),
            order,
        }));
    }

    /// The next action of a kind; those before it are passed over.
    fn next<T>(&mut self, want: impl Fn(&Action) -> Option<T>) -> T {
        while let Some(action) = self.actions.pop_front() {
            if let Some(found) = want(&action) {
                return found;
            }
        }
        panic!("it did not ask for that");
    }

    fn sent(&mut self) -> Sent {
        self.next(|action| match action {
            Action::Send(sent) => Some(sent.clone()),
            _ => None,
        })
    }

    /// What was sent and not taken yet.
    fn all_sent(&mut self) -> Vec<Sent> {
        let actions = std::mem::take(&mut self.actions);
        let sent = |action| match action {
            Action::Send(sent) => Some(sent),
            _ => None,
        };
        actions.into_iter().filter_map(sent).collect()
    }

    fn told(&mut self) -> (CallNumber, Result<(Answer, Bytes), Error>) {
        self.next(|action| match action {
            Action::Done { call, result } => Some((*call, result.clone())),
            _ => None,
        })
    }

    /// The connection for calls that was dialled next.
    fn dialled(&mut self) -> ConnectionId {
        self.next(|action| match action {
            Action::Dial { connection, role } if *role == Role::Call => Some(*connection),
            _ => None,
        })
    }

    fn answer(&mut self, sent: &Sent, outcome: Outcome) {
        self.step(Event::Received {
            connection: sent.connection,
            stream: sent.stream,
            sequence: sent.sequence,
            outcome,
        });
    }

    /// Opens the connection that is dialled next and answers its Bind.
    fn bind(&mut self, epoch: Epoch, streams: Vec<(u16, u32)>) -> ConnectionId {
        let connection = self.dialled();
        self.step(Event::Opened { connection, epoch });
        let bind = self.sent();
        assert!(matches!(bind.request, Request::Bind { .. }), "{bind:?}");
        let (date, durable) = (Timestamp(0), 0);
        let bound = Answer::Bound {
            session: 77,
            epoch,
            streams,
            date,
            durable,
        };
        self.answer(&bind, Ok((bound, Bytes::new())));
        connection
    }

    fn renewed(&mut self) {
        let renew = self.sent();
        assert_eq!(renew.request, Request::Renew);
        let (date, durable) = (Timestamp(50), 0);
        self.answer(&renew, Ok((Answer::Renewed { date, durable }, Bytes::new())));
    }

    fn start(&mut self) -> ConnectionId {
        self.bind(EPOCH, Vec::new())
    }
}

#[test]
fn a_call_waits_for_the_session_and_the_client_says_that_it_lives() {
    let mut rig = rig();
    rig.ask(1, Request::Getattr { fid: fid(2) }, Order::Free);
    rig.start();
    assert!(
        rig.client.alive_until() > rig.now,
        "an answered Bind is an answered Renew"
    );
    let getattr = rig.sent();
    assert_eq!((getattr.sequence, getattr.caller, getattr.session), (0, 1, 77));
    rig.answer(&getattr, Ok((Answer::Object(object()), Bytes::new())));
    assert!(matches!(rig.told(), (1, Ok((Answer::Object(_), _)))));
    let before = rig.client.alive_until();
    rig.now += CLIENT_RENEW_MICROS;
    rig.step(Event::Tick);
    rig.renewed();
    assert!(rig.client.alive_until() >= before + CLIENT_RENEW_MICROS);
    assert!(rig.client.date(rig.now).unwrap().0 >= 50);
}

#[test]
fn an_unanswered_change_is_sent_again_under_its_name() {
    let mut rig = rig();
    rig.ask(1, unlink("a"), Order::Free);
    let connection = rig.start();
    let first = rig.sent();
    assert_eq!((first.stream, first.sequence), (1, 1));
    rig.step(Event::Failed(connection));
    rig.step(Event::Tick);
    rig.now += RETRY_MAX_MICROS;
    rig.step(Event::Tick);
    rig.bind(EPOCH, vec![(1, 1)]);
    let again = rig
        .all_sent()
        .into_iter()
        .find(|sent| sent.request == unlink("a"))
        .unwrap();
    assert_eq!((again.stream, again.sequence), (1, 1));
    rig.answer(&again, changed(10, 0));
    assert!(matches!(rig.told(), (1, Ok(_))));
    rig.ask(2, unlink("b"), Order::Free);
    assert_eq!(rig.sent().sequence, 2, "its stream is free again");
}

#[test]
fn a_new_owner_hears_holds_then_the_changes_it_lacks_in_order_then_the_end() {
    let mut rig = rig();
    let (fileset, coming) = (FILESET, baton_types::call::Coming::Fresh);
    rig.ask(1, Request::Join { fileset, coming }, Order::Free);
    let old = rig.start();
    let join = rig.sent();
    rig.answer(&join, joined());
    for call in 2..=4 {
        rig.ask(call, write(call), Order::Queued);
    }
    rig.step(Event::Pressed);
    let writes = rig.all_sent();
    let writes: Vec<Sent> = writes.into_iter().filter(|sent| sent.request.is_change()).collect();
    assert_eq!(writes.iter().map(|w| w.sequence).collect::<Vec<_>>(), [1, 2, 3]);
    rig.answer(&writes[0], changed(100, 0));
    rig.answer(&writes[1], changed(101, 0));
    (old..old + 5).for_each(|connection| rig.step(Event::Failed(connection)));
    rig.actions.clear();
    rig.step(Event::Owner(Epoch(6)));
    // Its log has the first write and not the second.
    rig.bind(Epoch(6), vec![(0, 1)]);
    let fileset = rig.next(|action| match action {
        Action::Reclaim(fileset) => Some(*fileset),
        _ => None,
    });
    let opens = vec![fid(2)];
    let locks = Vec::new();
    rig.step(Event::Holds { fileset, opens, locks });
    let (join, open) = (rig.sent(), rig.sent());
    assert!(matches!(
        join.request,
        Request::Join {
            coming: baton_types::call::Coming::Back,
            ..
        }
    ));
    assert_eq!(open.request, Request::Open { fid: fid(2) });
    rig.answer(&open, done());
    assert!(rig.all_sent().is_empty());
    rig.answer(&join, joined());
    let replay = rig.sent();
    assert_eq!((&replay.request, replay.sequence), (&write(3), 2));
    assert!(rig.all_sent().is_empty(), "one at a time");
    rig.answer(&replay, changed(90, 0));
    let last = rig.sent();
    assert_eq!(
        (&last.request, last.sequence),
        (&write(4), 3),
        "what was never answered comes last"
    );
    rig.answer(&last, changed(91, 0));
    let end = rig.sent();
    assert_eq!(end.request, Request::Reclaimed { fileset });
    rig.answer(&end, done());
    assert!(rig.all_sent().is_empty());
}

#[test]
fn what_was_seen_and_never_answered_is_said_again_before_what_stands_on_it() {
    let mut rig = rig();
    let (fileset, coming) = (FILESET, baton_types::call::Coming::Fresh);
    rig.ask(1, Request::Join { fileset, coming }, Order::Free);
    let old = rig.start();
    let join = rig.sent();
    rig.answer(&join, joined());
    for (call, name) in [(2, "a"), (3, "b"), (4, "c")] {
        rig.ask(call, unlink(name), Order::Free);
    }
    let changes: Vec<Sent> = rig
        .all_sent()
        .into_iter()
        .filter(|sent| sent.request.is_change())
        .collect();
    // The second was done before the third and its answer is lost; of the first nothing is known.
    rig.answer(&changes[2], changed_after(101, 0, &[(2, 1)]));
    (old..old + 5).for_each(|connection| rig.step(Event::Failed(connection)));
    rig.actions.clear();
    rig.step(Event::Owner(Epoch(6)));
    rig.bind(Epoch(6), Vec::new());
    rig.step(Event::Holds {
        fileset,
        opens: Vec::new(),
        locks: Vec::new(),
    });
    let join = rig.sent();
    rig.answer(&join, joined());
    let mut order = Vec::new();
    for lsn in 50..53 {
        let sent = rig.all_sent();
        let [next] = sent.as_slice() else {
            panic!("one at a time: {sent:?}");
        };
        order.push((next.stream, next.sequence));
        rig.answer(next, changed(lsn, 0));
    }
    assert_eq!(order, [(2, 1), (3, 1), (1, 1)]);
    assert_eq!(rig.sent().request, Request::Reclaimed { fileset });
}

#[test]
fn among_others_what_was_never_answered_comes_after_what_all_say_again() {
    let mut rig = rig();
    let (fileset, coming) = (FILESET, baton_types::call::Coming::Fresh);
    rig.ask(1, Request::Join { fileset, coming }, Order::Free);
    let old = rig.start();
    let join = rig.sent();
    rig.answer(&join, joined());
    rig.ask(2, unlink("free"), Order::Free);
    rig.ask(3, write(3), Order::Queued);
    rig.step(Event::Pressed);
    rig.all_sent();
    (old..old + 5).for_each(|connection| rig.step(Event::Failed(connection)));
    rig.actions.clear();
    rig.step(Event::Owner(Epoch(6)));
    rig.bind(Epoch(6), Vec::new());
    rig.step(Event::Holds {
        fileset,
        opens: Vec::new(),
        locks: Vec::new(),
    });
    let join = rig.sent();
    let (hold, serial, root) = (Hold::Shared, 4, object());
    rig.answer(&join, Ok((Answer::Joined { hold, serial, root }, Bytes::new())));
    let end = rig.sent();
    assert_eq!(end.request, Request::Reclaimed { fileset });
    assert!(rig.all_sent().is_empty());
    rig.answer(&end, done());
    let sent = rig.all_sent();
    let changes: Vec<_> = sent.iter().filter(|sent| sent.request.is_change()).collect();
    let names: Vec<_> = changes.iter().map(|sent| (sent.stream, sent.sequence)).collect();
    // In their order, and what is new after them: somebody may have seen what they did.
    assert_eq!(names, [(1, 1)]);
    rig.ask(4, unlink("new"), Order::Free);
    rig.ask(5, Request::Getattr { fid: fid(2) }, Order::Free);
    let reads: Vec<_> = rig.all_sent();
    assert!(reads.iter().all(|sent| !sent.request.is_change()), "{reads:?}");
    rig.answer(changes[0], changed(3, 3));
    let queued = rig.sent();
    assert_eq!((queued.stream, queued.sequence), (0, 1));
    rig.answer(&queued, changed(4, 4));
    assert_eq!(rig.sent().request, unlink("new"));
}

#[test]
fn what_must_not_be_done_late_begins_a_new_round_of_connections() {
    let mut rig = rig();
    let (fileset, coming) = (FILESET, baton_types::call::Coming::Fresh);
    rig.ask(1, Request::Join { fileset, coming }, Order::Free);
    rig.start();
    let join = rig.sent();
    rig.answer(&join, joined());
    let round = |rig: &mut Rig| {
        rig.now += RETRY_MAX_MICROS;
        rig.step(Event::Tick);
        let connection = rig.dialled();
        rig.step(Event::Opened {
            connection,
            epoch: EPOCH,
        });
        match rig.sent().request {
            Request::Bind { round, .. } => round,
            other => panic!("{other:?}"),
        }
    };
    rig.ask(2, Request::Close { fid: fid(2) }, Order::Free);
    let close = rig.sent();
    assert!(matches!(close.request, Request::Close { .. }));
    rig.step(Event::Failed(close.connection));
    let next = rig
        .actions
        .iter()
        .filter(|action| matches!(action, Action::Close(_)))
        .count();
    assert!(next > 0, "the push connection is given up, too");
    let first = round(&mut rig);
    assert!(first > 0);
}

#[test]
fn a_lock_that_nobody_waits_for_is_cancelled_where_it_waits() {
    let mut rig = rig();
    let lock = Lock {
        owner: 1,
        first: 0,
        last: 9,
        kind: LockKind::Write,
        pid: 7,
    };
    let (fid, patience) = (fid(2), Patience::Wait);
    rig.ask(1, Request::Lock { fid, lock, patience }, Order::Free);
    let connection = rig.start();
    let waiting = rig.sent();
    rig.step(Event::Cancelled(1));
    let cancel = rig.sent();
    assert_eq!(
        (&cancel.request, cancel.connection),
        (&Request::CancelLock { fid, lock }, connection)
    );
    assert!(
        !rig.actions.iter().any(|action| matches!(action, Action::Done { .. })),
        "it may have it by now"
    );
    rig.answer(&cancel, refused(Kind::TimedOut));
    rig.answer(&waiting, refused(Kind::TimedOut));
    assert!(matches!(rig.told(), (1, Err(error)) if error.kind == Kind::TimedOut));

    // A connection that breaks before that is known: the next one is asked whether the program has the lock.
    rig.ask(2, Request::Lock { fid, lock, patience }, Order::Free);
    let waiting = rig.sent();
    rig.step(Event::Failed(waiting.connection));
    rig.step(Event::Cancelled(2));
    rig.actions.clear();
    rig.now += RETRY_MAX_MICROS;
    rig.step(Event::Tick);
    rig.bind(EPOCH, Vec::new());
    let cancel = rig.next(|action| match action {
        Action::Send(sent) if sent.request == Request::CancelLock { fid, lock } => Some(sent.clone()),
        _ => None,
    });
    rig.answer(&cancel, Ok((Answer::InTheWay(None), Bytes::new())));
    assert!(matches!(rig.told(), (2, Ok((Answer::InTheWay(None), _)))));
}

#[test]
fn an_answer_after_the_end_of_the_lifetime_is_asked_for_again() {
    let mut rig = rig();
    rig.ask(1, Request::Getattr { fid: fid(2) }, Order::Free);
    rig.start();
    let getattr = rig.sent();
    rig.now = rig.client.alive_until();
    rig.answer(&getattr, Ok((Answer::Object(object()), Bytes::new())));
    rig.next(|action| matches!(action, Action::Lapsed(_)).then_some(()));
    assert!(!rig.actions.iter().any(|action| matches!(action, Action::Done { .. })));
    assert_eq!(rig.client.alive_until(), 0);
    rig.bind(EPOCH, Vec::new());
    let again = rig.sent();
    assert_eq!(again.request, getattr.request);
    rig.answer(&getattr, Ok((Answer::Object(object()), Bytes::new())));
    assert!(!rig.actions.iter().any(|action| matches!(action, Action::Done { .. })));
    rig.answer(&again, Ok((Answer::Object(object()), Bytes::new())));
    assert!(matches!(rig.told(), (1, Ok(_))));
}

#[test]
fn sync_is_answered_here_when_nothing_is_kept() {
    let mut rig = rig();
    rig.ask(1, unlink("a"), Order::Free);
    rig.start();
    let change = rig.sent();
    rig.answer(&change, changed(10, 9));
    assert!(rig.told().1.is_ok());
    rig.step(Event::Sync { call: 2 });
    let sync = rig.sent();
    assert_eq!(sync.request, Request::Sync { lsn: 10 });
    rig.answer(&sync, Ok((Answer::Synced { durable: 10 }, Bytes::new())));
    assert!(matches!(rig.told(), (2, Ok(_))));
    rig.step(Event::Sync { call: 3 });
    assert!(matches!(rig.told(), (3, Ok((Answer::Synced { durable: 10 }, _)))));
}

#[test]
fn a_lost_session_ends_everything_and_begins_anew() {
    let mut rig = rig();
    let (fileset, coming) = (FILESET, baton_types::call::Coming::Fresh);
    rig.ask(1, Request::Join { fileset, coming }, Order::Free);
    rig.start();
    let join = rig.sent();
    rig.answer(&join, joined());
    rig.ask(2, unlink("a"), Order::Free);
    rig.ask(3, unlink("b"), Order::Free);
    let sent = rig.all_sent();
    let changes: Vec<&Sent> = sent.iter().filter(|sent| sent.request.is_change()).collect();
    rig.answer(changes[0], changed(10, 0));
    rig.actions.clear();
    rig.answer(changes[1], refused(Kind::SessionLost));
    let dropped = rig.next(|action| match action {
        Action::Dropped { request, .. } => Some(request.clone()),
        _ => None,
    });
    assert_eq!(dropped, unlink("a"));
    let (call, result) = rig.told();
    assert_eq!((call, result.unwrap_err().kind), (3, Kind::SessionLost));
    rig.next(|action| matches!(action, Action::Lost(filesets) if *filesets == [FILESET]).then_some(()));
    rig.ask(4, unlink("c"), Order::Free);
    let connection = rig.dialled();
    rig.step(Event::Opened {
        connection,
        epoch: EPOCH,
    });
    assert_eq!(rig.sent().session, 0, "it asks for a new one");
}

#[test]
fn too_much_that_is_not_durable_makes_changes_wait_for_marks() {
    let mut rig = rig();
    rig.ask(1, unlink("a"), Order::Free);
    rig.start();
    let first = rig.sent();
    rig.answer(&first, changed(10, 0));
    let payload = Bytes::from(vec![0; 1 << 20]);
    for call in 2..100 {
        let (caller, request, order) = (1, write(call), Order::Queued);
        let payload = payload.clone();
        rig.step(Event::Asked(Asked {
            call,
            caller,
            request,
            payload,
            order,
        }));
    }
    let (mut syncs, mut connections, mut written) = (Vec::new(), BTreeSet::new(), 0);
    loop {
        let sent = rig.all_sent();
        let (writes, others): (Vec<Sent>, Vec<Sent>) = sent.into_iter().partition(|sent| sent.request.is_change());
        syncs.extend(
            others
                .into_iter()
                .filter(|sent| matches!(sent.request, Request::Sync { .. })),
        );
        if writes.is_empty() {
            break;
        }
        assert!(
            writes.len() <= 9,
            "8 MiB without an answer, and the one that goes past that"
        );
        for write in writes {
            written += 1;
            connections.insert(write.connection);
            rig.answer(&write, changed(10 + written, 0));
        }
    }
    assert_eq!(written, 63, "64 MiB and what each takes besides");
    assert_eq!(connections.len(), 1, "the queue has one connection");
    assert_eq!(syncs.len(), 1, "asked for at the half");
    rig.answer(&syncs[0], Ok((Answer::Synced { durable: 1_000 }, Bytes::new())));
    assert!(rig.all_sent().iter().any(|sent| sent.request.is_change()));
}

#[test]
fn a_queued_change_is_taken_in_its_order_and_before_it_is_answered() {
    let mut rig = rig();
    rig.ask(1, write(1), Order::Queued);
    let is_taken = |action: &Action| matches!(action, Action::Taken(_));
    assert!(!rig.actions.iter().any(is_taken), "there is no session to keep it");
    rig.start();
    rig.ask(2, write(2), Order::Queued);
    rig.ask(3, write(3), Order::Free);
    let actions = std::mem::take(&mut rig.actions);
    let taken = actions.iter().filter_map(|action| match action {
        Action::Taken(call) => Some(*call),
        _ => None,
    });
    assert_eq!(taken.collect::<Vec<_>>(), [1, 2]);
    assert!(!actions.iter().any(|action| matches!(action, Action::Done { .. })));
}

#[test]
fn what_is_queued_gathers_while_something_of_it_is_under_way() {
    let mut rig = rig();
    rig.ask(1, write(1), Order::Queued);
    rig.start();
    let changes = |rig: &mut Rig| -> Vec<Sent> {
        let sent = rig.all_sent().into_iter();
        sent.filter(|sent| sent.request.is_change()).collect()
    };
    let first = changes(&mut rig);
    assert_eq!(first.len(), 1, "nothing is under way");
    (2..=4).for_each(|call| rig.ask(call, write(call), Order::Queued));
    assert!(changes(&mut rig).is_empty());
    rig.ask(5, unlink("a"), Order::Free);
    assert_eq!(changes(&mut rig).len(), 1, "what is not queued does not wait");
    rig.answer(&first[0], changed(10, 0));
    let together: Vec<u32> = changes(&mut rig).iter().map(|sent| sent.sequence).collect();
    assert_eq!(together, [2, 3, 4]);
    (6..=7).for_each(|call| rig.ask(call, write(call), Order::Queued));
    assert!(changes(&mut rig).is_empty());
    rig.step(Event::Pressed);
    assert_eq!(changes(&mut rig).len(), 2, "somebody waits for them");
}

#[test]
fn what_others_under_way_may_wait_for_does_not_gather() {
    let mut rig = rig();
    (1..=2).for_each(|call| rig.ask(call, write(call), Order::Queued));
    rig.start();
    rig.step(Event::Pressed);
    let writes: Vec<Sent> = rig.all_sent();
    let writes: Vec<&Sent> = writes.iter().filter(|sent| sent.request.is_change()).collect();
    assert_eq!(writes.len(), 2);
    // The server was not ready for the first, and then was: it keeps the second until the first is there.
    rig.answer(writes[0], refused(Kind::Grace));
    rig.now += AGAIN_MICROS;
    rig.step(Event::Tick);
    let again = rig.sent();
    assert_eq!((again.sequence, &again.request), (1, &write(1)));
}

#[test]
fn a_limit_met_by_the_operation_itself_is_its_answer() {
    let mut rig = rig();
    rig.ask(1, unlink("a"), Order::Free);
    rig.start();
    let change = rig.sent();
    let error = Error::new(Kind::Limit, "open files");
    rig.answer(&change, Err(Box::new(Refusal { error, lsn: 10 })));
    assert_eq!(rig.told().1.unwrap_err().kind, Kind::Io);
    rig.now += AGAIN_MICROS;
    rig.step(Event::Tick);
    assert!(rig.all_sent().iter().all(|sent| !sent.request.is_change()));
}

#[test]
fn who_joins_before_the_server_has_heard_of_it_again_asks_once_more() {
    let mut rig = rig();
    let (fileset, coming) = (FILESET, baton_types::call::Coming::Fresh);
    rig.ask(1, Request::Join { fileset, coming }, Order::Free);
    rig.start();
    let join = rig.sent();
    rig.answer(&join, refused(Kind::NotJoined));
    assert!(!rig.actions.iter().any(|action| matches!(action, Action::Done { .. })));
    rig.now += AGAIN_MICROS;
    rig.step(Event::Tick);
    let again = rig.sent();
    assert_eq!(again.request, join.request);
    rig.answer(&again, joined());
    assert!(rig.told().1.is_ok());
}

#[test]
fn a_queued_change_that_never_came_to_the_server_holds_nobody_up() {
    let mut rig = rig();
    (1..=3).for_each(|call| rig.ask(call, write(call), Order::Queued));
    rig.start();
    rig.step(Event::Pressed);
    let writes: Vec<Sent> = rig.all_sent();
    let writes: Vec<&Sent> = writes.iter().filter(|sent| sent.request.is_change()).collect();
    assert_eq!(writes.len(), 3);
    rig.answer(writes[1], refused(Kind::Denied)); // its caller could not log in
    assert_eq!(rig.told().0, 2);
    assert!(rig.all_sent().is_empty(), "the first is not answered");
    rig.answer(writes[0], changed(10, 0));
    let told = rig.sent();
    assert_eq!((&told.request, told.seen), (&Request::Renew, 2));
    rig.answer(writes[2], changed(11, 0));
    assert!(rig.all_sent().is_empty(), "nothing waits for that");
}

#[test]
fn a_cancelled_change_is_seen_to_its_end_and_nobody_is_told_twice() {
    let mut rig = rig();
    rig.ask(1, unlink("a"), Order::Free);
    rig.start();
    let change = rig.sent();
    rig.step(Event::Cancelled(1));
    let (call, result) = rig.told();
    assert_eq!((call, result.unwrap_err().kind), (1, Kind::TimedOut));
    rig.answer(&change, changed(10, 0));
    assert!(!rig.actions.iter().any(|action| matches!(action, Action::Done { .. })));
    rig.step(Event::Sync { call: 2 });
    assert_eq!(rig.sent().request, Request::Sync { lsn: 10 }, "it is kept all the same");
}

#[test]
fn a_file_that_is_open_and_was_made_by_a_lost_change_is_opened_after_that() {
    let mut rig = rig();
    let (fileset, coming) = (FILESET, baton_types::call::Coming::Fresh);
    rig.ask(1, Request::Join { fileset, coming }, Order::Free);
    let old = rig.start();
    let join = rig.sent();
    rig.answer(&join, joined());
    rig.ask(2, unlink("stands for what made it"), Order::Free);
    let change = rig
        .all_sent()
        .into_iter()
        .find(|sent| sent.request.is_change())
        .unwrap();
    rig.answer(&change, changed(100, 0));
    (old..old + 5).for_each(|connection| rig.step(Event::Failed(connection)));
    rig.actions.clear();
    rig.step(Event::Owner(Epoch(6)));
    rig.bind(Epoch(6), Vec::new());
    rig.step(Event::Holds {
        fileset,
        opens: vec![fid(2)],
        locks: Vec::new(),
    });
    let (join, open) = (rig.sent(), rig.sent());
    rig.answer(&open, refused(Kind::NotFound));
    rig.answer(&join, joined());
    let replay = rig.sent();
    assert!(replay.request.is_change());
    rig.answer(&replay, changed(50, 0));
    let again = rig.sent();
    assert_eq!(again.request, Request::Open { fid: fid(2) });
    assert!(
        !rig.actions
            .iter()
            .any(|action| matches!(action, Action::Dropped { .. }))
    );
    rig.answer(&again, done());
    assert_eq!(rig.sent().request, Request::Reclaimed { fileset });
}
