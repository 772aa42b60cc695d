//! The server's side of a history: what it does with what arrives, and what it promises after a look.

use baton_rpc::session::client::{ConnectionId, Refusal, Sent};
use baton_rpc::session::server::{Arrived, Ended};
use baton_types::call::{Answer, Coming, Hold, Push, Request, Role};
use baton_types::file::{Attributes, FileKind, Object};
use baton_types::{AggregateId, Epoch, Error, Fid, Kind, Timestamp, Vnode};
use bytes::Bytes;
use uuid::Uuid;

use super::network::{Connection, Told};
use super::{Habit, Item, World};
use crate::invariants::i06_once_in_order::Change;
use crate::sim::session::mount::{FILESET, change_of};
use crate::sim::session::store::{Call, Done, Entry};

impl World {
    pub(super) fn arrive(&mut self, client: usize, sent: Sent) -> Result<(), String> {
        let now = self.agenda.now();
        let Some(connection) = self.connections.get(&(client, sent.connection)) else {
            return Ok(());
        };
        let (number, bound) = (connection.server, connection.bound);
        if !connection.at_server || !self.servers[number].is_up {
            return Ok(());
        }
        self.trace
            .note(now, format_args!("s{number}"), format_args!("from c{client} {sent:?}"));
        self.lapse(number);
        if let Request::Bind { .. } = sent.request {
            self.servers[number].guests.entry(client).or_default().heard = now;
            self.look_later(number, Some((client, sent)));
            return Ok(());
        }
        if bound.is_none_or(|(session, _)| session != sent.session) {
            self.refuse(client, &sent, Kind::WrongEpoch);
            return Ok(());
        }
        let session = (sent.session, self.servers[number].epoch);
        if self.habit != Habit::NoOrder {
            let due = self.servers[number].changes.seen(session, sent.seen);
            self.run_change(number, session, due);
        }
        let server = &mut self.servers[number];
        let is_returning = server.awaited.contains(&client);
        let is_open = server.is_open() || self.habit == Habit::NoGrace;
        match (&sent.request, change_of(client, &sent.request)) {
            (Request::Renew, _) => {
                server.guests.entry(client).or_default().heard = now;
                self.look_later(number, Some((client, sent)));
            }
            (_, Some(_)) if !is_open && !is_returning => self.refuse(client, &sent, Kind::Grace),
            (_, Some(change)) => self.change(number, client, &sent, change),
            (Request::Getattr { .. }, _) if !is_open => self.refuse(client, &sent, Kind::Grace),
            // What others did is shown when it is durable, its own at once; neither needs a look (I4).
            (Request::Getattr { .. }, _) if server.is_durable_but_of(sent.session) => {
                let answer = shown(number, server.log.len());
                self.answer(client, &sent, Ok((answer, Bytes::new())));
            }
            (
                Request::Join {
                    coming: Coming::Fresh, ..
                },
                _,
            ) if !is_open && !is_returning => {
                self.refuse(client, &sent, Kind::Grace);
            }
            (Request::Sync { .. }, _) if self.habit == Habit::SyncsTooSoon => {
                let durable = server.log.len() as u64;
                self.answer(client, &sent, Ok((Answer::Synced { durable }, Bytes::new())));
            }
            _ => self.look_later(number, Some((client, sent))),
        }
        Ok(())
    }

    /// Clients that stay away too long are over, in the log.
    pub(super) fn lapse(&mut self, number: usize) {
        let now = self.agenda.now();
        let server = &mut self.servers[number];
        if server.epoch != self.disk.owner {
            return;
        }
        for client in server.lapse(now) {
            self.trace
                .note(now, format_args!("s{number}"), format_args!("c{client} is over"));
            self.disk.holds.remove(&client);
            self.disk.sessions.retain(|_, other| *other != client);
            // It does not know yet; the others go on without what it had not made durable.
            self.lifetime.lost(client);
        }
    }

    pub(super) fn change(&mut self, number: usize, client: usize, sent: &Sent, change: Change) {
        let name = (sent.stream, sent.sequence);
        let waiter = (client, sent.connection, sent.stream, sent.sequence);
        let call: Call = (sent.session, name, change);
        let server = &mut self.servers[number];
        let session = (sent.session, server.epoch);
        if self.habit == Habit::NoOrder {
            self.execute(number, vec![waiter], call);
            return;
        }
        match server.changes.arrived(session, name, waiter, call) {
            Arrived::Run(call) => self.run_change(number, session, Some(call)),
            Arrived::Waits => {}
            Arrived::Refused(_, error) => self.answer(client, sent, Err(error.into())),
        }
    }

    /// A change that is due has its place in history at once, and ends a little later: meanwhile others come.
    pub(super) fn run_change(&mut self, number: usize, session: (u64, Epoch), due: Option<Call>) {
        let Some(call) = due else { return };
        let (name, before) = (call.1, self.servers[number].log.len());
        let done = self.perform_change(number, call);
        let server = &mut self.servers[number];
        if name.0 == 0 && server.log.len() > before {
            let other = server.at_work.insert(session.0, name.1);
            self.broken = other.map(|other| {
                format!(
                    "session {}: ordered change {} begins, and {other} is not over",
                    session.0, name.1
                )
            });
        }
        let slow = self.seed.between(500, 100_000);
        let delay = if self.seed.chance(30) { slow } else { 0 };
        self.agenda.after(delay, Item::Ended(number, session, name, done));
    }

    /// A change that runs is over.
    pub(super) fn ended(&mut self, number: usize, session: (u64, Epoch), name: (u16, u32), done: Done) {
        let server = &mut self.servers[number];
        if !server.is_up {
            return;
        }
        if name.0 == 0 && server.at_work.get(&session.0) == Some(&name.1) {
            server.at_work.remove(&session.0);
        }
        let refused = refusal(done);
        let ended = match &refused {
            Some(refusal) if refusal.lsn == 0 => Ended::Refused(&refusal.error),
            Some(_) | None => Ended::Recorded,
        };
        let (waiters, due) = server.changes.ended(session, name, &ended);
        self.report(number, &waiters, done);
        let is_kept = self.habit != Habit::ForgetsWhoWaits;
        self.run_change(number, session, due.filter(|_| is_kept));
    }

    pub(super) fn execute(&mut self, number: usize, waiters: Vec<(usize, ConnectionId, u16, u32)>, call: Call) {
        let done = self.perform_change(number, call);
        self.report(number, &waiters, done);
    }

    pub(super) fn perform_change(&mut self, number: usize, call: Call) -> Done {
        let server = &mut self.servers[number];
        if self.habit == Habit::ForgetsReplies {
            server
                .log
                .retain(|entry| entry.session != call.0 || entry.name != call.1 || entry.change == call.2);
            let (session, name, change) = call;
            let is_refused = false;
            server.log.push(Entry {
                session,
                name,
                change,
                is_refused,
            });
            let lsn = server.log.len() as u64;
            self.look_later(number, None);
            return Done::At(lsn);
        }
        let done = server.run(call);
        self.look_later(number, None);
        done
    }

    pub(super) fn report(&mut self, number: usize, waiters: &[(usize, ConnectionId, u16, u32)], done: Done) {
        let durable = self.servers[number].durable as u64;
        for (client, connection, stream, sequence) in waiters.iter().copied() {
            let outcome = match (done, refusal(done)) {
                (Done::At(lsn), _) => {
                    let after = if self.habit == Habit::NoPlace {
                        Vec::new()
                    } else {
                        self.servers[number].before(lsn)
                    };
                    let changed = Answer::Changed {
                        object: object(number, 0),
                        lsn,
                        durable,
                        after,
                    };
                    Ok((changed, Bytes::new()))
                }
                (_, Some(refusal)) => Err(Box::new(refusal)),
                (_, None) => Err(Error::new(Kind::Invalid, "change").because("its reply was seen").into()),
            };
            self.tell(client, connection, Told::Answer(stream, sequence, outcome));
        }
    }

    /// A look and a flush begin; a call is answered when they are over.
    pub(super) fn look_later(&mut self, number: usize, call: Option<(usize, Sent)>) {
        let server = &mut self.servers[number];
        if call.is_none() && std::mem::replace(&mut server.is_flushing, true) {
            return;
        }
        let durable = server.log.len();
        let slow = self.seed.between(5_000, 300_000);
        let quick = self.seed.between(200, 5_000);
        let delay = if self.seed.chance(20) { slow } else { quick };
        self.agenda.after(delay, Item::Look(number, durable, call));
    }

    pub(super) fn look(&mut self, number: usize, durable: usize, call: Option<(usize, Sent)>) -> Result<(), String> {
        let server = &mut self.servers[number];
        if !server.is_up {
            return Ok(());
        }
        if self.disk.owner != server.epoch {
            let now = self.agenda.now();
            self.trace
                .note(now, format_args!("s{number}"), format_args!("is owner no more"));
            self.die(number);
            return Ok(());
        }
        if durable > self.disk.log.len() {
            self.disk.log = server.log[..durable].to_vec();
        }
        server.durable = server.durable.max(durable);
        if let Some((client, sent)) = call {
            self.promise(number, client, &sent);
            return Ok(());
        }
        server.is_flushing = false;
        if server.log.len() > server.durable {
            self.look_later(number, None);
        }
        self.mark(number);
        Ok(())
    }

    /// Clients are told how much is durable.
    pub(super) fn mark(&mut self, number: usize) {
        let aggregate = AggregateId(Uuid::nil());
        let durable = self.servers[number].durable as u64;
        let is_push = |c: &Connection| c.role == Role::Push && c.server == number && c.bound.is_some();
        let all = self.connections.iter().filter(|(_, c)| is_push(c));
        let all: Vec<(usize, ConnectionId)> = all.map(|(key, _)| *key).collect();
        for (client, connection) in all {
            self.tell(client, connection, Told::Push(Push::Durable { aggregate, durable }));
        }
    }

    /// What is told after a look.
    pub(super) fn promise(&mut self, number: usize, client: usize, sent: &Sent) {
        let date = Timestamp(self.agenda.now() as i64 * 1_000);
        let server = &mut self.servers[number];
        let durable = server.durable as u64;
        let answer = match &sent.request {
            Request::Bind { .. } => return self.bind(number, client, sent),
            Request::Renew => Answer::Renewed { date, durable },
            Request::Sync { .. } => Answer::Synced { durable },
            Request::Getattr { .. } => shown(number, server.durable),
            Request::Join { coming, .. } => {
                self.disk.holds.insert(client);
                if *coming == Coming::Fresh {
                    server.awaited.remove(&client);
                }
                let (hold, serial, root) = (Hold::Shared, 1, object(number, 0));
                Answer::Joined { hold, serial, root }
            }
            Request::Reclaimed { .. } => {
                server.awaited.remove(&client);
                Answer::Done
            }
            other => unreachable!("no client of this history asks {other:?}"),
        };
        self.answer(client, sent, Ok((answer, Bytes::new())));
    }

    pub(super) fn bind(&mut self, number: usize, client: usize, sent: &Sent) {
        let session = match sent.session {
            0 => {
                // A client has one session; who asks for another has none any more.
                self.disk.sessions.retain(|_, other| *other != client);
                self.disk.sessions_made += 1;
                self.disk.sessions.insert(self.disk.sessions_made, client);
                self.disk.sessions_made
            }
            session if self.disk.sessions.get(&session) != Some(&client) => {
                self.refuse(client, sent, Kind::SessionLost);
                return;
            }
            session => session,
        };
        let server = &mut self.servers[number];
        let (epoch, durable, streams) = (server.epoch, server.durable as u64, server.streams(session));
        let last = streams
            .iter()
            .find(|(stream, _)| *stream == 0)
            .map_or(0, |(_, last)| *last);
        let due = server.changes.bound((session, epoch), last);
        self.run_change(number, (session, epoch), due);
        if let Some(connection) = self.connections.get_mut(&(client, sent.connection)) {
            connection.bound = Some((session, epoch));
        }
        let date = Timestamp(self.agenda.now() as i64 * 1_000);
        let bound = Answer::Bound {
            session,
            epoch,
            streams,
            date,
            durable,
        };
        self.answer(client, sent, Ok((bound, Bytes::new())));
    }
}

fn refusal(done: Done) -> Option<Refusal> {
    let refused = |lsn| {
        Some(Refusal {
            error: Error::new(Kind::Denied, "change"),
            lsn,
        })
    };
    match done {
        Done::At(_) | Done::Seen => None,
        Done::RefusedAt(lsn) => refused(lsn),
        Done::Refused => refused(0),
    }
}

/// An answer that says how much of which server's history it shows.
fn shown(server: usize, changes: usize) -> Answer {
    Answer::Object(object(server, changes as u64))
}

fn object(server: usize, size: u64) -> Object {
    let time = Timestamp(0);
    Object {
        fid: Fid {
            fileset: FILESET,
            vnode: Vnode::ROOT,
            unique: 1,
        },
        attributes: Attributes {
            kind: FileKind::Regular,
            mode: 0,
            uid: 0,
            gid: 0,
            links: 1,
            size,
            blocks: 0,
            data_version: server as u64,
            accessed: time,
            modified: time,
            changed: time,
            created: time,
            parent: None,
            device: 0,
            acl: 0,
        },
    }
}
