//! Peace: when all filesets had left grace after a takeover, and how it came to that.

use baton_types::{FilesetId, Time};

use super::{Core, Driver};
use crate::state::{Call, Event};

/// How grace went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peace {
    /// When the first client had said all that it held again in some fileset.
    pub first_reclaim: Option<Time>,
    /// When the last one so far had.
    pub last_reclaim: Option<Time>,
    /// When nobody was waited for any more.
    pub since: Option<Time>,
}

impl Driver {
    /// How grace went so far.
    pub fn peace(&self) -> Peace {
        self.core.lock().peace
    }

    /// Whether clients of the last owner may yet say again what they changed in `fileset`.
    pub fn awaits(&self, fileset: FilesetId) -> bool {
        self.core.lock().state.awaits(fileset)
    }
}

impl Core {
    /// Before an event is taken.
    pub(super) fn note_reclaim(&mut self, now: Time, event: &Event) {
        if self.peace.since.is_none() && matches!(event, Event::Call(_, _, Call::Reclaimed(_))) {
            self.peace.first_reclaim.get_or_insert(now);
            self.peace.last_reclaim = Some(now);
        }
    }

    /// After it was.
    pub(super) fn note_peace(&mut self, now: Time) {
        if self.peace.since.is_none() && !self.state.is_in_grace() {
            self.peace.since = Some(now);
        }
    }
}
