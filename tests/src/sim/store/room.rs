//! Room in a history: what a file was promised is there for it, and for nobody else, however full the disk is.

use baton_aggregate::aggregate::Done;
use baton_aggregate::transaction::Operation;
use baton_types::call::Allocate;
use baton_types::{FilesetId, Kind, Result};
use bytes::Bytes;

use super::actions::Action;
use super::files::{Act, FILES, LENGTH};
use super::history::{FILESETS, Step, World};

/// Who fills the disk writes as much at once, and so often at most; then come as many copies.
const CROWD_BLOCKS: u64 = 200;
const CROWD_WRITES_MAX: u64 = 30;
const CROWD_COPIES: u64 = 40;
/// Until what was freed may be used.
const CHECKPOINTS_TO_REUSE: u64 = 3;

impl World {
    /// Where the store has no room for an action, that is right unless a file was promised it.
    ///
    /// # Errors
    /// It was.
    pub fn check_room(&self, id: FilesetId, action: &Action, done: &Result<Done<Bytes>>) -> Step {
        let refused = match done {
            Ok(done) => done.answer.as_ref().err(),
            Err(error) => Some(error),
        };
        match action {
            Action::Bytes(act)
                if refused.is_some_and(|error| error.kind == Kind::NoSpace)
                    && act.is_promised(self.model.files(id)) =>
            {
                Err(format!("{act:?} in {id} was promised room, and finds none"))
            }
            _ => Ok(()),
        }
    }

    /// One file is promised room, another one takes all that is left, and copies take what they need beside it; then the
    /// first one gets all that it was promised, and the second one gives its own back.
    pub fn crowd(&mut self) -> Step {
        let id = *self.seed.pick(&FILESETS);
        let file = self.seed.below(FILES.into()) as u8;
        let (crowd, promised) = (file, (file + 1) % FILES);
        let act = Act::Promise {
            file: promised,
            first: LENGTH,
            count: 1 + self.seed.below(4 * LENGTH),
            how: Allocate::KeepSize,
        };
        self.do_alone(id, act)?;
        let byte = self.seed.draw() as u8;
        for count in [CROWD_BLOCKS, 1] {
            for _ in 0..CROWD_WRITES_MAX {
                let first = self.model.files(id)[usize::from(crowd)].size.max(LENGTH);
                let act = Act::Write {
                    file: crowd,
                    first,
                    count,
                    byte,
                };
                if !self.do_alone(id, act)? {
                    break;
                }
            }
        }
        for to in 0..CROWD_COPIES {
            let act = Act::Share {
                source: (crowd, LENGTH),
                past: None,
                target: (promised, 10 * LENGTH + to),
                count: 1,
            };
            self.do_alone(id, act)?;
        }
        while self.fill_promise_of(id, promised)? {}
        let act = Act::Truncate {
            file: crowd,
            blocks: LENGTH,
        };
        self.do_alone(id, act)?;
        (0..CHECKPOINTS_TO_REUSE).for_each(|_| self.checkpoint());
        Ok(())
    }

    /// True if it has its place.
    fn do_alone(&mut self, id: FilesetId, act: Act) -> Step<bool> {
        let before = self.model.history.len();
        self.work_alone(id, Operation::default(), Action::Bytes(act))?;
        Ok(self.model.history.len() > before)
    }

    /// Some file gets some of what it was promised.
    pub fn fill_promise(&mut self) -> Step {
        let id = *self.seed.pick(&self.model.filesets());
        let number = self.seed.below(FILES.into()) as u8;
        self.fill_promise_of(id, number).map(drop)
    }

    /// True if there was something to get, and it was got.
    fn fill_promise_of(&mut self, id: FilesetId, number: u8) -> Step<bool> {
        let file = &self.model.files(id)[usize::from(number)];
        if file.promised == 0 {
            return Ok(false);
        }
        let hole = file.hole();
        let most = file.promised.min(hole.end - hole.start).min(CROWD_BLOCKS);
        let act = Act::Write {
            file: number,
            first: hole.start,
            count: 1 + self.seed.below(most),
            byte: self.seed.draw() as u8,
        };
        self.do_alone(id, act)
    }
}
