//! Sessions between parts, and the client of the location database.

mod follow;

pub use follow::{Follower, News};
