//! The words of `failover`, `hold`, `unhold`, `setdomain`, `prefer` and `history`: who owns what.

use baton_types::change::AggregateRef;
use baton_types::{Address, EntryName};
use clap::Args;

use crate::grammar::values::{aggregate, server};

/// `fts failover`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct FailOver {
    /// These: names or numbers
    #[arg(long, num_args = 1.., value_parser = aggregate, required_unless_present = "server", conflicts_with = "server")]
    pub aggregate: Vec<AggregateRef>,
    /// All that this server owns: its name or an address
    #[arg(long, value_parser = server)]
    pub server: Option<Address>,
    /// To this server; else each to the next that is fit
    #[arg(long, value_name = "SERVER", value_parser = server)]
    pub to: Option<Address>,
    /// Do not ask the owner: it is fenced, and clients send again what they hold
    #[arg(long)]
    pub takeover: bool,
    /// Only show what would be done
    #[arg(long = "dry-run")]
    pub dry_run: bool,
}

/// `fts history`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Its name or number
    #[arg(long, value_parser = aggregate)]
    pub aggregate: AggregateRef,
    /// Only the last of them
    #[arg(long, value_name = "NUMBER")]
    pub last: Option<usize>,
}

/// `fts hold`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Name or id
    #[arg(long, value_parser = aggregate)]
    pub aggregate: AggregateRef,
    /// In one line, for whoever sees it held
    #[arg(long, default_value = "")]
    pub why: String,
}

/// `fts unhold`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct UnHold {
    /// Name or id
    #[arg(long, value_parser = aggregate)]
    pub aggregate: AggregateRef,
}

/// `fts setdomain`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct SetDomain {
    /// Its name or an address
    #[arg(long, value_parser = server)]
    pub server: Address,
    /// A rack, a room, a power line
    #[arg(long, value_name = "NAME", value_parser = EntryName::parse, required_unless_present = "none")]
    pub domain: Option<EntryName>,
    /// It shares nothing with any other
    #[arg(long, conflicts_with = "domain")]
    pub none: bool,
}

/// `fts prefer`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Prefer {
    /// Name or id
    #[arg(long, value_parser = aggregate)]
    pub aggregate: AggregateRef,
    /// Attached to it: its name or an address
    #[arg(long, value_parser = server)]
    pub server: Address,
}
