//! Doubt: a client that gets no answer from a file server, or hears that the location database does not, looks for
//! itself and says what it found to every member. Nobody is dead because clients say so; but a server that is cut off
//! and serves its clients is left alone, and one that many clients cannot reach hands over to one that they can.

use std::collections::BTreeMap;
use std::time::Duration;

use baton_types::ServerId;
use baton_types::beat::Report;
use baton_types::record::{Server, ServerState};
use futures::future::join_all;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::FldbClient;
use crate::fldb::{Probe, Reporters};

/// Between two looks.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(300);
/// For so long after a search for its owner a server is in doubt.
const DOUBTED: Duration = Duration::from_secs(10);
/// For so long after it was asked for, a server is one that this client uses.
const USED: Duration = Duration::from_secs(3_600);

/// Which servers this client uses, and which of them it doubts.
#[derive(Debug, Default)]
pub(crate) struct Doubt {
    servers: Mutex<BTreeMap<ServerId, Doubted>>,
}

#[derive(Debug)]
struct Doubted {
    used: Instant,
    since: Option<Instant>,
}

impl Doubt {
    /// This client is sent to `server`.
    pub(crate) fn uses(&self, server: ServerId) {
        let now = Instant::now();
        let mut servers = self.servers.lock();
        servers.entry(server).or_insert(Doubted { used: now, since: None }).used = now;
    }

    /// This client looks whether it is still the one to be asked.
    pub(crate) fn doubts(&self, server: ServerId) {
        let now = Instant::now();
        let mut servers = self.servers.lock();
        servers
            .entry(server)
            .or_insert(Doubted { used: now, since: None })
            .since = Some(now);
    }

    /// Those to look at now: in doubt, or used and late.
    fn suspects(&self, known: &[Server]) -> Vec<Server> {
        let mut servers = self.servers.lock();
        servers.retain(|_, doubted| doubted.used.elapsed() < USED);
        let is_suspect = |server: &&Server| {
            servers.get(&server.id).is_some_and(|doubted| {
                let is_doubted = doubted.since.is_some_and(|since| since.elapsed() < DOUBTED);
                is_doubted || server.state == ServerState::Pending
            })
        };
        known.iter().filter(is_suspect).cloned().collect()
    }
}

/// Looks at suspects and reports, one round after the other.
pub(crate) struct Looks {
    probes: BTreeMap<ServerId, (Vec<baton_types::Address>, Vec<Probe>)>,
    reporters: Reporters,
}

impl Looks {
    pub(crate) fn new(client: &FldbClient) -> Looks {
        Looks {
            probes: BTreeMap::new(),
            reporters: client.reporters(),
        }
    }

    /// One round.
    pub(crate) async fn look(&mut self, doubt: &Doubt, known: &[Server]) {
        let suspects = doubt.suspects(known);
        self.probes
            .retain(|id, (at, _)| suspects.iter().any(|s| s.id == *id && s.addresses == *at));
        if suspects.is_empty() {
            self.reporters.rest();
            return;
        }
        for server in &suspects {
            self.probes
                .entry(server.id)
                .or_insert_with(|| (server.addresses.clone(), self.reporters.probes(server)));
        }
        let asking = self.probes.iter_mut().map(|(server, (_, probes))| async {
            let answers = join_all(probes.iter_mut().map(Probe::answers)).await;
            Report {
                server: *server,
                is_good: answers.contains(&true),
            }
        });
        for report in join_all(asking).await {
            self.reporters.report(report);
        }
    }
}
