//! A fileset and its snapshots, oldest first: each whole by itself, and each block had by just those who may.

use std::collections::BTreeMap;

use baton_types::{FilesetId, Result};

use super::super::blocks::{By, Set, minus};
use super::super::cut;
use super::super::finding::Fault;
use super::super::items::{self, ALL};
use super::super::mend::{Change, Mend};
use super::super::walk::{Broken, Tree};
use super::files::{Files, Whose};
use super::system::FilesetItems;
use super::{Check, Unreadable, Whole, split, with_all};
use crate::format::{Bitmap, Block, FilesetUsage, KeyKind, Lsn, Pointer, owned};
use crate::live::LiveTree;
use crate::snapshot::{self, Branch, Line, Rest, Span, branches};
use crate::transaction::Run;
use crate::tree::{Apart, take_apart};

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

/// The fileset itself.
struct Live {
    tree: LiveTree,
    /// Blocks that only snapshots have, and of which no checkpoint says so.
    dead: snapshot::Dead,
    usage: (u64, u64),
    /// Blocks promised to its files.
    promised: u64,
}

/// Blocks that some of the line have, and not the fileset itself: from one member up to the one before another.
struct Dead {
    from: usize,
    until: usize,
    runs: Vec<Run>,
}

/// What is looked at.
struct Subject<'a> {
    id: FilesetId,
    fileset: &'a FilesetItems,
    /// Its number in its nodes, and those of what it went on from.
    numbers: Vec<u64>,
    next_vnode: u64,
    last: Lsn,
}

impl Check<'_> {
    pub(super) fn fileset(
        &mut self,
        id: FilesetId,
        filesets: &BTreeMap<FilesetId, FilesetItems>,
        whole: &mut Whole,
        last: Lsn,
    ) -> Result<()> {
        let Some(fileset) = filesets.get(&id) else {
            return Ok(());
        };
        let changed = whole.replayed.filesets.remove(&id).unwrap_or_default();
        let (root, usage) = beginning(filesets, fileset);
        let origins = filesets.iter().map(|(id, fileset)| {
            let origins = fileset.bases.values().map(|base| base.origin.0);
            (id.0, origins.collect())
        });
        let subject = Subject {
            id,
            fileset,
            numbers: with_all(id.0, &origins.collect()),
            next_vnode: usage.next_vnode.max(changed.next_vnode),
            last,
        };
        let line = fileset.line();
        for (at, _) in line.iter().filter(|(at, _)| line.is_held(*at)) {
            self.blocks.remember(at);
        }
        let mut live = Live {
            tree: LiveTree { root, ..changed.tree },
            dead: changed.dead,
            promised: changed.usage.map_or(usage.promised, |usage| usage.promised),
            usage: changed
                .usage
                .map_or((usage.bytes, usage.files), |usage| (usage.bytes, usage.files)),
        };
        let snapshots = fileset.snapshots.iter().map(|(at, snapshot)| (*at, snapshot.clone()));
        for branch in branches(&line, snapshots) {
            self.branch(&subject, (&line, &branch), &mut live, whole)?;
        }
        Ok(())
    }

    fn branch(
        &mut self,
        subject: &Subject<'_>,
        (line, branch): (&Line, &Branch),
        live: &mut Live,
        whole: &Whole,
    ) -> Result<()> {
        let (id, fileset) = (subject.id, subject.fileset);
        let rest = items::look(&whole.replayed.system, &self.patient.nodes, |view| {
            Rest::of(view, id, (line, branch))
        })?;
        let dead = self.dead_of(fileset, (line, branch), (&live.dead, &rest));
        let members = members(subject, (line, branch), live);
        self.blocks
            .begin_line(branch.base.map(|base| (branch.floor(), base.snapshot)));
        let (mut is_whole, mut births) = (true, Vec::new());
        for (index, member) in members.iter().enumerate() {
            let is_live = member.at == Lsn(u64::MAX);
            let tree = Tree {
                name: &member.name,
                numbers: &subject.numbers,
                lsn: whole.root.lsn,
                mend: Mend::Leave,
                is_live,
            };
            let seen = self.tree(&tree, member.tree.root);
            if !seen.is_whole {
                // Its blocks are not all known, nor its names: what can be said is said of the nodes.
                is_whole = false;
                self.blocks.lose_line();
                self.blocks.end_tree(member.at);
                births.push(Set::new());
                self.broken(subject, member, seen.broken);
                continue;
            }
            if is_live && fileset.is_hidden() {
                // It is being taken apart: there are blocks, and nothing that would have to fit together.
                self.extents(member)?;
            } else {
                let hash_key = fileset.header.as_ref().map(|header| header.hash_key);
                let whose = match is_live {
                    true => Whose::Live(id),
                    false => Whose::Snapshot(id, member.at),
                };
                let mut files = Files::new(self, (&member.name, whose), hash_key, subject.last);
                files.read(&member.tree)?;
                if is_live {
                    files.promises(live.promised, line.began(Lsn(u64::MAX)).0 as u32);
                }
                let count = files.finish(member.usage, subject.next_vnode);
                self.files += if is_live { count } else { 0 };
            }
            let (died, born) = self.blocks.end_tree(member.at);
            births.push(born);
            if self.blocks.knows_line() {
                self.compare((id, &members, index), (&died, &births), &dead);
            }
        }
        self.blocks.end_line();
        if is_whole {
            let listed = dead.into_iter().filter(|dead| dead.from >= dead.until);
            self.waiting(&fileset.name(id), listed.flat_map(|dead| dead.runs));
            self.rest(&fileset.name(id), rest);
        }
        Ok(())
    }

    /// Nodes of the fileset itself that do not verify.
    fn broken(&mut self, subject: &Subject<'_>, member: &Member, broken: Vec<Broken>) {
        let is_hidden = subject.fileset.is_hidden();
        let outs = match self.unreadable {
            Unreadable::Leave => None,
            // What cannot be read for another reason may hold what else belongs to what is cut.
            Unreadable::Cut => cut::plan(&member.tree, &self.patient.nodes, &broken, is_hidden).ok(),
        };
        let mends = outs
            .into_iter()
            .flatten()
            .map(|out| Mend::Cut(subject.id, Box::new(out)));
        let mends = mends.chain(std::iter::repeat(Mend::Uncut));
        for (Broken { on, reason, .. }, mend) in broken.into_iter().zip(mends) {
            self.findings.mendable(Fault::Node, on, reason, mend);
        }
    }

    /// What is left to be walked behind the last snapshot of a branch that is kept.
    fn rest(&mut self, name: &str, rest: Rest) {
        for (root, walk) in rest.trees {
            match take_apart(&self.patient.nodes, root, (walk.floor, walk.from), usize::MAX).and_then(Apart::whole) {
                Ok(apart) => self.waiting(name, apart.runs),
                Err(error) => {
                    self.findings
                        .mendable(Fault::Node, name, error.to_string(), Mend::Leave);
                    self.is_whole = false;
                }
            }
        }
    }

    /// Nobody has these: they are to be given back.
    fn waiting(&mut self, name: &str, runs: impl IntoIterator<Item = Run>) {
        let geometry = *self.patient.geometry();
        for run in runs.into_iter().flat_map(|run| split(&geometry, run)) {
            if let Err(wrong) = self.blocks.refer(run, By::Dead) {
                let reason = format!(
                    "blocks {} and {} on, of deleted snapshots: {wrong}",
                    run.block, run.count
                );
                self.findings.fault(Fault::Block, name, reason);
            }
        }
    }

    /// What is listed as dead in a branch, as far as it can be blocks.
    fn dead_of(
        &mut self,
        fileset: &FilesetItems,
        (line, branch): (&Line, &Branch),
        (unwritten, rest): (&snapshot::Dead, &Rest),
    ) -> Vec<Dead> {
        let kept = branch.snapshots.iter().filter(|(at, _)| line.keeps(*at));
        let kept: Vec<_> = kept.collect();
        let within = branch.began..branch.left.unwrap_or(Lsn(u64::MAX));
        let counts = |span: Span| within.contains(&span.last) && rest.counts(span);
        let member = |span: Span, runs: Vec<Run>| Dead {
            from: kept.partition_point(|(_, snapshot)| snapshot.serial < span.first),
            until: kept.partition_point(|(at, _)| *at <= span.last),
            runs,
        };
        let geometry = *self.patient.geometry();
        let chunks = fileset.dead.iter().filter(|(span, _)| counts(*span));
        let chunks = chunks.map(|(span, chunk)| {
            let runs = chunk.runs.iter();
            let runs = runs.map(|(block, count)| Run {
                block: *block,
                count: *count,
            });
            member(*span, runs.collect())
        });
        let unwritten = unwritten.iter().filter(|(span, _)| counts(*span));
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
    fn compare(
        &mut self,
        (id, members, index): (FilesetId, &[Member], usize),
        (died, births): (&Set, &[Set]),
        dead: &[Dead],
    ) {
        let born = &births[index];
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
        let missing = minus(died, &listed);
        if members[index].at == Lsn(u64::MAX) && !missing.is_empty() && minus(&listed, died).is_empty() {
            // They were below what was cut out: nobody could say that they died.
            if let Some(runs) = self.born_with(&missing, (members, &births[..index])) {
                let count: u64 = runs.iter().map(|(run, _)| u64::from(run.count)).sum();
                let reason = format!("{count} blocks of snapshots are not there, and no list says so");
                let mend = Mend::Fileset(id, Change::Dead(runs));
                self.findings
                    .mendable(Fault::Snapshot, &members[index].name, reason, mend);
                listed = died.clone();
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

    /// The blocks of a set, each with the member that was the first to have it; nothing if one has none.
    fn born_with(&self, set: &Set, (members, births): (&[Member], &[Set])) -> Option<Vec<(Run, Lsn)>> {
        let geometry = self.patient.geometry();
        let mut runs: Vec<(Run, Lsn)> = Vec::new();
        for (segment, bitmap) in set {
            let first = geometry.first_block(*segment).0;
            for index in (0..bitmap.len()).filter(|index| bitmap.is_used(*index)) {
                let is_in = |born: &Set| born.get(segment).is_some_and(|bitmap| bitmap.is_used(index));
                let birth = members[births.iter().rposition(is_in)?].at;
                let block = Block(first + u64::from(index));
                match runs.last_mut() {
                    Some((run, of)) if *of == birth && run.block.0 + u64::from(run.count) == block.0 => run.count += 1,
                    _ => runs.push((Run { block, count: 1 }, birth)),
                }
            }
        }
        Some(runs)
    }

    fn extents(&mut self, member: &Member) -> Result<()> {
        let patient = self.patient;
        items::each(&member.tree, &patient.nodes, ALL, |key, value| {
            let reached = owned(key, &value).map_err(|error| error.reason).and_then(|owned| {
                let Some(owned) = owned else { return Ok(true) };
                let run = Run {
                    block: owned.block,
                    count: owned.count,
                };
                let by = match key.kind {
                    KeyKind::Shared => By::Shared,
                    _ => By::Tree,
                };
                self.blocks.reach(run, owned.birth, by).map_err(str::to_owned)
            });
            if let Err(wrong) = reached {
                self.findings.fault(Fault::Block, &member.name, wrong);
            }
            Ok(())
        })
    }
}

/// The tree of a fileset as merges left it, and what it uses: that of its base, if none has seen it since.
fn beginning(filesets: &BTreeMap<FilesetId, FilesetItems>, fileset: &FilesetItems) -> (Option<Pointer>, FilesetUsage) {
    if let Some(usage) = fileset.usage {
        return (fileset.tree, usage);
    }
    let base = fileset.bases.values().next_back();
    let origin = base.and_then(|base| Some((base, filesets.get(&base.origin)?)));
    let Some((base, origin)) = origin else {
        return (fileset.tree, FilesetUsage::default());
    };
    let snapshot = origin.snapshots.get(&base.snapshot);
    let usage = FilesetUsage {
        bytes: snapshot.map_or(0, |snapshot| snapshot.bytes),
        files: snapshot.map_or(0, |snapshot| snapshot.files),
        next_vnode: base.next_vnode,
        promised: 0,
    };
    (origin.snapshot_trees.get(&base.snapshot).copied(), usage)
}

/// The snapshots of a branch that are kept, oldest first, and the fileset on the last branch.
fn members(subject: &Subject<'_>, (line, branch): (&Line, &Branch), live: &mut Live) -> Vec<Member> {
    let name = subject.fileset.name(subject.id);
    let kept = branch.snapshots.iter().filter(|(at, _)| line.keeps(*at));
    let mut members: Vec<Member> = kept
        .map(|(at, snapshot)| {
            let layered = live.tree.moments.iter().find(|moment| moment.snapshot == *at);
            let tree = match layered {
                Some(moment) => LiveTree {
                    frozen: live.tree.frozen[..moment.layers].to_vec(),
                    ..LiveTree::at(live.tree.root)
                },
                None => LiveTree::at(subject.fileset.snapshot_trees.get(at).copied()),
            };
            Member {
                at: *at,
                name: format!("{name}, snapshot '{}'", snapshot.name),
                tree,
                usage: (snapshot.bytes, snapshot.files),
            }
        })
        .collect();
    if branch.left.is_none() {
        members.push(Member {
            at: Lsn(u64::MAX),
            name,
            // The last branch is the last to be looked at.
            tree: std::mem::take(&mut live.tree),
            usage: live.usage,
        });
    }
    members
}
