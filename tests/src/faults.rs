//! Faults under programs that work: real processes and mounts, one scenario or many drawn at random, and the count.
//!
//! A fault strikes, programs go on, it is healed, programs go on. At the end everything promised must be there, once and
//! in order; no program may have met an error; no lock may have been held twice; `salvage -check` must find nothing.

mod arena;
mod blow;
mod nemesis;
pub mod programs;
mod scenario;

pub use arena::Arena;
pub use blow::Blow;
pub use nemesis::{Nemesis, Round, Sum};
pub use scenario::{Expected, SCENARIOS, Scenario};
