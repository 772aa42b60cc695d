//! `newaggr`, `growaggr`, `salvage` and `dfsexport`: programs without commands. `newaggr` and `salvage` work on a disk
//! and ask nobody.

use std::path::PathBuf;

use baton_types::{Address, AggregateName, FilesetName};
use clap::error::{Error, ErrorKind};
use clap::{ArgAction, ArgGroup, ArgMatches, FromArgMatches, Parser};

use super::values::server;
use super::{Parsed, STANDARD, Standard};
use crate::dfs_args::ADDED;

/// Makes an aggregate of a disk or file
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(
    name = "newaggr",
    rename_all = "lower",
    disable_help_flag = true,
    max_term_width = 100,
    after_help = "Example:\n  newaggr -aggregate /dev/sdb -name agg1"
)]
pub struct Newaggr {
    /// The disk, or a file as large as the aggregate is to be
    #[arg(long, value_name = "DEVICE")]
    pub aggregate: PathBuf,
    /// No effect: blocks have 4 KiB
    #[arg(long, value_name = "BYTES")]
    pub blocksize: Option<u64>,
    /// No effect: there are no fragments
    #[arg(long, value_name = "BYTES")]
    pub fragsize: Option<u64>,
    /// No effect: nothing is written ahead
    #[arg(long, value_name = "BLOCKS")]
    pub initialempty: Option<u64>,
    /// No effect: an aggregate takes its whole device
    #[arg(long, value_name = "BLOCKS")]
    pub aggrsize: Option<u64>,
    /// No effect: the log takes the room it needs
    #[arg(long, value_name = "BLOCKS")]
    pub logsize: Option<u64>,
    /// Lose what the device holds
    #[arg(long)]
    pub overwrite: bool,
    /// Say more
    #[arg(long, help_heading = STANDARD)]
    pub verbose: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub noaction: bool,
    /// What the aggregate is called; unique in its cell
    #[arg(long, help_heading = ADDED)]
    pub name: AggregateName,
    /// Print JSON
    #[arg(long, help_heading = ADDED)]
    pub json: bool,
    /// Print this help
    #[arg(long, global = true, action = ArgAction::HelpShort, help_heading = STANDARD)]
    help: Option<bool>,
}

impl Newaggr {
    /// The options that DFS needed and that change nothing here.
    pub fn without_effect(&self) -> Vec<&'static str> {
        let options = [
            ("blocksize", self.blocksize),
            ("fragsize", self.fragsize),
            ("initialempty", self.initialempty),
            ("aggrsize", self.aggrsize),
            ("logsize", self.logsize),
        ];
        let given = options.into_iter().filter(|(_, value)| value.is_some());
        given.map(|(name, _)| name).collect()
    }
}

/// Exports and detaches aggregates; without an option, lists them
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(
    name = "dfsexport",
    rename_all = "lower",
    disable_help_flag = true,
    max_term_width = 100,
    after_help = "Examples:\n  dfsexport\n  dfsexport -aggregate lfs03\n  dfsexport -aggregate lfs03 -detach"
)]
pub struct Dfsexport {
    /// Every aggregate whose label is seen
    #[arg(long, conflicts_with = "aggregate")]
    pub all: bool,
    /// This one, by the name in its label
    #[arg(long, value_name = "NAME")]
    pub aggregate: Option<AggregateName>,
    /// Only lfs: a partition that is no aggregate is never exported
    #[arg(long, value_name = "TYPE", value_parser = ["lfs", "ufs"])]
    pub r#type: Option<String>,
    /// Give it up, so that another server may have it
    #[arg(long)]
    pub detach: bool,
    /// With -detach: wait for no client; what they have not written yet goes to the next owner
    #[arg(long, requires = "detach")]
    pub force: bool,
    /// Take it from an owner that lives: that one is fenced, and clients send again what they hold
    #[arg(long, help_heading = ADDED, requires = "aggregate", conflicts_with_all = ["detach", "all"])]
    pub takeover: bool,
    /// Take it although the location database has no quorum to grant it; whoever has it now is fenced
    #[arg(long, help_heading = ADDED, requires = "aggregate", conflicts_with_all = ["detach", "all", "takeover", "server"])]
    pub seize: bool,
    /// With -seize: do not ask for the aggregate's name first
    #[arg(long, help_heading = ADDED, requires = "seize")]
    pub yes: bool,
    /// Another machine's file server
    #[arg(long, help_heading = ADDED, value_parser = server)]
    pub server: Option<Address>,
    /// What every command takes
    #[command(flatten)]
    pub standard: Standard,
}

/// Reads what clap found for `dfsexport`.
///
/// # Errors
/// What clap says.
pub fn dfsexport(matches: &ArgMatches) -> Result<Parsed, Error> {
    let words = Dfsexport::from_arg_matches(matches)?;
    if words.detach && !words.all && words.aggregate.is_none() {
        let sentence = "nothing to detach; say what with -aggregate or -all";
        return Err(Error::raw(ErrorKind::MissingRequiredArgument, sentence));
    }
    if words.r#type.as_deref() == Some("ufs") {
        let sentence = "a partition that is no aggregate is never exported: copy its files into a fileset";
        return Err(Error::raw(ErrorKind::InvalidValue, sentence));
    }
    Ok(Parsed::Dfsexport(words))
}

/// Makes an aggregate larger while it is served
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(
    name = "growaggr",
    rename_all = "lower",
    disable_help_flag = true,
    max_term_width = 100,
    after_help = "Examples:\n  growaggr -aggregate lfs03 -noaction\n  growaggr -aggregate lfs03"
)]
pub struct Growaggr {
    /// The aggregate, by the name in its label
    #[arg(long, value_name = "NAME")]
    pub aggregate: AggregateName,
    /// How large it is to be, in units of 1024 bytes; as large as its device, if left out
    #[arg(long, value_name = "KBYTES")]
    pub aggrsize: Option<u64>,
    /// Say how large it is and may be, and do nothing
    #[arg(long)]
    pub noaction: bool,
    /// The file server that exports it, if not this machine's
    #[arg(long, help_heading = ADDED, value_parser = server)]
    pub server: Option<Address>,
    /// What every command takes
    #[command(flatten)]
    pub standard: Standard,
}

/// Checks an aggregate, repairs it, or gives its files back without a cell
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(
    name = "salvage",
    rename_all = "lower",
    disable_help_flag = true,
    max_term_width = 100,
    group = ArgGroup::new("what").args(["recoveronly", "verifyonly", "salvageonly", "check", "repair", "extract"]),
    after_help = "Examples:\n  salvage -check /dev/sdb\n  salvage -repair /dev/sdb -noaction\n  \
                  salvage -repair /dev/sdb -cut\n  \
                  salvage -extract /dev/sdb /tmp/files -fileset user.ito"
)]
pub struct Salvage {
    /// The disk or file, to be repaired, or for -verifyonly
    #[arg(long, value_name = "DEVICE", conflicts_with_all = ["check", "repair", "extract"])]
    pub aggregate: Option<PathBuf>,
    /// Not needed: who takes an aggregate over replays its log
    #[arg(long)]
    pub recoveronly: bool,
    /// The same as -check
    #[arg(long)]
    pub verifyonly: bool,
    /// The same as -repair
    #[arg(long)]
    pub salvageonly: bool,
    /// For a repair: every server that ever had the disk is switched off, or has ended for good
    #[arg(long)]
    pub force: bool,
    /// Say more
    #[arg(long, help_heading = STANDARD)]
    pub verbose: bool,
    /// Check this one; reads only
    #[arg(long, help_heading = ADDED, value_name = "DEVICE")]
    pub check: Option<PathBuf>,
    /// Put right on this one what can be; nobody may serve it
    #[arg(long, help_heading = ADDED, value_name = "DEVICE")]
    pub repair: Option<PathBuf>,
    /// For a repair: cut nodes of filesets that cannot be read out of their trees; what is below them is lost for good
    #[arg(long, help_heading = ADDED, conflicts_with_all = ["check", "extract", "recoveronly", "verifyonly"])]
    pub cut: bool,
    /// Say what a repair would do, and do nothing
    #[arg(long, help_heading = ADDED, conflicts_with_all = ["check", "extract", "recoveronly", "verifyonly"])]
    pub noaction: bool,
    /// Repair without asking
    #[arg(long, help_heading = ADDED)]
    pub yes: bool,
    /// Give the files of this one back into a directory; reads only
    #[arg(long, help_heading = ADDED, value_names = ["DEVICE", "DIRECTORY"], num_args = 1..=2)]
    pub extract: Vec<PathBuf>,
    /// Only those of this fileset
    #[arg(long, help_heading = ADDED, value_name = "NAME", requires = "extract")]
    pub fileset: Option<FilesetName>,
    /// Leave the bytes of files unread
    #[arg(long, help_heading = ADDED, conflicts_with = "extract")]
    pub fast: bool,
    /// Print JSON
    #[arg(long, help_heading = ADDED)]
    pub json: bool,
    /// Print this help
    #[arg(long, global = true, action = ArgAction::HelpShort, help_heading = STANDARD)]
    help: Option<bool>,
}

/// Reads what clap found for `newaggr`.
///
/// # Errors
/// What clap says.
pub fn newaggr(matches: &ArgMatches) -> Result<Parsed, Error> {
    Newaggr::from_arg_matches(matches).map(Parsed::Newaggr)
}

/// Reads what clap found for `growaggr`.
///
/// # Errors
/// What clap says.
pub fn growaggr(matches: &ArgMatches) -> Result<Parsed, Error> {
    Growaggr::from_arg_matches(matches).map(Parsed::Growaggr)
}

/// Reads what clap found for `salvage`.
///
/// # Errors
/// What clap says.
pub fn salvage(matches: &ArgMatches) -> Result<Parsed, Error> {
    Salvage::from_arg_matches(matches).map(Parsed::Salvage)
}
