//! The engine on the double's disk: one owner after the other, on the smallest aggregate there may be.

mod between;
mod branches;
mod cut;
mod damage;
mod difference;
mod fullness;
mod generations;
mod growth;
mod memory;
mod owners;
mod quota;
mod records;
mod repair;
mod rig;
mod scrub;
mod snapshots;
mod takeover;
mod threads;

use baton_types::Kind;

use crate::aggregate::Need;
use crate::format::{Key, KeyKind};
use rig::{Rig, name, value};

#[test]
fn what_was_committed_is_there_under_the_next_epoch() {
    let mut rig = Rig::new(1);
    let fileset = rig.make_fileset(7);
    for number in 0..40 {
        rig.put(&fileset, name(number), &value(number, 100));
    }
    rig.delete(&fileset, name(3));
    rig.commit();
    rig.census();
    let fileset = rig.next_owner(7);
    assert_eq!(rig.all(&fileset).len(), 39);
    assert_eq!(rig.get(&fileset, name(3)), None);
    assert_eq!(rig.get(&fileset, name(39)).unwrap(), value(39, 100));
}

#[test]
fn what_a_checkpoint_took_is_there_under_the_next_epoch() {
    let mut rig = Rig::new(2);
    let fileset = rig.make_fileset(7);
    for number in 0..400 {
        rig.put(&fileset, name(number), &value(number, 100));
        if number % 100 == 50 {
            rig.checkpoint();
        }
    }
    rig.commit();
    let fileset = rig.next_owner(7);
    assert_eq!(rig.all(&fileset).len(), 400);
    assert_eq!(fileset.usage().files, 400);
}

#[test]
fn what_was_not_committed_is_gone() {
    let mut rig = Rig::new(3);
    let fileset = rig.make_fileset(7);
    rig.put(&fileset, name(1), b"told");
    rig.commit();
    rig.put(&fileset, name(2), b"not told");
    let fileset = rig.next_owner(7);
    assert_eq!(rig.get(&fileset, name(1)).unwrap(), b"told");
    assert_eq!(rig.get(&fileset, name(2)), None);
}

#[test]
fn log_goes_over_many_segments_and_is_released() {
    let mut rig = Rig::new(4);
    let fileset = rig.make_fileset(7);
    let mut most = 0;
    for number in 0..600 {
        rig.put(&fileset, name(number % 50), &value(number, 1_500));
        if number % 7 == 0 {
            rig.commit();
        }
        if number % 60 == 59 {
            most = most.max(rig.census().log);
            rig.checkpoint();
        }
    }
    // 90 KiB of records come between two checkpoints, and one generation stays behind.
    assert!(most >= 5 * 16, "{most} blocks");
    rig.checkpoint();
    rig.checkpoint();
    assert!(rig.census().log <= 16 * 16, "{:?}", rig.census());
    let fileset = rig.next_owner(7);
    assert_eq!(rig.all(&fileset).len(), 50);
    assert_eq!(rig.get(&fileset, name(49)).unwrap(), value(599, 1_500));
}

#[test]
fn data_of_the_last_group_is_checked_at_replay() {
    let mut rig = Rig::new(5);
    let fileset = rig.make_fileset(7);
    rig.write_data(&fileset, 10, 4, 1);
    rig.commit();
    rig.write_data(&fileset, 11, 4, 2);
    rig.commit();
    let block = rig.extent(&fileset, 11).block;
    rig.disk.poke(block.offset(), &[0; 4096]);
    let fileset = rig.next_owner(7);
    // The group before was settled, and stays; the last one lies beyond the cut.
    assert_eq!(rig.data(&fileset, 10).unwrap(), vec![1; 4 * 4096]);
    assert_eq!(rig.data(&fileset, 11), None);
}

#[test]
fn damage_of_settled_data_moves_no_cut() {
    let mut rig = Rig::new(6);
    let fileset = rig.make_fileset(7);
    rig.write_data(&fileset, 10, 4, 1);
    rig.commit();
    rig.write_data(&fileset, 11, 4, 2);
    rig.commit();
    let block = rig.extent(&fileset, 10).block;
    rig.disk.poke(block.offset(), &[0; 4096]);
    let fileset = rig.next_owner(7);
    assert_eq!(rig.data(&fileset, 11).unwrap(), vec![2; 4 * 4096]);
    // What rotted is found when it is read.
    assert_ne!(rig.data(&fileset, 10).unwrap(), vec![1; 4 * 4096]);
}

#[test]
fn full_aggregate_refuses_what_fills_it_and_lets_delete() {
    let rig = Rig::new(7);
    let fileset = rig.make_fileset(7);
    let written = rig.fill(&fileset, 8);
    assert!(written > 100, "{written} files");
    let refused = rig.try_write_data(&fileset, 1 << 30, 8, 1).unwrap_err();
    assert_eq!(refused.kind, Kind::NoSpace);
    rig.census();
    for number in 0..written {
        rig.delete_data(&fileset, number);
    }
    rig.commit();
    for _ in 0..4 {
        rig.checkpoint();
    }
    let again = rig.fill(&fileset, 8);
    assert!(again >= written - 1, "{again} of {written}");
}

#[test]
fn who_writes_much_seldom_waits_for_a_reserve() {
    let rig = Rig::with_segments(4_000, 7);
    let fileset = rig.make_fileset(7);
    let before = rig.port.counts().flushes;
    // Half a segment each: nobody commits but who has to wait for more.
    for number in 0..200 {
        rig.try_write_data(&fileset, number, 8, 1).unwrap();
    }
    let flushes = rig.port.counts().flushes - before;
    assert!(flushes <= 20, "{flushes} for 100 segments");
}

#[test]
fn filling_and_emptying_again_and_again_loses_no_block() {
    let rig = Rig::new(8);
    let fileset = rig.make_fileset(7);
    let mut first = None;
    for round in 0..100 {
        let written = rig.fill(&fileset, 48);
        if round % 50 == 0 {
            rig.census();
        }
        for number in 0..written {
            rig.delete_data(&fileset, number);
        }
        for _ in 0..3 {
            rig.checkpoint();
        }
        let census = rig.census();
        assert_eq!(census.data, 0);
        let first = *first.get_or_insert(census);
        assert!(
            census.free + 64 >= first.free,
            "round {round}: {census:?}, at first {first:?}"
        );
        assert!(written > 15, "round {round}: {written} files");
    }
}

#[test]
fn refused_operation_keeps_no_block() {
    let rig = Rig::new(9);
    let fileset = rig.make_fileset(7);
    let before = rig.census();
    let done = fileset
        .change(&rig::op(0, 0), Need::data(4), |transaction| {
            transaction.allocate(4)?;
            transaction.put(Key::new(1, KeyKind::Attributes, 0), vec![1]);
            Err(baton_types::Error::new(Kind::Exists, "file").into())
        })
        .unwrap();
    assert_eq!(done.answer.unwrap_err().kind, Kind::Exists);
    assert_eq!(rig.census(), before);
}
