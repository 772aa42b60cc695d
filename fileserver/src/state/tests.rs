//! Transcripts of the whole, in `testdata/state`.
//!
//! Calls: `a bind new|kept`, `a renew`, `a unbind`, `a join f1 [back]`, `a reclaimed f1`, `a return f1 3`, `a leave f1`,
//! `a open f1.7`, `a close f1.7`, `a lock f1.7 1 write 0-99 [wait]`, `a look f1`, `a change f1`. Besides: `orphan f1.7`,
//! `cancel a f1.7 1 write 0-99`, `keeps a f1.7 open|closed`, `recorded 1`, `recorded all`, `wait 2s`; and
//! `start f1=ab f2= lapsed=b`, a claim with what the log knows.

mod property;

use std::collections::BTreeSet;

use baton_aggregate::aggregate::Standing;
use baton_types::call::{Coming, Keep, Push};

use super::transcript::{
    assert_all_played, client, client_name, fid, fid_name, fileset, hold_name, lock, lock_name, micros, note_name,
    patience, play,
};
use super::*;

const PLAYED: [&str; 7] = [
    "grace_ends_when_all_are_back.txt",
    "join_that_was_never_answered_holds_up_nobody.txt",
    "lapsed_before_the_takeover_is_not_waited_for.txt",
    "missing_client_is_ended.txt",
    "orphans_wait_for_their_holders.txt",
    "silent_client_gives_way_to_who_needs_what_it_has.txt",
    "slow_reclaim_has_an_end.txt",
];

#[test]
fn state_does_as_its_transcripts_say() {
    for name in PLAYED {
        let mut stage = Stage::start("").unwrap().0;
        play(&format!("state/{name}"), |line| stage.line(line));
    }
    assert_all_played("state", &PLAYED);
}

struct Stage {
    state: State,
    now: Time,
    ticket: u64,
    records: BTreeSet<RecordId>,
}

impl Stage {
    fn start(log: &str) -> Option<(Stage, Vec<Action>)> {
        let mut recovered = Recovered::default();
        for entry in log.split_whitespace() {
            let (place, who) = entry.split_once('=')?;
            let who = who.chars().map(|letter| client(&letter.to_string()).unwrap());
            if place == "lapsed" {
                recovered.lapsed.extend(who);
            } else {
                let place = fileset(place)?;
                recovered.filesets.push(place);
                recovered.holders.extend(who.map(|client| (place, client)));
            }
        }
        let (state, actions) = State::new(0, &recovered);
        let stage = Stage {
            state,
            now: 0,
            ticket: 0,
            records: BTreeSet::new(),
        };
        Some((stage, actions))
    }

    fn line(&mut self, line: &str) -> Option<Vec<String>> {
        if let Some(log) = line.strip_prefix("start") {
            let (stage, actions) = Stage::start(log)?;
            *self = stage;
            return Some(self.shown(&actions));
        }
        let words: Vec<&str> = line.split(' ').collect();
        let event = match words[..] {
            ["wait", time] => {
                let end = self.now + micros(time)?;
                return Some(self.wait(end));
            }
            ["orphan", file] => Event::Orphaned(fid(file)?),
            ["cancel", who, file, owner, kind, range] => {
                Event::Cancel(client(who)?, fid(file)?, lock(owner, kind, range)?)
            }
            ["recorded", "all"] => return Some(self.record_all()),
            ["recorded", id] => Event::Recorded(RecordId(id.parse().ok()?)),
            ["keeps", who, file, keep] => {
                let keep = if keep == "open" { Keep::Open } else { Keep::Closed };
                let kept = self.state.keeps(client(who)?, fid(file)?, keep).ok()?;
                return Some(vec![format!("{} stays: {}", file, kept == Keep::Open)]);
            }
            [who, "look", place] => return self.admit(who, place, Errand::Look),
            [who, "change", place] => return self.admit(who, place, Errand::Change),
            [who, ref call @ ..] => {
                self.ticket += 1;
                Event::Call(client(who)?, Ticket(self.ticket), call_of(call)?)
            }
            [] => return None,
        };
        let actions = self.state.step(self.now, event);
        Some(self.shown(&actions))
    }

    /// Wakes the state whenever it wants to be.
    fn wait(&mut self, end: Time) -> Vec<String> {
        let mut shown = Vec::new();
        while let Some(at) = self.state.wake_at().filter(|at| *at <= end) {
            let actions = self.state.step(at, Event::Wake);
            assert!(self.state.wake_at() != Some(at), "woken for nothing at {at}");
            shown.push(format!("at {at} us:"));
            shown.extend(self.shown(&actions));
        }
        self.now = end;
        shown
    }

    fn record_all(&mut self) -> Vec<String> {
        let mut shown = Vec::new();
        while let Some(id) = self.records.pop_first() {
            let actions = self.state.step(self.now, Event::Recorded(id));
            shown.extend(self.shown(&actions));
        }
        shown
    }

    fn admit(&mut self, who: &str, place: &str, errand: Errand) -> Option<Vec<String>> {
        self.ticket += 1;
        let ticket = self.ticket;
        let admission = self.state.admit(client(who)?, fileset(place)?, errand, Ticket(ticket));
        Some(vec![match admission {
            Ok(Admission::Now) => format!("#{ticket} goes on"),
            Ok(Admission::Later) => format!("#{ticket} waits"),
            Err(error) => format!("#{ticket} {:?}", error.kind),
        }])
    }

    fn shown(&mut self, actions: &[Action]) -> Vec<String> {
        let ids = actions.iter().filter_map(|action| match action {
            Action::Record(id, _) => Some(*id),
            _ => None,
        });
        self.records.extend(ids);
        actions.iter().map(shown).collect()
    }
}

fn call_of(words: &[&str]) -> Option<Call> {
    Some(match *words {
        ["bind", "new"] => Call::Bind(Session::New),
        ["bind", "kept"] => Call::Bind(Session::Kept),
        ["renew"] => Call::Renew,
        ["unbind"] => Call::Unbind,
        ["join", place] => Call::Join(fileset(place)?, Coming::Fresh),
        ["join", place, "back"] => Call::Join(fileset(place)?, Coming::Back),
        ["reclaimed", place] => Call::Reclaimed(fileset(place)?),
        ["return", place, serial] => Call::Return(fileset(place)?, serial.parse().ok()?),
        ["leave", place] => Call::Leave(fileset(place)?),
        ["open", file] => Call::Open(fid(file)?),
        ["close", file] => Call::Close(fid(file)?),
        ["lock", file, owner, kind, range, ref rest @ ..] => {
            Call::Lock(fid(file)?, lock(owner, kind, range)?, patience(rest)?)
        }
        _ => return None,
    })
}

fn shown(action: &Action) -> String {
    match action {
        Action::Record(id, note) => format!("record {}: {}", id.0, note_name(*note)),
        Action::Push(client, Push::Revoke { fileset, serial }) => {
            format!("revoke f{} from {}, serial {serial}", fileset.0, client_name(*client))
        }
        Action::Push(client, push) => format!("push to {}: {push:?}", client_name(*client)),
        Action::Answer(ticket, Ok(Told::Done)) => format!("#{} done", ticket.0),
        Action::Answer(ticket, Ok(Told::Joined { hold, serial })) => {
            format!("#{} {}, serial {serial}", ticket.0, hold_name(*hold))
        }
        Action::Answer(ticket, Ok(Told::InTheWay(lock))) => format!("#{} in the way: {}", ticket.0, lock_name(lock)),
        Action::Answer(ticket, Err(error)) => format!("#{} {:?}", ticket.0, error.kind),
        Action::Resume(ticket) => format!("#{} begins anew", ticket.0),
        Action::Remove(fid) => format!("remove {}", fid_name(*fid)),
        Action::Sweep(fileset) => format!("sweep f{}", fileset.0),
    }
}

#[test]
fn file_that_loses_its_name_in_grace_stays_for_who_comes_back_later_and_has_it_open() {
    let mut stage = Stage::start("f1=ab").unwrap().0;
    let (a, b, file) = (client("a").unwrap(), client("b").unwrap(), fid("f1.7").unwrap());
    for line in [
        "a bind kept",
        "b bind kept",
        "recorded all",
        "b join f1 back",
        "recorded all",
    ] {
        stage.line(line).unwrap();
    }
    assert_eq!(stage.state.keeps(b, file, Keep::Closed), Ok(Keep::Open));
    assert_eq!(stage.state.step(stage.now, Event::Orphaned(file)), []);
    for line in ["a join f1 back", "recorded all", "a open f1.7", "b reclaimed f1"] {
        stage.line(line).unwrap();
    }
    let over = stage.line("a reclaimed f1").unwrap();
    assert!(over.contains(&"sweep f1".to_owned()), "{over:?}");
    assert_eq!(
        stage.state.step(stage.now, Event::Orphaned(file)),
        [],
        "a holds it open"
    );
    let closed = stage
        .state
        .step(stage.now, Event::Call(a, Ticket(9), Call::Close(file)));
    assert!(closed.contains(&Action::Remove(file)), "{closed:?}");
    assert_eq!(
        stage.state.keeps(b, file, Keep::Closed),
        Ok(Keep::Closed),
        "grace is over"
    );
}

#[test]
fn changes_of_a_fileset_in_grace_are_accepted_ones_and_those_elsewhere_yield_to_them() {
    let mut stage = Stage::start("f1=a f2=").unwrap().0;
    let standings = |stage: &Stage| ["f1", "f2"].map(|name| stage.state.standing(fileset(name).unwrap()));
    assert_eq!(standings(&stage), [Standing::Accepted, Standing::Yielding]);
    for line in [
        "a bind kept",
        "recorded all",
        "a join f1 back",
        "recorded all",
        "a reclaimed f1",
    ] {
        stage.line(line).unwrap();
    }
    assert_eq!(standings(&stage), [Standing::Fresh; 2]);
}

#[test]
fn planned_move_has_no_grace_and_keeps_opens_and_locks() {
    let mut before = Stage::start("f1=").unwrap().0;
    let said = [
        "a bind new",
        "recorded all",
        "a join f1",
        "recorded all",
        "a open f1.7",
        "a lock f1.7 1 write 0-9",
    ];
    for line in said {
        before.line(line).unwrap();
    }
    let (a, b, f1, file) = (
        client("a").unwrap(),
        client("b").unwrap(),
        fileset("f1").unwrap(),
        fid("f1.7").unwrap(),
    );
    let recovered = Recovered {
        filesets: vec![f1],
        holders: vec![(f1, a), (f1, b)],
        handed: before.state.handed(),
        lapsed: Vec::new(),
    };
    let (mut state, actions) = State::new(0, &recovered);
    assert_eq!(actions, [Action::Sweep(f1)]);
    assert!(!state.is_in_grace(), "nobody is waited for");
    assert_eq!(state.admit(b, f1, Errand::Change, Ticket(1)), Ok(Admission::Now));
    assert_eq!(state.step(0, Event::Orphaned(file)), [], "a holds it open");
    let wanted = lock("2", "write", "5-5").unwrap();
    let refused = state.step(0, Event::Call(b, Ticket(2), Call::Lock(file, wanted, Patience::None)));
    assert!(
        matches!(refused[..], [Action::Answer(Ticket(2), Ok(Told::InTheWay(_)))]),
        "{refused:?}"
    );
    // Whoever waits for somebody does not know yet what he holds, and can hand nothing on.
    let handed = None;
    let waiting = State::new(0, &Recovered { handed, ..recovered }).0;
    assert_eq!(waiting.handed(), None);
}
