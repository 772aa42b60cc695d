//! I1: an aggregate's owner changes only with a greater epoch, and no epoch is granted twice.

use std::collections::{BTreeMap, BTreeSet};

use baton_types::change::Change;

use baton_types::record::{Aggregate, Changed, Record, Tenure};
use baton_types::{AggregateId, Epoch, ServerId};

use super::Verdict;
use super::agreed::Step;

/// What was ever granted, and how each aggregate stands.
#[derive(Debug, Default)]
pub struct OneOwner {
    granted: BTreeSet<(AggregateId, Epoch)>,
    last: BTreeMap<AggregateId, (Option<ServerId>, Epoch)>,
}

impl OneOwner {
    /// One index's step, in the order of the log.
    ///
    /// # Errors
    /// As [`OneOwner::changed`], or a grant of an epoch which was granted before, be it to the same server.
    pub fn applied(&mut self, step: &Step) -> Verdict {
        let claimed = matches!(&step.proposal, Some(p) if matches!(p.change, Change::Claim { .. }));
        for record in &step.changed.put {
            let (id, epoch) = match record {
                Record::Aggregate(Aggregate { id, epoch, .. }) if claimed => (*id, *epoch),
                Record::Tenure(Tenure {
                    aggregate,
                    epoch,
                    time_line: None,
                    ..
                }) if !claimed => (*aggregate, *epoch),
                _ => continue,
            };
            if !self.granted.insert((id, epoch)) {
                return Err(format!("epoch {epoch} of aggregate {id} was granted twice"));
            }
        }
        self.changed(&step.changed)
    }

    /// How many epochs were granted.
    pub fn granted(&self) -> usize {
        self.granted.len()
    }

    /// The changes of one index, in the order of the log.
    ///
    /// # Errors
    /// A new owner under an old epoch, or an epoch that went back.
    pub fn changed(&mut self, changed: &Changed) -> Verdict {
        for record in &changed.put {
            if let Record::Aggregate(aggregate) = record {
                self.aggregate(aggregate)?;
            }
        }
        Ok(())
    }

    fn aggregate(&mut self, aggregate: &Aggregate) -> Verdict {
        let Aggregate {
            id, name, epoch, owner, ..
        } = aggregate;
        let (last_owner, last_epoch) = self.last.insert(*id, (*owner, *epoch)).unwrap_or_default();
        if *epoch < last_epoch {
            return Err(format!("aggregate {name} went from epoch {last_epoch} back to {epoch}"));
        }
        match owner {
            Some(owner) if last_owner != Some(*owner) && *epoch == last_epoch => {
                Err(format!("aggregate {name} came to {owner} under the old epoch {epoch}"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_types::AggregateName;
    use baton_types::record::AggregateState;
    use uuid::Uuid;

    fn owned(owner: Option<u128>, epoch: u64) -> Changed {
        let aggregate = Aggregate {
            owner: owner.map(|owner| ServerId(Uuid::from_u128(owner))),
            epoch: Epoch(epoch),
            state: AggregateState::Exported,
            ..Aggregate::new(
                AggregateId(Uuid::from_u128(1)),
                AggregateName::parse("agg1").unwrap(),
                1,
            )
        };
        Changed {
            index: 1,
            put: vec![Record::Aggregate(aggregate)],
            gone: Vec::new(),
        }
    }

    #[test]
    fn second_owner_and_old_epoch_are_noticed() {
        let after = |steps: &[(Option<u128>, u64)]| {
            let mut owners = OneOwner::default();
            steps
                .iter()
                .try_for_each(|(owner, epoch)| owners.changed(&owned(*owner, *epoch)))
        };
        assert_eq!(
            after(&[
                (None, 0),
                (Some(7), 1),
                (Some(7), 1),
                (None, 1),
                (Some(8), 2),
                (Some(7), 3)
            ]),
            Ok(())
        );
        for wrong in [
            &[(Some(7), 1), (Some(8), 1)][..],
            &[(Some(7), 1), (None, 1), (Some(7), 1)],
            &[(Some(7), 0)],
        ] {
            assert!(after(wrong).unwrap_err().contains("under the old epoch"));
        }
        assert!(after(&[(Some(7), 2), (Some(8), 1)]).unwrap_err().contains("back to 1"));
    }
}
