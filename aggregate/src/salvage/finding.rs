//! What can be wrong, and what it means.

use std::fmt;

use super::mend::Mend;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident, $text:literal, $meaning:literal;)*) => {
        /// What kind of thing is wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault { $($(#[$doc])* $name,)* }

        impl Fault {
            /// Every one.
            pub const ALL: &'static [Fault] = &[$(Fault::$name,)*];

            /// In one word or two, as scripts may know it.
            pub fn name(self) -> &'static str {
                match self { $(Fault::$name => $text,)* }
            }

            /// What it means for whoever uses the aggregate.
            pub fn meaning(self) -> &'static str {
                match self { $(Fault::$name => $meaning,)* }
            }
        }
    };
}

faults! {
    /// A copy of the label.
    Label, "label", "one copy of the label is lost; the other one serves, and there is no third";
    /// A slot.
    Slot, "slot", "a look does not pass on this slot: the next epoch granted must be the one that falls on it";
    /// A root.
    Root, "root", "recovery begins with an older root; one generation back loses nothing";
    /// The log.
    Log, "log", "what was acknowledged after this place is lost; the aggregate is held until somebody decides";
    /// A node.
    Node, "node", "the names and files below it answer with an input/output error";
    /// A value.
    Item, "item", "the thing it describes answers with an input/output error";
    /// A block that two things claim, or that is in use and said to be free.
    Block, "block", "writing one thing may destroy the other: serve nothing from here before it is repaired";
    /// Used blocks that nothing refers to.
    Leak, "leak", "space is lost; no file is";
    /// A segment.
    Segment, "segment", "the record of free space contradicts itself: allocation may fail, or take what is in use";
    /// Extents that overlap.
    Extent, "extent", "which of two versions of these bytes is right cannot be told";
    /// Bytes of a file.
    Data, "data", "reading these bytes answers with an input/output error";
    /// Link counts.
    Links, "links", "the file may be removed too early, or never";
    /// Directories.
    Directory, "directory", "the files below cannot be reached by any path, or by two";
    /// Files without a name.
    Orphan, "orphan", "a file without a name takes space for ever";
    /// What a fileset uses.
    Usage, "usage", "quota and df show the wrong numbers";
    /// Vnode numbers.
    Vnode, "vnode", "a new file may be given the number of an old one";
    /// The list of filesets.
    Catalog, "catalog", "a fileset cannot be found by its name, or only by its name";
    /// Snapshots, and the lists of what only they have.
    Snapshot, "snapshot", "deleting a snapshot may free what is in use, or never give its space back";
    /// Sessions, clients, holds.
    Session, "session", "a client that comes back may be refused, or not waited for";
    /// A birth after the end of the log.
    Birth, "birth", "snapshots would keep or free the wrong blocks";
}

/// Whether something has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// What a crash may leave behind, and the next owner heals by itself.
    Notice,
    /// What no sequence of crashes leaves behind.
    Fault,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub fault: Fault,
    /// Whether something has to be done.
    pub gravity: Gravity,
    /// On which thing: "fileset user.ito, vnode 17".
    pub on: String,
    /// By which name it is found, if it is a file that has one.
    pub path: Option<String>,
    /// What exactly.
    pub reason: String,
    /// What a repair makes of it.
    pub(crate) mend: Mend,
}

impl Finding {
    /// True if a repair does something about it.
    pub fn is_mended(&self) -> bool {
        self.mend.is_done()
    }

    /// The way out, if a repair that is not asked to makes nothing of it.
    pub fn remedy(&self) -> Option<&'static str> {
        (self.mend == Mend::Uncut).then_some(CUT_REMEDY)
    }

    /// What a repair makes of it, in a few words.
    pub fn becomes(&self) -> String {
        self.mend.to_string()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{} ({path}): {}", self.on, self.reason),
            None => write!(f, "{}: {}", self.on, self.reason),
        }
    }
}

/// How to get the rest of a fileset back.
const CUT_REMEDY: &str = "what lies below it is lost for good: give out with 'salvage -extract' what can still be read, \
                          then cut it out with 'salvage -repair DEVICE -cut'";

/// Findings kept at most: of a device full of noise the first thousand say enough.
const KEPT_MAX: usize = 1_000;

/// Those found so far.
#[derive(Default)]
pub(super) struct Findings {
    pub kept: Vec<Finding>,
    /// Those that were not kept besides.
    pub more: u64,
    /// The first fault that no repair can do anything about, kept or not.
    pub beyond: Option<Finding>,
}

impl Findings {
    /// Something has to be done, and nobody knows what: a repair refuses.
    pub fn fault(&mut self, fault: Fault, on: impl Into<String>, reason: impl Into<String>) {
        self.mendable(fault, on, reason, Mend::Refuse);
    }

    /// Something has to be done, and that by `mend`.
    pub fn mendable(&mut self, fault: Fault, on: impl Into<String>, reason: impl Into<String>, mend: Mend) {
        self.add(fault, Gravity::Fault, (on.into(), reason.into()), mend);
    }

    /// Nothing has to be done.
    pub fn notice(&mut self, fault: Fault, on: impl Into<String>, reason: impl Into<String>) {
        self.add(fault, Gravity::Notice, (on.into(), reason.into()), Mend::Leave);
    }

    /// Nothing has to be done, and `mend` does it all the same.
    pub fn untidy(&mut self, fault: Fault, on: impl Into<String>, reason: impl Into<String>, mend: Mend) {
        self.add(fault, Gravity::Notice, (on.into(), reason.into()), mend);
    }

    fn add(&mut self, fault: Fault, gravity: Gravity, (on, reason): (String, String), mend: Mend) {
        let finding = Finding {
            fault,
            gravity,
            on,
            path: None,
            reason,
            mend,
        };
        if finding.mend == Mend::Refuse && self.beyond.is_none() {
            self.beyond = Some(finding.clone());
        }
        match self.kept.len() < KEPT_MAX {
            true => self.kept.push(finding),
            false => self.more += 1,
        }
    }
}
