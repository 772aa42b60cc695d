//! One owner after the other.

use baton_types::{Kind, Timestamp};

use super::rig::{Rig, changed_blocks, claim, name, op, value};
use crate::format::{Geometry, RootPlace};
use crate::transaction::Operation;

#[test]
fn replay_is_given_the_first_answer_whoever_serves() {
    let mut rig = Rig::new(1);
    let fileset = rig.make_fileset(7);
    let session = rig.open_session();
    let put = |rig: &Rig, fileset: &crate::aggregate::Fileset, sequence: u32| {
        let key = name(sequence.into());
        rig.put_as(fileset, &op(session, sequence), key, b"once").unwrap()
    };
    let first = put(&rig, &fileset, 1);
    assert_eq!(put(&rig, &fileset, 1).lsn, first.lsn);
    rig.commit();

    // From the log.
    let fileset = rig.next_owner(7);
    let again = put(&rig, &fileset, 1);
    assert_eq!((again.lsn, again.answer.is_ok()), (first.lsn, true));
    assert_eq!(fileset.usage().files, 1);

    // From the system tree.
    put(&rig, &fileset, 2);
    rig.checkpoint();
    rig.checkpoint();
    let fileset = rig.next_owner(7);
    let last = rig.aggregate.last();
    put(&rig, &fileset, 2).answer.unwrap();
    assert_eq!((rig.aggregate.last(), fileset.usage().files), (last, 2));
    // What was seen is forgotten, and never done again.
    let seen = rig.put_as(&fileset, &op(session, 1), name(1), b"twice");
    assert_eq!(seen.unwrap_err().kind, Kind::Invalid);
}

#[test]
fn what_was_refused_without_a_record_is_not_done_after_what_came_later() {
    let mut rig = Rig::new(4);
    let fileset = rig.make_fileset(7);
    let session = rig.open_session();
    let put = |rig: &Rig, fileset: &crate::aggregate::Fileset, sequence: u32, seen: u32| {
        let operation = Operation {
            stream: 0,
            seen,
            ..op(session, sequence)
        };
        rig.put_as(fileset, &operation, name(sequence.into()), b"in order")
    };
    // The second was refused by whoever brings them, and its client never heard of that.
    put(&rig, &fileset, 1, 0).unwrap();
    put(&rig, &fileset, 3, 1).unwrap();
    let seen = put(&rig, &fileset, 1, 1).unwrap_err();
    assert_eq!(seen.kind, Kind::Invalid, "{seen}");
    rig.commit();
    let fileset = rig.next_owner(7);
    let again = put(&rig, &fileset, 2, 1).unwrap_err();
    assert_eq!(again.kind, Kind::Io, "{again}");
    assert!(rig.get(&fileset, name(2)).is_none());
}

#[test]
fn log_of_an_ended_session_is_replayed() {
    let mut rig = Rig::new(2);
    let fileset = rig.make_fileset(7);
    let session = rig.open_session();
    rig.put_as(&fileset, &op(session, 1), name(1), b"mine").unwrap();
    rig.aggregate
        .end_session(crate::transaction::SessionId(session))
        .unwrap();
    rig.commit();
    let fileset = rig.next_owner(7);
    assert_eq!(rig.get(&fileset, name(1)).unwrap(), b"mine");
    let lost = rig.put_as(&fileset, &op(session, 2), name(2), b"lost").unwrap_err();
    assert_eq!(lost.kind, Kind::SessionLost);
}

#[test]
fn many_takeovers_lose_nothing_and_use_up_no_root() {
    let mut rig = Rig::new(3);
    let mut fileset = rig.make_fileset(7);
    for round in 0..24 {
        for number in 0..10 {
            rig.put(&fileset, name(round * 10 + number), &value(round, 300));
        }
        rig.commit();
        if round % 3 > 0 {
            // One that crashes shuts away what it had: eight of them fit.
            rig.aggregate.detach(Timestamp(2)).unwrap();
        }
        fileset = rig.next_owner(7);
        assert_eq!(rig.all(&fileset).len() as u64, (round + 1) * 10, "round {round}");
    }
}

#[test]
fn owners_that_died_early_leave_no_quarantine_once_the_ring_has_passed_them() {
    let mut rig = Rig::new(5);
    rig.make_fileset(7);
    rig.commit();
    for round in 0..3 {
        // None of them lives to make a checkpoint; the last one that does frees all but the ring's own.
        for number in 0..8 {
            let fileset = rig.next_owner(7);
            rig.put(&fileset, name(round * 8 + number), &value(number, 300));
            rig.commit();
        }
        for _ in 0..4 {
            rig.checkpoint();
        }
        let one_ring = 8 * 16 * 8; // owners, blocks of a segment, segments that each began with
        assert!(
            rig.census().quarantined <= one_ring,
            "round {round}: {:?}",
            rig.census()
        );
    }
    let fileset = rig.next_owner(7);
    assert_eq!(rig.all(&fileset).len(), 24);
}

/// Crashes at each start, however early, use up no segment for good: what is proven gone is there for the next claim.
#[test]
fn owners_that_crash_one_after_the_other_find_room_to_begin() {
    for (seed, checkpoints) in [(21, 0), (22, 1), (23, 2)] {
        let mut rig = Rig::new(seed);
        let mut fileset = rig.make_fileset(7);
        rig.commit();
        for round in 0..200 {
            // Most of them have not even a record to leave.
            if round % 5 == 0 {
                rig.put(&fileset, name(round), &value(round, 300));
                rig.commit();
            }
            for _ in 0..checkpoints {
                rig.checkpoint();
            }
            fileset = rig.next_owner(7);
            let census = rig.census();
            assert!(
                census.free > census.quarantined,
                "seed {seed}, round {round}: {census:?}"
            );
        }
        assert_eq!(rig.all(&fileset).len(), 40, "seed {seed}");
    }
}

#[test]
fn detached_owner_leaves_no_quarantine() {
    let mut rig = Rig::new(4);
    let fileset = rig.make_fileset(7);
    for number in 0..50 {
        rig.put(&fileset, name(number), &value(number, 1_000));
    }
    rig.aggregate.detach(Timestamp(2)).unwrap();
    rig.take_over();
    for _ in 0..3 {
        rig.checkpoint();
    }
    assert_eq!(rig.census().quarantined, 0, "{:?}", rig.census());
}

#[test]
fn stopped_owner_leaves_its_reserve_in_quarantine() {
    let mut rig = Rig::new(5);
    let fileset = rig.make_fileset(7);
    rig.put(&fileset, name(1), b"one");
    rig.commit();
    rig.take_over();
    for _ in 0..5 {
        rig.checkpoint();
    }
    let census = rig.census();
    assert!(census.quarantined > 0, "{census:?}");
    // It stays so, whoever comes after.
    rig.aggregate.detach(Timestamp(2)).unwrap();
    rig.take_over();
    for _ in 0..5 {
        rig.checkpoint();
    }
    assert_eq!(rig.census().quarantined, census.quarantined);
}

#[test]
fn older_root_and_its_longer_log_lose_nothing() {
    let mut rig = Rig::new(6);
    let fileset = rig.make_fileset(7);
    for round in 0..6 {
        for number in 0..30 {
            rig.put(&fileset, name(round * 30 + number), &value(round, 500));
        }
        rig.write_data(&fileset, 100 + round, 8, round as u8);
        if round > 0 {
            rig.delete_data(&fileset, 100 + round - 1);
        }
        rig.checkpoint();
    }
    rig.put(&fileset, name(999), b"last");
    rig.commit();
    let all = rig.all(&fileset);
    let newest = Geometry::root_offset(Geometry::ring_index(rig.epoch), RootPlace::of(6));
    rig.disk.flip(newest + 100, 3);
    let fileset = rig.next_owner(7);
    assert_eq!(rig.all(&fileset), all);
    assert_eq!(rig.data(&fileset, 105).unwrap(), vec![5; 8 * 4096]);
}

#[test]
fn rot_in_the_middle_of_the_log_is_not_taken_for_its_end() {
    let rig = Rig::new(7);
    let fileset = rig.make_fileset(7);
    rig.commit();
    let before = rig.disk.fork(1);
    rig.put(&fileset, name(1), &value(1, 100));
    rig.commit();
    let changed = changed_blocks(&before, &rig.disk);
    rig.put(&fileset, name(2), &value(2, 100));
    rig.commit();
    rig.put(&fileset, name(3), &value(3, 100));
    rig.commit();
    rig.port.stop();
    rig.disk.flip(changed[0] + 200, 1);
    let held = claim(&rig.disk, rig.epoch.next().unwrap()).err().unwrap();
    assert_eq!(held.kind, Kind::Damaged, "{held}");
}

#[test]
fn batch_torn_at_the_very_end_is_the_end() {
    let mut rig = Rig::new(8);
    let fileset = rig.make_fileset(7);
    rig.put(&fileset, name(1), &value(1, 100));
    rig.commit();
    let before = rig.disk.fork(1);
    rig.put(&fileset, name(2), &value(2, 100));
    rig.commit();
    let changed = changed_blocks(&before, &rig.disk);
    rig.disk.flip(changed[0] + 200, 1);
    let fileset = rig.next_owner(7);
    assert_eq!(rig.all(&fileset).len(), 1);
}

#[test]
fn what_an_owner_left_counts_only_for_who_goes_on_where_it_ended() {
    let mut rig = Rig::new(11);
    rig.make_fileset(7);
    let leave = |rig: &Rig, bytes: &[u8]| {
        let lsn = rig.aggregate.leave(bytes).unwrap();
        rig.aggregate.wait(lsn).unwrap();
        rig.aggregate.detach(Timestamp(2)).unwrap();
    };
    let left: Vec<u8> = (0..100_000_u32).map(|at| at as u8).collect();
    leave(&rig, &left);
    rig.next_owner(7);
    assert_eq!(rig.aggregate.inherited().unwrap().as_deref(), Some(&left[..]));
    // It crashes: what it had inherited was another one's.
    rig.commit();
    rig.next_owner(7);
    assert_eq!(rig.aggregate.inherited().unwrap(), None);
    // What is taken back is written on, and then nothing that was left is true any more.
    leave(&rig, &left);
    rig.aggregate.look().unwrap_err();
    rig.aggregate.thaw(Timestamp(3)).unwrap();
    rig.aggregate.look().unwrap();
    let fileset = rig.aggregate.fileset(baton_types::FilesetId(7)).unwrap();
    rig.put(&fileset, name(1), b"after the thaw");
    rig.commit();
    let fileset = rig.next_owner(7);
    assert_eq!(rig.get(&fileset, name(1)).unwrap(), b"after the thaw");
    assert_eq!(rig.aggregate.inherited().unwrap(), None);
    leave(&rig, b"less");
    rig.next_owner(7);
    assert_eq!(rig.aggregate.inherited().unwrap().as_deref(), Some(&b"less"[..]));
}

#[test]
fn who_was_followed_while_it_was_detached_never_comes_back() {
    let rig = Rig::new(12);
    rig.make_fileset(7);
    rig.commit();
    rig.aggregate.detach(Timestamp(2)).unwrap();
    let next = rig.aggregate.epoch().next().unwrap();
    let (_port, followed) = claim(&rig.disk, next).unwrap();
    assert_eq!(rig.aggregate.thaw(Timestamp(3)).unwrap_err().kind, Kind::WrongEpoch);
    followed.look().unwrap();
}
