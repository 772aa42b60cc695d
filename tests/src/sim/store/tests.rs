//! Seeds that found something, kept; and a history run twice.

use crate::sim::{registry, runner};

/// What a lost reserve left to nobody (49, 128), and a group adopted from a cache that nobody had flushed (56), among
/// others.
#[test]
fn kept_seeds_hold_and_replay() {
    let store = registry::find("store").unwrap();
    for seed in [3, 11, 22, 25, 49, 56, 128] {
        if let Err(violation) = runner::history_twice(store, seed, 40) {
            panic!("{violation}");
        }
    }
}
