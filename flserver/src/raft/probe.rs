//! What a test may hear and turn that a daemon cannot. Without the feature `testing` there is nothing in it.

#[cfg(feature = "testing")]
use std::sync::Arc;

use super::types::LogId;
use crate::state::Committed;

/// Something that reached the state of a member.
#[cfg(feature = "testing")]
#[derive(Clone, Copy, Debug)]
pub enum Heard<'a> {
    /// An entry, made in this term.
    Applied(u64, &'a Committed),
    /// A snapshot, as of this index.
    Installed(u64),
}

/// Called from within the state machine, before anybody else hears of it.
#[cfg(feature = "testing")]
pub type Listener = Arc<dyn Fn(Heard<'_>) + Send + Sync>;

/// Where a test listens in.
#[derive(Clone, Default)]
pub struct Probe {
    /// Who listens.
    #[cfg(feature = "testing")]
    pub heard: Option<Listener>,
    /// Lets a restarted leader lead on without a vote, as the library would by default: that this loses
    /// agreement is for a test to show.
    #[cfg(feature = "testing")]
    pub leader_restore: bool,
}

#[cfg(feature = "testing")]
impl Probe {
    pub(super) fn applied(&self, log_id: LogId, committed: &Committed) {
        if let Some(heard) = &self.heard {
            heard(Heard::Applied(log_id.leader_id.term, committed));
        }
    }

    pub(super) fn installed(&self, index: u64) {
        if let Some(heard) = &self.heard {
            heard(Heard::Installed(index));
        }
    }

    pub(super) fn leader_restore(&self) -> bool {
        self.leader_restore
    }
}

#[cfg(not(feature = "testing"))]
impl Probe {
    pub(super) fn applied(&self, _: LogId, _: &Committed) {}

    pub(super) fn installed(&self, _: u64) {}

    pub(super) fn leader_restore(&self) -> bool {
        false
    }
}
