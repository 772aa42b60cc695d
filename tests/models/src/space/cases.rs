//! Which sizes and variants of the model there are.

use super::{Checkpoint, Reserve, Seal, Space};

/// The sizes that must hold, and the variants that must not.
pub fn cases() -> Vec<(&'static str, Space, bool)> {
    let base = Space {
        epochs: 3,
        writes: 2,
        reserve: Reserve::Fixed,
        checkpoint: Checkpoint::Never,
        seal: Seal::ByValue,
    };
    let reserve = |reserve| Space { reserve, ..base };
    let checkpoint = |checkpoint, seal| Space {
        checkpoint,
        seal,
        ..base
    };
    vec![
        ("reserves fixed, no checkpoint", base, true),
        ("reserve looked at before it is used", reserve(Reserve::Looked), true),
        ("reserve used before its look", reserve(Reserve::Logged), false),
        (
            "root looked at before its log is used again",
            checkpoint(Checkpoint::Looked, Seal::ByValue),
            true,
        ),
        (
            "log used again before the root's look",
            checkpoint(Checkpoint::Unlooked, Seal::ByValue),
            false,
        ),
        (
            "root found by its number",
            checkpoint(Checkpoint::Looked, Seal::ByRoot),
            true,
        ),
        (
            "root over what had no look",
            checkpoint(Checkpoint::Early, Seal::ByValue),
            true,
        ),
        (
            "root over what had no look, found by its number",
            checkpoint(Checkpoint::Early, Seal::ByRoot),
            false,
        ),
        (
            "seal in a free segment",
            Space {
                seal: Seal::InSegment,
                ..base
            },
            false,
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
            let outcome = explore(&model, 1_000_000);
            assert_eq!(
                (outcome.holds(), outcome.is_violated()),
                (holds, !holds),
                "{name}: {outcome}"
            );
        }
    }
}
