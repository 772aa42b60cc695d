//! Filesets that go back to a snapshot, and clones of the present and of the past, in a history.
//!
//! Sessions stay with the filesets that were there from the start; in clones the server itself makes changes. Whatever
//! went on from whatever: each fileset and each snapshot holds what the model kept, under every owner, and in the end
//! all of them go, in any order, and all space comes back.

use baton_aggregate::aggregate::{Done, Fileset};
use baton_aggregate::fileset::catalog;
use baton_aggregate::format::Lsn;
use baton_aggregate::transaction::Operation;
use baton_types::{FileName, FilesetId, Kind, Timestamp, Vnode};

use super::actions::Action;
use super::history::{FILESETS, Step, World, header};
use super::model::{Kept, Past, Turn};
use super::snapshots::KEPT_MAX;

/// Filesets at a time, those from the start among them.
const FILESETS_MAX: usize = 5;
/// The first clone.
const CLONES_FROM: u64 = 100;
/// What is made in clones has vnodes from here on: no session was given them.
const BORN_FROM: u64 = 1 << 30;
/// Operations of a device in a roll-back, about.
const BACK_OPERATIONS: u64 = 50;
/// Where a snapshot goes by this name, a fileset went back.
const BEFORE: &str = "before";

impl World {
    /// Works in a clone, goes back, clones, deletes a clone, or gives some space back.
    pub fn branch_step(&mut self) -> Step {
        match self.seed.below(20) {
            0..9 => self.work_in_clone(),
            9..13 => self.go_back(),
            13..16 => self.make_clone(),
            16 => self.delete_clone(),
            17 => self.rot_behind_steps(),
            _ => self.reclaim().map(drop),
        }
    }

    fn clones(&self) -> Vec<FilesetId> {
        let mut all = self.model.filesets();
        all.retain(|id| !FILESETS.contains(id));
        all
    }

    fn work_in_clone(&mut self) -> Step {
        let clones = self.clones();
        if clones.is_empty() {
            return Ok(());
        }
        let id = *self.seed.pick(&clones);
        let action = self.draw(id);
        self.born += 1;
        let operation = Operation {
            vnode: Vnode::new(BORN_FROM + self.born).ok(),
            unique: self.born,
            time: Timestamp(self.born.cast_signed()),
            ..Operation::default()
        };
        self.work_alone(id, operation, action)
    }

    /// The server itself makes a change, that nobody asks for again.
    pub fn work_alone(&mut self, id: FilesetId, operation: Operation, action: Action) -> Step {
        let served = self.owner.aggregate.fileset(id);
        let done = served.and_then(|fileset| action.perform(&fileset, &operation));
        self.check_room(id, &action, &done)?;
        match done {
            // Nobody asks for what was refused, so that has no place.
            Ok(Done { answer: Err(error), .. }) => {
                self.note("owner", &format!("{action} in {id}: {:?}", error.kind));
                match action {
                    Action::Bytes(act) => self.model.refused(id, act, error.kind),
                    _ => Ok(()),
                }
            }
            Ok(done) => {
                self.note("owner", &format!("{action} in {id} at {}", done.lsn));
                self.model.push(Past {
                    lsn: done.lsn,
                    fileset: id,
                    operation,
                    action,
                    answer: done.answer.map_err(|error| error.kind),
                })
            }
            Err(error) => self.failed("change of its own", &error),
        }
    }

    /// A snapshot of some fileset, and what it has.
    fn some_snapshot(&mut self) -> Option<(FilesetId, Lsn, Kept)> {
        let id = *self.seed.pick(&self.model.filesets());
        let kept: Vec<(Lsn, Kept)> = self
            .model
            .snapshots(id)
            .into_iter()
            .map(|(at, kept)| (at, kept.clone()))
            .collect();
        if kept.is_empty() {
            return None;
        }
        let (at, kept) = self.seed.pick(&kept).clone();
        Some((id, at, kept))
    }

    fn go_back(&mut self) -> Step {
        let Some((id, to, kept)) = self.some_snapshot() else {
            return Ok(());
        };
        if self.model.snapshots(id).len() >= KEPT_MAX {
            return self.delete_snapshot(id, to);
        }
        if self.seed.chance(200) {
            let nth = 1 + self.seed.below(BACK_OPERATIONS);
            self.note("fault", &format!("the owner stops at its operation {nth}"));
            self.owner.device.port().stop_at(nth);
        }
        let fileset = match self.owner.aggregate.fileset(id) {
            Ok(fileset) => fileset,
            Err(error) => return self.failed("roll-back", &error),
        };
        self.taken += 1;
        // Some names come again while the first one is kept: it makes way.
        let name = format!("{BEFORE}{}", self.taken % 4);
        let done = FileName::parse(name.as_bytes()).and_then(|name| {
            let done = fileset.roll_back(&Operation::default(), to, &name)?;
            Ok((done.lsn, done.answer?))
        });
        self.note_present(&fileset);
        match done {
            Ok((lsn, present)) => {
                self.note("owner", &format!("{id} is back at {to} with {lsn}, and was {present}"));
                self.told = self.told.max(self.owner.aggregate.durable());
                let from = Some(kept);
                let (fileset, back_to) = (id, Some(to));
                self.model.turn(Turn {
                    lsn,
                    fileset,
                    from,
                    back_to,
                });
                // Who went back wants some of it after all.
                for _ in 0..if self.has_files { self.seed.below(4) } else { 0 } {
                    self.copy_from_snapshot(id, Some(present))?;
                }
                Ok(())
            }
            // The snapshot has the very name that the present was to have.
            Err(error) if matches!(error.kind, Kind::Exists | Kind::Busy) => Ok(()),
            Err(error) => self.failed("roll-back", &error),
        }
    }

    /// The present was kept, whether it was left or not: the snapshot of it took the place of an older one of its name.
    fn note_present(&mut self, fileset: &Fileset) {
        let id = fileset.id();
        let there: Vec<Lsn> = fileset.snapshots().iter().map(|snapshot| snapshot.id).collect();
        let known: Vec<Lsn> = self.model.snapshots(id).into_keys().collect();
        let Some(taken) = there.iter().find(|at| !known.contains(at)) else {
            return;
        };
        for gone in known.iter().filter(|at| !there.contains(at)) {
            self.model.delete(id, (*taken, *gone));
        }
        self.model.take(id, (*taken, *taken));
    }

    fn make_clone(&mut self) -> Step {
        if self.model.filesets().len() >= FILESETS_MAX {
            return self.delete_clone();
        }
        let Some((id, at, kept)) = self.some_snapshot() else {
            return Ok(());
        };
        self.cloned += 1;
        let clone = FilesetId(CLONES_FROM + self.cloned);
        let made = self.owner.aggregate.fileset(id).and_then(|fileset| {
            let header = header(&format!("clone.{}", self.cloned))?;
            fileset.make_clone(&Operation::default(), at, clone, &header)
        });
        match made {
            Ok(lsn) => {
                self.note("owner", &format!("{clone} is made of {id} at {at}, with {lsn}"));
                self.told = self.told.max(self.owner.aggregate.durable());
                let (fileset, from, back_to) = (clone, Some(kept), None);
                self.model.turn(Turn {
                    lsn,
                    fileset,
                    from,
                    back_to,
                });
                Ok(())
            }
            Err(error) => self.failed("clone", &error),
        }
    }

    fn delete_clone(&mut self) -> Step {
        let clones = self.clones();
        match clones.is_empty() {
            true => Ok(()),
            false => {
                let id = *self.seed.pick(&clones);
                self.delete_fileset(id)
            }
        }
    }

    fn delete_fileset(&mut self, id: FilesetId) -> Step {
        let hidden = self
            .owner
            .aggregate
            .change_fileset(id, &Operation::default(), |transaction| catalog::hide(transaction, id));
        match hidden {
            Ok(lsn) => {
                self.note("owner", &format!("{id} is deleted with {lsn}"));
                let (fileset, from, back_to) = (id, None, None);
                self.model.turn(Turn {
                    lsn,
                    fileset,
                    from,
                    back_to,
                });
                Ok(())
            }
            Err(error) => self.failed("deletion of a fileset", &error),
        }
    }

    /// At the end all of them go, in any order, with their snapshots or after them, and all of their space comes back.
    pub fn delete_filesets(&mut self) -> Step {
        self.sessions.clear();
        while let Some(id) = self.some_fileset() {
            let kept: Vec<Lsn> = self.model.snapshots(id).into_keys().collect();
            match self.seed.below(8) {
                0..3 if !kept.is_empty() => {
                    let snapshot = *self.seed.pick(&kept);
                    self.delete_snapshot(id, snapshot)?;
                }
                3 => drop(self.reclaim()?),
                4 => self.checkpoint(),
                5 => self.check().map(drop)?,
                6 if self.seed.chance(300) => self.take_over()?,
                _ => self.delete_fileset(id)?,
            }
        }
        self.give_all_back()?;
        let census = self.check()?;
        let left = self
            .owner
            .aggregate
            .read_system(|view| catalog::list_hidden(view, 0, 1));
        let left = left.map_err(|error| error.to_string())?.entries;
        match (census.data, census.dead, left.is_empty()) {
            (0, 0, true) => Ok(()),
            _ => Err(format!(
                "{census:?} when all filesets are gone, and {left:?} are hidden"
            )),
        }
    }

    fn some_fileset(&mut self) -> Option<FilesetId> {
        let all = self.model.filesets();
        (!all.is_empty()).then(|| *self.seed.pick(&all))
    }
}
