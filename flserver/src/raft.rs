//! The log, replicated: the one place, with its folder, that knows the Raft library.
//!
//! Two of the library's defaults are not ours. A restarted leader would lead on without a vote, and could
//! then give the number of an entry it forgot to another one: `enable_leader_restore` is off. A member
//! that was cut off would come back with a high term and unseat a healthy leader: `enable_pre_vote` is on.
//!
//! | file | is |
//! |---|---|
//! | `raft/types.rs` | the library's types filled in, and their encoding |
//! | `raft/log.rs` | its log storage, over our `LogStore` |
//! | `raft/machine.rs`, `raft/snapshots.rs` | its state machine, over our `Fldb` |
//! | `raft/network.rs`, `raft/wire.rs` | its network, over a trait that a simulation can implement |
//! | `raft/restore.rs` | a member that begins with a state |
//! | `raft/refusal.rs` | why something was not done, in our words |
//! | `raft/status.rs` | how a member sees the group |
//! | `raft/members.rs` | membership follows the member records |
//! | `raft/probe.rs` | what tests hear of it |

mod log;
mod machine;
mod members;
mod network;
mod probe;
mod refusal;
mod restore;
mod snapshots;
mod status;
#[cfg(test)]
mod suite;
mod types;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use baton_proto::v1;
use baton_types::change::Proposal;
use baton_types::{Clock, Error, Kind, Result};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, LinearizableReadError, RaftError};
use openraft::{ReadPolicy, SnapshotPolicy};
use parking_lot::Mutex;
use prost::Message;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::publish::Published;
use crate::store::LogStore;
pub use log::{Log, Pending, Writer};
#[cfg(not(feature = "testing"))]
use probe::Probe;
#[cfg(feature = "testing")]
pub use probe::{Heard, Probe};
use refusal::{Refusal, is_doubtful, leader_of, leaving, no_quorum, stopped, told, undecodable, unwritable};
pub use restore::begin_with;
pub use snapshots::Work;
pub use status::Status;
pub use types::Peer;
use types::{Answer, Command, FORMAT, Raft, Vote, decode, encode};
pub use wire::{Request, Wire};

/// The format of what members say to each other.
pub const MESSAGE_FORMAT: u32 = FORMAT;

/// What to log unless told otherwise: at `info` the library tells its whole life, at `warn` every heartbeat that
/// was not heard, twenty a second. That a member is silent is told once, by who dials it.
pub const LOG_FILTER: &str = "info,openraft=error";

/// How long to wait before asking for a leader again.
const RETRY: Duration = Duration::from_millis(25);
/// Entries between two snapshots: a start replays at most this many and what came since.
const SNAPSHOT_EVERY: u64 = 10_000;
/// Entries kept behind a snapshot, for a member that was away for a moment.
const KEPT_BEHIND: u64 = 5_000;

/// Raft's timers.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Between two signs of life of the leader.
    pub heartbeat: Duration,
    /// A follower that heard nothing stands for election after this at the earliest.
    pub election_min: Duration,
    /// And after this at the latest.
    pub election_max: Duration,
}

impl Default for Timing {
    /// Measured: a stopped leader is replaced, to the next acknowledged change, in about half a second.
    fn default() -> Timing {
        Timing {
            heartbeat: Duration::from_millis(50),
            election_min: Duration::from_millis(150),
            election_max: Duration::from_millis(300),
        }
    }
}

/// What a member is made of.
pub struct Parts {
    /// Raft's number for it.
    pub number: u64,
    /// Where its log, vote and snapshot are.
    pub store: Arc<dyn LogStore>,
    /// The way to the others.
    pub wire: Arc<dyn Wire>,
    /// Where its state is shown.
    pub published: Arc<Published>,
    /// Its date, for what it proposes as leader.
    pub clock: Arc<dyn Clock>,
    /// Raft's timers.
    pub timing: Timing,
    /// Where blocking work is done.
    pub work: Work,
    /// Entries between two snapshots; `None` for the usual number.
    pub snapshot_every: Option<u64>,
}

/// A running member of the location database.
#[derive(Clone)]
pub struct Member {
    raft: Raft,
    number: u64,
    wire: Arc<dyn Wire>,
    published: Arc<Published>,
    clock: Arc<dyn Clock>,
    work: Work,
    /// When a leader was heard last.
    heard: Arc<Mutex<Instant>>,
}

impl Member {
    /// Starts one. `drive` is given the writer of its log, which somebody must drive from then on.
    ///
    /// # Errors
    /// What the store says; `Invalid` for timers that cannot work.
    pub async fn start(parts: Parts, drive: impl FnOnce(Writer)) -> Result<Member> {
        Member::begin(parts, drive, Probe::default()).await
    }

    /// Starts one that a test listens to.
    ///
    /// # Errors
    /// As [`Member::start`].
    #[cfg(feature = "testing")]
    pub async fn start_probed(parts: Parts, drive: impl FnOnce(Writer), probe: Probe) -> Result<Member> {
        Member::begin(parts, drive, probe).await
    }

    async fn begin(parts: Parts, drive: impl FnOnce(Writer), probe: Probe) -> Result<Member> {
        let failed = |e: String| Error::new(Kind::Io, "location database").because(e);
        let config = config(&parts, probe.leader_restore())
            .validate()
            .map_err(|e| Error::new(Kind::Invalid, "timers of the location database").because(e.to_string()))?;
        let (log, writer) = Log::open(parts.store.clone())?;
        drive(writer);
        let work = parts.work;
        let snapshots = snapshots::Snapshots::new(parts.store, work);
        let machine = machine::Machine::new(parts.published.clone(), snapshots, probe);
        let network = network::Network(parts.wire.clone());
        let raft = Raft::new(parts.number, Arc::new(config), network, log, machine).await;
        let raft = raft.map_err(|e| failed(e.to_string()))?;
        tokio::spawn(parts.published.tell());
        Ok(Member {
            raft,
            number: parts.number,
            wire: parts.wire,
            published: parts.published,
            clock: parts.clock,
            work,
            heard: Arc::new(Mutex::new(Instant::now())),
        })
    }

    /// Makes this the first and only member of a new group. Done before: nothing happens.
    ///
    /// # Errors
    /// `Io` if it cannot be written.
    pub async fn initialize(&self, peer: Peer) -> Result<()> {
        let failed = |e: String| Error::new(Kind::Io, "location database").because(e);
        if self.raft.is_initialized().await.map_err(|e| failed(e.to_string()))? {
            return Ok(());
        }
        let members = BTreeMap::from([(self.number, peer)]);
        self.raft.initialize(members).await.map_err(|e| failed(e.to_string()))
    }

    /// Waits until what this member had applied before its last end is applied again.
    pub async fn recovered(&self, at_most: Duration) -> bool {
        self.raft.wait_for_recovery(Some(at_most)).await.is_ok()
    }

    /// What of the state others see.
    pub fn published(&self) -> &Arc<Published> {
        &self.published
    }

    /// Raft's number for this member.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Makes a change, wherever the leader is. Sent twice, it is done once.
    ///
    /// # Errors
    /// What the change itself says; `Unreachable` if no leader did it before `deadline`: it may still be done.
    pub async fn propose(&self, proposal: Proposal, deadline: Duration) -> Result<v1::ChangeReply> {
        let body = v1::Proposal::from(proposal.clone()).encode_to_vec();
        let here = || self.propose_here(proposal.clone()).boxed();
        self.of_leader(deadline, here, (Request::Forward, body), told).await
    }

    /// What the leader says: asked `here` if it is this member, else by `question`, until somebody decides.
    async fn of_leader<'a, T>(
        &'a self,
        deadline: Duration,
        here: impl Fn() -> BoxFuture<'a, Result<T, Refusal>>,
        question: (Request, Vec<u8>),
        read: fn(&[u8]) -> Result<T>,
    ) -> Result<T> {
        let end = Instant::now() + deadline;
        loop {
            match timeout_at(end, here()).await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(Refusal::Error(error))) => return Err(error),
                Ok(Err(Refusal::Lead(Some((number, leader))))) if number != self.number => {
                    let left = end.saturating_duration_since(Instant::now());
                    match self.wire.ask(&leader, question.0, question.1.clone(), left).await {
                        Ok(answer) => return read(&answer),
                        // One of the two has not heard yet that the other is a member, or is one no more. What becomes of
                        // the change is in the answer.
                        Err(error) if error.kind == Kind::Denied => {}
                        Err(error) if !is_doubtful(&error) => return Err(error),
                        Err(_) => {}
                    }
                }
                Ok(Err(Refusal::Lead(_))) | Err(_) => {}
            }
            if Instant::now() + RETRY >= end {
                return Err(no_quorum());
            }
            sleep(RETRY).await;
        }
    }

    /// Makes a change if this member leads, and asks nobody else to.
    ///
    /// # Errors
    /// What the change itself says; `Unreachable` if this member does not lead, or had no quorum before `deadline`: then it
    /// may still be done.
    pub async fn propose_as_leader(&self, proposal: Proposal, deadline: Duration) -> Result<v1::ChangeReply> {
        match timeout(deadline, self.propose_here(proposal)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(Refusal::Error(error))) => Err(error),
            Ok(Err(Refusal::Lead(_))) => {
                Err(Error::new(Kind::Unreachable, "this member").because("it does not lead any more"))
            }
            Err(_) => Err(no_quorum()),
        }
    }

    async fn propose_here(&self, mut proposal: Proposal) -> Result<v1::ChangeReply, Refusal> {
        proposal.date = self.clock.date();
        let command = Command {
            format: Command::FORMAT,
            body: v1::Proposal::from(proposal).encode_to_vec(),
        };
        // An entry that cannot be read ends every member that applies it, now and at each start: none is written.
        machine::read(&command).map_err(|e| Refusal::Error(unwritable(&e)))?;
        let written = self.raft.client_write(command).await;
        match written.map(|written| written.data) {
            Ok(Answer::Done(reply)) => {
                v1::ChangeReply::decode(reply.as_slice()).map_err(|e| Refusal::Error(undecodable(&e)))
            }
            Ok(Answer::Refused(failure)) => Err(Refusal::Error(match v1::Failure::decode(failure.as_slice()) {
                Ok(failure) => failure.into(),
                Err(e) => undecodable(&e),
            })),
            Ok(Answer::Nothing) => Err(Refusal::Error(
                Error::new(Kind::Io, "change").because("it was no change"),
            )),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => Err(Refusal::Lead(leader_of(to))),
            // The entry was lost with a leadership, or the lease is not there yet: ask again, it is done once.
            Err(RaftError::APIError(_)) => Err(Refusal::Lead(None)),
            Err(RaftError::Fatal(e)) => Err(Refusal::Error(leaving(&e))),
        }
    }

    /// The index that a read has to wait for to see everything acknowledged before now.
    ///
    /// # Errors
    /// `Unreachable` if no leader with a quorum answers before `deadline`.
    pub async fn read_index(&self, deadline: Duration) -> Result<u64> {
        let here = || self.read_index_here().boxed();
        self.of_leader(deadline, here, (Request::ReadIndex, Vec::new()), decode)
            .await
    }

    /// Gives watchers a sign of life, if within `at_most` this member knows all that the group knows. One that is
    /// cut off, or was taken out, is silent: those who watch it are better off elsewhere.
    pub async fn tick(&self, at_most: Duration) {
        let caught_up = async { self.published.reached(self.read_index(at_most).await?).await };
        if let Ok(Ok(())) = timeout(at_most, caught_up).await {
            self.published.tick();
        }
    }

    async fn read_index_here(&self) -> Result<u64, Refusal> {
        match self.raft.get_read_log_id(ReadPolicy::ReadIndex).await {
            Ok((read, _)) => Ok(read.index()),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to))) => Err(Refusal::Lead(leader_of(to))),
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => Err(Refusal::Lead(None)),
            Err(RaftError::Fatal(e)) => Err(Refusal::Error(leaving(&e))),
        }
    }

    /// Answers what another member asked by [`Wire::ask`].
    ///
    /// # Errors
    /// `Damaged` for bytes that are no such question; what the question itself is refused with.
    pub async fn answer(&self, request: Request, body: Vec<u8>) -> Result<Vec<u8>> {
        match request {
            Request::Vote => encode(&self.raft.vote(decode(&body)?).await.map_err(|e| stopped(&e))?),
            Request::PreVote => encode(&self.raft.pre_vote(decode(&body)?).await.map_err(|e| stopped(&e))?),
            Request::Append => {
                *self.heard.lock() = Instant::now();
                encode(
                    &self
                        .raft
                        .append_entries(decode(&body)?)
                        .await
                        .map_err(|e| stopped(&e))?,
                )
            }
            Request::TransferLeader => encode(
                &self
                    .raft
                    .handle_transfer_leader(decode(&body)?)
                    .await
                    .map_err(|e| stopped(&e))?,
            ),
            Request::ReadIndex => match self.read_index_here().await {
                Ok(index) => encode(&index),
                Err(Refusal::Lead(_)) => Err(no_quorum()),
                Err(Refusal::Error(error)) => Err(error),
            },
            Request::Forward => {
                let wire = v1::Proposal::decode(body.as_slice()).map_err(|e| undecodable(&e))?;
                let reply = match self.propose_here(wire.try_into()?).await {
                    Ok(reply) => v1::Told {
                        told: Some(v1::told::Told::Reply(reply)),
                    },
                    Err(Refusal::Error(error)) if !is_doubtful(&error) => v1::Told {
                        told: Some(v1::told::Told::Failure((&error).into())),
                    },
                    Err(Refusal::Lead(_) | Refusal::Error(_)) => return Err(no_quorum()),
                };
                Ok(reply.encode_to_vec())
            }
        }
    }

    /// Answers a stream of appends, each in its turn.
    pub fn answer_appends(&self, appends: BoxStream<'static, Vec<u8>>) -> BoxStream<'static, Result<Vec<u8>>> {
        let heard = self.heard.clone();
        // What does not decode ends the stream; its sender opens another.
        let appends = appends
            .inspect(move |_| *heard.lock() = Instant::now())
            .map(|body| decode(&body).ok())
            .take_while(|rpc| futures::future::ready(rpc.is_some()));
        let answers = self.raft.stream_append(appends.filter_map(futures::future::ready));
        answers
            .map(|answer| answer.map_err(|e| stopped(&e)).and_then(|answer| encode(&answer)))
            .boxed()
    }

    /// Takes a snapshot that another member sent.
    ///
    /// # Errors
    /// `Damaged` for bytes that are no snapshot.
    pub async fn answer_snapshot(&self, head: &[u8], data: Vec<u8>) -> Result<Vec<u8>> {
        let (vote, meta): (Vote, types::SnapshotMeta) = decode(head)?;
        // A bad one is refused here, where it harms nobody.
        let check = move || crate::state::Fldb::load(&data).map(|_| data);
        let snapshot = types::Snapshot {
            meta,
            snapshot: self.work.run(check).await?,
        };
        encode(
            &self
                .raft
                .install_full_snapshot(vote, snapshot)
                .await
                .map_err(|e| stopped(&e))?,
        )
    }

    /// Gives leadership to the member that is furthest, if this one leads and there is another.
    pub async fn hand_over(&self) {
        let status = self.status();
        if status.leader != Some(self.number) {
            return;
        }
        let others = status
            .matched
            .iter()
            .filter(|(n, _)| **n != self.number && status.voters.contains(n));
        if let Some((&to, _)) = others.max_by_key(|(_, index)| **index)
            && self.raft.trigger().transfer_leader(to).await.is_ok()
        {
            let mut metrics = self.raft.metrics();
            let moved = async {
                while metrics.borrow_watched().current_leader == Some(self.number) && metrics.changed().await.is_ok() {}
            };
            // The others elect one by themselves if this takes longer.
            drop(timeout(Duration::from_secs(1), moved).await);
        }
    }

    /// Ends this member.
    pub async fn stop(&self) {
        drop(self.raft.shutdown().await);
    }

    /// Returns when this member cannot go on, with the reason.
    pub async fn failed(&self) -> Error {
        let mut metrics = self.raft.metrics();
        loop {
            if let Err(fatal) = metrics.borrow_watched().running_state.clone() {
                return stopped(&fatal);
            }
            if metrics.changed().await.is_err() {
                return Error::new(Kind::Io, "location database").because("it has stopped");
            }
        }
    }
}

fn config(parts: &Parts, leader_restore: bool) -> openraft::Config {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let every = parts.snapshot_every.unwrap_or(SNAPSHOT_EVERY);
    openraft::Config {
        cluster_name: "baton".to_owned(),
        heartbeat_interval: millis(parts.timing.heartbeat),
        election_timeout_min: millis(parts.timing.election_min),
        election_timeout_max: millis(parts.timing.election_max),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(every),
        max_in_snapshot_log_to_keep: KEPT_BEHIND.min(every / 2),
        replication_lag_threshold: every + KEPT_BEHIND,
        install_snapshot_timeout: 60_000,
        enable_leader_restore: Some(leader_restore),
        enable_pre_vote: Some(true),
        ..openraft::Config::default()
    }
}
