//! The driver of one aggregate: it hands [`State`] what happened and carries out what it says, and brings each call to
//! the store when it may go there.
//!
//! | thread | does |
//! |---|---|
//! | whoever brings a call | what needs no disk |
//! | the pool's | what may wait |
//! | `clerk` | records, in the order in which the state asked for them |
//! | `ticks` | looks for renewals, at most one in ten milliseconds; time; durable marks |
//! | the store's, that commits | tells those who wait for a place in history |
//!
//! Lock order: the store's locks, the core, the table of sessions, a session's lanes. What the core says is done
//! without it, by one thread at a time, so that it is done in order.

mod bind;
mod calls;
mod clerk;
mod control;
mod failing;
mod freeze;
mod orphans;
mod past;
mod peace;
mod recall;
mod ticks;
mod whole;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;

use baton_aggregate::aggregate::Aggregate;
use baton_types::call::{Keep, Push};
use baton_types::{ClientId, Clock, Core as _, Error, Fid, Kind, Result, Time};
use parking_lot::{Condvar, Mutex, RwLock};

use crate::durable::{Durable, Then};
use crate::exports::Export;
use crate::handed::Handed;
use crate::pool::Pool;
use crate::pushes::Pushes;
use crate::service::{Bound, Call, Reply};
use crate::session::Session;
use crate::sharing::Sharing;
use crate::state::{Action, Event, Note, Recovered, State, Ticket, Told};
use freeze::{Door, Held};

pub use self::past::{Past, Which};
pub use self::peace::Peace;
pub use self::recall::Recalled;

/// What all drivers of a server have in common.
pub struct House {
    /// For what may wait.
    pub pool: Pool,
    /// The way to clients.
    pub pushes: Arc<Pushes>,
    /// This machine's.
    pub clock: Arc<dyn Clock>,
}

/// The driver of one aggregate.
pub struct Driver {
    export: Arc<Export>,
    house: Arc<House>,
    core: Mutex<Core>,
    /// Those that were taken up under this epoch, by their numbers.
    sessions: Sessions,
    /// There is a record to be written.
    clerk: Condvar,
    looks: Mutex<Looks>,
    /// There is something to look for.
    ticks: Condvar,
    durable: Durable,
    sharing: Sharing,
    /// Every change of the store goes through it.
    door: Door,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

type Sessions = RwLock<HashMap<u64, Arc<Session>>>;

struct Core {
    state: State,
    tickets: u64,
    parked: BTreeMap<Ticket, Parked>,
    queue: VecDeque<Job>,
    is_draining: bool,
    /// The session of each client.
    clients: BTreeMap<ClientId, u64>,
    /// Sessions that the log knows of clients that hold something, and that were not taken up yet.
    before: BTreeMap<ClientId, u64>,
    /// Clients whose end is being written, and the sessions that end with them.
    ending: BTreeMap<ClientId, Option<u64>>,
    is_stopped: bool,
    /// While nothing may change: the calls that came since.
    frozen: Option<Vec<Held>>,
    peace: Peace,
}

/// A call that waits for the state's word.
struct Parked {
    session: Arc<Session>,
    call: Call,
    reply: Reply,
    /// Of a Bind: how far each stream has come.
    streams: Vec<(u16, u32)>,
}

enum Job {
    Act(Action),
    /// A client that holds nothing any more, and its session is over.
    Forget(ClientId, u64),
}

#[derive(Default)]
struct Looks {
    /// What waits for a look that begins from now on.
    pending: Vec<Then>,
    /// Some client may wait for a durable mark.
    wants_marks: bool,
    /// Nobody looks any more.
    is_over: bool,
}

impl Driver {
    /// Reads who held what from the log, and begins. Not for a thread that may not wait.
    ///
    /// # Errors
    /// Damage; a thread that the system refuses.
    pub fn start(export: Arc<Export>, house: Arc<House>) -> Result<Arc<Driver>> {
        let (recovered, before) = recovered(&export)?;
        let (state, actions) = State::new(export.claimed_at, &recovered);
        let mut core = Core {
            state,
            tickets: 0,
            parked: BTreeMap::new(),
            queue: VecDeque::new(),
            is_draining: false,
            clients: BTreeMap::new(),
            before,
            ending: BTreeMap::new(),
            is_stopped: false,
            frozen: None,
            peace: Peace::default(),
        };
        core.note_peace(house.clock.now());
        let sessions = Sessions::default();
        core.take(&sessions, actions);
        let driver = Arc::new(Driver {
            export,
            house,
            core: Mutex::new(core),
            sessions,
            clerk: Condvar::new(),
            looks: Mutex::default(),
            ticks: Condvar::new(),
            durable: Durable::default(),
            sharing: Sharing::default(),
            door: Door::default(),
            threads: Mutex::default(),
        });
        let weak = Arc::downgrade(&driver);
        driver.aggregate().on_durable(move |durable| {
            if let Some(driver) = weak.upgrade() {
                driver.durable.reached(durable);
                driver.sharing.forget(durable.0);
            }
        });
        driver.spawn("clerk", Driver::write_records)?;
        driver.spawn("ticks", Driver::tick)?;
        driver.drain();
        Ok(driver)
    }

    /// Ends: whoever waits here is answered that the aggregate is given up, and asks the location database.
    pub fn stop(&self) {
        let gone = || self.detached();
        let mut core = self.core.lock();
        core.is_stopped = true;
        core.queue.clear();
        let parked = std::mem::take(&mut core.parked);
        let held = core.frozen.take().unwrap_or_default();
        self.sessions.write().clear();
        let clients: Vec<ClientId> = std::mem::take(&mut core.clients).into_keys().collect();
        drop(core);
        parked
            .into_values()
            .for_each(|parked| (parked.reply)(Err(gone().into())));
        held.into_iter().for_each(|held| held.refuse(gone()));
        self.door.open();
        self.clerk.notify_all();
        self.ticks.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            if thread.thread().id() != std::thread::current().id() {
                drop(thread.join());
            }
        }
        let mut looks = self.looks.lock();
        looks.is_over = true;
        let pending = std::mem::take(&mut looks.pending);
        drop(looks);
        pending.into_iter().for_each(|then| then(Err(gone())));
        self.durable.fail(&gone());
        let aggregate = self.export.id;
        clients
            .into_iter()
            .for_each(|client| self.push(client, Push::Moved { aggregate }));
        self.house.pushes.forget(self.line());
    }

    /// What it drives.
    pub fn export(&self) -> &Arc<Export> {
        &self.export
    }

    /// Tells a client something, if it can be told.
    fn push(&self, client: ClientId, push: Push) {
        self.house.pushes.send(client, self.line(), push);
    }

    /// What its clients' connections are bound to.
    fn line(&self) -> Bound {
        Bound {
            aggregate: self.export.id,
            epoch: self.export.epoch,
        }
    }

    /// A session that was taken up here.
    pub fn session(&self, id: u64) -> Option<Arc<Session>> {
        self.sessions.read().get(&id).cloned()
    }

    /// What is asked of it when it is stopped.
    fn detached(&self) -> Error {
        Error::new(Kind::Detached, format!("aggregate {}", self.export.name))
    }

    fn aggregate(&self) -> &Aggregate {
        self.export.aggregate()
    }

    fn spawn(self: &Arc<Self>, what: &str, work: impl FnOnce(&Arc<Driver>) + Send + 'static) -> Result<()> {
        let driver = self.clone();
        let thread = std::thread::Builder::new().name(format!("{what} {}", self.export.name));
        let thread = thread.spawn(move || work(&driver));
        let thread = thread.map_err(|error| Error::io("thread of an aggregate", error))?;
        self.threads.lock().push(thread);
        Ok(())
    }

    /// Something happened.
    fn step(self: &Arc<Self>, event: Event) {
        let mut core = self.core.lock();
        core.step(self.house.clock.now(), &self.sessions, event);
        drop(core);
        self.drain();
    }

    /// Hands the state a call that it answers; until then the call is parked.
    fn ask(self: &Arc<Self>, parked: Parked, call: crate::state::Call) {
        let mut core = self.core.lock();
        if core.is_stopped {
            drop(core);
            return (parked.reply)(Err(self.detached().into()));
        }
        if let Some(held) = &mut core.frozen {
            return held.push(Held::Ask(parked, call));
        }
        // Under the core's lock: nothing that came on a connection of before is done after what takes its place.
        let (session, round) = (&parked.session, parked.call.round);
        let is_used = match call {
            crate::state::Call::Bind(_) => session.begin(round),
            _ => session.uses(round),
        };
        if !is_used {
            drop(core);
            return (parked.reply)(Err(given_up(&parked.session).into()));
        }
        let (client, ticket) = (parked.call.client, core.draw());
        core.parked.insert(ticket, parked);
        core.step(
            self.house.clock.now(),
            &self.sessions,
            Event::Call(client, ticket, call),
        );
        drop(core);
        self.drain();
    }

    /// Whether `client` keeps a file that is about to lose its last name, or somebody else does. Asked inside the
    /// store's transaction.
    fn keeps(&self, client: ClientId, fid: Fid, keep: Keep) -> Result<Keep> {
        self.core.lock().state.keeps(client, fid, keep)
    }

    /// Does `work` on a thread that may wait.
    fn later(self: &Arc<Self>, work: impl FnOnce(&Arc<Driver>) + Send + 'static) {
        let driver = self.clone();
        self.house.pool.run(Box::new(move || work(&driver)));
    }

    /// Does `then` after everything up to `lsn` is durable.
    fn when_durable(&self, lsn: u64, then: Then) {
        self.durable
            .when(self.aggregate(), baton_aggregate::format::Lsn(lsn), then);
    }

    /// Does `then` after a look that begins from now on; at once, if there will be none: what is kept here keeps the driver,
    /// and with it the disk.
    fn when_looked(&self, then: Then) {
        let mut looks = self.looks.lock();
        if looks.is_over {
            drop(looks);
            return then(Err(self.detached()));
        }
        looks.pending.push(then);
        self.ticks.notify_all();
    }

    /// Carries out what the state has said, in order, up to the next record, which is the clerk's.
    fn drain(self: &Arc<Self>) {
        loop {
            let mut core = self.core.lock();
            if core.is_draining {
                return;
            }
            let (action, parked) = match core.queue.pop_front() {
                None => return,
                Some(job @ (Job::Forget(..) | Job::Act(Action::Record(..)))) => {
                    core.queue.push_front(job);
                    self.clerk.notify_one();
                    return;
                }
                Some(Job::Act(action)) => {
                    let parked = match &action {
                        Action::Answer(ticket, _) | Action::Resume(ticket) => core.parked.remove(ticket),
                        Action::Record(..) | Action::Push(..) | Action::Remove(_) | Action::Sweep(_) => None,
                    };
                    (action, parked)
                }
            };
            core.is_draining = true;
            drop(core);
            self.carry_out(action, parked);
            self.core.lock().is_draining = false;
        }
    }

    fn carry_out(self: &Arc<Self>, action: Action, parked: Option<Parked>) {
        match (action, parked) {
            (Action::Push(client, push), _) => self.push(client, push),
            (Action::Answer(_, told), Some(parked)) => self.answered(parked, told),
            (Action::Resume(_), Some(parked)) => self.later(move |driver| {
                driver.dispatch(&parked.session, parked.call, parked.reply);
            }),
            (Action::Remove(fid), _) => self.later(move |driver| driver.remove(fid)),
            (Action::Sweep(fileset), _) => self.later(move |driver| driver.sweep(fileset)),
            // Its driver was stopped, and it was answered then.
            (Action::Answer(..) | Action::Resume(_), None) => {}
            (Action::Record(..), _) => unreachable!("records are the clerk's"),
        }
    }

    /// The state's word to a call.
    fn answered(self: &Arc<Self>, parked: Parked, told: Result<Told>) {
        match told {
            Ok(told) => self.told(parked, told),
            Err(error) => {
                if let baton_types::call::Request::Bind { .. } = parked.call.request {
                    self.leave(&parked.session);
                }
                (parked.reply)(Err(error.into()));
            }
        }
    }
}

impl Core {
    fn draw(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    fn step(&mut self, now: Time, sessions: &Sessions, event: Event) {
        self.note_reclaim(now, &event);
        let actions = self.state.step(now, event);
        self.note_peace(now);
        self.take(sessions, actions);
    }

    /// Puts down what is to be done. A session that ends does so at once: no call of it passes any more.
    fn take(&mut self, sessions: &Sessions, actions: Vec<Action>) {
        if self.is_stopped {
            return;
        }
        for action in actions {
            if let Action::Record(_, Note::End(client)) = action {
                let before = self.before.remove(&client);
                let session = self.clients.remove(&client).or(before);
                self.ending.insert(client, session);
                if let Some(session) = session {
                    sessions.write().remove(&session);
                }
            }
            self.queue.push_back(Job::Act(action));
        }
    }
}

fn given_up(session: &Session) -> Error {
    Error::new(Kind::WrongEpoch, format!("session {}", session.id)).because("its client gave up this connection")
}

/// Who held what when the last owner's log ended, and their sessions.
fn recovered(export: &Export) -> Result<(Recovered, BTreeMap<ClientId, u64>)> {
    let aggregate = export.aggregate();
    let handed = aggregate.inherited()?;
    let mut recovered = Recovered {
        filesets: export.filesets()?,
        handed: handed.map(|bytes| Handed::decode(&bytes)).transpose()?,
        ..Recovered::default()
    };
    for &fileset in &recovered.filesets {
        let holders = aggregate.holders(fileset)?;
        recovered
            .holders
            .extend(holders.into_iter().map(|client| (fileset, client)));
    }
    let mut clients: Vec<ClientId> = recovered.holders.iter().map(|(_, client)| *client).collect();
    clients.sort_unstable();
    clients.dedup();
    let mut sessions = BTreeMap::new();
    for client in clients {
        let state = aggregate.client(client)?;
        if state.is_none_or(|state| state.lapsed.is_some()) {
            recovered.lapsed.push(client);
        }
        sessions.extend(state.map(|state| (client, state.session)));
    }
    Ok((recovered, sessions))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use baton_types::{BootClock, Epoch};

    use super::*;
    use crate::testing::{export, new_disk};

    #[test]
    fn look_that_is_asked_for_after_the_end_is_answered_and_keeps_nothing() {
        let export = export(&new_disk(3), Epoch(1));
        let house = House {
            pool: Pool::start(1).unwrap(),
            pushes: Arc::default(),
            clock: Arc::new(BootClock),
        };
        let driver = Driver::start(export.clone(), Arc::new(house)).unwrap();
        driver.stop();
        let (send, receive) = channel();
        let kept = driver.clone();
        driver.when_looked(Box::new(move |looked| {
            drop(kept);
            send.send(looked.is_err()).unwrap();
        }));
        assert_eq!(receive.try_recv(), Ok(true));
        drop(driver);
        assert_eq!(Arc::strong_count(&export), 1);
    }
}
