//! Transcripts: what happens, `----`, what is done and what the client has then.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;

fn hold(word: &str) -> Hold {
    match word {
        "alone" => Hold::Alone,
        "shared" => Hold::Shared,
        other => panic!("hold '{other}'"),
    }
}

fn event(line: &str) -> Event {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |word: &str| word.parse::<u64>().unwrap();
    match words[..] {
        ["wanted"] => Event::Wanted,
        ["joined", share, serial] => Event::Joined(hold(share), number(serial)),
        ["refused"] => Event::Refused,
        ["revoked", serial] => Event::Revoked(number(serial)),
        ["settled", run] => Event::Settled(number(run)),
        ["returning"] => Event::Returning,
        ["rejoined", share, serial] => Event::Rejoined(hold(share), number(serial)),
        ["left"] => Event::Left,
        ["lost"] => Event::Lost,
        ["lapsed"] => Event::Lapsed,
        ["views", count] => Event::Views(count.parse().unwrap()),
        ["tick", "busy"] => Event::Tick(Use::Busy),
        ["tick", "idle"] => Event::Tick(Use::Idle),
        _ => panic!("'{line}' is no event"),
    }
}

fn told(action: Action) -> String {
    match action {
        Action::Join(_) => "join".to_owned(),
        Action::Admit => "admit".to_owned(),
        Action::Refuse => "refuse".to_owned(),
        Action::Believe => "believe".to_owned(),
        Action::Doubt => "doubt".to_owned(),
        Action::Forget(run) => format!("forget, run {run}"),
        Action::Clear(run) => format!("clear, run {run}"),
        Action::Settle(run) => format!("settle, run {run}"),
        Action::Return(serial) => format!("return {serial}"),
        Action::Leave => "leave".to_owned(),
    }
}

/// Each block anew, as it comes out now.
fn replay(text: &str) -> String {
    let (mut holds, mut now) = (Holds::default(), 0);
    let mut out = String::new();
    for block in text.trim().split("\n\n") {
        let mut done = Vec::new();
        for line in block.lines().take_while(|line| *line != "----") {
            out.push_str(line);
            out.push('\n');
            match line.split_once(' ') {
                Some(("#", _)) => {}
                Some(("after", seconds)) => now += seconds.trim_end_matches('s').parse::<u64>().unwrap() * 1_000_000,
                _ => done.extend(holds.step(now, event(line)).into_iter().map(told)),
            }
        }
        done.push(format!("{:?}", holds.state()).to_lowercase());
        out.push_str(&format!("----\n{}\n\n", done.join("\n")));
    }
    out
}

#[test]
fn transcripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/holds");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(replay(&text).trim(), text.trim(), "{}", path.display());
        count += 1;
    }
    assert!(count >= 6, "{count} transcripts");
}

fn any_event() -> impl Strategy<Value = Event> {
    let share = prop_oneof![Just(Hold::Alone), Just(Hold::Shared)];
    prop_oneof![
        Just(Event::Wanted),
        (share.clone(), 0..6_u64).prop_map(|(share, serial)| Event::Joined(share, serial)),
        Just(Event::Refused),
        (1..6_u64).prop_map(Event::Revoked),
        (1..9_u64).prop_map(Event::Settled),
        Just(Event::Returning),
        (share, 0..6_u64).prop_map(|(share, serial)| Event::Rejoined(share, serial)),
        Just(Event::Left),
        Just(Event::Lost),
        Just(Event::Lapsed),
        (1..4_usize).prop_map(Event::Views),
        prop_oneof![Just(Use::Busy), Just(Use::Idle)].prop_map(Event::Tick),
    ]
}

proptest! {
    /// Whatever comes in whichever order: what is believed is believed alone, under one path, and after no higher
    /// revocation; the kernel is made to forget whenever that ends, and holds no old page when it begins.
    #[test]
    fn prop_belief_is_alone(events in prop::collection::vec(any_event(), 1..60)) {
        let (mut holds, mut believes, mut clearing, mut has_old_pages) = (Holds::default(), false, None, false);
        for (at, event) in events.into_iter().enumerate() {
            let actions = holds.step(at as u64 * 1_000_000, event);
            if let Event::Settled(run) = event && clearing.take_if(|clear| *clear == run).is_some() {
                has_old_pages = false;
            }
            for action in &actions {
                match action {
                    Action::Believe => {
                        prop_assert!(!has_old_pages, "{event:?}: {actions:?}");
                        believes = true;
                    }
                    Action::Clear(run) => clearing = Some(*run),
                    Action::Doubt => {
                        (believes, has_old_pages) = (false, true);
                        let forgets = |action: &Action| matches!(action, Action::Forget(_) | Action::Settle(_));
                        prop_assert!(actions.iter().any(forgets), "{event:?}: {actions:?}");
                    }
                    Action::Return(_) => prop_assert!(!believes, "{event:?}: {actions:?}"),
                    _ => {}
                }
            }
            if holds.state() != State::Clearing {
                clearing = None;
                has_old_pages |= holds.state().lets_in() && !believes;
            }
            if believes {
                prop_assert_eq!(holds.state(), State::Alone);
                prop_assert!(holds.views <= 1);
            }
            if let (Event::Joined(_, serial), true) = (event, actions.contains(&Action::Believe)) {
                prop_assert!(serial >= holds.revoked);
            }
        }
    }
}
