//! A fileset and its snapshots, oldest first: each whole by itself, and each block had by just those who may.

use baton_types::{FilesetId, Result};

use super::super::blocks::{By, Set};
use super::super::finding::Fault;
use super::super::items::{self, ALL};
use super::files::Files;
use super::system::FilesetItems;
use super::{Check, Whole, split};
use crate::format::{Bitmap, Extent, FilesetKind, KeyKind, Lsn};
use crate::live::LiveTree;
use crate::recover::Changed;
use crate::snapshot::Span;
use crate::transaction::Run;

/// A tree of the line.
struct Member {
    /// Which snapshot; the fileset itself comes after all.
    at: Lsn,
    /// As people call it.
    name: String,
    tree: LiveTree,
    /// Bytes and files that it is said to have.
    usage: (u64, u64),
}

/// Blocks that some of the line have, and not the fileset itself: from one member up to the one before another.
struct Dead {
    from: usize,
    until: usize,
    runs: Vec<Run>,
}

impl Check<'_> {
    pub(super) fn fileset(
        &mut self,
        id: FilesetId,
        fileset: &FilesetItems,
        whole: &mut Whole,
        last: Lsn,
    ) -> Result<()> {
        let changed = whole.replayed.filesets.remove(&id).unwrap_or_default();
        let next_vnode = fileset.usage.next_vnode.max(changed.next_vnode);
        let dead = self.dead_of(fileset, &changed);
        let members = members(id, fileset, changed);
        let is_hidden = fileset
            .header
            .as_ref()
            .is_some_and(|header| header.kind == FilesetKind::Deleting);
        let live = members.len() - 1;
        self.blocks.begin_line();
        let mut is_whole = true;
        for (index, member) in members.iter().enumerate() {
            is_whole &= self.tree((&member.name, id.0), member.tree.root, whole.root.lsn);
            if !is_whole {
                // Its blocks are not all known, nor its names: what can be said was said of the nodes.
                break;
            }
            if index == live && is_hidden {
                // It is being taken apart: there are blocks, and nothing that would have to fit together.
                self.extents(member)?;
            } else {
                let hash_key = fileset.header.as_ref().map(|header| header.hash_key);
                let mut files = Files::new(self, &member.name, hash_key, last);
                files.read(&member.tree)?;
                let count = files.finish(member.usage, next_vnode);
                self.files += if index == live { count } else { 0 };
            }
            let (died, born) = self.blocks.end_tree(member.at);
            self.compare(&members, index, (&died, &born), &dead);
        }
        self.blocks.end_line();
        if is_whole {
            for run in dead
                .iter()
                .filter(|dead| dead.from >= dead.until)
                .flat_map(|dead| &dead.runs)
            {
                if let Err(wrong) = self.blocks.refer(*run, By::Pending) {
                    let reason = format!(
                        "blocks {} and {} on, of deleted snapshots: {wrong}",
                        run.block, run.count
                    );
                    self.findings.fault(Fault::Block, fileset.name(id), reason);
                }
            }
        }
        Ok(())
    }

    /// What is listed as dead, as far as it can be blocks.
    fn dead_of(&mut self, fileset: &FilesetItems, changed: &Changed) -> Vec<Dead> {
        let kept: Vec<_> = fileset
            .snapshots
            .iter()
            .filter(|(_, snapshot)| snapshot.is_kept())
            .collect();
        let member = |span: Span, runs: Vec<Run>| Dead {
            from: kept.partition_point(|(_, snapshot)| snapshot.serial < span.first),
            until: kept.partition_point(|(at, _)| **at <= span.last),
            runs,
        };
        let geometry = *self.patient.geometry();
        let chunks = fileset.dead.iter().map(|(span, chunk)| {
            let runs = chunk.runs.iter();
            let runs = runs.map(|(block, count)| Run {
                block: *block,
                count: *count,
            });
            member(*span, runs.collect())
        });
        let unwritten = changed.dead.iter();
        let unwritten = unwritten.map(|(span, runs)| {
            let runs = runs.iter().flat_map(|run| split(&geometry, run));
            member(span, runs.collect())
        });
        let mut all: Vec<Dead> = chunks.chain(unwritten).collect();
        for dead in &mut all {
            dead.runs.retain(|run| {
                let lies = geometry.has_blocks(run.block, run.count.into());
                if !lies {
                    let on = format!("blocks {} and {} on, of snapshots", run.block, run.count);
                    self.findings
                        .fault(Fault::Block, on, "they lie in no segment, or in two");
                }
                lies
            });
        }
        all
    }

    /// What went between the member before `index` and this one is listed as dead there, and as nothing else; and what
    /// is listed as born here was born here.
    fn compare(&mut self, members: &[Member], index: usize, (died, born): (&Set, &Set), dead: &[Dead]) {
        let geometry = *self.patient.geometry();
        let mut listed = Set::new();
        let mut wrong = Vec::new();
        for dead in dead.iter().filter(|dead| dead.from < dead.until) {
            for run in &dead.runs {
                let segment = geometry.segment_of(run.block);
                let first = geometry.index_in_segment(run.block);
                let indices = first..first + u32::from(run.count);
                let is_in = |set: &Set, index| set.get(&segment).is_some_and(|bitmap| bitmap.is_used(index));
                if dead.from == index && !indices.clone().all(|index| is_in(born, index)) {
                    wrong.push(format!(
                        "blocks {} and {} on are listed from here, and are not new",
                        run.block, run.count
                    ));
                }
                if dead.until == index {
                    let free = || Bitmap::free(geometry.segment_blocks());
                    let bitmap = listed.entry(segment).or_insert_with(free);
                    if !indices.clone().all(|index| bitmap.take(index)) {
                        wrong.push(format!("blocks {} and {} on are listed twice", run.block, run.count));
                    }
                }
            }
        }
        if listed != *died {
            let count = |set: &Set| set.values().map(Bitmap::used).sum::<u32>();
            let (listed, died) = (count(&listed), count(died));
            wrong.push(format!(
                "{died} blocks of the snapshot before are not there, and the lists say so of {listed}, or of others"
            ));
        }
        for reason in wrong {
            self.findings.fault(Fault::Snapshot, &members[index].name, reason);
        }
    }

    fn extents(&mut self, member: &Member) -> Result<()> {
        let patient = self.patient;
        items::each(&member.tree, &patient.nodes, ALL, |key, value| {
            if key.kind != KeyKind::Extent {
                return Ok(());
            }
            let reached = Extent::decode(&value).map_err(|error| error.reason).and_then(|extent| {
                let run = Run {
                    block: extent.block,
                    count: extent.count.into(),
                };
                self.blocks.reach(run, extent.birth).map_err(str::to_owned)
            });
            if let Err(wrong) = reached {
                self.findings.fault(Fault::Block, &member.name, wrong);
            }
            Ok(())
        })
    }
}

/// The snapshots that are kept, oldest first, and the fileset.
fn members(id: FilesetId, fileset: &FilesetItems, changed: Changed) -> Vec<Member> {
    let name = fileset.name(id);
    let live = LiveTree {
        root: fileset.tree,
        ..changed.tree
    };
    let kept = fileset.snapshots.iter().filter(|(_, snapshot)| snapshot.is_kept());
    let mut members: Vec<Member> = kept
        .map(|(at, snapshot)| {
            let layered = live.moments.iter().find(|moment| moment.snapshot == *at);
            let tree = match layered {
                Some(moment) => LiveTree {
                    frozen: live.frozen[..moment.layers].to_vec(),
                    ..LiveTree::at(live.root)
                },
                None => LiveTree::at(fileset.snapshot_trees.get(at).copied()),
            };
            Member {
                at: *at,
                name: format!("{name}, snapshot '{}'", snapshot.name),
                tree,
                usage: (snapshot.bytes, snapshot.files),
            }
        })
        .collect();
    let usage = changed.usage.map(|usage| (usage.bytes, usage.files));
    members.push(Member {
        at: Lsn(u64::MAX),
        name,
        tree: live,
        usage: usage.unwrap_or((fileset.usage.bytes, fileset.usage.files)),
    });
    members
}
