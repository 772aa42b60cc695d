//! One call, re-aimed until a member decides it or its time is over.

use std::sync::Arc;
use std::time::Duration;

use baton_proto::{failure_of, from_status, v1};
use baton_security::callers::{CALLER_EXPIRED, CALLER_UNKNOWN};
use baton_types::record::{Member, Record};
use baton_types::{Error, Kind, Result};
use tokio::time::{Instant, sleep, timeout_at};

use super::trail::{Trail, is_transient};
use super::{FldbClient, Inner};
use crate::config::PORT_FLDB;
use crate::dial::{Connection, Dialer, Target};

/// The first wait after all members were asked in vain; each one after it is twice as long.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// The longest: elections end within two seconds, and a member that came up should not wait for us.
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// The least that an attempt gets of what is left: a commit over a wide network with a lost packet.
const ATTEMPT_MIN: Duration = Duration::from_secs(1);

/// How often the members are asked for again while calls are made.
const LEARN_EVERY: Duration = Duration::from_secs(2);

/// A connection on which the client's identity is known.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) connection: Connection,
    /// 0 for nobody, and for a machine by its certificate.
    pub(super) caller: u32,
}

/// How the time that is left is given to attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// Part of it, so that a member which does not answer leaves some for the others.
    Part,
    /// All of it: a long answer is no silence; a member that is gone is found out by its connection.
    All,
}

impl FldbClient {
    /// Does `op` with one member after another.
    pub(super) async fn call<T, F, Fut>(&self, share: Share, op: F) -> Result<T>
    where
        F: Fn(Arc<Live>) -> Fut,
        Fut: Future<Output = Result<T, tonic::Status>>,
    {
        let mut trail = Trail::default();
        self.call_on(&mut trail, share, op).await
    }

    /// The same, for one who wants to know what came before its end.
    pub(super) async fn call_on<T, F, Fut>(&self, trail: &mut Trail, share: Share, op: F) -> Result<T>
    where
        F: Fn(Arc<Live>) -> Fut,
        Fut: Future<Output = Result<T, tonic::Status>>,
    {
        let deadline = Instant::now() + self.patience;
        loop {
            let live = self.inner.live(trail, deadline).await?;
            let until = match share {
                Share::Part => self.inner.attempt_end(trail, deadline),
                Share::All => deadline,
            };
            let error = match timeout_at(until, op(live.clone())).await {
                Ok(Ok(done)) => {
                    self.inner.learn_again(&live);
                    return Ok(done);
                }
                Ok(Err(status)) => judge(&status)?,
                Err(_) => Error::new(Kind::TimedOut, "").because("it did not answer in time"),
            };
            self.inner.leave(&live);
            match error.kind {
                // It was not done: log in again, once, on a new connection.
                Kind::Expired if trail.has_logged_in_again => return Err(error),
                Kind::Expired => trail.has_logged_in_again = true,
                kind => {
                    trail.is_doubtful |= kind != Kind::Moved;
                    trail.reached(live.connection.target().clone(), error);
                }
            }
        }
    }
}

/// The error, if it leads to another attempt; else it is the member's decision, and returned.
fn judge(status: &tonic::Status) -> Result<Error> {
    let error = failure_of(status).unwrap_or_else(|| from_status(status));
    let is_handle = [CALLER_EXPIRED, CALLER_UNKNOWN].contains(&error.reason.as_str());
    match error.kind {
        Kind::Expired if is_handle => Ok(error),
        kind if is_transient(kind) => Ok(error),
        _ => Err(error),
    }
}

impl Inner {
    /// The connection there is, or a new one to a member that this call has not tried in this round.
    ///
    /// # Errors
    /// When the time is over, or nothing that time could mend keeps everyone from answering.
    async fn live(&self, trail: &mut Trail, deadline: Instant) -> Result<Arc<Live>> {
        let mut backoff = BACKOFF_MIN;
        loop {
            let left = |trail: &Trail| -> Vec<Target> {
                let all = self.known.lock().all();
                all.into_iter().filter(|target| !trail.avoids(target)).collect()
            };
            match timeout_at(deadline, self.dialling.lock()).await {
                Err(_) => return Err(trail.to_error(&self.cell)),
                Ok(_turn) => {
                    if let Some(live) = self.current(trail) {
                        return Ok(live);
                    }
                    if let Some(live) = self.dial(trail, &left(trail), deadline).await? {
                        *self.live.lock() = Some(live.clone());
                        return Ok(live);
                    }
                }
            }
            if !left(trail).is_empty() {
                continue;
            }
            if let Some(error) = trail.final_error() {
                return Err(error);
            }
            let pause = backoff.mul_f64(rand::random_range(0.5..1.0));
            if Instant::now() + pause >= deadline {
                return Err(trail.to_error(&self.cell));
            }
            sleep(pause).await;
            backoff = (2 * backoff).min(BACKOFF_MAX);
            trail.next_round();
        }
    }

    fn current(&self, trail: &Trail) -> Option<Arc<Live>> {
        let live = self.live.lock().clone();
        live.filter(|live| !trail.avoids(live.connection.target()))
    }

    /// Dials `targets`, logs in, and learns who the members are. `None` when it led to nothing, which is in the trail.
    async fn dial(&self, trail: &mut Trail, targets: &[Target], deadline: Instant) -> Result<Option<Arc<Live>>> {
        let dialer = Dialer::new(self.tls(), self.source, PORT_FLDB);
        match dialer.first(targets, deadline).await {
            Ok(connection) => {
                let target = connection.target().clone();
                match self.enter(connection, deadline).await {
                    Ok(live) => return Ok(Some(live)),
                    Err(error) if is_transient(error.kind) => trail.reached(target, error),
                    Err(error) => return Err(error),
                }
            }
            Err(failures) => failures
                .into_iter()
                .for_each(|(target, error)| trail.unreached(target, error)),
        }
        Ok(None)
    }

    /// Makes the client's identity known on a new connection.
    pub(super) async fn enter(&self, connection: Connection, deadline: Instant) -> Result<Arc<Live>> {
        let caller = self.log_in(&connection, deadline).await?;
        let live = Live { connection, caller };
        self.learn(&live, deadline).await;
        Ok(Arc::new(live))
    }

    /// Only an improvement: without it the client asks at the addresses it has.
    async fn learn(&self, live: &Live, deadline: Instant) {
        *self.learned.lock() = Instant::now();
        match timeout_at(deadline, members(live)).await {
            Ok(Ok(members)) => self.known.lock().learn(members),
            Ok(Err(error)) => tracing::debug!(%error, "members not learned"),
            Err(_) => tracing::debug!("members not learned in time"),
        }
    }

    /// Beside the calls on one connection: it may outlive all members but the one that it leads to.
    fn learn_again(self: &Arc<Inner>, live: &Arc<Live>) {
        if self.learned.lock().elapsed() < LEARN_EVERY {
            return;
        }
        *self.learned.lock() = Instant::now(); // one at a time is enough
        let (inner, live) = (self.clone(), live.clone());
        tokio::spawn(async move { inner.learn(&live, Instant::now() + ATTEMPT_MIN).await });
    }

    /// The client's handle on a new connection; 0 for nobody, and for a machine, whose certificate was shown.
    pub(super) async fn log_in(&self, connection: &Connection, deadline: Instant) -> Result<u32> {
        let late = |_| Error::new(Kind::TimedOut, "login").because("it was not done in time");
        match self.identity.initiator() {
            None => Ok(0),
            Some(initiator) => {
                let caller = timeout_at(deadline, connection.login(&initiator))
                    .await
                    .map_err(late)??;
                Ok(caller.handle)
            }
        }
    }

    /// The next call dials anew, unless another has done so already.
    pub(super) fn leave(&self, left: &Arc<Live>) {
        self.live.lock().take_if(|live| Arc::ptr_eq(live, left));
    }

    /// Until when a member may take to answer: what is left is shared with those not asked yet.
    fn attempt_end(&self, trail: &Trail, deadline: Instant) -> Instant {
        let all = self.known.lock().all();
        let others = all.iter().filter(|target| !trail.avoids(target)).count();
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now) / u32::try_from(others.max(1)).unwrap_or(u32::MAX);
        deadline.min(now + share.max(ATTEMPT_MIN))
    }
}

/// The members that one of them knows of.
async fn members(live: &Live) -> Result<Vec<Member>> {
    let request = v1::ListRequest {
        caller: live.caller,
        tables: vec![v1::Table::Member as i32],
        freshness: v1::Freshness::Local as i32,
        ..v1::ListRequest::default()
    };
    let failed = |status| from_status(&status);
    let mut pieces = live.connection.fldb().list(request).await.map_err(failed)?.into_inner();
    let mut members = Vec::new();
    while let Some(piece) = pieces.message().await.map_err(failed)? {
        for record in piece.records {
            if let Record::Member(member) = record.try_into()? {
                members.push(member);
            }
        }
    }
    Ok(members)
}
