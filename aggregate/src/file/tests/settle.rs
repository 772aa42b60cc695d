//! What the file server has a say in: whether a change happens, and what else it changes; and who may not wait.

use baton_types::call::At;

use super::write::HASTY_BYTES_MAX;
use super::*;
use crate::fileset::SetAttributes;

fn denied() -> Stop {
    Error::new(Kind::Denied, "file").into()
}

fn at(time: i64) -> Operation {
    Operation {
        time: Timestamp(time),
        ..Operation::default()
    }
}

#[test]
fn what_is_refused_changes_nothing_and_takes_no_room() {
    let bed = Bed::new(1);
    bed.write(0, &pattern(1, 300_000));
    let (before, usage) = (bed.attributes(), bed.fileset.usage());
    let refuse = &mut |_: &Attributes, _: &mut Attributes| Err(denied());
    let operation = Operation::default();
    for at in [At::Offset(5), At::End] {
        for len in [0, 100, 100_000] {
            let bytes = pattern(2, len);
            let done = write_as(&bed.fileset, &operation, (bed.fid, at), &bytes, refuse);
            assert_eq!(refusal(done), Kind::Denied, "{at:?}, {len} bytes");
        }
    }
    let done = truncate_as(&bed.fileset, &operation, (bed.fid, 7), refuse);
    assert_eq!(refusal(done), Kind::Denied);
    for how in [
        Allocate::Extend,
        Allocate::KeepSize,
        Allocate::PunchHole,
        Allocate::Zero,
    ] {
        let done = fallocate(&bed.fileset, &operation, (bed.fid, 5..500_000), how, refuse);
        assert_eq!(refusal(done), Kind::Denied, "{how:?}");
    }
    let read = read_as(&bed.fileset, bed.fid, (0, 10), &|_| Err(denied()));
    assert_eq!(read.unwrap_err().kind, Kind::Denied);
    assert_eq!((bed.attributes(), bed.fileset.usage()), (before, usage));
    bed.check();
}

#[test]
fn length_and_other_attributes_are_one_change() {
    let bed = Bed::new(1);
    bed.write(0, b"some bytes");
    let before = bed.aggregate.last();
    let done = truncate_as(&bed.fileset, &at(50), (bed.fid, 4), &mut |old, new| {
        assert_eq!((old.size, new.size), (10, 4));
        new.uid = 7;
        new.modified = Timestamp(3);
        Ok(())
    });
    let object = answer(done);
    assert_eq!(bed.aggregate.last().0, before.0 + 1);
    assert_eq!(object.attributes, bed.attributes());
    assert_eq!((object.attributes.uid, object.attributes.modified), (7, Timestamp(3)));
    assert_eq!(object.attributes.changed, Timestamp(50));
}

#[test]
fn each_change_of_bytes_moves_the_date() {
    let bed = Bed::new(1);
    let write = |time: i64| {
        let object = answer(write(&bed.fileset, &at(time), bed.fid, 0, b"x"));
        object.attributes.modified.0
    };
    assert_eq!(write(1_000), 1_000);
    assert_eq!(
        (write(1_000), write(1_000), write(900)),
        (1_001, 1_002, 1_003),
        "clocks differ"
    );
    assert_eq!(write(2_000), 2_000);
    let future = SetAttributes {
        modified: Some(Timestamp(i64::MAX)),
        ..SetAttributes::default()
    };
    let set = bed.fileset.operate(&at(1), Need::GROWTH, |transaction, _| {
        crate::fileset::setattr(transaction, bed.fid, &future)
    });
    answer(set);
    assert_eq!(write(3_000), 3_000, "a date that was set is not followed");
}

#[test]
fn appended_bytes_go_to_the_end_of_the_moment_and_their_replay_nowhere() {
    let bed = Bed::new(1);
    let (opened, session) = bed
        .aggregate
        .open_session(ClientId(Uuid::from_u128(9)), Timestamp(0))
        .unwrap();
    bed.aggregate.wait(opened).unwrap();
    let operation = Operation {
        session,
        sequence: 1,
        ..Operation::default()
    };
    bed.write(0, b"begin ");
    let append = || write_as(&bed.fileset, &operation, (bed.fid, At::End), b"one", &mut as_it_is);
    let first = answer(append());
    assert_eq!(first.attributes.size, 9);
    bed.write(9, b" two");
    assert_eq!(answer(append()), first);
    assert_eq!(bed.read(0, 100), Bytes::from_static(b"begin one two"));
}

#[test]
fn a_file_of_many_extents_is_punched_in_steps() {
    let bed = Bed::new(1);
    for block in 0..600 {
        bed.write(2 * block * BLOCK, &[1; 10]);
    }
    let before = bed.aggregate.last();
    let object = bed.fallocate(BLOCK..1_190 * BLOCK, Allocate::PunchHole);
    assert_eq!(bed.aggregate.last().0 - before.0, 3, "256 extents a record");
    assert_eq!(
        (object.attributes.size, object.attributes.blocks),
        (1_198 * BLOCK + 10, 6)
    );
    bed.check();
}

#[test]
fn what_there_is_no_room_for_is_refused() {
    let bed = Bed::new(1);
    let operation = Operation::default();
    for how in [Allocate::Extend, Allocate::KeepSize] {
        let done = fallocate(&bed.fileset, &operation, (bed.fid, 0..1 << 40), how, &mut as_it_is);
        assert_eq!(refusal(done), Kind::NoSpace, "{how:?}");
    }
    let range = |start, end| (bed.fid, start..end);
    let refused = |range| {
        refusal(fallocate(
            &bed.fileset,
            &operation,
            range,
            Allocate::Zero,
            &mut as_it_is,
        ))
    };
    assert_eq!(refused(range(5, 5)), Kind::Invalid);
    assert_eq!(refused(range(5, SIZE_END)), Kind::TooBig);
}

#[test]
fn who_may_not_wait_is_served_from_memory_alone() {
    let mut bed = Bed::new(1);
    bed.write(0, &pattern(1, 200_000));
    bed.commit();
    bed.aggregate.checkpoint().unwrap();
    bed.reopen();
    let hasty = bed.fileset.impatient();
    let operation = Operation::default();
    let waits = |result: Result<()>| assert_eq!(result.unwrap_err().kind, Kind::Wait);
    // Nothing is in memory: neither nodes nor data.
    waits(read(&hasty, bed.fid, 0, 100).map(drop));
    waits(write(&hasty, &operation, bed.fid, 5, b"x").map(drop));
    waits(truncate(&hasty, &operation, bed.fid, 5).map(drop));
    bed.fileset.read(|view| load(view, bed.fid)).unwrap();
    // Now the nodes are: what needs no data is done.
    waits(read(&hasty, bed.fid, 0, 100).map(drop));
    waits(write(&hasty, &operation, bed.fid, 5, b"x").map(drop));
    answer(write(&hasty, &operation, bed.fid, 40 * BLOCK, &[7; BLOCK_BYTES]));
    bed.read(0, 100);
    assert_eq!(read(&hasty, bed.fid, 0, 100).unwrap(), pattern(1, 100));
    answer(write(&hasty, &operation, bed.fid, 5, b"x"));
    // Its own bytes are in memory until they are written.
    assert_eq!(read(&hasty, bed.fid, 40 * BLOCK, 10).unwrap(), [7; 10][..]);
    // Bytes that go to the disk before their record make everybody wait.
    waits(write(&hasty, &operation, bed.fid, 0, &pattern(1, HASTY_BYTES_MAX + 1)).map(drop));
    bed.check();
}

#[test]
fn who_may_not_wait_does_not_wait_for_admission() {
    let bed = Bed::new(1);
    let hasty = bed.fileset.impatient();
    let operation = Operation::default();
    let bytes = pattern(1, 14 * BLOCK_BYTES);
    let mut count = 0;
    // Nobody commits: at last too much waits to be written.
    let error = loop {
        match write(&hasty, &operation, bed.fid, 0, &bytes) {
            Ok(done) => assert!(done.answer.is_ok()),
            Err(error) => break error,
        }
        count += 1;
    };
    assert_eq!(error.kind, Kind::Wait, "{error}");
    assert!(count > 0);
    bed.commit();
    answer(write(&hasty, &operation, bed.fid, 0, &bytes));
}
