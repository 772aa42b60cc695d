//! Whole cells, simulation, invariants.

pub mod sim;
