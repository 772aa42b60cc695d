//! The store of an aggregate: a log, trees, and fencing on the disk. No network, no async.

pub mod aggregate;
pub mod buffer;
pub mod cache;
mod checkpoint;
pub mod create;
pub mod device;
mod engine;
pub mod fence;
pub mod file;
pub mod fileset;
pub mod format;
mod live;
mod log;
pub mod nodes;
mod recover;
pub mod salvage;
mod session;
mod snapshot;
mod space;
pub mod transaction;
pub mod tree;
