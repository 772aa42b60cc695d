//! Do several mounts of one fileset look like one file system? Random operations through all of them at once, on
//! shared files and names, and then the question of [`history`]: is there one order of them all that explains every
//! answer, and in which nothing comes before what had ended when it began?
//!
//! Each object is judged by itself: a block of a file, a name in a directory, the records at the end of a file, a
//! file's size. That is enough: a history is linearizable if that of each object is (Herlihy and Wing, 1990, §3.3).

pub mod history;
mod objects;
mod work;

pub use work::{Plan, Verdict, run};
