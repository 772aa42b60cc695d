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
    /// A change of voters was left half-way: both the old and the new have to agree to everything until it is done.
    Settle,
    Learn(u64, Peer),
    Promote(u64),
    Readdress(u64, Peer),
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
        let voters = metrics.membership_config.get_joint_config();
        // A leader that was taken out leads on for a moment; the next steps are its successor's.
        let may_step = voters.iter().any(|voters| voters.contains(&self.number));
        if metrics.current_leader != Some(self.number) || !may_step || records.is_empty() {
            return Ok(());
        }
        let last = metrics.last_log_index.unwrap_or_default();
        let matched = metrics.replication.unwrap_or_default();
        let is_close = |number: &u64| {
            matched
                .get(number)
                .and_then(|m| m.as_ref())
                .is_some_and(|log_id| log_id.index + CLOSE >= last)
        };
        let place = |(number, peer): (&u64, &Peer)| {
            let is_close = is_close(number);
            (
                *number,
                Place {
                    peer: peer.clone(),
                    is_close,
                },
            )
        };
        let places = metrics.membership_config.nodes().map(place).collect();
        let Some(step) = next(records, &places, voters) else {
            return Ok(());
        };
        tracing::info!(?step, "membership");
        let changed = match step {
            Step::Settle => {
                self.raft
                    .change_membership(ChangeMembers::AddVoterIds(BTreeSet::new()), false)
                    .await
            }
            Step::Learn(number, peer) => self.raft.add_learner(number, peer, false).await,
            Step::Promote(number) => {
                self.raft
                    .change_membership(ChangeMembers::AddVoterIds(BTreeSet::from([number])), false)
                    .await
            }
            Step::Readdress(number, peer) => {
                self.raft
                    .change_membership(ChangeMembers::SetNodes(BTreeMap::from([(number, peer)])), false)
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

/// A member as Raft's membership has it.
#[derive(Clone, Debug)]
struct Place {
    peer: Peer,
    /// It lacks so few entries that its vote would help.
    is_close: bool,
}

/// The next step: who is gone goes first, because a lost member counts against the quorum.
fn next(records: &[record::Member], places: &BTreeMap<u64, Place>, voters: &[BTreeSet<u64>]) -> Option<Step> {
    let [voters] = voters else {
        return Some(Step::Settle);
    };
    let wanted: BTreeSet<u64> = records.iter().map(|m| m.number).collect();
    if let Some(number) = voters.iter().find(|number| !wanted.contains(number)) {
        return Some(Step::Remove(*number));
    }
    if let Some(number) = places.keys().find(|number| !wanted.contains(number)) {
        return Some(Step::Forget(*number));
    }
    for member in records {
        let peer = Peer {
            name: member.name.to_string(),
            addresses: member.addresses.clone(),
        };
        match places.get(&member.number) {
            None => return Some(Step::Learn(member.number, peer)),
            Some(place) if place.peer != peer => return Some(Step::Readdress(member.number, peer)),
            Some(_) => {}
        }
    }
    let close = |number: &&u64| !voters.contains(number) && places.get(number).is_some_and(|place| place.is_close);
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

    fn place(number: u64, is_close: bool) -> (u64, Place) {
        let member = records(&[number]).remove(0);
        (
            number,
            Place {
                peer: Peer {
                    name: member.name.to_string(),
                    addresses: member.addresses,
                },
                is_close,
            },
        )
    }

    #[test]
    fn a_lost_member_is_replaced_step_by_step() {
        let mut places = BTreeMap::from([place(1, true), place(2, true), place(3, false)]);
        let mut voters = [BTreeSet::from([1, 2, 3])];
        let wanted = records(&[1, 2, 4]);
        assert_eq!(next(&wanted, &places, &voters), Some(Step::Remove(3)));
        voters[0].remove(&3);
        assert_eq!(next(&wanted, &places, &voters), Some(Step::Forget(3)));
        places.remove(&3);
        assert!(matches!(next(&wanted, &places, &voters), Some(Step::Learn(4, _))));
        places.extend([place(4, false)]);
        assert_eq!(next(&wanted, &places, &voters), None, "not before it has caught up");
        places.extend([place(4, true)]);
        assert_eq!(next(&wanted, &places, &voters), Some(Step::Promote(4)));
        voters[0].insert(4);
        assert_eq!(next(&wanted, &places, &voters), None);
    }

    #[test]
    fn a_change_of_voters_left_half_way_is_finished_first() {
        let places = BTreeMap::from([place(1, true), place(2, true)]);
        let voters = [BTreeSet::from([1]), BTreeSet::from([1, 2])];
        assert_eq!(next(&records(&[1, 2]), &places, &voters), Some(Step::Settle));
        assert_eq!(next(&records(&[1]), &places, &voters), Some(Step::Settle));
    }

    #[test]
    fn a_member_that_moved_is_dialled_where_it_is() {
        let (places, voters) = (BTreeMap::from([place(1, true)]), [BTreeSet::from([1])]);
        let mut wanted = records(&[1]);
        wanted[0].addresses = vec![Address::parse("127.0.0.9").unwrap()];
        assert!(
            matches!(next(&wanted, &places, &voters), Some(Step::Readdress(1, peer)) if peer.addresses == wanted[0].addresses)
        );
    }
}
