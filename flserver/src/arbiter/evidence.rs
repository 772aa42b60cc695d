//! What was heard of servers and disks, and what follows from it for one server.

use std::collections::{BTreeMap, BTreeSet};

use baton_types::beat::{Beat, Port, PortState};
use baton_types::record::{Patience, Server, ServerState};
use baton_types::{AggregateId, Incarnation, ServerId, Time};

use crate::state::Fldb;

/// Everything that this member heard, and when, by its own clock.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    heard: BTreeMap<ServerId, Heard>,
    /// Since when each registered run is known here: its registration is a sign of life too.
    known: BTreeMap<ServerId, (Incarnation, Time)>,
    attested: BTreeSet<(ServerId, Incarnation)>,
}

/// A run that beats.
#[derive(Debug)]
struct Heard {
    run: Incarnation,
    sequence: u64,
    at: Time,
    /// No gap was so long since then that it would have been suspected.
    steady_since: Time,
    gate_micros: u64,
    ports: BTreeMap<AggregateId, Seen>,
}

/// One port, over time.
#[derive(Clone, Copy, Debug)]
struct Seen {
    port: Port,
    /// When it was reported first.
    first: Time,
    /// When the owner's beat on the disk was last seen to go on.
    advanced: Time,
}

/// What others' ports say of a server's beats on its disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DiskBeat {
    /// One goes on.
    Fresh,
    /// None did for so long.
    Stale(Time),
    /// Nobody sees its disks, or not for long enough.
    Unknown,
}

/// What is to be held of one server.
#[derive(Clone, Debug)]
pub(super) struct Weighed {
    pub state: ServerState,
    /// In one line for people.
    pub evidence: String,
    pub silent_micros: Time,
    pub is_attested: bool,
    /// It was heard without a gap for as long as it takes to be buried.
    pub is_steady: bool,
}

impl Evidence {
    /// Only the registered run counts, and only what it says for the first time.
    pub fn heard(&mut self, now: Time, state: &Fldb, beat: Beat) {
        let is_registered = |server: &Server| server.incarnation == Some(beat.incarnation);
        if !state.known_server(beat.server).is_ok_and(is_registered) {
            return;
        }
        let before = self.heard.remove(&beat.server).filter(|h| h.run == beat.incarnation);
        if let Some(before) = before.as_ref().filter(|h| h.sequence >= beat.sequence) {
            let (gate_micros, ports) = (before.gate_micros, before.ports.clone());
            self.heard.insert(
                beat.server,
                Heard {
                    gate_micros,
                    ports,
                    ..*before
                },
            );
            return;
        }
        let suspect = patience(state).suspect_millis * 1_000;
        let steady = before
            .as_ref()
            .filter(|h| now.saturating_sub(h.at) < suspect)
            .map(|h| h.steady_since);
        let seen = |port: Port| {
            let last = before.as_ref().and_then(|h| h.ports.get(&port.aggregate));
            let goes_on = last.is_none_or(|s| (s.port.newest, s.port.disk_beat) != (port.newest, port.disk_beat));
            let seen = Seen {
                port,
                first: last.map_or(now, |s| s.first),
                advanced: last.filter(|_| !goes_on).map_or(now, |s| s.advanced),
            };
            (port.aggregate, seen)
        };
        let heard = Heard {
            run: beat.incarnation,
            sequence: beat.sequence,
            at: now,
            steady_since: steady.unwrap_or(now),
            gate_micros: beat.gate_micros,
            ports: beat.ports.into_iter().map(seen).collect(),
        };
        self.heard.insert(beat.server, heard);
    }

    /// A word about a run that is over already, or not begun, is nothing.
    pub fn attested(&mut self, state: &Fldb, server: ServerId, run: Incarnation) {
        if state
            .known_server(server)
            .is_ok_and(|known| known.incarnation == Some(run))
        {
            self.attested.insert((server, run));
        }
    }

    /// Notes new runs, and forgets what was known of older ones.
    pub fn learnt(&mut self, now: Time, state: &Fldb) {
        for server in state.servers() {
            if let Some(run) = server.incarnation
                && self.known.get(&server.id).is_none_or(|(known, _)| *known != run)
            {
                self.known.insert(server.id, (run, now));
                self.heard.remove(&server.id);
            }
        }
        let known = &self.known;
        self.attested
            .retain(|(server, run)| known.get(server).is_some_and(|(known, _)| known == run));
    }

    /// How long ago a server beat last.
    pub fn silence(&self, now: Time, server: ServerId) -> Option<Time> {
        self.heard.get(&server).map(|heard| now.saturating_sub(heard.at))
    }

    /// How a server's own port sees an aggregate, if it beats.
    pub fn port(&self, server: ServerId, aggregate: AggregateId) -> Option<Port> {
        self.heard.get(&server)?.ports.get(&aggregate).map(|seen| seen.port)
    }

    /// What is to be held of `server` by one who watches since `watches`: the rows of the arbiter's table.
    pub fn weigh(&self, now: Time, watches: Time, state: &Fldb, server: &Server) -> Weighed {
        let patience = patience(state);
        let [suspect, dead, isolated] =
            [patience.suspect_millis, patience.dead_millis, patience.isolated_millis].map(|millis| millis * 1_000);
        let heard = self
            .heard
            .get(&server.id)
            .filter(|heard| Some(heard.run) == server.incarnation);
        let known = self.known.get(&server.id).map_or(watches, |(_, since)| *since);
        let last = heard.map_or(known, |heard| heard.at.max(known));
        let silent = now.saturating_sub(last.max(watches));
        let gate = heard.map_or(0, |heard| heard.gate_micros);
        let late = if gate >= dead { silent.max(gate) } else { silent };
        let disk = self.disk_beat(now, state, server.id, (suspect, dead));
        let is_attested = server
            .incarnation
            .is_some_and(|run| self.attested.contains(&(server.id, run)));
        let silence = if late > silent {
            format!("no progress for {}", seconds(late))
        } else {
            format!("beat {} late", seconds(late))
        };
        let (held, evidence) = match disk {
            _ if is_attested => (ServerState::Dead, "its guard saw it end".to_owned()),
            // Its silence says nothing.
            _ if !server.beats => (server.state, server.evidence.clone()),
            _ if late < suspect => (ServerState::Alive, "it beats".to_owned()),
            DiskBeat::Stale(age) if late >= dead => (
                ServerState::Dead,
                format!("{silence}, disk beat stale {}", seconds(age)),
            ),
            DiskBeat::Fresh if late >= isolated => (ServerState::Dead, format!("{silence}, disk beat fresh")),
            DiskBeat::Stale(_) | DiskBeat::Unknown if late >= isolated => {
                (ServerState::Dead, format!("{silence}, nobody sees its disks"))
            }
            DiskBeat::Stale(_) | DiskBeat::Fresh | DiskBeat::Unknown => (ServerState::Pending, silence),
        };
        Weighed {
            state: held,
            evidence,
            silent_micros: late,
            is_attested,
            is_steady: heard.is_some_and(|heard| now.saturating_sub(heard.steady_since) >= dead),
        }
    }

    /// What the ports of all others say of the disks of `server`; one that goes on is enough.
    fn disk_beat(&self, now: Time, state: &Fldb, server: ServerId, (suspect, dead): (Time, Time)) -> DiskBeat {
        let mut stale: Option<Time> = None;
        let own: BTreeSet<AggregateId> = state
            .owned_by(server)
            .filter(|a| a.state.is_served())
            .map(|a| a.id)
            .collect();
        let others = self
            .heard
            .iter()
            .filter(|(id, heard)| **id != server && now.saturating_sub(heard.at) < suspect);
        for seen in others.flat_map(|(_, heard)| heard.ports.values()) {
            if !own.contains(&seen.port.aggregate) || seen.port.state != PortState::Good {
                continue;
            }
            let age = now.saturating_sub(seen.advanced);
            if age < dead && seen.advanced > seen.first {
                return DiskBeat::Fresh;
            }
            if age >= dead {
                stale = Some(stale.map_or(age, |least: Time| least.min(age)));
            }
        }
        stale.map_or(DiskBeat::Unknown, DiskBeat::Stale)
    }
}

fn patience(state: &Fldb) -> Patience {
    state.cell().map(|cell| cell.patience).unwrap_or_default()
}

/// `1.2 s`.
fn seconds(micros: Time) -> String {
    format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000)
}
