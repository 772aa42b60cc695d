//! The words of `clonesys`, `snapshot` and `restorehome`.

use std::path::PathBuf;

use baton_types::change::{AggregateRef, FilesetRef};
use baton_types::control::{Carry, Moment};
use baton_types::{Address, FileName, FilesetName, Timestamp};
use clap::{Args, Subcommand};

use crate::grammar::values::{aggregate, file_name, fileset, home, moment, server};

/// `fts clonesys`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct CloneSys {
    /// Only those whose names begin so
    #[arg(long)]
    pub prefix: Option<String>,
    /// Only those with a site under this server entry
    #[arg(long, value_parser = server)]
    pub server: Option<Address>,
    /// Only those on this one of its aggregates: name or number
    #[arg(long, value_parser = aggregate, requires = "server")]
    pub aggregate: Option<AggregateRef>,
}

/// `fts snapshot`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
#[command(rename_all = "lower")]
pub enum Snapshots {
    /// Takes a snapshot: what the fileset holds now is kept, in .snapshots of its root
    #[command(after_help = "Example:\n  fts snapshot create user.ito monday")]
    Create {
        /// Of which fileset: its name or id
        #[arg(value_parser = fileset)]
        fileset: FilesetRef,
        /// Its name
        #[arg(value_parser = file_name)]
        name: FileName,
    },
    /// Lists the snapshots of a fileset
    #[command(after_help = "Example:\n  fts snapshot list user.ito")]
    List {
        /// Of which fileset: its name or id
        #[arg(value_parser = fileset)]
        fileset: FilesetRef,
    },
    /// Deletes a snapshot: what it alone has is given back
    #[command(after_help = "Example:\n  fts snapshot delete user.ito monday")]
    Delete {
        /// Of which fileset: its name or id
        #[arg(value_parser = fileset)]
        fileset: FilesetRef,
        /// Its name
        #[arg(value_parser = file_name)]
        name: FileName,
    },
    /// Prints in what a fileset differs between a snapshot and another one, or now
    #[command(
        after_help = "Example:\n  fts snapshot diff -fileset user.ito -from monday -to tuesday\n  \
                            fts snapshot diff -fileset user.ito -from monday -0 > changed"
    )]
    Diff(SnapshotDiff),
    /// Takes a fileset back to a snapshot, in one moment; what is there now is kept as a snapshot
    #[command(after_help = "Example:\n  fts snapshot rollback -fileset user.ito -snapshot monday")]
    Rollback(SnapshotRollback),
    /// Makes a fileset of a snapshot: it begins as that was, and lives on by itself
    #[command(after_help = "Example:\n  fts snapshot clone -fileset user.ito -snapshot monday -name user.ito.test")]
    Clone(SnapshotClone),
}

/// `fts snapshot rollback`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRollback {
    /// Which fileset: its name or id
    #[arg(long, value_parser = fileset)]
    pub fileset: FilesetRef,
    /// To which snapshot
    #[arg(long, value_parser = file_name)]
    pub snapshot: FileName,
    /// Only show what would be done
    #[arg(long = "dry-run")]
    dry_run: bool,
}

impl SnapshotRollback {
    /// Whether it is done.
    pub fn carry(&self) -> Carry {
        carry(self.dry_run)
    }
}

/// `fts snapshot clone`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct SnapshotClone {
    /// Of which fileset: its name or id
    #[arg(long, value_parser = fileset)]
    pub fileset: FilesetRef,
    /// Of which snapshot
    #[arg(long, value_parser = file_name)]
    pub snapshot: FileName,
    /// The name of the new fileset
    #[arg(long)]
    pub name: FilesetName,
}

/// `fts snapshot diff`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct SnapshotDiff {
    /// Of which fileset: its name or id
    #[arg(long, value_parser = fileset)]
    pub fileset: FilesetRef,
    /// From which snapshot
    #[arg(long, value_name = "SNAPSHOT", value_parser = file_name)]
    pub from: FileName,
    /// To which one; without it, to now
    #[arg(long, value_name = "SNAPSHOT", value_parser = file_name)]
    pub to: Option<FileName>,
    /// Only this file or directory, from the fileset's root
    #[arg(long)]
    pub path: Option<PathBuf>,
    /// End each path with a NUL, and print its bytes as they are
    #[arg(long = "0", conflicts_with = "json")]
    pub nul: bool,
}

/// `fts restorehome`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct RestoreHome {
    /// Whose home: the fileset user.USER
    #[arg(value_parser = home, required_unless_present = "fileset", conflicts_with = "fileset")]
    user: Option<FilesetRef>,
    /// Another fileset: its name or id
    #[arg(long, value_parser = fileset)]
    fileset: Option<FilesetRef>,
    /// To the newest snapshot that is no younger: '2 days ago', 2026-11-20, '2026-11-20 17:30'
    #[arg(long, value_name = "TIME", value_parser = moment, required_unless_present = "undo", conflicts_with = "undo")]
    at: Option<Timestamp>,
    /// Only this file or directory, from the fileset's root
    #[arg(long)]
    pub path: Option<PathBuf>,
    /// Only show what would be done
    #[arg(long = "dry-run")]
    dry_run: bool,
    /// Back to what was there before the last time
    #[arg(long)]
    undo: bool,
}

impl RestoreHome {
    /// Which fileset.
    pub fn target(&self) -> Option<&FilesetRef> {
        self.user.as_ref().or(self.fileset.as_ref())
    }

    /// To when.
    pub fn moment(&self) -> Moment {
        self.at.map_or(Moment::BeforeLast, Moment::At)
    }

    /// Whether it is done.
    pub fn carry(&self) -> Carry {
        carry(self.dry_run)
    }
}

pub(super) fn carry(is_dry: bool) -> Carry {
    match is_dry {
        true => Carry::Nothing,
        false => Carry::Out,
    }
}
