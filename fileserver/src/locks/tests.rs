//! Transcripts of locks, in `testdata/locks`, and locks against bytes.
//!
//! `a/1 write 0-99 [wait]` is client a's program 1, on the file `f1.7` unless another one stands before; `test`,
//! `cancel` before it; `leave a f1`, `stop a`.

use proptest::prelude::*;

use super::*;
use crate::state::transcript::{self, assert_all_played, client, fid, fileset, lock_name, play};

const PLAYED: [&str; 5] = [
    "client_leaves_and_others_get_what_they_waited_for.txt",
    "owner_replaces_splits_and_merges_its_own.txt",
    "ring_of_waiting_owners_is_refused.txt",
    "test_names_what_is_in_the_way.txt",
    "waiting_requests_are_served_in_their_order.txt",
];

#[test]
fn locks_do_as_their_transcripts_say() {
    for name in PLAYED {
        let mut stage = Stage::default();
        play(&format!("locks/{name}"), |line| stage.line(line));
    }
    assert_all_played("locks", &PLAYED);
}

#[derive(Default)]
struct Stage {
    locks: Locks,
    ticket: u64,
}

impl Stage {
    fn line(&mut self, line: &str) -> Option<Vec<String>> {
        let words: Vec<&str> = line.split(' ').collect();
        Some(match words[..] {
            ["leave", who, place] => {
                let dropped = self.locks.leave(client(who)?, fileset(place)?);
                let refused = dropped.refused.iter().map(|ticket| format!("#{} refused", ticket.0));
                refused.chain(dropped.granted.iter().map(granted)).collect()
            }
            ["stop", who] => {
                let refused = self.locks.stop_waiting(client(who)?);
                refused.iter().map(|ticket| format!("#{} refused", ticket.0)).collect()
            }
            ["test", ref rest @ ..] => {
                let (who, file, lock, _) = call(rest)?;
                let found = self.locks.test(who, file, lock);
                vec![found.map_or("free".to_owned(), |lock| format!("in the way: {}", lock_name(&lock)))]
            }
            ["cancel", ref rest @ ..] => {
                let (who, file, lock, _) = call(rest)?;
                let found = self.locks.cancel(who, file, lock);
                vec![found.map_or("nothing waits".to_owned(), |ticket| format!("#{} refused", ticket.0))]
            }
            _ => self.set(&words)?,
        })
    }

    fn set(&mut self, words: &[&str]) -> Option<Vec<String>> {
        let (who, file, lock, patience) = call(words)?;
        self.ticket += 1;
        let ticket = self.ticket;
        let mut shown = match self.locks.set(who, file, lock, patience, Ticket(ticket)) {
            Ok(Outcome::Done(others)) => [format!("#{ticket} done")]
                .into_iter()
                .chain(others.iter().map(granted))
                .collect(),
            Ok(Outcome::InTheWay(lock)) => vec![format!("#{ticket} in the way: {}", lock_name(&lock))],
            Ok(Outcome::Parked) => vec![format!("#{ticket} waits")],
            Err(error) => vec![format!("#{ticket} {:?}", error.kind)],
        };
        let held = self.locks.files.get(&file).into_iter().flat_map(|file| &file.held);
        let held: Vec<String> = held
            .map(|held| format!("{}/{}", transcript::client_name(held.client), lock_name(&held.lock)))
            .collect();
        let held = if held.is_empty() {
            "nothing".to_owned()
        } else {
            held.join(", ")
        };
        shown.push(format!("  held: {held}"));
        Some(shown)
    }
}

fn granted(ticket: &Ticket) -> String {
    format!("#{} granted", ticket.0)
}

fn call(words: &[&str]) -> Option<(ClientId, Fid, Lock, Patience)> {
    let (file, words) = match words {
        [file, rest @ ..] if file.contains('.') => (*file, rest),
        _ => ("f1.7", words),
    };
    let [owner, kind, range, rest @ ..] = words else {
        return None;
    };
    let (who, owner) = owner.split_once('/')?;
    let lock = transcript::lock(owner, kind, range)?;
    Some((client(who)?, fid(file)?, lock, transcript::patience(rest)?))
}

#[test]
fn locks_on_one_file_are_bounded_and_what_waits_keeps_its_room() {
    let mut locks = Locks::default();
    let (a, b) = (client("a").unwrap(), client("b").unwrap());
    let file = fid("f1.7").unwrap();
    let bytes = |first: usize, kind: &str| transcript::lock("1", kind, &format!("{first}-{first}")).unwrap();
    let mut set = |who, lock, patience| locks.set(who, file, lock, patience, Ticket(0));
    assert_eq!(set(b, bytes(0, "read"), Patience::None), Ok(Outcome::Done(Vec::new())));
    assert_eq!(set(a, bytes(0, "write"), Patience::Wait), Ok(Outcome::Parked));
    let most = LOCKS_PER_FILE_MAX - PIECES_MAX - 1;
    for number in 1..=most {
        assert_eq!(
            set(a, bytes(2 * number, "write"), Patience::None),
            Ok(Outcome::Done(Vec::new()))
        );
    }
    let full = |outcome: Result<Outcome>| assert_eq!(outcome.unwrap_err().kind, Kind::Limit);
    full(set(a, bytes(2 * most + 2, "write"), Patience::None));
    full(set(a, bytes(0, "write"), Patience::Wait));
    assert_eq!(
        set(b, bytes(0, "unlock"), Patience::None),
        Ok(Outcome::Done(vec![Ticket(0)]))
    );
    let all = transcript::lock("1", "unlock", "0-").unwrap();
    assert_eq!(set(a, all, Patience::None), Ok(Outcome::Done(Vec::new())));
    assert!(locks.files.is_empty() && locks.clients.is_empty() && locks.waits.is_empty());
}

#[test]
fn requests_that_wait_on_one_file_are_bounded() {
    let mut locks = Locks::default();
    let (a, b) = (client("a").unwrap(), client("b").unwrap());
    let file = fid("f1.7").unwrap();
    let lock = |owner: usize| transcript::lock(&owner.to_string(), "write", "0-").unwrap();
    locks.set(a, file, lock(0), Patience::None, Ticket(0)).unwrap();
    for owner in 1..=LOCKS_WAITING_PER_FILE_MAX {
        assert_eq!(
            locks.set(b, file, lock(owner), Patience::Wait, Ticket(0)),
            Ok(Outcome::Parked)
        );
    }
    assert_eq!(
        locks.set(b, file, lock(0), Patience::Wait, Ticket(0)).unwrap_err().kind,
        Kind::Limit
    );
}

#[test]
fn locks_of_one_client_are_bounded_over_all_files() {
    let mut locks = Locks::default();
    let a = client("a").unwrap();
    let file = |unique| Fid {
        unique,
        ..fid("f1.7").unwrap()
    };
    let lock = transcript::lock("1", "write", "0-9").unwrap();
    for number in 0..LOCKS_PER_CLIENT_MAX as u64 {
        locks.set(a, file(number), lock, Patience::None, Ticket(0)).unwrap();
    }
    let error = locks
        .set(a, file(u64::MAX), lock, Patience::None, Ticket(0))
        .unwrap_err();
    assert_eq!(error.kind, Kind::Limit);
    locks.set(a, file(0), lock, Patience::None, Ticket(0)).unwrap();
}

const BYTES: u64 = 8;

/// Of each byte of each file, who holds it for what; and who waits, in their order.
#[derive(Default)]
struct Model {
    bytes: BTreeMap<(Fid, u64), BTreeMap<Owner, LockKind>>,
    waiting: Vec<(Fid, Held, Ticket)>,
}

impl Model {
    fn in_the_way(&self, file: Fid, wanted: &Held) -> BTreeSet<Owner> {
        if wanted.lock.kind == LockKind::Unlock {
            return BTreeSet::new();
        }
        let range = wanted.lock.first..=wanted.lock.last.min(BYTES);
        let held = range.filter_map(|byte| self.bytes.get(&(file, byte))).flatten();
        let others = held.filter(|(owner, kind)| {
            **owner != wanted.owner() && (**kind == LockKind::Write || wanted.lock.kind == LockKind::Write)
        });
        others.map(|(owner, _)| *owner).collect()
    }

    fn apply(&mut self, file: Fid, wanted: &Held) {
        for byte in wanted.lock.first..=wanted.lock.last.min(BYTES) {
            let holders = self.bytes.entry((file, byte)).or_default();
            holders.remove(&wanted.owner());
            if wanted.lock.kind != LockKind::Unlock {
                holders.insert(wanted.owner(), wanted.lock.kind);
            }
        }
    }

    fn retry(&mut self) -> Vec<Ticket> {
        let mut granted = Vec::new();
        while let Some(index) = self
            .waiting
            .iter()
            .position(|(file, wanted, _)| self.in_the_way(*file, wanted).is_empty())
        {
            let (file, wanted, ticket) = self.waiting.remove(index);
            self.apply(file, &wanted);
            granted.push(ticket);
        }
        granted
    }

    /// Whom `wanted` waits for in the end: all that can be reached.
    fn reached(&self, file: Fid, wanted: &Held) -> BTreeSet<Owner> {
        let mut reached = self.in_the_way(file, wanted);
        loop {
            let next = self
                .waiting
                .iter()
                .filter(|(_, waiting, _)| reached.contains(&waiting.owner()));
            let next: BTreeSet<Owner> = next
                .flat_map(|(file, waiting, _)| self.in_the_way(*file, waiting))
                .collect();
            if next.is_subset(&reached) {
                return reached;
            }
            reached.extend(next);
        }
    }

    fn set(
        &mut self,
        file: Fid,
        wanted: Held,
        patience: Patience,
        ticket: Ticket,
    ) -> Result<Option<Vec<Ticket>>, Kind> {
        if self.in_the_way(file, &wanted).is_empty() {
            self.apply(file, &wanted);
            return Ok(Some(self.retry()));
        }
        if patience == Patience::Wait {
            if self.reached(file, &wanted).contains(&wanted.owner()) {
                return Err(Kind::Deadlock);
            }
            self.waiting.push((file, wanted, ticket));
        }
        Ok(None)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Set(Fid, Held, Patience),
    Leave(ClientId, FilesetId),
    Stop(ClientId),
    Cancel(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let who = || (0..3u8).prop_map(|number| client(&char::from(b'a' + number).to_string()).unwrap());
    let file = prop::sample::select(vec!["f1.7", "f1.8", "f2.7"]).prop_map(|file| fid(file).unwrap());
    let kind = prop::sample::select(vec![LockKind::Read, LockKind::Write, LockKind::Write, LockKind::Unlock]);
    let range = (0..BYTES, 0..=BYTES).prop_map(|(first, len)| match len {
        BYTES => (first, u64::MAX),
        len => (first, (first + len).min(BYTES - 1)),
    });
    let patience = prop::sample::select(vec![Patience::None, Patience::Wait]);
    let set = (file, who(), 1..3u64, range, kind, patience).prop_map(
        |(file, client, owner, (first, last), kind, patience)| {
            let pid = 0;
            let lock = Lock {
                owner,
                first,
                last,
                kind,
                pid,
            };
            Step::Set(file, Held { client, lock }, patience)
        },
    );
    prop_oneof![
        20 => set,
        1 => (who(), 1..3u64).prop_map(|(who, place)| Step::Leave(who, FilesetId(place))),
        1 => who().prop_map(Step::Stop),
        1 => (0..4usize).prop_map(Step::Cancel),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Byte by byte and call by call, whatever is set, waited for, given up and dropped.
    #[test]
    fn prop_locks_equal_bytes(steps in prop::collection::vec(step(), 0..80)) {
        let (mut locks, mut model) = (Locks::default(), Model::default());
        for (number, step) in steps.into_iter().enumerate() {
            let ticket = Ticket(number as u64);
            match step {
                Step::Set(file, wanted, patience) => {
                    let tested = locks.test(wanted.client, file, wanted.lock);
                    prop_assert_eq!(tested.is_none(), model.in_the_way(file, &wanted).is_empty());
                    let outcome = locks.set(wanted.client, file, wanted.lock, patience, ticket);
                    let expected = model.set(file, wanted, patience, ticket);
                    match (outcome, expected) {
                        (Ok(Outcome::Done(granted)), Ok(Some(expected))) => prop_assert_eq!(granted, expected),
                        (Ok(Outcome::InTheWay(lock)), Ok(None)) => {
                            prop_assert_eq!(patience, Patience::None);
                            prop_assert_eq!(Some(lock), tested);
                        }
                        (Ok(Outcome::Parked), Ok(None)) => prop_assert_eq!(patience, Patience::Wait),
                        (Err(error), Err(kind)) => prop_assert_eq!(error.kind, kind),
                        (outcome, expected) => prop_assert!(false, "{:?}, not {:?}", outcome, expected),
                    }
                }
                Step::Leave(who, place) => {
                    let dropped = locks.leave(who, place);
                    let is_its = |file: &Fid, wanted: &Held| file.fileset == place && wanted.client == who;
                    let its = model.waiting.iter().filter(|(file, wanted, _)| is_its(file, wanted));
                    let mut refused: Vec<Ticket> = its.map(|(_, _, ticket)| *ticket).collect();
                    model.waiting.retain(|(file, wanted, _)| !is_its(file, wanted));
                    for ((_, _), holders) in model.bytes.iter_mut().filter(|((file, _), _)| file.fileset == place) {
                        holders.retain(|(client, _), _| *client != who);
                    }
                    let mut both = (dropped, model.retry());
                    both.0.refused.sort();
                    refused.sort();
                    prop_assert_eq!(&both.0.refused, &refused);
                    // File by file there, over all files here: the same set.
                    both.0.granted.sort();
                    both.1.sort();
                    prop_assert_eq!(both.0.granted, both.1);
                }
                Step::Stop(who) => {
                    let its = model.waiting.iter().filter(|(_, wanted, _)| wanted.client == who);
                    let mut expected: Vec<Ticket> = its.map(|(_, _, ticket)| *ticket).collect();
                    model.waiting.retain(|(_, wanted, _)| wanted.client != who);
                    let mut refused = locks.stop_waiting(who);
                    expected.sort();
                    refused.sort();
                    prop_assert_eq!(refused, expected);
                }
                Step::Cancel(index) if index < model.waiting.len() => {
                    let (file, wanted, _) = model.waiting[index];
                    let is_it = |other: &(Fid, Held, Ticket)| (other.0, other.1) == (file, wanted);
                    let first = model.waiting.iter().position(is_it).unwrap();
                    let (_, _, ticket) = model.waiting.remove(first);
                    prop_assert_eq!(locks.cancel(wanted.client, file, wanted.lock), Some(ticket));
                }
                Step::Cancel(_) => {}
            }
            check(&locks, &model)?;
        }
    }
}

fn check(locks: &Locks, model: &Model) -> Result<(), TestCaseError> {
    let mut bytes: BTreeMap<(Fid, u64), BTreeMap<Owner, LockKind>> = BTreeMap::new();
    for (file, entry) in &locks.files {
        prop_assert!(!entry.is_empty(), "nothing is kept that is over");
        for (index, held) in entry.held.iter().enumerate() {
            for byte in held.lock.first..=held.lock.last.min(BYTES) {
                let twice = bytes
                    .entry((*file, byte))
                    .or_default()
                    .insert(held.owner(), held.lock.kind);
                prop_assert!(twice.is_none(), "{:?} holds a byte twice", held);
            }
            let neighbours = entry.held[index + 1..].iter().filter(|other| {
                other.owner() == held.owner()
                    && other.lock.kind == held.lock.kind
                    && other.lock.first == held.lock.last.wrapping_add(1)
            });
            prop_assert_eq!(neighbours.count(), 0, "neighbours are one");
        }
    }
    let expected = model.bytes.iter().filter(|(_, holders)| !holders.is_empty());
    prop_assert_eq!(
        bytes,
        expected
            .map(|(place, holders)| (*place, holders.clone()))
            .collect::<BTreeMap<_, _>>()
    );
    for (who, share) in &locks.clients {
        let files = locks.files.values();
        let held = files
            .clone()
            .flat_map(|file| &file.held)
            .filter(|held| held.client == *who)
            .count();
        let waiting = files
            .flat_map(|file| &file.waiting)
            .filter(|waiting| waiting.wanted.client == *who)
            .count();
        prop_assert_eq!((share.held, share.waiting), (held, waiting), "counts of {}", who);
    }
    let waits: usize = locks.waits.values().map(Vec::len).sum();
    prop_assert_eq!(waits, model.waiting.len());
    for number in 0..3u8 {
        let who = client(&char::from(b'a' + number).to_string()).unwrap();
        let waited_for = model.waiting.iter().any(|(file, wanted, _)| {
            wanted.client != who && model.in_the_way(*file, wanted).iter().any(|(client, _)| *client == who)
        });
        prop_assert_eq!(locks.is_waited_for(who), waited_for);
        let has_any = model.bytes.iter().any(|((file, _), holders)| {
            file.fileset == FilesetId(1) && holders.keys().any(|(client, _)| *client == who)
        });
        prop_assert_eq!(locks.has_any(who, FilesetId(1)), has_any);
    }
    Ok(())
}
