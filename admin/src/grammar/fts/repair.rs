//! The words of `syncfldb`, `syncserv`, `delfldbentry` and `unlockfldb`.

use baton_types::Address;
use baton_types::change::{AggregateRef, FilesetRef};
use baton_types::control::Carry;
use clap::Args;

use super::snapshots::carry;
use crate::dfs_args::ADDED;
use crate::grammar::values::{aggregate, fileset, server};

/// `fts syncfldb`, `fts syncserv`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct SyncDisks {
    /// The file server: its name or an address
    #[arg(long, value_parser = server)]
    pub server: Address,
    /// Only this one of its aggregates: name or number
    #[arg(long, value_parser = aggregate)]
    pub aggregate: Option<AggregateRef>,
    /// Only show what would be done
    #[arg(long, help_heading = ADDED)]
    noaction: bool,
}

impl SyncDisks {
    /// Whether it is done.
    pub fn carry(&self) -> Carry {
        carry(self.noaction)
    }
}

/// `fts delfldbentry`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct DelFldbEntry {
    /// Its name or id
    #[arg(long, value_parser = fileset, required_unless_present = "prefix", conflicts_with = "prefix")]
    pub fileset: Option<FilesetRef>,
    /// All whose names begin so
    #[arg(long)]
    pub prefix: Option<String>,
    /// Of these only those with a site under this server entry
    #[arg(long, value_parser = server, requires = "prefix")]
    pub server: Option<Address>,
    /// Of these only those on this one of its aggregates: name or number
    #[arg(long, value_parser = aggregate, requires = "server")]
    pub aggregate: Option<AggregateRef>,
    /// Do it: without this it is only shown
    #[arg(long, help_heading = ADDED)]
    yes: bool,
}

impl DelFldbEntry {
    /// Whether it is done.
    pub fn carry(&self) -> Carry {
        carry(!self.yes)
    }
}

/// `fts unlockfldb`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct UnlockFldb {
    /// Only those with a site under this server entry
    #[arg(long, value_parser = server)]
    pub server: Option<Address>,
    /// Only those on this one of its aggregates: name or number
    #[arg(long, value_parser = aggregate, requires = "server")]
    pub aggregate: Option<AggregateRef>,
}
