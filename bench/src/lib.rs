//! Measurements: each figure from the programs as they are shipped, on the machine at hand, in this run.

pub mod failover;
pub mod figures;
pub mod files;
pub mod flserver;
pub mod store;

use baton_rpc::config::Limits;

/// Every caller comes from this machine's one address, and comes again after each death: more than any site would.
const LIMITS: Limits = Limits {
    connections_per_address: 10_000,
    connections_per_minute: 100_000,
};
