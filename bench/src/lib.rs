//! Measurements: each figure from the programs as they are shipped, on the machine at hand, in this run.

pub mod failover;
pub mod figures;
pub mod files;
pub mod flserver;
pub mod store;
