//! `cm`: this machine's cache.

use std::path::PathBuf;

use baton_types::CellName;
use clap::error::Error;
use clap::{ArgAction, ArgMatches, Args, FromArgMatches, Parser, Subcommand};

use super::{Parsed, STANDARD};
use crate::dfs_args::ADDED;

/// Asks about this machine's cache, and administers it
#[derive(Debug, Parser)]
#[command(
    name = "cm",
    rename_all = "lower",
    disable_help_flag = true,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    subcommand_value_name = "COMMAND",
    max_term_width = 100,
    after_help = "Example:\n  cm whereis /cell/home"
)]
pub struct Line {
    /// Print JSON
    #[arg(long, global = true, help_heading = ADDED, display_order = 101)]
    json: bool,
    /// Print this help
    #[arg(long, global = true, action = ArgAction::HelpShort, help_heading = STANDARD, display_order = 100)]
    help: Option<bool>,
    #[command(subcommand)]
    word: Word,
}

#[derive(Debug, Subcommand)]
#[command(rename_all = "lower")]
enum Word {
    #[command(flatten)]
    Cm(Cm),
    /// Finds commands by a word of their help
    #[command(after_help = "Example:\n  cm apropos server")]
    Apropos {
        /// What to look for
        #[arg(long)]
        topic: String,
    },
    /// Prints help on commands
    #[command(after_help = "Example:\n  cm help whereis")]
    Help {
        /// Commands; none prints the list of them
        #[arg(long, num_args = 1.., value_name = "COMMAND")]
        topic: Vec<String>,
    },
}

/// The commands of `cm` that ask or change something.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
#[command(rename_all = "lower")]
pub enum Cm {
    /// Forgets what is cached of files; of a fileset's root, all of the fileset
    #[command(after_help = "Example:\n  cm flush /cell/home/ito")]
    Flush(Paths),
    /// Lists the cells known here, and where their location databases are
    #[command(after_help = "Example:\n  cm lscellinfo")]
    LsCellInfo,
    /// Lists the servers that were asked and do not answer
    #[command(after_help = "Example:\n  cm statservers")]
    StatServers(StatServers),
    /// Prints in which fileset files are, and on which server
    #[command(after_help = "Example:\n  cm whereis /cell/home/ito")]
    WhereIs(Paths),
}

/// Files.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Files or directories; none: the directory you are in
    #[arg(long, num_args = 1..)]
    pub path: Vec<PathBuf>,
}

/// `cm statservers`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct StatServers {
    /// Only those of this cell
    #[arg(long, conflicts_with = "all")]
    pub cell: Option<CellName>,
    /// Those of all cells that are mounted; so it is without options too
    #[arg(long)]
    pub all: bool,
    /// No effect: servers are not asked anew
    #[arg(long)]
    pub fast: bool,
}

/// Reads what clap found.
///
/// # Errors
/// What clap says.
pub fn parse(matches: &ArgMatches) -> Result<Parsed, Error> {
    let line = Line::from_arg_matches(matches)?;
    Ok(match line.word {
        Word::Cm(command) => Parsed::Cm(command, line.json),
        Word::Apropos { topic } => Parsed::Apropos(topic),
        Word::Help { topic } => Parsed::Help(topic),
    })
}
