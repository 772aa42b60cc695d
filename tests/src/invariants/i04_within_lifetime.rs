//! I4: what a client is told it uses only while nobody else can have been told otherwise.
//!
//! A read shows everything that had been acknowledged, to anyone, when it was asked: also where the server that
//! answered had been replaced and did not know it. What died with a client's session may be missing.

use std::collections::BTreeSet;

use super::Verdict;
use super::i06_once_in_order::Change;

/// What was acknowledged.
#[derive(Debug, Default)]
pub struct WithinLifetime {
    acknowledged: BTreeSet<Change>,
}

impl WithinLifetime {
    /// A client was told that a change is done.
    pub fn acknowledged(&mut self, change: Change) {
        self.acknowledged.insert(change);
    }

    /// Changes of a client may be missing: its session was lost.
    pub fn lost(&mut self, client: usize) {
        self.acknowledged.retain(|change| change.client != client);
    }

    /// A client asks: what it must be shown.
    pub fn asked(&self) -> BTreeSet<Change> {
        self.acknowledged.clone()
    }

    /// It was answered, by a server that had `shown`.
    ///
    /// # Errors
    /// Something is missing.
    pub fn answered(&self, asked: &BTreeSet<Change>, shown: &BTreeSet<Change>) -> Verdict {
        let missing = asked
            .iter()
            .find(|change| !shown.contains(change) && self.acknowledged.contains(change));
        match missing {
            Some(change) => Err(format!(
                "{change:?} was acknowledged, and a read asked after that did not show it"
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_that_misses_what_was_acknowledged_before_it_is_found() {
        let (one, two) = (Change { client: 0, number: 1 }, Change { client: 1, number: 1 });
        let mut oracle = WithinLifetime::default();
        oracle.acknowledged(one);
        let asked = oracle.asked();
        oracle.acknowledged(two);
        assert_eq!(oracle.answered(&asked, &BTreeSet::from([one])), Ok(()));
        assert!(oracle.answered(&asked, &BTreeSet::from([two])).is_err());
        oracle.lost(0);
        assert_eq!(oracle.answered(&asked, &BTreeSet::new()), Ok(()));
    }
}
