//! What was heard of servers and disks, by this member.

use std::collections::{BTreeMap, BTreeSet};

use baton_types::beat::{Beat, Buddy, Found, Port, PortState, Report, Sign};
use baton_types::limits::REPORTERS_MAX;
use baton_types::record::{Aggregate, Patience, Server};
use baton_types::{AggregateId, Epoch, Incarnation, PrincipalName, ServerId, Time};

use crate::state::Fldb;

/// Everything that this member heard, and when, by its own clock.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    pub(super) heard: BTreeMap<ServerId, Heard>,
    /// Signs of life that a buddy passed on.
    relayed: BTreeMap<ServerId, Relayed>,
    /// Since when each registered run is known here: its registration is a sign of life too.
    known: BTreeMap<ServerId, (Incarnation, Time)>,
    attested: BTreeSet<(ServerId, Incarnation)>,
    /// Of each server, what each machine with clients of it said last.
    reports: BTreeMap<ServerId, BTreeMap<PrincipalName, Reported>>,
}

/// A run that beats.
#[derive(Debug)]
pub(super) struct Heard {
    run: Incarnation,
    sequence: u64,
    pub(super) at: Time,
    /// No gap was so long since then that it would have been suspected.
    pub(super) steady_since: Time,
    gate_micros: u64,
    clients: u32,
    pub(super) ports: BTreeMap<AggregateId, Seen>,
    buddies: Vec<Buddy>,
}

/// A run of which a buddy heard a beat that did not come here.
#[derive(Clone, Copy, Debug)]
struct Relayed {
    sign: Sign,
    at: Time,
    by: ServerId,
}

/// One port, over time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) port: Port,
    /// When it was reported first.
    pub(super) first: Time,
    /// When the owner's beat on the disk was last seen to go on.
    pub(super) advanced: Time,
}

#[derive(Clone, Copy, Debug)]
struct Reported {
    is_good: bool,
    at: Time,
    /// When it first said so without having said otherwise since.
    since: Time,
}

/// The newest sign of life of a server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    /// When, by registration, beat or relay.
    pub(super) at: Time,
    /// How long the slowest part of it had made no progress then.
    pub(super) gate: Time,
    /// The buddy that passed it on, if none of its own beats is newer.
    pub(super) by: Option<ServerId>,
}

impl Evidence {
    /// Only the registered run counts, and only what it says for the first time.
    pub fn heard(&mut self, now: Time, state: &Fldb, beat: Beat) {
        if !is_registered(state, beat.server, beat.incarnation) {
            return;
        }
        let before = self.heard.get(&beat.server).filter(|h| h.run == beat.incarnation);
        if before.is_some_and(|h| h.sequence >= beat.sequence) {
            return;
        }
        let suspect = patience(state).suspect_millis * 1_000;
        let steady = before
            .filter(|h| now.saturating_sub(h.at) < suspect)
            .map(|h| h.steady_since);
        let seen = |port: Port| {
            let last = before.and_then(|h| h.ports.get(&port.aggregate));
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
            clients: beat.clients,
            ports: beat.ports.into_iter().map(seen).collect(),
            buddies: beat.buddies,
        };
        for buddy in &heard.buddies {
            self.relayed(now, state, beat.server, *buddy);
        }
        self.heard.insert(beat.server, heard);
    }

    /// Who may take over from a server may speak for it: a beat that reached it and not this member.
    fn relayed(&mut self, now: Time, state: &Fldb, by: ServerId, buddy: Buddy) {
        let Some(sign) = buddy.sign.filter(|_| buddy.found == Found::Answers) else {
            return;
        };
        // Nearly always its own beat was here first.
        let known = self.heard.get(&buddy.server).filter(|h| h.run == sign.incarnation);
        if known.is_some_and(|h| h.sequence >= sign.sequence) {
            return;
        }
        let has_both = |a: &Aggregate| [by, buddy.server].iter().all(|id| a.attached.contains(id));
        if !is_registered(state, buddy.server, sign.incarnation) || !state.aggregates().any(has_both) {
            return;
        }
        let before = self.relayed.get(&buddy.server).map(|r| r.sign);
        let is_old = |known: Sign| known.incarnation == sign.incarnation && known.sequence >= sign.sequence;
        if !before.is_some_and(is_old) {
            self.relayed.insert(buddy.server, Relayed { sign, at: now, by });
        }
    }

    /// A word about a run that is over already, or not begun, is nothing.
    pub fn attested(&mut self, state: &Fldb, server: ServerId, run: Incarnation) {
        if is_registered(state, server, run) {
            self.attested.insert((server, run));
        }
    }

    /// A machine's clients say how a server answers them.
    pub fn reported(&mut self, now: Time, state: &Fldb, by: PrincipalName, report: Report) {
        if state.known_server(report.server).is_err() {
            return;
        }
        let long = patience(state).isolated_millis * 2_000;
        let said = self.reports.entry(report.server).or_default();
        said.retain(|_, r| now.saturating_sub(r.at) < long);
        let before = said.get(&by).filter(|r| r.is_good == report.is_good);
        let reported = Reported {
            is_good: report.is_good,
            at: now,
            since: before.map_or(now, |r| r.since),
        };
        if said.len() < REPORTERS_MAX || said.contains_key(&by) {
            said.insert(by, reported);
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
                self.relayed.remove(&server.id);
                self.reports.remove(&server.id);
            }
        }
        let known = &self.known;
        self.attested
            .retain(|(server, run)| known.get(server).is_some_and(|(known, _)| known == run));
    }

    /// How long ago a server's own beat came last.
    pub fn silence(&self, now: Time, server: ServerId) -> Option<Time> {
        self.heard.get(&server).map(|heard| now.saturating_sub(heard.at))
    }

    /// How a server's own port sees an aggregate, if it beats.
    pub fn port(&self, server: ServerId, aggregate: AggregateId) -> Option<Port> {
        self.heard.get(&server)?.ports.get(&aggregate).map(|seen| seen.port)
    }

    /// Aggregates that some server reaches badly, or not at all.
    pub fn bad_ports(&self) -> impl Iterator<Item = AggregateId> {
        let ports = self.heard.values().flat_map(|heard| heard.ports.values());
        ports
            .filter(|seen| seen.port.state != PortState::Good)
            .map(|seen| seen.port.aggregate)
    }

    /// The newest epoch that anybody who is heard in time sees on the disk of `aggregate`, by a good port.
    pub fn newest(&self, now: Time, suspect: Time, aggregate: &Aggregate) -> Option<Epoch> {
        let heard = aggregate.attached.iter().filter_map(|id| self.heard.get(id));
        let in_time = heard.filter(|h| now.saturating_sub(h.at) < suspect);
        let ports = in_time.filter_map(|h| h.ports.get(&aggregate.id)).map(|seen| seen.port);
        ports
            .filter(|port| port.state == PortState::Good)
            .map(|port| port.newest)
            .max()
    }

    /// True if others see its disk, and that its owner has written nothing there for `dead`: who serves it does all the
    /// time.
    pub(super) fn is_unwritten(&self, now: Time, (suspect, dead): (Time, Time), aggregate: &Aggregate) -> bool {
        let others = aggregate.attached.iter().filter(|id| Some(**id) != aggregate.owner);
        let heard = others.filter_map(|id| self.heard.get(id));
        let in_time = heard.filter(|h| now.saturating_sub(h.at) < suspect);
        let seen = in_time.filter_map(|h| h.ports.get(&aggregate.id));
        let good = seen.filter(|seen| seen.port.state == PortState::Good);
        let least = good.map(|seen| now.saturating_sub(seen.advanced)).min();
        least.is_some_and(|age| age >= dead)
    }

    /// True if somebody took `aggregate` by himself, while nobody could grant it, and lives by what he writes on its disk,
    /// or may: an epoch of a later era stands there than any that was granted. It is his as soon as he is heard.
    pub(super) fn is_seized(&self, now: Time, (suspect, dead): (Time, Time), aggregate: &Aggregate) -> bool {
        let heard = aggregate.attached.iter().filter_map(|id| self.heard.get(id));
        let in_time = heard.filter(|h| now.saturating_sub(h.at) < suspect);
        let mut seen = in_time.filter_map(|h| h.ports.get(&aggregate.id));
        seen.any(|seen| {
            let is_later = seen.port.newest.era() > aggregate.epoch.era() && aggregate.epoch != Epoch::NONE;
            seen.port.state == PortState::Good && is_later && now.saturating_sub(seen.advanced) < dead
        })
    }

    /// For how long a server's beats have come without a gap.
    pub fn steady(&self, now: Time, server: ServerId) -> Option<Time> {
        let heard = self.heard.get(&server)?;
        Some(now.saturating_sub(heard.steady_since))
    }

    pub(super) fn is_attested(&self, server: ServerId, run: Incarnation) -> bool {
        self.attested.contains(&(server, run))
    }

    /// The newest sign of life of the registered run of `server`, for one who knows nothing before `watches`.
    pub(super) fn life(&self, watches: Time, server: &Server) -> Life {
        let known = self.known.get(&server.id).map_or(watches, |(_, since)| *since);
        let heard = self.heard.get(&server.id).filter(|h| Some(h.run) == server.incarnation);
        let direct = Life {
            at: heard.map_or(known, |h| h.at.max(known)).max(watches),
            gate: heard.map_or(0, |h| h.gate_micros),
            by: None,
        };
        let relayed = self.relayed.get(&server.id).filter(|r| {
            let is_newer = heard.is_none_or(|h| h.sequence < r.sign.sequence);
            Some(r.sign.incarnation) == server.incarnation && is_newer && r.at > direct.at
        });
        relayed.map_or(direct, |r| Life {
            at: r.at,
            gate: r.sign.gate_micros,
            by: Some(r.by),
        })
    }

    /// The best that anybody who is heard in time finds of `server`; `None` if nobody asks it.
    pub(super) fn found(&self, now: Time, suspect: Time, server: ServerId) -> Option<Found> {
        let in_time = self.heard.values().filter(|h| now.saturating_sub(h.at) < suspect);
        let words = in_time.flat_map(|h| h.buddies.iter().filter(|b| b.server == server));
        words.map(|buddy| buddy.found).max()
    }

    /// True if a client was answered by `server` within `long`.
    pub(super) fn serves(&self, now: Time, long: Time, server: ServerId) -> bool {
        let said = self.reports.get(&server).into_iter().flat_map(BTreeMap::values);
        said.into_iter().any(|r| r.is_good && now.saturating_sub(r.at) < long)
    }

    /// How many machines say, and have said for `dead_millis`, that `server` does not answer; and of how many.
    pub(super) fn complaints(&self, now: Time, patience: Patience, server: ServerId) -> (usize, usize) {
        let [dead, isolated] = [patience.dead_millis, patience.isolated_millis].map(|millis| millis * 1_000);
        let said = self.reports.get(&server).into_iter().flat_map(BTreeMap::values);
        let lasts = |r: &&Reported| {
            let is_fresh = now.saturating_sub(r.at) < isolated;
            !r.is_good && is_fresh && r.at.saturating_sub(r.since) >= dead
        };
        let clients = self.heard.get(&server).map_or(0, |h| h.clients);
        let complain = said.filter(lasts).count();
        (complain, usize::try_from(clients).unwrap_or(usize::MAX).max(complain))
    }

    /// What the ports of the others that are attached to them say of the disks of `server`; one that goes on is enough.
    pub(super) fn disk_beat(
        &self,
        now: Time,
        state: &Fldb,
        server: ServerId,
        (suspect, dead): (Time, Time),
    ) -> DiskBeat {
        let mut stale: Option<Time> = None;
        let own = state.owned_by(server).filter(|a| a.state.is_served());
        let seen = own.flat_map(|aggregate| {
            let others = aggregate.attached.iter().filter(|id| **id != server);
            let heard = others.filter_map(|id| self.heard.get(id));
            let heard = heard.filter(|heard| now.saturating_sub(heard.at) < suspect);
            heard.filter_map(|heard| heard.ports.get(&aggregate.id))
        });
        for seen in seen.filter(|seen| seen.port.state == PortState::Good) {
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

/// What others' ports say of a server's beats on its disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DiskBeat {
    /// One goes on.
    Fresh,
    /// None did for so long.
    Stale(Time),
    /// Nobody sees its disks, or not for long enough.
    Unknown,
}

fn is_registered(state: &Fldb, server: ServerId, run: Incarnation) -> bool {
    state
        .known_server(server)
        .is_ok_and(|known| known.incarnation == Some(run))
}

pub(super) fn patience(state: &Fldb) -> Patience {
    state.cell().map(|cell| cell.patience).unwrap_or_default()
}
