//! A change that comes twice is done once, and gets the same answer.

use super::super::Kept;
use super::*;

fn session(number: u8) -> ChangeSession {
    ChangeSession([number; 16])
}

impl Db {
    /// Applies a change of a session of its own.
    fn of_session(&mut self, number: u8, sequence: u32, born: u64, change: Change) -> (Answered, Changed) {
        self.step(Proposal {
            session: session(number),
            sequence,
            born,
            date: self.date,
            who: person("alice"),
            change,
        })
    }

    /// The same, of which only the refusal counts; nothing is changed by it.
    fn lost(&mut self, number: u8, sequence: u32, born: u64, change: Change) -> String {
        let (answered, changed) = self.of_session(number, sequence, born, change);
        assert!(changed.put.is_empty() && changed.gone.is_empty());
        assert_eq!(answered.index, self.state.applied());
        says(&answered.outcome.unwrap_err())
    }
}

const TOO_OLD: &str = "SessionLost: this change: its session is too old to tell whether it was done before";
const TOO_LATE: &str = "SessionLost: this change: a later change of its session has been answered already";

#[test]
fn same_sequence_gets_the_same_answer_and_no_second_effect() {
    let mut db = Db::with_servers();
    let (first, changed) = db.of_session(1, 1, 0, create("a", "fs1", "agg1"));
    assert!(first.outcome.is_ok() && !changed.put.is_empty());
    db.done(delete("a", "fs1", "agg1"));
    for _ in 0..2 {
        let (again, changed) = db.of_session(1, 1, 0, create("a", "fs1", "agg1"));
        assert_eq!(again, first);
        assert!(changed.put.is_empty() && changed.gone.is_empty());
    }
    assert!(db.state.fileset(&named("a")).is_err(), "it stays deleted");
}

#[test]
fn refusal_is_an_answer_too() {
    let mut db = Db::with_servers();
    let (first, _) = db.of_session(1, 1, 0, create("a", "fs1", "agg9"));
    db.by(&host("fs1", 1), report(1, 9, "agg9")).unwrap();
    let (again, _) = db.of_session(1, 1, 0, create("a", "fs1", "agg9"));
    assert!(first.outcome.is_err());
    assert_eq!(again, first, "though it could be done now");
    let (next, _) = db.of_session(1, 2, 0, create("a", "fs1", "agg9"));
    assert!(next.outcome.is_ok());
}

#[test]
fn change_that_was_overtaken_is_refused() {
    let mut db = Db::with_servers();
    db.of_session(1, 1, 0, create("a", "fs1", "agg1"));
    let (third, _) = db.of_session(1, 3, 0, create("c", "fs1", "agg1"));
    assert!(third.outcome.is_ok(), "its caller gave the second up");
    for late in [1, 2] {
        assert_eq!(db.lost(1, late, 0, create("b", "fs1", "agg1")), TOO_LATE);
    }
    assert_eq!(
        db.of_session(1, 3, 0, create("c", "fs1", "agg1")).0,
        third,
        "the refusals changed nothing"
    );
}

#[test]
fn sequences_count_from_one() {
    assert_eq!(Db::with_servers().lost(1, 0, 0, create("a", "fs1", "agg1")), TOO_OLD);
}

#[test]
fn forgotten_session_is_refused_and_not_guessed_at() {
    let mut db = Db::with_servers();
    db.state = db.state.keeping(Kept {
        sessions: 3,
        events: 100,
    });
    let born = db.state.applied();
    // Session 7 of the set-up, and these two: three are kept.
    let (first, _) = db.of_session(1, 1, born, create("a", "fs1", "agg1"));
    db.of_session(2, 1, born, create("b", "fs1", "agg1"));
    assert_eq!(db.of_session(1, 1, born, create("a", "fs1", "agg1")).0, first);
    db.of_session(3, 1, born, create("c", "fs1", "agg1"));
    assert_eq!(db.state.horizon, born, "the set-up's session was used longest ago");
    db.of_session(4, 1, born, create("d", "fs1", "agg1"));
    assert_eq!(
        db.state.horizon, first.index,
        "an answer given again does not count as use"
    );
    assert_eq!(db.lost(1, 1, born, create("a", "fs1", "agg1")), TOO_OLD);
    assert_eq!(db.lost(1, 2, born, create("e", "fs1", "agg1")), TOO_OLD);
    assert_eq!(
        db.lost(9, 1, born, create("e", "fs1", "agg1")),
        TOO_OLD,
        "it may be a forgotten one"
    );
    let (fresh, _) = db.of_session(9, 1, first.index, create("e", "fs1", "agg1"));
    assert!(fresh.outcome.is_ok(), "born after the last that was forgotten");
    assert_eq!(db.state.sessions.size(), 3);
}

#[test]
fn busy_session_is_not_the_one_to_be_forgotten() {
    let mut db = Db::with_servers();
    db.state = db.state.keeping(Kept {
        sessions: 2,
        events: 100,
    });
    let born = db.state.applied();
    for sequence in 1..=5 {
        let name = format!("busy{sequence}");
        assert!(
            db.of_session(1, sequence, born, create(&name, "fs1", "agg1"))
                .0
                .outcome
                .is_ok()
        );
        let other = u8::try_from(sequence).unwrap() + 10;
        let born = db.state.applied();
        let name = format!("other{sequence}");
        assert!(
            db.of_session(other, 1, born, create(&name, "fs1", "agg1"))
                .0
                .outcome
                .is_ok()
        );
    }
}

#[test]
fn limits_of_what_is_kept_are_those_of_the_limits_file() {
    let kept = Kept::default();
    assert_eq!((kept.sessions, kept.events), (16_384, 10_000));
}

#[test]
fn oldest_events_go_first_and_watchers_hear_of_it() {
    let mut db = Db::new();
    db.state = db.state.keeping(Kept {
        sessions: 10,
        events: 3,
    });
    for number in 1..=5 {
        db.done(new_person(&format!("p{number}"), None, &[]));
    }
    assert_eq!(
        db.events(),
        ["p3", "p4", "p5"].map(|name| format!("alice edit principal principal {name}"))
    );
    let (_, changed) = db.of_session(1, 1, 0, new_person("p6", None, &[]));
    assert_eq!(changed.gone, [Key::Event(4)]);
}

#[test]
fn raft_entry_changes_nothing_but_the_index() {
    let mut db = Db::with_servers();
    let (before, index) = (db.state.clone(), db.state.applied());
    let actions = db.state.step(0, Committed::Nothing(index + 1));
    assert_eq!(
        actions,
        [Action::Changed(Changed {
            index: index + 1,
            ..Changed::default()
        })]
    );
    assert_eq!(db.state.applied(), index + 1);
    assert_eq!(records(&db.state), records(&before));
}

#[test]
#[should_panic(expected = "entry 5 after 5: the log went backwards")]
fn log_that_goes_backwards_ends_the_process() {
    let mut state = Fldb::default();
    for index in [4, 5, 5] {
        state.step(0, Committed::Nothing(index));
    }
}
