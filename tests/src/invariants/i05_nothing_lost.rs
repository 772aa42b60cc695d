//! I5: what was fsynced is durable; what was acknowledged is there in the end, unless its session was lost.

use std::collections::BTreeSet;

use super::Verdict;
use super::i06_once_in_order::Change;

/// What was promised.
#[derive(Debug, Default)]
pub struct NothingLost {
    acknowledged: BTreeSet<Change>,
    taken: BTreeSet<Change>,
    synced: BTreeSet<Change>,
}

impl NothingLost {
    /// A client was told that a change is done.
    pub fn acknowledged(&mut self, change: Change) {
        self.acknowledged.insert(change);
    }

    /// A change that is not refused was taken: a program may have been told that it is done.
    pub fn taken(&mut self, change: Change) {
        self.taken.insert(change);
    }

    /// A client asks for durability: of what.
    pub fn syncing(&self, client: usize) -> BTreeSet<Change> {
        self.acknowledged
            .iter()
            .filter(|change| change.client == client)
            .copied()
            .collect()
    }

    /// It was told that all of it is durable; the disk holds `durable`.
    ///
    /// # Errors
    /// Something is not.
    pub fn synced(&mut self, asked: &BTreeSet<Change>, durable: &BTreeSet<Change>) -> Verdict {
        if let Some(change) = asked
            .iter()
            .find(|change| !durable.contains(change) && self.acknowledged.contains(change))
        {
            return Err(format!(
                "{change:?} was said to be durable, and the disk does not have it"
            ));
        }
        self.synced
            .extend(asked.iter().filter(|change| durable.contains(change)));
        Ok(())
    }

    /// The session of a client was lost: what was not durable may be, too.
    pub fn lost(&mut self, client: usize) {
        self.acknowledged
            .retain(|change| change.client != client || self.synced.contains(change));
        self.taken.retain(|change| change.client != client);
    }

    /// What an owner found on the disk.
    ///
    /// # Errors
    /// Something is missing that was said to be durable.
    pub fn recovered(&self, disk: &BTreeSet<Change>) -> Verdict {
        match self.synced.difference(disk).next() {
            Some(change) => Err(format!("{change:?} was durable, and did not survive")),
            None => Ok(()),
        }
    }

    /// What there is when all is said.
    ///
    /// # Errors
    /// Something is missing that was acknowledged or taken.
    pub fn ended(&self, all: &BTreeSet<Change>) -> Verdict {
        let missing = |promised: &BTreeSet<Change>| promised.difference(all).next().copied();
        match (missing(&self.acknowledged), missing(&self.taken)) {
            (Some(change), _) => Err(format!("{change:?} was acknowledged, and is not there in the end")),
            (None, Some(change)) => Err(format!("{change:?} was taken, and is not there in the end")),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Change = Change { client: 0, number: 1 };
    const TWO: Change = Change { client: 0, number: 2 };

    #[test]
    fn a_durable_change_that_does_not_survive_is_found() {
        let mut oracle = NothingLost::default();
        oracle.acknowledged(ONE);
        let asked = oracle.syncing(0);
        assert!(oracle.synced(&asked, &BTreeSet::new()).is_err());
        assert_eq!(oracle.synced(&asked, &BTreeSet::from([ONE])), Ok(()));
        assert_eq!(oracle.recovered(&BTreeSet::from([ONE, TWO])), Ok(()));
        assert!(oracle.recovered(&BTreeSet::from([TWO])).is_err());
        oracle.lost(0);
        assert!(
            oracle.ended(&BTreeSet::new()).is_err(),
            "a lost session takes nothing durable along"
        );
    }

    #[test]
    fn an_acknowledged_change_is_there_in_the_end_unless_its_session_was_lost() {
        let mut oracle = NothingLost::default();
        oracle.acknowledged(TWO);
        oracle.taken(ONE);
        assert!(oracle.ended(&BTreeSet::from([ONE])).is_err());
        assert!(oracle.ended(&BTreeSet::from([TWO])).is_err());
        assert_eq!(oracle.ended(&BTreeSet::from([ONE, TWO])), Ok(()));
        oracle.lost(0);
        assert_eq!(oracle.ended(&BTreeSet::new()), Ok(()));
    }
}
