//! Filesets that go on from snapshots: gone back, or cloned; whatever comes between, nothing is lost, leaked or freed
//! twice. The census looks into every tree at each step.

use std::collections::BTreeMap;

use baton_types::{FilesetId, FilesetName, Kind, Result};

use super::rig::{Rig, claim, header, name, op, value};
use super::snapshots::{Seen, change, delete, named, reclaim, seen, take, used};
use crate::aggregate::{Fileset, Reclaimed};
use crate::fileset::catalog;
use crate::format::{FilesetHeader, Geometry, Key, KeyKind, Lsn, Root, RootPlace};
use crate::transaction::Usage;

pub fn try_back(fileset: &Fileset, to: Lsn, present: &str) -> Result<Lsn> {
    fileset.roll_back(&op(0, 0), to, &named(present))?.answer
}

fn back(fileset: &Fileset, to: Lsn, present: &str) -> Lsn {
    try_back(fileset, to, present).unwrap()
}

pub fn try_clone(fileset: &Fileset, at: Lsn, id: u64) -> Result<Lsn> {
    let header = FilesetHeader {
        name: FilesetName::parse(&format!("clone.{id}")).unwrap(),
        ..header()
    };
    fileset.make_clone(&op(0, 0), at, FilesetId(id), &header)
}

fn clone(rig: &Rig, fileset: &Fileset, at: Lsn, id: u64) -> Fileset {
    try_clone(fileset, at, id).unwrap();
    rig.aggregate.fileset(FilesetId(id)).unwrap()
}

pub fn hide(rig: &Rig, id: u64) {
    let id = FilesetId(id);
    let hidden = rig
        .aggregate
        .change_fileset(id, &op(0, 0), |transaction| catalog::hide(transaction, id));
    hidden.unwrap();
}

/// The next owner begins with the root before the newest.
fn rot_newest_root(rig: &mut Rig) {
    let index = Geometry::ring_index(rig.epoch);
    let places = RootPlace::BOTH.map(|place| Geometry::root_offset(index, place));
    let name = |at: &u64| {
        let root = Root::decode(&rig.disk.peek(*at, Geometry::ROOT_BYTES_MAX));
        root.unwrap().name()
    };
    let newest = places.into_iter().max_by_key(name).unwrap();
    rig.port.stop();
    rig.disk.flip(newest + 100, 3);
    rig.epoch = rig.epoch.next().unwrap();
    (rig.port, rig.aggregate) = claim(&rig.disk, rig.epoch).unwrap();
    rig.census();
}

#[test]
fn fileset_goes_back_to_any_snapshot_and_keeps_all() {
    let mut rig = Rig::with_segments(900, 200);
    let mut fileset = rig.make_fileset(7);
    let mut kept: Vec<(Lsn, Usage, Seen)> = Vec::new();
    for round in 0..4 {
        change(&rig, &fileset, round);
        kept.push((
            take(&fileset, &format!("s{round}")),
            fileset.usage(),
            seen(&rig, &fileset),
        ));
    }
    change(&rig, &fileset, 9);
    for (step, index) in [1, 3, 0, 4].into_iter().enumerate() {
        let (usage, now) = (fileset.usage(), seen(&rig, &fileset));
        let (to, then_used, then) = kept[index].clone();
        let present = back(&fileset, to, &format!("before{step}"));
        kept.push((present, usage, now));
        rig.census();
        assert_eq!((fileset.usage(), seen(&rig, &fileset)), (then_used, then.clone()));
        if step % 2 == 0 {
            fileset = rig.next_owner(7);
            assert_eq!((fileset.usage(), seen(&rig, &fileset)), (then_used, then));
        }
        change(&rig, &fileset, 20 + step as u64);
        rig.census();
        for (id, usage, then) in &kept {
            let snapshot = fileset.at(*id).unwrap();
            assert_eq!(
                (snapshot.usage(), seen(&rig, &snapshot)),
                (*usage, then.clone()),
                "{id}"
            );
        }
    }
    assert_eq!(fileset.snapshots().len(), kept.len());
    let missing = fileset.roll_back(&op(0, 0), Lsn(1), &named("no")).err().unwrap();
    assert_eq!(missing.kind, Kind::NotFound);
}

#[test]
fn clone_and_origin_live_on_by_themselves() {
    let mut rig = Rig::with_segments(900, 201);
    let mut origin = rig.make_fileset(7);
    change(&rig, &origin, 0);
    let at = take(&origin, "s");
    let then = seen(&rig, &origin);
    change(&rig, &origin, 1);
    let now = seen(&rig, &origin);
    let mut copy = clone(&rig, &origin, at, 8);
    rig.census();
    assert_eq!(seen(&rig, &copy), then);
    copy = rig.next_owner(8);
    assert_eq!(seen(&rig, &copy), then);
    change(&rig, &copy, 5);
    rig.checkpoint();
    rig.census();
    origin = rig.aggregate.fileset(FilesetId(7)).unwrap();
    assert_eq!(seen(&rig, &origin), now);
    assert_eq!(seen(&rig, &origin.at(at).unwrap()), then);
    assert_eq!(copy.header().origin, 7);
    assert_eq!(copy.snapshots().len(), 0);
    let twice = origin.make_clone(&op(0, 0), at, FilesetId(8), &header()).unwrap_err();
    assert_eq!(twice.kind, Kind::Exists);
    // Whoever writes to the clone frees nothing of the origin's.
    for number in 0..6 {
        rig.delete_data(&copy, 1_000 + number);
    }
    rig.commit();
    (0..3).for_each(|_| rig.checkpoint());
    rig.census();
    assert_eq!(seen(&rig, &origin.at(at).unwrap()), then);
}

#[test]
fn deleted_origin_stays_until_its_last_clone_goes() {
    let mut rig = Rig::with_segments(900, 202);
    let origin = rig.make_fileset(7);
    let (_, empty) = used(&rig);
    change(&rig, &origin, 0);
    let at = take(&origin, "s");
    let then = seen(&rig, &origin);
    change(&rig, &origin, 1);
    let mut clones = [clone(&rig, &origin, at, 8), clone(&rig, &origin, at, 9)];
    assert_eq!(origin.unique_blocks(at).unwrap(), 0);
    hide(&rig, 7);
    drop(origin);
    reclaim(&rig);
    rig.census();
    rig.commit();
    rig.take_over();
    reclaim(&rig);
    for copy in &mut clones {
        *copy = rig.aggregate.fileset(copy.id()).unwrap();
        assert_eq!(seen(&rig, copy), then);
    }
    hide(&rig, 8);
    reclaim(&rig);
    assert_eq!(seen(&rig, &clones[1]), then);
    let hidden = || {
        let listed = rig.aggregate.read_system(|view| catalog::list_hidden(view, 0, 10));
        listed.unwrap().entries.len()
    };
    assert_eq!(hidden(), 1);
    hide(&rig, 9);
    reclaim(&rig);
    assert_eq!(hidden(), 0);
    let (data, nodes) = used(&rig);
    assert_eq!(data, 0);
    assert!(nodes <= empty + 4, "{nodes} blocks of nodes, and {empty} before");
}

#[test]
fn root_that_rots_after_a_fileset_is_gone_loses_no_block_of_it() {
    let mut rig = Rig::with_segments(900, 213);
    let fileset = rig.make_fileset(7);
    change(&rig, &fileset, 0);
    rig.checkpoint();
    rig.checkpoint();
    hide(&rig, 7);
    drop(fileset);
    reclaim(&rig);
    rig.commit();
    rot_newest_root(&mut rig);
    reclaim(&rig);
    assert_eq!(used(&rig).0, 0);
}

#[test]
fn snapshot_that_was_gone_back_to_may_be_deleted() {
    let mut rig = Rig::with_segments(900, 203);
    let mut fileset = rig.make_fileset(7);
    change(&rig, &fileset, 0);
    let at = take(&fileset, "s");
    let then = seen(&rig, &fileset);
    change(&rig, &fileset, 1);
    let before = back(&fileset, at, "before");
    delete(&fileset, at);
    reclaim(&rig);
    assert_eq!(fileset.at(at).err().unwrap().kind, Kind::NotFound);
    assert_eq!(seen(&rig, &fileset), then);
    let unique = fileset.unique_blocks(before).unwrap();
    assert!(unique > 0);
    delete(&fileset, before);
    let mut given = 0;
    loop {
        match rig.aggregate.reclaim().unwrap() {
            Reclaimed::Blocks(blocks) => given += blocks,
            Reclaimed::Later => rig.checkpoint(),
            Reclaimed::Nothing => break,
        }
        rig.census();
    }
    assert_eq!(given, unique);
    assert!(fileset.snapshots().is_empty());
    fileset = rig.next_owner(7);
    assert_eq!(seen(&rig, &fileset), then);
    hide(&rig, 7);
    drop(fileset);
    reclaim(&rig);
    let (data, _) = used(&rig);
    assert_eq!(data, 0);
}

#[test]
fn walk_of_a_left_branch_goes_on_where_it_was_cut() {
    for cut in 0..4 {
        let mut rig = Rig::with_segments(900, 204 + cut);
        let mut fileset = rig.make_fileset(7);
        for number in 0..1_500 {
            rig.write_data(&fileset, 10_000 + number, 1, number as u8);
        }
        let at = take(&fileset, "s");
        let (data, _) = used(&rig);
        for number in 0..1_500 {
            rig.write_data(&fileset, 10_000 + number, 1, (1 + number) as u8);
        }
        let before = back(&fileset, at, "before");
        delete(&fileset, before);
        rig.checkpoint();
        rig.checkpoint();
        for _ in 0..cut {
            if rig.aggregate.reclaim().unwrap() == Reclaimed::Later {
                rig.checkpoint();
            }
        }
        rig.commit();
        match cut % 2 {
            0 => rot_newest_root(&mut rig),
            _ => rig.take_over(),
        }
        reclaim(&rig);
        fileset = rig.aggregate.fileset(FilesetId(7)).unwrap();
        assert_eq!(rig.data(&fileset, 10_007).unwrap(), vec![7; 4_096]);
        assert_eq!(used(&rig).0, data);
    }
}

#[test]
fn snapshot_to_go_back_to_does_not_make_way_for_the_present() {
    let rig = Rig::with_segments(400, 212);
    let fileset = rig.make_fileset(7);
    rig.put(&fileset, name(1), b"one");
    let at = take(&fileset, "s");
    rig.put(&fileset, name(1), b"two");
    let refused = fileset.roll_back(&op(0, 0), at, &named("s")).err().unwrap();
    assert_eq!(refused.kind, Kind::Exists);
    assert_eq!(fileset.snapshots().len(), 1);
    assert_eq!(rig.get(&fileset.at(at).unwrap(), name(1)).unwrap(), b"one");
}

#[test]
fn versions_of_data_are_not_used_again_in_another_branch() {
    let rig = Rig::with_segments(400, 210);
    let fileset = rig.make_fileset(7);
    rig.put(&fileset, name(1), b"one");
    let at = take(&fileset, "s");
    let version = || {
        let mut version = 0;
        let done = fileset.change(&op(0, 0), crate::aggregate::Need::GROWTH, |transaction| {
            version = transaction.next_version(3);
            Ok(crate::transaction::Reply::done())
        });
        done.unwrap();
        version
    };
    assert_eq!(version(), 4);
    let last = rig.aggregate.last();
    back(&fileset, at, "before");
    assert!(version() > last.0, "{} after {last}", version());
}

#[test]
fn busy_fileset_goes_back_between_two_changes() {
    let rig = Rig::with_segments(900, 211);
    let fileset = rig.make_fileset(7);
    change(&rig, &fileset, 0);
    let at = take(&fileset, "s");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0.. {
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                rig.put(&fileset, name(round % 9), &value(round, 20));
            }
        });
        let done = fileset.roll_back(&op(0, 0), at, &named("before"));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        done.unwrap().answer.unwrap();
    });
    rig.commit();
    rig.census();
}

/// One random step after the other, and what each fileset and snapshot holds.
struct Play {
    rig: Rig,
    state: u64,
    filesets: BTreeMap<u64, Seen>,
    snapshots: BTreeMap<(u64, Lsn), Seen>,
    count: u64,
    copied: u64,
}

impl Play {
    fn below(&mut self, end: u64) -> u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.state >> 33) % end
    }

    fn fileset(&self, id: u64) -> Fileset {
        self.rig.aggregate.fileset(FilesetId(id)).unwrap()
    }

    fn some_fileset(&mut self) -> Option<u64> {
        let index = self.below(self.filesets.len().max(1) as u64);
        self.filesets.keys().nth(index as usize).copied()
    }

    fn some_snapshot(&mut self) -> Option<(u64, Lsn)> {
        let index = self.below(self.snapshots.len().max(1) as u64);
        self.snapshots.keys().nth(index as usize).copied()
    }

    fn step(&mut self) {
        self.count += 1;
        let count = self.count;
        match self.below(25) {
            20.. => self.copy(),
            0..5 => {
                let Some(id) = self.some_fileset() else { return };
                let fileset = self.fileset(id);
                change(&self.rig, &fileset, count);
                self.filesets.insert(id, seen(&self.rig, &fileset));
            }
            5..8 if self.snapshots.len() < 12 => {
                let Some(id) = self.some_fileset() else { return };
                let taken = take(&self.fileset(id), &format!("s{count}"));
                self.snapshots.insert((id, taken), self.filesets[&id].clone());
            }
            8..10 => {
                let Some((id, at)) = self.some_snapshot() else { return };
                delete(&self.fileset(id), at);
                self.snapshots.remove(&(id, at));
            }
            10..12 => {
                let Some((id, at)) = self.some_snapshot() else { return };
                let present = back(&self.fileset(id), at, &format!("b{count}"));
                let then = self.snapshots[&(id, at)].clone();
                let now = self.filesets.insert(id, then).unwrap();
                self.snapshots.insert((id, present), now);
            }
            12 if self.filesets.len() < 4 => {
                let Some((id, at)) = self.some_snapshot() else { return };
                clone(&self.rig, &self.fileset(id), at, 100 + count);
                let then = self.snapshots[&(id, at)].clone();
                self.filesets.insert(100 + count, then);
            }
            13 if self.filesets.len() > 1 => {
                let Some(id) = self.some_fileset() else { return };
                self.remove(id);
            }
            14 => {
                self.rig.commit();
                self.rig.take_over();
            }
            15 => {
                self.rig.commit();
                rot_newest_root(&mut self.rig);
                self.rig.checkpoint();
                self.rig.checkpoint();
            }
            16 | 17 => self.rig.checkpoint(),
            _ => drop(self.rig.aggregate.reclaim().unwrap()),
        }
    }

    /// From a snapshot, mostly of a file that is another one now.
    fn copy(&mut self) {
        let Some((id, at)) = self.some_snapshot() else { return };
        let (source, target) = (self.below(6), self.below(6));
        let fileset = self.fileset(id);
        match self.rig.copy_data(&fileset, at, 1_000 + source, 1_000 + target) {
            Ok(()) => self.copied += 1,
            Err(error) => {
                assert_eq!(error.kind, Kind::Unsupported, "{error}");
                return;
            }
        }
        let now = seen(&self.rig, &fileset);
        assert_eq!(
            now.1[target as usize],
            self.snapshots[&(id, at)].1[source as usize],
            "{source} at {at}"
        );
        let before = self.filesets.insert(id, now.clone()).unwrap();
        let others = |seen: &Seen| {
            (0..6)
                .filter(|file| *file != target)
                .map(|file| seen.1[file as usize].clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(others(&now), others(&before));
    }

    fn remove(&mut self, id: u64) {
        hide(&self.rig, id);
        self.filesets.remove(&id);
        self.snapshots.retain(|(of, _), _| *of != id);
    }

    fn check(&mut self) {
        self.rig.commit();
        self.rig.census();
        for (id, expected) in &self.filesets {
            assert_eq!(seen(&self.rig, &self.fileset(*id)), *expected, "fileset {id}");
            let listed = self
                .fileset(*id)
                .snapshots()
                .into_iter()
                .map(|snapshot| (*id, snapshot.id));
            let known = self.snapshots.keys().copied().filter(|(of, _)| of == id);
            assert!(listed.eq(known), "snapshots of {id}");
        }
        for ((id, at), expected) in &self.snapshots {
            let snapshot = self.fileset(*id).at(*at).unwrap();
            assert_eq!(seen(&self.rig, &snapshot), *expected, "snapshot {at} of {id}");
        }
    }
}

#[test]
fn prop_filesets_that_go_back_and_clones_equal_a_model() {
    for seed in 0..24 {
        let rig = Rig::with_segments(1_200, 300 + seed);
        rig.make_fileset(7);
        let (_, empty) = used(&rig);
        let mut play = Play {
            state: seed,
            rig,
            filesets: BTreeMap::from([(7, (Vec::new(), vec![None; 6]))]),
            snapshots: BTreeMap::new(),
            count: 0,
            copied: 0,
        };
        for _ in 0..80 {
            play.step();
            play.check();
        }
        while let Some(id) = play.some_fileset() {
            play.remove(id);
            for _ in 0..play.below(5) {
                play.rig.aggregate.reclaim().unwrap();
                play.rig.census();
            }
        }
        reclaim(&play.rig);
        let (data, nodes) = used(&play.rig);
        assert_eq!(data, 0, "seed {seed}");
        assert!(
            nodes <= empty + 6,
            "seed {seed}: {nodes} blocks of nodes, and {empty} before"
        );
        let left = play.rig.aggregate.read_system(|view| {
            let items = view.scan(Key::FIRST, Key::LAST);
            let keys = items
                .map(|item| Ok(item?.0.kind))
                .collect::<Result<Vec<_>, crate::tree::Stop>>()?;
            let is_left =
                |kind: &&KeyKind| matches!(kind, KeyKind::Base | KeyKind::Held | KeyKind::Walk | KeyKind::Snapshot);
            Ok(keys.iter().filter(is_left).count())
        });
        assert_eq!(left.unwrap(), 0, "seed {seed}");
    }
}
