//! What a fileset may hold, and to whom the last room is left.

use baton_types::{FilesetId, Kind, Result, Timestamp};
use proptest::prelude::*;

use super::rig::{Rig, delete_data, name, op, write_data};
use crate::aggregate::{Fileset, Need, Standing};
use crate::fileset::catalog;
use crate::format::BLOCK_BYTES;
use crate::transaction::Usage;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// A client's session in a fileset.
struct Client<'a> {
    rig: &'a Rig,
    session: u64,
    sequence: u32,
}

impl Client<'_> {
    fn new(rig: &Rig) -> Client<'_> {
        let session = rig.open_session();
        Client {
            rig,
            session,
            sequence: 0,
        }
    }

    /// Writes a file anew.
    fn write(&mut self, fileset: &Fileset, number: u64, blocks: u8) -> Result<()> {
        self.sequence += 1;
        let operation = op(self.session, self.sequence);
        let done = fileset.change(&operation, Need::data(blocks.into()), |transaction| {
            write_data(transaction, number, blocks, 1)
        });
        done.unwrap().answer.map(drop)
    }

    fn empty(&mut self, fileset: &Fileset, number: u64) {
        self.sequence += 1;
        let operation = op(self.session, self.sequence);
        let done = fileset.change(&operation, Need::UPKEEP, |transaction| delete_data(transaction, number));
        done.unwrap().answer.unwrap();
    }

    fn put(&mut self, fileset: &Fileset, number: u64) -> Result<()> {
        self.sequence += 1;
        let operation = op(self.session, self.sequence);
        let done = self.rig.put_as(fileset, &operation, name(number), b"a name");
        done.unwrap().answer.map(drop)
    }
}

fn limit(rig: &Rig, bytes: u64, files: u64) {
    let id = FilesetId(7);
    let set = rig.aggregate.change_fileset(id, &op(0, 0), |transaction| {
        catalog::set_quota(transaction, id, bytes, files)
    });
    set.unwrap();
}

fn kind(result: Result<()>) -> Result<(), Kind> {
    result.map_err(|error| error.kind)
}

#[test]
fn quota_is_exact_and_what_frees_room_makes_room_at_once() {
    let mut rig = Rig::new(70);
    let fileset = rig.make_fileset(7);
    limit(&rig, 10 * BLOCK, 2);
    let mut client = Client::new(&rig);
    client.write(&fileset, 1, 10).unwrap();
    let refused = client.write(&fileset, 2, 1).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "fileset home7: its quota of 40960 bytes is used up; delete something, or have the quota raised: fts setquota"
    );
    // What takes no more than before is no growth.
    client.write(&fileset, 1, 10).unwrap();
    client.write(&fileset, 1, 9).unwrap();
    client.write(&fileset, 2, 1).unwrap();
    client.put(&fileset, 1).unwrap();
    client.put(&fileset, 2).unwrap();
    assert_eq!(kind(client.put(&fileset, 3)), Err(Kind::Quota));
    let used = fileset.usage();
    assert_eq!((used.bytes, used.files), (10 * BLOCK, 2));

    // The next owner knows the limit, from the log and from a checkpoint.
    rig.commit();
    for _ in 0..2 {
        let fileset = rig.next_owner(7);
        let mut client = Client::new(&rig);
        assert_eq!(kind(client.write(&fileset, 3, 1)), Err(Kind::Quota));
        assert_eq!(kind(client.put(&fileset, 3)), Err(Kind::Quota));
        rig.commit();
        rig.checkpoint();
    }
}

#[test]
fn fileset_over_its_quota_can_be_overwritten_and_emptied() {
    let rig = Rig::new(71);
    let fileset = rig.make_fileset(7);
    let mut client = Client::new(&rig);
    client.write(&fileset, 1, 20).unwrap();
    limit(&rig, 4 * BLOCK, 0);
    client.write(&fileset, 1, 20).unwrap();
    assert_eq!(kind(client.write(&fileset, 2, 1)), Err(Kind::Quota));
    client.write(&fileset, 1, 5).unwrap();
    assert_eq!(kind(client.write(&fileset, 2, 1)), Err(Kind::Quota));
    client.empty(&fileset, 1);
    client.write(&fileset, 2, 4).unwrap();
}

#[test]
fn what_was_accepted_is_not_refused_when_it_is_said_again() {
    let rig = Rig::new(72);
    let fileset = rig.make_fileset(7);
    limit(&rig, BLOCK, 0);
    let mut client = Client::new(&rig);
    client.write(&fileset.standing(Standing::Accepted), 1, 3).unwrap();
    assert_eq!(kind(client.write(&fileset, 2, 1)), Err(Kind::Quota));
    // Nor is what the store does by itself.
    rig.write_data(&fileset, 3, 1, 1);
    assert_eq!(fileset.usage().bytes, 4 * BLOCK);
}

#[test]
fn last_room_is_left_to_what_is_said_again() {
    let rig = Rig::with_segments(700, 75);
    let fileset = rig.make_fileset(7);
    let yielding = fileset.standing(Standing::Yielding);
    let fresh = rig.fill(&yielding, 16);
    // A twentieth of the aggregate, in files of a segment each.
    let again = (0..).find(|number| {
        let written = rig.try_write_data(&fileset.standing(Standing::Accepted), fresh + number, 16, 1);
        written.is_err_and(|error| error.kind == Kind::NoSpace)
    });
    let again = again.unwrap();
    assert!((25..=45).contains(&again), "{again} behind {fresh}");
    rig.delete_data(&yielding, 0);
}

#[test]
fn refusal_is_kept_like_any_answer() {
    let mut rig = Rig::new(73);
    let fileset = rig.make_fileset(7);
    limit(&rig, BLOCK, 0);
    let session = rig.open_session();
    let write = |fileset: &Fileset| {
        let done = fileset.change(&op(session, 1), Need::data(2), |transaction| {
            write_data(transaction, 1, 2, 1)
        });
        done.unwrap().answer.unwrap_err().kind
    };
    assert_eq!(write(&fileset), Kind::Quota);
    limit(&rig, 0, 0);
    assert_eq!(write(&fileset), Kind::Quota);
    rig.commit();
    assert_eq!(write(&rig.next_owner(7)), Kind::Quota);
}

#[derive(Clone, Debug)]
enum Step {
    Write(u64, u8),
    Empty(u64),
    Put(u64),
    Limit(u64, u64),
    TakeOver,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..4_u64, 1..9_u8).prop_map(|(number, blocks)| Step::Write(number, blocks)),
        3 => (0..4_u64).prop_map(Step::Empty),
        4 => (0..12_u64).prop_map(Step::Put),
        2 => (0..20_u64, 0..8_u64).prop_map(|(blocks, files)| Step::Limit(blocks, files)),
        1 => Just(Step::TakeOver),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn prop_quota_equals_a_count(steps in proptest::collection::vec(step(), 1..60)) {
        let mut rig = Rig::new(74);
        let mut fileset = rig.make_fileset(7);
        let (mut blocks, mut names, mut limits) = ([0_u64; 4], [false; 12], (0, 0));
        for step in steps {
            let sum: u64 = blocks.iter().sum();
            let count = names.iter().filter(|is_there| **is_there).count() as u64;
            let mut client = Client::new(&rig);
            match step {
                Step::Write(number, new) => {
                    let after = sum - blocks[number as usize] + u64::from(new);
                    let fits = limits.0 == 0 || after <= limits.0 || after <= sum;
                    let expected = fits.then_some(()).ok_or(Kind::Quota);
                    prop_assert_eq!(kind(client.write(&fileset, number, new)), expected);
                    if fits {
                        blocks[number as usize] = new.into();
                    }
                }
                Step::Empty(number) => {
                    client.empty(&fileset, number);
                    blocks[number as usize] = 0;
                }
                Step::Put(number) => {
                    let is_there = names[number as usize];
                    let fits = is_there || limits.1 == 0 || count < limits.1;
                    prop_assert_eq!(kind(client.put(&fileset, number)), fits.then_some(()).ok_or(Kind::Quota));
                    names[number as usize] |= fits;
                }
                Step::Limit(blocks, files) => {
                    limit(&rig, blocks * BLOCK, files);
                    limits = (blocks, files);
                }
                Step::TakeOver => {
                    rig.aggregate.detach(Timestamp(2)).unwrap();
                    fileset = rig.next_owner(7);
                }
            }
        }
        let files = names.iter().filter(|is_there| **is_there).count() as u64;
        let bytes = blocks.iter().sum::<u64>() * BLOCK;
        prop_assert_eq!(fileset.usage(), Usage { bytes, files, promised: 0 });
    }
}
