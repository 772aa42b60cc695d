//! Random clients, silences, lost connections and takeovers: what clients rely on never contradicts, no lock is lost
//! in a takeover, and all come to work once that ends.
//!
//! Each client and each owner has a clock of its own, up to 1,000 ppm wrong. Owners are taken over while they run: the
//! old one goes on for a while, only its records and looks come to nothing. The clients do as the head of
//! [`crate::state`] asks of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use baton_types::Vnode;
use baton_types::call::{Coming, Push};
use baton_types::limits::{CLIENT_LIFETIME_MICROS, CLIENT_RENEW_MICROS, CLOCK_RATE_PPM};
use uuid::Uuid;

use super::*;

const CLIENTS: usize = 4;
const FILESETS: [FilesetId; 2] = [FilesetId(1), FilesetId(4)];
const SECOND: Time = 1_000_000;
/// Each is a seed, printed when something in it fails.
const WORLDS: u64 = 300;
/// How long everything goes wrong, and how long nothing does after it: longer than a grace may last.
const STORM: Time = 90 * SECOND;
const CALM: Time = 50 * SECOND;

struct Seed(u64);

impl Seed {
    /// A number below `end` (SplitMix64).
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A clock that runs a little wrong from somewhere.
#[derive(Clone, Copy)]
struct Drift {
    start: Time,
    ppm: u64,
}

impl Drift {
    fn draw(seed: &mut Seed) -> Drift {
        // The ends are where it matters.
        let ppm = [0, seed.below(2 * CLOCK_RATE_PPM), 2 * CLOCK_RATE_PPM][seed.below(3) as usize];
        let start = seed.below(1_000 * SECOND);
        Drift { start, ppm }
    }

    fn at(self, now: Time) -> Time {
        self.start + now + now * self.ppm / SECOND - now * CLOCK_RATE_PPM / SECOND
    }

    /// When it will show `time`, or a little after.
    fn when(self, time: Time, now: Time) -> Time {
        let ahead = time.saturating_sub(self.at(now));
        now + ahead + ahead * 2 * CLOCK_RATE_PPM / SECOND
    }
}

/// A call on its way.
#[derive(Clone, Copy, Debug)]
struct Sent {
    client: usize,
    connection: u32,
    epoch: usize,
    session: u64,
    life: u32,
    at: Time,
    call: Call,
}

enum Item {
    Tick(usize),
    Arrives(Sent),
    Answered(Sent, Result<Told>),
    Pushed(usize, usize, FilesetId, u64),
    Durable(usize),
    Looked(usize, RecordId),
    Wake(usize),
    Takeover,
    Dies(usize),
}

struct Server {
    state: State,
    clock: Drift,
    notes: VecDeque<(RecordId, Note, Option<u64>)>,
    waiting: BTreeMap<Ticket, Sent>,
    connections: BTreeMap<usize, u32>,
    sessions: BTreeMap<ClientId, u64>,
    is_dead: bool,
}

#[derive(Default)]
struct Log {
    sessions: BTreeMap<ClientId, u64>,
    holders: BTreeSet<(FilesetId, ClientId)>,
    lapsed: BTreeSet<ClientId>,
}

#[derive(Clone, Copy)]
struct Belief {
    hold: Hold,
    serial: u64,
    epoch: usize,
}

struct Client {
    clock: Drift,
    paused: Time,
    connection: u32,
    /// Under which epoch it is bound.
    epoch: Option<usize>,
    asked_to_bind: Time,
    session: u64,
    life: u32,
    /// Until when it relies on what each epoch's owner said.
    until: BTreeMap<usize, Time>,
    renewed: Time,
    holds: BTreeMap<FilesetId, Belief>,
    takes_part: BTreeSet<FilesetId>,
    /// Where it must come back, and whether it is.
    back: BTreeMap<FilesetId, bool>,
    /// Where a program of it has the lock, and under which epoch that was said.
    locks: BTreeMap<FilesetId, usize>,
    asking: BTreeSet<FilesetId>,
    revoked: BTreeMap<FilesetId, u64>,
    returns: Vec<(Time, FilesetId, u64)>,
}

/// How often what must be seen was seen.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    alone: usize,
    shared: usize,
    back: usize,
    revoked: usize,
    locked: usize,
    locked_again: usize,
    ended: usize,
    takeovers: usize,
}

struct World {
    number: u64,
    seed: Seed,
    now: Time,
    queue: BTreeMap<(Time, u64), Item>,
    count: u64,
    servers: Vec<Server>,
    clients: Vec<Client>,
    log: Log,
    seen: Seen,
}

/// One program of each client, and one file in each fileset, are enough to be in each other's way.
fn set_lock(fileset: FilesetId, kind: LockKind, patience: Patience) -> Call {
    let fid = Fid {
        fileset,
        vnode: Vnode::ROOT,
        unique: 0,
    };
    let lock = Lock {
        owner: 1,
        first: 0,
        last: u64::MAX,
        kind,
        pid: 1,
    };
    Call::Lock(fid, lock, patience)
}

fn id(client: usize) -> ClientId {
    ClientId(Uuid::from_u128(client as u128 + 1))
}

impl World {
    fn new(number: u64) -> World {
        let mut seed = Seed(number);
        let clients = (0..CLIENTS).map(|_| Client {
            clock: Drift::draw(&mut seed),
            paused: 0,
            connection: 0,
            epoch: None,
            asked_to_bind: 0,
            session: 0,
            life: 0,
            until: BTreeMap::new(),
            renewed: 0,
            holds: BTreeMap::new(),
            takes_part: BTreeSet::new(),
            back: BTreeMap::new(),
            locks: BTreeMap::new(),
            asking: BTreeSet::new(),
            revoked: BTreeMap::new(),
            returns: Vec::new(),
        });
        let clients = clients.collect();
        let mut world = World {
            number,
            seed,
            now: 0,
            queue: BTreeMap::new(),
            count: 0,
            servers: Vec::new(),
            clients,
            log: Log::default(),
            seen: Seen::default(),
        };
        world.takeover();
        (0..CLIENTS).for_each(|client| world.at(0, Item::Tick(client)));
        world
    }

    fn at(&mut self, delay: Time, item: Item) {
        self.count += 1; // equal times keep their order
        self.queue.insert((self.now + delay, self.count), item);
    }

    fn is_storm(&self) -> bool {
        self.now < STORM
    }

    /// Mostly a few milliseconds, in the storm sometimes seconds.
    fn delay(&mut self) -> Time {
        match self.seed.below(20) {
            0 if self.is_storm() => self.seed.below(5 * SECOND),
            0..5 => self.seed.below(SECOND / 4),
            _ => self.seed.below(SECOND / 100),
        }
    }

    fn run(mut self) -> Seen {
        while let Some(((now, _), item)) = self.queue.pop_first() {
            if now > STORM + CALM {
                break;
            }
            self.now = now;
            self.happens(item);
            self.check();
        }
        let owner = self.servers.last().unwrap();
        assert!(!owner.state.is_in_grace(), "grace has no end");
        for (client, entry) in self.clients.iter().enumerate() {
            for fileset in FILESETS {
                let belief = entry.belief(fileset, self.now).map(|belief| belief.hold);
                assert_eq!(
                    belief,
                    Some(Hold::Shared),
                    "client {client} in fileset {fileset}, in the end"
                );
            }
        }
        self.seen
    }

    /// Who relies on being alone is, whatever anybody's clock says.
    fn check(&self) {
        for fileset in FILESETS {
            let beliefs = self.clients.iter().enumerate().filter_map(|(client, entry)| {
                entry
                    .belief(fileset, self.now)
                    .map(|belief| (client, belief.hold, belief.epoch, belief.serial))
            });
            let beliefs: Vec<_> = beliefs.collect();
            let is_any_alone = beliefs.iter().any(|belief| belief.1 == Hold::Alone);
            assert!(
                beliefs.len() < 2 || !is_any_alone,
                "fileset {fileset} at {}: {beliefs:?}",
                self.now
            );
            let locked = self.clients.iter().filter(|entry| entry.is_locked(fileset, self.now));
            assert!(
                locked.count() < 2,
                "two have the lock in fileset {fileset} at {}",
                self.now
            );
        }
    }

    fn happens(&mut self, item: Item) {
        match item {
            Item::Tick(client) => {
                let next = SECOND / 20 + self.seed.below(SECOND / 3);
                self.at(next, Item::Tick(client));
                if self.clients[client].paused <= self.now {
                    self.tick(client);
                }
            }
            Item::Arrives(sent) => self.arrives(sent),
            Item::Answered(sent, told) => match self.clients[sent.client].paused {
                paused if paused > self.now => self.at(paused - self.now, Item::Answered(sent, told)),
                _ => self.answered(sent, told),
            },
            Item::Pushed(client, epoch, fileset, serial) => match self.clients[client].paused {
                paused if paused > self.now => self.at(paused - self.now, Item::Pushed(client, epoch, fileset, serial)),
                _ if self.clients[client].epoch == Some(epoch) => {
                    let due = self.now + self.delay();
                    let entry = &mut self.clients[client];
                    entry.returns.push((due, fileset, serial));
                    let revoked = entry.revoked.entry(fileset).or_default();
                    *revoked = serial.max(*revoked);
                }
                _ => {}
            },
            Item::Durable(epoch) if self.is_owner(epoch) => {
                if let Some((record, note, session)) = self.servers[epoch].notes.pop_front() {
                    self.log.write(note, session);
                    self.at(SECOND / 1_000, Item::Looked(epoch, record));
                }
            }
            Item::Looked(epoch, record) if self.is_owner(epoch) => self.step(epoch, Event::Recorded(record)),
            Item::Durable(_) | Item::Looked(..) => {}
            Item::Wake(epoch) => {
                if self.servers[epoch]
                    .state
                    .wake_at()
                    .is_some_and(|at| at <= self.servers[epoch].clock.at(self.now))
                {
                    self.step(epoch, Event::Wake);
                }
            }
            Item::Takeover if self.is_storm() => self.takeover(),
            Item::Takeover => {}
            Item::Dies(epoch) => self.servers[epoch].is_dead = true,
        }
    }

    fn is_owner(&self, epoch: usize) -> bool {
        epoch + 1 == self.servers.len()
    }

    fn takeover(&mut self) {
        let clock = Drift::draw(&mut self.seed);
        let recovered = Recovered {
            filesets: FILESETS.to_vec(),
            holders: self.log.holders.iter().copied().collect(),
            lapsed: self.log.lapsed.iter().copied().collect(),
            handed: None,
        };
        let (state, actions) = State::new(clock.at(self.now), &recovered);
        if let Some(old) = self.servers.len().checked_sub(1) {
            let delay = self.delay() * self.seed.below(4);
            self.at(delay, Item::Dies(old));
            self.seen.takeovers += 1;
        }
        self.servers.push(Server {
            state,
            clock,
            notes: VecDeque::new(),
            waiting: BTreeMap::new(),
            connections: BTreeMap::new(),
            sessions: self.log.sessions.clone(),
            is_dead: false,
        });
        self.perform(self.servers.len() - 1, actions);
        let next = self.seed.below(40 * SECOND);
        self.at(next, Item::Takeover);
    }

    fn step(&mut self, epoch: usize, event: Event) {
        let server = &mut self.servers[epoch];
        if server.is_dead {
            return;
        }
        let actions = server.state.step(server.clock.at(self.now), event);
        self.perform(epoch, actions);
    }

    fn perform(&mut self, epoch: usize, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Record(record, note) => {
                    let server = &mut self.servers[epoch];
                    let session = match note {
                        Note::End(client) => server.sessions.remove(&client),
                        _ => None,
                    };
                    self.seen.ended += usize::from(session.is_some());
                    server.notes.push_back((record, note, session));
                    let delay = self.delay();
                    self.at(delay, Item::Durable(epoch));
                }
                Action::Push(client, Push::Revoke { fileset, serial }) => {
                    let client = (0..CLIENTS).find(|number| id(*number) == client).unwrap();
                    self.seen.revoked += 1;
                    if !(self.is_storm() && self.seed.chance(20)) {
                        let delay = self.delay();
                        self.at(delay, Item::Pushed(client, epoch, fileset, serial));
                    }
                }
                Action::Push(..) => panic!("nothing else is pushed"),
                Action::Answer(ticket, told) => {
                    let Some(sent) = self.servers[epoch].waiting.remove(&ticket) else {
                        panic!("{ticket:?} is answered twice");
                    };
                    // Lifetimes are told after a look, which fails once there is a newer epoch.
                    if self.is_owner(epoch) || !matches!(sent.call, Call::Bind(_) | Call::Renew) {
                        let delay = self.delay();
                        self.at(delay, Item::Answered(sent, told));
                    }
                }
                Action::Resume(ticket) => {
                    let call = self.servers[epoch].waiting[&ticket];
                    self.step(epoch, Event::Call(id(call.client), ticket, call.call));
                }
                Action::Remove(_) | Action::Sweep(_) => {}
            }
        }
        if let Some(at) = self.servers[epoch].state.wake_at() {
            let when = self.servers[epoch].clock.when(at, self.now);
            self.at(when - self.now, Item::Wake(epoch));
        }
    }

    fn arrives(&mut self, mut sent: Sent) {
        let is_owner = self.is_owner(sent.epoch);
        let server = &mut self.servers[sent.epoch];
        let newest = server.connections.entry(sent.client).or_default();
        if sent.connection < *newest {
            return;
        }
        *newest = sent.connection;
        if sent.call == Call::Bind(Session::New) {
            if !is_owner {
                return; // no record of it will be durable
            }
            sent.session = self.count;
            server.sessions.insert(id(sent.client), sent.session);
            self.log.sessions.insert(id(sent.client), sent.session);
        } else if server.sessions.get(&id(sent.client)) != Some(&sent.session) {
            let lost = Err(Error::new(Kind::SessionLost, "session"));
            if is_owner && !server.is_dead {
                self.at(0, Item::Answered(sent, lost));
            }
            return;
        }
        let ticket = Ticket(self.count);
        self.count += 1;
        server.waiting.insert(ticket, sent);
        self.step(sent.epoch, Event::Call(id(sent.client), ticket, sent.call));
    }

    fn send(&mut self, client: usize, epoch: usize, call: Call) {
        let entry = &self.clients[client];
        let sent = Sent {
            client,
            connection: entry.connection,
            epoch,
            session: entry.session,
            life: entry.life,
            at: entry.clock.at(self.now),
            call,
        };
        let delay = self.delay();
        self.at(delay, Item::Arrives(sent));
    }

    fn tick(&mut self, client: usize) {
        let now = self.now;
        self.clients[client].expire(now);
        if self.is_storm() {
            match self.seed.below(100) {
                0 => self.clients[client].begin_anew(),
                1..4 => self.clients[client].reconnect(),
                4 => self.clients[client].paused = now + self.seed.below(20 * SECOND),
                _ => {}
            }
        }
        let owner = self.servers.len() - 1;
        let is_patient = self.is_storm() && self.seed.chance(70);
        let has_news = self.clients[client].epoch != Some(owner);
        let entry = &mut self.clients[client];
        let local = entry.clock.at(now);
        if has_news && (entry.asked_to_bind > 0 || entry.epoch.is_none() || !is_patient) {
            if entry.asked_to_bind == 0 || entry.asked_to_bind + 6 * SECOND < now {
                entry.reconnect();
                entry.asked_to_bind = now.max(1);
                let session = if entry.session == 0 {
                    Session::New
                } else {
                    Session::Kept
                };
                self.send(client, owner, Call::Bind(session));
            }
            return;
        }
        let epoch = entry.epoch.unwrap();
        if entry.renewed + CLIENT_RENEW_MICROS <= local {
            entry.renewed = local;
            self.send(client, epoch, Call::Renew);
        }
        let due = |entry: &(Time, FilesetId, u64)| entry.0 <= now;
        let entry = &mut self.clients[client];
        let (returns, later): (Vec<_>, Vec<_>) = entry.returns.drain(..).partition(due);
        entry.returns = later;
        for (_, fileset, serial) in returns {
            self.clients[client].give_back(fileset, serial);
            self.send(client, epoch, Call::Return(fileset, serial));
        }
        self.work(client, epoch);
    }

    /// Something in one of the filesets, one call about each at a time.
    fn work(&mut self, client: usize, epoch: usize) {
        let fileset = FILESETS[self.seed.below(FILESETS.len() as u64) as usize];
        let is_leaving = self.is_storm() && self.seed.chance(10);
        let is_locking = self.is_storm() && self.seed.chance(20);
        let patience = if self.seed.chance(50) {
            Patience::None
        } else {
            Patience::Wait
        };
        let is_waiting = self.is_storm() && self.seed.chance(50);
        let entry = &mut self.clients[client];
        if entry.asking.contains(&fileset) {
            return;
        }
        let said = entry.locks.get(&fileset);
        let call = match (entry.back.get(&fileset), entry.holds.get(&fileset)) {
            (Some(false), _) => Call::Join(fileset, Coming::Back),
            (Some(true), _) if said.is_some_and(|said| *said != epoch) => {
                set_lock(fileset, LockKind::Write, Patience::None)
            }
            (Some(true), _) => Call::Reclaimed(fileset),
            (None, Some(_)) if is_leaving => Call::Leave(fileset),
            (None, Some(_)) if is_locking && said.is_some() => set_lock(fileset, LockKind::Unlock, patience),
            (None, Some(_)) if is_locking => set_lock(fileset, LockKind::Write, patience),
            (None, Some(belief)) if belief.hold == Hold::Alone || is_waiting => return,
            (None, Some(_) | None) => Call::Join(fileset, Coming::Fresh),
        };
        match call {
            Call::Leave(_) => {
                entry.holds.remove(&fileset);
                entry.locks.remove(&fileset);
            }
            Call::Lock(_, lock, _) if lock.kind == LockKind::Unlock => drop(entry.locks.remove(&fileset)),
            _ => {}
        }
        entry.asking.insert(fileset);
        self.send(client, epoch, call);
    }

    fn answered(&mut self, sent: Sent, told: Result<Told>) {
        let now = self.now;
        let entry = &mut self.clients[sent.client];
        entry.expire(now);
        if sent.connection != entry.connection || entry.epoch.is_some_and(|epoch| sent.epoch < epoch) {
            return;
        }
        if told.as_ref().is_err_and(|error| error.kind == Kind::SessionLost) {
            return entry.begin_anew();
        }
        match (sent.call, told) {
            (Call::Bind(_), Ok(Told::Done)) => entry.bound(&sent),
            (Call::Renew, Ok(Told::Done)) => {
                let until = entry.until.entry(sent.epoch).or_default();
                *until = (sent.at + CLIENT_LIFETIME_MICROS).max(*until);
            }
            (Call::Join(fileset, coming), told) => {
                entry.asking.remove(&fileset);
                let is_valid = sent.life == entry.life
                    && entry
                        .until
                        .get(&sent.epoch)
                        .is_some_and(|until| *until > entry.clock.at(now));
                if let (true, Ok(Told::Joined { hold, serial })) = (is_valid, told) {
                    let hold = entry.joined(
                        fileset,
                        Belief {
                            hold,
                            serial,
                            epoch: sent.epoch,
                        },
                    );
                    self.seen.alone += usize::from(hold == Hold::Alone);
                    self.seen.shared += usize::from(hold == Hold::Shared);
                    self.seen.back += usize::from(coming == Coming::Back);
                }
            }
            (Call::Lock(fid, lock, _), told) => {
                entry.asking.remove(&fid.fileset);
                let is_again = entry.back.contains_key(&fid.fileset);
                match told {
                    Ok(Told::Done) if lock.kind == LockKind::Write => {
                        entry.locks.insert(fid.fileset, sent.epoch);
                        self.seen.locked += 1;
                        self.seen.locked_again += usize::from(is_again);
                    }
                    Ok(Told::InTheWay(_)) => assert!(!is_again, "a lock was lost in a takeover"),
                    Ok(_) | Err(_) => {}
                }
            }
            (Call::Leave(fileset), told) => {
                entry.asking.remove(&fileset);
                if told.is_ok() {
                    entry.takes_part.remove(&fileset);
                }
            }
            (Call::Reclaimed(fileset), told) => {
                entry.asking.remove(&fileset);
                if told.is_ok() {
                    entry.back.remove(&fileset);
                }
            }
            (Call::Bind(_) | Call::Renew | Call::Return(..), _) => {}
            (call, _) => panic!("{call:?} is never sent"),
        }
    }
}

impl Client {
    fn belief(&self, fileset: FilesetId, now: Time) -> Option<Belief> {
        let belief = self.holds.get(&fileset)?;
        (*self.until.get(&belief.epoch)? > self.clock.at(now)).then_some(*belief)
    }

    fn is_locked(&self, fileset: FilesetId, now: Time) -> bool {
        let until = self.locks.get(&fileset).and_then(|epoch| self.until.get(epoch));
        until.is_some_and(|until| *until > self.clock.at(now))
    }

    /// What it relied on ends with the lifetime it had there.
    fn expire(&mut self, now: Time) {
        let local = self.clock.at(now);
        let is_over = |until: &Time| *until <= local;
        self.holds
            .retain(|_, belief| !self.until.get(&belief.epoch).is_none_or(is_over));
        if let Some(epoch) = self.epoch
            && self.until.get(&epoch).is_some_and(is_over)
        {
            self.until.remove(&epoch);
            self.life += 1;
            self.reconnect();
        }
    }

    fn reconnect(&mut self) {
        self.connection += 1;
        self.asking.clear();
        self.asked_to_bind = 0;
    }

    /// Its process ends and another begins, or its session is lost.
    fn begin_anew(&mut self) {
        self.reconnect();
        self.epoch = None;
        self.session = 0;
        self.life += 1;
        self.until.clear();
        self.holds.clear();
        self.takes_part.clear();
        self.back.clear();
        self.locks.clear();
        self.returns.clear();
        self.revoked.clear();
    }

    fn bound(&mut self, sent: &Sent) {
        self.session = sent.session;
        self.asked_to_bind = 0;
        let until = self.until.entry(sent.epoch).or_default();
        *until = (sent.at + CLIENT_LIFETIME_MICROS).max(*until);
        if self.epoch != Some(sent.epoch) {
            self.epoch = Some(sent.epoch);
            self.returns.clear();
            self.revoked.clear();
            self.back = self.takes_part.iter().map(|fileset| (*fileset, false)).collect();
        }
    }

    /// A grant that a revocation has overtaken is shared.
    fn joined(&mut self, fileset: FilesetId, mut belief: Belief) -> Hold {
        if self.revoked.get(&fileset).is_some_and(|serial| *serial > belief.serial) {
            belief.hold = Hold::Shared;
        }
        let old = self.holds.get(&fileset);
        if !old.is_some_and(|old| old.epoch == belief.epoch && old.serial > belief.serial) {
            self.holds.insert(fileset, belief);
        }
        self.takes_part.insert(fileset);
        if let Some(is_back) = self.back.get_mut(&fileset) {
            *is_back = true;
        }
        belief.hold
    }

    fn give_back(&mut self, fileset: FilesetId, serial: u64) {
        if let Some(belief) = self.holds.get_mut(&fileset)
            && (self.epoch != Some(belief.epoch) || belief.serial < serial)
        {
            belief.hold = Hold::Shared;
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("world {} at {} us", self.number, self.now);
        }
    }
}

impl Log {
    fn write(&mut self, note: Note, session: Option<u64>) {
        match note {
            Note::Hold(fileset, client) => drop(self.holders.insert((fileset, client))),
            Note::Drop(fileset, client) => drop(self.holders.remove(&(fileset, client))),
            Note::Client(client) => drop(self.lapsed.remove(&client)),
            Note::Lapsed(client) => drop(self.lapsed.insert(client)),
            Note::End(client) => {
                if self.sessions.get(&client).copied() == session {
                    self.sessions.remove(&client);
                }
            }
        }
    }
}

#[test]
fn prop_who_relies_on_being_alone_is() {
    let mut all = Seen::default();
    for seed in 0..WORLDS {
        let seen = World::new(seed).run();
        all.alone += seen.alone;
        all.shared += seen.shared;
        all.back += seen.back;
        all.revoked += seen.revoked;
        all.locked += seen.locked;
        all.locked_again += seen.locked_again;
        all.ended += seen.ended;
        all.takeovers += seen.takeovers;
    }
    // Worlds in which nothing happens would show nothing: once a world of each, at least.
    let holds = [all.alone, all.shared, all.back, all.revoked];
    let counts = holds
        .into_iter()
        .chain([all.locked, all.locked_again, all.ended, all.takeovers]);
    assert!(counts.min().is_some_and(|least| least >= WORLDS as usize), "{all:?}");
}
