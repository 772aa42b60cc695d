//! Why something was not done, in our words.

use baton_proto::v1;
use baton_types::{Error, Kind, Result};
use openraft::errors::ForwardToLeader;
use prost::Message;

use super::types::{Config, Peer};

/// Why a change or a read was not done here.
pub(super) enum Refusal {
    /// Another leads, or nobody knows who.
    Lead(Option<(u64, Peer)>),
    /// It was decided, or cannot be here.
    Error(Error),
}

/// Who leads instead, if that is known.
pub(super) fn leader_of(to: ForwardToLeader<Config>) -> Option<(u64, Peer)> {
    Some((to.leader_id?, to.leader_node?))
}

/// A change whose fate the caller does not know, or that nobody has decided yet.
pub(super) fn is_doubtful(error: &Error) -> bool {
    matches!(error.kind, Kind::Unreachable | Kind::TimedOut)
}

/// What the leader said of a change that was passed on to it.
pub(super) fn told(body: &[u8]) -> Result<v1::ChangeReply> {
    let told = v1::Told::decode(body).map_err(|e| undecodable(&e))?;
    match told.told {
        Some(v1::told::Told::Reply(reply)) => Ok(reply),
        Some(v1::told::Told::Failure(failure)) => Err(failure.into()),
        None => Err(Error::new(Kind::Damaged, "answer of the leader").because("it is empty")),
    }
}

/// Nobody decides.
pub(super) fn no_quorum() -> Error {
    Error::new(Kind::Unreachable, "location database")
        .because("no quorum: no leader that a majority of the members follows")
        .remedy("fts status says which members are missing")
}

/// Bytes that are no message of ours.
pub(super) fn undecodable(error: &prost::DecodeError) -> Error {
    Error::new(Kind::Damaged, "message between members").because(error.to_string())
}

/// A change that is refused, for the log would not give it back.
pub(super) fn unwritable(error: &Error) -> Error {
    Error::new(Kind::Invalid, "change")
        .because(format!("it cannot be kept: {error}"))
        .remedy("nothing was changed; this is a defect of Baton: please report it")
}

/// This member ends: what was asked of it may yet be done by the others.
pub(super) fn leaving(error: &dyn std::fmt::Display) -> Error {
    Error::new(Kind::Unreachable, "this member").because(error.to_string())
}

/// The library has ended.
pub(super) fn stopped(error: &dyn std::fmt::Display) -> Error {
    Error::new(Kind::Io, "location database").because(error.to_string())
}
