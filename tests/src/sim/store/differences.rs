//! What the store says differs between two moments of a fileset, against a comparison of all that both hold.

use std::collections::{BTreeMap, BTreeSet};

use baton_aggregate::aggregate::Fileset;
use baton_aggregate::format::{Key, KeyKind, Lsn};
use baton_types::{Error, FilesetId, Result};
use bytes::Bytes;

use super::files;
use super::history::{Step, World};
use super::model::{compared, difference, read};

impl World {
    /// Looks for what differs between the snapshots of some fileset and its present.
    pub fn compare_moments(&mut self) -> Step {
        let made = self.owner.aggregate.generation();
        if self.seed.chance(700) {
            self.checkpoint();
        }
        if self.is_broken {
            return Ok(());
        }
        // What lies in layers counts as changed if it stands there at all.
        let is_settled = self.owner.aggregate.generation() > made;
        let id = *self.seed.pick(&self.model.filesets());
        let found = self.owner.aggregate.fileset(id).and_then(|fileset| {
            let moments = moments(&fileset)?;
            let pairs = differing(&moments)?;
            Ok((moments, pairs))
        });
        let (moments, pairs) = match found {
            Ok(found) => found,
            Err(error) => return self.failed("comparison", &error),
        };
        for moment in moments {
            self.check_moment(id, moment)?;
        }
        for (place, found, expected) in pairs {
            let missed: Vec<u64> = expected.difference(&found).copied().collect();
            if !missed.is_empty() || is_settled && found != expected {
                return Err(format!("{place}: found to differ {found:?}, and do {expected:?}"));
            }
        }
        Ok(())
    }

    /// What was compared is what the model has.
    fn check_moment(&self, id: FilesetId, Moment { at, items, .. }: Moment) -> Step {
        let place = |what: String| format!("{at:?} of {id}: {what}");
        let snapshots = self.model.snapshots(id);
        let (files, expected) = match at {
            None => (self.model.files(id), self.model.items(id)),
            Some(at) => {
                let kept = snapshots.get(&at).ok_or_else(|| place("nobody took it".to_owned()))?;
                (kept.files(), kept.items.clone())
            }
        };
        files::compare(&items, files).map_err(place)?;
        let found = compared(items, None)?;
        difference(&found, &expected).map_or(Ok(()), |difference| Err(place(difference)))
    }
}

/// What a fileset is, or was at a snapshot.
struct Moment {
    at: Option<Lsn>,
    fileset: Fileset,
    items: Vec<(Key, Bytes)>,
}

/// Numbers of files.
type Numbers = BTreeSet<u64>;

/// A fileset at its snapshots, and now.
fn moments(fileset: &Fileset) -> Result<Vec<Moment>> {
    let mut moments = Vec::new();
    for snapshot in fileset.snapshots() {
        let at = Some(snapshot.id);
        let fileset = fileset.at(snapshot.id)?;
        let items = read(&fileset)?;
        moments.push(Moment { at, fileset, items });
    }
    let (at, fileset, items) = (None, fileset.clone(), read(fileset)?);
    moments.push(Moment { at, fileset, items });
    Ok(moments)
}

/// Which two moments, the files found to differ, and those that do.
fn differing(moments: &[Moment]) -> Result<Vec<(String, Numbers, Numbers)>> {
    let mut pairs = Vec::new();
    for (index, one) in moments.iter().enumerate() {
        for other in &moments[index + 1..] {
            let place = format!("{:?} and {:?} of {}", one.at, other.at, one.fileset.id());
            let touched = one
                .fileset
                .touched(&other.fileset)
                .map_err(|error| Error::new(error.kind, place.clone()).because(error.to_string()))?;
            let found = touched.changed.iter().map(|vnode| vnode.number()).collect();
            let (items, others) = (of_files(one), of_files(other));
            let keys = items.keys().chain(others.keys());
            let differing = keys.filter(|key| items.get(*key) != others.get(*key));
            let expected = differing.map(|key| key.object).collect();
            pairs.push((place, found, expected));
        }
    }
    Ok(pairs)
}

/// All that is a file's own at a moment.
fn of_files(moment: &Moment) -> BTreeMap<Key, &Bytes> {
    let items = moment.items.iter();
    let of_file = |(key, _): &&(Key, Bytes)| !matches!(key.kind, KeyKind::Acl | KeyKind::Orphan | KeyKind::Shared);
    items.filter(of_file).map(|(key, value)| (*key, value)).collect()
}
