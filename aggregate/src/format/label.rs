//! The label: what an aggregate is. Written once, when it is made; in the first and in the last block.

use baton_types::{AggregateId, AggregateName, Timestamp};

use crate::format::Geometry;

/// What an aggregate is, from its birth on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The aggregate's identity.
    pub id: AggregateId,
    /// Its name at birth.
    pub name: AggregateName,
    /// Its sizes at birth.
    pub geometry: Geometry,
    /// When it was made.
    pub created: Timestamp,
    /// What of the format it uses.
    pub features: Features,
}

/// Additions to the format that an aggregate uses, one bit each. None exists yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Who does not know one of these may use the aggregate all the same.
    pub compat: u64,
    /// … may read it, not write it.
    pub ro_compat: u64,
    /// … may do neither.
    pub incompat: u64,
}
