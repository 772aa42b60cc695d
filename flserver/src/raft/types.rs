//! The Raft library's types, filled in with ours, and their encoding.

use std::fmt;

use baton_types::{Error, Kind, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use baton_types::Address;

openraft::declare_raft_types!(
    /// What the library is told about our entries, members and runtime.
    pub Config:
        D = Command,
        R = Answer,
        NodeId = u64,
        Node = Peer,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = openraft_rt_tokio::TokioRuntime,
);

pub(super) type Raft = openraft::Raft<Config, super::machine::Machine>;
pub(super) type Entry = openraft::alias::EntryOf<Config>;
pub(super) type LogId = openraft::alias::LogIdOf<Config>;
pub(super) type Vote = openraft::alias::VoteOf<Config>;
pub(super) type SnapshotMeta = openraft::alias::SnapshotMetaOf<Config>;
pub(super) type StoredMembership = openraft::alias::StoredMembershipOf<Config>;
pub(super) type Snapshot = openraft::alias::SnapshotOf<Config, Vec<u8>>;

/// The format of entries, marks and messages as this build writes them. It changes when the library's
/// encoding or ours does; a member refuses another one rather than guess.
pub(super) const FORMAT: u32 = 1;

/// A change on its way through the log: an encoded `baton.v1.Proposal` and the format it is in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    pub(super) format: u16,
    pub(super) body: Vec<u8>,
}

impl Command {
    /// The format of proposals that this build writes and reads.
    pub(super) const FORMAT: u16 = 1;
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "proposal of {} bytes, format {}", self.body.len(), self.format)
    }
}

/// What applying an entry gave, encoded for whoever asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Not a change.
    Nothing,
    /// An encoded `baton.v1.ChangeReply`.
    Done(Vec<u8>),
    /// An encoded `baton.v1.Failure`.
    Refused(Vec<u8>),
}

/// A member as Raft's membership names it: enough to dial it before any state is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its host's name, as in its certificate.
    pub name: String,
    /// Where it listens.
    pub addresses: Vec<Address>,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)
    }
}

/// The bytes of a message or mark of the library's.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    postcard::to_stdvec(value).map_err(|e| Error::new(Kind::Invalid, "raft message").because(e.to_string()))
}

/// A message or mark out of untrusted bytes.
///
/// # Errors
/// `Damaged`.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let damaged = |why: String| Error::new(Kind::Damaged, "raft message").because(why);
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(|e| damaged(e.to_string()))?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(damaged(format!("{} bytes too many", rest.len())))
    }
}

/// For the library, which wants its own kind of error.
pub(super) fn io(error: Error) -> std::io::Error {
    std::io::Error::other(error)
}
