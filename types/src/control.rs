//! What a file server tells those who administrate it.

mod scrub;

pub use scrub::{Damage, ScrubEnd, ScrubPass, ScrubReport, ScrubWish, Scrubbed};

use crate::{AggregateId, AggregateName, Epoch, FileName, FilesetId, FilesetName, Timestamp};

/// An aggregate whose label a server sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregateReport {
    /// From its label.
    pub id: AggregateId,
    /// From its label.
    pub name: AggregateName,
    /// Where it is on that machine.
    pub device: String,
    /// `None` if that server does not export it.
    pub exported: Option<AggregateExport>,
}

/// An aggregate in service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AggregateExport {
    /// Under which it is owned.
    pub epoch: Epoch,
    /// All room.
    pub total_bytes: u64,
    /// Room that may be filled.
    pub free_bytes: u64,
    /// How many are on it.
    pub filesets: u64,
}

/// How large an aggregate may be made, and how large it was or would be made; all in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrowthReport {
    /// What it had before.
    pub before: u64,
    /// With less than this there is no room more.
    pub least: u64,
    /// What its device has.
    pub most: u64,
    /// What it has now, or would have.
    pub bytes: u64,
}

/// What a server's disk says of a fileset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesetReport {
    /// Its RW id.
    pub id: FilesetId,
    /// As the disk has it.
    pub name: FilesetName,
    /// Where it is.
    pub aggregate: AggregateName,
    /// What it holds.
    pub used_bytes: u64,
    /// How many files of any kind.
    pub used_files: u64,
    /// Most bytes; 0 is no limit.
    pub quota_bytes: u64,
    /// Most files; 0 is no limit.
    pub quota_files: u64,
    /// When it was made.
    pub created: Timestamp,
    /// What a replica compares.
    pub version: u64,
    /// Whether it is served.
    pub is_online: bool,
    /// Whether its backup version is there.
    pub has_backup: bool,
}

/// Which versions of a fileset are on the aggregate that it is booked on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VersionsReport {
    /// The RW version.
    pub has_rw: bool,
    /// The backup version.
    pub has_backup: bool,
}

/// The snapshot that a fileset's backup version is.
pub const BACKUP: &str = "backup";

/// A snapshot of a fileset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotReport {
    /// In its fileset's `.snapshots`.
    pub name: FileName,
    /// When it was taken.
    pub taken: Timestamp,
    /// What the fileset held then.
    pub used_bytes: u64,
    /// How many files of any kind.
    pub used_files: u64,
    /// What deleting it would give back, as far as is known.
    pub unique_bytes: u64,
}

/// What going back to a snapshot came to, or would come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RollBackReport {
    /// When the snapshot was taken.
    pub taken: Timestamp,
    /// What the fileset holds after it.
    pub then_bytes: u64,
    /// How many files of any kind.
    pub then_files: u64,
    /// What it held before.
    pub now_bytes: u64,
    /// How many files of any kind.
    pub now_files: u64,
    /// The snapshot that was taken of that; empty if nothing was done.
    pub before: String,
}

/// Which snapshot the past is brought back from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The newest one that was not taken after this.
    At(Timestamp),
    /// The one that was taken before the last time that the past was brought back.
    BeforeLast,
}

/// Whether something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carry {
    /// It is.
    Out,
    /// It is only said what would be done.
    Nothing,
}

/// What becomes of a file when the past is brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is not there now, and was then.
    Back,
    /// It is another now than then.
    Changed,
    /// It is there now, and was not then.
    Gone,
}

/// A step of bringing the past back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// From the fileset's root, without a slash before it.
    pub path: Vec<u8>,
    /// What becomes of it.
    pub fate: Fate,
}

/// One path in which two moments of a fileset differ. Paths are from its root, without a slash before them, each as it is
/// in its own moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// It is in the later one alone.
    Added(Vec<u8>),
    /// It is in the earlier one alone.
    Removed(Vec<u8>),
    /// Its bytes differ, or another file of its kind is in its place; the later path.
    Content(Vec<u8>),
    /// Its bytes are the same: owner, mode, ACL, extended attributes or date differ; the later path.
    Attributes(Vec<u8>),
    /// The same thing has another name.
    Renamed {
        /// In the earlier one.
        old: Vec<u8>,
        /// In the later one.
        new: Vec<u8>,
    },
}

/// How bringing the past back went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// The snapshot it was brought back from.
    pub from: String,
    /// When that was taken.
    pub taken: Timestamp,
    /// The snapshot of what was there before; empty where nothing was done.
    pub before: String,
    /// All that differed, in the order of the walk.
    pub steps: Vec<Restored>,
}

/// How an export went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportReport {
    /// Of what.
    pub aggregate: AggregateName,
    /// Under which it is owned now.
    pub epoch: Epoch,
    /// Records of the log that were replayed.
    pub records: u64,
    /// From the grant until it was served.
    pub micros: u64,
    /// How many are on it.
    pub filesets: u64,
}

/// How giving an aggregate up went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachReport {
    /// Of what.
    pub aggregate: AggregateName,
    /// Under which it was owned.
    pub epoch: Epoch,
    /// How many are on it.
    pub filesets: u64,
    /// Holds that clients had there alone, and were taken back.
    pub holds: u64,
    /// Clients that hold something there and could not be told: they say what they have to the next owner.
    pub unreachable: u64,
}

/// Whether giving an aggregate up waits for those who use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// It does: until they have given back what they hold, or were silent for their lifetime.
    No,
    /// It does not: DFS's `-force`.
    Yes,
}

/// Something that a server is at work on for an administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Counts them since the server's start.
    pub id: u64,
    /// What is being done.
    pub what: String,
    /// To what.
    pub on: String,
    /// Since when.
    pub since: Timestamp,
}
