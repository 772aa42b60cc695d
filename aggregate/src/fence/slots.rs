//! What the eight slots say, and whether that is enough to go on (R1, R3).
//!
//! A slot that does not verify counts as newer: it may be the claim of an owner that we would otherwise outlive. So
//! may one that stands in another's place. Only an epoch that falls on such a place can claim, and heals it.

use baton_types::{Epoch, Incarnation, ServerId};
use uuid::Uuid;

use super::stop::{Owner, Stop};
use crate::format::{Geometry, RootName, Slot, SlotState};

/// What stands in one place of the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A slot that verifies, in its own place.
    Sound(Slot),
    /// Something else.
    Unreadable,
}

/// The eight slots, as one read showed them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots(Box<[Seen; Geometry::RING]>);

/// What is known of those who held this epoch's place in the ring, and the next one, before (R7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ring {
    /// Whoever granted the epoch has proof that none of them has a write in flight.
    Vouched,
    /// Nobody says so: the disk itself must show it.
    Shown,
    /// The same, but of these it is known to whoever claims: their I/O ended on this very host.
    Ended(Vec<Epoch>),
}

/// Leave to own an aggregate, as the location database gave it. A process uses an epoch once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The epoch.
    pub epoch: Epoch,
    /// To whom.
    pub server: ServerId,
    /// Which run of it.
    pub incarnation: Incarnation,
    /// The boot of its host.
    pub boot: Uuid,
    /// Its name to people.
    pub principal: String,
    /// What is known of the ring.
    pub ring: Ring,
}

impl Slots {
    /// What a read showed, in the order of places.
    pub fn new(seen: [Option<Slot>; Geometry::RING]) -> Slots {
        let mut places = 0..;
        Slots(Box::new(seen.map(|slot| {
            let place = places.next();
            let slot = slot.filter(|slot| place.is_some_and(|place| slot.fits(place)));
            slot.map_or(Seen::Unreadable, Seen::Sound)
        })))
    }

    /// What stands in each place.
    pub fn seen(&self) -> &[Seen] {
        &self.0[..]
    }

    /// The slots that verify.
    pub fn sound(&self) -> impl Iterator<Item = &Slot> {
        self.0.iter().filter_map(|seen| match seen {
            Seen::Sound(slot) => Some(slot),
            Seen::Unreadable => None,
        })
    }

    /// The newest slot that verifies.
    pub fn newest(&self) -> Option<&Slot> {
        self.sound().max_by_key(|slot| slot.epoch)
    }

    /// The newest root that a slot names: recovery begins no earlier than with the one before it.
    pub fn named(&self) -> RootName {
        self.sound().map(|slot| slot.root).max().unwrap_or_default()
    }

    /// The epoch to grant next by one who granted up to `granted`: the lowest above that and all that stand here, and
    /// which heals what does not verify.
    ///
    /// `None` when the count of this era is used up, or no one epoch can heal it.
    pub fn next(&self, granted: Epoch) -> Option<Epoch> {
        let next = self.newest()?.epoch.max(granted).next()?;
        let place = self.heals(Geometry::ring_index(next))?;
        let behind = (place + Geometry::RING - Geometry::ring_index(next)) % Geometry::RING;
        (0..behind).try_fold(next, |epoch, _| epoch.next())
    }

    /// The first epoch of the next era, for whoever must start one.
    ///
    /// Half the ring past the newest slot, because an epoch that was granted and is not on the disk yet would
    /// otherwise share its place. `None` after the last era, or when nothing can be healed by one epoch.
    pub fn next_era(&self) -> Option<Epoch> {
        let newest = self.newest()?.epoch;
        let era = newest.era().checked_add(1)?;
        let place = self.heals((Geometry::ring_index(newest) + Geometry::RING / 2) % Geometry::RING)?;
        // A count of 0 is nobody's: it says of an era that nothing was granted in it.
        let count = if place == 0 { Geometry::RING } else { place };
        Some(Epoch::new(era, count as u64))
    }

    /// The place that the next epoch must fall on: the unreadable one, or `else_place` if all verify.
    fn heals(&self, else_place: usize) -> Option<usize> {
        match self.unreadable().collect::<Vec<_>>()[..] {
            [] => Some(else_place),
            [place] => Some(place),
            _ => None,
        }
    }

    /// The epochs that are proven to have nothing in flight (R5), read after the own slot was written: those that
    /// detached, those whose host has booted since, those whose end `grant` knows of; and of `quarantine` those whose
    /// place in the ring a newer epoch has: it was given only with that proof (R7).
    pub fn gone(&self, grant: &Grant, quarantine: &[Epoch]) -> Vec<Epoch> {
        let older = self
            .sound()
            .filter(|slot| slot.epoch != Epoch::NONE && slot.epoch < grant.epoch);
        let gone = older.filter(|slot| slot.state == SlotState::Detached || ended(slot, grant));
        let followed = |epoch: &&Epoch| {
            let place = &self.0[Geometry::ring_index(**epoch)];
            matches!(place, Seen::Sound(slot) if slot.epoch > **epoch)
        };
        let followed = quarantine.iter().filter(followed);
        gone.map(|slot| slot.epoch).chain(followed.copied()).collect()
    }

    fn unreadable(&self) -> impl Iterator<Item = usize> {
        let places = self.0.iter().enumerate();
        places.filter_map(|(place, seen)| matches!(seen, Seen::Unreadable).then_some(place))
    }

    /// Whether `grant` may write its slot: nothing newer stands here, the epoch is unused, and the ring is clear.
    pub(super) fn admit(&self, grant: &Grant) -> Result<(), Stop> {
        let own = Geometry::ring_index(grant.epoch);
        self.none_newer(grant.epoch)?;
        if let Some(slot) = self.sound().find(|slot| slot.epoch == grant.epoch) {
            return Err(Stop::Used { owner: owner(slot) });
        }
        match self.unreadable().find(|place| *place != own) {
            Some(place) => Err(Stop::Unreadable { place }),
            None => self.clear(grant),
        }
    }

    /// A look: whether `grant` still is the newest, and nothing hides a newer one.
    pub(super) fn look(&self, grant: &Grant) -> Result<(), Stop> {
        self.none_newer(grant.epoch)?;
        match &self.0[Geometry::ring_index(grant.epoch)] {
            Seen::Sound(slot) if (slot.epoch, slot.incarnation) == (grant.epoch, grant.incarnation) => {}
            Seen::Sound(slot) => return Err(Stop::Replaced { owner: owner(slot) }),
            Seen::Unreadable => {}
        }
        self.unreadable()
            .next()
            .map_or(Ok(()), |place| Err(Stop::Unreadable { place }))
    }

    fn none_newer(&self, epoch: Epoch) -> Result<(), Stop> {
        let newer = self.newest().filter(|slot| slot.epoch > epoch);
        newer.map_or(Ok(()), |slot| Err(Stop::Newer { owner: owner(slot) }))
    }

    /// R7, as far as the disk can show it: nobody who held this place or the next one can still write.
    fn clear(&self, grant: &Grant) -> Result<(), Stop> {
        if grant.ring == Ring::Vouched {
            return Ok(());
        }
        let own = Geometry::ring_index(grant.epoch);
        let newest = self.newest().map_or(Epoch::NONE, |slot| slot.epoch);
        for place in [own, (own + 1) % Geometry::RING] {
            let slot = match &self.0[place] {
                Seen::Sound(slot) => slot,
                Seen::Unreadable => return Err(Stop::Ring { place, holder: None }),
            };
            // Who detached may take it back by a look, unless a newer epoch stands here already.
            let detached = slot.state == SlotState::Detached && slot.epoch < newest;
            if slot.epoch != Epoch::NONE && !detached && !ended(slot, grant) {
                let holder = Some(owner(slot));
                return Err(Stop::Ring { place, holder });
            }
        }
        Ok(())
    }
}

/// True if nothing of the epoch of `slot` is in flight, though it has not said so itself.
fn ended(slot: &Slot, grant: &Grant) -> bool {
    let is_known = matches!(&grant.ring, Ring::Ended(epochs) if epochs.contains(&slot.epoch));
    is_known || rebooted(slot, grant)
}

/// True if the host that used `slot`, and is to use `grant`, was booted in between: nothing of it is in flight.
fn rebooted(slot: &Slot, grant: &Grant) -> bool {
    slot.server == grant.server && slot.boot != grant.boot
}

fn owner(slot: &Slot) -> Owner {
    Owner {
        epoch: slot.epoch,
        server: Some(slot.server),
        principal: slot.principal.clone(),
    }
}
