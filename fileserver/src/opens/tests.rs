//! Transcripts of opens, in `testdata/opens`, and opens against a set of pairs.
//!
//! `open a f1.7`, `close a f1.7`, `orphan f1.7`, `removed f1.7`, `leave a f1`.

use proptest::prelude::*;

use super::*;
use crate::state::transcript::{assert_all_played, client, fid, fid_name, fileset, play};

const PLAYED: [&str; 1] = ["orphan_goes_with_its_last_holder.txt"];

#[test]
fn opens_do_as_their_transcripts_say() {
    for name in PLAYED {
        let mut opens = Opens::default();
        play(&format!("opens/{name}"), |line| {
            let removed = match line.split(' ').collect::<Vec<_>>()[..] {
                ["open", who, file] => match opens.open(client(who)?, fid(file)?) {
                    Ok(()) => Vec::new(),
                    Err(error) => return Some(vec![format!("{:?} {file}", error.kind).to_lowercase()]),
                },
                ["removed", file] => {
                    opens.removed(fid(file)?);
                    Vec::new()
                }
                ["close", who, file] => Vec::from_iter(opens.close(client(who)?, fid(file)?)),
                ["orphan", file] => Vec::from_iter(opens.orphaned(fid(file)?)),
                ["leave", who, place] => opens.leave(client(who)?, fileset(place)?),
                _ => return None,
            };
            Some(
                removed
                    .into_iter()
                    .map(|fid| format!("remove {}", fid_name(fid)))
                    .collect(),
            )
        });
    }
    assert_all_played("opens", &PLAYED);
}

#[test]
fn open_files_of_one_client_are_bounded() {
    let (a, b) = (client("a").unwrap(), client("b").unwrap());
    let file = |unique| Fid {
        unique,
        ..fid("f1.7").unwrap()
    };
    let mut opens = Opens::default();
    for unique in 0..OPENS_PER_CLIENT_MAX as u64 {
        opens.open(a, file(unique)).unwrap();
    }
    assert_eq!(opens.open(a, file(u64::MAX)).unwrap_err().kind, Kind::Limit);
    opens.open(a, file(0)).unwrap();
    opens.open(b, file(u64::MAX)).unwrap();
    opens.close(a, file(0));
    opens.open(a, file(u64::MAX)).unwrap();
}

#[derive(Clone, Debug)]
enum Step {
    Open(u8, u8, u8),
    Close(u8, u8, u8),
    Orphan(u8, u8),
    Removed(u8, u8),
    Leave(u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3u8, 1..3u8, 1..4u8).prop_map(|(who, place, file)| Step::Open(who, place, file)),
        3 => (0..3u8, 1..3u8, 1..4u8).prop_map(|(who, place, file)| Step::Close(who, place, file)),
        2 => (1..3u8, 1..4u8).prop_map(|(place, file)| Step::Orphan(place, file)),
        2 => (1..3u8, 1..4u8).prop_map(|(place, file)| Step::Removed(place, file)),
        1 => (0..3u8, 1..3u8).prop_map(|(who, place)| Step::Leave(who, place)),
    ]
}

proptest! {
    /// A file without a name goes exactly when the last pair with it goes, or at once when there is none; and nobody
    /// opens it while it goes.
    #[test]
    fn prop_opens_equal_a_set_of_pairs(steps in prop::collection::vec(step(), 0..60)) {
        let who = |number: u8| client(&char::from(b'a' + number).to_string()).unwrap();
        let file = |place: u8, file: u8| fid(&format!("f{place}.{file}")).unwrap();
        let mut opens = Opens::default();
        let mut pairs: BTreeSet<(ClientId, Fid)> = BTreeSet::new();
        let (mut orphans, mut going): (BTreeSet<Fid>, BTreeSet<Fid>) = Default::default();
        for step in steps {
            let mut removed = match step {
                Step::Open(client, place, number) => {
                    let file = file(place, number);
                    let opened = opens.open(who(client), file).map_err(|error| error.kind);
                    match going.contains(&file) {
                        true => prop_assert_eq!(opened, Err(Kind::Stale)),
                        false => {
                            prop_assert_eq!(opened, Ok(()));
                            pairs.insert((who(client), file));
                        }
                    }
                    Vec::new()
                }
                Step::Removed(place, number) => {
                    going.remove(&file(place, number));
                    opens.removed(file(place, number));
                    Vec::new()
                }
                Step::Close(client, place, number) => {
                    pairs.remove(&(who(client), file(place, number)));
                    Vec::from_iter(opens.close(who(client), file(place, number)))
                }
                Step::Orphan(place, number) => {
                    if !going.contains(&file(place, number)) {
                        orphans.insert(file(place, number));
                    }
                    Vec::from_iter(opens.orphaned(file(place, number)))
                }
                Step::Leave(client, place) => {
                    let place = FilesetId(u64::from(place));
                    pairs.retain(|(other, fid)| *other != who(client) || fid.fileset != place);
                    opens.leave(who(client), place)
                }
            };
            let held: BTreeSet<Fid> = pairs.iter().map(|(_, fid)| *fid).collect();
            let gone: Vec<Fid> = orphans.difference(&held).copied().collect();
            orphans.retain(|fid| held.contains(fid));
            going.extend(&gone);
            removed.sort();
            prop_assert_eq!(removed, gone);
            for place in 1..3 {
                for number in 1..4 {
                    prop_assert_eq!(opens.is_open(file(place, number)), held.contains(&file(place, number)));
                }
                for client in 0..3 {
                    let place = FilesetId(u64::from(place));
                    let has_any = pairs.iter().any(|(other, fid)| *other == who(client) && fid.fileset == place);
                    prop_assert_eq!(opens.has_any(who(client), place), has_any);
                }
            }
        }
        let files: BTreeSet<Fid> = pairs.iter().map(|(_, fid)| *fid).chain(going).collect();
        prop_assert_eq!(opens.files.keys().copied().collect::<BTreeSet<_>>(), files, "nothing is kept that is over");
        prop_assert_eq!(opens.clients.values().map(BTreeSet::len).sum::<usize>(), pairs.len());
    }
}
