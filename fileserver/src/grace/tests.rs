//! Transcripts of grace, in `testdata/grace`, and grace against lists.
//!
//! `start f1=ab` is a claim; `look a f1`, `change a f1` are calls; `back a f1`, `done a f1`; `at 30s` names who is late.

use proptest::prelude::*;

use super::*;
use crate::state::transcript::{assert_all_played, client, client_name, fileset, micros, play};

const PLAYED: [&str; 2] = ["ends_when_all_are_done.txt", "who_is_not_done_in_time_is_named.txt"];

#[test]
fn grace_does_as_its_transcripts_say() {
    for name in PLAYED {
        let mut grace = Grace::new(0, &[]);
        let mut ticket = 0;
        play(&format!("grace/{name}"), |line| {
            let mut gate = |grace: &mut Grace, who, place, errand| {
                ticket += 1;
                let gate = grace
                    .gate(client(who)?, fileset(place)?, errand, Ticket(ticket))
                    .unwrap();
                Some(match gate {
                    Gate::Open => vec![format!("#{ticket} goes on")],
                    Gate::Parked => vec![format!("#{ticket} waits")],
                })
            };
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["start", ref entries @ ..] => {
                    grace = Grace::new(0, &recorded(entries)?);
                    Some(Vec::new())
                }
                ["look", who, place] => gate(&mut grace, who, place, Errand::Look),
                ["change", who, place] => gate(&mut grace, who, place, Errand::Change),
                ["back", who, place] => {
                    let was_waited_for = grace.back(client(who)?, fileset(place)?);
                    Some(vec![format!("was waited for: {was_waited_for}")])
                }
                ["done", who, place] => Some(match grace.done(client(who)?, fileset(place)?) {
                    Some(over) => vec![format!("f{} is over: {:?}", over.fileset.0, over.parked)],
                    None => Vec::new(),
                }),
                ["at", time] => {
                    let late: String = grace.overdue(micros(time)?).into_iter().map(client_name).collect();
                    Some(vec![format!("late: {late}")])
                }
                _ => None,
            }
        });
    }
    assert_all_played("grace", &PLAYED);
}

fn recorded(entries: &[&str]) -> Option<Vec<(FilesetId, ClientId)>> {
    let mut recorded = Vec::new();
    for entry in entries {
        let (place, who) = entry.split_once('=')?;
        for letter in who.chars() {
            recorded.push((fileset(place)?, client(&letter.to_string())?));
        }
    }
    Some(recorded)
}

#[test]
fn calls_of_one_client_that_wait_are_bounded() {
    let mut grace = Grace::new(0, &recorded(&["f1=a", "f2=a"]).unwrap());
    let (b, c) = (client("b").unwrap(), client("c").unwrap());
    for number in 0..PARKED_PER_CLIENT_MAX as u64 {
        let place = FilesetId(1 + number % 2);
        assert_eq!(grace.gate(b, place, Errand::Look, Ticket(number)), Ok(Gate::Parked));
    }
    let refused = grace.gate(b, FilesetId(1), Errand::Look, Ticket(0)).unwrap_err();
    assert_eq!(refused.kind, baton_types::Kind::Limit);
    assert_eq!(grace.gate(c, FilesetId(1), Errand::Look, Ticket(0)), Ok(Gate::Parked));
    grace.done(client("a").unwrap(), FilesetId(1)).unwrap();
    assert_eq!(
        grace.gate(b, FilesetId(2), Errand::Look, Ticket(0)),
        Ok(Gate::Parked),
        "half of them went on"
    );
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Gate(Errand),
    Back,
    Done,
}

proptest! {
    /// Nobody else goes on while one is missing; all that waited goes on in its order, exactly when none is.
    #[test]
    fn prop_grace_equals_lists(
        entries in prop::collection::btree_set((1..3u64, 0..3u8), 0..5),
        steps in prop::collection::vec(
            (1..3u64, 0..3u8, prop::sample::select(vec![
                Step::Gate(Errand::Look), Step::Gate(Errand::Change), Step::Back, Step::Done,
            ])), 0..40),
    ) {
        let who = |number: u8| client(&char::from(b'a' + number).to_string()).unwrap();
        let log: Vec<_> = entries.iter().map(|(place, number)| (FilesetId(*place), who(*number))).collect();
        let mut grace = Grace::new(0, &log);
        let mut missing: Vec<(FilesetId, ClientId, Progress)> =
            log.iter().map(|(place, client)| (*place, *client, Progress::Missing)).collect();
        let mut waiting: Vec<(FilesetId, Ticket)> = Vec::new();
        for (number, (place, client, step)) in steps.into_iter().enumerate() {
            let (place, client, ticket) = (FilesetId(place), who(client), Ticket(number as u64));
            let is_on = missing.iter().any(|entry| entry.0 == place);
            match step {
                Step::Gate(errand) => {
                    let says_again = errand == Errand::Change && missing.contains(&(place, client, Progress::Back));
                    let expected = if is_on && !says_again { Gate::Parked } else { Gate::Open };
                    prop_assert_eq!(grace.gate(client, place, errand, ticket), Ok(expected));
                    if expected == Gate::Parked {
                        waiting.push((place, ticket));
                    }
                }
                Step::Back => {
                    let entry = missing.iter_mut().find(|entry| (entry.0, entry.1) == (place, client));
                    prop_assert_eq!(grace.back(client, place), entry.is_some());
                    entry.into_iter().for_each(|entry| entry.2 = Progress::Back);
                }
                Step::Done => {
                    missing.retain(|entry| (entry.0, entry.1) != (place, client));
                    let is_over = is_on && missing.iter().all(|entry| entry.0 != place);
                    let its = waiting.iter().filter(|entry| is_over && entry.0 == place);
                    let parked: Vec<Ticket> = its.map(|entry| entry.1).collect();
                    waiting.retain(|entry| !is_over || entry.0 != place);
                    let over = is_over.then_some(Over { fileset: place, parked });
                    prop_assert_eq!(grace.done(client, place), over);
                }
            }
            prop_assert_eq!(grace.is_on(), !missing.is_empty());
            prop_assert_eq!(grace.parked.values().sum::<usize>(), waiting.len());
            prop_assert_eq!(grace.waits_for(client, place), missing.iter().any(|entry| (entry.0, entry.1) == (place, client)));
        }
    }
}
