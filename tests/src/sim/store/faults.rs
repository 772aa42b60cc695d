//! What goes wrong, and who serves then.

use std::sync::Arc;

use baton_aggregate::device::double::{On, Trouble};
use baton_aggregate::fence::read_slots;
use baton_aggregate::format::{Geometry, Key, Lsn, Pointer, RootPlace};
use baton_aggregate::transaction::Operation;
use baton_types::{Epoch, Error, Kind, Result, Timestamp};
use parking_lot::Mutex;

use super::actions::Action;
use super::files;
use super::history::{FILESETS, Step, World};
use super::model::{Past, read};
use super::server::{Event, Server, Tapped, device, serve};
use crate::sim::Seed;

/// Operations of a device in a takeover, about.
const TAKEOVER_OPERATIONS: u64 = 30;
/// Operations of a device in a commit, about.
const COMMIT_OPERATIONS: u64 = 8;

/// What a server did that nobody watched.
#[derive(Default)]
struct Deeds {
    pasts: Vec<Past>,
    told: Lsn,
}

impl World {
    /// One fault.
    pub fn go_wrong(&mut self) -> Step {
        match self.seed.below(11) {
            0 => self.cut_power(),
            1 => self.stop(),
            2 => {
                let nth = 1 + self.seed.below(40);
                self.note("fault", &format!("the owner stops at its operation {nth}"));
                self.owner.device.port().stop_at(nth);
                Ok(())
            }
            3 => {
                self.arm();
                Ok(())
            }
            4 => self.detach(),
            5 => self.zombie_between(),
            6 => self.zombie_within(),
            7 => self.takeover_within(),
            8 => self.flip_root(),
            9 => self.flip_node(),
            _ => {
                let nth = 1 + self.seed.below(20);
                self.note("fault", &format!("power is cut before the owner's operation {nth}"));
                let disk = self.disk.clone();
                self.owner.device.tap(nth, Box::new(move || disk.cut_power()));
                Ok(())
            }
        }
    }

    fn cut_power(&mut self) -> Step {
        self.note("fault", "power is cut");
        self.disk.cut_power();
        self.take_over()
    }

    fn stop(&mut self) -> Step {
        self.note("fault", "the owner stops");
        self.owner.device.port().stop();
        self.take_over()
    }

    fn arm(&mut self) {
        let on = *self.seed.pick(&[On::Read, On::Write, On::Flush]);
        let trouble = *self.seed.pick(&[Trouble::Fail, Trouble::FailForGood]);
        let nth = 1 + self.seed.below(12);
        self.note("fault", &format!("{on:?} {nth} from now: {trouble:?}"));
        self.owner.device.port().arm(on, nth, trouble);
    }

    fn detach(&mut self) -> Step {
        let last = self.owner.aggregate.last();
        let detached = self.owner.aggregate.detach(Timestamp(4));
        self.note(
            "owner",
            &format!("detaches: {:?}", detached.as_ref().map_err(|error| error.kind)),
        );
        if detached.is_ok() {
            self.told = last;
        }
        self.take_over()
    }

    /// The old owner, if it lives, is stopped, and another one takes over; that one may stop in the middle as well.
    pub fn take_over(&mut self) -> Step {
        self.owner.device.untap();
        self.owner.device.port().stop();
        if self.seed.chance(250) {
            self.note("fault", "and power is cut");
            self.disk.cut_power();
        }
        while self.seed.chance(150) {
            let (epoch, device) = self.candidate()?;
            let nth = 1 + self.seed.below(TAKEOVER_OPERATIONS);
            device.port().stop_at(nth);
            let served = serve(device.clone(), epoch, || {}).map(|server| server.found);
            device.port().stop();
            self.note(
                "owner",
                &format!(
                    "epoch {} stops at {nth}: {:?}",
                    epoch.0,
                    served.map_err(|error| error.kind)
                ),
            );
            if self.seed.chance(300) {
                self.disk.cut_power();
            }
        }
        let (epoch, device) = self.candidate()?;
        let server = serve(device, epoch, || {}).map_err(|error| format!("epoch {}: {error}", epoch.0))?;
        self.adopt(server)
    }

    /// The next epoch, granted as the location database does: its place in the ring is clear.
    fn candidate(&mut self) -> Step<(Epoch, Arc<Tapped>)> {
        let slots =
            read_slots(&self.disk.port(), self.owner.aggregate.label().id).map_err(|error| error.to_string())?;
        let epoch = slots.next(self.granted).ok_or("no epoch can be granted")?;
        self.granted = epoch;
        if epoch.0 >= Geometry::RING as u64 {
            let upto = Epoch(epoch.0 + 1 - Geometry::RING as u64);
            if self.zombies.iter().any(|(zombie, _)| zombie.epoch <= upto) {
                self.zombies.retain(|(zombie, _)| {
                    if zombie.epoch <= upto {
                        zombie.device.port().stop();
                    }
                    zombie.epoch > upto
                });
            }
            self.disk.land_late();
        }
        Ok((epoch, device(&self.disk)))
    }

    /// A takeover while the old owner goes on, between its steps.
    fn zombie_between(&mut self) -> Step {
        self.note("fault", "the next owner comes while this one works");
        self.owner.device.untap();
        let (epoch, device) = self.candidate()?;
        let deeds = Arc::new(Mutex::new(Deeds::default()));
        let mut act = acts(&self.owner, self.has_files, self.seed.branch(), deeds.clone());
        let next = serve(device, epoch, &mut act).map_err(|error| error.to_string())?;
        act();
        self.succeed(next, &deeds)
    }

    /// The same, in the middle of one of its steps.
    fn zombie_within(&mut self) -> Step {
        let (epoch, device) = self.candidate()?;
        self.owner.device.untap();
        let nth = 1 + self.seed.below(TAKEOVER_OPERATIONS);
        self.note(
            "fault",
            &format!("the owner works within operation {nth} of the next one"),
        );
        let deeds = Arc::new(Mutex::new(Deeds::default()));
        let act = acts(&self.owner, self.has_files, self.seed.branch(), deeds.clone());
        device.tap(nth, Box::new(act));
        let next = serve(device.clone(), epoch, || {}).map_err(|error| error.to_string())?;
        device.untap();
        self.succeed(next, &deeds)
    }

    /// A whole takeover in the middle of what the old owner does.
    fn takeover_within(&mut self) -> Step {
        let (epoch, device) = self.candidate()?;
        let nth = 1 + self.seed.below(COMMIT_OPERATIONS);
        self.note(
            "fault",
            &format!("the next owner comes within operation {nth} of this one"),
        );
        let next: Arc<Mutex<Option<Result<Server>>>> = Arc::default();
        let taken = next.clone();
        let event: Event = Box::new(move || *taken.lock() = Some(serve(device, epoch, || {})));
        self.owner.device.tap(nth, event);
        let deeds = Arc::new(Mutex::new(Deeds::default()));
        let mut act = acts(&self.owner, self.has_files, self.seed.branch(), deeds.clone());
        act();
        if let Some(event) = self.owner.device.untap() {
            event();
        }
        let next = next.lock().take().ok_or("nobody took over")?;
        self.succeed(next.map_err(|error| error.to_string())?, &deeds)
    }

    /// The old owner is a zombie from here on.
    fn succeed(&mut self, next: Server, deeds: &Mutex<Deeds>) -> Step {
        let deeds = std::mem::take(&mut *deeds.lock());
        for past in deeds.pasts {
            self.note(
                "zombie",
                &format!(
                    "{} in {}: {:.20?} at {}",
                    past.action, past.fileset, past.answer, past.lsn
                ),
            );
            // What it does after it was outrun is in nobody's history.
            self.model.push(past)?;
        }
        self.told = self.told.max(deeds.told);
        let old = self.owner.clone();
        old.device.untap();
        self.zombies.push((old, next.found));
        self.adopt(next)
    }

    /// A zombie tries what it can; nothing of it may come true.
    pub fn stir_zombie(&mut self) -> Step {
        if self.zombies.is_empty() {
            return Ok(());
        }
        let index = self.seed.index(self.zombies.len());
        let (zombie, cut) = self.zombies[index].clone();
        let deeds = Mutex::new(Deeds::default());
        act(&zombie, self.has_files, &mut self.seed, &deeds);
        let told = deeds.lock().told;
        self.note("zombie", &format!("epoch {} works on", zombie.epoch.0));
        if told > cut {
            return Err(format!(
                "epoch {} was cut at {cut}, and tells that {told} is durable",
                zombie.epoch.0
            ));
        }
        Ok(())
    }

    /// The newest root rots while nobody serves: the older one and its log have lost nothing.
    fn flip_root(&mut self) -> Step {
        let made = self.owner.aggregate.generation();
        self.checkpoint();
        self.fsync();
        if self.is_broken || self.owner.aggregate.generation() == made {
            return Ok(());
        }
        self.rot_newest_root()
    }

    /// It must not be the only one of its owner.
    pub fn rot_newest_root(&mut self) -> Step {
        self.owner.device.untap();
        let roots = baton_aggregate::fence::read_roots(&self.disk.port(), self.owner.aggregate.label().id);
        let roots = roots.map_err(|error| error.to_string())?;
        let newest = roots.iter().max_by_key(|found| found.root.name()).ok_or("no root")?;
        let (index, place): (usize, RootPlace) = newest.place;
        let offset = Geometry::root_offset(index, place) + self.seed.below(200);
        self.note("fault", &format!("root {:?} rots", newest.root.name()));
        self.owner.device.port().stop();
        self.disk.flip(offset, self.seed.below(8) as u8);
        let (epoch, device) = self.candidate()?;
        let server = serve(device, epoch, || {}).map_err(|error| error.to_string())?;
        self.adopt(server)
    }

    /// A node rots: its fileset is damaged, the other one is served; when it is whole again, so is the fileset.
    fn flip_node(&mut self) -> Step {
        let made = self.owner.aggregate.generation();
        self.checkpoint();
        self.fsync();
        if self.is_broken || self.owner.aggregate.generation() == made {
            return Ok(());
        }
        self.owner.device.untap();
        let (id, other) = match self.seed.chance(500) {
            true => (FILESETS[0], FILESETS[1]),
            false => (FILESETS[1], FILESETS[0]),
        };
        let root = self.owner.aggregate.read_system(|view| view.get(Key::fileset_tree(id)));
        let Some(root) = root.map_err(|error| error.to_string())? else {
            return Ok(());
        };
        let root = Pointer::decode(&root).map_err(|error| error.to_string())?;
        let (offset, bit) = (root.block.offset() + self.seed.below(64), self.seed.below(8) as u8);
        self.note("fault", &format!("the tree of {id} rots at {}", root.block));
        self.owner.device.port().stop();
        self.disk.flip(offset, bit);
        let (epoch, device) = self.candidate()?;
        let server = serve(device, epoch, || {}).map_err(|error| error.to_string())?;
        let damaged = server.aggregate.fileset(id).and_then(|fileset| read(&fileset));
        if damaged.as_ref().err().map(|error: &Error| error.kind) != Some(Kind::Damaged) {
            return Err(format!(
                "fileset {id} is damaged, and reads {:?} items",
                damaged.map(|items| items.len())
            ));
        }
        let whole = server.aggregate.fileset(other).and_then(|fileset| read(&fileset));
        whole.map_err(|error| format!("fileset {other} is whole: {error}"))?;
        self.disk.flip(offset, bit);
        self.adopt(server)
    }
}

/// What a server does on its own, again and again.
fn acts(server: &Server, has_files: bool, mut seed: Seed, deeds: Arc<Mutex<Deeds>>) -> impl FnMut() + Send + use<> {
    let server = server.clone();
    move || {
        for _ in 0..1 + seed.below(3) {
            act(&server, has_files, &mut seed, &deeds);
        }
    }
}

fn act(server: &Server, has_files: bool, seed: &mut Seed, deeds: &Mutex<Deeds>) {
    let aggregate = &server.aggregate;
    let last = aggregate.last();
    let told = match seed.below(8) {
        0..3 => {
            let fileset = *seed.pick(&FILESETS);
            let served = aggregate.fileset(fileset);
            let olds = match &served {
                Ok(served) if has_files => files::olds_in(served).unwrap_or_default(),
                _ => Vec::new(),
            };
            let action = Action::draw_with(seed, has_files.then_some(&olds));
            let operation = Operation::default();
            let done = served.and_then(|served| action.perform(&served, &operation));
            // Nobody asks for what was refused, so that has no place.
            if let Ok(done) = done
                && let Ok(answer) = done.answer
            {
                deeds.lock().pasts.push(Past {
                    lsn: done.lsn,
                    fileset,
                    operation,
                    action,
                    answer: Ok(answer),
                });
            }
            None
        }
        3..6 => aggregate.wait(last).ok().map(|()| last),
        6 => aggregate.checkpoint().ok().map(|()| aggregate.durable()),
        _ => aggregate
            .beat(Timestamp(5))
            .and_then(|()| aggregate.look())
            .ok()
            .map(|()| aggregate.durable()),
    };
    let mut deeds = deeds.lock();
    deeds.told = deeds.told.max(told.unwrap_or_default());
}
