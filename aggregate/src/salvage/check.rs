//! `check`: every invariant of the store that can be told from its disk.

mod files;
mod fixed;
mod line;
mod space;
mod system;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use baton_types::Result;

use super::blocks::{Blocks, By};
use super::finding::{Fault, Finding, Findings, Gravity};
use super::walk::{Tree, Walk};
use super::{Patient, Whole, no_root};
use crate::checkpoint::{PENDING, SPACE, SYSTEM};
use crate::device::Device;
use crate::format::{Base, Block, Geometry, Held, Key, KeyKind, Lsn, Pointer, Root, RootName, Snapshot};
use crate::live::LiveTree;
use crate::nodes::Nodes;
use crate::transaction::Run;

/// Whether the bytes of files are read too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Every block that a file has, against its checksum.
    Read,
    /// Only what says where they are.
    Skip,
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
    findings: Findings,
    blocks: Blocks,
    nodes: u64,
    files: u64,
    /// False once a node could not be read.
    is_whole: bool,
}

/// Checks the aggregate on `device`. Reads only.
///
/// # Errors
/// If there is nothing to check: no label, or a newer Baton's; no root that verifies; what the device says.
pub fn check(device: Arc<dyn Device>, nodes: Nodes, data: Data) -> Result<Report> {
    let patient = Patient::open(device, nodes)?;
    let mut check = Check {
        data,
        findings: Findings::default(),
        blocks: Blocks::new(*patient.geometry()),
        nodes: 0,
        files: 0,
        is_whole: true,
        patient: &patient,
    };
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
    };
    match patient.whole(newest) {
        Ok(whole) => {
            report.last = whole.chain.last(newest.lsn);
            report.filesets = check.whole(whole)?;
        }
        Err(error) => {
            let on = format!("log of {}", newest.name());
            check.findings.fault(Fault::Log, on, error.to_string());
            check.trees_of(newest);
        }
    }
    if let Some(older) = roots.get(1).filter(|older| older.generation + 1 == newest.generation) {
        check.older(older, report.last);
    }
    (report.files, report.nodes) = (check.files, check.nodes);
    (report.findings, report.more) = (check.findings.kept, check.findings.more);
    Ok(report)
}

impl Check<'_> {
    /// The newest root and its log: everything. Gives how many filesets there are.
    fn whole(&mut self, mut whole: Whole) -> Result<u64> {
        // What was freed since the root counts as pending: nobody may have it yet.
        whole.replayed.space.freeze();
        let last = whole.chain.last(whole.root.lsn);
        self.trees_of(&whole.root);
        let filesets = system::check(self, &whole, last)?;
        for id in system::oldest_first(&filesets) {
            self.fileset(id, &filesets, &mut whole, last)?;
        }
        self.pending(&whole);
        space::check(self, &whole)?;
        Ok(filesets.len() as u64)
    }

    /// The trees that a root itself names.
    fn trees_of(&mut self, root: &Root) {
        let [older, newer] = root.pending;
        let trees = [
            ("system tree", SYSTEM, root.system),
            ("space tree", SPACE, root.space),
            ("list of frees", PENDING, older),
            ("list of frees", PENDING, newer),
        ];
        for (name, number, pointer) in trees {
            self.tree((name, &[number]), pointer, root.lsn);
        }
    }

    fn tree(&mut self, (name, numbers): (&str, &[u64]), pointer: Option<Pointer>, lsn: Lsn) -> bool {
        let Some(pointer) = pointer else { return true };
        let mut walk = Walk {
            nodes: &self.patient.nodes,
            geometry: self.patient.geometry(),
            findings: &mut self.findings,
            blocks: Some(&mut self.blocks),
            count: 0,
            is_whole: true,
        };
        walk.tree(&Tree { name, numbers, lsn }, &pointer);
        let (count, is_whole) = (walk.count, walk.is_whole);
        self.nodes += count;
        self.is_whole &= is_whole;
        is_whole
    }

    fn pending(&mut self, whole: &Whole) {
        for run in whole.replayed.space.pending().iter().flat_map(|runs| runs.iter()) {
            for run in split(self.patient.geometry(), run) {
                if let Err(wrong) = self.blocks.refer(run, By::Pending) {
                    let on = format!("blocks {} and {} on, to be freed", run.block, run.count);
                    self.findings.fault(Fault::Block, on, wrong);
                }
            }
        }
    }

    /// The root before: recovery begins there if the newest rots, so it must be whole, and its log lead as far.
    fn older(&mut self, root: &Root, last: Lsn) {
        let on = root.name().to_string();
        let whole = match self.patient.whole(root) {
            Ok(whole) => whole,
            Err(error) => return self.findings.fault(Fault::Log, on, error.to_string()),
        };
        let reached = whole.chain.last(root.lsn);
        if reached != last {
            let reason = format!("its log leads to {reached}, and that of the newest root to {last}");
            self.findings.fault(Fault::Log, &on, reason);
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
            self.findings.fault(Fault::Node, &on, error.to_string());
        }
        let mut walk = Walk {
            nodes: &patient.nodes,
            geometry: patient.geometry(),
            findings: &mut self.findings,
            blocks: None,
            count: 0,
            is_whole: true,
        };
        for (number, pointer) in trees {
            let name = on.as_str();
            let numbers = with_all(number, &origins);
            let tree = Tree {
                name,
                numbers: &numbers,
                lsn: root.lsn,
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
