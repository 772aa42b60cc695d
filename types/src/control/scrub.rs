//! Scrubs: what reading everything of an aggregate came to.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use crate::{FileName, FilesetId, FilesetName, Timestamp};

/// Something on a disk that is not what was written there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// What kind of thing it is, in a word: "data", "node".
    pub what: String,
    /// Of which fileset; `None` for what is the aggregate's own.
    pub fileset: Option<(FilesetId, FilesetName)>,
    /// The newest snapshot that has it; `None` if the fileset itself has.
    pub snapshot: Option<FileName>,
    /// Of which file; 0 for what is of no file.
    pub vnode: u64,
    /// From the fileset's root, without a slash before it; `None` if no name leads to it, or none that can be read.
    pub path: Option<Vec<u8>>,
    /// Which of the file's bytes; `None`: it cannot be reached at all.
    pub range: Option<Range<u64>>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((_, name)) = &self.fileset {
            write!(f, "fileset {name}")?;
            if let Some(snapshot) = &self.snapshot {
                write!(f, ", snapshot {snapshot}")?;
            }
            match &self.path {
                Some(path) => write!(f, ", /{}", path.escape_ascii())?,
                None => write!(f, ", vnode {}", self.vnode)?,
            }
            match &self.range {
                Some(range) => write!(f, ", bytes {} to {}: ", range.start, range.end.saturating_sub(1))?,
                None => write!(f, ": ")?,
            }
        }
        f.write_str(&self.reason)
    }
}

/// What a scrub has read and found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Read from the device.
    pub bytes: u64,
    /// What is damaged.
    pub damages: Vec<Damage>,
    /// More of it, which is not listed.
    pub more: u64,
    /// True if nothing is left to be read.
    pub is_finished: bool,
}

impl Scrubbed {
    /// How much is damaged.
    pub fn count(&self) -> u64 {
        self.damages.len() as u64 + self.more
    }
}

/// How a scrub ended, or that it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScrubEnd {
    /// It goes on.
    Underway,
    /// Everything was read.
    Finished,
    /// It was stopped.
    Stopped,
    /// It failed, and why.
    Failed(String),
}

/// One scrub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrubPass {
    /// When it began.
    pub began: Timestamp,
    /// When it ended; of one that goes on, when it was looked at.
    pub ended: Timestamp,
    /// How.
    pub end: ScrubEnd,
    /// What it came to.
    pub scrubbed: Scrubbed,
}

/// What there is to say of the scrubs of an aggregate, since its owner serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrubReport {
    /// Bytes a second.
    pub rate: u64,
    /// How long after the end of one the next begins; `None`: when somebody asks.
    pub every: Option<Duration>,
    /// The one that goes on, or the last one that ended.
    pub last: Option<ScrubPass>,
    /// The last one that has read everything.
    pub finished: Option<ScrubPass>,
}

/// What is asked of the scrub of an aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScrubWish {
    /// That it begins, with so many bytes a second; or that one that goes on takes this rate.
    Start(Option<u64>),
    /// That it ends.
    Stop,
    /// Nothing: only how it goes.
    Look,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_named_by_its_path() {
        let mut damage = Damage {
            what: "data".to_owned(),
            fileset: Some((FilesetId(7), "user.ito".parse().unwrap())),
            snapshot: None,
            vnode: 17,
            path: Some(b"a/b\n".to_vec()),
            range: Some(4_096..8_192),
            reason: "its checksum does not match".to_owned(),
        };
        assert_eq!(
            damage.to_string(),
            "fileset user.ito, /a/b\\n, bytes 4096 to 8191: its checksum does not match"
        );
        damage.snapshot = Some(FileName::parse(b"monday").unwrap());
        (damage.path, damage.range) = (None, None);
        assert_eq!(
            damage.to_string(),
            "fileset user.ito, snapshot monday, vnode 17: its checksum does not match"
        );
        damage.fileset = None;
        assert_eq!(damage.to_string(), "its checksum does not match");
    }
}
