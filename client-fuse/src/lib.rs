//! The cache manager: it mounts cells, and answers for them to the kernel.

pub mod attach;
pub mod control;
pub mod daemon;
pub mod guard;
pub mod logins;
pub mod mounts;
pub mod proof;
pub mod resolve;
pub mod served;
pub mod table;
