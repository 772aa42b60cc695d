//! Recall: what clients hold alone is taken back before an aggregate is given up, and nobody is alone from then on.
//!
//! Who gives a hold back has been answered every change that it made while it was alone, and the log has them all. A
//! client that cannot be told is waited for while its lifetime runs; what it has to say goes to the next owner.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use baton_types::call::Hold;
use baton_types::limits::{CLIENT_SILENCE_MICROS, CLOCK_SLACK_MICROS};
use baton_types::{ClientId, Error, Kind, Result, Time};

use super::Driver;
use crate::state::Event;

/// A client that lives answers in that time, and one that does not is silent by then.
const PATIENCE: Time = CLIENT_SILENCE_MICROS + CLOCK_SLACK_MICROS;
/// Between two looks whether all have answered.
const LOOK: Duration = Duration::from_millis(5);

/// What clients held when an aggregate was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recalled {
    /// Holds of clients that were alone in a fileset.
    pub holds: u64,
    /// Clients that hold something and have no connection to be told on.
    pub unreachable: u64,
}

impl Driver {
    /// Takes back what clients hold alone, and waits for that and for the log.
    ///
    /// # Errors
    /// `Busy` if a client that lives does not give it back: then all is as before.
    pub fn recall(self: &Arc<Self>) -> Result<Recalled> {
        let recalled = self.held();
        self.step(Event::Recall);
        let until = self.house.clock.now() + PATIENCE;
        while self.is_awaited() {
            if self.house.clock.now() >= until {
                self.step(Event::Relent);
                let error = Error::new(Kind::Busy, format!("aggregate {}", self.export.name));
                let error = error.because("a client does not give back what it holds");
                return Err(error.remedy("to go on without it: -force; what it wrote goes to the next owner"));
            }
            std::thread::sleep(LOOK);
        }
        self.aggregate().wait(self.aggregate().last())?;
        Ok(recalled)
    }

    /// What clients hold now.
    pub fn held(&self) -> Recalled {
        let holds = self.core.lock().state.holds();
        let alone = holds.iter().filter(|(_, hold)| *hold == Hold::Alone).count();
        let clients: BTreeSet<ClientId> = holds.into_iter().map(|(client, _)| client).collect();
        let is_away = |client: &&ClientId| !self.house.pushes.reaches(**client, self.line());
        Recalled {
            holds: alone as u64,
            unreachable: clients.iter().filter(is_away).count() as u64,
        }
    }

    /// Whether a client that lives is still alone somewhere.
    fn is_awaited(&self) -> bool {
        let core = self.core.lock();
        let is_awaited = |(client, hold): &(ClientId, Hold)| *hold == Hold::Alone && !core.state.is_silent(*client);
        !core.is_stopped && core.state.holds().iter().any(is_awaited)
    }
}
