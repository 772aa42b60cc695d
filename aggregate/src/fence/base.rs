//! Which root a new epoch goes on from.

use std::cmp::Ordering;

use baton_types::Epoch;

use super::slots::Slots;
use super::stop::{Owner, Stop};
use crate::format::{Geometry, Root, RootName, RootPlace, SlotState};

/// A root that verifies, and where: which place of the ring, which of its two.
#[derive(Clone, Debug)]
pub struct Found {
    /// The place of its head in the ring, and its own in the head.
    pub place: (usize, RootPlace),
    /// What stands there.
    pub root: Root,
}

/// What recovery starts from.
#[derive(Clone, Debug, PartialEq)]
pub struct Base {
    /// The newest root that verifies.
    pub root: Root,
    /// The newest that a slot names; newer than `root` if that one rotted.
    pub named: RootName,
    /// Epochs that the slots prove to have nothing in flight (R5).
    pub gone: Vec<Epoch>,
    /// The slot of the epoch that `root` is of says that it detached: nothing of it is missing, and nothing will come.
    pub is_detached: bool,
}

impl Base {
    /// True if a newer root was there: to be told to somebody, though nothing is lost.
    pub fn is_older(&self) -> bool {
        self.root.name() < self.named
    }
    /// The newest of `found`, for the claim of `epoch`, where the slots name `named`.
    ///
    /// Never older than one before `named`: the log that such a root would need is free for reuse, and what a whole
    /// epoch did would silently be gone.
    pub(super) fn choose(
        (epoch, slots): (Epoch, &Slots),
        named: RootName,
        found: &[Found],
        gone: impl FnOnce(&Root) -> Vec<Epoch>,
    ) -> Result<Base, Stop> {
        // Epoch 0 is born in head 0; any root in another's head was misdirected, and its own place has lost it.
        let at_home = found
            .iter()
            .filter(|found| Geometry::ring_index(found.root.epoch) == found.place.0);
        let newest = at_home.map(|found| &found.root).max_by_key(|root| root.name());
        let held = |found| Err(Stop::Held { named, found });
        let Some(root) = newest else { return held(None) };
        let owner = Owner {
            epoch: root.epoch,
            server: None,
            principal: String::new(),
        };
        match root.epoch.cmp(&epoch) {
            Ordering::Less => {}
            Ordering::Equal => return Err(Stop::Used { owner }),
            Ordering::Greater => return Err(Stop::Newer { owner }),
        }
        let oldest = RootName {
            seq: named.seq.saturating_sub(1),
            ..named
        };
        if root.name() < oldest {
            return held(Some(root.name()));
        }
        Ok(Base {
            root: root.clone(),
            named,
            gone: gone(root),
            is_detached: slots
                .sound()
                .any(|slot| slot.epoch == root.epoch && slot.state == SlotState::Detached),
        })
    }
}
