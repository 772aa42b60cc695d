//! Ids: made once, never reused, never mixed up with one another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::limits::VNODE_END;
use crate::{Error, Kind, Result};

macro_rules! uuid_id {
    ($($(#[$doc:meta])* $name:ident, $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new random id.
            pub fn random() -> $name {
                $name(Uuid::new_v4())
            }

            /// The id in these bytes.
            ///
            /// # Errors
            /// `Invalid` unless there are exactly 16.
            pub fn from_slice(bytes: &[u8]) -> Result<$name> {
                Uuid::from_slice(bytes).map($name).map_err(|_| {
                    Error::new(Kind::Invalid, concat!($what, " id")).because(format!("{} bytes, not 16", bytes.len()))
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<$name> {
                Uuid::parse_str(text).map($name).map_err(|e| {
                    Error::new(Kind::Invalid, format!(concat!($what, " id '{}'"), text.escape_debug())).because(e.to_string())
                })
            }
        }
    )*};
}

uuid_id! {
    /// A cell, for ever, whatever its name.
    CellId, "cell";
    /// A server process's lasting identity: made when its machine joined, kept in its certificate.
    ServerId, "server";
    /// An aggregate, from its label on the disk.
    AggregateId, "aggregate";
    /// One mount.
    ClientId, "client";
    /// One run of a process: two runs of one server are two incarnations.
    Incarnation, "incarnation";
}

/// A fileset: RW n, RO n+1, backup n+2. Printed `high,,low` as DFS did.
///
/// A snapshot of one has an id of its own, which the location database does not know: made of the RW id and a number.
///
/// ```text
/// 63       48                              0
/// ┌─┬────────┬──────────────────────────────┐
/// │0│       0│ id                           │   a fileset, in one of its three versions
/// │1│ number │ RW id                        │   one of its snapshots
/// └─┴────────┴──────────────────────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FilesetId(pub u64);

impl FilesetId {
    /// Ids that one fileset takes: RW, RO, backup.
    pub const STEP: u64 = 3;
    /// Ids of filesets stay below this: what is above numbers their snapshots.
    pub const END: u64 = 1 << 48;
    /// Numbers that the snapshots of one fileset may have.
    pub const SNAPSHOT_NUMBERS: u16 = 1 << 15;

    /// The read-only id beside this RW id.
    #[must_use]
    pub fn read_only(self) -> FilesetId {
        FilesetId(self.0.wrapping_add(1))
    }

    /// The backup id beside this RW id.
    #[must_use]
    pub fn backup(self) -> FilesetId {
        FilesetId(self.0.wrapping_add(2))
    }

    /// The RW id that this would be the backup id of.
    #[must_use]
    pub fn of_backup(self) -> FilesetId {
        FilesetId(self.0.wrapping_sub(2))
    }

    /// The id of the snapshot with this number.
    #[must_use]
    pub fn snapshot(self, number: u16) -> FilesetId {
        FilesetId(1 << 63 | u64::from(number % Self::SNAPSHOT_NUMBERS) << 48 | (self.0 % Self::END))
    }

    /// The number of the snapshot that this is the id of; `None` of a fileset's own id.
    pub fn snapshot_number(self) -> Option<u16> {
        let number = (self.0 >> 48) as u16;
        (number >= Self::SNAPSHOT_NUMBERS).then_some(number % Self::SNAPSHOT_NUMBERS)
    }

    /// The fileset that this is a snapshot of; itself, if it is none.
    #[must_use]
    pub fn live(self) -> FilesetId {
        match self.snapshot_number() {
            Some(_) => FilesetId(self.0 % Self::END),
            None => self,
        }
    }
}

/// A snapshot's id is followed by its number.
impl fmt::Display for FilesetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let live = self.live().0;
        write!(f, "{},,{}", live >> 32, live & 0xffff_ffff)?;
        match self.snapshot_number() {
            Some(number) => write!(f, "@{number}"),
            None => Ok(()),
        }
    }
}

/// Reads `high,,low`; `0,,` may be left out, and then the number may use all 64 bits.
impl FromStr for FilesetId {
    type Err = Error;

    fn from_str(text: &str) -> Result<FilesetId> {
        let bad = |why: &str| {
            Error::new(Kind::Invalid, format!("fileset id '{}'", text.escape_debug()))
                .because(why)
                .remedy("write it as high,,low, for example 0,,1201")
        };
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let id = match text.split_once(",,") {
            Some((high, low)) if digits(high) && digits(low) => {
                let high: u32 = high.parse().map_err(|_| bad("the first half is over 32 bits"))?;
                let low: u32 = low.parse().map_err(|_| bad("the second half is over 32 bits"))?;
                u64::from(high) << 32 | u64::from(low)
            }
            None if digits(text) => text.parse().map_err(|_| bad("over 64 bits"))?,
            _ => return Err(bad("not a number")),
        };
        if id == 0 {
            Err(bad("no fileset has the id 0"))
        } else {
            Ok(FilesetId(id))
        }
    }
}

/// A file's number within its fileset: 1 is the root, 0 never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Vnode(u64);

impl Vnode {
    /// The root directory of a fileset.
    pub const ROOT: Vnode = Vnode(1);
    /// The directory of a fileset's snapshots. No file has this number: it is the last.
    pub const SNAPSHOTS: Vnode = Vnode(VNODE_END - 1);

    /// The vnode with this number.
    ///
    /// # Errors
    /// `Invalid` for 0 and from [`VNODE_END`] on.
    pub fn new(number: u64) -> Result<Vnode> {
        if number == 0 || number >= VNODE_END {
            return Err(Error::new(Kind::Invalid, format!("vnode {number}")).because("outside 1 to 2^40 - 1"));
        }
        Ok(Vnode(number))
    }

    /// Its number.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// A file for ever: fileset, number in it, and a random number that its creator drew.
///
/// Without `unique` nobody opens anything, so nobody walks past the directories above by guessing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fid {
    /// The fileset it is in.
    pub fileset: FilesetId,
    /// Its number there.
    pub vnode: Vnode,
    /// Drawn at random by the creator.
    pub unique: u64,
}

/// `fileset.vnode.unique`, for logs.
impl fmt::Display for Fid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{:x}", self.fileset, self.vnode.0, self.unique)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fileset_ids_print_and_read_as_dfs_did() {
        assert_eq!(FilesetId(1201).to_string(), "0,,1201");
        assert_eq!("0,,1201".parse::<FilesetId>().unwrap(), FilesetId(1201));
        assert_eq!("1201".parse::<FilesetId>().unwrap(), FilesetId(1201));
        assert_eq!("7,,1".parse::<FilesetId>().unwrap(), FilesetId(7 << 32 | 1));
        assert_eq!(FilesetId(7 << 32 | 1).to_string(), "7,,1");
    }

    #[test]
    fn ids_of_snapshots_say_of_what_they_are() {
        let fileset = FilesetId(FilesetId::END - 3);
        for number in [0, 1, FilesetId::SNAPSHOT_NUMBERS - 1] {
            let snapshot = fileset.snapshot(number);
            assert_eq!((snapshot.live(), snapshot.snapshot_number()), (fileset, Some(number)));
        }
        assert_eq!((fileset.live(), fileset.snapshot_number()), (fileset, None));
        assert_eq!(FilesetId(1201).snapshot(5).to_string(), "0,,1201@5");
    }

    #[test]
    fn what_is_no_fileset_id_says_why() {
        for bad in [
            "",
            ",,",
            "1,2",
            "0,,",
            ",,3",
            "0,,0",
            "0",
            "-1",
            "+1",
            "0,,4294967296",
            "99999999999999999999",
        ] {
            let error = bad.parse::<FilesetId>().unwrap_err();
            assert_eq!(error.kind, Kind::Invalid, "{bad}");
            assert!(error.to_string().contains("high,,low"), "{error}");
        }
    }

    #[test]
    fn vnodes_stay_within_an_inode_number() {
        assert!(Vnode::new(0).is_err());
        assert!(Vnode::new(VNODE_END).is_err());
        assert_eq!(Vnode::new(VNODE_END - 1).unwrap().number(), VNODE_END - 1);
    }
}
