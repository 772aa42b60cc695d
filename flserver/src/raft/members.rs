//! Membership follows the member records: the leader compares the two, and makes the next step.
//!
//! A record without a place in Raft's membership becomes a learner; a learner that has caught up becomes
//! a voter; a place without a record goes. One step at a time, each a Raft entry of its own, so that a
//! leader that dies half-way leaves nothing its successor cannot go on from.

use std::collections::{BTreeMap, BTreeSet};

use baton_types::Result;
use baton_types::record;
use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;

use super::{Member, Peer, stopped};

/// A learner is close enough to vote when it lacks at most this many entries.
const CLOSE: u64 = 100;

/// What to do next about the membership.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Learn(u64, Peer),
    Promote(u64),
    Remove(u64),
    Forget(u64),
}

impl Member {
    /// Makes the next step towards the membership that `records` say, if this member leads and there is one.
    ///
    /// # Errors
    /// What Raft says; the step is tried again at the next call.
    pub async fn reconcile(&self, records: &[record::Member]) -> Result<()> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        if metrics.current_leader != Some(self.number) || records.is_empty() {
            return Ok(());
        }
        let voters: BTreeSet<u64> = metrics.membership_config.voter_ids().collect();
        let last = metrics.last_log_index.unwrap_or_default();
        let matched = metrics.replication.unwrap_or_default();
        let is_close = |number: &u64| {
            matched
                .get(number)
                .and_then(|m| m.as_ref())
                .is_some_and(|log_id| log_id.index + CLOSE >= last)
        };
        let places: BTreeMap<u64, bool> = metrics
            .membership_config
            .nodes()
            .map(|(number, _)| (*number, is_close(number)))
            .collect();
        let Some(step) = next(records, &places, &voters) else {
            return Ok(());
        };
        tracing::info!(?step, "membership");
        let changed = match step {
            Step::Learn(number, peer) => self.raft.add_learner(number, peer, false).await,
            Step::Promote(number) => {
                self.raft
                    .change_membership(ChangeMembers::AddVoterIds(BTreeSet::from([number])), false)
                    .await
            }
            Step::Remove(number) => {
                self.raft
                    .change_membership(ChangeMembers::RemoveVoters(BTreeSet::from([number])), false)
                    .await
            }
            Step::Forget(number) => {
                self.raft
                    .change_membership(ChangeMembers::RemoveNodes(BTreeSet::from([number])), false)
                    .await
            }
        };
        changed.map(drop).map_err(|e| stopped(&e))
    }
}

/// The next step: who is gone goes first, because a lost member counts against the quorum.
fn next(records: &[record::Member], places: &BTreeMap<u64, bool>, voters: &BTreeSet<u64>) -> Option<Step> {
    let wanted: BTreeSet<u64> = records.iter().map(|m| m.number).collect();
    if let Some(number) = voters.iter().find(|number| !wanted.contains(number)) {
        return Some(Step::Remove(*number));
    }
    if let Some(number) = places.keys().find(|number| !wanted.contains(number)) {
        return Some(Step::Forget(*number));
    }
    if let Some(member) = records.iter().find(|m| !places.contains_key(&m.number)) {
        let peer = Peer {
            name: member.name.to_string(),
            addresses: member.addresses.clone(),
        };
        return Some(Step::Learn(member.number, peer));
    }
    let close = |number: &&u64| !voters.contains(number) && places.get(number).is_some_and(|is_close| *is_close);
    wanted.iter().find(close).map(|number| Step::Promote(*number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_types::{Address, EntryName};

    fn records(numbers: &[u64]) -> Vec<record::Member> {
        let member = |number: &u64| record::Member {
            number: *number,
            name: EntryName::parse(&format!("fl{number}")).unwrap(),
            addresses: vec![Address::parse("127.0.0.1").unwrap()],
            issuer: false,
        };
        numbers.iter().map(member).collect()
    }

    #[test]
    fn a_lost_member_is_replaced_step_by_step() {
        let (mut places, mut voters) = (
            BTreeMap::from([(1, true), (2, true), (3, false)]),
            BTreeSet::from([1, 2, 3]),
        );
        let wanted = records(&[1, 2, 4]);
        assert_eq!(next(&wanted, &places, &voters), Some(Step::Remove(3)));
        voters.remove(&3);
        assert_eq!(next(&wanted, &places, &voters), Some(Step::Forget(3)));
        places.remove(&3);
        assert!(matches!(next(&wanted, &places, &voters), Some(Step::Learn(4, _))));
        places.insert(4, false);
        assert_eq!(next(&wanted, &places, &voters), None, "not before it has caught up");
        places.insert(4, true);
        assert_eq!(next(&wanted, &places, &voters), Some(Step::Promote(4)));
        voters.insert(4);
        assert_eq!(next(&wanted, &places, &voters), None);
    }
}
