//! File servers and aggregates: who lives, who owns what, and who did before.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{
    Address, AggregateId, AggregateName, EntryName, Epoch, Error, Incarnation, Kind, PrincipalName, Result, ServerId,
    Timestamp,
};

/// What the arbiter holds of a file server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerState {
    /// It was heard of in time, or nothing is known against it.
    #[default]
    Alive,
    /// It is late. It goes on serving, nobody takes anything from it, and nothing new is given to it.
    Pending,
    /// It is held to have ended: its aggregates go to others. That may be wrong; their disks keep it from harm (I2, I3).
    Dead,
}

/// A file server: registered by itself, under its own certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// For ever.
    pub id: ServerId,
    /// Its host's name in the cell, as in its certificate.
    pub name: EntryName,
    /// Whose certificate it uses.
    pub principal: PrincipalName,
    /// Where clients reach it, best first.
    pub addresses: Vec<Address>,
    /// The run that registered last; `None` before the first.
    pub incarnation: Option<Incarnation>,
    /// When it registered last.
    pub registered: Timestamp,
    /// This run of it sends beats: when they cease, that means something.
    pub beats: bool,
    /// What the arbiter holds of it.
    pub state: ServerState,
    /// Since when.
    pub since: Timestamp,
    /// On what evidence, in one line for people.
    pub evidence: String,
    /// Nothing is given to it until an administrator says so.
    pub drained: bool,
    /// What it fails together with: a rack, a room, a power line. `None`: nothing that is known.
    pub domain: Option<EntryName>,
}

impl Server {
    /// A server before its first registration.
    pub fn new(id: ServerId, name: EntryName) -> Server {
        Server {
            id,
            principal: PrincipalName::host(&name),
            name,
            addresses: Vec::new(),
            incarnation: None,
            registered: Timestamp::default(),
            beats: false,
            state: ServerState::Alive,
            since: Timestamp::default(),
            evidence: String::new(),
            drained: false,
            domain: None,
        }
    }

    /// True if one blow may end both.
    pub fn shares_fate(&self, other: &Server) -> bool {
        self.id == other.id || (self.domain.is_some() && self.domain == other.domain)
    }

    /// True if an aggregate may be given to it, as far as the database knows; of its port only beats tell.
    pub fn is_fit(&self) -> bool {
        self.incarnation.is_some() && self.state == ServerState::Alive && !self.drained
    }
}

/// What an aggregate's owner is doing with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AggregateState {
    /// Nobody owns it, and nobody is to: it was detached on purpose, or never exported.
    Detached,
    /// Granted; its owner serves it.
    Exported,
    /// Its owner serves it still, and is to hand it over to `target`.
    Draining,
    /// Its owner is dead or gave it up, and nobody is fit to take it: who becomes fit gets it.
    Unserved,
}

impl AggregateState {
    /// True if its owner answers for it.
    pub fn is_served(self) -> bool {
        match self {
            AggregateState::Exported | AggregateState::Draining => true,
            AggregateState::Detached | AggregateState::Unserved => false,
        }
    }
}

/// One disk's store, seen by the servers attached to it, owned by one at a time (I1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aggregate {
    /// From its label.
    pub id: AggregateId,
    /// From its label; unique in the cell.
    pub name: AggregateName,
    /// For the DFS spellings.
    pub number: u32,
    /// Servers that reported its label, in order of preference.
    pub attached: Vec<ServerId>,
    /// Whose it is under `epoch`.
    pub owner: Option<ServerId>,
    /// Grows with every grant.
    pub epoch: Epoch,
    /// The run of the owner that `epoch` was granted to; no other may use it.
    pub run: Option<Incarnation>,
    /// What the owner does with it.
    pub state: AggregateState,
    /// To whom the owner is to hand it over; only while it is `Draining`.
    pub target: Option<ServerId>,
    /// Since when it is as it is.
    pub since: Timestamp,
    /// Why, in one line for people.
    pub reason: String,
    /// Why nobody becomes its owner until an administrator says so (I10); whoever owns it goes on.
    pub held: Option<String>,
    /// When a server failed on it last: the next that does so soon after has it held.
    pub failure: Option<Failure>,
}

/// A server could not go on with an aggregate because of what is on its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which.
    pub server: ServerId,
    /// Under which epoch.
    pub epoch: Epoch,
    /// When it said so.
    pub date: Timestamp,
}

impl Aggregate {
    /// One that nobody ever owned.
    pub fn new(id: AggregateId, name: AggregateName, number: u32) -> Aggregate {
        Aggregate {
            id,
            name,
            number,
            attached: Vec::new(),
            owner: None,
            epoch: Epoch::NONE,
            run: None,
            state: AggregateState::Detached,
            target: None,
            since: Timestamp::default(),
            reason: String::new(),
            held: None,
            failure: None,
        }
    }
}

/// What a takeover took, by the new owner's clock, each from when it heard of the grant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeLine {
    /// Until its slot was written and no newer one seen: from here on the old owner is fenced.
    pub fenced_micros: u64,
    /// Until the log was replayed.
    pub replayed_micros: u64,
    /// Records replayed.
    pub records: u64,
    /// Until the first client had reclaimed what it held; `None` if there was nobody to.
    pub first_reclaim_micros: Option<u64>,
    /// Until the last one had.
    pub last_reclaim_micros: Option<u64>,
    /// Until the last fileset had left grace.
    pub serving_micros: u64,
}

/// One owner of an aggregate under one epoch, for `fts history`. A table of its own, so that whoever follows the
/// aggregates is sent no history with each move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenure {
    /// Of what.
    pub aggregate: AggregateId,
    /// Under which epoch.
    pub epoch: Epoch,
    /// Whose.
    pub owner: ServerId,
    /// When it was granted.
    pub date: Timestamp,
    /// Why, in one line for people.
    pub reason: String,
    /// How long nothing had been heard of the owner before, when it was judged dead; `None` for other grants.
    pub silent_micros: Option<u64>,
    /// Once the owner reported it.
    pub time_line: Option<TimeLine>,
}

impl Tenure {
    /// The phases of its takeover, if they were reported: `fenced 1.2 ms, replayed 12.3 ms (120 records), …`, each
    /// from when the new owner heard of the grant, and before them how long it took to be detected.
    pub fn phases(&self) -> Option<String> {
        let t = self.time_line.as_ref()?;
        let millis = |micros: u64| format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100);
        let mut phases: Vec<String> = Vec::new();
        phases.extend(
            self.silent_micros
                .map(|silent| format!("detected after {}", millis(silent))),
        );
        phases.push(format!("fenced {}", millis(t.fenced_micros)));
        phases.push(format!(
            "replayed {} ({} records)",
            millis(t.replayed_micros),
            t.records
        ));
        if let (Some(first), Some(last)) = (t.first_reclaim_micros, t.last_reclaim_micros) {
            phases.push(format!("reclaims {} to {}", millis(first), millis(last)));
        }
        phases.push(format!("serving {}", millis(t.serving_micros)));
        Some(phases.join(", "))
    }
}

/// When aggregates go home to the server that is preferred for them, after it was dead and lives again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailBack {
    /// By themselves; else only when an administrator says so.
    pub is_auto: bool,
    /// Once that server has been heard without a gap for so long.
    pub after_seconds: u64,
    /// Only at these times of the day.
    pub window: Option<Window>,
}

impl Default for FailBack {
    /// By hand: what an administrator moved away must not come back by itself.
    fn default() -> FailBack {
        FailBack {
            is_auto: false,
            after_seconds: 600,
            window: None,
        }
    }
}

/// A part of every day, in minutes after midnight UTC. It may go over midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Its first minute.
    pub from: u16,
    /// The first one after it.
    pub until: u16,
}

impl Window {
    /// True if `date` lies in it.
    pub fn contains(self, date: Timestamp) -> bool {
        let minute = date.0.div_euclid(60_000_000_000).rem_euclid(24 * 60);
        let (from, until) = (i64::from(self.from), i64::from(self.until));
        match from <= until {
            true => (from..until).contains(&minute),
            false => minute >= from || minute < until,
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        write!(f, "{}-{}", time(self.from), time(self.until))
    }
}

impl FromStr for Window {
    type Err = Error;

    /// `22:00-06:00`.
    fn from_str(text: &str) -> Result<Window> {
        let minutes = |time: &str| {
            let (hour, minute) = time.split_once(':')?;
            let (hour, minute) = (hour.parse::<u16>().ok()?, minute.parse::<u16>().ok()?);
            (hour < 24 && minute < 60).then_some(hour * 60 + minute)
        };
        let parsed = text.split_once('-').and_then(|(from, until)| {
            let (from, until) = (minutes(from)?, minutes(until)?);
            (from != until).then_some(Window { from, until })
        });
        parsed.ok_or_else(|| {
            Error::new(Kind::Invalid, format!("times '{}'", text.escape_debug()))
                .because("they are no part of a day")
                .remedy("give hours and minutes in UTC, as in 22:00-06:00")
        })
    }
}

/// How long a file server's silence is borne. Safety rests on none of it: a false alarm costs a pause, never data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patience {
    /// Then it is late.
    pub suspect_millis: u64,
    /// Then it is dead, if its disks confirm it; and so long the judge must have watched.
    pub dead_millis: u64,
    /// Then it is dead, whatever its disks say.
    pub isolated_millis: u64,
}

impl Default for Patience {
    /// Three, five and ten beats.
    fn default() -> Patience {
        Patience {
            suspect_millis: 600,
            dead_millis: 1_000,
            isolated_millis: 2_000,
        }
    }
}
