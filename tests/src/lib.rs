//! Whole cells, simulation, invariants.

pub mod cell;
pub mod consistency;
pub mod faults;
pub mod invariants;
pub mod load;
pub mod results;
pub mod sim;
pub mod suites;
