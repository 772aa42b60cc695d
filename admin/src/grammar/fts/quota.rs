//! The words of `setquota` and `lsquota`.

use baton_types::change::FilesetRef;
use clap::Args;

use crate::dfs_args::ADDED;
use crate::grammar::values::{fileset, size};

/// `fts setquota`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[group(id = "limits", required = true, multiple = true, args = ["size", "files"])]
pub struct SetQuota {
    /// The fileset this file or directory is in
    #[arg(long, required_unless_present = "fileset", conflicts_with = "fileset")]
    pub path: Option<std::path::PathBuf>,
    /// Its name or id
    #[arg(long, value_parser = fileset)]
    pub fileset: Option<FilesetRef>,
    /// Most it may hold, for example 20GiB; 0 is no limit
    #[arg(long, value_parser = size)]
    pub size: Option<u64>,
    /// Most files, directories and links it may hold; 0 is no limit
    #[arg(long, value_name = "COUNT", help_heading = ADDED)]
    pub files: Option<u64>,
}

/// `fts lsquota`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct LsQuota {
    /// The filesets these are in; none: the one you are in
    #[arg(long, num_args = 1..)]
    pub path: Vec<std::path::PathBuf>,
    /// These: names or ids
    #[arg(long, num_args = 1.., value_parser = fileset, conflicts_with = "path")]
    pub fileset: Vec<FilesetRef>,
}
