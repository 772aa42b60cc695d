//! What befalls a history: servers that die or stand still, clients that sleep, connections that are cut.

use baton_rpc::session::client::ConnectionId;
use baton_types::Time;

use super::{CLIENTS, Item, World};
use crate::sim::session::store::{Server, effects};

/// Most faults of a history.
const FAULTS_MAX: u64 = 8;
/// Faults begin before.
pub(super) const FAULTS_UNTIL: Time = 4_000_000;

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// The owner dies; another follows after this time.
    Crash(Time),
    /// The owner stands still for the first time and is replaced after the second.
    Zombie(Time, Time),
    /// A client stands still.
    Sleep(usize, Time),
    /// A connection of a client is cut.
    Cut(usize),
    /// A client reaches nobody.
    Away(usize, Time),
}

impl World {
    /// Puts some faults, or none, on the agenda.
    pub(super) fn plan_faults(&mut self) {
        for _ in 0..self.seed.below(FAULTS_MAX + 1) {
            let at = self.seed.below(FAULTS_UNTIL);
            let fault = self.fault();
            self.agenda.after(at, Item::Fault(fault));
        }
    }

    fn fault(&mut self) -> Fault {
        let client = self.seed.index(CLIENTS);
        let short = self.seed.between(1_000, 300_000);
        let long = self.seed.between(300_000, 14_000_000);
        let time = *self.seed.pick(&[short, short, long]);
        match self.seed.below(5) {
            0 => Fault::Crash(short),
            1 => Fault::Zombie(time, self.seed.below(time + 1)),
            2 => Fault::Sleep(client, time),
            3 => Fault::Cut(client),
            _ => Fault::Away(client, time),
        }
    }

    /// A fault happens.
    pub(super) fn befall(&mut self, fault: Fault) -> Result<(), String> {
        let now = self.agenda.now();
        self.trace.note(now, "fault", format_args!("{fault:?}"));
        let owner = self.servers.len() - 1;
        match fault {
            Fault::Crash(down) => {
                self.die(owner);
                self.agenda.after(down, Item::Claim);
            }
            Fault::Zombie(still, replaced) => {
                self.asleep.insert(owner, now + still);
                self.agenda.after(replaced, Item::Claim);
            }
            Fault::Sleep(client, time) => self.mounts[client].asleep_until = now + time,
            Fault::Away(client, time) => {
                self.away.insert(client, now + time);
                let all: Vec<ConnectionId> = self.of(client).collect();
                all.into_iter().for_each(|connection| self.cut(client, connection));
            }
            Fault::Cut(client) => {
                let all: Vec<ConnectionId> = self.of(client).collect();
                if !all.is_empty() {
                    let connection = *self.seed.pick(&all);
                    self.cut(client, connection);
                }
            }
        }
        Ok(())
    }

    /// The connections that a client believes to have.
    fn of(&self, client: usize) -> impl Iterator<Item = ConnectionId> + '_ {
        let own = self.connections.range((client, 0)..=(client, ConnectionId::MAX));
        own.filter(|(_, c)| c.at_client).map(|((_, connection), _)| *connection)
    }

    /// The network loses a connection: both sides find out in their time.
    fn cut(&mut self, client: usize, connection: ConnectionId) {
        let is_deaf = self.seed.chance(500);
        if let Some(cut) = self.connections.get_mut(&(client, connection)) {
            cut.at_server &= !is_deaf;
        }
        let (soon, late) = (self.delay(), self.seed.below(1_000_000));
        let noticed = *self.seed.pick(&[soon, late]);
        self.agenda.after(noticed, Item::Broken(client, connection));
        let closed = self.seed.below(500_000);
        self.agenda.after(closed, Item::Closed(client, connection));
    }

    /// A server's process is gone; of what it had not flushed the disk may have a part.
    pub(super) fn die(&mut self, number: usize) {
        let server = &mut self.servers[number];
        if !server.is_up {
            return;
        }
        server.is_up = false;
        if self.disk.owner == server.epoch {
            let kept = self.seed.below((server.log.len() - server.durable + 1) as u64) as usize;
            let whole = server.log[..server.durable + kept].to_vec();
            if whole.len() > self.disk.log.len() {
                self.disk.log = whole;
            }
        }
        let all = self.connections.iter().filter(|(_, c)| c.server == number);
        let all: Vec<(usize, ConnectionId)> = all.map(|(key, _)| *key).collect();
        for (client, connection) in all {
            let (soon, late) = (self.delay(), self.seed.below(1_000_000));
            let noticed = *self.seed.pick(&[soon, soon, late]);
            self.agenda.after(noticed, Item::Broken(client, connection));
        }
    }

    /// A server becomes owner, with what the disk has.
    pub(super) fn claim(&mut self) -> Result<(), String> {
        let now = self.agenda.now();
        let next = Server::claim(&mut self.disk, now);
        self.trace.note(
            now,
            "server",
            format_args!("epoch {} after {} changes", next.epoch, next.log.len()),
        );
        let history = effects(&next.log);
        self.servers.push(next);
        for client in 0..CLIENTS {
            let delay = self.delay();
            self.agenda.after(delay, Item::Owner(client));
        }
        self.once.history(&history)?;
        self.lost.recovered(&history.into_iter().collect())
    }
}
