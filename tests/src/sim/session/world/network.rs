//! The network of a history: connections are made and closed, and frames take their time on them.

use baton_rpc::session::client::{ConnectionId, Event, Outcome, Sent};
use baton_types::call::{Push, Role};
use baton_types::{Epoch, Error, Kind, Time};

use super::{Item, World};
use crate::sim::session::mount::change_of;
use crate::sim::session::store::is_refused_at_the_door;

/// Frames that arrive twice, in a thousand.
const DOUBLED_PERMILLE: u64 = 20;

/// What a server sends.
#[derive(Clone, Debug)]
pub(super) enum Told {
    Answer(u16, u32, Outcome),
    Push(Push),
}

/// A connection, as each of its sides believes it to be.
pub(super) struct Connection {
    pub(super) server: usize,
    pub(super) role: Role,
    pub(super) at_client: bool,
    pub(super) at_server: bool,
    /// When the last frame arrives, in each direction.
    pub(super) last: (Time, Time),
    pub(super) bound: Option<(u64, Epoch)>,
}

impl World {
    pub(super) fn delay(&mut self) -> Time {
        match self.seed.chance(50) {
            true => self.seed.between(2_000, 60_000),
            false => self.seed.between(50, 2_000),
        }
    }

    pub(super) fn dialled(&mut self, client: usize, connection: ConnectionId, role: Role) -> Result<(), String> {
        let now = self.agenda.now();
        let server = self.servers.len() - 1;
        let is_away = self.away.get(&client).is_some_and(|until| *until > now);
        if is_away || !self.servers[server].is_up {
            return self.step(client, Event::Failed(connection));
        }
        let made = Connection {
            server,
            role,
            at_client: true,
            at_server: true,
            last: (0, 0),
            bound: None,
        };
        self.connections.insert((client, connection), made);
        let epoch = self.servers[server].epoch;
        self.step(client, Event::Opened { connection, epoch })
    }

    pub(super) fn leave(&mut self, client: usize, connection: ConnectionId) {
        if let Some(left) = self.connections.get_mut(&(client, connection)) {
            left.at_client = false;
        }
    }

    pub(super) fn closed(&mut self, client: usize, connection: ConnectionId) -> Result<(), String> {
        let Some(closed) = self.connections.get_mut(&(client, connection)) else {
            return Ok(());
        };
        closed.at_server = false;
        let (server, bound) = (closed.server, closed.bound);
        let is_other = |c: &Connection| c.server == server && c.at_server;
        let mut own = self.connections.range((client, 0)..=(client, ConnectionId::MAX));
        if let Some(session) = bound
            && !own.any(|(_, other)| is_other(other))
        {
            self.servers[server].changes.gone(session);
        }
        Ok(())
    }

    pub(super) fn send(&mut self, client: usize, sent: Sent) {
        if change_of(client, &sent.request).is_some_and(is_refused_at_the_door) {
            self.refuse(client, &sent, Kind::Denied);
            return;
        }
        let copies = 1 + u64::from(self.seed.chance(DOUBLED_PERMILLE));
        for _ in 0..copies {
            let (now, delay) = (self.agenda.now(), self.delay());
            let Some(connection) = self.connections.get_mut(&(client, sent.connection)) else {
                return;
            };
            connection.last.0 = connection.last.0.max(now + delay);
            let delay = connection.last.0 - now;
            self.agenda.after(delay, Item::ToServer(client, sent.clone()));
        }
    }

    pub(super) fn tell(&mut self, client: usize, connection: ConnectionId, told: Told) {
        let (now, delay) = (self.agenda.now(), self.delay());
        let Some(to) = self.connections.get_mut(&(client, connection)) else {
            return;
        };
        to.last.1 = to.last.1.max(now + delay);
        let delay = to.last.1 - now;
        self.agenda.after(delay, Item::ToClient(client, connection, told));
    }

    pub(super) fn answer(&mut self, client: usize, sent: &Sent, outcome: Outcome) {
        self.tell(
            client,
            sent.connection,
            Told::Answer(sent.stream, sent.sequence, outcome),
        );
    }

    pub(super) fn refuse(&mut self, client: usize, sent: &Sent, kind: Kind) {
        self.answer(client, sent, Err(Error::new(kind, "server").into()));
    }
}
