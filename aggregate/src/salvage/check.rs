//! `check`: every invariant of the store that can be told from its disk.

mod files;
mod fixed;
mod line;
mod space;
mod system;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use baton_types::{FilesetId, Result};

use super::blocks::{Blocks, By, Use};
use super::finding::{Fault, Finding, Findings, Gravity};
use super::mend::Mend;
use super::walk::{Broken, Tree, Walk};
use super::{Lost, Patient, Whole, no_root};
use crate::checkpoint::{PENDING, SPACE, SYSTEM};
use crate::device::Device;
use crate::format::{
    Base, Block, Geometry, Held, Key, KeyKind, Lsn, Pointer, Root, RootName, Segment, SegmentState, Snapshot,
};
use crate::live::LiveTree;
use crate::nodes::Nodes;
use crate::recover::retrying;
use crate::space::Tally;
use crate::transaction::Run;

/// Whether the bytes of files are read too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Every block that a file has, against its checksum.
    Read,
    /// Only what says where they are.
    Skip,
}

/// What becomes of nodes of filesets that do not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// They stay, and so does all below them and all else of their filesets.
    Leave,
    /// They are cut out, with all below them.
    Cut,
}

/// What a check found, and how much it has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The aggregate.
    pub name: String,
    /// The root that the next recovery would begin with.
    pub root: RootName,
    /// The last record of its history.
    pub last: Lsn,
    /// Filesets seen.
    pub filesets: u64,
    /// Files of every kind seen.
    pub files: u64,
    /// Nodes seen.
    pub nodes: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Findings beyond those listed.
    pub more: u64,
    /// The first of all that no repair can do anything about: it would refuse.
    pub beyond: Option<Finding>,
}

impl Report {
    /// True if nothing has to be done.
    pub fn is_sound(&self) -> bool {
        self.more == 0 && self.findings.iter().all(|finding| finding.gravity == Gravity::Notice)
    }
}

/// One check, under way.
struct Check<'a> {
    patient: &'a Patient,
    data: Data,
    orphans: Orphans,
    unreadable: Unreadable,
    findings: Findings,
    blocks: Blocks,
    nodes: u64,
    files: u64,
    /// False once a node could not be read.
    is_whole: bool,
    /// What the space tree says of segments, if it could be read.
    said: Option<BTreeMap<Segment, SegmentState>>,
    /// The nodes of the space tree that were found.
    space_nodes: Vec<Run>,
    /// Filesets in which some client may hold something.
    held: BTreeSet<FilesetId>,
}

/// What was seen of a tree.
struct Seen {
    /// Where its nodes lie.
    nodes: Vec<Run>,
    /// All of them could be read.
    is_whole: bool,
    /// Those that can be cut out.
    broken: Vec<Broken>,
}

/// What is known of the blocks of an aggregate, for who makes the record of its space anew.
pub(super) struct Ledger {
    /// What refers to blocks.
    pub used: BTreeMap<Segment, Use>,
    /// How many owners blocks have beside the first.
    pub further: Tally,
    /// What the space tree says, if it could be read.
    pub said: Option<BTreeMap<Segment, SegmentState>>,
    /// Its nodes.
    pub space_nodes: Vec<Run>,
    /// Nothing refers to blocks but what was found.
    pub is_whole: bool,
    /// What could not be replayed for.
    pub lost: Option<Lost>,
}

/// Checks the aggregate on `device`. Reads only.
///
/// # Errors
/// If there is nothing to check: no label, or a newer Baton's; no root that verifies; what the device says.
pub fn check(device: Arc<dyn Device>, nodes: Nodes, data: Data) -> Result<Report> {
    examine(device, nodes, (data, Orphans::Pass, Unreadable::Leave)).map(|(report, _)| report)
}

/// The same, and what a repair does besides, one that is told what becomes of what is `unreadable`.
///
/// # Errors
/// As [`check`].
pub fn plan(device: Arc<dyn Device>, nodes: Nodes, data: Data, unreadable: Unreadable) -> Result<Report> {
    examine(device, nodes, (data, Orphans::Name, unreadable)).map(|(report, _)| report)
}

/// Whether orphans are named that nobody can hold: the next owner takes them away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Orphans {
    Name,
    Pass,
}

/// The same, with what was found out of the space.
///
/// # Errors
/// As [`check`].
pub(super) fn examine(
    device: Arc<dyn Device>,
    nodes: Nodes,
    (data, orphans, unreadable): (Data, Orphans, Unreadable),
) -> Result<(Report, Ledger)> {
    let patient = Patient::open(device, nodes)?;
    let mut check = Check {
        data,
        orphans,
        unreadable,
        findings: Findings::default(),
        blocks: Blocks::new(*patient.geometry()),
        nodes: 0,
        files: 0,
        is_whole: true,
        said: None,
        space_nodes: Vec::new(),
        held: BTreeSet::new(),
        patient: &patient,
    };
    let mut lost = None;
    fixed::labels(&patient, &mut check.findings)?;
    let slots = fixed::slots(&patient, &mut check.findings)?;
    fixed::roots(&patient, &slots, &mut check.findings)?;
    let roots = patient.roots()?;
    let newest = roots.first().ok_or_else(|| no_root(&patient.label))?;
    let mut report = Report {
        name: patient.label.name.to_string(),
        root: newest.name(),
        last: newest.lsn,
        filesets: 0,
        files: 0,
        nodes: 0,
        findings: Vec::new(),
        more: 0,
        beyond: None,
    };
    match patient.whole_but_space(newest) {
        Ok(whole) => {
            lost = whole.lost;
            report.last = whole.chain.last(newest.lsn);
            report.filesets = check.whole(whole)?;
        }
        Err(error) => {
            let on = format!("log of {}", newest.name());
            check.findings.fault(Fault::Log, on, error.to_string());
            check.is_whole = false;
            check.trees_of(newest);
        }
    }
    if let Some(older) = roots.get(1).filter(|older| older.generation + 1 == newest.generation) {
        check.older(older, report.last);
    }
    (report.files, report.nodes) = (check.files, check.nodes);
    (report.findings, report.more) = (check.findings.kept, check.findings.more);
    report.beyond = check.findings.beyond;
    let ledger = Ledger {
        used: check.blocks.segments,
        further: check.blocks.further,
        said: check.said,
        space_nodes: check.space_nodes,
        is_whole: check.is_whole,
        lost,
    };
    Ok((report, ledger))
}

impl Check<'_> {
    /// The newest root and its log: everything. Gives how many filesets there are.
    fn whole(&mut self, mut whole: Whole) -> Result<u64> {
        // What was freed since the root counts as pending: nobody may have it yet.
        let space = &mut whole.replayed.space;
        space.freeze();
        let nodes = &self.patient.nodes;
        let settled = std::iter::repeat_with(|| retrying(nodes, |pinned| space.settle(nodes, pinned)))
            .find(|settled| !matches!(settled, Ok(true)));
        if let Some(Err(error)) = settled {
            self.findings
                .mendable(Fault::Block, "owners of blocks", error.to_string(), Mend::Space);
        }
        let last = whole.chain.last(whole.root.lsn);
        self.trees_of(&whole.root);
        let filesets = system::check(self, &whole, last)?;
        for id in system::oldest_first(&filesets) {
            self.fileset(id, &filesets, &mut whole, last)?;
        }
        self.pending(&whole);
        if whole.lost != Some(Lost::Space) {
            space::check(self, &whole)?;
        }
        Ok(filesets.len() as u64)
    }

    /// The trees that a root itself names.
    fn trees_of(&mut self, root: &Root) {
        let [older, newer] = root.pending;
        let trees = [
            ("system tree", SYSTEM, root.system, Mend::Refuse),
            ("space tree", SPACE, root.space, Mend::Space),
            ("list of frees", PENDING, older, Mend::Space),
            ("list of frees", PENDING, newer, Mend::Space),
        ];
        for (name, number, pointer, mend) in trees {
            let tree = Tree {
                name,
                numbers: &[number],
                lsn: root.lsn,
                mend,
                is_live: false,
            };
            let is_whole = self.is_whole;
            let seen = self.tree(&tree, pointer);
            if number == SPACE {
                // The nodes below one that cannot be read are referred to by nothing else.
                (self.space_nodes, self.is_whole) = (seen.nodes, is_whole);
            }
        }
    }

    /// Sees its nodes.
    fn tree(&mut self, tree: &Tree<'_>, pointer: Option<Pointer>) -> Seen {
        let Some(pointer) = pointer else {
            return Seen {
                nodes: Vec::new(),
                is_whole: true,
                broken: Vec::new(),
            };
        };
        let mut walk = Walk {
            nodes: &self.patient.nodes,
            geometry: self.patient.geometry(),
            findings: &mut self.findings,
            blocks: Some(&mut self.blocks),
            found: Vec::new(),
            count: 0,
            is_whole: true,
            broken: Vec::new(),
        };
        walk.tree(tree, &pointer);
        let seen = Seen {
            nodes: walk.found,
            is_whole: walk.is_whole,
            broken: walk.broken,
        };
        self.nodes += walk.count;
        self.is_whole &= seen.is_whole;
        seen
    }

    fn pending(&mut self, whole: &Whole) {
        for run in whole.replayed.space.pending().iter().flat_map(|runs| runs.iter()) {
            for run in split(self.patient.geometry(), run) {
                if let Err(wrong) = self.blocks.refer(run, By::Pending) {
                    let on = format!("blocks {} and {} on, to be freed", run.block, run.count);
                    self.findings.mendable(Fault::Block, on, wrong, Mend::Space);
                }
            }
        }
    }

    /// The root before: recovery begins there if the newest rots, so it must be whole, and its log lead as far.
    fn older(&mut self, root: &Root, last: Lsn) {
        let on = root.name().to_string();
        let whole = match self.patient.whole(root) {
            Ok(whole) => whole,
            Err(error) => {
                let reason = error.to_string();
                return self.findings.mendable(Fault::Log, on, reason, Mend::Epoch);
            }
        };
        let reached = whole.chain.last(root.lsn);
        if reached != last {
            let reason = format!("its log leads to {reached}, and that of the newest root to {last}");
            self.findings.mendable(Fault::Log, &on, reason, Mend::Epoch);
        }
        let mut origins = BTreeMap::<u64, Vec<u64>>::new();
        let mut trees = vec![(SYSTEM, root.system), (SPACE, root.space)];
        trees.extend(root.pending.map(|list| (PENDING, list)));
        let (mut of_filesets, mut kept) = (Vec::new(), BTreeSet::new());
        let (patient, system) = (self.patient, LiveTree::at(root.system));
        let named = super::items::each(&system, &patient.nodes, super::items::ALL, |key, value| {
            if key.kind == KeyKind::FilesetTree {
                of_filesets.push((key, Some(Pointer::decode(&value)?)));
            }
            if key.kind == KeyKind::Snapshot && Snapshot::decode(&value)?.is_kept() {
                kept.insert((key.object, key.sub));
            }
            if key.kind == KeyKind::Held {
                kept.insert((key.object, Held::decode(&value)?.snapshot.0));
            }
            if key.kind == KeyKind::Base {
                let origin = Base::decode(&value)?.origin.0;
                origins.entry(key.object).or_default().push(origin);
            }
            Ok(())
        });
        // Of a snapshot that was deleted nobody reads the tree, and its blocks may be others'.
        let is_read = |key: &Key| key.sub == 0 || kept.contains(&(key.object, key.sub));
        let of_filesets = of_filesets.into_iter().filter(|(key, _)| is_read(key));
        trees.extend(of_filesets.map(|(key, root)| (key.object, root)));
        if let Err(error) = named {
            self.findings.mendable(Fault::Node, &on, error.to_string(), Mend::Epoch);
        }
        let mut walk = Walk {
            nodes: &patient.nodes,
            geometry: patient.geometry(),
            findings: &mut self.findings,
            blocks: None,
            found: Vec::new(),
            count: 0,
            is_whole: true,
            broken: Vec::new(),
        };
        for (number, pointer) in trees {
            let name = on.as_str();
            let numbers = with_all(number, &origins);
            let tree = Tree {
                name,
                numbers: &numbers,
                lsn: root.lsn,
                mend: Mend::Epoch,
                is_live: false,
            };
            pointer.iter().for_each(|pointer| walk.tree(&tree, pointer));
        }
        self.nodes += walk.count;
    }
}

/// A fileset's number, and those of the filesets it went on from, and of those that these did.
fn with_all(number: u64, origins: &BTreeMap<u64, Vec<u64>>) -> Vec<u64> {
    let (mut all, mut next) = (vec![number], 0);
    while let Some(number) = all.get(next) {
        let more = origins.get(number).into_iter().flatten().copied();
        let more: Vec<u64> = more.filter(|origin| !all.contains(origin)).collect();
        all.extend(more);
        next += 1;
    }
    all
}

/// A run, cut where segments end.
fn split(geometry: &Geometry, run: Run) -> Vec<Run> {
    let blocks = u64::from(geometry.segment_blocks());
    let (mut at, end) = (run.block.0, run.block.0 + u64::from(run.count));
    let mut runs = Vec::new();
    while at < end {
        let upto = end.min((at / blocks + 1) * blocks);
        runs.push(Run {
            block: Block(at),
            count: (upto - at) as u16,
        });
        at = upto;
    }
    runs
}
