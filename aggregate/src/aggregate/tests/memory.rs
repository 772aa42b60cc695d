//! Filesets that nobody uses take no memory, however many were looked at, and nothing of them is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use baton_types::{BootClock, FilesetId};

use super::rig::{Rig, name, value};
use crate::aggregate::Running;

/// More than are kept.
const MANY: u64 = 2_500;
/// Kept though nobody uses them.
const IDLE: usize = 1_024;

#[test]
fn filesets_that_nobody_uses_are_not_kept() {
    let mut rig = Rig::with_segments(1_500, 40);
    // Clients are in some of them.
    let in_use: Vec<_> = (1..=50).map(|id| rig.make_fileset(id)).collect();
    for id in 51..=MANY {
        let fileset = rig.make_fileset(id);
        rig.put(&fileset, name(1), &value(id, 50));
    }
    rig.checkpoint();
    assert!(rig.aggregate.filesets_in_memory() <= IDLE);
    for id in 51..=MANY {
        let fileset = rig.aggregate.fileset(FilesetId(id)).unwrap();
        assert_eq!(rig.get(&fileset, name(1)), Some(value(id, 50)));
        drop(fileset);
        let kept = rig.aggregate.filesets_in_memory();
        assert!(kept <= IDLE, "{kept} are kept after {id} were looked at");
    }
    // Those in use stay the same ones, and what the log had of others the next checkpoint has.
    rig.put(&in_use[7], name(2), &value(7, 50));
    let again = rig.aggregate.fileset(in_use[7].id()).unwrap();
    assert_eq!(rig.get(&again, name(2)), Some(value(7, 50)));
    drop((in_use, again));
    for id in 51..=MANY {
        let fileset = rig.aggregate.fileset(FilesetId(id)).unwrap();
        rig.put(&fileset, name(3), &value(id, 50));
    }
    rig.commit();
    rig.take_over();
    // The log has something of each, and that is needed until a checkpoint has it.
    assert!(rig.aggregate.filesets_in_memory() > IDLE);
    rig.checkpoint();
    assert!(rig.aggregate.filesets_in_memory() <= IDLE);
    let fileset = rig.aggregate.fileset(FilesetId(MANY)).unwrap();
    assert_eq!(rig.get(&fileset, name(3)), Some(value(MANY, 50)));
}

#[test]
fn nothing_is_lost_of_what_is_let_go_and_opened_again_meanwhile() {
    const FILESETS: u64 = 24;
    const CHANGES: u64 = 400;
    let mut rig = Rig::with_segments(600, 41);
    for id in 1..=FILESETS {
        rig.make_fileset(id);
    }
    rig.aggregate.keep_idle(2);
    let running = Running::start(rig.aggregate.clone(), Arc::new(BootClock)).unwrap();
    let left = AtomicU64::new(3);
    thread::scope(|scope| {
        for caller in 0..3 {
            let (rig, left) = (&rig, &left);
            scope.spawn(move || {
                for step in 0..CHANGES {
                    let number = step * 3 + caller;
                    let fileset = rig.aggregate.fileset(FilesetId(1 + number % FILESETS)).unwrap();
                    rig.put(&fileset, name(number), &value(number, 60));
                    // Of what another opening of it did.
                    if let Some(before) = number.checked_sub(3 * FILESETS) {
                        assert_eq!(rig.get(&fileset, name(before)), Some(value(before, 60)));
                    }
                }
                left.fetch_sub(1, Ordering::Relaxed);
            });
        }
        while left.load(Ordering::Relaxed) > 0 {
            rig.checkpoint();
        }
    });
    drop(running);
    rig.checkpoint();
    assert!(rig.aggregate.filesets_in_memory() <= 2);
    rig.commit();
    for _ in 0..2 {
        for number in 0..3 * CHANGES {
            let fileset = rig.aggregate.fileset(FilesetId(1 + number % FILESETS)).unwrap();
            assert_eq!(rig.get(&fileset, name(number)), Some(value(number, 60)), "{number}");
        }
        let files = (1..=FILESETS).map(|id| rig.aggregate.fileset(FilesetId(id)).unwrap().usage().files);
        assert_eq!(files.sum::<u64>(), 3 * CHANGES);
        rig.take_over();
    }
}
