//! Devices: which aggregates this machine can reach.
//!
//! The paths that match are looked at again and again, because disks come and go. Only labels are read: what is on a
//! disk may be another server's at this moment. What is no aggregate is passed over; what cannot be read, or is there
//! twice, is said once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use baton_aggregate::create::read_label;
use baton_aggregate::device::{Access, Device, FileDevice};
use baton_types::{AggregateId, AggregateName, Error, Kind, Result};
use glob::Pattern;
use parking_lot::Mutex;

/// An aggregate whose label was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// From its label.
    pub id: AggregateId,
    /// From its label.
    pub name: AggregateName,
    /// The device, all links followed.
    pub path: PathBuf,
    /// All its bytes.
    pub bytes: u64,
}

/// Where to look, and what the last look found.
pub struct Devices {
    patterns: Vec<String>,
    found: Mutex<BTreeMap<AggregateId, Found>>,
    /// What was said about each path last.
    said: Mutex<BTreeMap<PathBuf, String>>,
}

impl Devices {
    /// Will look at paths that match one of `patterns`; nothing is found yet.
    ///
    /// # Errors
    /// `Invalid` for a pattern that is none.
    pub fn new(patterns: &[String]) -> Result<Devices> {
        for pattern in patterns {
            Pattern::new(pattern).map_err(|e| {
                Error::new(Kind::Invalid, "baton.toml")
                    .because(format!("fileserver.devices, '{}': {e}", pattern.escape_debug()))
            })?;
        }
        Ok(Devices {
            patterns: patterns.to_vec(),
            found: Mutex::default(),
            said: Mutex::default(),
        })
    }

    /// Looks at all of them. Reads disks: not for a thread that may not wait.
    pub fn scan(&self) -> Vec<Found> {
        let mut found: BTreeMap<AggregateId, Found> = BTreeMap::new();
        let mut twice = BTreeSet::new();
        for path in self.paths() {
            let Some(seen) = self.look(&path) else { continue };
            if let Some(other) = found.get(&seen.id) {
                let also = format!(
                    "the label of aggregate {} is also on {}",
                    seen.name,
                    other.path.display()
                );
                self.say(&path, &format!("{also}: neither is used; is one a copy?"));
                twice.insert(seen.id);
            }
            found.insert(seen.id, seen);
        }
        found.retain(|id, _| !twice.contains(id));
        let list = found.values().cloned().collect();
        *self.found.lock() = found;
        list
    }

    /// What the last look found, by name.
    pub fn list(&self) -> Vec<Found> {
        let mut list: Vec<Found> = self.found.lock().values().cloned().collect();
        list.sort_by(|one, other| one.name.cmp(&other.name));
        list
    }

    /// The aggregate called `name`, as the last look found it.
    ///
    /// # Errors
    /// `NotFound`, with where was looked.
    pub fn named(&self, name: &AggregateName) -> Result<Found> {
        let found = self.list().into_iter().find(|found| found.name == *name);
        found.ok_or_else(|| {
            let looked = match self.patterns.as_slice() {
                [] => "baton.toml names no fileserver.devices".to_owned(),
                patterns => format!("no device has its label; looked at {}", patterns.join(", ")),
            };
            Error::new(Kind::NotFound, format!("aggregate {name}")).because(looked)
        })
    }

    /// Every path that matches, once, links followed.
    fn paths(&self) -> BTreeSet<PathBuf> {
        let matching = self.patterns.iter().filter_map(|pattern| glob::glob(pattern).ok());
        matching
            .flatten()
            .filter_map(|path| path.ok()?.canonicalize().ok())
            .collect()
    }

    fn look(&self, path: &Path) -> Option<Found> {
        let read = FileDevice::open(path, Access::Read).and_then(|device| Ok((read_label(&device)?, device.len())));
        match read {
            Ok((label, bytes)) => {
                self.said.lock().remove(path);
                Some(Found {
                    id: label.id,
                    name: label.name,
                    path: path.to_owned(),
                    bytes,
                })
            }
            Err(error) if error.kind == Kind::NotFound => None,
            Err(error) => {
                self.say(path, &error.to_string());
                None
            }
        }
    }

    /// Says something about a path, unless it is what was said last.
    fn say(&self, path: &Path, what: &str) {
        if self.said.lock().insert(path.to_owned(), what.to_owned()).as_deref() != Some(what) {
            tracing::warn!(device = %path.display(), "{what}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::symlink;

    use baton_aggregate::create::{Overwrite, Plan, create};
    use baton_types::Timestamp;

    use super::*;

    fn make(path: &Path, name: &str, id: AggregateId) {
        File::create(path).unwrap().set_len(132 << 20).unwrap();
        let plan = Plan {
            id,
            name: name.parse().unwrap(),
            geometry: None,
            overwrite: Overwrite::Refuse,
            created: Timestamp(1),
        };
        create(&FileDevice::open(path, Access::Write).unwrap(), &plan).unwrap();
    }

    fn names(found: &[Found]) -> Vec<&str> {
        found.iter().map(|found| found.name.as_str()).collect()
    }

    #[test]
    fn labels_are_found_and_nothing_else_is() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        make(&at("disk1"), "agg1", AggregateId::random());
        File::create(at("disk2")).unwrap().set_len(1 << 20).unwrap();
        File::create(at("disk3")).unwrap();
        symlink(at("disk1"), at("disk4")).unwrap();
        let devices = Devices::new(&[at("disk*").display().to_string()]).unwrap();
        assert!(devices.list().is_empty(), "nobody looked yet");
        assert_eq!(names(&devices.scan()), ["agg1"]);
        make(&at("disk5"), "agg2", AggregateId::random());
        devices.scan();
        assert_eq!(names(&devices.list()), ["agg1", "agg2"]);
        let found = devices.named(&"agg1".parse().unwrap()).unwrap();
        assert_eq!(
            (found.path, found.bytes),
            (at("disk1").canonicalize().unwrap(), 132 << 20)
        );
        std::fs::remove_file(at("disk5")).unwrap();
        assert_eq!(names(&devices.scan()), ["agg1"]);
        let error = devices.named(&"agg2".parse().unwrap()).unwrap_err();
        assert!(
            error.to_string().contains("no device has its label; looked at"),
            "{error}"
        );
    }

    #[test]
    fn of_a_disk_and_its_copy_neither_is_used() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let id = AggregateId::random();
        make(&at("disk1"), "agg1", id);
        make(&at("disk2"), "agg1", id);
        make(&at("disk3"), "agg3", AggregateId::random());
        let devices = Devices::new(&[at("*").display().to_string()]).unwrap();
        assert_eq!(names(&devices.scan()), ["agg3"]);
    }

    #[test]
    fn a_pattern_that_is_none_is_refused() {
        let error = Devices::new(&["/dev/[".to_owned()]).err().unwrap();
        assert!(
            error
                .to_string()
                .starts_with("baton.toml: fileserver.devices, '/dev/['"),
            "{error}"
        );
    }
}
