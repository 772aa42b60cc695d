//! Aggregates that are sound at every stage of their life, and each kind of harm found for what it is.

mod branches;
pub(crate) mod check;
mod extract;
mod image;
pub mod snapshots;
pub(crate) mod world;
