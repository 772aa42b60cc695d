//! Extended attributes by their namespaces: who may do what with which.

use baton_aggregate::format::{Attributes, FileKind};
use baton_aggregate::tree::Stop;
use baton_types::{Error, Fid, Kind, Result};

use crate::right::{self, READ, STICKY, WRITE};
use crate::shape::kind_of;
use crate::who::Cred;

/// What the part of a name before the first dot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Namespace {
    /// For whoever may read and write the file.
    User,
    /// For all to read, for root to write.
    Security,
    /// For root alone; others do not see them.
    Trusted,
}

impl Namespace {
    /// Of a name.
    ///
    /// # Errors
    /// `Unsupported` for all others, ACLs among them.
    pub fn of(name: &[u8]) -> Result<Namespace> {
        let known = [
            (&b"user."[..], Namespace::User),
            (b"security.", Namespace::Security),
            (b"trusted.", Namespace::Trusted),
        ];
        let found = known.iter().find(|(prefix, _)| name.starts_with(prefix));
        let unsupported = || {
            Error::new(
                Kind::Unsupported,
                format!("extended attribute '{}'", name.escape_ascii()),
            )
            .because("only user., security. and trusted. are kept")
        };
        found.map(|(_, namespace)| *namespace).ok_or_else(unsupported)
    }

    /// Refuses who may not read those of a file.
    ///
    /// # Errors
    /// `Denied`; `NoAttribute` for what he does not see.
    pub fn read(self, who: &Cred, fid: Fid, attributes: &Attributes) -> Result<(), Stop> {
        match self {
            Namespace::User => right::must(who, fid, attributes, READ),
            Namespace::Security => Ok(()),
            Namespace::Trusted if who.is_root() => Ok(()),
            Namespace::Trusted => Err(Error::new(Kind::NoAttribute, format!("file {fid}")).into()),
        }
    }

    /// Refuses who may not set or remove those of a file.
    ///
    /// # Errors
    /// `Denied`; `NotOwner`, also for what has no bytes of its own.
    pub fn write(self, who: &Cred, fid: Fid, attributes: &Attributes) -> Result<(), Stop> {
        if self != Namespace::User {
            return right::root(who, "extended attribute that only root sets");
        }
        match kind_of(attributes)? {
            FileKind::Regular => {}
            FileKind::Directory if attributes.mode & STICKY != 0 => right::own(who, fid, attributes)?,
            FileKind::Directory => {}
            FileKind::Symlink
            | FileKind::MountPoint
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::Character
            | FileKind::BlockDevice => {
                let error = Error::new(Kind::NotOwner, format!("file {fid}"));
                return Err(error.because("user attributes are for files and directories").into());
            }
        }
        right::must(who, fid, attributes, WRITE)
    }
}
