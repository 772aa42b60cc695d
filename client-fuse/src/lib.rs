//! The cache manager: it mounts cells, and answers for them to the kernel.

pub mod attach;
pub mod control;
pub mod daemon;
pub mod filesets;
pub mod fuse;
mod gone;
pub mod guard;
pub mod handles;
pub mod holds;
pub mod inodes;
pub mod kernel;
pub mod locks;
pub mod logins;
pub mod mount;
pub mod mounts;
pub mod opens;
pub mod ops;
pub mod pages;
mod points;
pub mod proof;
pub mod resolve;
pub mod serve;
pub mod served;
pub mod table;
pub mod told;
pub mod waiting;
pub mod who;
