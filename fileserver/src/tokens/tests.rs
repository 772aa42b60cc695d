//! Transcripts of tokens, in `testdata/tokens`.
//!
//! `bind a new|kept`, `renew a`, `join a f1`, `return a f1 3`, `leave a f1`, `drop a f1`, `end a`, `recorded 1`,
//! `unrecorded 1`, `wait 2s`; `start f1=ab f2=c` is a claim with what the log knows.

use super::*;
use crate::state::transcript::{assert_all_played, client, client_name, fileset, hold_name, micros, note_name, play};

const PLAYED: [&str; 9] = [
    "asked_again_answers_the_same.txt",
    "leaving_is_answered_when_durable.txt",
    "lone_sharer_is_alone_at_its_next_join.txt",
    "new_session_knows_of_nothing.txt",
    "record_that_fails_grants_nothing.txt",
    "recorded_clients_count_from_the_claim.txt",
    "second_client_revokes_the_first.txt",
    "silent_client_keeps_what_nobody_wants.txt",
    "silent_holder_is_ended.txt",
];

#[test]
fn tokens_do_as_their_transcripts_say() {
    for name in PLAYED {
        let mut stage = Stage::start("");
        play(&format!("tokens/{name}"), |line| stage.line(line));
    }
    assert_all_played("tokens", &PLAYED);
}

struct Stage {
    tokens: Tokens,
    now: Time,
    ticket: u64,
}

impl Stage {
    fn start(recorded: &str) -> Stage {
        let entries = recorded.split_whitespace().flat_map(|entry| {
            let (place, who) = entry.split_once('=').unwrap();
            who.chars()
                .map(move |letter| (fileset(place).unwrap(), client(&letter.to_string()).unwrap()))
        });
        Stage {
            tokens: Tokens::new(0, &entries.collect::<Vec<_>>()),
            now: 0,
            ticket: 0,
        }
    }

    fn line(&mut self, line: &str) -> Option<Vec<String>> {
        let words: Vec<&str> = line.split(' ').collect();
        let event = match words[..] {
            ["start", ..] => {
                *self = Stage::start(line.strip_prefix("start")?);
                return Some(Vec::new());
            }
            ["wait", time] => {
                self.now += micros(time)?;
                Event::Wake
            }
            ["bind", who, "new"] => Event::Bound(client(who)?, Session::New, self.ticket()),
            ["bind", who, "kept"] => Event::Bound(client(who)?, Session::Kept, self.ticket()),
            ["renew", who] => Event::Renewed(client(who)?, self.ticket()),
            ["join", who, place] => Event::Join(client(who)?, fileset(place)?, self.ticket()),
            ["return", who, place, serial] => Event::Return(client(who)?, fileset(place)?, serial.parse().ok()?),
            ["leave", who, place] => Event::Leave(client(who)?, fileset(place)?, self.ticket()),
            ["drop", who, place] => Event::Drop(client(who)?, fileset(place)?),
            ["end", who] => Event::End(client(who)?, Some(self.ticket())),
            ["recorded", id] => Event::Recorded(RecordId(id.parse().ok()?)),
            ["unrecorded", id] => Event::Unrecorded(RecordId(id.parse().ok()?), Error::new(Kind::NoSpace, "agg1")),
            _ => return None,
        };
        Some(self.tokens.step(self.now, event).iter().map(shown).collect())
    }

    fn ticket(&mut self) -> Ticket {
        self.ticket += 1;
        Ticket(self.ticket)
    }
}

fn shown(action: &Action) -> String {
    match action {
        Action::Record(id, note) => format!("record {}: {}", id.0, note_name(*note)),
        Action::Revoke(client, fileset, serial) => {
            format!("revoke f{} from {}, serial {serial}", fileset.0, client_name(*client))
        }
        Action::Done(ticket) => format!("#{} done", ticket.0),
        Action::Joined(ticket, hold, serial) => format!("#{} {}, serial {serial}", ticket.0, hold_name(*hold)),
        Action::Refused(ticket, error) => format!("#{} {:?}", ticket.0, error.kind),
        Action::Lapsed(client) => format!("{} is silent", client_name(*client)),
        Action::Left(client, fileset) => format!("{} has nothing in f{}", client_name(*client), fileset.0),
    }
}

#[test]
fn clients_are_bounded_and_the_longest_silent_one_makes_room() {
    let id = |number: usize| ClientId(uuid::Uuid::from_u128(number as u128));
    let mut tokens = Tokens::new(0, &[]);
    for number in 0..CLIENTS_MAX {
        tokens.step(
            number as Time,
            Event::Bound(id(number), Session::New, Ticket(number as u64)),
        );
    }
    let another = Event::Bound(id(CLIENTS_MAX), Session::New, Ticket(7));
    let actions = tokens.step(CLIENTS_MAX as Time, another.clone());
    assert!(
        matches!(&actions[..], [Action::Refused(Ticket(7), error)] if error.kind == Kind::Limit),
        "{actions:?}"
    );
    tokens.step(baton_types::limits::CLIENT_SILENCE_MICROS, Event::Wake);
    let actions = tokens.step(baton_types::limits::CLIENT_SILENCE_MICROS, another);
    assert!(
        matches!(&actions[..], [Action::Record(_, Note::End(who)), Action::Record(_, Note::Client(_))] if *who == id(0)),
        "{actions:?}"
    );
}

#[test]
fn filesets_of_one_client_are_bounded() {
    let a = client("a").unwrap();
    let mut tokens = Tokens::new(0, &[]);
    tokens.step(0, Event::Bound(a, Session::New, Ticket(0)));
    for number in 1..=HOLDS_PER_CLIENT_MAX as u64 {
        let actions = tokens.step(0, Event::Join(a, FilesetId(number), Ticket(number)));
        assert!(
            matches!(&actions[..], [Action::Record(_, Note::Hold(..))]),
            "{actions:?}"
        );
    }
    let actions = tokens.step(0, Event::Join(a, FilesetId(0), Ticket(0)));
    assert!(
        matches!(&actions[..], [Action::Refused(_, error)] if error.kind == Kind::Limit),
        "{actions:?}"
    );
    let actions = tokens.step(0, Event::Join(a, FilesetId(1), Ticket(0)));
    assert_eq!(actions, [], "where it takes part already it waits on");
}

#[test]
fn calls_that_wait_for_one_hold_are_bounded() {
    let a = client("a").unwrap();
    let mut tokens = Tokens::new(0, &[]);
    tokens.step(0, Event::Bound(a, Session::New, Ticket(0)));
    for number in 0..PARKED_PER_CLIENT_MAX as u64 {
        tokens.step(0, Event::Join(a, FilesetId(1), Ticket(number)));
    }
    let actions = tokens.step(0, Event::Join(a, FilesetId(1), Ticket(0)));
    assert!(
        matches!(&actions[..], [Action::Refused(_, error)] if error.kind == Kind::Limit),
        "{actions:?}"
    );
}
