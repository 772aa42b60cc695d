//! What a move of aggregates would come to: what `fts failover --dry-run` shows.

use crate::{AggregateId, AggregateName, Epoch, ServerId};

/// One aggregate of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedMove {
    /// Which.
    pub aggregate: AggregateId,
    /// Its name.
    pub name: AggregateName,
    /// Under which it is owned now; its next owner gets a greater one.
    pub epoch: Epoch,
    /// Its owner now.
    pub from: Option<ServerId>,
    /// What would become of it.
    pub step: Step,
}

/// What becomes of one aggregate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Its owner is asked to hand it over.
    HandOver {
        /// To whom.
        to: ServerId,
    },
    /// It is granted to another at once; the old owner is fenced.
    Grant {
        /// To whom.
        to: ServerId,
    },
    /// It stays, and so does all else that was to move with it.
    Stay {
        /// In one line for people.
        why: String,
    },
}
