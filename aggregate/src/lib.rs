//! The store of an aggregate: a log, trees, and fencing on the disk. No network, no async.

pub mod aggregate;
pub mod buffer;
pub mod checkpoint;
pub mod create;
pub mod device;
pub mod fence;
pub mod file;
pub mod fileset;
pub mod format;
pub mod log;
pub mod nodes;
pub mod recover;
pub mod salvage;
pub mod session;
pub mod space;
pub mod transaction;
pub mod tree;
