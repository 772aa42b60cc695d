//! Snapshots in a history: what they hold is compared with what the model kept, under every owner.

use baton_aggregate::aggregate::{Fileset, Namesake, Reclaimed};
use baton_aggregate::device::double::Disk;
use baton_aggregate::format::Lsn;
use baton_aggregate::transaction::Operation;
use baton_types::{FileName, FilesetId, Result};

use super::actions::Action;
use super::files::{self, Act};
use super::history::{FILESETS, Step, World};
use super::model::{compared, difference, read};

/// Snapshots of one fileset at a time.
pub const KEPT_MAX: usize = 6;
/// Steps in which everything is given back: each frees something, or waits for a checkpoint.
const STEPS_MAX: usize = 2_000;

impl World {
    /// Takes one, deletes one, copies from one, compares them, or gives some space back.
    pub fn snapshot_step(&mut self) -> Step {
        let id = *self.seed.pick(&self.model.filesets());
        let kept: Vec<Lsn> = self.model.snapshots(id).into_keys().collect();
        match self.seed.below(10) {
            0..4 if kept.len() < KEPT_MAX => self.take_snapshot(id),
            0..6 if !kept.is_empty() => {
                let snapshot = *self.seed.pick(&kept);
                self.delete_snapshot(id, snapshot)
            }
            6..8 if self.has_files => self.copy_from_snapshot(id, None),
            8 => self.compare_moments(),
            9 => self.rot_behind_steps(),
            _ => self.reclaim().map(drop),
        }
    }

    fn take_snapshot(&mut self, id: FilesetId) -> Step {
        self.taken += 1;
        // Some names come again while the first one is kept: it makes way.
        let name = format!("s{}", self.taken % 9);
        let taken = self.owner.aggregate.fileset(id).and_then(|fileset| {
            let before = fileset.snapshots().into_iter();
            let name = FileName::parse(name.as_bytes())?;
            let old = before
                .filter(|snapshot| snapshot.name == name)
                .map(|snapshot| snapshot.id)
                .next();
            let done = fileset.take_snapshot(&Operation::default(), &name, Namesake::Replace)?;
            Ok((done.lsn, done.answer?, old))
        });
        match taken {
            Ok((lsn, snapshot, old)) => {
                self.note("owner", &format!("snapshot {snapshot} of {id} as {name}, for {old:?}"));
                if let Some(old) = old {
                    self.model.delete(id, (lsn, old));
                }
                self.model.take(id, (lsn, snapshot));
                Ok(())
            }
            Err(error) => self.failed("snapshot", &error),
        }
    }

    /// Copies from a snapshot of a fileset, from this one perhaps.
    pub fn copy_from_snapshot(&mut self, id: FilesetId, only: Option<Lsn>) -> Step {
        let mut olds = self.model.olds(id);
        olds.retain(|old| only.is_none_or(|only| old.snapshot == only));
        if olds.is_empty() {
            return Ok(());
        }
        let act = Act::from_snapshot(&mut self.seed, &olds);
        self.work_alone(id, Operation::default(), Action::Bytes(act))
    }

    pub fn delete_snapshot(&mut self, id: FilesetId, snapshot: Lsn) -> Step {
        let deleted = self.owner.aggregate.fileset(id).and_then(|fileset| {
            let done = fileset.delete_snapshot(&Operation::default(), snapshot)?;
            done.answer.map(|()| done.lsn)
        });
        match deleted {
            Ok(lsn) => {
                self.note("owner", &format!("snapshot {snapshot} of {id} goes"));
                self.model.delete(id, (lsn, snapshot));
                Ok(())
            }
            Err(error) => self.failed("deletion of a snapshot", &error),
        }
    }

    pub fn reclaim(&mut self) -> Step<Result<Reclaimed>> {
        let reclaimed = self.owner.aggregate.reclaim();
        match &reclaimed {
            Ok(reclaimed) => self.note("owner", &format!("gives back: {reclaimed:?}")),
            Err(error) => self.failed("space given back", error)?,
        }
        Ok(reclaimed)
    }

    /// Space is given back, and then the newest root rots: the one before has lost nothing, and frees nothing twice.
    pub fn rot_behind_steps(&mut self) -> Step {
        let made = self.owner.aggregate.generation();
        self.checkpoint();
        for _ in 0..4 {
            self.reclaim()?.ok();
        }
        self.fsync();
        match self.is_broken || self.owner.aggregate.generation() == made {
            true => Ok(()),
            false => self.rot_newest_root(),
        }
    }

    /// The snapshots of a fileset are those of the model, and hold what they held.
    pub fn check_snapshots(&self, fileset: &Fileset, disk: Option<&Disk>) -> Step {
        let id = fileset.id();
        let expected = self.model.snapshots(id);
        let listed: Vec<Lsn> = fileset.snapshots().iter().map(|snapshot| snapshot.id).collect();
        if !listed.iter().eq(expected.keys()) {
            let expected = expected.keys();
            return Err(format!("fileset {id} has the snapshots {listed:?}, not {expected:?}"));
        }
        for (at, kept) in expected {
            let snapshot = fileset.at(at).map_err(|error| error.to_string())?;
            let found = read(&snapshot).map_err(|error| format!("snapshot {at} of {id}: {error}"))?;
            files::compare(&found, kept.files()).map_err(|what| format!("snapshot {at} of {id}: {what}"))?;
            let found = compared(found, disk)?;
            if let Some(difference) = difference(&found, &kept.items) {
                return Err(format!("snapshot {at} of {id}: {difference}"));
            }
            if snapshot.usage() != kept.usage {
                return Err(format!(
                    "snapshot {at} of {id} uses {:?}, not {:?}",
                    snapshot.usage(),
                    kept.usage
                ));
            }
        }
        Ok(())
    }

    /// At the end all of them go, in any order, and all of their space comes back.
    pub fn delete_all(&mut self) -> Step {
        for id in FILESETS {
            let mut kept: Vec<Lsn> = self.model.snapshots(id).into_keys().collect();
            while !kept.is_empty() {
                let snapshot = kept.swap_remove(self.seed.index(kept.len()));
                self.delete_snapshot(id, snapshot)?;
            }
        }
        self.give_all_back()?;
        let census = self.check()?;
        let (data, expected) = (census.data, self.model.blocks() as u64);
        match census.dead == 0 && data == expected {
            true => Ok(()),
            false => Err(format!(
                "{census:?} when all snapshots are gone, and {expected} blocks are in use"
            )),
        }
    }

    /// Gives back all that there is to give back.
    ///
    /// # Errors
    /// There is no end of it.
    pub fn give_all_back(&mut self) -> Step {
        for _ in 0..STEPS_MAX {
            match self.reclaim()? {
                Ok(Reclaimed::Blocks(_)) => {}
                Ok(Reclaimed::Later) | Err(_) => self.checkpoint(),
                Ok(Reclaimed::Nothing) => return Ok(()),
            }
        }
        Err("there is no end of what is given back".to_owned())
    }
}
