//! `Host`: the machine of a member. Its disk outlives the process; of the process nothing outlives a crash.
//!
//! The old Raft is not taken out of the runtime at once, but it is cut off from everything: what it sends goes
//! nowhere, its store refuses it, nobody calls it back and no oracle hears it. Then it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use baton_flserver::publish::Published;
use baton_flserver::raft::{Heard, Member, Parts, Peer, Probe, Timing, Work, Writer};
use baton_flserver::store::{MemoryDisk, MemoryStore};
use baton_types::{Address, Clock, Error, Kind, Result, Time, Timestamp};
use tokio::time::{sleep, sleep_until, timeout};

use super::wire::SimWire;
use super::world::{Shown, World};
use crate::sim::Seed;

/// Time of a sync, in microseconds: a cache that answers, to a busy device.
const SYNC_MICROS: (Time, Time) = (200, 3_000);
/// Time to write a snapshot, in microseconds: long enough that something happens meanwhile.
const SNAPSHOT_MICROS: (Time, Time) = (500, 60_000);
/// Between two signs of life to watchers.
const TICK: Duration = Duration::from_millis(100);
/// Between two looks at the membership.
const LOOK: Duration = Duration::from_millis(50);
/// A step of the membership that takes longer is left to whoever leads then.
const STEP: Duration = Duration::from_secs(1);
/// Most that a machine's date is off: a day.
const SKEW_SECONDS_MAX: u64 = 86_400;
/// The date of the beginning of every history.
const DATE: Timestamp = Timestamp(1_800_000_000_000_000_000);

pub(super) struct Host {
    disk: MemoryDisk,
    /// Counts the lives of its process; a dead one has a number of its own.
    pub life: u64,
    pub member: Option<Member>,
    pub state: State,
    /// Whether its machine says that nobody listens, or nothing at all.
    pub refuses: bool,
    /// Something was done to its disk: it may stop by itself.
    pub ailing: bool,
    /// Its disk answers nothing before this moment.
    pub hung_until: Time,
    skew: Timestamp,
    timing: Timing,
}

/// What a host is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Up,
    Down,
    /// It will never come back.
    Lost,
}

impl Host {
    pub fn drawn(seed: &mut Seed) -> Host {
        // Timers that are a little fast or slow: no two machines agree how long a lease is.
        let percent = u32::try_from(seed.between(90, 110)).unwrap_or(100);
        let usual = Timing::default();
        let timing = Timing {
            heartbeat: usual.heartbeat * percent / 100,
            election_min: usual.election_min * percent / 100,
            election_max: usual.election_max * percent / 100,
        };
        Host {
            disk: MemoryDisk::new(),
            life: 0,
            member: None,
            state: State::Down,
            refuses: false,
            ailing: false,
            hung_until: 0,
            skew: DATE.plus_seconds(seed.below(SKEW_SECONDS_MAX)),
            timing,
        }
    }

    /// From its next life on its timers are so slow that others always stand for election first.
    pub fn slow_down(&mut self) {
        self.timing.election_min *= 10;
        self.timing.election_max *= 10;
    }

    /// Its date is put to another one.
    pub fn set_date(&mut self, seed: &mut Seed) {
        self.skew = DATE.plus_seconds(seed.below(SKEW_SECONDS_MAX));
    }

    pub fn fail_after(&mut self, syncs: u64, kind: Kind) {
        self.ailing = true;
        self.disk.fail_after(syncs, kind);
    }
}

/// How a member is called, and where it would listen.
pub(super) fn peer(number: u64) -> Peer {
    Peer {
        name: Shown(number).to_string(),
        addresses: address(number).into_iter().collect(),
    }
}

pub(super) fn address(number: u64) -> Option<Address> {
    Address::parse(&format!("10.0.0.{number}")).ok()
}

/// A host's date.
struct HostClock {
    world: Arc<World>,
    number: u64,
}

impl Clock for HostClock {
    fn now(&self) -> Time {
        self.world.now()
    }

    fn date(&self) -> Timestamp {
        let hosts = self.world.hosts.lock();
        let skew = hosts.get(&self.number).map_or(DATE, |host| host.skew);
        let since = i64::try_from(self.world.now() * 1_000).unwrap_or(i64::MAX);
        Timestamp(skew.0.saturating_add(since))
    }
}

impl World {
    /// Starts a process on the host, unless one runs there or its machine is no more.
    pub fn begin(self: &Arc<World>, number: u64) {
        let drawn = self.draw(Host::drawn);
        let begun = {
            let mut hosts = self.hosts.lock();
            let host = hosts.entry(number).or_insert_with(|| {
                if let Some(lie) = self.plan.lie {
                    drawn.disk.lie(lie);
                }
                drawn
            });
            if host.state != State::Down {
                return;
            }
            (host.state, host.life, host.ailing) = (State::Up, host.life + 1, false);
            (host.life, Arc::new(host.disk.open()), host.timing)
        };
        let (life, store, timing) = begun;
        self.note(Shown(number), format_args!("begins life {life}"));
        tokio::spawn(self.clone().live(number, life, store, timing));
    }

    /// One life of a member, from its start to its failure.
    async fn live(self: Arc<World>, number: u64, life: u64, store: Arc<MemoryStore>, timing: Timing) {
        let parts = Parts {
            number,
            store: store.clone(),
            wire: Arc::new(SimWire::new(self.clone(), number, life)),
            published: Arc::new(Published::default()),
            clock: Arc::new(HostClock {
                world: self.clone(),
                number,
            }),
            timing,
            work: Work::Here(self.draw_time(SNAPSHOT_MICROS.0, SNAPSHOT_MICROS.1)),
            snapshot_every: Some(self.plan.snapshot_every),
        };
        let drive = |writer| drop(tokio::spawn(self.clone().write(number, life, store, writer)));
        let world = self.clone();
        let probe = Probe {
            heard: Some(Arc::new(move |heard| world.heard(number, life, heard))),
            leader_restore: self.plan.leader_restore,
        };
        let member = match Member::start_probed(parts, drive, probe).await {
            Ok(member) => member,
            Err(error) => return self.failed(number, life, &error),
        };
        if !self.is_alive(number, life) {
            return member.stop().await;
        }
        if let Some(host) = self.hosts.lock().get_mut(&number) {
            host.member = Some(member.clone());
        }
        tokio::spawn(self.clone().tick(number, life, member.clone()));
        tokio::spawn(self.clone().reconcile(number, life, member.clone()));
        let error = member.failed().await;
        self.failed(number, life, &error);
    }

    fn heard(&self, number: u64, life: u64, heard: Heard<'_>) {
        if self.is_alive(number, life) {
            self.note(Shown(number), format_args!("{}", told(heard)));
            self.check(self.oracle.lock().heard(number, life, heard));
        }
    }

    /// Drives the log's writer: each batch is seen at once and durable later.
    async fn write(self: Arc<World>, number: u64, life: u64, store: Arc<MemoryStore>, mut writer: Writer) {
        while let Some(pending) = writer.next().await {
            let staged = store.stage(&pending.batch);
            sleep(self.draw_time(SYNC_MICROS.0, SYNC_MICROS.1)).await;
            let hung_until = self.hosts.lock().get(&number).map_or(0, |host| host.hung_until);
            sleep_until(self.moment(hung_until)).await;
            if !self.is_alive(number, life) {
                return;
            }
            if let Err(error) = &staged
                && error.kind == Kind::Invalid
            {
                self.check(Err(format!(
                    "{} was told to write what no log can hold: {error}",
                    Shown(number)
                )));
            }
            pending.finish(&staged.and_then(|()| store.sync()));
        }
    }

    /// Signs of life to watchers.
    async fn tick(self: Arc<World>, number: u64, life: u64, member: Member) {
        while self.is_alive(number, life) {
            member.tick(TICK).await;
            sleep(TICK).await;
        }
    }

    /// Membership as the records say.
    async fn reconcile(self: Arc<World>, number: u64, life: u64, member: Member) {
        while self.is_alive(number, life) {
            let records: Vec<_> = member.published().state().members().cloned().collect();
            // What could not be done is done at the next look, here or elsewhere.
            let _ = timeout(STEP, member.reconcile(&records)).await;
            sleep(LOOK).await;
        }
    }

    /// A process ended by itself, which it may only do if its disk gave it a reason.
    fn failed(self: &Arc<World>, number: u64, life: u64, error: &Error) {
        if !self.is_alive(number, life) {
            return;
        }
        self.note(Shown(number), format_args!("fails: {}", error.kind.text()));
        let is_ailing = self.hosts.lock().get(&number).is_some_and(|host| host.ailing);
        if !is_ailing {
            self.check(Err(format!("{} stopped without a reason: {error}", Shown(number))));
        }
        self.crash(number, State::Down);
    }

    /// Ends the process at once; of what it had written without a sync a drawn part is there.
    pub fn crash(self: &Arc<World>, number: u64, state: State) {
        let member = {
            let mut hosts = self.hosts.lock();
            let Some(host) = hosts.get_mut(&number).filter(|host| host.state == State::Up) else {
                return;
            };
            (host.state, host.life, host.hung_until) = (state, host.life + 1, 0);
            host.refuses = self.draw(|seed| seed.chance(500));
            host.disk.crash(|unsynced| self.draw(|seed| seed.index(unsynced + 1)));
            host.member.take()
        };
        self.note(Shown(number), format_args!("is gone"));
        if let Some(member) = member {
            tokio::spawn(async move { member.stop().await });
        }
    }

    /// The machine burns down, whether its process ran or not.
    pub fn lose(self: &Arc<World>, number: u64) {
        self.crash(number, State::Lost);
        if let Some(host) = self.hosts.lock().get_mut(&number) {
            host.state = State::Lost;
        }
    }
}

/// What was heard, in a line of the record.
fn told(heard: Heard<'_>) -> String {
    use baton_flserver::state::Committed;
    match heard {
        Heard::Installed(index) => format!("has a snapshot of {index}"),
        Heard::Applied(term, Committed::Nothing(index)) => format!("applies {index} of term {term}"),
        Heard::Applied(term, Committed::Change(index, proposal)) => format!(
            "applies {index} of term {term}: {:02x}.{} at {}",
            proposal.session.0[0], proposal.sequence, proposal.date
        ),
    }
}

/// For what a client asks of a member that has its own deadline.
pub(super) async fn within<T>(deadline: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| Err(Error::new(Kind::TimedOut, "a member").because("no answer in time"));
    timeout(deadline, work).await.unwrap_or_else(late)
}
