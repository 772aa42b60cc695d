//! The table: what is to be held of a server, from its beats, its buddies, its disks and its clients.

use std::borrow::Cow;

use baton_types::Time;
use baton_types::beat::Found;
use baton_types::record::{Server, ServerState};

use super::evidence::{DiskBeat, Evidence, patience};
use crate::state::Fldb;

/// What is to be held of one server.
#[derive(Clone, Debug)]
pub(super) struct Weighed {
    pub state: ServerState,
    /// In one line for people.
    pub evidence: Cow<'static, str>,
    pub silent_micros: Time,
    pub is_attested: bool,
    /// It was heard without a gap for as long as it takes to be buried.
    pub is_steady: bool,
    /// What people should know although nothing changes hands: the evidence says what.
    pub is_odd: bool,
}

/// How late a server's newest sign of life is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Beat {
    InTime,
    Late,
    /// So late that it is dead if anything else says so.
    Gone,
    /// So late that it is dead unless something says that it is not.
    Lost,
}

impl Evidence {
    /// What is to be held of `server` by one who watches since `watches`.
    #[expect(clippy::too_many_lines, reason = "it is the table: an arm for each row")]
    pub fn weigh(&self, now: Time, watches: Time, state: &Fldb, server: &Server) -> Weighed {
        let patience = patience(state);
        let [suspect, dead, isolated] =
            [patience.suspect_millis, patience.dead_millis, patience.isolated_millis].map(|millis| millis * 1_000);
        let life = self.life(watches, server);
        let silent = now.saturating_sub(life.at);
        // A heart may beat on in a body that is dead, and answer whoever asks.
        let is_stuck = life.gate >= dead;
        let late = if is_stuck { silent.max(life.gate) } else { silent };
        let beat = match late {
            late if late < suspect => Beat::InTime,
            late if late < dead => Beat::Late,
            late if late < isolated => Beat::Gone,
            _ => Beat::Lost,
        };
        let silence = || match is_stuck && late > silent {
            true => format!("no progress for {}", seconds(late)),
            false => format!("beat {} late", seconds(late)),
        };
        let is_attested = server.incarnation.is_some_and(|run| self.is_attested(server.id, run));

        let mut is_odd = false;
        let mut odd = |evidence: String| {
            is_odd = true;
            Cow::from(evidence)
        };
        let (held, evidence): (_, Cow<'static, str>) = if is_attested {
            (ServerState::Dead, "its guard saw it end".into())
        } else if !server.beats {
            (server.state, server.evidence.clone().into()) // its silence says nothing
        } else if beat == Beat::InTime {
            match life.by.and_then(|by| state.known_server(by).ok()) {
                Some(by) => {
                    let evidence = format!("{} hears it beat, and no member of the database does", by.name);
                    (ServerState::Alive, odd(evidence))
                }
                None => (ServerState::Alive, BEATS.into()),
            }
        } else {
            // Looked for only now: most servers are never late.
            let silence = silence();
            let found = self.found(now, suspect, server.id).filter(|_| !is_stuck);
            let disk = self.disk_beat(now, state, server.id, (suspect, dead));
            match (beat, found, disk, self.serves(now, dead, server.id)) {
                (Beat::InTime | Beat::Late, ..) => (ServerState::Pending, silence.into()),

                (Beat::Gone | Beat::Lost, Some(Found::Refused), DiskBeat::Stale(_) | DiskBeat::Unknown, _) => (
                    ServerState::Dead,
                    format!("{silence}, its host says that nobody listens").into(),
                ),
                (Beat::Gone, Some(Found::Slow), ..) => (ServerState::Pending, silence.into()),
                (Beat::Gone | Beat::Lost, _, DiskBeat::Stale(age), _) => (
                    ServerState::Dead,
                    format!("{silence}, disk beat stale {}", seconds(age)).into(),
                ),
                (Beat::Gone, ..) => (ServerState::Pending, silence.into()),

                (Beat::Lost, Some(Found::Slow), ..) => (
                    ServerState::Pending,
                    odd("it is not heard; others get answers, and late ones".to_owned()),
                ),
                (Beat::Lost, _, DiskBeat::Fresh | DiskBeat::Unknown, true) if !is_stuck => (
                    ServerState::Pending,
                    odd("no server hears it, and its clients do: it serves on".to_owned()),
                ),
                (Beat::Lost, _, DiskBeat::Fresh, _) => {
                    (ServerState::Dead, format!("{silence}, disk beat fresh").into())
                }
                (Beat::Lost, _, DiskBeat::Unknown, _) => {
                    (ServerState::Dead, format!("{silence}, nobody sees its disks").into())
                }
            }
        };
        Weighed {
            state: held,
            evidence,
            silent_micros: late,
            is_attested,
            is_steady: self.steady(now, server.id).is_some_and(|steady| steady >= dead),
            is_odd,
        }
    }
}

/// The evidence of a server that is as it should be.
pub(super) const BEATS: &str = "it beats";

/// `1.2 s`.
fn seconds(micros: Time) -> String {
    format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000)
}
