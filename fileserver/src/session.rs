//! A session as its server has it in memory: whose it is, and how much of its changes its client knows to be durable.
//!
//! That its changes run once and in order is seen to before (`baton_rpc::session`) and behind it (the store).

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use baton_types::{ClientId, Error, Kind, PrincipalName};

/// A session that its client has taken up here.
#[derive(Debug)]
pub struct Session {
    /// Its number.
    pub id: u64,
    /// Whose it is.
    pub client: ClientId,
    /// From which machine: another one cannot take it up by its number.
    pub host: Option<PrincipalName>,
    /// The newest round of connections that it was taken up on.
    round: AtomicU32,
    /// The last place in history that it was told of.
    answered: AtomicU64,
    /// Up to where it was told that all is durable.
    told: AtomicU64,
}

impl Session {
    /// A session of `client`, on the machine `host`, that was told of nothing yet.
    pub fn new(id: u64, client: ClientId, host: Option<PrincipalName>) -> Session {
        Session {
            id,
            client,
            host,
            round: AtomicU32::new(0),
            answered: AtomicU64::new(0),
            told: AtomicU64::new(0),
        }
    }

    /// What is asked of it when it is over.
    pub fn lost(&self) -> Error {
        Error::new(Kind::SessionLost, format!("session {}", self.id)).because("it is over")
    }

    /// It is taken up on a connection of `round`; false if its client has given that one up.
    pub fn begin(&self, round: u32) -> bool {
        self.round.fetch_max(round, Ordering::AcqRel) <= round
    }

    /// Whether its client still uses connections of `round`.
    pub fn uses(&self, round: u32) -> bool {
        self.round.load(Ordering::Acquire) <= round
    }

    /// Its client is told of a place in history, and up to where all is durable.
    pub fn tell(&self, lsn: u64, durable: u64) {
        self.answered.fetch_max(lsn, Ordering::AcqRel);
        self.told.fetch_max(durable, Ordering::AcqRel);
    }

    /// Whether its client was told of changes and not yet that they are durable.
    pub fn is_behind(&self) -> bool {
        self.told.load(Ordering::Acquire) < self.answered.load(Ordering::Acquire)
    }

    /// Whether its client waits for the news that everything up to `durable` is; from now on it has that.
    pub fn wants_mark(&self, durable: u64) -> bool {
        let wants = self.is_behind() && self.told.load(Ordering::Acquire) < durable;
        if wants {
            self.told.fetch_max(durable, Ordering::AcqRel);
        }
        wants
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_knows_all_wants_no_mark() {
        let session = Session::new(7, ClientId::random(), None);
        assert!(!session.wants_mark(5), "it changed nothing");
        session.tell(10, 5);
        assert!(session.is_behind() && !session.wants_mark(5), "it knows that much");
        assert!(session.wants_mark(8) && !session.wants_mark(8));
        session.tell(0, 10);
        assert!(!session.is_behind() && !session.wants_mark(20));
    }
}
