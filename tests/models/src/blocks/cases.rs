//! Which sizes and variants of the model there are.

use super::{Blocks, Fault, Free, Without};

const OURS: Blocks = Blocks {
    epochs: 2,
    writes: 2,
    reserves: 2,
    checkpoints: 1,
    crashes: 1,
    free: Free::TwoRoots,
    fault: Fault::NewestRoot,
    without: Without::Nothing,
};

const DEEP: Blocks = Blocks {
    reserves: 3,
    checkpoints: 3,
    ..OURS
};

/// The sizes that must hold, and the variants that must not.
pub fn cases() -> Vec<(&'static str, Blocks, bool)> {
    let without = |without| Blocks { without, ..OURS };
    let mut cases = vec![
        ("ours", OURS, true),
        ("ours, 3 reserves, 3 checkpoints", DEEP, true),
        ("reserve used before its look", without(Without::ReserveLook), false),
        (
            "data of the last record not checked",
            without(Without::DataCheck),
            false,
        ),
        (
            "no quarantine",
            Blocks {
                reserves: 3,
                ..without(Without::Quarantine)
            },
            false,
        ),
        (
            "only root rots, an older epoch's is used",
            Blocks {
                epochs: 3,
                fault: Fault::OnlyRoot,
                ..OURS
            },
            false,
        ),
        (
            "torn slot taken for a blank one",
            Blocks {
                epochs: 3,
                fault: Fault::TornSlot,
                ..OURS
            },
            false,
        ),
        (
            "no look after the seal",
            Blocks {
                epochs: 3,
                ..without(Without::SealLook)
            },
            false,
        ),
    ];
    cases.extend(frees());
    cases
}

/// How long frees wait.
fn frees() -> Vec<(&'static str, Blocks, bool)> {
    let one = |free, fault, without| Blocks {
        writes: 1,
        free,
        fault,
        without,
        ..DEEP
    };
    vec![
        (
            "frees used at once",
            Blocks {
                free: Free::AtOnce,
                writes: 3,
                checkpoints: 1,
                ..DEEP
            },
            false,
        ),
        (
            "frees wait for one root, which may rot",
            one(Free::OneRoot, Fault::NewestRoot, Without::Nothing),
            false,
        ),
        (
            "frees wait for one root, which never rots",
            one(Free::OneRoot, Fault::None, Without::Nothing),
            true,
        ),
        (
            "frees promoted before the root's look",
            one(Free::TwoRoots, Fault::None, Without::RootLook),
            false,
        ),
        (
            "frees wait for one root and no look",
            one(Free::OneRoot, Fault::None, Without::RootLook),
            false,
        ),
    ]
}

/// Larger sizes of our rules, for a release build.
pub fn large() -> Vec<(&'static str, Blocks, bool)> {
    let three = Blocks { epochs: 3, ..OURS };
    let most = Blocks {
        writes: 3,
        reserves: 3,
        checkpoints: 2,
        crashes: 2,
        ..three
    };
    vec![
        ("ours, 3 epochs", three, true),
        (
            "ours, 3 epochs, 2 crashes, 3 writes, 3 reserves, 2 checkpoints",
            most,
            true,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore;

    #[test]
    fn our_rules_hold_and_each_other_is_violated() {
        for (name, model, holds) in cases() {
            let outcome = explore(&model, 300_000);
            assert_eq!(
                (outcome.holds(), outcome.is_violated()),
                (holds, !holds),
                "{name}: {outcome}"
            );
        }
    }
}
