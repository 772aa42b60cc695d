//! I6: what was acknowledged is done, once, with the answer that was given.
//!
//! A change may stand in the log as often as it was sent. It has an effect at one index at most, and every
//! answer to it is the one given there.

use std::collections::BTreeMap;

use baton_flserver::state::Outcome;
use baton_types::change::{ChangeSession, Proposal};
use baton_types::record::Record;

use super::Verdict;
use super::agreed::Step;

type Name = (ChangeSession, u32);

/// The changes that were done, and the answers to them.
#[derive(Debug, Default)]
pub struct DoneOnce {
    effects: BTreeMap<Name, u64>,
    answers: BTreeMap<Name, (u64, Outcome)>,
}

impl DoneOnce {
    /// One index's step, in the order of the log.
    ///
    /// # Errors
    /// A change had an effect again.
    pub fn applied(&mut self, step: &Step) -> Verdict {
        let (Some(proposal), Some((index, outcome))) = (&step.proposal, &step.answer) else {
            return Ok(());
        };
        let (name, changed) = ((proposal.session, proposal.sequence), &step.changed);
        if !changed.put.is_empty() || !changed.gone.is_empty() {
            let first = *self.effects.entry(name).or_insert(changed.index);
            if first != changed.index {
                return Err(format!(
                    "one change was done twice, at {first} and at {}: {:?}",
                    changed.index, proposal.change
                ));
            }
        }
        // A copy that comes after the session has gone on is refused; nobody waits for that answer.
        self.answers.entry(name).or_insert_with(|| (*index, outcome.clone()));
        Ok(())
    }

    /// Somebody was told that his change is decided so, and at which index if it was done.
    ///
    /// # Errors
    /// It is in no log, or was answered otherwise there.
    pub fn acknowledged(
        &self,
        proposal: &Proposal,
        told: &Result<(u64, Option<Record>), baton_types::Error>,
    ) -> Verdict {
        let wrong = |what: &str| Err(format!("{what}: {:?} was acknowledged with {told:?}", proposal.change));
        let Some((index, outcome)) = self.answers.get(&(proposal.session, proposal.sequence)) else {
            return wrong("nobody ever applied it");
        };
        match (told, outcome) {
            (Ok((at, _)), Ok(_)) if at != index => wrong(&format!("it was done at {index}")),
            (Ok((_, told)), Ok(record)) if told == record => Ok(()),
            (Err(told), Err(error)) if told.kind == error.kind && told.reason == error.reason => Ok(()),
            (Ok(_) | Err(_), _) => wrong(&format!("its answer was {outcome:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::agreed::Agreed;
    use crate::invariants::testing::{genesis, proposal, set};
    use baton_flserver::state::Committed;
    use baton_types::{Error, Kind};

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
        assert!(error.starts_with("one change was done twice, at 2 and at 3"), "{error}");
    }
}
