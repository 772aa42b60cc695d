//! Which version of a fileset a mount point leads to, and under which inode numbers it is seen there.
//!
//! | the path so far | regular mount point | read-write mount point |
//! |---|---|---|
//! | read-write | the read-write version | the read-write version |
//! | read-only or backup, target replicated | the read-only version, whether or not it can be reached | the read-write version |
//! | read-only or backup, target not replicated | the read-write version | the read-write version |
//! | any, mount point names `.readonly` or `.backup` by its id | that version | the read-write version |
//!
//! So one read-write mount point makes all below it read-write. A cell is entered like a replicated fileset from a
//! read-only path.
//!
//! ```text
//! 63        40            0
//! ┌─┬────────┬────────────┐
//! │0│instance│vnode       │   nodeid and st_ino; instance 0 is where the mount starts
//! └─┴────────┴────────────┘
//! ```
//! An *instance* is a fileset as it is seen under one path of mount points: seen twice, it is two. Its number comes
//! from that path, so that it is the same after a restart, but for collisions, where the next free one is taken.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use baton_types::change::FilesetRef;
use baton_types::file::MountPoint;
use baton_types::record::{Fileset, VersionState};
use baton_types::{Error, Fid, FilesetId, FilesetName, Kind, Result, Vnode};
use siphasher::sip::SipHasher13;

const VNODE_BITS: u32 = 40;
/// Instance numbers end below this.
const INSTANCES_END: u32 = 1 << 23;
/// Mount points one behind the other: as many as the kernel follows symbolic links.
const DEPTH_MAX: u32 = 40;

/// A version of a fileset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// The one that changes.
    ReadWrite,
    /// The replicas.
    ReadOnly,
    /// The backup clone.
    Backup,
}

/// What a name in a command or an id in a mount point stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The fileset.
    pub fileset: FilesetRef,
    /// Which version was asked for by a suffix.
    pub version: Option<Version>,
}

/// A version of a fileset that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Its own id.
    pub fileset: FilesetId,
    /// Which version it is.
    pub version: Version,
}

impl Version {
    /// The one that `id` is of `record`'s.
    pub fn of(record: &Fileset, id: FilesetId) -> Option<Version> {
        [Version::ReadWrite, Version::ReadOnly, Version::Backup]
            .into_iter()
            .find(|version| version.id(record) == id)
    }

    /// What comes after a fileset's name.
    pub fn suffix(self) -> &'static str {
        match self {
            Version::ReadWrite => "",
            Version::ReadOnly => ".readonly",
            Version::Backup => ".backup",
        }
    }

    /// The id of this version of `record`.
    pub fn id(self, record: &Fileset) -> FilesetId {
        match self {
            Version::ReadWrite => record.id,
            Version::ReadOnly => record.id.read_only(),
            Version::Backup => record.id.backup(),
        }
    }

    fn is_there(self, record: &Fileset) -> bool {
        let state = match self {
            Version::ReadWrite => record.rw,
            Version::ReadOnly => record.ro,
            Version::Backup => record.backup,
        };
        state == VersionState::Valid
    }
}

impl Named {
    /// Reads a name or an id; the suffix of a name picks a version.
    ///
    /// # Errors
    /// `Invalid`, `NameTooLong`.
    pub fn parse(text: &str) -> Result<Named> {
        if let Ok(id) = text.parse() {
            return Ok(Named {
                fileset: FilesetRef::Id(id),
                version: None,
            });
        }
        let picked = [Version::ReadOnly, Version::Backup]
            .into_iter()
            .find_map(|version| Some((text.strip_suffix(version.suffix())?, version)));
        let (name, version) = match picked {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        Ok(Named {
            fileset: FilesetRef::Name(FilesetName::parse(name)?),
            version,
        })
    }

    /// The id to put into a mount point.
    pub fn id(&self, record: &Fileset) -> FilesetId {
        match (&self.fileset, self.version) {
            (FilesetRef::Id(id), _) => *id,
            (FilesetRef::Name(_), Some(version)) => version.id(record),
            (FilesetRef::Name(_), None) => record.id,
        }
    }
}

impl Target {
    /// Where a mount of a cell starts, whose `root.cell` is `record`.
    ///
    /// # Errors
    /// `NotFound` when no version of it is there.
    pub fn start(record: &Fileset) -> Result<Target> {
        Target::enter(Version::ReadOnly, MountPoint::Regular(record.id), record)
    }

    /// A snapshot: as read-only as a backup, and what is below it is found as below one.
    pub fn snapshot(fileset: FilesetId) -> Target {
        Target {
            fileset,
            version: Version::Backup,
        }
    }

    /// Where `point` leads, found in a fileset that is seen as `above`; `record` has the id in it.
    ///
    /// # Errors
    /// `NotFound` when that version is not there.
    pub fn enter(above: Version, point: MountPoint, record: &Fileset) -> Result<Target> {
        let version = match point {
            MountPoint::ReadWrite(_) => Version::ReadWrite,
            MountPoint::Regular(id) => match Version::of(record, id) {
                None => return Err(Error::new(Kind::NotFound, format!("fileset {id}"))),
                Some(Version::ReadWrite) if above != Version::ReadWrite && Version::ReadOnly.is_there(record) => {
                    Version::ReadOnly
                }
                Some(version) => version,
            },
        };
        if !version.is_there(record) {
            return Err(
                Error::new(Kind::NotFound, format!("fileset {}{}", record.name, version.suffix()))
                    .because("this version of it does not exist"),
            );
        }
        Ok(Target {
            fileset: version.id(record),
            version,
        })
    }
}

/// A fileset as it is seen under one path of mount points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instance(u32);

impl Instance {
    /// Where the mount starts.
    pub const ROOT: Instance = Instance(0);

    /// The kernel's number for a file that is seen in it.
    pub fn node(self, vnode: Vnode) -> u64 {
        u64::from(self.0) << VNODE_BITS | vnode.number()
    }

    /// What one of the kernel's numbers means.
    ///
    /// # Errors
    /// `Invalid` for a number that is none of ours.
    pub fn of_node(node: u64) -> Result<(Instance, Vnode)> {
        let instance = u32::try_from(node >> VNODE_BITS).ok().filter(|n| *n < INSTANCES_END);
        let instance = instance.ok_or_else(|| Error::new(Kind::Invalid, format!("inode {node}")))?;
        Ok((Instance(instance), Vnode::new(node & ((1 << VNODE_BITS) - 1))?))
    }
}

/// What an instance is of, and how one comes to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The fileset.
    pub target: Target,
    /// The mount point that leads to it, and the instance that this is in; `None` of the first.
    pub through: Option<(Instance, Fid)>,
    path: u64,
    depth: u32,
}

/// The instances of one mount.
#[derive(Debug)]
pub struct Instances {
    seen: HashMap<Instance, Seen>,
    entered: HashMap<(Instance, Fid, FilesetId), Instance>,
}

impl Instances {
    /// The first alone.
    pub fn new(start: Target) -> Instances {
        let first = Seen {
            target: start,
            through: None,
            path: 0,
            depth: 0,
        };
        Instances {
            seen: HashMap::from([(Instance::ROOT, first)]),
            entered: HashMap::new(),
        }
    }

    /// What is behind the mount point `point` of the instance `above`, when it leads to `target`.
    ///
    /// # Errors
    /// `Stale` when `above` is no more; `Loop` behind too many mount points; `Limit` when all numbers are taken.
    pub fn enter(&mut self, above: Instance, point: Fid, target: Target) -> Result<Instance> {
        let key = (above, point, target.fileset);
        if let Some(instance) = self.entered.get(&key) {
            return Ok(*instance);
        }
        let parent = self
            .seen
            .get(&above)
            .ok_or_else(|| Error::new(Kind::Stale, "mount point"))?;
        if parent.depth >= DEPTH_MAX {
            return Err(Error::new(Kind::Loop, "mount point").because(format!("{DEPTH_MAX} are above it")));
        }
        let seen = Seen {
            target,
            through: Some((above, point)),
            path: path_behind(parent.path, point, target),
            depth: parent.depth + 1,
        };
        let instance = self.free_from(seen.path)?;
        self.seen.insert(instance, seen);
        self.entered.insert(key, instance);
        Ok(instance)
    }

    /// What an instance is of.
    pub fn get(&self, instance: Instance) -> Option<&Seen> {
        self.seen.get(&instance)
    }

    /// The kernel knows nothing of this instance any more. The first one stays.
    pub fn leave(&mut self, instance: Instance) {
        if instance == Instance::ROOT {
            return;
        }
        if let Some(Seen {
            target,
            through: Some((above, point)),
            ..
        }) = self.seen.remove(&instance)
        {
            self.entered.remove(&(above, point, target.fileset));
        }
    }

    fn free_from(&self, path: u64) -> Result<Instance> {
        let count = u64::from(INSTANCES_END - 1); // all but the first
        let wanted = |step: u32| Instance(1 + ((path + u64::from(step)) % count) as u32);
        (0..INSTANCES_END - 1)
            .map(wanted)
            .find(|instance| !self.seen.contains_key(instance))
            .ok_or_else(|| Error::new(Kind::Limit, "mount points").because(format!("{count} are in use")))
    }
}

/// The same on every machine and in every run. Halved, so that a few steps more do not overflow.
fn path_behind(above: u64, point: Fid, target: Target) -> u64 {
    let mut hasher = SipHasher13::new();
    (
        above,
        point.fileset.0,
        point.vnode.number(),
        point.unique,
        target.fileset.0,
    )
        .hash(&mut hasher);
    hasher.finish() >> 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: u64, ro: VersionState, backup: VersionState) -> Fileset {
        Fileset {
            id: FilesetId(id),
            name: FilesetName::parse("user.ito").unwrap(),
            rw: VersionState::Valid,
            ro,
            backup,
            sites: Vec::new(),
            quota_bytes: 0,
            quota_files: 0,
            lock: None,
        }
    }

    const THERE: VersionState = VersionState::Valid;
    const NOT_THERE: VersionState = VersionState::Invalid;

    fn entered(above: Version, point: MountPoint, record: &Fileset) -> Option<Version> {
        Target::enter(above, point, record).ok().map(|target| target.version)
    }

    #[test]
    fn mount_points_follow_dfs() {
        use Version::{Backup, ReadOnly, ReadWrite};
        let (lone, replicated) = (record(12, NOT_THERE, NOT_THERE), record(12, THERE, THERE));
        let regular = MountPoint::Regular(FilesetId(12));
        let forced = MountPoint::ReadWrite(FilesetId(12));
        for above in [ReadWrite, ReadOnly, Backup] {
            assert_eq!(entered(above, forced, &lone), Some(ReadWrite));
            assert_eq!(entered(above, forced, &replicated), Some(ReadWrite));
            assert_eq!(entered(above, regular, &lone), Some(ReadWrite));
            let expected = if above == ReadWrite { ReadWrite } else { ReadOnly };
            assert_eq!(entered(above, regular, &replicated), Some(expected));
            let read_only = MountPoint::Regular(FilesetId(13));
            assert_eq!(entered(above, read_only, &replicated), Some(ReadOnly));
            assert_eq!(entered(above, read_only, &lone), None);
            let backup = MountPoint::Regular(FilesetId(14));
            assert_eq!(entered(above, backup, &replicated), Some(Backup));
            assert_eq!(entered(above, backup, &lone), None);
        }
        assert_eq!(entered(ReadWrite, MountPoint::Regular(FilesetId(99)), &lone), None);
    }

    #[test]
    fn a_cell_is_entered_read_only_if_it_is_replicated() {
        let lone = record(12, NOT_THERE, NOT_THERE);
        assert_eq!(Target::start(&lone).unwrap().fileset, FilesetId(12));
        let replicated = record(12, THERE, NOT_THERE);
        assert_eq!(Target::start(&replicated).unwrap().fileset, FilesetId(13));
        let gone = Fileset { rw: NOT_THERE, ..lone };
        let error = Target::start(&gone).unwrap_err();
        assert_eq!(error.to_string(), "fileset user.ito: this version of it does not exist");
    }

    #[test]
    fn suffixes_pick_versions() {
        let record = record(12, THERE, THERE);
        for (text, id) in [
            ("user.ito", 12),
            ("user.ito.readonly", 13),
            ("user.ito.backup", 14),
            ("0,,14", 14),
        ] {
            assert_eq!(Named::parse(text).unwrap().id(&record), FilesetId(id), "{text}");
        }
        for bad in [".readonly", "", "a/b", "a.readonly.backup"] {
            assert!(Named::parse(bad).is_err(), "{bad}");
        }
    }

    fn point(vnode: u64) -> Fid {
        Fid {
            fileset: FilesetId(3),
            vnode: Vnode::new(vnode).unwrap(),
            unique: 5,
        }
    }

    fn target(fileset: u64) -> Target {
        Target {
            fileset: FilesetId(fileset),
            version: Version::ReadWrite,
        }
    }

    #[test]
    fn one_fileset_under_two_paths_is_two_instances() {
        let mut instances = Instances::new(target(3));
        let home = instances.enter(Instance::ROOT, point(2), target(6)).unwrap();
        let other = instances.enter(Instance::ROOT, point(4), target(6)).unwrap();
        assert_ne!(home, other);
        assert_eq!(instances.enter(Instance::ROOT, point(2), target(6)).unwrap(), home);
        assert_eq!(instances.get(other).unwrap().through, Some((Instance::ROOT, point(4))));
        // A mount point that leads elsewhere now is another instance: what the kernel knows of the old one is not of it.
        assert_ne!(instances.enter(Instance::ROOT, point(2), target(9)).unwrap(), home);
        let mut again = Instances::new(target(3));
        assert_eq!(again.enter(Instance::ROOT, point(2), target(6)).unwrap(), home);
    }

    #[test]
    fn node_numbers_survive_and_the_root_is_one() {
        assert_eq!(Instance::ROOT.node(Vnode::ROOT), 1);
        let last = Instance(INSTANCES_END - 1);
        let vnode = Vnode::new((1 << VNODE_BITS) - 1).unwrap();
        assert_eq!(last.node(vnode), u64::MAX >> 1);
        assert_eq!(Instance::of_node(last.node(vnode)).unwrap(), (last, vnode));
        assert!(Instance::of_node(0).is_err());
        assert!(Instance::of_node(1 << VNODE_BITS).is_err());
        assert!(Instance::of_node(1 << 63 | 1).is_err());
    }

    #[test]
    fn a_number_in_use_is_not_given_again() {
        let mut instances = Instances::new(target(3));
        let first = instances.free_from(77).unwrap();
        let seen = *instances.get(Instance::ROOT).unwrap();
        instances.seen.insert(first, seen);
        let second = instances.free_from(77).unwrap();
        assert_eq!(second.0, first.0 + 1);
        assert_eq!(instances.free_from(u64::from(INSTANCES_END - 1)).unwrap(), Instance(1));
    }

    #[test]
    fn what_the_kernel_forgot_is_gone_and_comes_back_the_same() {
        let mut instances = Instances::new(target(3));
        let home = instances.enter(Instance::ROOT, point(2), target(6)).unwrap();
        instances.leave(home);
        assert!(instances.get(home).is_none());
        assert_eq!(
            instances.enter(home, point(2), target(6)).unwrap_err().kind,
            Kind::Stale
        );
        assert_eq!(instances.enter(Instance::ROOT, point(2), target(6)).unwrap(), home);
        instances.leave(Instance::ROOT);
        assert!(instances.get(Instance::ROOT).is_some());
    }

    #[test]
    fn a_fileset_mounted_in_itself_ends_somewhere() {
        let mut instances = Instances::new(target(3));
        let mut at = Instance::ROOT;
        for _ in 0..DEPTH_MAX {
            at = instances.enter(at, point(2), target(3)).unwrap();
        }
        assert_eq!(instances.enter(at, point(2), target(3)).unwrap_err().kind, Kind::Loop);
    }
}
