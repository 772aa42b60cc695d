//! Who goes on, who dies, what rots, who is granted what: everything that the seed decides.
//!
//! What it leaves alone is what the rules lean on: a sector is old or new (D1), except for one slot that tears; one
//! root rots, no more; and nobody is granted a place in the ring whose holder, or the next one's, is not gone (R7).

use std::collections::BTreeMap;
use std::sync::Arc;

use baton_aggregate::create::{Overwrite, Plan, create};
use baton_aggregate::device::double::{Disk, Gate, Seat, SeatId, Step};
use baton_aggregate::fence::{self, Grant, Ring};
use baton_aggregate::format::{Geometry, Label, Root, RootPlace};
use baton_types::{AggregateId, AggregateName, Epoch, Incarnation, ServerId, Timestamp};
use parking_lot::Mutex;
use uuid::Uuid;

use super::habit::{Bent, Habit};
use super::ledger;
use super::life::{Life, name};
use super::whole::Whole;
use super::world::{Seen, World};
use crate::sim::{Seed, Trace, Violation, entropy};

/// Most epochs of a history: the ring wraps.
const GRANTS_MAX: u64 = 11;
/// Room for all of them to be crashed, each with a reserve that nobody may use any more.
const DISK_BYTES: u64 = 32 << 20;
/// The longest that a run stands still, in decisions: many lives of others.
const PAUSE_MAX: u64 = 300;

/// What the servers keep on the aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Store {
    /// A list of numbers of our own, on the fence alone.
    Ledger,
    /// A fileset of the whole store.
    Whole,
}

/// One run of a server, as far as the adversary knows it.
struct Run {
    epoch: Epoch,
    /// It stands still until then.
    until: u64,
    /// A write into this head has begun and is not flushed.
    head: Option<usize>,
}

/// The history being made.
pub(super) struct Adversary {
    seed: Seed,
    habit: Habit,
    store: Store,
    disk: Disk,
    gate: Gate,
    world: Arc<Mutex<World>>,
    label: Label,
    runs: BTreeMap<SeatId, Run>,
    granted: Epoch,
    grants: u64,
    running: Option<SeatId>,
    may_rot: bool,
    may_tear: bool,
}

impl Adversary {
    pub fn new(number: u64, habit: Habit, store: Store) -> Adversary {
        let mut seed = Seed::new(number);
        let (may_rot, may_tear) = (seed.chance(500), seed.chance(300));
        let geometry = Geometry::new(DISK_BYTES, 64 << 10, 4 << 10).expect("sizes that a label may have");
        let disk = Disk::new(geometry.device_bytes, seed.draw());
        let plan = Plan {
            id: AggregateId(Uuid::from_u128(1)),
            name: AggregateName::parse("agg1").expect("a name"),
            geometry: Some(geometry),
            overwrite: Overwrite::Refuse,
            created: Timestamp(0),
        };
        let label = create(&disk.port(), &plan).expect("a disk of zeroes takes an aggregate");
        Adversary {
            habit,
            store,
            disk,
            gate: Gate::new(),
            world: Arc::new(Mutex::new(World::new(number))),
            label,
            runs: BTreeMap::new(),
            granted: Epoch::NONE,
            grants: seed.between(2, GRANTS_MAX),
            running: None,
            may_rot,
            may_tear,
            seed,
        }
    }

    /// Plays the history to its end.
    pub fn play(mut self) -> Result<(Trace, Seen), Violation> {
        self.grant();
        loop {
            let waiting = self.gate.waiting();
            self.check();
            let is_over = waiting.is_empty() && self.grants == 0;
            if is_over || self.world.lock().is_broken() {
                break;
            }
            self.world.lock().now += 1;
            if self.grants > 0 && (waiting.is_empty() || self.seed.chance(25)) {
                self.grant();
                continue;
            }
            self.decide(&waiting);
        }
        self.recover_at_last();
        for (seat, _) in self.gate.waiting() {
            self.gate.crash(seat);
            self.gate.waiting();
        }
        drop(self.gate);
        let world = Arc::into_inner(self.world).expect("all threads ended");
        world.into_inner().end()
    }

    /// Lets one of those who wait go on, or die.
    fn decide(&mut self, waiting: &[(SeatId, Step)]) {
        let (seat, step) = self.chosen(waiting);
        self.rot_some_root();
        let crash = if matches!(step, Step::Write { .. }) { 15 } else { 5 };
        let dies = self.seed.chance(crash);
        self.note_step(seat, step, dies);
        if dies {
            self.gate.crash(seat);
            self.gate.waiting();
            self.hurt(step);
        } else {
            self.gate.go(seat);
        }
    }

    /// Mostly the one who ran before; now and then another, and then the first may stand still for long.
    fn chosen(&mut self, waiting: &[(SeatId, Step)]) -> (SeatId, Step) {
        let now = self.world.lock().now;
        let same = waiting.iter().find(|(seat, _)| Some(*seat) == self.running);
        if let Some(same) = same
            && self.seed.chance(800)
        {
            return *same;
        }
        if let Some(run) = self.running.and_then(|seat| self.runs.get_mut(&seat))
            && self.seed.chance(300)
        {
            run.until = now + self.seed.below(PAUSE_MAX);
        }
        let awake: Vec<_> = waiting
            .iter()
            .filter(|(seat, _)| self.runs[seat].until <= now)
            .collect();
        let chosen = if awake.is_empty() {
            *self.seed.pick(waiting)
        } else {
            **self.seed.pick(&awake)
        };
        self.running = Some(chosen.0);
        chosen
    }

    fn note_step(&mut self, seat: SeatId, step: Step, dies: bool) {
        let run = self.runs.get_mut(&seat).expect("who waits was granted an epoch");
        match step {
            Step::Write { offset, .. } => run.head = head_of(offset).or(run.head),
            Step::Flush if !dies => run.head = None,
            Step::Flush | Step::Read { .. } | Step::Discard { .. } | Step::Start | Step::Pause => {}
        }
        let mut world = self.world.lock();
        world.seen.crashed += u64::from(dies);
        let what = if dies { "dies in" } else { "goes on:" };
        world.note(name(run.epoch), format_args!("{what} {step:?}"));
    }

    /// Grants the next epoch to one of the servers, whatever the last owner does.
    fn grant(&mut self) {
        self.grants = self.grants.saturating_sub(1);
        let Some(epoch) = self.next_epoch() else { return };
        self.clear_ring(epoch);
        self.granted = epoch;
        let server = self.seed.below(2);
        let vouched = self.grants == 0 || self.seed.chance(800);
        let grant = Grant {
            epoch,
            server: ServerId(Uuid::from_u128(100 + u128::from(server))),
            incarnation: Incarnation(Uuid::from_u128(1_000 + self.runs.len() as u128)),
            boot: Uuid::from_u128(7),
            principal: format!("fs{server}"),
            ring: if vouched { Ring::Vouched } else { Ring::Shown },
        };
        {
            let mut world = self.world.lock();
            world.seen.granted += 1;
            world.note("fldb", format_args!("grants epoch {epoch} to {}", grant.principal));
        }
        let (world, disk, habit, label) = (
            Arc::clone(&self.world),
            self.disk.clone(),
            self.habit,
            self.label.clone(),
        );
        let (store, seed) = (self.store, self.seed.branch());
        let server = move |seat: Seat| {
            let device = Arc::new(Bent::new(disk.seated_port(&seat), habit, label.id));
            // What a run draws from the system, as the order of a map, is the history's too.
            entropy::sow(grant.epoch.0);
            match store {
                Store::Ledger => Life {
                    world,
                    device,
                    label,
                    grant,
                    habit,
                    seed,
                }
                .live(),
                Store::Whole => Whole {
                    world,
                    device,
                    grant,
                    seed,
                }
                .live(),
            }
        };
        let seat = self.gate.spawn(server);
        let until = self.world.lock().now
            + if self.seed.chance(200) {
                self.seed.below(PAUSE_MAX)
            } else {
                0
            };
        self.runs.insert(
            seat,
            Run {
                epoch,
                until,
                head: None,
            },
        );
    }

    /// The number that the location database would give: the next one, or the first of a new era.
    fn next_epoch(&mut self) -> Option<Epoch> {
        let slots = fence::read_slots(&self.disk.port(), self.label.id).ok()?;
        if self.seed.chance(50)
            && let Some(epoch) = slots
                .next_era()
                .filter(|epoch| epoch.era() == self.granted.era() + 1 && epoch.era() < 2)
        {
            self.world.lock().seen.eras += 1;
            return Some(epoch);
        }
        slots.next(self.granted)
    }

    /// R7: whoever held this place of the ring, or the next, is dead, and all of his writes have landed.
    fn clear_ring(&mut self, epoch: Epoch) {
        let own = Geometry::ring_index(epoch);
        let places = [own, (own + 1) % Geometry::RING];
        let held = |epoch: Epoch| places.contains(&Geometry::ring_index(epoch));
        if !self.runs.values().any(|run| held(run.epoch)) {
            return;
        }
        self.world.lock().seen.wrapped += 1;
        for (seat, _) in self.gate.waiting() {
            if held(self.runs[&seat].epoch) {
                self.gate.crash(seat);
                self.gate.waiting();
            }
        }
        self.disk.land_late();
    }

    /// Now and then the newest root of some head, or its only one, is no longer readable.
    fn rot_some_root(&mut self) {
        if !self.may_rot || !self.seed.chance(5) {
            return;
        }
        let head = self.seed.index(Geometry::RING);
        let place = *self.seed.pick(&RootPlace::BOTH);
        self.rot(head, place);
    }

    fn rot(&mut self, head: usize, place: RootPlace) {
        let offset = Geometry::root_offset(head, place);
        if Root::decode(&self.disk.peek(offset, Geometry::ROOT_BYTES_MAX)).is_err() {
            return;
        }
        self.may_rot = false;
        self.disk.flip(offset + 40, 3);
        let mut world = self.world.lock();
        world.seen.rotted += 1;
        world.note("disk", format_args!("root {place:?} of head {head} rots"));
    }

    /// What a crash in the middle of a write may leave: a slot in shreds, or one root in shreds and the other rotten.
    fn hurt(&mut self, step: Step) {
        let Step::Write { offset, .. } = step else { return };
        let slot = offset.checked_sub(Geometry::SLOTS_AT).map(|at| (at / 4096) as usize);
        if let Some(place) = slot.filter(|place| *place < Geometry::RING)
            && self.may_tear
        {
            self.may_tear = false;
            self.disk.flip(offset + 100, 1);
            let mut world = self.world.lock();
            world.seen.torn += 1;
            world.note("disk", format_args!("slot {place} is in shreds"));
        }
        if let Some(head) = head_of(offset)
            && self.may_rot
            && self.seed.chance(500)
        {
            let second = Geometry::root_offset(head, RootPlace::B);
            let torn = if offset < second { RootPlace::A } else { RootPlace::B };
            self.disk.flip(Geometry::root_offset(head, torn) + 40, 3);
            self.rot(head, torn.other());
        }
    }

    /// What can be seen on the disk between two operations.
    fn check(&mut self) {
        let mut world = self.world.lock();
        let lost = world
            .all_told()
            .filter(|(_, _, block)| *block != ledger::NOWHERE)
            .find(|(number, _, block)| {
                let bytes = ledger::data(*number);
                self.disk.peek(ledger::at(*block), bytes.len()) != bytes[..]
            });
        if let Some((number, epoch, block)) = lost {
            world.broken(format!(
                "block {block} no longer holds {number}, which epoch {epoch} told"
            ));
        }
        let Some(epoch) = world.take_held() else { return };
        drop(world);
        // One root rots, and that alone holds nobody up. Half a root besides is more than anybody can bear.
        let named = fence::read_slots(&self.disk.port(), self.label.id).map(|slots| slots.named());
        let half = named.is_ok_and(|named| {
            let head = Some(Geometry::ring_index(named.epoch));
            self.runs.values().any(|run| run.head == head)
        });
        if !half {
            let what = format!("epoch {epoch} has nothing to begin with, though at most one root has rotted");
            self.world.lock().broken(what);
        }
    }

    /// With no more faults, one more epoch serves and finds everything: unless two were too many before.
    fn recover_at_last(&mut self) {
        if self.world.lock().is_broken() {
            return;
        }
        self.disk.land_late();
        let before = self.world.lock().seen;
        self.grants = 0;
        self.grant();
        while let [(seat, _)] = self.gate.waiting()[..] {
            self.world.lock().now += 1;
            self.gate.go(seat);
        }
        self.check();
        let mut world = self.world.lock();
        if (world.seen.served, world.seen.held) == (before.served, before.held) {
            world.broken("nothing is wrong any more, and yet the last epoch does not serve".to_owned());
        }
    }
}

/// The head in which a write lies.
fn head_of(offset: u64) -> Option<usize> {
    let head = offset.checked_sub(Geometry::HEADS_AT)? / Geometry::HEAD_BYTES;
    usize::try_from(head).ok().filter(|head| *head < Geometry::RING)
}
