//! `baton`: making a cell, letting machines and people in, and this program's own papers.

use std::path::PathBuf;

use baton_types::{Address, CellName, EntryName, GroupName, PrincipalName};
use clap::error::Error;
use clap::{ArgAction, ArgMatches, Args, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

use super::{Parsed, Standard, Switch};

/// Makes cells, lets machines and people in, and is by other names fts, dfsexport, newaggr and more
#[derive(Debug, Parser)]
#[command(
    name = "baton",
    rename_all = "lower",
    version,
    disable_version_flag = true,
    disable_help_flag = true,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    subcommand_value_name = "COMMAND",
    max_term_width = 100,
    after_help = "Links to this program work under the names of DFS: fts, dfsexport, newaggr, growaggr, salvage, cm \
                  and acl. Without links, type for example 'baton fts lsfldb'.\n\n\
                  Example:\n  baton cell create example.org"
)]
pub struct Line {
    #[command(flatten)]
    standard: Standard,
    /// Print the version
    #[arg(long, action = ArgAction::Version)]
    version: Option<bool>,
    #[command(subcommand)]
    word: Word,
}

#[derive(Debug, Subcommand)]
#[command(rename_all = "lower")]
enum Word {
    #[command(flatten)]
    Baton(Baton),
    /// Prints help on a command
    #[command(after_help = "Example:\n  baton help cell create")]
    Help {
        /// The command; none prints the list of them
        command: Vec<String>,
    },
    /// Prints the completion script for a shell, all programs in one
    #[command(after_help = "Example:\n  baton completions bash > /etc/bash_completion.d/baton")]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Writes the manual pages of all programs
    #[command(after_help = "Example:\n  baton man --dir /usr/local/share/man/man1")]
    Man {
        /// Where to
        #[arg(long)]
        dir: PathBuf,
    },
}

/// Reads what clap found.
///
/// # Errors
/// What clap says.
pub fn parse(matches: &ArgMatches) -> Result<Parsed, Error> {
    let line = Line::from_arg_matches(matches)?;
    Ok(match line.word {
        Word::Baton(command) => Parsed::Baton(command, line.standard),
        Word::Help { command } => Parsed::Help(command),
        Word::Completions { shell } => Parsed::Completions(shell),
        Word::Man { dir } => Parsed::Man(dir),
    })
}

/// The commands of `baton` that ask or change something.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
#[command(rename_all = "lower")]
pub enum Baton {
    /// The cell: its making, its members, its principals
    #[command(subcommand, arg_required_else_help = true)]
    Cell(Cell),
    /// Makes this machine a part of the cell that gave out a token
    #[command(after_help = "Example:\n  baton join TOKEN\n  baton join TOKEN --address 192.0.2.12")]
    Join(Join),
    /// Prints as whom the cell knows you
    #[command(after_help = "Example:\n  baton whoami")]
    Whoami,
    /// Gets your identity certificate, and makes this machine use it for your files
    #[command(after_help = "Example:\n  baton login --invite CODE\n  baton login")]
    Login {
        /// What 'baton cell invite --user' printed; none: you have your certificate
        #[arg(long, value_name = "CODE")]
        invite: Option<String>,
    },
    /// Makes this machine use your certificate for your files no more
    #[command(after_help = "Example:\n  baton logout")]
    Logout,
    /// This machine's configuration
    #[command(subcommand, arg_required_else_help = true)]
    Config(Config),
}

/// `baton cell`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
#[command(rename_all = "lower")]
pub enum Cell {
    /// Makes a cell: its authority, its first administrator, its first member
    #[command(
        after_help = "Example:\n  baton cell create example.org\n  baton cell create example.org --address 192.0.2.11"
    )]
    Create(CreateCell),
    /// Gives out a token for a machine or a person, good once
    #[command(after_help = "Example:\n  baton cell invite fs2\n  baton cell invite --user alice --group staff")]
    Invite(Invite),
    /// Lists the members of the location database
    #[command(after_help = "Example:\n  baton cell members")]
    Members,
    /// Takes a member out of the location database
    #[command(after_help = "Example:\n  baton cell remove fs2")]
    Remove {
        /// Its name
        member: EntryName,
    },
    /// Writes all that the location database holds into a file
    #[command(after_help = "Example:\n  baton cell backup /mnt/elsewhere/example.org.fldb")]
    Backup {
        /// A file that is not there yet
        file: PathBuf,
    },
    /// Makes this machine the first member again of a cell that lost all of them
    #[command(after_help = "Example:\n  baton cell restore /mnt/elsewhere/example.org.fldb")]
    Restore(RestoreCell),
    /// Lists those who can prove who they are
    #[command(after_help = "Example:\n  baton cell principals")]
    Principals,
    /// Prints a principal, or edits it where options say so
    #[command(after_help = "Example:\n  baton cell principal alice --groups staff cell-admin")]
    Principal(Principal),
    /// Lists the groups of the registry: those with members, and those with a number
    #[command(after_help = "Example:\n  baton cell groups")]
    Groups,
    /// Prints a group, or edits it where options say so
    #[command(after_help = "Example:\n  baton cell group staff --id 50")]
    Group(Group),
    /// Makes principals and groups of those in passwd and group files, with their numbers
    ///
    /// It only adds: nobody loses a group or gets another number, and nobody becomes an administrator. Given again, it
    /// does what is new.
    #[command(
        after_help = "Example:\n  baton cell import -passwd /etc/passwd -group /etc/group -noaction\n  \
                      baton cell import -passwd people -group groups -min-uid 500"
    )]
    Import(Import),
}

/// `baton join`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// What 'baton cell invite' printed
    pub token: String,
    /// Where the others find this machine, if it shall be a member; none: by its name, else by its network
    #[arg(long)]
    pub address: Vec<Address>,
    /// Do not start anything
    #[arg(long)]
    pub no_start: bool,
}

/// `baton cell create`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct CreateCell {
    /// A domain name of yours
    pub name: CellName,
    /// This machine's name in the cell; none: its own
    #[arg(long)]
    pub host: Option<EntryName>,
    /// Where the others find this machine; none: by its name, else by its network
    #[arg(long)]
    pub address: Vec<Address>,
    /// The first administrator; none: you
    #[arg(long, value_name = "USER")]
    pub admin: Option<PrincipalName>,
    /// The administrator's uid; none: the one on this machine
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u32).range(1..))]
    pub admin_id: Option<u32>,
    /// Do not start the flserver
    #[arg(long)]
    pub no_start: bool,
}

/// `baton cell restore`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct RestoreCell {
    /// What 'baton cell backup' wrote
    pub file: PathBuf,
    /// Where the others find this machine; none: by its name, else by its network
    #[arg(long)]
    pub address: Vec<Address>,
    /// Do not start the flserver
    #[arg(long)]
    pub no_start: bool,
}

/// `baton cell invite`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// Name of a machine
    #[arg(required_unless_present = "user", conflicts_with = "user")]
    pub host: Option<EntryName>,
    /// Name of a person
    #[arg(long, value_name = "NAME")]
    pub user: Option<PrincipalName>,
    /// The machine shall be a member of the location database
    #[arg(long, conflicts_with = "user")]
    pub member: bool,
    /// The person's groups
    #[arg(long, num_args = 1.., conflicts_with = "host")]
    pub group: Vec<GroupName>,
    /// The person's uid; none draws the next free one
    #[arg(long, conflicts_with = "host", value_parser = clap::value_parser!(u32).range(1..))]
    pub id: Option<u32>,
}

/// `baton cell principal`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Who
    pub name: PrincipalName,
    /// All its groups; no word after it takes it out of all
    #[arg(long, value_name = "GROUP", num_args = 0..)]
    pub groups: Option<Vec<GroupName>>,
    /// The one of its groups whose gid the files get that it makes
    #[arg(long, value_name = "GROUP")]
    pub primary: Option<GroupName>,
    /// Refuse it
    #[arg(long, value_name = "ON|OFF", hide_possible_values = true)]
    pub disabled: Option<Switch>,
    /// The machine may state uid and groups of its callers
    #[arg(long, value_name = "ON|OFF", hide_possible_values = true)]
    pub may_assert_users: Option<Switch>,
    /// Such a machine's uid 0 acts as root
    #[arg(long, value_name = "ON|OFF", hide_possible_values = true)]
    pub may_assert_root: Option<Switch>,
}

/// `baton cell group`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Which
    pub name: GroupName,
    /// Its gid
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u32).range(1..))]
    pub id: Option<u32>,
    /// Take its gid away
    #[arg(long, conflicts_with = "id")]
    pub no_id: bool,
}

/// `baton cell import`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// People, as passwd(5) and 'getent passwd' write them
    #[arg(long, value_name = "FILE", required_unless_present = "group")]
    pub passwd: Option<PathBuf>,
    /// Groups, as group(5) and 'getent group' write them
    #[arg(long, value_name = "FILE")]
    pub group: Option<PathBuf>,
    /// People from this uid on; those below are the machine's own
    #[arg(long, value_name = "ID", default_value_t = 1_000)]
    pub min_uid: u32,
    /// People up to this uid
    #[arg(long, value_name = "ID", default_value_t = u32::MAX - 1)]
    pub max_uid: u32,
    /// Groups from this gid on, and those that somebody imported has for his first
    #[arg(long, value_name = "ID", default_value_t = 1_000)]
    pub min_gid: u32,
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub noaction: bool,
}

/// `baton config`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
#[command(rename_all = "lower")]
pub enum Config {
    /// Prints every setting of this machine and where it comes from
    #[command(after_help = "Example:\n  baton config show")]
    Show,
}
