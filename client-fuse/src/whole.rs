//! Directories all of whose names are known: those that this client made while it was alone, and still is.
//!
//! A name that such a directory never had leads nowhere, and a file may be made under it by whoever made the
//! directory: nobody has to be asked. Names are only ever added, before their change is asked for; one that was taken
//! away again is looked up like any other.

use std::collections::{HashMap, HashSet};

use baton_rpc::sessions::Who;
use baton_types::call::{Newborn, Request};
use baton_types::file::{Attributes, FileKind, Object, Place};
use baton_types::{Fid, FileName, Timestamp};
use parking_lot::Mutex;

/// Names and directories that are remembered: some 100 bytes each. When there are more, all of them are forgotten.
const NAMES_MAX: usize = 500_000;
/// Owner's right to make names in a directory.
const MAY_NAME: u32 = 0o300;
/// Set-user-id and set-group-id: what becomes of them the server alone says.
pub const SET_IDS: u32 = 0o6000;

/// All of one mount.
#[derive(Default)]
pub struct Whole {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    directories: HashMap<Fid, Directory>,
    /// Names and directories.
    names: usize,
}

struct Directory {
    /// The stay alone that its names are known in.
    stay: u64,
    names: HashSet<FileName>,
    /// Who made it, and how it was then: unless its owner or mode were set since.
    made: Option<(Maker, Attributes)>,
}

/// Whom a server takes for the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Maker {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

/// What a file or directory will be that is made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth {
    /// Which of the two.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Birth {
    /// The file, as it is when it was made at `time`.
    pub fn object(&self, place: &Place, newborn: Newborn, time: Timestamp) -> Object {
        let fid = Fid {
            fileset: place.directory.fileset,
            vnode: newborn.vnode,
            unique: newborn.unique,
        };
        let attributes = Attributes {
            kind: self.kind,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            links: if self.kind == FileKind::Directory { 2 } else { 1 },
            size: 0,
            blocks: 0,
            data_version: 1,
            accessed: time,
            modified: time,
            changed: time,
            created: time,
            parent: Some(place.directory.vnode),
            device: 0,
            acl: 0,
        };
        Object { fid, attributes }
    }
}

impl Maker {
    fn of(who: &Who) -> Maker {
        Maker {
            uid: who.uid,
            gid: who.gid,
            groups: who.groups.clone(),
        }
    }
}

impl Whole {
    /// `who` made an empty directory during `stay`.
    pub fn made(&self, fid: Fid, stay: u64, who: &Who, attributes: Attributes) {
        let directory = Directory {
            stay,
            names: HashSet::new(),
            made: Some((Maker::of(who), attributes)),
        };
        let mut table = self.table.lock();
        table.directories.insert(fid, directory);
        table.count();
    }

    /// A change is about to be asked for: its names may be there from now on.
    pub fn changing(&self, request: &Request) {
        let mut table = self.table.lock();
        match request {
            Request::Create { place, .. }
            | Request::Mkdir { place, .. }
            | Request::Symlink { place, .. }
            | Request::Mknod { place, .. }
            | Request::CreateMountPoint { place, .. }
            | Request::Link { place, .. } => table.name(place),
            Request::Rename { source, target, .. } => {
                table.name(source);
                table.name(target);
            }
            Request::Setattr { fid, set, .. } if (set.mode, set.uid, set.gid) != (None, None, None) => {
                if let Some(directory) = table.directories.get_mut(fid) {
                    directory.made = None;
                }
            }
            _ => {}
        }
    }

    /// Whether nothing can be there under this name, if `stay` lasts.
    pub fn lacks(&self, place: &Place, stay: u64) -> bool {
        self.table.lock().get(place, stay).is_some()
    }

    /// What a file or directory will be that `who` makes there, if that is certain.
    pub fn birth(&self, place: &Place, stay: u64, who: &Who, (kind, mode): (FileKind, u32)) -> Option<Birth> {
        let table = self.table.lock();
        let (maker, directory) = table.get(place, stay)?.made.as_ref()?;
        // A directory inherits more than its group.
        let inherits = kind == FileKind::Directory && directory.mode & SET_IDS != 0;
        let is_certain =
            *maker == Maker::of(who) && directory.mode & MAY_NAME == MAY_NAME && mode & SET_IDS == 0 && !inherits;
        // The group is the directory's, inherited or not: who made the directory gave it his own, or it was inherited.
        is_certain.then_some(Birth {
            kind,
            mode: mode & 0o7777,
            uid: directory.uid,
            gid: directory.gid,
        })
    }

    /// Forgets a directory.
    pub fn forget(&self, fid: Fid) {
        let mut table = self.table.lock();
        if let Some(directory) = table.directories.remove(&fid) {
            table.names -= 1 + directory.names.len();
        }
    }
}

impl Table {
    fn name(&mut self, place: &Place) {
        let Some(directory) = self.directories.get_mut(&place.directory) else {
            return;
        };
        if directory.names.insert(place.name.clone()) {
            self.count();
        }
    }

    /// There is one more.
    fn count(&mut self) {
        self.names += 1;
        if self.names > NAMES_MAX {
            *self = Table::default();
        }
    }

    /// The directory, if the name cannot be there.
    fn get(&self, place: &Place, stay: u64) -> Option<&Directory> {
        let directory = self.directories.get(&place.directory)?;
        let is_known = directory.stay == stay && !directory.names.contains(&place.name);
        is_known.then_some(directory)
    }
}

#[cfg(test)]
mod tests {
    use baton_types::call::Keep;
    use baton_types::file::SetAttributes;
    use baton_types::{FilesetId, Vnode};

    use super::*;

    const STAY: u64 = 3;
    const TIME: Timestamp = Timestamp(7);

    fn fid(number: u64) -> Fid {
        Fid {
            fileset: FilesetId(4),
            vnode: Vnode::new(number).unwrap(),
            unique: 9,
        }
    }

    fn place(name: &str) -> Place {
        Place {
            directory: fid(2),
            name: FileName::parse(name.as_bytes()).unwrap(),
        }
    }

    fn create(name: &str) -> Request {
        Request::Create {
            place: place(name),
            newborn: Newborn {
                vnode: Vnode::new(9).unwrap(),
                unique: 1,
                mode: 0o644,
            },
            time: TIME,
        }
    }

    fn directory(mode: u32) -> Attributes {
        Attributes {
            kind: FileKind::Directory,
            mode,
            uid: 1000,
            gid: 100,
            links: 2,
            size: 0,
            blocks: 0,
            data_version: 1,
            accessed: TIME,
            modified: TIME,
            changed: TIME,
            created: TIME,
            parent: None,
            device: 0,
            acl: 0,
        }
    }

    fn who(uid: u32) -> Who {
        Who {
            uid,
            gid: 100,
            ..Who::default()
        }
    }

    fn whole(mode: u32) -> Whole {
        let whole = Whole::default();
        whole.made(fid(2), STAY, &who(1000), directory(mode));
        whole
    }

    #[test]
    fn a_name_that_was_never_there_leads_nowhere_while_the_stay_lasts() {
        let whole = whole(0o755);
        assert!(whole.lacks(&place("a"), STAY));
        assert!(!whole.lacks(&place("a"), STAY + 1));
        whole.changing(&create("a"));
        assert!(!whole.lacks(&place("a"), STAY));
        assert!(whole.lacks(&place("b"), STAY));
        let (keep, time) = (Keep::Closed, TIME);
        whole.changing(&Request::Unlink {
            place: place("a"),
            keep,
            time,
        });
        assert!(
            !whole.lacks(&place("a"), STAY),
            "it is asked for, as it may be made anew"
        );
        whole.changing(&Request::Rename {
            source: place("a"),
            target: place("b"),
            onto: baton_types::call::Onto::Exchange,
            time,
        });
        assert!(!whole.lacks(&place("b"), STAY));
        whole.forget(fid(2));
        assert!(!whole.lacks(&place("c"), STAY));
    }

    #[test]
    fn a_birth_is_certain_for_who_made_the_directory_and_nobody_else() {
        let born = |whole: &Whole, uid, mode| whole.birth(&place("a"), STAY, &who(uid), (FileKind::Regular, mode));
        let certain = Birth {
            kind: FileKind::Regular,
            mode: 0o644,
            uid: 1000,
            gid: 100,
        };
        assert_eq!(born(&whole(0o755), 1000, 0o644), Some(certain));
        assert_eq!(born(&whole(0o755), 1001, 0o644), None, "another user");
        assert_eq!(born(&whole(0o555), 1000, 0o644), None, "no right to");
        assert_eq!(born(&whole(0o755), 1000, 0o4755), None, "the server judges set-id bits");
        let below = |whole: &Whole| whole.birth(&place("a"), STAY, &who(1000), (FileKind::Directory, 0o755));
        assert!(below(&whole(0o755)).is_some());
        assert_eq!(below(&whole(0o2755)), None, "it is born with set-group-id");
        let changed = whole(0o755);
        let set = SetAttributes {
            mode: Some(0o755),
            ..SetAttributes::default()
        };
        changed.changing(&Request::Setattr {
            fid: fid(2),
            set,
            time: TIME,
        });
        assert_eq!(born(&changed, 1000, 0o644), None);
        assert!(changed.lacks(&place("a"), STAY), "its names are known all the same");
    }
}
