//! What only a repair does: recovery without what is to be made anew, and changes that no operation makes.

use baton_types::{Epoch, Error, FilesetId, Kind, Result};

use super::{Aggregate, Claimed, Need, Recovered};
use crate::create::{harmed_copies, mend_copies};
use crate::format::{Key, Lsn, RecordKind, RootName, Snapshot};
use crate::recover::recover;
use crate::salvage::Lost;
use crate::space::Facts;
use crate::transaction::{Operation, Reply, Run};
use crate::tree::Cut;

/// Runs that one record frees at most.
const RUNS_AT_ONCE: usize = 1_000;

impl Claimed {
    /// As [`Claimed::recover`], without what of the root cannot be read.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn recover_without(self, lost: Option<Lost>) -> Result<Recovered> {
        let Some(lost) = lost else {
            return self.recover();
        };
        let root = lost.left_out(&self.fenced.base.root);
        let opened = &self.opened;
        let recovered = recover(&*opened.device, &opened.label, &opened.nodes, &root);
        let (chain, replayed) = recovered.or_else(|error| self.fenced.look().and(Err(error)))?;
        Ok(Recovered {
            claimed: self,
            chain,
            replayed,
        })
    }
}

impl Recovered {
    /// The root that it began with.
    pub(crate) fn root(&self) -> RootName {
        self.claimed.fenced.base.root.name()
    }

    /// Epochs that may still have writes in flight.
    pub(crate) fn not_gone(&self) -> Vec<Epoch> {
        let base = &self.claimed.fenced.base;
        let all = base.root.quarantine.iter().chain([&base.root.epoch]);
        let is_open = |epoch: &&Epoch| **epoch != Epoch::NONE && !base.gone.contains(epoch);
        all.filter(is_open).copied().collect()
    }

    /// From here on space is as the facts have it. Nothing was taken of it yet.
    pub(crate) fn rebuild_space(&mut self, facts: &Facts<'_>) {
        let space = &mut self.replayed.space;
        let empty = crate::space::Space::new(
            *space.geometry(),
            self.claimed.grant.epoch,
            crate::live::LiveTree::default(),
            space.high_water(),
        );
        *space = std::mem::replace(space, empty).rebuilt(facts);
    }
}

impl Aggregate {
    /// Writes the harmed copy of the label anew.
    ///
    /// # Errors
    /// `WrongEpoch`; `Io`.
    pub(crate) fn mend_label(&self) -> Result<()> {
        let (device, label) = (&*self.engine.device, &self.engine.label);
        self.engine.fence.look()?;
        let harmed = harmed_copies(device, label)?;
        let places: Vec<u64> = harmed.iter().map(|(_, offset, _)| *offset).collect();
        mend_copies(device, label, &places)
    }

    /// Gives blocks back that are said to be used, and to which nothing refers.
    ///
    /// # Errors
    /// `NoSpace`; `Io`.
    pub(crate) fn give_back(&self, runs: &[Run]) -> Result<()> {
        for runs in runs.chunks(RUNS_AT_ONCE) {
            // As when a snapshot goes: what its record frees nobody has, whose it was does not matter.
            self.change_system(RecordKind::Snapshot, &Operation::default(), |transaction| {
                for run in runs {
                    transaction.free(run.block, run.count, Lsn(0));
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Says what a snapshot uses.
    ///
    /// # Errors
    /// `NotFound`; damage.
    pub(crate) fn set_snapshot_usage(&self, id: FilesetId, at: Lsn, (bytes, files): (u64, u64)) -> Result<()> {
        let key = Key::snapshot(id, at);
        self.change_system(RecordKind::Fileset, &Operation::default(), |transaction| {
            let missing = || Error::new(Kind::NotFound, format!("snapshot {at} of fileset {id}"));
            let mut snapshot = Snapshot::decode(&transaction.get(key)?.ok_or_else(missing)?)?;
            (snapshot.bytes, snapshot.files) = (bytes, files);
            transaction.put(key, snapshot.encode());
            Ok(())
        })?;
        Ok(())
    }

    /// Leaves nodes that cannot be read out of the trees of filesets, with all below them: each is named under the key at
    /// which its parent has it. No record says so: the trees of the next root do, and count when this returns. Should that
    /// root rot, the trees are as before, and whoever repairs them cuts again.
    ///
    /// # Errors
    /// `NotFound`; `NoSpace`; damage elsewhere; `Io`.
    pub(crate) fn cut(&self, cuts: impl IntoIterator<Item = (FilesetId, Vec<Cut>)>) -> Result<()> {
        for (id, mut cuts) in cuts {
            let cell = self.engine.fileset(id)?;
            let mut state = cell.state.lock();
            cuts.sort_by_key(|cut| cut.key);
            state.cuts = cuts;
            self.engine.note_change(&cell, &mut state);
        }
        self.checkpoint()
    }

    /// Gives blocks that died with nodes of a fileset that could not be read to the snapshots that have them still. Of
    /// each it is said when it was born, or a snapshot that has it and whose predecessor has not.
    ///
    /// # Errors
    /// `NotFound`; `NoSpace`; `Io`.
    pub(crate) fn leave_to_snapshots(&self, id: FilesetId, runs: &[(Run, Lsn)]) -> Result<()> {
        let fileset = self.fileset(id)?;
        for runs in runs.chunks(RUNS_AT_ONCE) {
            let done = fileset.change(&Operation::default(), Need::UPKEEP, |transaction| {
                for (run, birth) in runs {
                    transaction.free(run.block, run.count, *birth);
                }
                Ok(Reply::done())
            });
            done?.answer?;
        }
        Ok(())
    }

    /// From here on vnodes of a fileset before `next` are given to nobody. The next checkpoint says so.
    ///
    /// # Errors
    /// `NotFound`; damage.
    pub(crate) fn raise_next_vnode(&self, id: FilesetId, next: u64) -> Result<()> {
        let cell = self.engine.fileset(id)?;
        let mut state = cell.state.lock();
        state.next_vnode = state.next_vnode.max(next);
        self.engine.note_change(&cell, &mut state);
        Ok(())
    }
}
