//! `Ownership`: the protocol of one epoch, from its claim to its end. No clock, no device, no thread.
//!
//! | state | waits for | then |
//! |---|---|---|
//! | idle | a claim | reads the slots: nothing may be newer, the place in the ring free |
//! | claiming | its slot, CLAIMED, flushed | reads the slots again (R1), then the roots |
//! | based | the driver, which reads the log that the base leads to, and gives the seal | |
//! | sealing | the seal in one place of its head, then in the other, each flushed | looks (R2) |
//! | owning | its slot, OWN, flushed | serves |
//! | serving | looks, any number at once; and one thing at a time that writes: a root, a beat | |
//! | detaching, detached | its slot, DETACHED, flushed | nothing, until it is thawed |
//! | thawing | its slot, OWN, flushed | looks, then serves: before that, nothing may be written |
//! | stopped | nothing: terminal for this epoch | |
//!
//! The slot names the newest root that had its look, and a claim the newest that any slot named: so that the place
//! in the ring that a claim takes does not forget it. A root counts (R4) when its look passed and the slot names it.

use baton_types::{AggregateId, AggregateName, Error, Kind, Timestamp};

use super::base::{Base, Found};
use super::slots::{Grant, Slots};
use super::stop::Stop;
use crate::format::{Geometry, Root, RootKind, RootName, RootPlace, Slot, SlotState};

/// How often a read of the slots that shows one unreadable is done again before it is believed.
const READS_AGAIN: u8 = 3;

/// A read of the slots: what it is to decide, and how often it was done before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What it is to decide.
    pub why: Why,
    /// How often it was done before.
    pub again: u8,
}

/// What a read of the slots is to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Whether the epoch may be claimed.
    Claim,
    /// Whether a claim that is written is the newest.
    Claimed,
    /// Whether a sealed epoch may serve.
    Sealed,
    /// Whether something may be told, or damage believed.
    Answer,
    /// Whether a root counts.
    Root,
    /// Whether one who had detached may serve again.
    Thaw,
}

/// Everything that can happen.
#[derive(Clone, Debug)]
pub enum Event {
    /// The grant is to be used, at this time.
    Claim(Timestamp),
    /// What was to be written is, and flushed where that was asked.
    Written,
    /// A read of the slots ended.
    Slots(Reading, Result<Slots, Error>),
    /// These roots verify.
    Roots(Vec<Found>),
    /// The log is read, and this first root continues it.
    Seal(Box<Root>),
    /// Are we still owner?
    Look,
    /// A checkpoint made this root.
    Root(Box<Root>),
    /// A sign of life, at this time.
    Beat(Timestamp),
    /// Nothing is in flight, and nothing will be: give up, at this time.
    Detach(Timestamp),
    /// Take it back.
    Thaw(Timestamp),
    /// A read or a write failed.
    Failed(Error),
}

/// What follows a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// A flush: nobody may act on it before it is durable.
    Flush,
    /// Nothing: it is a sign of life, and one that a power cut takes has nobody to tell it to.
    GoOn,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Read all slots.
    ReadSlots(Reading),
    /// Read all roots.
    ReadRoots,
    /// Write the own slot.
    WriteSlot(Box<Slot>, Then),
    /// Write a root into the own head, and flush.
    WriteRoot(RootPlace, Box<Root>),
    /// Read the log from here, and come back with a seal.
    Recover(Box<Base>),
    /// What was asked for is so.
    Pass,
    /// What was asked for is refused.
    Refuse(Error),
}

#[derive(Clone, Debug)]
enum State {
    Idle,
    /// With the slots as they were when the own one stood among them.
    Claiming(Option<Box<Slots>>),
    /// With the places of the own head in which the base lies.
    Based(Vec<RootPlace>),
    /// With the place still to be written.
    Sealing(Option<RootPlace>, Box<Root>),
    Owning,
    Serving(Busy),
    Detaching,
    Detached,
    Thawing,
    Stopped(Stop),
}

/// What a serving owner writes just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Busy {
    Not,
    /// A root that does not count yet.
    Root(RootName),
    Slot,
}

/// The protocol of one epoch of one aggregate.
#[derive(Clone, Debug)]
pub struct Ownership {
    aggregate: AggregateId,
    name: AggregateName,
    grant: Grant,
    state: State,
    root: RootName,
    beat: u64,
    time: Timestamp,
}

impl Ownership {
    /// Nothing is claimed yet.
    pub fn new(aggregate: AggregateId, name: AggregateName, grant: Grant) -> Ownership {
        Ownership {
            aggregate,
            name,
            grant,
            state: State::Idle,
            root: RootName::default(),
            beat: 0,
            time: Timestamp::default(),
        }
    }

    /// The grant that is used.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// The newest root that counts.
    pub fn root(&self) -> RootName {
        self.root
    }

    /// Why this epoch ended, once it has.
    pub fn stopped(&self) -> Option<&Stop> {
        match &self.state {
            State::Stopped(stop) => Some(stop),
            State::Idle
            | State::Claiming(_)
            | State::Based(_)
            | State::Sealing(..)
            | State::Owning
            | State::Serving(_)
            | State::Detaching
            | State::Detached
            | State::Thawing => None,
        }
    }

    /// Takes `event` and says what is to be done.
    ///
    /// # Panics
    /// If the driver tells what was not asked for: its protocol is broken then, and no write would be safe.
    pub fn step(&mut self, event: Event) -> Action {
        if let State::Stopped(stop) = &self.state {
            return Action::Refuse(stop.error(&self.name, self.grant.epoch));
        }
        match event {
            Event::Claim(time) => {
                assert!(matches!(self.state, State::Idle), "claimed in {:?}", self.state);
                self.time = time;
                read(Why::Claim)
            }
            Event::Written => self.written(),
            Event::Slots(reading, slots) => self.slots(reading, slots),
            Event::Roots(found) => self.roots(&found),
            Event::Seal(root) => self.seal(root),
            Event::Root(root) => self.checkpoint(root),
            Event::Look => self.may_look().map_or_else(Action::Refuse, |()| read(Why::Answer)),
            Event::Beat(time) => self.sign_of_life(time),
            Event::Detach(time) => self.detach(time),
            Event::Thaw(time) => self.thaw(time),
            Event::Failed(error) => self.stop(Stop::Failed(error)),
        }
    }

    fn slots(&mut self, reading: Reading, slots: Result<Slots, Error>) -> Action {
        let verdict = slots.map_err(Stop::Failed).and_then(|slots| {
            match reading.why {
                Why::Claim => slots.admit(&self.grant)?,
                Why::Claimed | Why::Sealed | Why::Answer | Why::Root | Why::Thaw => slots.look(&self.grant)?,
            }
            Ok(slots)
        });
        match verdict {
            Ok(slots) => self.passed(reading.why, &slots),
            Err(Stop::Unreadable { .. } | Stop::Failed(_)) if reading.again < READS_AGAIN => {
                Action::ReadSlots(Reading {
                    again: reading.again + 1,
                    ..reading
                })
            }
            Err(stop) => self.stop(stop),
        }
    }

    /// A read of the slots showed that we may go on.
    fn passed(&mut self, why: Why, slots: &Slots) -> Action {
        match (why, &self.state) {
            (Why::Claim, State::Idle) => {
                self.root = slots.named();
                self.state = State::Claiming(None);
                self.write_slot(SlotState::Claimed, Then::Flush)
            }
            (Why::Claimed, State::Claiming(_)) => {
                self.root = self.root.max(slots.named());
                self.state = State::Claiming(Some(Box::new(slots.clone())));
                Action::ReadRoots
            }
            (Why::Sealed, State::Sealing(None, seal)) => {
                self.root = seal.name();
                self.state = State::Owning;
                self.write_slot(SlotState::Own, Then::Flush)
            }
            (Why::Answer, _) => self.may_look().map_or_else(Action::Refuse, |()| Action::Pass),
            (Why::Root, State::Serving(Busy::Root(root))) => {
                self.root = *root;
                self.state = State::Serving(Busy::Slot);
                self.write_slot(SlotState::Own, Then::Flush)
            }
            (Why::Thaw, State::Thawing) => self.serve(),
            (why, state) => unreachable!("a read of the slots for {why:?} ended in {state:?}"),
        }
    }

    fn written(&mut self) -> Action {
        match &self.state {
            State::Claiming(_) => read(Why::Claimed),
            State::Sealing(Some(second), seal) => {
                let (second, seal) = (*second, seal.clone());
                self.state = State::Sealing(None, seal.clone());
                Action::WriteRoot(second, seal)
            }
            State::Sealing(None, _) => read(Why::Sealed),
            State::Serving(Busy::Root(_)) => read(Why::Root),
            State::Owning | State::Serving(Busy::Slot) => self.serve(),
            State::Detaching => {
                self.state = State::Detached;
                Action::Pass
            }
            State::Thawing => read(Why::Thaw),
            state @ (State::Idle
            | State::Based(_)
            | State::Serving(Busy::Not)
            | State::Detached
            | State::Stopped(_)) => {
                unreachable!("a write ended in {state:?}")
            }
        }
    }

    fn roots(&mut self, found: &[Found]) -> Action {
        let State::Claiming(Some(slots)) = &self.state else {
            unreachable!("roots in {:?}", self.state)
        };
        let gone = |root: &Root| slots.gone(&self.grant, &root.quarantine);
        match Base::choose((self.grant.epoch, slots), self.root, found, gone) {
            Ok(base) => {
                let own = Geometry::ring_index(self.grant.epoch);
                let lies = |found: &&Found| found.place.0 == own && found.root.name() == base.root.name();
                self.state = State::Based(found.iter().filter(lies).map(|found| found.place.1).collect());
                Action::Recover(Box::new(base))
            }
            Err(stop) => self.stop(stop),
        }
    }

    fn seal(&mut self, seal: Box<Root>) -> Action {
        let State::Based(base) = &self.state else {
            unreachable!("a seal in {:?}", self.state)
        };
        assert_eq!(
            (seal.name(), seal.kind),
            (self.root_name(0), RootKind::Seal),
            "no seal of this epoch"
        );
        // Never over the only copy of what it continues, while it is not written itself.
        let first = match base[..] {
            [only] => only.other(),
            _ => RootPlace::A,
        };
        self.state = State::Sealing(Some(first.other()), seal.clone());
        Action::WriteRoot(first, seal)
    }

    fn checkpoint(&mut self, root: Box<Root>) -> Action {
        if let Err(error) = self.may_write() {
            return Action::Refuse(error);
        }
        let next = self.root_name(self.root.seq + 1);
        assert_eq!(
            (root.name(), root.kind),
            (next, RootKind::Checkpoint),
            "not the next root"
        );
        self.state = State::Serving(Busy::Root(next));
        Action::WriteRoot(RootPlace::of(next.seq), root)
    }

    fn sign_of_life(&mut self, time: Timestamp) -> Action {
        if let Err(error) = self.may_write() {
            return Action::Refuse(error);
        }
        self.time = time;
        self.state = State::Serving(Busy::Slot);
        self.write_slot(SlotState::Own, Then::GoOn)
    }

    fn detach(&mut self, time: Timestamp) -> Action {
        if let Err(error) = self.may_write() {
            return Action::Refuse(error);
        }
        self.time = time;
        self.state = State::Detaching;
        self.write_slot(SlotState::Detached, Then::Flush)
    }

    fn thaw(&mut self, time: Timestamp) -> Action {
        assert!(matches!(self.state, State::Detached), "thawed in {:?}", self.state);
        self.time = time;
        self.state = State::Thawing;
        self.write_slot(SlotState::Own, Then::Flush)
    }

    fn serve(&mut self) -> Action {
        self.state = State::Serving(Busy::Not);
        Action::Pass
    }

    fn stop(&mut self, stop: Stop) -> Action {
        let error = stop.error(&self.name, self.grant.epoch);
        self.state = State::Stopped(stop);
        Action::Refuse(error)
    }

    /// Whether a look may be asked for: an owner tells things by it, and one who recovers believes damage by it.
    fn may_look(&self) -> Result<(), Error> {
        match &self.state {
            State::Serving(_) | State::Based(_) => Ok(()),
            State::Detaching | State::Detached | State::Thawing => Err(self.detached()),
            state @ (State::Idle | State::Claiming(_) | State::Sealing(..) | State::Owning) => {
                unreachable!("a look in {state:?}")
            }
            State::Stopped(stop) => Err(stop.error(&self.name, self.grant.epoch)),
        }
    }

    fn may_write(&self) -> Result<(), Error> {
        match &self.state {
            State::Serving(Busy::Not) => Ok(()),
            State::Detaching | State::Detached | State::Thawing => Err(self.detached()),
            state => unreachable!("a write to the slot or head in {state:?}"),
        }
    }

    fn detached(&self) -> Error {
        Error::new(Kind::Detached, format!("aggregate {}", self.name))
            .because(format!("detached under epoch {}", self.grant.epoch))
            .remedy("ask the location database who owns it")
    }

    fn root_name(&self, seq: u64) -> RootName {
        RootName {
            epoch: self.grant.epoch,
            seq,
        }
    }

    fn write_slot(&mut self, state: SlotState, then: Then) -> Action {
        self.beat += 1;
        let slot = Slot {
            aggregate: self.aggregate,
            epoch: self.grant.epoch,
            server: self.grant.server,
            incarnation: self.grant.incarnation,
            boot: self.grant.boot,
            principal: self.grant.principal.clone(),
            state,
            root: self.root,
            beat: self.beat,
            time: self.time,
        };
        Action::WriteSlot(Box::new(slot), then)
    }
}

fn read(why: Why) -> Action {
    Action::ReadSlots(Reading { why, again: 0 })
}
