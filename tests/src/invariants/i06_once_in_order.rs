//! I6: a client's change stands in history once, and after all that the client knew to be done when it asked.
//!
//! Changes that were asked for in order stand in that order, and what a client was shown before it asked stands before,
//! whether that was ever answered or not. Each is answered once.

use std::collections::{BTreeMap, BTreeSet};

use super::Verdict;

/// A change of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Whose.
    pub client: usize,
    /// Its number there, in the order of asking.
    pub number: u64,
}

#[derive(Clone, Debug, Default)]
struct Known {
    asked: u64,
    answered: Option<u64>,
    is_queued: bool,
    /// Of the same client.
    shown: BTreeSet<Change>,
}

/// When each change was asked for and answered.
#[derive(Debug, Default)]
pub struct OnceInOrder {
    moments: u64,
    changes: BTreeMap<Change, Known>,
}

impl OnceInOrder {
    /// A client asks for a change; `is_queued` ones are done in the order of asking. It was `shown` these by then.
    pub fn asked(&mut self, change: Change, is_queued: bool, shown: BTreeSet<Change>) {
        self.moments += 1;
        let known = Known {
            asked: self.moments,
            answered: None,
            is_queued,
            shown,
        };
        self.changes.insert(change, known);
    }

    /// It was told how that ended, as done or as refused.
    ///
    /// # Errors
    /// It was told before.
    pub fn answered(&mut self, change: Change) -> Verdict {
        self.moments += 1;
        let known = self.changes.entry(change).or_default();
        match known.answered.replace(self.moments) {
            Some(_) => Err(format!("{change:?} was answered twice")),
            None => Ok(()),
        }
    }

    /// A history that an owner has.
    ///
    /// # Errors
    /// A change stands there twice, or before one that it came after.
    pub fn history(&self, history: &[Change]) -> Verdict {
        let mut seen = BTreeSet::new();
        if let Some(twice) = history.iter().find(|change| !seen.insert(**change)) {
            return Err(format!("{twice:?} was done twice"));
        }
        let mut before = BTreeSet::new();
        for change in history {
            let shown = self.changes.get(change).map(|known| &known.shown);
            let mut later = shown
                .into_iter()
                .flatten()
                .filter(|other| seen.contains(other) && !before.contains(other));
            if let Some(other) = later.next() {
                return Err(format!(
                    "{change:?} stands before {other:?}, which was shown before it was asked for"
                ));
            }
            before.insert(change);
        }
        // From the end: the earliest answer, and the earliest asking of an ordered one, of all that stand later.
        let mut later: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
        for change in history.iter().rev() {
            let known = self.changes.get(change).cloned().unwrap_or_default();
            let (answered, queued) = later.entry(change.client).or_insert((u64::MAX, u64::MAX));
            if *answered < known.asked {
                return Err(format!(
                    "{change:?} stands before a change that was answered before it was asked for"
                ));
            }
            if known.is_queued && *queued < known.asked {
                return Err(format!("{change:?} stands before a change that was queued before it"));
            }
            *answered = known.answered.unwrap_or(u64::MAX).min(*answered);
            if known.is_queued {
                *queued = known.asked.min(*queued);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(number: u64) -> Change {
        Change { client: 0, number }
    }

    #[test]
    fn what_is_done_or_answered_twice_is_found() {
        let mut oracle = OnceInOrder::default();
        oracle.asked(change(1), false, BTreeSet::new());
        assert_eq!(oracle.answered(change(1)), Ok(()));
        assert!(oracle.answered(change(1)).is_err());
        assert_eq!(oracle.history(&[change(1)]), Ok(()));
        assert!(oracle.history(&[change(1), change(1)]).is_err());
    }

    #[test]
    fn order_binds_what_was_known_and_what_was_queued() {
        let mut oracle = OnceInOrder::default();
        oracle.asked(change(1), false, BTreeSet::new());
        oracle.asked(change(2), false, BTreeSet::new());
        assert_eq!(
            oracle.history(&[change(2), change(1)]),
            Ok(()),
            "both were under way at once"
        );
        oracle.answered(change(1)).unwrap();
        oracle.asked(change(3), true, BTreeSet::new());
        oracle.asked(change(4), true, BTreeSet::new());
        assert!(oracle.history(&[change(3), change(1)]).is_err());
        assert!(oracle.history(&[change(1), change(4), change(3)]).is_err());
        assert_eq!(oracle.history(&[change(1), change(3), change(2), change(4)]), Ok(()));
    }

    #[test]
    fn what_was_shown_comes_before() {
        let mut oracle = OnceInOrder::default();
        oracle.asked(change(1), false, BTreeSet::new());
        oracle.asked(change(2), false, BTreeSet::from([change(1)]));
        assert!(oracle.history(&[change(2), change(1)]).is_err());
        assert_eq!(oracle.history(&[change(1), change(2)]), Ok(()));
        assert_eq!(oracle.history(&[change(2)]), Ok(()), "it was lost with its session");
    }
}
