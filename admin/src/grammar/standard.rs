//! The options every command takes.

use baton_types::CellName;
use clap::{ArgAction, Args};

use crate::dfs_args::ADDED;

/// The heading of the options that every command takes.
pub const STANDARD: &str = "Standard options";

/// DFS's standard options, and `-json`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
// Numbered late, so that a command's own options come first wherever they are listed.
#[command(next_help_heading = STANDARD, next_display_order = 100)]
pub struct Standard {
    /// Another cell than this machine's
    #[arg(long, global = true, value_name = "CELL")]
    pub cell: Option<CellName>,
    /// Act as nobody
    #[arg(long, global = true, conflicts_with = "localauth")]
    noauth: bool,
    /// Act as this machine; root only
    #[arg(long, global = true)]
    localauth: bool,
    /// Say more
    #[arg(long, global = true)]
    pub verbose: bool,
    /// Print this help
    #[arg(long, global = true, action = ArgAction::HelpShort)]
    help: Option<bool>,
    /// Print JSON
    #[arg(long, global = true, help_heading = ADDED)]
    pub json: bool,
}

/// As whom a command acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Whoever types it.
    Caller,
    /// Nobody: `-noauth`.
    Nobody,
    /// This machine: `-localauth`.
    Host,
}

impl Standard {
    /// As whom to act.
    pub fn identity(&self) -> Identity {
        match (self.noauth, self.localauth) {
            (true, _) => Identity::Nobody,
            (false, true) => Identity::Host,
            (false, false) => Identity::Caller,
        }
    }
}
