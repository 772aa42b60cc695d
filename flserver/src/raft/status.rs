//! How a member sees the group: for people, for calls between members, and for nothing that decides.

use std::collections::BTreeMap;
use std::time::Duration;

use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver;

use super::{Member, Peer};

/// A leader of whom nothing was heard for so long is no leader: twenty of its heartbeats, three elections.
const SILENT: Duration = Duration::from_secs(1);

/// How one member sees the group.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// This one.
    pub number: u64,
    /// Who leads, as far as it knows.
    pub leader: Option<u64>,
    /// The term it is in.
    pub term: u64,
    /// The last index it knows to be committed.
    pub committed: u64,
    /// Those whose votes count.
    pub voters: Vec<u64>,
    /// Who they are is not settled: a change of membership is on its way through the log.
    pub changing: bool,
    /// On the leader: the last index each is known to hold.
    pub matched: BTreeMap<u64, u64>,
    /// On the leader: since each answered last.
    pub silent: BTreeMap<u64, Duration>,
    /// Changes can be made, as far as it knows: it follows a leader, or leads and was just heard by a quorum.
    pub quorum: bool,
}

impl Member {
    /// How this member sees the group.
    pub fn status(&self) -> Status {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let heartbeat = metrics.heartbeat.unwrap_or_default();
        let silent = heartbeat
            .into_iter()
            .filter_map(|(number, at)| Some((number, at?.elapsed())));
        let matched = metrics.replication.unwrap_or_default().into_iter();
        let membership = &metrics.membership_config;
        let is_joint = membership.get_joint_config().len() > 1;
        let alone = membership.voter_ids().count() == 1;
        let heard = metrics
            .last_quorum_acked
            .is_some_and(|at| at.elapsed() < Duration::from_secs(1));
        // A member that is cut off asks before it raises the term, and so never forgets its leader by itself.
        let is_heard = |leader: &u64| *leader == self.number || self.heard.lock().elapsed() < SILENT;
        let leader = metrics.current_leader.filter(is_heard);
        Status {
            number: self.number,
            leader,
            term: metrics.current_term,
            committed: metrics.local_committed.map_or(0, |log_id| log_id.index),
            voters: membership.voter_ids().collect(),
            changing: is_joint || *membership.log_id() > metrics.local_committed,
            matched: matched
                .map(|(number, log_id)| (number, log_id.map_or(0, |log_id| log_id.index)))
                .collect(),
            silent: silent.collect(),
            quorum: match leader {
                // Alone, it is the quorum; a leader of others must have heard from them.
                Some(leader) if leader == self.number => alone || heard,
                Some(_) => true,
                None => false,
            },
        }
    }

    /// The members that Raft itself knows, by number: also before any state is there.
    pub fn peers(&self) -> BTreeMap<u64, Peer> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        metrics
            .membership_config
            .nodes()
            .map(|(number, peer)| (*number, peer.clone()))
            .collect()
    }
}
