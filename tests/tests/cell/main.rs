//! Whole cells of real processes, a story in each test.
//!
//! A test ends with `cell.down()`, which fails if a daemon has ended by itself; a test that fails keeps the logs.

mod arbiter;
mod branches;
mod commands;
mod cut_off;
mod disk;
mod export;
mod faults;
mod files;
mod growth;
mod guard;
mod harness_program;
mod identities;
mod leader;
mod listings;
mod locks;
mod lost_cell;
mod lost_member;
mod network;
mod nonsense;
mod partition;
mod quota;
mod reconcile;
mod rights;
mod room;
mod salvage;
mod scrub;
mod seize;
mod snapshots;
mod takeover;
mod upkeep;
mod wire;
mod wired;
