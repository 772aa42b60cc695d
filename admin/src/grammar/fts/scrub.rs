//! The words of `scrub`.

use baton_types::Address;
use baton_types::change::AggregateRef;
use baton_types::control::ScrubWish;
use clap::{ArgGroup, Args};

use crate::grammar::values::{aggregate, server, size};

/// `fts scrub`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(group = ArgGroup::new("which").args(["server", "aggregate"]).required(true).multiple(true))]
pub struct Scrub {
    /// The file server, all of whose aggregates are meant: its name or an address
    #[arg(long, value_parser = server)]
    pub server: Option<Address>,
    /// Only this aggregate: name or number
    #[arg(long, value_parser = aggregate)]
    pub aggregate: Option<AggregateRef>,
    /// How much is read in a second, for example 200MiB; of one that goes on too
    #[arg(long, value_name = "SIZE", value_parser = size, conflicts_with_all = ["stop", "status"])]
    pub rate: Option<u64>,
    /// End the one that goes on
    #[arg(long, conflicts_with = "status")]
    stop: bool,
    /// Say how far it is, when the last one ended, and what is damaged; exit code 1 if anything is
    #[arg(long)]
    status: bool,
}

impl Scrub {
    /// What is wished.
    pub fn wish(&self) -> ScrubWish {
        match (self.stop, self.status) {
            (true, _) => ScrubWish::Stop,
            (_, true) => ScrubWish::Look,
            (false, false) => ScrubWish::Start(self.rate),
        }
    }
}
