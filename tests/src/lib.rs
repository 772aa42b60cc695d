//! Whole cells, simulation, invariants.

pub mod cell;
pub mod load;
pub mod sim;
