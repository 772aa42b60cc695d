//! Seeds that found something, kept; and a history run twice.

use crate::sim::{registry, runner};

/// What a lost reserve left to nobody (49, 128), a group adopted from a cache that nobody had flushed (56), nodes of a
/// fileset that was taken off the list too early (102, 336), one that waited for another that was gone (5076), among others.
#[test]
fn kept_seeds_hold_and_replay() {
    let store = registry::find("store").unwrap();
    for seed in [3, 11, 22, 25, 49, 56, 102, 128, 336, 5076] {
        if let Err(violation) = runner::history_twice(store, seed, 40) {
            panic!("{violation}");
        }
    }
}
