//! One error for every part: what was tried, on which thing, what kind of failure, why, and the way out.
//!
//! [`Kind`] is closed and its numbers are on the wire, so a kind is only ever added, never renumbered.
//! Each kind has exactly one errno; kinds that a program must never see map to EIO, so that a leak is
//! harmless, and [`Kind::is_internal`] tells them apart.

use std::borrow::Cow;
use std::fmt;

/// The result of anything in Baton that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $errno:literal, $internal:literal, $text:literal;)*) => {
        /// What went wrong, as far as a caller may act on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Kind { $($(#[$doc])* $name = $number,)* }

        impl Kind {
            /// Every kind, in the order of their numbers.
            pub const ALL: &'static [Kind] = &[$(Kind::$name,)*];

            /// The kind with this wire number.
            pub fn from_number(number: u32) -> Option<Kind> {
                match number { $($number => Some(Kind::$name),)* _ => None }
            }

            /// The Linux errno a program gets.
            pub fn errno(self) -> i32 {
                match self { $(Kind::$name => $errno,)* }
            }

            /// True for kinds that the parts tell each other and that never reach a program.
            pub fn is_internal(self) -> bool {
                match self { $(Kind::$name => $internal,)* }
            }

            /// A few plain words.
            pub fn text(self) -> &'static str {
                match self { $(Kind::$name => $text,)* }
            }
        }
    };
}

kinds! {
    /// There is no such thing (ENOENT).
    NotFound = 1, 2, false, "no such thing";
    /// It is there already (EEXIST).
    Exists = 2, 17, false, "exists already";
    /// A path component is not a directory (ENOTDIR).
    NotDirectory = 3, 20, false, "not a directory";
    /// The operation is not for directories (EISDIR).
    IsDirectory = 4, 21, false, "is a directory";
    /// The directory has entries (ENOTEMPTY).
    NotEmpty = 5, 39, false, "not empty";
    /// A name is longer than its limit (ENAMETOOLONG).
    NameTooLong = 6, 36, false, "name too long";
    /// An argument makes no sense (EINVAL).
    Invalid = 7, 22, false, "invalid";
    /// The caller lacks the right (EACCES).
    Denied = 8, 13, false, "permission denied";
    /// Only the owner may (EPERM).
    NotOwner = 9, 1, false, "not the owner";
    /// It cannot be written (EROFS).
    ReadOnly = 10, 30, false, "read-only";
    /// Two filesets cannot share a link (EXDEV).
    CrossFileset = 11, 18, false, "crosses filesets";
    /// The aggregate is full (ENOSPC).
    NoSpace = 12, 28, false, "no space left";
    /// A quota is used up (EDQUOT).
    Quota = 13, 122, false, "quota exceeded";
    /// A file would be larger than can be (EFBIG).
    TooBig = 14, 27, false, "too big";
    /// Too many symbolic links (ELOOP).
    Loop = 15, 40, false, "too many links in a path";
    /// Too many hard links (EMLINK).
    TooManyLinks = 16, 31, false, "too many links";
    /// The thing is gone though its id is known (ESTALE).
    Stale = 17, 116, false, "stale";
    /// Somebody else is at it (EBUSY).
    Busy = 18, 16, false, "busy";
    /// No such extended attribute (ENODATA).
    NoAttribute = 19, 61, false, "no such attribute";
    /// A buffer is too small (ERANGE).
    Range = 20, 34, false, "out of range";
    /// Waiting would never end (EDEADLK).
    Deadlock = 21, 35, false, "deadlock";
    /// Not in this version, or not on this kind of thing (EOPNOTSUPP).
    Unsupported = 22, 95, false, "not supported";
    /// It took longer than was allowed (ETIMEDOUT).
    TimedOut = 23, 110, false, "timed out";
    /// A checksum did not match (EIO).
    Damaged = 24, 5, false, "damaged";
    /// A device or a network failed (EIO).
    Io = 25, 5, false, "input/output error";
    /// The session is over; what it held is gone (EIO).
    SessionLost = 26, 5, false, "session lost";

    /// The server is not owner under this epoch.
    WrongEpoch = 64, 5, true, "wrong epoch";
    /// The thing is served elsewhere now.
    Moved = 65, 5, true, "moved";
    /// The aggregate has no owner just now.
    Detached = 66, 5, true, "detached";
    /// The owner is still reading its log.
    Recovering = 67, 5, true, "recovering";
    /// Clients of the last owner are still coming back.
    Grace = 68, 5, true, "in grace";
    /// The answer will be pushed.
    Wait = 69, 5, true, "wait";
    /// A caller handle or certificate is over.
    Expired = 70, 5, true, "expired";
    /// A limit of `limits.rs` would be passed.
    Limit = 71, 5, true, "limit reached";
    /// The two sides do not speak a common version.
    Version = 72, 5, true, "no common version";
    /// Nobody answers, or those who do are no quorum.
    Unreachable = 73, 5, true, "unreachable";
    /// The client takes no part in the fileset, or no more: it renews, joins, and asks again.
    NotJoined = 74, 5, true, "not joined";
}

/// An error a person can act on: operation, thing, kind, reason and remedy.
///
/// Printed as `on: reason; remedy`; the program that prints it puts its own name before.
#[derive(Debug)]
pub struct Error {
    /// What was tried, in one lower-case word or two ("create fileset").
    pub op: Cow<'static, str>,
    /// The thing it was tried on, as its owner would name it ("fileset user.ito").
    pub on: String,
    /// What kind of failure this is.
    pub kind: Kind,
    /// Why, in a plain sentence without a full stop. Empty: the kind says it all.
    pub reason: String,
    /// What to do about it. Empty where nothing can be done.
    pub remedy: String,
    /// The failure underneath, if it came from outside Baton.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A failure of `kind` on the thing called `on`.
    pub fn new(kind: Kind, on: impl Into<String>) -> Error {
        Error {
            op: Cow::Borrowed(""),
            on: on.into(),
            kind,
            reason: String::new(),
            remedy: String::new(),
            source: None,
        }
    }

    /// Says what was being tried.
    #[must_use]
    pub fn op(mut self, op: impl Into<Cow<'static, str>>) -> Error {
        self.op = op.into();
        self
    }

    /// Says why.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Error {
        self.reason = reason.into();
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Error {
        self.remedy = remedy.into();
        self
    }

    /// Keeps the failure underneath.
    #[must_use]
    pub fn from_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.source = Some(source.into());
        self
    }

    /// An I/O failure on `on`, with the operating system's own words as the reason.
    pub fn io(on: impl Into<String>, source: std::io::Error) -> Error {
        let kind = match source.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            std::io::ErrorKind::PermissionDenied => Kind::Denied,
            std::io::ErrorKind::StorageFull => Kind::NoSpace,
            std::io::ErrorKind::TimedOut => Kind::TimedOut,
            _ => Kind::Io,
        };
        Error::new(kind, on).because(source.to_string()).from_source(source)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = if self.reason.is_empty() {
            self.kind.text()
        } else {
            &self.reason
        };
        match self.on.as_str() {
            "" => write!(f, "{reason}")?,
            on => write!(f, "{on}: {reason}")?,
        }
        match self.remedy.as_str() {
            "" => Ok(()),
            remedy => write!(f, "; {remedy}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|s| s as &(dyn std::error::Error + 'static))
    }
}

/// Two errors are the same when a person would read the same: the failure underneath does not count.
impl PartialEq for Error {
    fn eq(&self, other: &Error) -> bool {
        (self.kind, &self.on, &self.reason, &self.remedy) == (other.kind, &other.on, &other.reason, &other.remedy)
    }
}

/// A copy for the wire or a second reader; the failure underneath stays with the first.
impl Clone for Error {
    fn clone(&self) -> Error {
        Error {
            op: self.op.clone(),
            on: self.on.clone(),
            kind: self.kind,
            reason: self.reason.clone(),
            remedy: self.remedy.clone(),
            source: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_its_number() {
        for &kind in Kind::ALL {
            assert_eq!(Kind::from_number(kind as u32), Some(kind));
            assert!(kind.errno() > 0);
        }
        assert_eq!(Kind::from_number(0), None);
        assert_eq!(Kind::from_number(40), None);
    }

    #[test]
    fn message_names_thing_reason_and_way_out() {
        let error = Error::new(Kind::Busy, "aggregate agg3")
            .because("owned by fs2 under epoch 41")
            .remedy("to move it: fts failover -aggregate agg3 -to fs1");
        assert_eq!(
            error.to_string(),
            "aggregate agg3: owned by fs2 under epoch 41; to move it: fts failover -aggregate agg3 -to fs1"
        );
        assert_eq!(
            Error::new(Kind::NotFound, "fileset x").to_string(),
            "fileset x: no such thing"
        );
    }
}
