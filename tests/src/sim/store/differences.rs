//! What the store says differs between two moments of a fileset, against a comparison of all that both hold.

use std::collections::{BTreeMap, BTreeSet};

use baton_aggregate::aggregate::Fileset;
use baton_aggregate::format::{Key, KeyKind};
use baton_types::{Error, Result};
use bytes::Bytes;

use super::history::{Step, World};
use super::model::read;

impl World {
    /// Looks for what differs between the snapshots of some fileset and its present.
    pub fn compare_moments(&mut self) -> Step {
        let made = self.owner.aggregate.generation();
        if self.seed.chance(700) {
            self.checkpoint();
        }
        // What lies in layers counts as changed if it stands there at all.
        let is_settled = !self.is_broken && self.owner.aggregate.generation() > made;
        let id = *self.seed.pick(&self.model.filesets());
        let found = self.owner.aggregate.fileset(id).and_then(|fileset| differing(&fileset));
        let pairs = match found {
            Ok(pairs) => pairs,
            Err(error) => return self.failed("comparison", &error),
        };
        for (place, found, expected) in pairs {
            let missed: Vec<u64> = expected.difference(&found).copied().collect();
            if !missed.is_empty() || is_settled && found != expected {
                return Err(format!("{place}: found to differ {found:?}, and do {expected:?}"));
            }
        }
        Ok(())
    }
}

/// Numbers of files.
type Numbers = BTreeSet<u64>;

/// Which two moments, the files found to differ, and those that do.
fn differing(fileset: &Fileset) -> Result<Vec<(String, Numbers, Numbers)>> {
    let mut moments = Vec::new();
    for snapshot in fileset.snapshots() {
        let past = fileset.at(snapshot.id)?;
        let items = whole(&past)?;
        moments.push((format!("snapshot {}", snapshot.id), past, items));
    }
    moments.push(("now".to_owned(), fileset.clone(), whole(fileset)?));
    let mut pairs = Vec::new();
    for (at, (name, one, items)) in moments.iter().enumerate() {
        for (other_name, other, others) in &moments[at + 1..] {
            let place = format!("{name} and {other_name} of {}", fileset.id());
            let touched = one
                .touched(other)
                .map_err(|error| Error::new(error.kind, place.clone()).because(error.to_string()))?;
            let found = touched.changed.iter().map(|vnode| vnode.number()).collect();
            let keys = items.keys().chain(others.keys());
            let differing = keys.filter(|key| items.get(key) != others.get(key));
            let expected = differing.map(|key| key.object).collect();
            pairs.push((place, found, expected));
        }
    }
    Ok(pairs)
}

/// All that is a file's own at a moment.
fn whole(moment: &Fileset) -> Result<BTreeMap<Key, Bytes>> {
    let items = read(moment)?.into_iter();
    let of_file = |(key, _): &(Key, Bytes)| !matches!(key.kind, KeyKind::Acl | KeyKind::Orphan | KeyKind::Shared);
    Ok(items.filter(of_file).collect())
}
