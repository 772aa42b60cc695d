//! The world of a history: clients, servers one after the other, and the connections between them.
//!
//! A connection keeps its order, and is all that does. What was sent before it was cut may still arrive, or not; a
//! frame may arrive twice. The location database tells the newest owner, a little late.

mod faults;
mod host;
mod network;

use std::collections::{BTreeMap, BTreeSet};

use baton_rpc::session::client::{Action, Asked, ConnectionId, Event, Sent};
use baton_types::call::{Answer, Role};
use baton_types::{Core, Epoch, Error, Kind, Time};
use bytes::Bytes;

use faults::{FAULTS_UNTIL, Fault};
use network::{Connection, Told};

use super::mount::{Mount, Purpose, Wish, change_of};
use super::store::{Disk, Done, Server, effects, is_refused, is_refused_for_good};
use crate::invariants::i04_within_lifetime::WithinLifetime;
use crate::invariants::i05_nothing_lost::NothingLost;
use crate::invariants::i06_once_in_order::{Change, OnceInOrder};
use crate::sim::{Agenda, Seed, Trace, Violation};

const CLIENTS: usize = 2;
/// Long enough for two lifetimes after the last fault, and for all that waited for that.
const UNTIL: Time = 90_000_000;
/// So long nothing may be asked any more before a history ends: the longest fault may last until then.
const SETTLED_MICROS: Time = 12_000_000;

/// How a server behaves: all but the first are wrong, and show that the oracles bite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// As it must.
    Sound,
    /// It says that something is durable before it is.
    SyncsTooSoon,
    /// It runs what it ran before.
    ForgetsReplies,
    /// It serves everybody as soon as it is owner.
    NoGrace,
    /// It runs the ordered stream as it comes.
    NoOrder,
    /// It does not say what came before a change.
    NoPlace,
    /// It runs nothing of what the end of a change makes due.
    ForgetsWhoWaits,
}

/// Something on the agenda.
#[derive(Clone, Debug)]
enum Item {
    ToServer(usize, Sent),
    ToClient(usize, ConnectionId, Told),
    Dialled(usize, ConnectionId, Role),
    Broken(usize, ConnectionId),
    Closed(usize, ConnectionId),
    Wake(usize),
    Program(usize),
    /// A look, after which a call is answered; the number of changes that are durable with it.
    Look(usize, usize, Option<(usize, Sent)>),
    /// A change of a session, by its name, that has its place at this server, is over.
    Ended(usize, (u64, Epoch), (u16, u32), Done),
    Owner(usize),
    Fault(Fault),
    Claim,
}

/// One history.
pub struct World {
    seed: Seed,
    agenda: Agenda<Item>,
    trace: Trace,
    habit: Habit,
    disk: Disk,
    servers: Vec<Server>,
    asleep: BTreeMap<usize, Time>,
    away: BTreeMap<usize, Time>,
    mounts: Vec<Mount>,
    connections: BTreeMap<(usize, ConnectionId), Connection>,
    lifetime: WithinLifetime,
    lost: NothingLost,
    once: OnceInOrder,
    /// What a server broke, until it is told.
    broken: Option<String>,
}

impl World {
    /// The history of `number`.
    pub fn new(number: u64, habit: Habit) -> World {
        let mut seed = Seed::new(number);
        let mounts = (0..CLIENTS).map(|_| Mount::new(&mut seed)).collect();
        let mut disk = Disk::default();
        let first = Server::claim(&mut disk, 0);
        let mut world = World {
            seed,
            agenda: Agenda::default(),
            trace: Trace::new(number),
            habit,
            disk,
            servers: vec![first],
            asleep: BTreeMap::new(),
            away: BTreeMap::new(),
            mounts,
            connections: BTreeMap::new(),
            lifetime: WithinLifetime::default(),
            lost: NothingLost::default(),
            once: OnceInOrder::default(),
            broken: None,
        };
        for client in 0..CLIENTS {
            world.agenda.after(0, Item::Program(client));
        }
        world.plan_faults();
        world
    }

    /// Lets it happen.
    ///
    /// # Errors
    /// What was broken.
    pub fn run(mut self) -> Result<Trace, Violation> {
        let mut done_since = 0;
        while let Some(item) = self.agenda.next(UNTIL) {
            let happened = self.happen(item).and_then(|()| self.broken.take().map_or(Ok(()), Err));
            happened.map_err(|what| self.trace.violation(what))?;
            let now = self.agenda.now();
            if now <= FAULTS_UNTIL || !self.mounts.iter().all(Mount::is_done) {
                done_since = now;
            }
            // What was taken of a program that has gone is on its way still.
            if now > done_since + SETTLED_MICROS {
                break;
            }
        }
        self.end().map_err(|what| self.trace.violation(what))?;
        Ok(self.trace)
    }

    fn end(&mut self) -> Result<(), String> {
        if let Some(client) = self.mounts.iter().position(|mount| !mount.is_done()) {
            let open = &self.mounts[client].open;
            return Err(format!("long after the last fault client {client} waits for {open:?}"));
        }
        let owner = self.servers.last().expect("there is one from the beginning");
        let history = effects(&owner.log);
        self.once.history(&history)?;
        self.lost.ended(&history.into_iter().collect())
    }

    fn happen(&mut self, item: Item) -> Result<(), String> {
        let now = self.agenda.now();
        if let Some(until) = self.sleeper(&item).filter(|until| *until > now) {
            self.agenda.after(until - now, item);
            return Ok(());
        }
        match item {
            Item::ToServer(client, sent) => self.arrive(client, sent),
            Item::ToClient(client, connection, told) => {
                let is_there = |c: &Connection| c.at_client;
                if !self.connections.get(&(client, connection)).is_some_and(is_there) {
                    return Ok(());
                }
                self.step(
                    client,
                    match told {
                        Told::Push(push) => Event::Pushed { connection, push },
                        Told::Answer(stream, sequence, outcome) => Event::Received {
                            connection,
                            stream,
                            sequence,
                            outcome,
                        },
                    },
                )
            }
            Item::Dialled(client, connection, role) => self.dialled(client, connection, role),
            Item::Broken(client, connection) => {
                self.leave(client, connection);
                self.step(client, Event::Failed(connection))
            }
            Item::Closed(client, connection) => self.closed(client, connection),
            // One that was overtaken by an earlier one.
            Item::Wake(client) if now < self.mounts[client].wake_at => Ok(()),
            Item::Wake(client) => {
                self.mounts[client].wake_at = Time::MAX;
                self.step(client, Event::Tick)
            }
            Item::Program(client) => self.program(client),
            Item::Look(server, durable, call) => self.look(server, durable, call),
            Item::Ended(server, session, name, done) => {
                self.ended(server, session, name, done);
                Ok(())
            }
            Item::Owner(client) => {
                let epoch = self.servers.last().map_or(Epoch::NONE, |server| server.epoch);
                self.step(client, Event::Owner(epoch))
            }
            Item::Fault(fault) => self.befall(fault),
            Item::Claim => self.claim(),
        }
    }

    /// Until when the one whom it reaches stands still.
    fn sleeper(&self, item: &Item) -> Option<Time> {
        match item {
            Item::ToServer(client, sent) => {
                let connection = self.connections.get(&(*client, sent.connection))?;
                self.asleep.get(&connection.server).copied()
            }
            Item::Look(server, ..) | Item::Ended(server, ..) => self.asleep.get(server).copied(),
            Item::ToClient(client, ..)
            | Item::Broken(client, _)
            | Item::Wake(client)
            | Item::Dialled(client, ..)
            | Item::Program(client)
            | Item::Owner(client) => Some(self.mounts[*client].asleep_until),
            Item::Closed(..) | Item::Fault(_) | Item::Claim => None,
        }
    }

    fn program(&mut self, client: usize) -> Result<(), String> {
        let pause = self.seed.between(200, 60_000);
        self.agenda.after(pause, Item::Program(client));
        let (shown, synced) = (self.lifetime.asked(), self.lost.syncing(client));
        match self.mounts[client].wish(client, &mut self.seed, shown, synced) {
            Wish::Wait => Ok(()),
            Wish::Cancel(call) => self.step(client, Event::Cancelled(call)),
            Wish::Sync(call) => self.step(client, Event::Sync { call }),
            Wish::Ask(call, request, order) => {
                if let Some(change) = change_of(client, &request) {
                    let is_queued = order == baton_rpc::session::client::Order::Queued;
                    self.once.asked(change, is_queued, self.mounts[client].seen.clone());
                }
                self.step(
                    client,
                    Event::Asked(Asked {
                        call,
                        caller: 0,
                        request,
                        payload: Bytes::new(),
                        order,
                    }),
                )
            }
        }
    }

    fn step(&mut self, client: usize, event: Event) -> Result<(), String> {
        let now = self.agenda.now();
        self.trace
            .note(now, format_args!("c{client}"), format_args!("{event:?}"));
        let mount = &mut self.mounts[client];
        let actions = mount.core.step(mount.clock.local(now), event);
        for action in actions {
            self.trace
                .note(now, format_args!("c{client}"), format_args!("  {action:?}"));
            self.perform(client, action)?;
        }
        let mount = &mut self.mounts[client];
        let wake_at = mount.core.wake_at();
        if wake_at != Time::MAX {
            let left = wake_at.saturating_sub(mount.clock.local(now));
            let at = now + mount.clock.virtual_delay(left.max(100));
            if at < mount.wake_at {
                mount.wake_at = at;
                self.agenda.after(at - now, Item::Wake(client));
            }
        }
        Ok(())
    }

    fn perform(&mut self, client: usize, action: Action) -> Result<(), String> {
        match action {
            Action::Dial { connection, role } => {
                let delay = self.delay();
                self.agenda.after(delay, Item::Dialled(client, connection, role));
            }
            Action::Send(sent) => self.send(client, sent),
            Action::Close(connection) => {
                self.leave(client, connection);
                let delay = self.seed.below(200_000);
                self.agenda.after(delay, Item::Closed(client, connection));
            }
            Action::Done { call, result } => return self.told(client, call, result),
            Action::Locate(_) => {
                let delay = self.delay();
                self.agenda.after(delay, Item::Owner(client));
            }
            Action::Reclaim(fileset) => {
                let (opens, locks) = (Vec::new(), Vec::new());
                return self.step(client, Event::Holds { fileset, opens, locks });
            }
            Action::Taken(call) => {
                if let Some(Purpose::Change(change)) = self.mounts[client].open.get(&call)
                    && !is_refused(*change)
                    && !is_refused_for_good(*change)
                {
                    self.lost.taken(*change);
                }
            }
            Action::Lost(_) => {
                self.lost.lost(client);
                self.lifetime.lost(client);
                self.mounts[client].is_joined = false;
            }
            Action::Lapsed(_) => self.mounts[client].is_joined = false,
            Action::Dropped { request, error } if error.kind != Kind::SessionLost => {
                return Err(format!(
                    "client {client} had {request:?} refused when it was said again: {error}"
                ));
            }
            Action::Dropped { .. }
            | Action::Forget { .. }
            | Action::Rejoined { .. }
            | Action::Revoked { .. }
            | Action::Alive(_)
            | Action::Stopped => {}
        }
        Ok(())
    }

    /// A call of the program is over.
    fn told(&mut self, client: usize, call: u64, result: Result<(Answer, Bytes), Error>) -> Result<(), String> {
        let Some(purpose) = self.mounts[client].open.remove(&call) else {
            return Err(format!("client {client} was told twice of call {call}"));
        };
        match (purpose, result) {
            (Purpose::Join, Ok(_)) => self.mounts[client].is_joined = true,
            (Purpose::Change(change), Ok(_)) => {
                self.once.answered(change)?;
                self.lost.acknowledged(change);
                self.lifetime.acknowledged(change);
            }
            // A refusal that left nothing cannot be found again by the next owner; it stays a refusal.
            (Purpose::Change(change), Err(error)) if error.kind == Kind::Invalid && !is_refused(change) => {
                return Err(format!("client {client} was told that it made no sense: {error}"));
            }
            (Purpose::Read(asked), Ok((Answer::Object(object), _))) => {
                let server = &self.servers[object.attributes.data_version as usize];
                let shown: BTreeSet<Change> = effects(&server.log[..object.attributes.size as usize])
                    .into_iter()
                    .collect();
                self.lifetime.answered(&asked, &shown)?;
                let own = shown.into_iter().filter(|change| change.client == client);
                self.mounts[client].seen.extend(own);
            }
            (Purpose::Sync(asked), Ok(_)) => {
                let durable: BTreeSet<Change> = effects(&self.disk.log).into_iter().collect();
                self.lost.synced(&asked, &durable)?;
                let mount = &mut self.mounts[client];
                mount.is_synced = mount.left == 0 && mount.open.is_empty();
            }
            // Refused, given up, or lost with the session.
            (_, Err(_)) => {}
            (purpose, Ok((answer, _))) => return Err(format!("{purpose:?} was answered by {answer:?}")),
        }
        Ok(())
    }
}
