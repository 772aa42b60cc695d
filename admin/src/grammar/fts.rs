//! `fts`: the location database and the filesets in it.
//!
//! Options stand in DFS's order, which is also the order that bare words are taken in. What DFS did not
//! have is marked with [`ADDED`].

mod owners;
mod quota;
mod repair;
mod scrub;
mod snapshots;

use baton_rpc::fldb::Owner;
use baton_types::change::{AddressEdit, AggregateRef, FilesetRef, OwnerEdit};
use baton_types::{Address, FilesetName, GroupName, PrincipalName};
use clap::error::{Error, ErrorKind};
use clap::{ArgMatches, Args, FromArgMatches, Parser, Subcommand};

use super::values::{aggregate, fileset, owner, server, size};
use super::{Parsed, Standard};
use crate::dfs_args::ADDED;
pub use owners::{FailOver, History, Hold, Prefer, SetDomain, UnHold};
pub use quota::{LsQuota, SetQuota};
pub use repair::{DelFldbEntry, SyncDisks, UnlockFldb};
pub use scrub::Scrub;
pub use snapshots::{CloneSys, RestoreHome, SnapshotClone, SnapshotDiff, SnapshotRollback, Snapshots};

/// Administers filesets and the location database of a cell
#[derive(Debug, Parser)]
#[command(
    name = "fts",
    rename_all = "lower",
    disable_help_flag = true,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    subcommand_value_name = "COMMAND",
    max_term_width = 100,
    after_help = "Commands and options may be cut to any prefix that is not ambiguous, and a command's first \
                  options may be given by their values alone, in the order listed.\n\n\
                  Example:\n  fts lsfldb user.ito"
)]
pub struct Line {
    #[command(flatten)]
    standard: Standard,
    #[command(subcommand)]
    word: Word,
}

#[derive(Debug, Subcommand)]
#[command(rename_all = "lower")]
enum Word {
    #[command(flatten)]
    Fts(Fts),
    /// Finds commands by a word of their help
    #[command(after_help = "Example:\n  fts apropos server")]
    Apropos {
        /// What to look for
        #[arg(long)]
        topic: String,
    },
    /// Prints help on commands
    #[command(after_help = "Example:\n  fts help lsfldb")]
    Help {
        /// Commands; none prints the list of them
        #[arg(long, num_args = 1.., value_name = "COMMAND")]
        topic: Vec<String>,
    },
}

/// Reads what clap found.
///
/// # Errors
/// What clap says.
pub fn parse(matches: &ArgMatches) -> Result<Parsed, Error> {
    let line = Line::from_arg_matches(matches)?;
    if let Word::Fts(Fts::EdServerEntry(edit)) = &line.word
        && edit.is_empty()
    {
        let sentence = "nothing to edit; say what with -addaddr, -changeaddr, -rmaddr, -principal, -quota or -owner";
        return Err(Error::raw(ErrorKind::MissingRequiredArgument, sentence));
    }
    Ok(match line.word {
        Word::Fts(command) => Parsed::Fts(command, line.standard),
        Word::Apropos { topic } => Parsed::Apropos(topic),
        Word::Help { topic } => Parsed::Help(topic),
    })
}

/// The commands of `fts` that ask or change something.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
#[command(rename_all = "lower")]
pub enum Fts {
    /// Makes a server entry
    #[command(after_help = "Example:\n  fts crserverentry -server mlserva -principal hosts/mlserva")]
    CrServerEntry(CrServerEntry),
    /// Edits a server entry
    #[command(after_help = "Example:\n  fts edserverentry mlserva -changeaddr mlservb")]
    EdServerEntry(EdServerEntry),
    /// Deletes a server entry
    #[command(after_help = "Example:\n  fts delserverentry mlserva")]
    DelServerEntry(ServerOnly),
    /// Lists server entries
    #[command(after_help = "Example:\n  fts lsserverentry -all")]
    LsServerEntry(LsServerEntry),
    /// Makes a fileset
    #[command(after_help = "Example:\n  fts create user.ito mlserva lfs03")]
    Create(Create),
    /// Deletes a fileset
    #[command(after_help = "Example:\n  fts delete user.ito mlserva lfs03")]
    Delete(Delete),
    /// Renames a fileset
    #[command(after_help = "Example:\n  fts rename user.ito user.itoh")]
    Rename(Rename),
    /// Sets what a fileset may hold
    #[command(after_help = "Example:\n  fts setquota -fileset user.ito -size 20GiB")]
    SetQuota(SetQuota),
    /// Prints what filesets may hold, and what they hold
    #[command(after_help = "Example:\n  fts lsquota /cell/home/ito")]
    LsQuota(LsQuota),
    /// Makes a fileset's backup version, or puts a new one in its place
    #[command(after_help = "Example:\n  fts clone user.ito")]
    Clone(FilesetOnly),
    /// Makes the backup versions of many filesets, or of all
    #[command(after_help = "Example:\n  fts clonesys -prefix user.")]
    CloneSys(CloneSys),
    /// Makes a mount point: a directory that leads into a fileset
    #[command(after_help = "Example:\n  fts crmount /cell/home/ito user.ito")]
    CrMount(CrMount),
    /// Removes mount points, not what they lead to
    #[command(after_help = "Example:\n  fts delmount /cell/home/ito")]
    DelMount(Dirs),
    /// Prints where mount points lead
    #[command(after_help = "Example:\n  fts lsmount /cell/home/ito")]
    LsMount(Dirs),
    /// Lists entries of the location database
    #[command(after_help = "Example:\n  fts lsfldb -server mlserva -locked")]
    LsFldb(LsFldb),
    /// Prints all that is known of a fileset
    #[command(after_help = "Example:\n  fts lsft -fileset user.ito")]
    LsFt(LsFt),
    /// Prints what a server says of its filesets
    #[command(after_help = "Example:\n  fts lsheader mlserva lfs03")]
    LsHeader(LsHeader),
    /// Prints the space on a server's aggregates
    #[command(after_help = "Example:\n  fts aggrinfo mlserva")]
    AggrInfo(AggrInfo),
    /// Lists a server's aggregates
    #[command(after_help = "Example:\n  fts lsaggr mlserva")]
    LsAggr(FileServer),
    /// Prints what a file server is at work on
    #[command(after_help = "Example:\n  fts statftserver mlserva")]
    StatFtServer(FileServer),
    /// Locks a fileset's entry against other administrators
    #[command(after_help = "Example:\n  fts lock user.ito")]
    Lock(FilesetOnly),
    /// Unlocks a fileset's entry
    #[command(after_help = "Example:\n  fts unlock user.ito")]
    Unlock(FilesetOnly),
    /// Unlocks many entries, or all
    #[command(after_help = "Example:\n  fts unlockfldb -server mlserva")]
    UnlockFldb(UnlockFldb),
    /// Makes the location database say what is on a server's disks
    #[command(after_help = "Example:\n  fts syncfldb mlserva -noaction")]
    SyncFldb(SyncDisks),
    /// Makes a server's headers say what the location database says, and names what is missing
    #[command(after_help = "Example:\n  fts syncserv mlserva lfs03")]
    SyncServ(SyncDisks),
    /// Deletes entries of the location database, and nothing on a disk
    #[command(after_help = "Example:\n  fts delfldbentry user.ito -yes")]
    DelFldbEntry(DelFldbEntry),
    /// Takes, lists, compares and deletes snapshots of a fileset, goes back to them and clones them
    #[command(next_help_heading = ADDED, subcommand, arg_required_else_help = true)]
    Snapshot(Snapshots),
    /// Brings back what a home directory, or any fileset, held at a snapshot
    #[command(next_help_heading = ADDED, after_help = "Example:\n  fts restorehome ito -at '2 days ago' -dry-run\n  \
                                                       fts restorehome -fileset user.ito -undo")]
    RestoreHome(RestoreHome),
    /// Reads all that aggregates hold, while they are served, and names what is damaged
    #[command(next_help_heading = ADDED, after_help = "Example:\n  fts scrub -aggregate lfs03\n  \
                                                       fts scrub -server mlserva -status")]
    Scrub(Scrub),
    /// Moves aggregates to another server, with all that their clients hold
    #[command(next_help_heading = ADDED, after_help = "Example:\n  fts failover -aggregate lfs03 -to mlservb\n  \
                                                       fts failover -server mlserva --dry-run")]
    FailOver(FailOver),
    /// Moves all off a server, and gives it nothing until 'fts undrain'
    #[command(next_help_heading = ADDED, after_help = "Example:\n  fts drain -server mlserva")]
    Drain(FileServer),
    /// Lets a server have aggregates again
    #[command(next_help_heading = ADDED, after_help = "Example:\n  fts undrain -server mlserva")]
    UnDrain(FileServer),
    /// Says what a server fails together with: what it owns goes to a server elsewhere first
    #[command(next_help_heading = ADDED, after_help = "Example:\n  fts setdomain -server mlserva -domain rack1")]
    SetDomain(SetDomain),
    /// Says which server an aggregate is at home on
    #[command(next_help_heading = ADDED, after_help = "Example:\n  fts prefer -aggregate lfs03 -server mlserva")]
    Prefer(Prefer),
    /// Keeps an aggregate where it is: nobody becomes its owner until 'fts unhold'
    #[command(next_help_heading = ADDED, after_help = "Example:\n  fts hold -aggregate lfs03 -why 'disk is replaced'")]
    Hold(Hold),
    /// Lets servers take an aggregate again that is held
    #[command(next_help_heading = ADDED, after_help = "Example:\n  fts unhold -aggregate lfs03")]
    UnHold(UnHold),
    /// Prints who owned an aggregate, since when and why
    #[command(next_help_heading = ADDED, after_help = "Example:\n  fts history -aggregate lfs03 -last 3")]
    History(History),
    /// Prints the state of the cell
    #[command(next_help_heading = ADDED, after_help = "Example:\n  fts status -check")]
    Status(Status),
    /// Prints what happened in the cell
    #[command(next_help_heading = ADDED, after_help = "Example:\n  fts events -follow")]
    Events(Events),
    /// Shows and changes the settings of the cell
    #[command(next_help_heading = ADDED, subcommand, arg_required_else_help = true)]
    Cell(CellSettings),
}

/// A server entry found by an address.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ServerOnly {
    /// One of its addresses
    #[arg(long, value_parser = server)]
    pub server: Address,
}

/// `fts crserverentry`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct CrServerEntry {
    /// Its first address; no other entry may have it
    #[arg(long, value_parser = server)]
    pub server: Address,
    /// Its principal, for example hosts/mlserva
    #[arg(long)]
    pub principal: PrincipalName,
    /// Most fileset versions; 0 is no limit
    #[arg(long, default_value_t = 0)]
    pub quota: u32,
    /// Group whose members administrate what is on the server
    #[arg(long, value_name = "GROUP")]
    pub owner: Option<GroupName>,
}

/// `fts edserverentry`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct EdServerEntry {
    /// Finds the entry; -rmaddr and -changeaddr mean this address
    #[arg(long, value_parser = server)]
    pub server: Address,
    /// Take this address from the entry
    #[arg(long, conflicts_with_all = ["addaddr", "changeaddr"])]
    rmaddr: bool,
    /// Give the entry one more address
    #[arg(long, value_name = "ADDRESS", conflicts_with = "changeaddr", value_parser = server)]
    addaddr: Option<Address>,
    /// Put another address in its place
    #[arg(long, value_name = "ADDRESS", value_parser = server)]
    changeaddr: Option<Address>,
    /// Its principal, for example hosts/mlserva
    #[arg(long)]
    pub principal: Option<PrincipalName>,
    /// Most fileset versions; 0 is no limit
    #[arg(long)]
    pub quota: Option<u32>,
    /// Group whose members administrate what is on the server
    #[arg(long, value_name = "GROUP", conflicts_with = "noowner")]
    owner: Option<GroupName>,
    /// Administrators alone do
    #[arg(long)]
    noowner: bool,
}

impl EdServerEntry {
    /// What happens to its addresses.
    pub fn addresses(&self) -> Option<AddressEdit> {
        let add = self.addaddr.clone().map(AddressEdit::Add);
        let change = self.changeaddr.clone().map(AddressEdit::ChangeTo);
        add.or(change).or(self.rmaddr.then_some(AddressEdit::Remove))
    }

    /// No option asks for anything.
    fn is_empty(&self) -> bool {
        let is_attribute = self.principal.is_some() || self.quota.is_some();
        self.addresses().is_none() && self.owner().is_none() && !is_attribute
    }

    /// What happens to its owner.
    pub fn owner(&self) -> Option<OwnerEdit> {
        let set = self.owner.clone().map(OwnerEdit::Set);
        set.or(self.noowner.then_some(OwnerEdit::Clear))
    }
}

/// `fts lsserverentry`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[group(required = true, multiple = false)]
pub struct LsServerEntry {
    /// One of its addresses
    #[arg(long, value_parser = server)]
    pub server: Option<Address>,
    /// All entries
    #[arg(long)]
    pub all: bool,
}

/// `fts create`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Create {
    /// Its name
    #[arg(long, value_name = "NAME")]
    pub ftname: FilesetName,
    /// Where it shall be: a server's name or an address
    #[arg(long, value_parser = server)]
    pub server: Address,
    /// On which of the server's aggregates: name or number
    #[arg(long, value_parser = aggregate)]
    pub aggregate: AggregateRef,
    /// Most it may hold, for example 20GiB; 0 is no limit
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = ADDED)]
    pub quota: Option<u64>,
    /// Who owns its root directory: uid or uid:gid; else whoever makes it
    #[arg(long, value_name = "UID", value_parser = owner, help_heading = ADDED)]
    pub owner: Option<Owner>,
}

/// `fts delete`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// Its name or id
    #[arg(long, value_parser = fileset)]
    pub fileset: FilesetRef,
    /// Where it is: a server's name or an address
    #[arg(long, value_parser = server)]
    pub server: Address,
    /// On which of the server's aggregates: name or number
    #[arg(long, value_parser = aggregate)]
    pub aggregate: AggregateRef,
}

/// `fts rename`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    /// Its name or id
    #[arg(long, value_name = "FILESET", value_parser = fileset)]
    pub oldname: FilesetRef,
    /// Its new name
    #[arg(long, value_name = "NAME")]
    pub newname: FilesetName,
}

/// `fts crmount`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct CrMount {
    /// The mount point: nothing may be there yet
    #[arg(long)]
    pub dir: std::path::PathBuf,
    /// Where it leads: name or id; .readonly or .backup after a name picks a version
    #[arg(long, required_unless_present = "global", conflicts_with = "global")]
    pub fileset: Option<String>,
    /// Not in this version: it leads into one cell, its own
    #[arg(long)]
    pub global: bool,
    /// Always to the read-write version
    #[arg(long)]
    pub rw: bool,
    /// Do not look whether a fileset has this id
    #[arg(long)]
    pub fast: bool,
}

/// Directories.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Dirs {
    /// Which
    #[arg(long, required = true, num_args = 1..)]
    pub dir: Vec<std::path::PathBuf>,
}

/// `fts lsfldb`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct LsFldb {
    /// Only this one: name or id
    #[arg(long, value_parser = fileset)]
    pub fileset: Option<FilesetRef>,
    /// Only those with a site under this server entry
    #[arg(long, value_parser = server)]
    pub server: Option<Address>,
    /// Only those on this one of its aggregates: name or number
    #[arg(long, value_parser = aggregate, requires = "server")]
    pub aggregate: Option<AggregateRef>,
    /// Only those that are locked
    #[arg(long)]
    pub locked: bool,
}

/// `fts lsft`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct LsFt {
    /// The fileset this file or directory is in; none: the one you are in
    #[arg(long)]
    pub path: Option<std::path::PathBuf>,
    /// Its name or id
    #[arg(long, value_parser = fileset, conflicts_with = "path")]
    pub fileset: Option<FilesetRef>,
    /// Ask this one of the servers that have it
    #[arg(long, value_parser = server)]
    pub server: Option<Address>,
}

/// `fts lsheader`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct LsHeader {
    /// The file server: its name or an address
    #[arg(long, value_parser = server)]
    pub server: Address,
    /// Only those on this one of its aggregates: name or number
    #[arg(long, value_parser = aggregate)]
    pub aggregate: Option<AggregateRef>,
    /// Only their ids
    #[arg(long, conflicts_with = "long")]
    pub fast: bool,
    /// All that is known of each
    #[arg(long)]
    pub long: bool,
}

/// `fts aggrinfo`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct AggrInfo {
    /// The file server: its name or an address
    #[arg(long, value_parser = server)]
    pub server: Address,
    /// Only this one of its aggregates: name or number
    #[arg(long, value_parser = aggregate)]
    pub aggregate: Option<AggregateRef>,
}

/// A file server and nothing else.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct FileServer {
    /// Its name or an address
    #[arg(long, value_parser = server)]
    pub server: Address,
}

/// A fileset and nothing else.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct FilesetOnly {
    /// Its name or id
    #[arg(long, value_parser = fileset)]
    pub fileset: FilesetRef,
}

/// `fts status`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// One line and an exit code for Nagios: 0 well, 1 warning, 2 critical
    #[arg(long)]
    pub check: bool,
}

/// `fts events`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Events {
    /// Go on printing them as they happen
    #[arg(long)]
    pub follow: bool,
}

/// `fts cell`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
#[command(rename_all = "lower")]
pub enum CellSettings {
    /// Prints the settings of the cell
    #[command(after_help = "Example:\n  fts cell show")]
    Show,
    /// Changes a setting of the cell
    #[command(after_help = "Example:\n  fts cell set description 'Mail and home directories'")]
    Set {
        /// Which, as 'fts cell show' calls it
        setting: String,
        /// What it shall be
        value: String,
    },
}
