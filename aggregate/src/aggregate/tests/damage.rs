//! Damage: whichever block of a device is harmed, and however. What is lost is named, the rest is served, and nothing
//! that is read is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use baton_types::control::Damage;
use baton_types::{FilesetId, FilesetName, Kind, Result};

use crate::aggregate::{Aggregate, Fileset, Namesake, Need, Reclaimed};
use crate::device::double::Disk;
use crate::file;
use crate::fileset::{
    self, Cookie, Holders, Listed, PageMax, get_xattr, getattr, list_xattrs, lookup, readdir, readlink, root,
};
use crate::format::{Attributes, BLOCK_BYTES, FileKind, FilesetHeader, Geometry};
use crate::nodes::Nodes;
use crate::salvage::tests::world::{FILESET, World, at, name};
use crate::salvage::{Data, check};
use crate::transaction::Operation;

pub(super) const CLONE: FilesetId = FilesetId(1_203);

/// What can happen to a block at rest, or on its way.
#[derive(Clone, Copy, Debug)]
pub(super) enum Harm {
    /// One bit is another.
    Flipped,
    /// Some of its sectors are those of another block.
    Torn,
    /// It was never written.
    Zeroed,
    /// Another block was written here.
    Misdirected,
}

impl Harm {
    /// Does it to a block, with what `other` holds.
    pub(super) fn befall(self, disk: &Disk, block: u64, other: u64) {
        let offset = block * BLOCK_BYTES as u64;
        let strange = || disk.peek(other * BLOCK_BYTES as u64, BLOCK_BYTES);
        match self {
            Harm::Flipped => disk.flip(offset + block * 37 % BLOCK_BYTES as u64, (block % 8) as u8),
            Harm::Zeroed => disk.poke(offset, &[0; BLOCK_BYTES]),
            Harm::Misdirected => disk.poke(offset, &strange()),
            Harm::Torn => {
                for sector in (0..BLOCK_BYTES).step_by(512).filter(|sector| sector / 512 % 3 == 1) {
                    disk.poke(offset + sector as u64, &strange()[sector..sector + 512]);
                }
            }
        }
    }
}

/// A block of a disk before it was harmed, and after.
struct Harmed {
    offset: u64,
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Harmed {
    /// The device tells again what it once held, if nobody has written there since.
    fn heal(&self, disk: &Disk) -> bool {
        let is_as_harmed = disk.peek(self.offset, BLOCK_BYTES) == self.after;
        if is_as_harmed {
            disk.poke(self.offset, &self.before);
        }
        is_as_harmed
    }
}

/// All that can be asked of an aggregate, and the answers: by fileset, moment, path and what of it.
pub(super) type Said = BTreeMap<(String, String), Result<Vec<u8>, Kind>>;

fn kind<T>(result: Result<T>) -> Result<T, Kind> {
    result.map_err(|error| error.kind)
}

/// All of one moment of a fileset.
fn dump(moment: &str, fileset: &Fileset, said: &mut Said) {
    let mut say = |path: &str, what: &str, answer: Result<Vec<u8>>| {
        said.insert((moment.to_owned(), format!("{path} {what}")), kind(answer));
    };
    let top = match fileset.read(|view| root(view, fileset.id())) {
        Ok(top) => top,
        Err(error) => return say("/", "names", Err(error)),
    };
    let mut directories = vec![(String::new(), top.fid)];
    while let Some((path, fid)) = directories.pop() {
        let max = PageMax {
            names: 1_000,
            bytes: 1 << 20,
        };
        let listed = match fileset.read(|view| readdir(view, fid, Cookie::START, max)) {
            Ok(listed) => listed.names,
            Err(error) => {
                say(&format!("{path}/"), "names", Err(error));
                continue;
            }
        };
        let names: Vec<&[u8]> = listed.iter().map(|listed| &listed.name[..]).collect();
        say(&format!("{path}/"), "names", Ok(names.join(&b'\n')));
        for Listed {
            name: last, fid, kind, ..
        } in listed
        {
            let path = format!("{path}/{}", String::from_utf8_lossy(&last));
            let stat = fileset.read(|view| getattr(view, fid));
            let told =
                |of: Attributes| format!("{:o} {} {} {} {}", of.mode, of.uid, of.gid, of.links, of.size).into_bytes();
            let size = stat.as_ref().map_or(0, |object| object.attributes.size);
            say(&path, "stat", stat.map(|object| told(object.attributes)));
            let called = fileset.names();
            let xattrs = fileset.read(|view| {
                let all = list_xattrs(view, fid)?.into_iter();
                let each = all.map(|xattr| get_xattr(view, &called, fid, &xattr));
                Ok(each.collect::<Result<Vec<_>, _>>()?.concat())
            });
            say(&path, "xattrs", xattrs);
            match kind {
                FileKind::Directory => directories.push((path, fid)),
                FileKind::Symlink => say(
                    &path,
                    "target",
                    fileset.read(|view| readlink(view, fid)).map(Into::into),
                ),
                FileKind::Regular => {
                    for block in 0..size.div_ceil(BLOCK_BYTES as u64) {
                        let read = file::read(fileset, fid, block * BLOCK_BYTES as u64, BLOCK_BYTES);
                        say(&path, &format!("block {block}"), read.map(Into::into));
                    }
                }
                _ => {}
            }
        }
    }
}

/// All of all of them.
pub(super) fn everything(aggregate: &Aggregate) -> Said {
    let mut said = Said::new();
    for id in [FILESET, CLONE] {
        let fileset = match aggregate.fileset(id) {
            Ok(fileset) => fileset,
            Err(error) => {
                said.insert((id.to_string(), "/ names".to_owned()), Err(error.kind));
                continue;
            }
        };
        dump(&id.to_string(), &fileset, &mut said);
        for snapshot in fileset.snapshots() {
            let moment = format!("{id} {}", String::from_utf8_lossy(snapshot.name.as_bytes()));
            match fileset.at(snapshot.id) {
                Ok(then) => dump(&moment, &then, &mut said),
                Err(error) => drop(said.insert((moment, "/ names".to_owned()), Err(error.kind))),
            }
        }
    }
    said
}

/// An aggregate before anything is harmed.
pub(super) struct Case {
    pub disk: Disk,
    epoch: u64,
    pub expected: Said,
    /// Without the last change, and the blocks that this one wrote.
    before_end: Said,
    end: BTreeSet<u64>,
    /// Blocks that hold anything.
    pub used: Vec<u64>,
}

fn overwrite(fileset: &Fileset, called: &str, block: u64, byte: u8) -> Result<()> {
    let (last, names) = (name(called), fileset.names());
    let found = fileset.read(|view| lookup(view, &names, at(root(view, FILESET)?.fid, &last)))?;
    let offset = block * BLOCK_BYTES as u64;
    let done = file::write(fileset, &Operation::default(), found.fid, offset, &[byte; BLOCK_BYTES])?;
    done.answer.map(drop)
}

fn unlink(fileset: &Fileset, called: &str) -> Result<()> {
    let last = name(called);
    let done = fileset.operate(&Operation::default(), Need::UPKEEP, |transaction, names| {
        let top = root(transaction, FILESET)?.fid;
        fileset::unlink(transaction, names, at(top, &last), Holders::Nobody)
    })?;
    done.answer.map(drop)
}

/// So many files in its root directory.
const FILES: u64 = 80;

impl Case {
    /// Trees of several levels, what snapshots and a clone have of them, frees that wait, a log.
    pub(super) fn new() -> Case {
        let mut world = World::served();
        let top = world.root();
        world.fill("a");
        for number in 0..FILES {
            world.file(top, &format!("f{number}"), &[number as u8; 2 * BLOCK_BYTES]);
        }
        let take = |world: &World, called: &str| {
            let fileset = world.fileset();
            let taken = fileset.take_snapshot(&Operation::default(), &name(called), Namesake::Refuse);
            taken.unwrap().answer.unwrap()
        };
        let first = take(&world, "first");
        let fileset = world.fileset();
        for number in (0..FILES).step_by(7) {
            overwrite(&fileset, &format!("f{number}"), 1, 201).unwrap();
        }
        world.aggregate().checkpoint().unwrap();
        let header = FilesetHeader {
            name: FilesetName::parse("copy").unwrap(),
            ..fileset.header()
        };
        fileset
            .make_clone(&Operation::default(), first, CLONE, &header)
            .unwrap();
        world.fill("b");
        take(&world, "left");
        let back = fileset.roll_back(&Operation::default(), first, &name("present"));
        back.unwrap().answer.unwrap();
        world.fill("d");
        take(&world, "second");
        for number in (3..FILES).step_by(11) {
            unlink(&fileset, &format!("f{number}")).unwrap();
        }
        world.aggregate().checkpoint().unwrap();
        world.fill("c");
        for number in (1..FILES).step_by(13).filter(|number| number % 11 != 3) {
            overwrite(&fileset, &format!("f{number}"), 0, 202).unwrap();
        }
        let settled = |world: &World| {
            world.settle();
            world.disk.peek(0, 256 * (64 << 10))
        };
        let (before, before_end) = (settled(&world), everything(&world.aggregate()));
        overwrite(&fileset, "f0", 0, 205).unwrap();
        let (after, expected) = (settled(&world), everything(&world.aggregate()));
        assert!(expected.values().all(Result::is_ok));
        let blocks = || after.chunks(BLOCK_BYTES).zip(before.chunks(BLOCK_BYTES)).enumerate();
        let used = blocks().filter(|(_, (bytes, _))| bytes.iter().any(|byte| *byte != 0));
        let end = blocks().filter(|(_, (after, before))| after != before);
        Case {
            used: used.map(|(block, _)| block as u64).collect(),
            end: end.map(|(block, _)| block as u64).collect(),
            before_end,
            expected,
            epoch: 2,
            disk: world.disk,
        }
    }

    /// One block of a copy of it is harmed: what comes of that.
    fn harmed(&self, harm: Harm, block: u64) -> Outcome {
        let disk = self.disk.fork(block);
        let mut harmed = Harmed {
            offset: block * BLOCK_BYTES as u64,
            before: disk.peek(block * BLOCK_BYTES as u64, BLOCK_BYTES),
            after: Vec::new(),
        };
        let place = self.used.iter().position(|used| *used == block).unwrap_or_default();
        let other = self.used[(place + self.used.len() / 2) % self.used.len()];
        harm.befall(&disk, block, other);
        harmed.after = disk.peek(harmed.offset, BLOCK_BYTES);
        let case = format!("block {block} {harm:?}");
        let device = Arc::new(disk.port());
        let checked = check(device.clone(), Nodes::new(device), Data::Read);
        let findings = checked.as_ref().map_or(1, |report| report.findings.len());
        // A slot that cannot be read may be a newer owner's, until the epoch whose place it is.
        let mut epochs = self.epoch..self.epoch + Geometry::RING as u64;
        let served = epochs.find_map(|epoch| match World::try_of(disk.clone(), epoch) {
            Ok(world) => Some(Ok((world, epoch))),
            Err(error) if error.kind == Kind::WrongEpoch => None,
            Err(error) => Some(Err(error)),
        });
        let (world, epoch) = match served {
            Some(Ok(served)) => served,
            Some(Err(error)) => {
                assert_eq!(error.kind, Kind::Damaged, "{case}: {error}");
                assert!(findings > 0, "{case}: {error}, and a check finds nothing");
                return Outcome::Held;
            }
            None => panic!("{case}: no epoch is new enough"),
        };
        assert!(
            epoch == self.epoch || findings > 0,
            "{case}: no epoch before {epoch}, and a check finds nothing"
        );
        let said = everything(&world.aggregate());
        let expected = self.expected_of(block, &said);
        let lost = compare(&case, expected, &said);
        assert!(
            lost.is_empty() || findings > 0,
            "{case}: a check finds nothing, lost: {lost:?}"
        );
        self.scrubbed(&case, &world, &lost);
        self.used_on(&case, (world, epoch), expected, (lost, &harmed))
    }

    /// What is to be said when a block is harmed, and this is: what is never written again cannot be told from what never
    /// was, the end of the log.
    pub(super) fn expected_of(&self, block: u64, said: &Said) -> &Said {
        match self.end.contains(&block) && self.before_end == *said {
            true => &self.before_end,
            false => &self.expected,
        }
    }

    /// A scrub names what is lost.
    fn scrubbed(&self, case: &str, world: &World, lost: &BTreeSet<(String, String)>) {
        let scrubbed = world.aggregate().scrub(&mut |_| ControlFlow::Continue(()));
        let scrubbed = scrubbed.unwrap_or_else(|error| panic!("{case}: {error}"));
        let said: Vec<String> = scrubbed.damages.iter().map(Damage::to_string).collect();
        // What several moments share is told of the newest.
        for (moment, what) in lost {
            let of = [" names", " stat", " xattrs", " target", " block"];
            let path = of
                .iter()
                .find_map(|of| what.split_once(of))
                .map_or("", |(path, _)| path);
            let is_it = |damage: &Damage| match &damage.path {
                // Of a file's names one is told.
                Some(told) => hard_as_file(told) == hard_as_file(path.trim_matches('/').as_bytes()),
                None => true,
            };
            let is_named = scrubbed.damages.iter().any(is_it);
            assert!(is_named, "{case}: {moment}, {what} is not named: {said:?}");
        }
    }

    /// The rest can be used, and nobody's change is lost.
    fn used_on(
        &self,
        case: &str,
        (world, epoch): (World, u64),
        expected: &Said,
        (lost, harmed): (BTreeSet<(String, String)>, &Harmed),
    ) -> Outcome {
        let (aggregate, mut expected) = (world.aggregate(), expected.clone());
        if let Ok(fileset) = aggregate.fileset(FILESET) {
            for number in (0..FILES).step_by(3).filter(|number| number % 11 != 3) {
                let path = format!("/f{number}");
                let key = |what: &str| (FILESET.to_string(), format!("{path} {what}"));
                let done = match number % 2 {
                    0 => overwrite(&fileset, &path[1..], 1, 203).map(|()| {
                        expected.insert(key("block 1"), Ok(vec![203; BLOCK_BYTES]));
                    }),
                    _ => unlink(&fileset, &path[1..]).map(|()| {
                        for what in ["stat", "xattrs", "block 0", "block 1"] {
                            expected.remove(&key(what));
                        }
                        let names = expected.get_mut(&(FILESET.to_string(), "/ names".to_owned()));
                        if let Some(Ok(names)) = names {
                            let kept = names
                                .split(|byte| *byte == b'\n')
                                .filter(|name| *name != &path.as_bytes()[1..]);
                            *names = kept.collect::<Vec<_>>().join(&b'\n');
                        }
                    }),
                };
                if let Err(error) = done {
                    assert_eq!(error.kind, Kind::Damaged, "{case}: {error}");
                }
            }
        }
        let went = |what: &str, result: Result<()>| result.unwrap_or_else(|error| panic!("{case}, {what}: {error}"));
        for _ in 0..3 {
            went("checkpoint", aggregate.checkpoint());
            for _ in 0..50 {
                match aggregate.reclaim() {
                    Ok(Reclaimed::Blocks(_)) => {}
                    Ok(_) => break,
                    Err(error) => went("reclaim", Err(error)),
                }
            }
        }
        let disk = world.disk;
        let world = World::try_of(disk, epoch + 1).unwrap_or_else(|error| panic!("{case}, taken over: {error}"));
        let after = compare(
            &format!("{case}, taken over"),
            &expected,
            &everything(&world.aggregate()),
        );
        given_back(&format!("{case}, given back"), &world.aggregate(), expected.clone());
        let disk = world.disk;
        if harmed.heal(&disk) {
            let world = World::try_of(disk, epoch + 2).unwrap_or_else(|error| panic!("{case}, healed: {error}"));
            let of_live = |said: &mut Said| said.retain(|(moment, _), _| *moment == FILESET.to_string());
            let mut said = everything(&world.aggregate());
            of_live(&mut said);
            of_live(&mut expected);
            compare(&format!("{case}, healed"), &expected, &said);
        }
        match lost.len().max(after.len()) {
            0 => Outcome::Nothing,
            lost => Outcome::Lost(lost),
        }
    }
}

/// The second name of a file, as its first.
fn hard_as_file(path: &[u8]) -> String {
    String::from_utf8_lossy(path).replace("/hard", "/file")
}

/// Snapshots, a branch that was left and a clone go, whatever is harmed of them; what is left is as it was.
pub(super) fn given_back(case: &str, aggregate: &Aggregate, mut expected: Said) {
    let Ok(fileset) = aggregate.fileset(FILESET) else {
        return;
    };
    let went = |what: &str, result: Result<()>| result.unwrap_or_else(|error| panic!("{case}, {what}: {error}"));
    for snapshot in fileset.snapshots() {
        let deleted = fileset.delete_snapshot(&Operation::default(), snapshot.id);
        went("deleted", deleted.map(drop));
        let gone = format!("{FILESET} {}", String::from_utf8_lossy(snapshot.name.as_bytes()));
        expected.retain(|(moment, _), _| *moment != gone);
    }
    let hidden = aggregate.change_fileset(CLONE, &Operation::default(), |transaction| {
        fileset::catalog::hide(transaction, CLONE)
    });
    went("hidden", hidden.map(drop));
    expected.retain(|(moment, _), _| !moment.starts_with(&CLONE.to_string()));
    let mut checkpoints = 0;
    loop {
        match aggregate.reclaim() {
            Ok(Reclaimed::Blocks(_)) => {}
            Ok(Reclaimed::Later) => {
                checkpoints += 1;
                assert!(checkpoints < 30, "{case}: it never ends");
                went("checkpoint", aggregate.checkpoint());
            }
            Ok(Reclaimed::Nothing) => break,
            Err(error) => went("reclaim", Err(error)),
        }
    }
    let mut said = everything(aggregate);
    said.retain(|(moment, _), _| !moment.starts_with(&CLONE.to_string()));
    compare(case, &expected, &said);
}

/// What came of a harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Nobody notices.
    Nothing,
    /// So many answers are lost.
    Lost(usize),
    /// The aggregate is not served.
    Held,
}

/// What is lost; panics at whatever is wrong.
pub(super) fn compare(case: &str, expected: &Said, said: &Said) -> BTreeSet<(String, String)> {
    let mut lost = BTreeSet::new();
    for ((moment, what), answer) in said {
        let key = (moment.clone(), what.clone());
        match answer {
            Ok(answer) => assert_eq!(
                expected.get(&key),
                Some(&Ok(answer.clone())),
                "{case}: {moment}, {what} is wrong"
            ),
            Err(error) => {
                assert_eq!(*error, Kind::Damaged, "{case}: {moment}, {what}");
                lost.insert(key);
            }
        }
    }
    // What was not asked for is below what is lost.
    for (moment, what) in expected.keys().filter(|key| !said.contains_key(key)) {
        let is_above = |(other, above): &&(String, String)| {
            let path = above.strip_suffix(" names").unwrap_or(above);
            other == moment && what.starts_with(path) || moment.starts_with(other.as_str()) && above == "/ names"
        };
        let is_file = |(other, above): &&(String, String)| {
            let path = what.rsplit_once(" block").map_or(what.as_str(), |(path, _)| path);
            other == moment && *above == format!("{path} stat")
        };
        assert!(
            lost.iter().any(|key| is_above(&key) || is_file(&key)),
            "{case}: {moment}, {what} is gone; lost: {lost:?}"
        );
    }
    lost
}

/// Every block that holds anything, each in another copy.
fn suite(harm: Harm) {
    let case = Case::new();
    let outcomes: Vec<Outcome> = case.used.iter().map(|block| case.harmed(harm, *block)).collect();
    let count = |is_it: &dyn Fn(usize) -> bool| {
        let lost = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Outcome::Lost(lost) if is_it(*lost)));
        lost.count()
    };
    let held = outcomes.iter().filter(|outcome| **outcome == Outcome::Held).count();
    // A file's block is that of the snapshots that share it, too; a leaf has that of some files.
    let (little, some, most) = (
        count(&|lost| lost <= 6),
        count(&|lost| lost > 6 && lost < case.expected.len() / 2),
        count(&|lost| lost >= case.expected.len() / 2),
    );
    let nothing = outcomes.len() - little - some - most - held;
    println!("{harm:?}: {nothing} blocks cost nothing, {little} little, {some} some, {most} most, {held} all");
    assert!(nothing > 10 && little > 100 && some > 5, "{nothing}, {little}, {some}");
    assert!(most < 10 && held < 10, "{most}, {held}");
}

#[test]
fn flipped_bit_anywhere_is_named_and_the_rest_is_served() {
    suite(Harm::Flipped);
}

#[test]
fn torn_block_anywhere_is_named_and_the_rest_is_served() {
    suite(Harm::Torn);
}

#[test]
fn block_of_zeroes_anywhere_is_named_and_the_rest_is_served() {
    suite(Harm::Zeroed);
}

#[test]
fn misdirected_block_anywhere_is_named_and_the_rest_is_served() {
    suite(Harm::Misdirected);
}
