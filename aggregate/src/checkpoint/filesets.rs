//! Filesets become nodes: up to each snapshot, and then as they are; and what died of them is listed.

use std::collections::BTreeMap;

use baton_types::Result;
use bytes::Bytes;

use super::Stamp;
use super::freeze::{Frozen, FrozenFileset};
use super::sink::NodeSink;
use crate::engine::Engine;
use crate::format::{DeadChunk, Key, Lsn, Pointer};
use crate::snapshot::{Dead, Span};
use crate::space::split_by_segment;
use crate::tree::{Layer, View};

/// What became of a fileset's layers.
pub(super) struct Merged {
    /// Its tree.
    pub root: Option<Pointer>,
    /// Those of its snapshots that had none before.
    pub snapshots: Vec<(Lsn, Option<Pointer>)>,
}

impl Engine {
    /// Merges the filesets; gives, too, what the system tree is to say of it.
    pub(super) fn merge_filesets(
        &self,
        frozen: &Frozen,
        stamp: Stamp,
        sink: &mut NodeSink<'_>,
    ) -> Result<(Vec<Merged>, Layer)> {
        let (mut derived, mut filesets) = (Layer::new(), Vec::new());
        if let Some(promised) = frozen.promised {
            let bytes = Bytes::copy_from_slice(&promised.to_le_bytes());
            derived.insert(Key::PROMISED, (promised > 0).then_some(bytes), stamp.lsn);
        }
        for fileset in &frozen.filesets {
            let id = fileset.fileset.id;
            let merged = self.merge_fileset(fileset, stamp, sink)?;
            let pointer = |root: Option<Pointer>| root.map(|root| Bytes::copy_from_slice(&root.encode()));
            for (snapshot, root) in &merged.snapshots {
                derived.insert(Key::snapshot_tree(id, *snapshot), pointer(*root), stamp.lsn);
            }
            derived.insert(Key::fileset_tree(id), pointer(merged.root), stamp.lsn);
            let usage = Some(fileset.usage.encode().into());
            derived.insert(Key::fileset_usage(id), usage, stamp.lsn);
            let mut dead = sink.take_dead();
            fileset.dead.iter().for_each(|earlier| dead.extend(earlier));
            self.list_dead(&dead, frozen, stamp, &mut derived)?;
            filesets.push(merged);
        }
        Ok((filesets, derived))
    }

    /// A node's birth says which snapshots have it: those that are taken no earlier. So a merge up to a snapshot makes
    /// nodes of that very moment.
    fn merge_fileset(&self, fileset: &FrozenFileset, stamp: Stamp, sink: &mut NodeSink<'_>) -> Result<Merged> {
        let (id, line) = (fileset.fileset.id.0, &fileset.line);
        let mut root = fileset.fileset.state.lock().tree.root;
        let (mut snapshots, mut done) = (Vec::new(), 0);
        for moment in &fileset.moments {
            sink.merge_before(line, moment.snapshot);
            let of_moment = Stamp {
                lsn: moment.snapshot,
                ..stamp
            };
            root = self.merge(root, &fileset.layers[done..moment.layers], id, of_moment, sink)?;
            // The next merge reads what this one wrote.
            sink.write_out()?;
            snapshots.push((moment.snapshot, root));
            done = moment.layers;
        }
        sink.merge_before(line, Lsn(u64::MAX));
        let rest = (&fileset.layers[done..], &fileset.cuts[..]);
        let root = self.merge_without(root, rest, id, stamp, sink)?;
        Ok(Merged { root, snapshots })
    }

    /// Adds pieces with the blocks that died, behind those that are there.
    fn list_dead(&self, dead: &Dead, frozen: &Frozen, stamp: Stamp, derived: &mut Layer) -> Result<()> {
        let mut next = BTreeMap::new();
        let geometry = *self.space.lock().geometry();
        for (span, runs) in dead.iter() {
            let runs: Vec<_> = split_by_segment(&geometry, runs);
            for runs in runs.chunks(DeadChunk::RUNS_MAX) {
                let key = match next.get(&span) {
                    Some(key) => *key,
                    None => self.next_chunk(span, frozen)?,
                };
                let chunk = DeadChunk {
                    generation: stamp.generation,
                    runs: runs.iter().map(|run| (run.block, run.count)).collect(),
                };
                derived.insert(key, Some(chunk.encode().into()), stamp.lsn);
                next.insert(
                    span,
                    Key {
                        sub: key.sub + 1,
                        ..key
                    },
                );
            }
        }
        Ok(())
    }

    /// Where a span's next piece goes. What later records delete is still there: its place is not used again before
    /// they are merged.
    fn next_chunk(&self, span: Span, frozen: &Frozen) -> Result<Key> {
        let first = Key::dead_chunk(span.last, span.first);
        let end = Key {
            sub: first.sub | u64::from(u32::MAX),
            ..first
        };
        let root = self.system.lock().root;
        let last = self.retrying(|pinned| {
            let view = View {
                active: Layer::EMPTY,
                frozen: &frozen.system,
                root,
                nodes: &self.nodes,
                pinned,
            };
            view.last_at_or_before(end)
        })?;
        Ok(match last.filter(|(key, _)| *key >= first) {
            Some((key, _)) => Key {
                sub: key.sub + 1,
                ..key
            },
            None => first,
        })
    }
}
