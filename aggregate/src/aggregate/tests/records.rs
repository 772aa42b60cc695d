//! What a record may carry, and which records count.

use baton_types::{FilesetId, Kind};
use bytes::Bytes;

use super::between;
use super::rig::{Rig, changed_blocks, claim, name, op, value};
use crate::fileset::catalog;
use crate::format::{BLOCK_BYTES, Batch, Key, Record, RecordKind};

/// Items, on some leaves.
const ITEMS: u64 = 100;

#[test]
fn quota_set_while_a_checkpoint_runs_brings_no_older_tree_back() {
    let mut rig = Rig::with_segments(700, 50);
    let fileset = rig.make_fileset(7);
    for round in 0..2 {
        for number in 0..ITEMS {
            rig.put(&fileset, name(number), &value(round, 400));
        }
        if round == 1 {
            // All is merged, and the root that says so is not written: its record comes behind the root, and sees the
            // tree before.
            let aggregate = rig.aggregate.clone();
            rig.port.then(between::root, move || {
                let set = aggregate.change_fileset(FilesetId(7), &op(0, 0), |transaction| {
                    catalog::set_quota(transaction, FilesetId(7), 1 << 30, 1_000)
                });
                set.unwrap();
            });
        }
        rig.checkpoint();
    }
    assert!(rig.port.is_over());
    rig.commit();
    let fileset = rig.next_owner(7);
    assert_eq!(fileset.header().quota_files, 1_000);
    let all = rig.all(&fileset);
    assert_eq!(all.len() as u64, ITEMS);
    assert!(all.iter().all(|(_, found)| *found == value(1, 400)));
}

#[test]
#[should_panic(expected = "which merges alone write")]
fn record_that_puts_the_tree_of_a_fileset_is_not_appended() {
    let rig = Rig::new(51);
    rig.make_fileset(7);
    let put = rig
        .aggregate
        .change_system(RecordKind::Fileset, &op(0, 0), |transaction| {
            transaction.put(Key::fileset_tree(FilesetId(7)), vec![0; 32]);
            Ok(())
        });
    unreachable!("it was appended: {put:?}");
}

#[test]
fn record_that_puts_the_tree_of_a_fileset_is_not_replayed() {
    let rig = Rig::new(52);
    rig.make_fileset(7);
    rig.commit();
    let before = rig.disk.fork(1);
    rig.open_session();
    rig.commit();
    rig.port.stop();
    let [at] = changed_blocks(&before, &rig.disk)[..] else {
        panic!("a small batch is one block")
    };
    let batch = Batch::decode(
        &rig.disk.peek(at, BLOCK_BYTES).into(),
        rig.aggregate.label().id,
        BLOCK_BYTES,
    )
    .unwrap();
    let mut records: Vec<Record> = batch.records().map(|record| record.unwrap().1).collect();
    for key in [Key::fileset_tree(FilesetId(7)), Key::fileset_usage(FilesetId(7))] {
        let disk = rig.disk.fork(2);
        records[0].items.push((key, Some(Bytes::from(vec![0; 32]))));
        let (_, bytes) = Batch::encode(batch.header, &records, BLOCK_BYTES).unwrap();
        records[0].items.pop();
        disk.poke(at, &bytes);
        let held = claim(&disk, rig.epoch.next().unwrap()).err().unwrap();
        assert_eq!(held.kind, Kind::Damaged, "{held}");
        assert!(held.to_string().contains("which merges alone write"), "{held}");
    }
}

#[test]
fn batch_that_lands_behind_the_cut_is_never_replayed() {
    let mut rig = Rig::new(53);
    let fileset = rig.make_fileset(7);
    rig.put(&fileset, name(1), b"told");
    rig.commit();
    // The owner goes on, but what he writes is still on its way when the next one reads his log.
    let disk = rig.disk.fork(1);
    rig.put(&fileset, name(2), b"late");
    rig.commit();
    let late = changed_blocks(&disk, &rig.disk);
    let late: Vec<_> = late
        .into_iter()
        .map(|at| (at, rig.disk.peek(at, BLOCK_BYTES)))
        .collect();
    rig.disk = disk;
    let fileset = rig.next_owner(7);
    rig.put(&fileset, name(3), b"next");
    rig.commit();
    late.iter().for_each(|(at, bytes)| rig.disk.poke(*at, bytes));
    let fileset = rig.next_owner(7);
    assert_eq!(
        rig.all(&fileset),
        [(name(1), b"told".to_vec()), (name(3), b"next".to_vec())]
    );
}
