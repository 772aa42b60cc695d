//! The service over a real store on a double disk: who may what, once and in order, with whom, and after a takeover.

mod branches;
mod copies;
mod exactly_once;
mod forged;
mod holds;
mod orphans;
mod past;
mod rig;
mod rights;
mod set_ids;
mod store;
