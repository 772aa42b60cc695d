//! Whole cells, simulation, invariants.

pub mod cell;
pub mod invariants;
pub mod load;
pub mod sim;
