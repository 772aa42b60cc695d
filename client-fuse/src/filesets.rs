//! Filesets that the mount works in: who may go there, and what the kernel may keep of it.
//!
//! Every call enters its fileset first and gets a [`Pass`]; every answer to the kernel that could be kept goes through
//! [`Pass::answer`], which says whether it may be. It is given under a lock that is taken for writing when that
//! changes. So when [`Action::Doubt`] is done, every answer that the kernel may keep has been given, and every later
//! one is not kept.
//!
//! Lock order: the core's lock, then the share's. Neither is held over a call; the share's is held for reading while
//! the kernel takes an answer, which waits for nobody.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use baton_types::call::Lock;
use baton_types::file::{Object, Usage};
use baton_types::{Core, Error, Fid, FilesetId, Kind, Result, Time, Vnode};
use parking_lot::{Condvar, Mutex, RwLock};

use crate::holds::{Action, Event, Holds, State};
use crate::locks::Locks;
use crate::queued::Queued;
use crate::resolve::Instance;
use crate::room::Room;
use crate::waiting::Ask;

/// What waits to enter.
pub type Entering = Box<dyn FnOnce(Result<Pass>) + Send>;

/// Carries out what a fileset's core asks for, besides what it does to the share.
pub trait Carry: Send + Sync {
    /// Does it. May not wait.
    fn carry(&self, fileset: &Arc<Fileset>, action: Action);
    /// The kernel is about to be told of something that it may keep: its guard has to know before.
    fn believing(&self, fileset: &Arc<Fileset>) -> Lives;
}

/// Whether a lifetime runs that something may be believed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lives {
    /// It does, and the guard knows until when.
    Yes,
    /// It does not.
    No,
}

/// All of one mount.
#[derive(Default)]
pub struct Filesets {
    known: RwLock<HashMap<FilesetId, Arc<Fileset>>>,
}

/// One of them.
pub struct Fileset {
    /// Which.
    pub id: FilesetId,
    share: RwLock<Share>,
    control: Mutex<Control>,
    /// Counts the times that the client was alone.
    stays: AtomicU64,
    /// When a call last came.
    used: AtomicU64,
    /// Highest place in history of a change of ours.
    lsn: AtomicU64,
    changes: Mutex<u32>,
    changes_over: Condvar,
    /// Changes of ours that were begun.
    begun: AtomicU64,
    /// Reasons besides belief to think that the kernel holds something: runs of making it forget that are under way.
    holding: AtomicU64,
    /// Until when its server gives nothing of it away behind our back.
    until: AtomicU64,
    /// As last told, for when the server is silent.
    pub usage: Mutex<Usage>,
    /// Changes that programs were told of before the server answered.
    pub queued: Queued,
    /// Whether these will find room.
    pub room: Room,
    /// The locks of programs, as the server knows them.
    pub locks: Mutex<Locks>,
    /// Its root, as the server told when it let us in.
    pub root: Mutex<Option<Object>>,
}

/// What entering calls find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    /// They wait.
    Wait,
    /// They go, and the kernel keeps nothing.
    Pass,
    /// They go, and the kernel may keep what it is told, in this stay.
    Alone(u64),
}

struct Control {
    core: Holds,
    entering: Vec<Entering>,
    /// What waits until a run of settling is over.
    settled: Vec<Box<dyn FnOnce() + Send>>,
    views: HashSet<Instance>,
}

/// What the kernel may do with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belief {
    /// Keep it until it is told to forget it; it is of this stay alone.
    Keep(u64),
    /// Use it once.
    Once,
}

impl Belief {
    /// The stay that it is good for.
    pub fn stay(self) -> Option<u64> {
        match self {
            Belief::Keep(stay) => Some(stay),
            Belief::Once => None,
        }
    }

    /// For what is told of `fid`: the directory of a fileset's snapshots changes behind everybody's back.
    #[must_use]
    pub fn of(self, fid: Fid) -> Belief {
        match fid.vnode {
            Vnode::SNAPSHOTS => Belief::Once,
            _ => self,
        }
    }
}

/// The right to work in a fileset.
#[derive(Clone)]
pub struct Pass {
    /// Which.
    pub fileset: Arc<Fileset>,
    share: Share,
}

/// A change of ours under way in a fileset where we are alone: the hold is not given back before it is answered.
pub struct Changing(Option<Arc<Fileset>>);

impl Filesets {
    /// One of them, from now on if not before.
    pub fn get(&self, id: FilesetId) -> Arc<Fileset> {
        if let Some(fileset) = self.known.read().get(&id) {
            return fileset.clone();
        }
        let mut known = self.known.write();
        known.entry(id).or_insert_with(|| Arc::new(Fileset::new(id))).clone()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Fileset>> {
        self.known.read().values().cloned().collect()
    }
}

impl Fileset {
    fn new(id: FilesetId) -> Fileset {
        Fileset {
            id,
            share: RwLock::new(Share::Wait),
            control: Mutex::new(Control {
                core: Holds::default(),
                entering: Vec::new(),
                settled: Vec::new(),
                views: HashSet::new(),
            }),
            stays: AtomicU64::new(0),
            used: AtomicU64::new(0),
            lsn: AtomicU64::new(0),
            changes: Mutex::new(0),
            changes_over: Condvar::new(),
            begun: AtomicU64::new(0),
            holding: AtomicU64::new(0),
            until: AtomicU64::new(0),
            usage: Mutex::default(),
            queued: Queued::default(),
            room: Room::default(),
            locks: Mutex::default(),
            root: Mutex::default(),
        }
    }

    /// Lets a call in, at once or when there is a share to work under.
    pub fn enter(self: &Arc<Self>, now: Time, carry: &dyn Carry, entering: Entering) {
        self.used.store(now, Ordering::Relaxed);
        if let Some(pass) = self.pass() {
            return entering(Ok(pass));
        }
        {
            let mut control = self.control.lock();
            // Between the look above and this lock it may have been admitted.
            match self.pass() {
                Some(pass) => {
                    drop(control);
                    return entering(Ok(pass));
                }
                None => control.entering.push(entering),
            }
        }
        self.step(now, carry, Event::Wanted);
    }

    /// The right to work in it, if it is had at once.
    pub fn pass(self: &Arc<Self>) -> Option<Pass> {
        let share = *self.share.read();
        (share != Share::Wait).then(|| Pass {
            fileset: self.clone(),
            share,
        })
    }

    /// Something happened to it.
    pub fn step(self: &Arc<Self>, now: Time, carry: &dyn Carry, event: Event) {
        let mut outside = Vec::new();
        let mut released: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
        {
            let mut control = self.control.lock();
            let actions = control.core.step(now, event);
            // Before the doubt begins: in between nobody may think that the kernel holds nothing.
            let runs = actions
                .iter()
                .filter(|action| matches!(action, Action::Forget(_) | Action::Settle(_)));
            self.holding.fetch_add(runs.count() as u64, Ordering::SeqCst);
            for action in actions {
                match action {
                    Action::Believe => {
                        // Held from before the guard is told until after something may be kept.
                        self.holding.fetch_add(1, Ordering::SeqCst);
                        let share = match carry.believing(self) {
                            Lives::Yes => Share::Alone(self.stays.fetch_add(1, Ordering::SeqCst) + 1),
                            Lives::No => Share::Pass,
                        };
                        *self.share.write() = share;
                        self.holding.fetch_sub(1, Ordering::SeqCst);
                    }
                    Action::Doubt => *self.share.write() = Share::Pass,
                    Action::Admit => {
                        self.admit();
                        released.extend(control.entering.drain(..).map(|entering| self.admitted(entering)));
                    }
                    Action::Refuse => {
                        released.extend(control.entering.drain(..).map(|entering| self.refused(entering)));
                    }
                    Action::Join(_)
                    | Action::Forget(_)
                    | Action::Clear(_)
                    | Action::Settle(_)
                    | Action::Return(_)
                    | Action::Leave => {
                        outside.push(action);
                    }
                }
            }
            if matches!(control.core.state(), State::Out | State::Joining | State::Leaving) {
                *self.share.write() = Share::Wait;
            }
            if let Event::Settled(_) = event {
                released.append(&mut control.settled);
            }
        }
        outside.into_iter().for_each(|action| carry.carry(self, action));
        released.into_iter().for_each(|release| release());
    }

    fn admit(&self) {
        let mut share = self.share.write();
        if *share == Share::Wait {
            *share = Share::Pass;
        }
    }

    fn admitted(self: &Arc<Self>, entering: Entering) -> Box<dyn FnOnce() + Send> {
        let fileset = self.clone();
        Box::new(move || {
            let share = match *fileset.share.read() {
                // It was let in, whatever came after.
                Share::Wait => Share::Pass,
                share => share,
            };
            entering(Ok(Pass { fileset, share }));
        })
    }

    fn refused(&self, entering: Entering) -> Box<dyn FnOnce() + Send> {
        let id = self.id;
        Box::new(move || {
            let error = Error::new(Kind::Io, format!("fileset {id}")).because("its server does not let this client in");
            entering(Err(error));
        })
    }

    /// It is seen in `instance`, too. `then` runs when nothing is kept any more that this makes wrong.
    pub fn view(self: &Arc<Self>, now: Time, carry: &dyn Carry, instance: Instance, then: Box<dyn FnOnce() + Send>) {
        let views = {
            let mut control = self.control.lock();
            if !control.views.insert(instance) || control.views.len() != 2 || control.core.state() != State::Alone {
                let views = control.views.len();
                drop(control);
                self.step(now, carry, Event::Views(views));
                return then();
            }
            control.settled.push(then);
            control.views.len()
        };
        self.step(now, carry, Event::Views(views));
    }

    /// It is seen in `instance` no more.
    pub fn unview(self: &Arc<Self>, now: Time, carry: &dyn Carry, instance: Instance) {
        let views = {
            let mut control = self.control.lock();
            control.views.remove(&instance);
            control.views.len()
        };
        self.step(now, carry, Event::Views(views));
    }

    /// What the client has of it.
    pub fn state(&self) -> State {
        self.control.lock().core.state()
    }

    /// Whether the kernel may hold something of it.
    pub fn is_believed(&self) -> bool {
        matches!(*self.share.read(), Share::Alone(_))
    }

    /// Whether the kernel may hold something of it, or may not have forgotten all of it yet.
    pub fn is_held(&self) -> bool {
        self.is_believed() || self.holding.load(Ordering::SeqCst) > 0
    }

    /// Until when what the kernel holds of it is true, when its server now says `told`. What it said before it keeps,
    /// also when the session is lost meanwhile.
    pub fn true_until(&self, told: Time) -> Time {
        self.until.fetch_max(told, Ordering::SeqCst).max(told)
    }

    /// A run of making the kernel forget is as far as it shows nothing more without asking.
    pub fn forgotten(&self) {
        self.holding.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether the client is alone, and yet nothing is believed, for no other reason than that no lifetime ran.
    pub fn is_alone_in_vain(&self) -> bool {
        let control = self.control.lock();
        control.core.state() == State::Alone && control.views.len() <= 1 && !self.is_believed()
    }

    /// Whether the client takes part in it or wants to.
    pub fn is_wanted(&self) -> bool {
        self.state() != State::Out
    }

    /// When a call last came.
    pub fn used(&self) -> Time {
        self.used.load(Ordering::Relaxed)
    }

    /// A change of ours has this place in history.
    pub fn changed(&self, lsn: u64) {
        self.lsn.fetch_max(lsn, Ordering::SeqCst);
    }

    /// How many changes of ours were begun.
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    /// The place in history of the last change of ours.
    pub fn lsn(&self) -> u64 {
        self.lsn.load(Ordering::SeqCst)
    }

    /// Waits until the changes that were begun alone are answered.
    pub fn wait_for_changes(&self) {
        let mut changes = self.changes.lock();
        while *changes > 0 {
            self.changes_over.wait(&mut changes);
        }
    }

    /// The locks that the server knows of.
    pub fn locked(&self) -> Vec<(Fid, Lock)> {
        self.locks.lock().all()
    }
}

impl Pass {
    /// A change begins under this pass.
    pub fn change(&self) -> Changing {
        self.fileset.begun.fetch_add(1, Ordering::SeqCst);
        if !matches!(self.share, Share::Alone(_)) {
            return Changing(None);
        }
        *self.fileset.changes.lock() += 1;
        Changing(Some(self.fileset.clone()))
    }

    /// Whether it is known that nobody else is there, at this moment.
    pub fn is_alone(&self) -> bool {
        matches!(self.share, Share::Alone(_)) && *self.fileset.share.read() == self.share
    }

    /// Runs `with` in one piece with what the kernel may do with what it is told: nothing of that changes meanwhile.
    pub fn believe<R>(&self, with: impl FnOnce(Belief) -> R) -> R {
        let share = self.fileset.share.read();
        match (*share, self.share) {
            (Share::Alone(now), Share::Alone(then)) if now == then => with(Belief::Keep(now)),
            _ => with(Belief::Once),
        }
    }

    /// Answers the kernel, if it still waits. `make` may not enter a fileset.
    pub fn answer<T: Send + 'static>(&self, ask: &Ask<T>, make: impl FnOnce(Belief) -> Result<T>) {
        self.believe(|belief| ask.answer_with(|| make(belief)));
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        if let Some(fileset) = &self.0 {
            let mut changes = fileset.changes.lock();
            *changes -= 1;
            if *changes == 0 {
                fileset.changes_over.notify_all();
            }
        }
    }
}
