//! `extract`: the files of an aggregate, given back into a directory without any cell.
//!
//! What cannot be read is left out and named; everything else comes. A name on the disk is nobody's word: each
//! directory is made new and opened without following links, and each file is made new in it, so nothing is ever
//! written outside of the target, whatever the aggregate says. Owners are given back where the caller may do that;
//! set-user-id and set-group-id bits are not: whoever wrote the disk is not whoever runs this.

mod target;
mod tree;

use std::path::Path;
use std::sync::Arc;

use baton_types::{Error, FilesetId, FilesetName, Kind, Result};

use super::items::{self, ALL};
use super::{Patient, Whole, no_root};
use crate::device::Device;
use crate::format::{FilesetHeader, KeyKind, Root};
use crate::live::LiveTree;
use crate::nodes::Nodes;
use crate::snapshot;
use target::Target;
use tree::Walk;

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extracted {
    /// From where: the newest root and its log, or what else could be read.
    pub source: String,
    /// Filesets.
    pub filesets: u64,
    /// Files of every kind, a file with several names once.
    pub files: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// What did not come, or not whole.
    pub skipped: Vec<Skipped>,
}

/// What did not come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its path below the target.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// Gives the files of the fileset `only`, or of all, back into `directory`, each fileset in a directory of its own.
///
/// # Errors
/// If nothing can be read: no label, no root; `NotFound` for a fileset that is not there; `Exists` if `directory` has
/// something of its name already.
pub fn extract(
    device: Arc<dyn Device>,
    nodes: Nodes,
    directory: &Path,
    only: Option<&FilesetName>,
) -> Result<Extracted> {
    let patient = Patient::open(device, nodes)?;
    let (mut whole, source) = readable(&patient)?;
    let mut extracted = Extracted {
        source,
        ..Extracted::default()
    };
    let mut found = Vec::new();
    items::each(&whole.replayed.system, &patient.nodes, ALL, |key, value| {
        if key.kind == KeyKind::FilesetHeader {
            let header = FilesetHeader::decode(&value)?;
            if only.is_none_or(|only| *only == header.name) {
                found.push((FilesetId(key.object), header.name));
            }
        }
        Ok(())
    })?;
    if let (Some(only), true) = (only, found.is_empty()) {
        return Err(Error::new(Kind::NotFound, format!("fileset {only}"))
            .because(format!("aggregate {} has none of this name", patient.label.name)));
    }
    let target = Target::open(directory)?;
    for (id, name) in found {
        let tree = tree_of(&patient, &mut whole, id)?;
        // A fileset's name has no slash; one that begins with a dot would hide, or lead up.
        let name = name
            .as_str()
            .strip_prefix('.')
            .map_or_else(|| name.to_string(), |rest| format!("_{rest}"));
        let mut walk = Walk::new(&patient, &tree, &target, &mut extracted);
        walk.fileset(&name)?;
        extracted.filesets += 1;
    }
    Ok(extracted)
}

/// The newest state that can be read: a root with its log; else the newest root as it stands.
fn readable(patient: &Patient) -> Result<(Whole, String)> {
    let roots = patient.roots()?;
    let mut damage = None;
    for root in &roots {
        match patient.whole(root) {
            Ok(whole) => {
                let source = format!(
                    "{} and its log, up to record {}",
                    root.name(),
                    whole.chain.last(root.lsn)
                );
                return Ok((whole, source));
            }
            Err(error) => damage = damage.or(Some(error)),
        }
    }
    for root in &roots {
        let bare = Root {
            chain: Vec::new(),
            ..root.clone()
        };
        if let Ok(whole) = patient.whole(&bare) {
            return Ok((whole, format!("{} without its log, record {}", root.name(), root.lsn)));
        }
    }
    Err(damage.unwrap_or_else(|| no_root(&patient.label)))
}

/// A fileset's tree with what the log put over it.
fn tree_of(patient: &Patient, whole: &mut Whole, id: FilesetId) -> Result<LiveTree> {
    let (root, _) = items::look(&whole.replayed.system, &patient.nodes, |view| {
        snapshot::beginning(view, id)
    })?;
    let changed = whole.replayed.filesets.remove(&id).unwrap_or_default();
    Ok(LiveTree { root, ..changed.tree })
}
