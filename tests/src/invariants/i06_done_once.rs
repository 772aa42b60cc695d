//! I6: what was acknowledged is done, once, with the answer that was given.
//!
//! A change may stand in the log as often as it was sent. It has its effect, if any, where it stands first, and
//! every answer to it is the one given there. A copy that comes when its session has gone on or is forgotten is
//! refused as lost: that is no answer to the change.

use std::collections::{BTreeMap, BTreeSet};

use baton_flserver::state::Outcome;
use baton_types::change::{ChangeSession, Proposal};
use baton_types::record::Record;
use baton_types::{Error, Kind};

use super::Verdict;
use super::agreed::Step;

/// A change's session and its number there.
pub type Name = (ChangeSession, u32);

/// What somebody is told of his change: index and record, or why not.
pub type Told = Result<(u64, Option<Record>), Error>;

/// The changes that were done, and the answers to them.
#[derive(Debug, Default)]
pub struct DoneOnce {
    answers: BTreeMap<Name, (u64, Outcome)>,
    /// Changes of which a copy was refused as lost.
    lost: BTreeSet<Name>,
}

impl DoneOnce {
    /// One index's step, in the order of the log.
    ///
    /// # Errors
    /// A change had an effect after it was answered.
    pub fn applied(&mut self, step: &Step) -> Verdict {
        let (Some(proposal), Some((index, outcome))) = (&step.proposal, &step.answer) else {
            return Ok(());
        };
        let (name, changed) = ((proposal.session, proposal.sequence), &step.changed);
        if matches!(outcome, Err(error) if error.kind == Kind::SessionLost) {
            self.lost.insert(name);
        }
        let (first, _) = self.answers.entry(name).or_insert_with(|| (*index, outcome.clone()));
        let is_done = !changed.put.is_empty() || !changed.gone.is_empty();
        if is_done && *first != changed.index {
            return Err(format!(
                "one change was answered at {first} and done at {}: {:?}",
                changed.index, proposal.change
            ));
        }
        Ok(())
    }

    /// Somebody was told that his change is decided so, and at which index if it was done.
    ///
    /// # Errors
    /// It is in no log, or was answered otherwise there.
    pub fn acknowledged(&self, proposal: &Proposal, told: &Told) -> Verdict {
        let verdict = self.told((proposal.session, proposal.sequence), told);
        verdict.map_err(|what| format!("{what}: {:?}", proposal.change))
    }

    /// The same for a change known by its name only.
    ///
    /// # Errors
    /// As [`DoneOnce::acknowledged`].
    pub fn told(&self, name: Name, told: &Told) -> Verdict {
        let wrong = |what: &str| Err(format!("a change was acknowledged with {told:?}, but {what}"));
        let Some((index, outcome)) = self.answers.get(&name) else {
            return wrong("nobody ever applied it");
        };
        match (told, outcome) {
            (Ok((at, told)), Ok(record)) if (at, told) == (index, record) => Ok(()),
            (Err(told), Err(error)) if told == error => Ok(()),
            (Err(told), _) if told.kind == Kind::SessionLost && self.lost.contains(&name) => Ok(()),
            (Ok(_) | Err(_), _) => wrong(&format!("at {index} the answer was {outcome:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::agreed::Agreed;
    use crate::invariants::testing::{genesis, proposal, set};
    use baton_flserver::state::Committed;

    fn done(agreed: &mut Agreed, once: &mut DoneOnce, committed: &Committed) -> Verdict {
        once.applied(agreed.applied("fl1", 1, committed)?.unwrap())
    }

    #[test]
    fn answer_that_is_not_the_logs_is_noticed() {
        let (mut agreed, mut once) = (Agreed::default(), DoneOnce::default());
        done(&mut agreed, &mut once, &genesis(1)).unwrap();
        let change = proposal(1, "one");
        assert!(
            once.acknowledged(&change, &Ok((2, None)))
                .unwrap_err()
                .contains("nobody ever")
        );
        done(&mut agreed, &mut once, &set(2, 1, "one")).unwrap();
        done(&mut agreed, &mut once, &set(3, 1, "one")).unwrap();
        let record = agreed.state(2).unwrap().cell().cloned().map(Record::Cell);
        assert_eq!(once.acknowledged(&change, &Ok((2, record.clone()))), Ok(()));
        assert!(once.acknowledged(&change, &Ok((3, record))).is_err());
        assert!(
            once.acknowledged(&change, &Err(Error::new(Kind::Exists, "it")))
                .is_err()
        );
    }

    #[test]
    fn second_effect_is_noticed() {
        let (mut agreed, mut once) = (Agreed::default(), DoneOnce::default());
        done(&mut agreed, &mut once, &genesis(1)).unwrap();
        done(&mut agreed, &mut once, &set(2, 1, "one")).unwrap();
        let mut forgetful = Agreed::default();
        for committed in [genesis(1), Committed::Nothing(2)] {
            forgetful.applied("fl1", 1, &committed).unwrap();
        }
        let error = done(&mut forgetful, &mut once, &set(3, 1, "one")).unwrap_err();
        assert!(
            error.starts_with("one change was answered at 2 and done at 3"),
            "{error}"
        );
    }

    #[test]
    fn lost_is_whom_a_copy_was_refused_and_nobody_else() {
        let (mut agreed, mut once) = (Agreed::default(), DoneOnce::default());
        for committed in [genesis(1), set(2, 1, "one"), set(3, 2, "two")] {
            done(&mut agreed, &mut once, &committed).unwrap();
        }
        let lost = Err(Error::new(Kind::SessionLost, "this change"));
        assert!(once.acknowledged(&proposal(1, "one"), &lost).is_err());
        done(&mut agreed, &mut once, &set(4, 1, "one")).unwrap();
        assert_eq!(once.acknowledged(&proposal(1, "one"), &lost), Ok(()));
        assert!(once.acknowledged(&proposal(2, "two"), &lost).is_err());
    }
}
