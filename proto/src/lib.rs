//! The wire: generated message types, and the one place where wire values become typed ones.
//!
//! [`v1`] is what prost made of `proto/baton/v1/*.proto`. Nothing outside this crate reads its fields
//! when a typed value exists in `baton-types`: it calls the conversions here, which check everything.

/// Generated from `proto/baton/v1/*.proto`.
#[allow(
    missing_docs,
    unused_qualifications,
    clippy::all,
    clippy::too_many_lines,
    clippy::wildcard_imports,
    reason = "generated; the .proto files carry the comments"
)]
pub mod v1 {
    tonic::include_proto!("baton.v1");
}

mod beat;
mod change;
pub mod control;
mod failure;
pub mod files;
mod hello;
mod record;
mod wire;

pub use change::{Proposal, Who};
pub use failure::{failure_of, from_status, into_status};
pub use record::{Key, Record, Table};
pub use wire::FromWire;
