//! How long it takes to find in what a fileset differs from a snapshot when a thousandth of its files has changed,
//! beside a comparison of all that is in both.
//!
//! The files that change lie together, or anywhere: of each directory with one of them the names are read. Both ways
//! must find the same, in turns, each time the other one first; and all is in the trees before.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use baton_aggregate::aggregate::{Comparison, Fileset, Renames, Step};
use baton_aggregate::fileset::{self, Cookie, PageMax};
use baton_aggregate::format::{Attributes, FileKind, Lsn};
use baton_types::Fid;
use rand::seq::IndexedRandom;

use super::Subject;
use super::ours::{FILESET, Ours};
use super::recovery::fill;
use super::snapshot::take;
use super::table::{OWN, Table, Unit};

/// Of so many files one changes.
const ONE_OF: usize = 1_000;
/// Who compares all.
const ALL: &str = "all of both";
/// A listing's page.
const PAGE: PageMax = PageMax {
    names: 1_000,
    bytes: 256 << 10,
};

/// Measures it over a fileset of so many files.
pub(super) fn measure(
    directory: &Path,
    (files, rounds): (usize, usize),
    table: &mut Table,
    progress: &impl Fn(&str),
) -> Result<()> {
    progress(&format!("differences of {files} files"));
    let mut ours = Ours::new(directory)?;
    let (all, _) = fill(&ours, files)?;
    let count = (files / ONE_OF).max(1);
    for round in 0..rounds {
        let anywhere: Vec<Fid> = all.sample(&mut rand::rng(), count).copied().collect();
        for (place, changed) in [("together", &all[..count]), ("anywhere", &anywhere[..])] {
            take(&ours, &format!("{place}.{round}"))?;
            let mut seat = ours.seat()?;
            let mut last = Lsn(0);
            for file in changed {
                last = seat.touch(*file)?;
            }
            seat.wait(last)?;
            ours.settle()?;
            let what = format!("{count} of {files} files have changed, {place}: which");
            compare(&ours, (round, count), &what, table)?;
        }
    }
    Ok(())
}

/// With the snapshot that was taken last, both ways.
fn compare(ours: &Ours, (round, count): (usize, usize), what: &str, table: &mut Table) -> Result<()> {
    let now = ours.fileset()?;
    let newest = now.snapshots().last().map(|snapshot| snapshot.id);
    let then = now.at(newest.unwrap_or_default())?;
    let mut ways: [(&str, Way); 2] = [(OWN, by_difference), (ALL, by_all)];
    ways.rotate_left(round % 2);
    for (name, way) in ways {
        let begun = Instant::now();
        let found = way(&then, &now)?;
        let took = begun.elapsed();
        ensure!(found == count, "{name}: {found} files instead of {count}");
        table
            .row(what, Unit::Millis, None)
            .side(name)
            .add(took.as_secs_f64() * 1e3);
    }
    Ok(())
}

/// Says how many files differ.
type Way = fn(&Fileset, &Fileset) -> Result<usize>;

fn by_difference(then: &Fileset, now: &Fileset) -> Result<usize> {
    let mut comparison = Comparison::new(then, now, Renames::Told)?;
    comparison.begin(b"")?;
    let mut found = 0;
    for step in comparison {
        found += usize::from(matches!(step?, Step::File(_)));
    }
    Ok(found)
}

fn by_all(then: &Fileset, now: &Fileset) -> Result<usize> {
    let root = now.read(|view| fileset::root(view, FILESET))?;
    let (mut waiting, mut found) = (vec![root.fid], 0);
    while let Some(directory) = waiting.pop() {
        let mut old = list(then, directory)?;
        for (name, (file, attributes)) in list(now, directory)? {
            if FileKind::from_mode(attributes.mode) == Some(FileKind::Directory) {
                waiting.push(file);
            } else {
                let is_same = old.remove(&name).is_some_and(|(_, old)| old == attributes);
                found += usize::from(!is_same);
            }
        }
    }
    Ok(found)
}

/// All names of a directory, with what they lead to.
fn list(moment: &Fileset, directory: Fid) -> Result<HashMap<Vec<u8>, (Fid, Attributes)>> {
    let (mut all, mut next) = (HashMap::new(), Some(Cookie::START));
    while let Some(from) = next {
        let page = moment.read(|view| fileset::readdirplus(view, directory, from, PAGE))?;
        next = page.next;
        for listed in page.names {
            if let Some(attributes) = listed.attributes {
                all.insert(listed.name, (listed.fid, attributes));
            }
        }
    }
    Ok(all)
}
