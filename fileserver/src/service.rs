//! The service: every call of every client, to its answer.
//!
//! A call never holds up who brings it. What the store has in memory is answered in place; what would wait goes to
//! the store's threads, or is parked until it may go on, and its [`Reply`] runs there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use baton_aggregate::format::Lsn;
use baton_security::auth::Identity;
use baton_types::call::{Answer, Request};
use baton_types::control::Force;
use baton_types::{AggregateId, ClientId, Clock, Epoch, Error, FilesetId, Kind, PrincipalName, Result};
use bytes::Bytes;
use parking_lot::RwLock;

use crate::driver::{Driver, House, Past, Peace, Recalled};
use crate::exports::{Export, Exports};
use crate::handed::Handed;
use crate::pool::Pool;
use crate::pushes::Pushes;
use crate::session::Session;
use crate::who::{Cred, Registry};

/// One call, decoded and known to be somebody's.
pub struct Call {
    /// Which mount asks, as its Hello said.
    pub client: ClientId,
    /// The machine at the other end, if TLS proved one.
    pub host: Option<PrincipalName>,
    /// For whom.
    pub who: Arc<Cred>,
    /// What the last `Bind` on its connection named and was granted: a connection serves one aggregate under one
    /// epoch. Sessions are numbered within it; a fileset elsewhere, or another epoch, is refused. Only `Bind` has none.
    pub bound: Option<Bound>,
    /// Which of its client's rounds of connections it came on; what comes on older ones is not done any more.
    pub round: u32,
    /// From the header; 0 in the Bind that asks for a new one.
    pub session: u64,
    /// From the header.
    pub stream: u16,
    /// From the header; 0 for what changes nothing.
    pub sequence: u32,
    /// Replies of stream 0 that the client has.
    pub seen: u32,
    /// What it asks.
    pub request: Request,
    /// What travels beside it.
    pub payload: Bytes,
}

/// What a connection is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Which aggregate.
    pub aggregate: AggregateId,
    /// The epoch that the answer to `Bind` gave.
    pub epoch: Epoch,
}

/// A call that was refused.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Why.
    pub error: Box<Error>,
    /// Its place in history if it has one: a change that was refused is refused again. Else 0.
    pub lsn: u64,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        let error = Box::new(error);
        Refused { error, lsn: 0 }
    }
}

/// What became of a call: the answer and its payload.
pub type Outcome = Result<(Answer, Bytes), Refused>;

/// Takes the outcome to the one who asked. It runs once, on any thread, and must not wait; dropped, it says nothing.
pub type Reply = Box<dyn FnOnce(Outcome) + Send>;

/// Calls in flight at once, of all clients: past that a call is refused, and its client asks again.
const CALLS_MAX: usize = 16_384;
/// Threads that wait for disks: as many reads as a disk does at once.
const STORE_THREADS: usize = 8;

/// The file service of this server.
pub struct Service {
    exports: Arc<Exports>,
    registry: Arc<Registry>,
    house: Arc<House>,
    drivers: RwLock<BTreeMap<AggregateId, Arc<Driver>>>,
    in_flight: Arc<AtomicUsize>,
}

impl Service {
    /// Serves what of `exports` it is told to, to those whom `registry` knows; `pushes` takes to clients what they are
    /// told unasked.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn start(
        exports: Arc<Exports>,
        registry: Arc<Registry>,
        pushes: Arc<Pushes>,
        clock: Arc<dyn Clock>,
    ) -> Result<Service> {
        let pool = Pool::start(STORE_THREADS)?;
        Ok(Service {
            exports,
            registry,
            house: Arc::new(House { pool, pushes, clock }),
            drivers: RwLock::default(),
            in_flight: Arc::default(),
        })
    }

    /// What it serves.
    pub fn exports(&self) -> &Arc<Exports> {
        &self.exports
    }

    /// Exports an aggregate: from now on its calls are served. Reads from its log who held what: not for a thread that
    /// may not wait.
    ///
    /// # Errors
    /// Damage; `Exists` if it is exported already; a thread that the system refuses.
    pub fn serve(&self, export: &Arc<Export>) -> Result<()> {
        let driver = Driver::start(export.clone(), self.house.clone())?;
        if let Err(error) = self.exports.insert(export.clone()) {
            driver.stop();
            return Err(error);
        }
        let before = self.drivers.write().insert(export.id, driver);
        if let Some(before) = before {
            before.stop();
        }
        Ok(())
    }

    /// Takes back from clients what they hold alone, if anybody waits for that; and says what they hold. May wait.
    ///
    /// # Errors
    /// `Busy` if a client that lives keeps it.
    pub fn recall(&self, export: &Export, force: Force) -> Result<Recalled> {
        let driver = self.driver(export.id, export.epoch)?;
        match force {
            Force::No => driver.recall(),
            Force::Yes => Ok(driver.held()),
        }
    }

    /// Has a fileset of `export` as a whole changed, in the name of a client. May wait.
    ///
    /// # Errors
    /// The change's own; `Detached` if the aggregate is not served; what the log says.
    pub fn change_whole(
        &self,
        export: &Export,
        of: (FilesetId, ClientId),
        change: impl FnOnce() -> Result<Lsn>,
    ) -> Result<()> {
        self.driver(export.id, export.epoch)?.change_whole(of, change)
    }

    /// Whether clients of the last owner of `export` may yet say again what they changed in a fileset.
    ///
    /// # Errors
    /// `Detached` if the aggregate is not served.
    pub fn awaits(&self, export: &Export, fileset: FilesetId) -> Result<bool> {
        Ok(self.driver(export.id, export.epoch)?.awaits(fileset))
    }

    /// Files without a name that a new fileset of `export` began with are taken apart. May wait.
    ///
    /// # Errors
    /// `Detached` if the aggregate is not served.
    pub fn sweep(&self, export: &Export, fileset: FilesetId) -> Result<()> {
        self.driver(export.id, export.epoch)?.sweep(fileset);
        Ok(())
    }

    /// Exports it no more: whoever waits for something of it is told so, and asks the location database. To be called
    /// before its store is given up. May wait.
    pub fn withdraw(&self, export: &Export) {
        self.exports.remove(export);
        let mut drivers = self.drivers.write();
        let is_it = |driver: &Arc<Driver>| driver.export().epoch == export.epoch;
        let driver = match drivers.get(&export.id).is_some_and(is_it) {
            true => drivers.remove(&export.id),
            false => None,
        };
        drop(drivers);
        if let Some(driver) = driver {
            driver.stop();
        }
    }

    /// Nothing of `export` changes from here on, and its calls wait; what clients hold there, unless that is not known
    /// yet. May wait.
    ///
    /// # Errors
    /// `TimedOut` if what is under way does not end `within`; `Detached` if it is not served.
    pub fn freeze(&self, export: &Export, within: Duration) -> Result<Option<Handed>> {
        self.driver(export.id, export.epoch)?.freeze(within)
    }

    /// How grace went so far in `export`; `None` if it is not served.
    pub fn peace(&self, export: &Export) -> Option<Peace> {
        Some(self.driver(export.id, export.epoch).ok()?.peace())
    }

    /// What was frozen goes on.
    pub fn thaw(&self, export: &Export) {
        if let Ok(driver) = self.driver(export.id, export.epoch) {
            driver.thaw();
        }
    }

    /// What somebody who logged in is to the files; `None` is one who did not.
    pub fn who(&self, identity: Option<&Identity>) -> Arc<Cred> {
        Arc::new(self.registry.cred(identity))
    }

    /// Sees to `call`; `reply` hears of it, here or later.
    pub fn call(&self, call: Call, reply: Reply) {
        let flight = Flight::begin(&self.in_flight);
        if flight.0.load(Ordering::Relaxed) > CALLS_MAX {
            let error = Error::new(Kind::Limit, "call").because(format!("{CALLS_MAX} calls are in flight"));
            return reply(Err(error.remedy("ask again").into()));
        }
        let routed = match (&call.request, call.bound) {
            (Request::Bind { aggregate, epoch, .. }, _) => self.newest_driver(*aggregate, *epoch).map(Way::Bind),
            (_, Some(bound)) => self.route(&call, bound),
            (_, None) => Err(Error::new(Kind::Invalid, "call").because("its connection is not bound")),
        };
        match routed {
            Ok(Way::Call(driver, session)) => driver.dispatch(&session, call, told(&driver, flight, reply)),
            Ok(Way::Past(driver, past)) => driver.dispatch_past(past, call, told(&driver, flight, reply)),
            Ok(Way::Bind(driver)) => {
                let reply = told(&driver, flight, reply);
                self.house.pool.run(Box::new(move || driver.bind(call, reply)));
            }
            Err(error) => reply(Err(error.into())),
        }
    }

    /// The last connection of `client` is closed. Nothing of it is lost: it may come back while its lifetime lasts.
    pub fn gone(&self, client: ClientId) {
        tracing::debug!(%client, "no connection any more");
    }

    /// Who is to see to a call of a session.
    fn route(&self, call: &Call, bound: Bound) -> Result<Way> {
        let driver = self.driver(bound.aggregate, bound.epoch)?;
        let on = || format!("session {}", call.session);
        let session = driver.session(call.session).ok_or_else(|| {
            let error = Error::new(Kind::WrongEpoch, on()).because("it was not taken up under this epoch");
            error.remedy("bind again")
        })?;
        if session.client != call.client || session.host != call.host {
            return Err(Error::new(Kind::Denied, on()).because("it is another client's"));
        }
        if let Some(fileset) = call.request.fileset() {
            let (found, past) = self.exports.find(fileset)?;
            if (found.id, found.epoch) != (bound.aggregate, bound.epoch) {
                let error = Error::new(Kind::Moved, format!("fileset {fileset}"));
                return Err(error.because("not of this connection's aggregate"));
            }
            if let Some(past) = past {
                return Ok(Way::Past(driver, past));
            }
        }
        Ok(Way::Call(driver, session))
    }

    /// The driver of an aggregate, under `known` or a newer epoch: who binds may not have heard of that one.
    fn newest_driver(&self, aggregate: AggregateId, known: Epoch) -> Result<Arc<Driver>> {
        let served = self.exports.of_aggregate(aggregate)?.epoch;
        self.driver(aggregate, served.max(known))
    }

    /// The driver of an aggregate under an epoch.
    fn driver(&self, aggregate: AggregateId, epoch: Epoch) -> Result<Arc<Driver>> {
        let export = self.exports.of_aggregate(aggregate)?;
        let on = || format!("aggregate {}", export.name);
        if export.epoch != epoch {
            let error = Error::new(Kind::WrongEpoch, on());
            return Err(error.because(format!("served under epoch {}, asked under {epoch}", export.epoch)));
        }
        if !export.accepting() {
            return Err(Error::new(Kind::Detached, on()));
        }
        let driver = self.drivers.read().get(&aggregate).cloned();
        let driver = driver.filter(|driver| driver.export().epoch == epoch);
        driver.ok_or_else(|| Error::new(Kind::Recovering, on()))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        for export in self.exports.list() {
            self.withdraw(&export);
        }
    }
}

/// A reply that counts as in flight until it has run or is dropped; errors of the disk go by way of the driver.
fn told(driver: &Arc<Driver>, flight: Flight, reply: Reply) -> Reply {
    let driver = Arc::downgrade(driver); // it keeps replies
    Box::new(move |outcome| {
        drop(flight);
        let is_of_disk = outcome.as_ref().is_err_and(|refused| refused.error.kind == Kind::Io);
        match driver.upgrade().filter(|_| is_of_disk) {
            Some(driver) => driver.doubt(reply, outcome),
            None => reply(outcome),
        }
    })
}

/// Where a call goes.
enum Way {
    /// A session is taken up, or a new one begun.
    Bind(Arc<Driver>),
    /// It is of this session.
    Call(Arc<Driver>, Arc<Session>),
    /// It is about something that does not change.
    Past(Arc<Driver>, Past),
}

/// A call in flight.
struct Flight(Arc<AtomicUsize>);

impl Flight {
    fn begin(count: &Arc<AtomicUsize>) -> Flight {
        count.fetch_add(1, Ordering::Relaxed);
        Flight(count.clone())
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
