//! Errors over gRPC: the whole [`Error`] rides in the status details, so that what a person reads is
//! what the server said.

use baton_types::{Error, Kind};
use prost::Message;
use tonic::{Code, Status};

use crate::v1;

impl From<&Error> for v1::Failure {
    fn from(error: &Error) -> v1::Failure {
        v1::Failure {
            kind: error.kind as u32,
            on: error.on.clone(),
            reason: error.reason.clone(),
            remedy: error.remedy.clone(),
        }
    }
}

impl From<v1::Failure> for Error {
    /// A kind that this build does not know is an I/O failure with the same words.
    fn from(failure: v1::Failure) -> Error {
        let kind = Kind::from_number(failure.kind).unwrap_or(Kind::Io);
        Error::new(kind, failure.on)
            .because(failure.reason)
            .remedy(failure.remedy)
    }
}

/// The status that carries `error`.
pub fn into_status(error: &Error) -> Status {
    let details = v1::Failure::from(error).encode_to_vec();
    Status::with_details(code_of(error.kind), error.to_string(), details.into())
}

/// The error in `status`: the server's own if it sent one, else what gRPC says about the way there.
pub fn from_status(status: &Status) -> Error {
    if let Some(error) = failure_of(status) {
        return error;
    }
    let (kind, remedy) = match status.code() {
        Code::Unavailable | Code::Cancelled | Code::Aborted => (Kind::Unreachable, ""),
        Code::DeadlineExceeded => (Kind::TimedOut, ""),
        Code::Unimplemented => (Kind::Version, "upgrade the older side"),
        Code::ResourceExhausted | Code::OutOfRange => (Kind::Limit, ""),
        Code::PermissionDenied | Code::Unauthenticated => (Kind::Denied, ""),
        Code::NotFound => (Kind::NotFound, ""),
        Code::InvalidArgument => (Kind::Invalid, ""),
        Code::Ok | Code::Unknown | Code::AlreadyExists | Code::FailedPrecondition | Code::Internal | Code::DataLoss => {
            (Kind::Io, "")
        }
    };
    Error::new(kind, "location database")
        .because(status.message().to_owned())
        .remedy(remedy)
}

/// The server's own error in `status`, if it sent one: then the server was reached and has decided.
pub fn failure_of(status: &Status) -> Option<Error> {
    if status.details().is_empty() {
        return None;
    }
    v1::Failure::decode(status.details()).ok().map(Error::from)
}

fn code_of(kind: Kind) -> Code {
    match kind {
        Kind::NotFound => Code::NotFound,
        Kind::Exists => Code::AlreadyExists,
        Kind::Denied | Kind::NotOwner => Code::PermissionDenied,
        Kind::Expired => Code::Unauthenticated,
        Kind::Invalid | Kind::NameTooLong => Code::InvalidArgument,
        Kind::Unreachable => Code::Unavailable,
        Kind::TimedOut => Code::DeadlineExceeded,
        Kind::Limit | Kind::Quota | Kind::NoSpace => Code::ResourceExhausted,
        Kind::Unsupported => Code::Unimplemented,
        Kind::NotDirectory
        | Kind::IsDirectory
        | Kind::NotEmpty
        | Kind::ReadOnly
        | Kind::CrossFileset
        | Kind::TooBig
        | Kind::Loop
        | Kind::TooManyLinks
        | Kind::Stale
        | Kind::Busy
        | Kind::NoAttribute
        | Kind::Range
        | Kind::Deadlock
        | Kind::Damaged
        | Kind::Io
        | Kind::SessionLost
        | Kind::WrongEpoch
        | Kind::Moved
        | Kind::Detached
        | Kind::Recovering
        | Kind::Grace
        | Kind::Wait
        | Kind::Version
        | Kind::NotJoined => Code::FailedPrecondition,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_crosses_grpc_whole() {
        for &kind in Kind::ALL {
            let error = Error::new(kind, "fileset x").because("why").remedy("do this");
            assert_eq!(from_status(&into_status(&error)), error);
        }
    }

    #[test]
    fn a_bare_status_still_says_what_happened() {
        let error = from_status(&Status::unavailable("connection refused"));
        assert_eq!(error.kind, Kind::Unreachable);
        assert!(failure_of(&Status::unavailable("x")).is_none());
    }
}
