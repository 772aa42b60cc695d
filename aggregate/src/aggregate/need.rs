//! What a change needs to be let in, and by which right: as anybody, or because a file was promised room.

use baton_types::{Kind, Result};

use super::fileset::{Fileset, Placed, Standing};
use crate::space::Purpose;
use crate::tree::{Pinned, Stop};

/// What a change needs to be let in.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// What it does to the space.
    pub purpose: Purpose,
    /// Blocks of data that it may write.
    pub blocks: u64,
    /// They may be of those that were promised to the file.
    pub may_be_promised: bool,
}

impl Need {
    /// It adds names or attributes.
    pub const GROWTH: Need = Need {
        purpose: Purpose::Growth,
        blocks: 0,
        may_be_promised: false,
    };
    /// It deletes.
    pub const UPKEEP: Need = Need {
        purpose: Purpose::Upkeep,
        ..Need::GROWTH
    };

    /// What it does to the space, among those who say again what was accepted.
    fn purpose_of(&self, standing: Standing) -> Purpose {
        match (self.purpose, standing) {
            (Purpose::Growth, Standing::Yielding) => Purpose::Yielding,
            (purpose, _) => purpose,
        }
    }

    /// It writes data of at most this many blocks.
    pub fn data(blocks: u64) -> Need {
        Need {
            blocks,
            may_be_promised: true,
            ..Need::GROWTH
        }
    }
}

impl Fileset {
    /// What whoever brings its changes may fill.
    pub(super) fn filling(&self) -> Purpose {
        Need::GROWTH.purpose_of(self.standing)
    }

    /// True if `blocks` blocks more could be written at once.
    pub(crate) fn has_room(&self, blocks: u64) -> bool {
        self.engine.has_headroom(self.filling(), blocks)
    }

    /// Makes checkpoints for as long as one may give back what is missing for a promise of `blocks` blocks.
    ///
    /// # Errors
    /// What a checkpoint failed with; `Wait` where it would wait for one who may not.
    pub(crate) fn gather(&self, blocks: u64) -> Result<()> {
        self.engine.gather(self.filling(), blocks, self.patience)
    }

    /// Lets a change in and attempts it. Where there is little room left, what a file was promised comes first.
    pub(super) fn admitted(
        &self,
        need: Need,
        mut attempt: impl FnMut(&Pinned, Purpose) -> Result<Placed, Stop>,
    ) -> Result<Placed> {
        let mut as_for = |purpose| {
            self.engine.admit(purpose, need.blocks, self.patience)?;
            self.engine.attempt(self.patience, |pinned| attempt(pinned, purpose))
        };
        let purpose = need.purpose_of(self.standing);
        let is_short = need.may_be_promised && !self.engine.has_headroom(purpose, need.blocks);
        if is_short && self.cell.state.lock().usage.promised > 0 {
            match as_for(Purpose::Promised) {
                // It is more than was promised.
                Err(error) if error.kind == Kind::NoSpace => {}
                done => return done,
            }
        }
        as_for(purpose)
    }
}
