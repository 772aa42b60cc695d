//! How members reach each other: a trait, so that a simulation can lose, delay and double what is said.

use std::time::Duration;

use baton_types::Result;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use super::types::Peer;

/// What one member asks of another in a single message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// For its vote.
    Vote,
    /// Whether it would vote.
    PreVote,
    /// To take entries, or to hear that the leader lives.
    Append,
    /// To stand for election at once.
    TransferLeader,
    /// At which index a read is up to date.
    ReadIndex,
    /// To make a change that reached a follower.
    Forward,
}

/// The way to the other members. Bodies are encoded; nobody here looks inside.
pub trait Wire: Send + Sync + 'static {
    /// Asks once. Ends by itself after `deadline`, answered or not.
    fn ask(
        &self,
        to: &Peer,
        request: Request,
        body: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Vec<u8>>>;

    /// Sends appends one behind the other without waiting, and gives their answers in the same order.
    fn append(
        &self,
        to: &Peer,
        appends: BoxStream<'static, Vec<u8>>,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<BoxStream<'static, Result<Vec<u8>>>>>;

    /// Sends a whole snapshot, what describes it first.
    fn snapshot(
        &self,
        to: &Peer,
        head: Vec<u8>,
        data: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Vec<u8>>>;
}
