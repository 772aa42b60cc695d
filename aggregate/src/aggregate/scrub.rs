//! Scrub: everything that is kept is read from the device while it is served, and damage is named by its path.
//!
//! A pass begins with a checkpoint, so that what was there then is in trees. It reads the labels and roots, the
//! aggregate's own trees, and of each fileset the snapshots from the oldest on and then itself: what one of them has from
//! the one before was read there. The log is left out: what it holds is in memory too, and the next checkpoint puts
//! another one in its place.
//!
//! Blocks are freed and used again meanwhile, by programs and by checkpoints. What does not verify counts only if the
//! tree that leads to it was the owner's before and after it was read ([`walk`]).

mod keeper;
mod name;
mod walk;

use std::collections::BTreeMap;
use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use baton_types::control::{Damage, Scrubbed};
use baton_types::{Error, FilesetId, Kind, Result, Vnode};

use super::Aggregate;
use crate::create::{harmed_copies, mend_copies};
use crate::engine::Engine;
use crate::fence::read_roots;
use crate::fileset::catalog;
use crate::format::{Geometry, Key, Lsn, Pointer, RootPlace};
use crate::salvage::Fault;
use crate::tree::Node;
pub(crate) use keeper::Scrubs;
pub(super) use keeper::keep;
use name::{Entries, Moment, vnodes_of};
use walk::{Part, Place, Unit, Walk, Which, data_of};

/// Damage that is kept in a list at most, as of a check.
const KEPT_MAX: usize = 1_000;

/// Told after each piece that was read, what there is so far: it may take its time, and says whether to go on.
pub type ScrubPace<'a> = dyn FnMut(&Scrubbed) -> ControlFlow<()> + 'a;

/// Why a pass goes no further.
enum Halt {
    Stopped,
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Halt {
        Halt::Failed(error)
    }
}

/// What is found by its name only when all names were read: which of the list, and of which vnodes.
struct Unnamed {
    index: usize,
    vnodes: RangeInclusive<u64>,
}

/// A pass that goes on.
struct Pass<'a> {
    engine: &'a Arc<Engine>,
    pace: &'a mut ScrubPace<'a>,
    scrubbed: Scrubbed,
    unnamed: BTreeMap<(FilesetId, Lsn), (Moment, Vec<Unnamed>)>,
    /// So many of the list are in the server's log.
    logged: usize,
}

impl Aggregate {
    /// Reads everything once, and tells what is damaged; `pace` says how fast, and whether to go on. What is written
    /// or freed meanwhile may be read or not.
    ///
    /// # Errors
    /// `WrongEpoch`, `Io` or `Detached`, if the aggregate is not served any more. Damage is no error.
    pub fn scrub<'a>(&'a self, pace: &'a mut ScrubPace<'a>) -> Result<Scrubbed> {
        let mut pass = Pass {
            engine: &self.engine,
            pace,
            scrubbed: Scrubbed::default(),
            unnamed: BTreeMap::new(),
            logged: 0,
        };
        let ended = pass.everything();
        pass.log();
        match ended {
            Ok(()) => pass.scrubbed.is_finished = true,
            Err(Halt::Stopped) => {}
            Err(Halt::Failed(error)) => return Err(error),
        }
        Ok(pass.scrubbed)
    }
}

impl Pass<'_> {
    fn everything(&mut self) -> Result<(), Halt> {
        match self.engine.checkpoint() {
            // What cannot be merged is found below.
            Err(error) if error.kind != Kind::Damaged => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        self.fixed_places()?;
        self.table("system tree", &Which::System)?;
        self.table("space tree", &Which::Space)?;
        for id in self.filesets()? {
            self.fileset(id)?;
        }
        Ok(())
    }

    /// Labels, of which a harmed copy is mended, this epoch's roots, and what only these lead to.
    fn fixed_places(&mut self) -> Result<(), Halt> {
        let engine = self.engine;
        let harmed = harmed_copies(&*engine.device, &engine.label)?;
        if !harmed.is_empty() {
            engine.fence.look()?;
            let places: Vec<u64> = harmed.iter().map(|(_, offset, _)| *offset).collect();
            mend_copies(&*engine.device, &engine.label, &places)?;
        }
        for (copy, _, error) in harmed {
            self.own(Fault::Label, format!("{copy}: {}; it is written anew", error.reason));
        }
        let (generation, roots) = {
            // Nobody writes a root meanwhile.
            let _checkpoints = engine.checkpoints.lock();
            let generation = engine.generation.load(Ordering::Acquire);
            (generation, read_roots(&*engine.device, engine.label.id)?)
        };
        engine.fence.look()?;
        self.scrubbed.bytes += Geometry::RING as u64 * Geometry::HEAD_BYTES;
        let index = Geometry::ring_index(engine.epoch);
        for place in RootPlace::BOTH {
            let is_it =
                |found: &&crate::fence::Found| found.place == (index, place) && found.root.epoch == engine.epoch;
            match roots.iter().find(is_it) {
                None => self.own(
                    Fault::Root,
                    format!("root {place:?} of head {index}: it does not verify"),
                ),
                Some(found) if found.root.generation == generation => {
                    for list in found.root.pending {
                        self.table("list of frees", &Which::Passing(generation, list))?;
                    }
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// All filesets, those that are hidden last; as far as the list can be read.
    fn filesets(&mut self) -> Result<Vec<FilesetId>, Halt> {
        let listed = self.engine.retrying(|pinned| {
            let system = self.engine.system.lock();
            let view = system.view(&self.engine.nodes, pinned);
            let mut all = catalog::list(&view, 0, usize::MAX)?.entries;
            all.extend(catalog::list_hidden(&view, 0, usize::MAX)?.entries);
            Ok(all.into_iter().map(|entry| entry.fileset).collect())
        });
        match listed {
            Err(error) if error.kind == Kind::Damaged => {
                self.own(Fault::Node, format!("list of filesets: {error}; they are not read"));
                Ok(Vec::new())
            }
            listed => Ok(listed?),
        }
    }

    fn fileset(&mut self, id: FilesetId) -> Result<(), Halt> {
        let cell = match self.engine.fileset(id) {
            Ok(cell) => cell,
            Err(error) if error.kind == Kind::NotFound => return Ok(()),
            Err(error) if error.kind == Kind::Damaged => {
                self.own(Fault::Node, format!("fileset {id}: {error}; it is not read"));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let line = cell.state.lock().snapshots.line.clone();
        let mut read = None;
        for (at, _) in line.iter() {
            let snapshot = Which::Snapshot(cell.clone(), at);
            if self.files((id, &snapshot), Part::Own(read))? {
                read = Some(at);
            }
        }
        self.files((id, &Which::Live(cell)), Part::Own(read)).map(drop)
    }

    /// One of the aggregate's own trees.
    fn table(&mut self, name: &str, which: &Which) -> Result<(), Halt> {
        let (mut walk, mut from) = (Walk::default(), Some(Key::FIRST));
        while let Some(key) = from {
            let (place, until) = walk.next(self.engine, which, (Part::All, key))?;
            self.scrubbed.bytes += std::mem::take(&mut walk.bytes);
            if let Place::Harmed(_, error) = place {
                self.own(Fault::Node, format!("{name}: {error}"));
            }
            self.pace()?;
            from = until;
        }
        Ok(())
    }

    /// The tree of a fileset or snapshot, and the data of its files; true if it was there to its end.
    fn files(&mut self, (id, which): (FilesetId, &Which), part: Part) -> Result<bool, Halt> {
        let (mut walk, mut from) = (Walk::default(), Some(Key::FIRST));
        let mut is_there = true;
        while let Some(key) = from {
            let (place, until) = walk.next(self.engine, which, (part, key))?;
            self.scrubbed.bytes += std::mem::take(&mut walk.bytes);
            match place {
                Place::Gone => is_there = false,
                Place::Nothing => {}
                Place::Leaf(leaf, floor) => self.leaf((id, which), &leaf, (key, floor))?,
                Place::Harmed(pointer, error) => self.node(id, &pointer, (key, until), &error)?,
            }
            if self.unnamed.is_empty() {
                self.log();
            }
            self.pace()?;
            from = until;
        }
        self.name_rest()?;
        Ok(is_there)
    }

    /// What a leaf leads to from a key on.
    fn leaf(
        &mut self,
        (id, which): (FilesetId, &Which),
        leaf: &Node,
        (from, floor): (Key, Option<Lsn>),
    ) -> Result<(), Halt> {
        let (runs, wrong) = data_of(leaf, from, floor);
        for (key, error) in wrong {
            self.own(
                Fault::Item,
                format!("fileset {id}, vnode {}, block {}: {error}", key.object, key.sub),
            );
        }
        for run in runs {
            let pointers: Vec<Pointer> = run.iter().map(|unit| unit.pointer).collect();
            for (index, _) in self.engine.nodes.harmed(&pointers) {
                if let Some(error) = self.engine.confirm(which, &run[index])? {
                    self.unit(id, &run[index], &error)?;
                }
            }
            self.scrubbed.bytes += pointers.iter().map(|pointer| pointer.len() as u64).sum::<u64>();
            self.pace()?;
        }
        Ok(())
    }

    /// A unit of data is damaged.
    fn unit(&mut self, id: FilesetId, unit: &Unit, error: &Error) -> Result<(), Halt> {
        let (vnode, range) = (unit.vnode.number(), unit.range());
        for moment in self.engine.with_unit(id, unit)? {
            let path = moment.path(vnode, &Entries::new());
            let vnodes = path.is_none().then_some(vnode..=vnode);
            let damage = Damage {
                vnode,
                path,
                range: Some(range.clone()),
                ..of(&moment, Fault::Data, error.to_string())
            };
            // What lies behind another one is the same damage.
            let place = |damage: &Damage| (damage.fileset.clone(), damage.snapshot.clone(), damage.vnode);
            let untold = self.scrubbed.damages[self.logged..].iter_mut();
            let before = untold.filter(|before| place(before) == place(&damage));
            let mut before = before.filter_map(|before| before.range.as_mut());
            match before.find(|before| before.end == range.start) {
                Some(before) => before.end = range.end,
                None => self.found(damage, moment, vnodes),
            }
        }
        Ok(())
    }

    /// A node is damaged, which has the keys from one to another or leads to them.
    fn node(
        &mut self,
        id: FilesetId,
        node: &Pointer,
        (from, until): (Key, Option<Key>),
        error: &Error,
    ) -> Result<(), Halt> {
        let vnodes = vnodes_of(from, until);
        for moment in self.engine.with_node(id, node, from)? {
            let damage = Damage {
                vnode: *vnodes.start(),
                ..of(&moment, Fault::Node, error.to_string())
            };
            self.found(damage, moment, Some(vnodes.clone()));
        }
        Ok(())
    }

    fn found(&mut self, damage: Damage, moment: Moment, unnamed: Option<RangeInclusive<u64>>) {
        if self.scrubbed.damages.len() >= KEPT_MAX {
            self.scrubbed.more += 1;
            return;
        }
        if let Some(vnodes) = unnamed {
            let at = moment.snapshot.as_ref().map_or(Lsn(u64::MAX), |(at, _)| *at);
            let of_moment = self.unnamed.entry((moment.fileset.id(), at));
            let (_, waiting) = of_moment.or_insert_with(|| (moment, Vec::new()));
            let index = self.scrubbed.damages.len();
            waiting.push(Unnamed { index, vnodes });
        }
        self.scrubbed.damages.push(damage);
    }

    /// Something is damaged that is of no file.
    fn own(&mut self, fault: Fault, reason: String) {
        if self.scrubbed.damages.len() >= KEPT_MAX {
            self.scrubbed.more += 1;
            return;
        }
        self.scrubbed.damages.push(Damage {
            what: fault.name().to_owned(),
            fileset: None,
            snapshot: None,
            vnode: 0,
            path: None,
            range: None,
            reason,
        });
    }

    /// Names what no path was found to, by a look at all names there are.
    fn name_rest(&mut self) -> Result<(), Halt> {
        let engine = self.engine;
        for (moment, waiting) in std::mem::take(&mut self.unnamed).into_values() {
            let is_wanted = |vnode: u64| waiting.iter().any(|unnamed| unnamed.vnodes.contains(&vnode));
            let mut ended = Ok(());
            let entries = engine.entries(&moment.which(), is_wanted, |bytes| {
                self.scrubbed.bytes += bytes;
                ended = self.pace();
                ended.is_ok()
            });
            let entries = match entries {
                Err(error) if error.kind == Kind::Damaged => Entries::new(),
                entries => entries?,
            };
            for unnamed in waiting {
                self.name((&moment, &entries), &unnamed);
            }
            ended?;
        }
        self.log();
        Ok(())
    }

    fn name(&mut self, (moment, entries): (&Moment, &Entries), unnamed: &Unnamed) {
        let root = Vnode::ROOT.number();
        let root = unnamed.vnodes.contains(&root).then_some(root);
        let below = entries.range(unnamed.vnodes.clone()).map(|(vnode, _)| *vnode);
        let mut is_first = true;
        for vnode in root.into_iter().chain(below) {
            let Some(path) = moment.path(vnode, entries) else {
                continue;
            };
            let one = &mut self.scrubbed.damages[unnamed.index];
            let named = Damage {
                path: Some(path),
                vnode,
                ..one.clone()
            };
            match std::mem::take(&mut is_first) {
                true => *one = named,
                false if self.scrubbed.damages.len() < KEPT_MAX => self.scrubbed.damages.push(named),
                false => self.scrubbed.more += 1,
            }
        }
    }

    /// Tells the server's log what it has not been told.
    fn log(&mut self) {
        for damage in &self.scrubbed.damages[self.logged..] {
            tracing::error!(aggregate = %self.engine.label.name, "damage: {damage}");
        }
        self.logged = self.scrubbed.damages.len();
    }

    fn pace(&mut self) -> Result<(), Halt> {
        match (self.pace)(&self.scrubbed) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Halt::Stopped),
        }
    }
}

/// Of no file yet.
fn of(moment: &Moment, fault: Fault, reason: String) -> Damage {
    let fileset = &moment.fileset;
    Damage {
        what: fault.name().to_owned(),
        fileset: Some((fileset.id(), fileset.header().name)),
        snapshot: moment.snapshot.as_ref().map(|(_, name)| name.clone()),
        vnode: 0,
        path: None,
        range: None,
        reason,
    }
}
