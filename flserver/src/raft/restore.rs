//! A member that begins with a state, and not with nothing: the first of a cell that lost all of them.

use std::collections::{BTreeMap, BTreeSet};

use baton_types::{Error, Kind, Result};
use openraft::Membership;

use super::types::{LogId, Peer, SnapshotMeta, StoredMembership, Vote, encode};
use crate::state::Fldb;
use crate::store::{Batch, LogStore, Snapshot};

/// The term before the first election of the restored group.
const TERM: u64 = 1;

/// Makes an empty store begin with `state`, in a group whose only member is `number`.
///
/// # Errors
/// `Exists` if the store is not empty; what the store says.
pub fn begin_with(store: &dyn LogStore, state: &Fldb, (number, peer): (u64, Peer)) -> Result<()> {
    let marks = store.marks()?;
    if marks.vote.is_some() || marks.last().is_some() {
        return Err(Error::new(Kind::Exists, "location database").because("this member has a state already"));
    }
    let invalid = |why: String| Error::new(Kind::Invalid, "membership").because(why);
    let last = LogId::new_term_index(TERM, state.applied());
    let nodes = BTreeMap::from([(number, peer)]);
    let membership = Membership::new(vec![BTreeSet::from([number])], nodes).map_err(|e| invalid(e.to_string()))?;
    let meta = SnapshotMeta {
        last_log_id: Some(last),
        last_membership: StoredMembership::new(Some(last), membership),
    };
    // The snapshot first: a log that is purged without one would be a member that lost its state.
    store.save_snapshot(&Snapshot {
        meta: encode(&meta)?,
        data: state.dump(),
    })?;
    store.commit(&Batch {
        purge_through: Some((state.applied(), encode(&last)?)),
        vote: Some(encode(&Vote::new(TERM, number))?),
        committed: Some(encode(&last)?),
        ..Batch::default()
    })
}
