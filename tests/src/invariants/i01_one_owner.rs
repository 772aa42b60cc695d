//! I1: an epoch of an aggregate has one owner, and epochs only grow.

use std::collections::BTreeMap;

use baton_types::record::{Aggregate, Changed, Record};
use baton_types::{AggregateId, Epoch, ServerId};

use super::Verdict;

/// What was ever granted.
#[derive(Debug, Default)]
pub struct OneOwner {
    epochs: BTreeMap<AggregateId, Epoch>,
    owners: BTreeMap<(AggregateId, Epoch), ServerId>,
}

impl OneOwner {
    /// The changes of one index, in the order of the log.
    ///
    /// # Errors
    /// A second owner of an epoch, or an epoch that is not newer.
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
        let newest = self.epochs.entry(*id).or_default();
        if epoch < newest {
            return Err(format!("aggregate {name} went from epoch {newest} back to {epoch}"));
        }
        *newest = *epoch;
        let Some(owner) = owner else { return Ok(()) };
        if *epoch == Epoch::NONE {
            return Err(format!("aggregate {name} has an owner without an epoch"));
        }
        let first = *self.owners.entry((*id, *epoch)).or_insert(*owner);
        if first != *owner {
            return Err(format!(
                "aggregate {name} has two owners under epoch {epoch}: {first} and {owner}"
            ));
        }
        Ok(())
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
            id: AggregateId(Uuid::from_u128(1)),
            name: AggregateName::parse("agg1").unwrap(),
            number: 1,
            attached: Vec::new(),
            owner: owner.map(|owner| ServerId(Uuid::from_u128(owner))),
            epoch: Epoch(epoch),
            state: AggregateState::Exported,
        };
        Changed {
            index: 1,
            put: vec![Record::Aggregate(aggregate)],
            gone: Vec::new(),
        }
    }

    #[test]
    fn second_owner_and_old_epoch_are_noticed() {
        let mut owners = OneOwner::default();
        owners.changed(&owned(None, 0)).unwrap();
        owners.changed(&owned(Some(7), 1)).unwrap();
        owners.changed(&owned(None, 1)).unwrap();
        assert!(owners.changed(&owned(Some(8), 1)).unwrap_err().contains("two owners"));
        owners.changed(&owned(Some(8), 2)).unwrap();
        assert!(owners.changed(&owned(Some(7), 1)).unwrap_err().contains("back to 1"));
        assert!(OneOwner::default().changed(&owned(Some(7), 0)).is_err());
    }
}
