//! The simulations that can be asked for by name.

use super::{Trace, Violation, arbiter, fldb, fldb_state, session, store, toy};

/// A kind of history.
#[derive(Clone, Copy, Debug)]
pub struct Simulation {
    /// What it is asked for by.
    pub name: &'static str,
    /// What it shows, in a line.
    pub about: &'static str,
    /// One history of it: everything that happens follows from the seed.
    pub history: fn(u64) -> Result<Trace, Violation>,
}

/// All of them.
pub const SIMULATIONS: &[Simulation] = &[
    Simulation {
        name: "arbiter",
        about: "who owns what: the arbiter and the state against stops, crashes, cuts, failing ports and false alarms",
        history: arbiter::history,
    },
    Simulation {
        name: "fldb",
        about: "the location database with its real Raft: members, clients, watchers",
        history: fldb::history,
    },
    Simulation {
        name: "fldb-state",
        about: "its state machine and watchers alone, under an agreed list",
        history: fldb_state::history,
    },
    Simulation {
        name: "session",
        about: "clients' and servers' sessions: names, replays, lifetimes, against cuts, restarts, zombies and sleepers",
        history: session::history,
    },
    Simulation {
        name: "store",
        about: "an aggregate: clients, commits, checkpoints, takeovers, against power cuts, failing writes, zombies and rot",
        history: store::history,
    },
    Simulation {
        name: "store-fence",
        about: "two servers on one aggregate: claim, seal and look against pauses, crashes and late writes",
        history: store::fence::history,
    },
    Simulation {
        name: "store-owners",
        about: "the same with the whole store on it: log, checkpoints, reserves, frees, recovery",
        history: store::fence::history_of_whole,
    },
    Simulation {
        name: "toy",
        about: "a register on three replicas: the scheduler's own proof",
        history: toy::history,
    },
    Simulation {
        name: "toy-broken",
        about: "the same with replicas that answer before their sync: what a violation looks like",
        history: toy::history_of_broken,
    },
];

/// The simulation called `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Simulation> {
    SIMULATIONS.iter().find(|simulation| simulation.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_finds_itself() {
        for simulation in SIMULATIONS {
            assert_eq!(find(simulation.name).map(|found| found.about), Some(simulation.about));
        }
        assert!(find("atlantis").is_none());
    }
}
