//! `World`: what all parts of a history share: time, network, machines, oracles, and the record of what happened.
//!
//! Everything runs on one thread, so no lock is ever waited for, and none is held while something is awaited. Where
//! one is taken under another it is in this order: oracle, hosts, seed, network, record.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use baton_flserver::raft::Member;
use baton_types::{Error, Kind, Result, Time};
use futures::future::{BoxFuture, pending};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::host::Host;
use super::oracle::Oracle;
use super::plan::Plan;
use crate::invariants::Verdict;
use crate::sim::{Network, Seed, Trace, Violation};

/// Where something is in the network: a member by its number, anybody else from [`CLIENTS`] on.
pub(super) type Place = u64;

/// The first place that is no member's.
pub(super) const CLIENTS: Place = 1_000;

pub(super) struct World {
    pub plan: Plan,
    began: Instant,
    seed: Mutex<Seed>,
    network: Mutex<Network>,
    trace: Mutex<Trace>,
    pub oracle: Mutex<Oracle>,
    pub hosts: Mutex<BTreeMap<u64, Host>>,
    /// Members whose appends get nowhere, for histories that are told and not drawn.
    pub muted: Mutex<BTreeSet<u64>>,
    broken: watch::Sender<Option<Violation>>,
    /// How far the history is.
    pub phase: Mutex<Phase>,
}

/// The parts of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Anything may break.
    Troubled,
    /// Nothing is broken any more; everybody comes to an end.
    Healed,
    /// All changes are made, and all members know them.
    Settled,
}

impl World {
    pub fn new(number: u64, plan: Plan, mut seed: Seed) -> Arc<World> {
        Arc::new(World {
            plan,
            began: Instant::now(),
            network: Mutex::new(Network::drawn(&mut seed)),
            seed: Mutex::new(seed),
            trace: Mutex::new(Trace::new(number)),
            oracle: Mutex::default(),
            hosts: Mutex::default(),
            muted: Mutex::default(),
            broken: watch::channel(None).0,
            phase: Mutex::new(Phase::Troubled),
        })
    }

    /// Microseconds since the history began.
    pub fn now(&self) -> Time {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The moment that is `micros` after the beginning.
    pub fn moment(&self, micros: Time) -> Instant {
        self.began + Duration::from_micros(micros)
    }

    /// Draws from the history's seed.
    pub fn draw<T>(&self, draw: impl FnOnce(&mut Seed) -> T) -> T {
        draw(&mut self.seed.lock())
    }

    /// Draws a time between two numbers of microseconds.
    pub fn draw_time(&self, low: Time, high: Time) -> Duration {
        Duration::from_micros(self.draw(|seed| seed.between(low, high)))
    }

    /// Looks at the links, or changes them.
    pub fn network<T>(&self, change: impl FnOnce(&mut Network) -> T) -> T {
        change(&mut self.network.lock())
    }

    /// Adds a line to the record.
    pub fn note(&self, who: impl fmt::Display, what: fmt::Arguments<'_>) {
        self.trace.lock().note(self.now(), who, what);
    }

    /// What an oracle says ends the history if it is bad.
    pub fn check(&self, verdict: Verdict) {
        if let Err(what) = verdict {
            let violation = self.trace.lock().violation(what);
            self.broken.send_if_modified(|broken| {
                let is_first = broken.is_none();
                broken.get_or_insert(violation);
                is_first
            });
        }
    }

    /// Returns when something is broken.
    pub async fn broken(&self) -> Violation {
        let mut broken = self.broken.subscribe();
        let found = broken
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|found| found.clone());
        match found {
            Some(violation) => violation,
            None => pending().await,
        }
    }

    /// What went wrong, with the record so far.
    pub fn violation(&self, what: String) -> Violation {
        self.trace.lock().violation(what)
    }

    /// Lets go of everything, and gives the record.
    pub fn into_trace(self: Arc<World>) -> Trace {
        self.hosts.lock().clear();
        std::mem::replace(&mut *self.trace.lock(), Trace::new(0))
    }

    /// True while nothing passes from one place to the other.
    pub fn is_cut(&self, from: Place, to: Place) -> bool {
        self.network(|network| network.is_cut(index(from), index(to)))
    }

    /// Nothing passes between the two any more, in either direction.
    pub fn cut(&self, one: Place, other: Place) {
        self.network(|network| {
            network.cut(index(one), index(other));
            network.cut(index(other), index(one));
        });
    }

    /// Everything passes between the two again.
    pub fn mend(&self, one: Place, other: Place) {
        self.network(|network| {
            network.mend(index(one), index(other));
            network.mend(index(other), index(one));
        });
    }

    /// How long each copy of a message takes; none if it is lost.
    pub fn delays(&self, from: Place, to: Place) -> Vec<Duration> {
        let mut seed = self.seed.lock();
        let delays = self.network.lock().delays(index(from), index(to), &mut seed);
        delays.map(Duration::from_micros).collect()
    }

    /// The member that runs on this host, and its life.
    pub fn running(&self, number: u64) -> Option<(u64, Member)> {
        let hosts = self.hosts.lock();
        let host = hosts.get(&number)?;
        host.member.clone().map(|member| (host.life, member))
    }

    /// Who leads, as it says itself; the newest, should two say so.
    pub fn leader(&self) -> Option<u64> {
        let numbers: Vec<u64> = self.hosts.lock().keys().copied().collect();
        let leaders = numbers.into_iter().filter(|number| self.leads(*number));
        leaders.max_by_key(|number| self.running(*number).map(|(_, member)| member.status().term))
    }

    /// True if this member says that it leads.
    pub fn leads(&self, number: u64) -> bool {
        let running = self.running(number);
        running.is_some_and(|(_, member)| member.status().leader == Some(number))
    }

    /// True if nothing has ended this life of the member.
    pub fn is_alive(&self, number: u64, life: u64) -> bool {
        self.hosts.lock().get(&number).is_some_and(|host| host.life == life)
    }

    /// Carries a question to a member and its answer back. Either may be lost or late, and a question may come
    /// twice. Who waits for an answer that is lost waits for ever: a deadline is the caller's business.
    pub async fn ask<T: Send + 'static>(
        self: &Arc<World>,
        from: Place,
        to: u64,
        what: String,
        work: Work<T>,
    ) -> Result<T> {
        let (answer, mut answers) = mpsc::channel(2);
        let what: Arc<str> = what.into();
        for delay in self.delays(from, to) {
            let (world, what, work, answer) = (self.clone(), what.clone(), work.clone(), answer.clone());
            tokio::spawn(async move {
                sleep(delay).await;
                if let Some(result) = world.deliver(from, to, &what, work).await {
                    // Nobody may be waiting any more.
                    let _ = answer.send(result).await;
                }
            });
        }
        drop(answer);
        match answers.recv().await {
            Some(answer) => answer,
            None => pending().await,
        }
    }

    /// What comes of a copy of a question that arrives now, once the answer to it is back; none if it never is.
    async fn deliver<T>(&self, from: Place, to: u64, what: &str, work: Work<T>) -> Option<Result<T>> {
        if self.is_cut(from, to) {
            return None;
        }
        let result = match self.running(to) {
            None => self.refused(to)?,
            Some((life, member)) => {
                self.note(Shown(from), format_args!("> {} {what}", Shown(to)));
                let result = work(member).await;
                if !self.is_alive(to, life) {
                    return None;
                }
                result
            }
        };
        let delay = self.delays(to, from).first().copied()?;
        sleep(delay).await;
        (!self.is_cut(to, from)).then_some(result)
    }

    /// What a machine says when nobody listens on it; nothing if it is off.
    pub fn refused<T>(&self, number: u64) -> Option<Result<T>> {
        let says = self.hosts.lock().get(&number).is_some_and(|host| host.refuses);
        says.then(|| Err(Error::new(Kind::Unreachable, Shown(number).to_string()).because("connection refused")))
    }
}

/// What a question does when it has arrived; twice if it arrives twice.
pub(super) type Work<T> = Arc<dyn Fn(Member) -> BoxFuture<'static, Result<T>> + Send + Sync>;

/// A place by its name.
#[derive(Clone, Copy)]
pub(super) struct Shown(pub Place);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            CLIENTS.. => write!(f, "client{}", self.0 - CLIENTS),
            number => write!(f, "fl{number}"),
        }
    }
}

fn index(place: Place) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}
