//! Sessions between parts, and the client of the location database.

pub mod config;
mod follow;

pub use follow::{Follower, News};
