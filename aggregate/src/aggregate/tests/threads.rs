//! Threads: many callers at once, and an end that leaves nobody waiting.

use std::sync::Arc;
use std::thread;

use baton_types::BootClock;

use super::rig::{Rig, name, value};
use crate::aggregate::Running;

/// Callers at once.
const CALLERS: u64 = 4;
/// Changes of each.
const CHANGES: u64 = 300;

#[test]
fn callers_are_told_though_the_threads_end_meanwhile() {
    let mut rig = Rig::new(11);
    let fileset = rig.make_fileset(1);
    let running = Running::start(rig.aggregate.clone(), Arc::new(BootClock)).unwrap();
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (rig, fileset) = (&rig, &fileset);
            scope.spawn(move || {
                for number in 0..CHANGES {
                    let number = caller * CHANGES + number;
                    rig.put(fileset, name(number), &value(number, 100));
                    rig.aggregate.wait(rig.aggregate.last()).unwrap();
                }
            });
        }
        while rig.aggregate.durable().0 < 200 {
            thread::yield_now();
        }
        // The rest is committed by those who wait for it.
        drop(running);
    });
    let fileset = rig.next_owner(1);
    assert_eq!(rig.all(&fileset).len() as u64, CALLERS * CHANGES);
}

#[test]
fn log_of_an_older_owner_is_replayed_once_though_nothing_changes() {
    let mut rig = Rig::new(12);
    let fileset = rig.make_fileset(1);
    rig.put(&fileset, name(1), &value(1, 100));
    rig.commit();
    rig.next_owner(1);
    let generation = rig.aggregate.generation();
    let running = Running::start(rig.aggregate.clone(), Arc::new(BootClock)).unwrap();
    while rig.aggregate.generation() == generation {
        thread::yield_now();
    }
    drop(running);
    rig.take_over();
    assert_eq!(rig.aggregate.generation(), generation + 1);
    assert!(!rig.aggregate.engine.is_behind());
}
