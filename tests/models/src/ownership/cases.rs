//! Which sizes and variants of the model there are.

use super::{Look, Ownership, Slots, Without};

/// Our rules, in the size that a test can afford.
pub const OURS: Ownership = Ownership {
    epochs: 3,
    writes: 3,
    crashes: 1,
    slots: Slots::PerEpoch,
    look: Look::After,
    without: Without::Nothing,
};

/// The sizes that must hold, and the variants that must not.
pub fn cases() -> Vec<(&'static str, Ownership, bool)> {
    let small = Ownership { writes: 2, ..OURS };
    let without = |without| Ownership { without, ..small };
    vec![
        ("ours", OURS, true),
        (
            "no fence at all",
            Ownership {
                look: Look::Never,
                ..small
            },
            false,
        ),
        (
            "look before the write",
            Ownership {
                look: Look::Before,
                ..small
            },
            false,
        ),
        (
            "one record of ownership",
            Ownership {
                slots: Slots::Single,
                ..small
            },
            false,
        ),
        (
            "one slot for each server",
            Ownership {
                slots: Slots::PerServer,
                epochs: 4,
                ..small
            },
            false,
        ),
        ("no seal", without(Without::Seal), false),
        ("one log for all", without(Without::OwnLog), false),
        ("no quarantine", without(Without::Quarantine), false),
        ("no look after the seal", without(Without::SealLook), false),
        (
            "no look before recovery, which only saves work",
            without(Without::ClaimLook),
            true,
        ),
    ]
}

/// Larger sizes of our rules, for a release build.
pub fn large() -> Vec<(&'static str, Ownership, bool)> {
    vec![
        (
            "ours, 4 epochs, 2 writes, 2 crashes",
            Ownership {
                epochs: 4,
                writes: 2,
                crashes: 2,
                ..OURS
            },
            true,
        ),
        (
            "ours, 4 epochs, 3 writes, 1 crash",
            Ownership { epochs: 4, ..OURS },
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
