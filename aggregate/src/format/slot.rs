//! A slot: who owns the aggregate, or did. One sector, so that a beat cannot tear.

use baton_types::{AggregateId, Epoch, Incarnation, ServerId, Timestamp};
use uuid::Uuid;

use crate::format::RootName;

/// What an epoch says of itself in its place of the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Whose slot it is.
    pub aggregate: AggregateId,
    /// The epoch; its place is epoch mod 8.
    pub epoch: Epoch,
    /// To whom the epoch was granted; nil at birth.
    pub server: ServerId,
    /// The run of that server which uses the epoch.
    pub incarnation: Incarnation,
    /// The boot of its host.
    pub boot: Uuid,
    /// The server's name to people, at most 128 bytes.
    pub principal: String,
    /// How far it has come.
    pub state: SlotState,
    /// The newest root known to have had its look: its own, or while it is claimed an older epoch's.
    ///
    /// Recovery begins with no root older than the one before this, whichever slot it finds it in.
    pub root: RootName,
    /// Rises with every beat.
    pub beat: u64,
    /// Wall time of that beat; for people only.
    pub time: Timestamp,
}

/// How far an epoch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// It is reading.
    Claimed,
    /// It serves.
    Own,
    /// It has given up: nothing of it is in flight.
    Detached,
}
