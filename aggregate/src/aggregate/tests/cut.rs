//! Cutting out: whichever node of a fileset's tree does not verify, what is below it goes, all else is as it was, and
//! nothing that is read is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use baton_types::{Error, Fid, Kind, Result, Timestamp};
use bytes::Bytes;

use super::damage::{CLONE, Case, Harm, Said, given_back};
use super::repair::{newest, next, repaired_with};
use crate::device::double::{Disk, On, Port, Trouble};
use crate::device::{Device, Write};
use crate::file::{self, Copy, copy_as};
use crate::fileset::{self, Birth, SetXattr, lookup};
use crate::format::{Attributes, BLOCK_BYTES, FileKind, Key, KeyKind, NameEntry, Pointer};
use crate::nodes::Nodes;
use crate::salvage::tests::world::{FILESET, World, at, check_disk, faults, name};
use crate::salvage::{Data, Fault, Repaired, Unreadable, check, plan};
use crate::transaction::Operation;
use crate::tree::Stop;

fn cut(disk: &Disk) -> Result<Repaired> {
    repaired_with(Arc::new(disk.port()), disk, Unreadable::Cut)
}

/// All that the next owner says; there need not be a clone.
fn said(disk: &Disk) -> Said {
    let mut said = super::repair::said(disk);
    said.retain(|(moment, _), answer| *moment != CLONE.to_string() || *answer != Err(Kind::NotFound));
    said
}

/// A node of the tree of the fileset.
#[derive(Clone, Copy, Debug)]
struct Found {
    level: u8,
    pointer: Pointer,
    /// The keys that are below it.
    from: Key,
    until: Option<Key>,
}

impl Found {
    fn has(&self, key: Key) -> bool {
        key >= self.from && self.until.is_none_or(|until| key < until)
    }
}

/// All nodes of the tree, each before those below it.
fn nodes_of(world: &World) -> Vec<Found> {
    let engine = &world.aggregate().engine;
    let root = engine.fileset(FILESET).unwrap().state.lock().tree.root.unwrap();
    let level = engine.nodes.read(&root).unwrap().level();
    let mut found = vec![Found {
        level,
        pointer: root,
        from: Key::FIRST,
        until: None,
    }];
    let mut next = 0;
    while let Some(above) = found.get(next).copied() {
        let node = engine.nodes.read(&above.pointer).unwrap();
        if node.level() > 0 {
            found.extend((0..node.len()).map(|index| Found {
                level: node.level() - 1,
                pointer: node.pointer(index),
                from: if index == 0 { above.from } else { node.key(index) },
                until: match index + 1 < node.len() {
                    true => Some(node.key(index + 1)),
                    false => above.until,
                },
            }));
        }
        next += 1;
    }
    found
}

/// An aggregate without snapshots, whose one fileset has a tree of three levels with items of every kind.
struct Subject {
    world: World,
    items: Vec<(Key, Bytes)>,
    said: Said,
    nodes: Vec<Found>,
}

fn fid_of(world: &World, called: &str) -> Fid {
    let (called, fileset) = (name(called), world.fileset());
    let (root, names) = (world.root(), fileset.names());
    fileset
        .read(|view| lookup(view, &names, at(root, &called)))
        .unwrap()
        .fid
}

/// A file of many extents, a small one, a long link and ACL, blocks in several places.
fn odd_files(world: &mut World) {
    let root = world.root();
    let [torn, small] = ["torn", "small"].map(|called| world.file(root, called, &[]).fid);
    let write = |world: &World, fid, offset, bytes: &[u8]| {
        let done = file::write(&world.fileset(), &Operation::default(), fid, offset, bytes);
        done.unwrap().answer.unwrap();
    };
    // With holes, so that each block is an extent.
    for block in 0..200 {
        write(
            world,
            torn,
            block * 2 * BLOCK_BYTES as u64,
            &[block as u8 + 1; BLOCK_BYTES],
        );
    }
    write(world, small, 0, &[8; 1_500]);
    world.change(|transaction, names| {
        let called = name("far");
        let (place, birth) = (
            at(root, &called),
            Birth {
                mode: 0o644,
                acl: b"another",
            },
        );
        fileset::symlink(transaction, names, place, birth, &[b't'; 4_000]).map(|_| ())
    });
    world.change(|transaction, names| {
        let called = name("guarded");
        let (place, birth) = (
            at(root, &called),
            Birth {
                mode: 0o640,
                acl: &[b'l'; 5_000],
            },
        );
        fileset::create(transaction, names, place, birth).map(|_| ())
    });
    // Blocks in three places, those of one file in all, of another in part.
    for (source, target) in [("f1", "c1"), ("f1", "c2"), ("torn", "c3")] {
        let target = world.file(root, target, &[]).fid;
        let copy = Copy {
            source: (fid_of(world, source), 0),
            past: None,
            target: (target, 0),
            len: BLOCK_BYTES as u64,
        };
        let done = copy_as(&world.fileset(), &Operation::default(), copy, &mut |_, _| Ok(()));
        done.unwrap().answer.unwrap();
    }
}

impl Subject {
    fn new() -> Subject {
        let mut world = World::served();
        let root = world.root();
        world.fill("a");
        for number in 0..90 {
            let file = world
                .file(root, &format!("f{number}"), &[number as u8 + 1; BLOCK_BYTES])
                .fid;
            world.change(|transaction, names| {
                let (value, set) = (vec![number as u8; 1_400 + 30 * number], SetXattr::Always);
                fileset::set_xattr(transaction, names, file, (b"user.much", &value), set).map(|_| ())
            });
        }
        odd_files(&mut world);
        world.fill("z");
        world.aggregate().checkpoint().unwrap();
        world.aggregate().checkpoint().unwrap();
        world.aggregate().detach(Timestamp(9)).unwrap();
        assert_eq!(faults(&check_disk(&world.disk)), []);
        world.take_over();
        world.settle();
        let items = world
            .fileset()
            .read(|view| view.scan(Key::FIRST, Key::LAST).collect::<Result<Vec<_>, Stop>>());
        let nodes = nodes_of(&world);
        assert_eq!(nodes[0].level, 2, "{} nodes", nodes.len());
        Subject {
            items: items.unwrap(),
            said: said(&world.disk),
            nodes,
            world,
        }
    }

    /// A copy with one node harmed.
    fn harmed(&self, node: &Found, harm: Harm) -> Disk {
        let disk = self.world.disk.fork(node.pointer.block.0);
        let other = self.nodes[self.nodes.len() / 2].pointer.block.0;
        harm.befall(
            &disk,
            node.pointer.block.0,
            other + u64::from(other == node.pointer.block.0),
        );
        disk
    }
}

/// What a fileset was like, and which of its items are lost.
struct Model<'a> {
    said: &'a Said,
    attributes: BTreeMap<u64, Attributes>,
    /// Directory, name, key of its item; of each file.
    names: BTreeMap<u64, Vec<(u64, String, Key)>>,
    /// Some of what they have is lost.
    torn: BTreeSet<u64>,
    lost: &'a Found,
}

impl<'a> Model<'a> {
    fn new(subject: &'a Subject, lost: &'a Found) -> Model<'a> {
        let (mut attributes, mut names) = (BTreeMap::new(), BTreeMap::<u64, Vec<_>>::new());
        for (key, value) in &subject.items {
            if key.kind == KeyKind::Attributes {
                attributes.insert(key.object, Attributes::decode(value).unwrap());
            }
            if key.kind == KeyKind::Name {
                for entry in NameEntry::decode_all(value).unwrap() {
                    let last = String::from_utf8(entry.name.clone()).unwrap();
                    names
                        .entry(entry.vnode.number())
                        .or_default()
                        .push((key.object, last, *key));
                }
            }
        }
        let torn = subject.items.iter().filter(|(key, _)| lost.has(*key));
        Model {
            said: &subject.said,
            attributes,
            names,
            torn: torn.map(|(key, _)| key.object).collect(),
            lost,
        }
    }

    fn is_gone(&self, vnode: u64) -> bool {
        self.lost.has(Key::new(vnode, KeyKind::Attributes, 0))
    }

    fn is_directory(&self, vnode: u64) -> bool {
        self.attributes[&vnode].mode & crate::format::MODE_TYPE == FileKind::Directory.mode()
    }

    /// Where a file was.
    fn was_at(&self, vnode: u64) -> Vec<String> {
        if vnode == 1 {
            return vec![String::new()];
        }
        let names = self.names.get(&vnode).into_iter().flatten();
        let above = |(directory, last, _): &(u64, String, Key)| {
            let above = self.was_at(*directory);
            above
                .into_iter()
                .map(|above| format!("{above}/{last}"))
                .collect::<Vec<_>>()
        };
        names.flat_map(above).collect()
    }

    /// Where it must be.
    fn is_at(&self, vnode: u64) -> Vec<String> {
        if vnode == 1 {
            return vec![String::new()];
        }
        let names = self.names.get(&vnode).into_iter().flatten();
        let kept =
            names.filter(|(directory, _, key)| !self.lost.has(*key) && (*directory == 1 || !self.is_gone(*directory)));
        let kept: Vec<String> = kept
            .flat_map(|(directory, last, _)| {
                let above = self.is_at(*directory);
                above
                    .into_iter()
                    .map(|above| format!("{above}/{last}"))
                    .collect::<Vec<_>>()
            })
            .collect();
        match kept.is_empty() {
            true => vec![format!("/lost+found/#{vnode}")],
            false => kept,
        }
    }

    fn answers<'b>(said: &'b Said, path: &str) -> BTreeMap<&'b str, &'b Vec<u8>> {
        let of_path = said.iter().filter_map(|((moment, what), answer)| {
            let rest = what.strip_prefix(path)?.strip_prefix(' ')?;
            (*moment == FILESET.to_string()).then_some((rest, answer.as_ref().unwrap()))
        });
        of_path.collect()
    }

    /// What is there now is what it must be.
    fn compare(&self, case: &str, now: &Said) {
        for (key, answer) in now {
            assert!(answer.is_ok(), "{case}: {key:?} {answer:?}");
        }
        for vnode in self.attributes.keys().copied().filter(|vnode| *vnode != 1) {
            let was: Vec<String> = self.was_at(vnode);
            let Some(first) = was.first() else { continue };
            let before = Model::answers(self.said, first);
            let is_torn = self.torn.contains(&vnode);
            if self.is_gone(vnode) {
                for path in self.is_at(vnode).iter().chain(&was) {
                    assert!(Model::answers(now, path).is_empty(), "{case}: {path} is there");
                }
                continue;
            }
            let mut places = self.is_at(vnode);
            if is_torn && !self.is_directory(vnode) {
                places.push(format!("/lost+found/#{vnode}"));
            }
            for path in &places {
                let after = Model::answers(now, path);
                assert!(is_torn || !after.is_empty(), "{case}: {path} is gone");
                if after.is_empty() {
                    continue;
                }
                for (what, answer) in &before {
                    let is_known = match *what {
                        // Names and links are others', modes may be an ACL's.
                        "stat" => true,
                        "xattrs" => is_torn || after.get(what) == Some(answer),
                        _ if is_torn && path.starts_with("/lost+found/#") => after
                            .get(what)
                            .is_none_or(|after| after == answer || after.iter().all(|byte| *byte == 0)),
                        _ => after.get(what) == Some(answer),
                    };
                    assert!(is_known, "{case}: {path} {what}, torn {is_torn}");
                }
            }
        }
    }
}

#[test]
fn whichever_node_is_lost_what_was_below_is_gone_and_all_else_is_as_it_was() {
    let subject = Subject::new();
    let mut levels = BTreeSet::new();
    for (index, node) in subject.nodes.iter().enumerate() {
        let harm = [Harm::Flipped, Harm::Zeroed, Harm::Misdirected][index % 3];
        let case = format!("node {index} {node:?} {harm:?}");
        let disk = subject.harmed(node, harm);
        let repaired = cut(&disk).unwrap_or_else(|error| panic!("{case}: {error}"));
        let told: Vec<String> = repaired
            .done
            .iter()
            .map(|(finding, became)| format!("{finding}: {became}"))
            .collect();
        assert!(
            repaired.left.is_sound(),
            "{case}: {told:#?} {:?}",
            repaired.left.findings
        );
        assert!(
            told.iter().any(|told| told.contains("cut out, with all below it")),
            "{case}: {told:#?}"
        );
        let again = cut(&disk).unwrap();
        assert!(
            again.done.is_empty() && again.left.findings.is_empty(),
            "{case}: {again:?}"
        );
        Model::new(&subject, node).compare(&format!("{case} {told:#?}"), &said(&disk));
        // It is served on, and its space is whole.
        let mut world = subject.world.after(disk.fork(1), next(&disk));
        for round in 0..2 {
            world.fill(&format!("after {round}"));
            world.aggregate().checkpoint().unwrap();
            world.aggregate().census().unwrap();
            assert_eq!(world.faults(), [], "{case}");
            world.take_over();
        }
        levels.insert(node.level);
    }
    assert_eq!(levels.into_iter().collect::<Vec<_>>(), [0, 1, 2]);
}

/// One of each sort: the root, a node in between, the first leaf, one in the midst of a file, and one of several files.
fn some(subject: &Subject) -> Vec<Found> {
    let nodes = &subject.nodes;
    let leaf = |is_it: &dyn Fn(&Found) -> bool| *nodes.iter().find(|node| node.level == 0 && is_it(node)).unwrap();
    let is_within = |node: &Found| {
        node.from.kind == KeyKind::Extent && node.until.is_some_and(|until| until.object == node.from.object)
    };
    let between = nodes.iter().filter(|node| node.level == 1).nth(1).unwrap();
    vec![
        nodes[0],
        *between,
        leaf(&|node| node.from == Key::FIRST),
        leaf(&is_within),
        leaf(&|node| node.from.object > 5 && node.until.is_some_and(|until| until.object > node.from.object + 1)),
    ]
}

#[test]
fn cutting_that_is_cut_short_anywhere_is_ended_by_the_next() {
    let subject = Subject::new();
    for (index, node) in some(&subject).into_iter().enumerate() {
        let harmed = subject.harmed(&node, Harm::Flipped);
        let whole = harmed.fork(1);
        cut(&whole).unwrap();
        let expected = said(&whole);
        for nth in 1.. {
            let disk = harmed.fork(1_000 + nth);
            let port = Arc::new(disk.port());
            port.arm(On::Write, nth, Trouble::FailForGood);
            if repaired_with(port, &disk, Unreadable::Cut).is_ok() {
                assert!(nth > 10, "{nth}");
                break;
            }
            match index % 2 {
                0 => disk.cut_power(),
                _ => disk.land_late(),
            }
            // The newest root may rot before the next owner comes.
            let rotten = disk.fork(nth);
            rotten.flip(newest(&rotten).0 + 100, 3);
            for (disk, fate) in [(disk, ""), (rotten, ", and the newest root rots")] {
                let case = format!("{node:?}: stopped at write {nth}{fate}");
                nothing_wrong(&case, &subject.said, &said(&disk));
                let repaired = cut(&disk).unwrap_or_else(|error| panic!("{case}: {error}"));
                assert!(repaired.left.is_sound(), "{case}: {:?}", repaired.left.findings);
                assert_eq!(said(&disk), expected, "{case}");
            }
        }
    }
}

/// What files hold at the paths at which they were is what it was, or is not given.
fn nothing_wrong(case: &str, before: &Said, now: &Said) {
    for ((moment, what), answer) in now {
        let is_of_file = what.contains(" block ") || what.ends_with(" target");
        match answer {
            Ok(answer) if is_of_file && !what.starts_with("/lost+found") => {
                let was = before.get(&(moment.clone(), what.clone()));
                assert_eq!(was, Some(&Ok(answer.clone())), "{case}: {moment} {what}");
            }
            Ok(_) => {}
            // Cut short before all is put right, names lead to nothing, and there may be no root directory.
            Err(kind) => assert!(
                matches!(kind, Kind::Damaged | Kind::Stale | Kind::NotFound),
                "{case}: {moment} {what}: {kind:?}"
            ),
        }
    }
}

#[test]
fn without_being_told_to_a_repair_leaves_it_and_says_how() {
    let subject = Subject::new();
    for node in some(&subject) {
        let disk = subject.harmed(&node, Harm::Zeroed);
        let before = said(&disk);
        let repaired = repaired_with(Arc::new(disk.port()), &disk, Unreadable::Leave).unwrap();
        assert!(repaired.done.is_empty(), "{repaired:?}");
        assert_eq!(said(&disk), before);
        let told = check_disk(&disk);
        let of_node = told
            .findings
            .iter()
            .find(|finding| finding.fault == Fault::Node && !finding.is_mended());
        let remedy = of_node.and_then(crate::salvage::Finding::remedy).unwrap();
        assert!(remedy.contains("-cut") && remedy.contains("-extract"), "{remedy}");
    }
}

#[test]
fn what_would_be_cut_is_told_with_the_names_that_can_be_read() {
    let subject = Subject::new();
    let [_, _, first, within, several] = some(&subject)[..] else {
        panic!("five")
    };
    let told = |node: &Found| {
        let disk = subject.harmed(node, Harm::Flipped);
        let (device, before) = (Arc::new(disk.port()), disk.digest());
        let report = plan(device.clone(), Nodes::new(device), Data::Skip, Unreadable::Cut).unwrap();
        assert_eq!(disk.digest(), before);
        let found = report
            .findings
            .iter()
            .find(|finding| finding.fault == Fault::Node && finding.is_mended());
        found.unwrap().becomes()
    };
    assert!(
        told(&first).starts_with("cut out, with all below it: ACLs, "),
        "{}",
        told(&first)
    );
    assert!(told(&within).ends_with("(a part of /torn)"), "{}", told(&within));
    let model = Model::new(&subject, &several);
    let gone = model.attributes.keys().filter(|vnode| model.is_gone(**vnode));
    for path in gone.filter_map(|vnode| model.was_at(*vnode).pop()) {
        assert!(told(&several).contains(&path), "{path}: {}", told(&several));
    }
}

#[test]
fn file_that_loses_bytes_comes_to_lost_and_found_and_never_gives_zeroes_for_them() {
    let subject = Subject::new();
    let node = some(&subject)[3];
    let disk = subject.harmed(&node, Harm::Flipped);
    let vnode = fid_of(&subject.world, "torn").vnode;
    assert_eq!(node.from.object, vnode.number());
    cut(&disk).unwrap();
    let now = said(&disk);
    let blocks = |path: &str| {
        let answers = Model::answers(&now, path);
        let blocks = answers.into_iter().filter(|(what, _)| what.starts_with("block "));
        blocks.map(|(_, bytes)| bytes[0]).collect::<Vec<_>>()
    };
    assert!(blocks("/torn").is_empty());
    let left = blocks(&format!("/lost+found/#{}", vnode.number()));
    assert!(left.iter().filter(|byte| **byte != 0).count() > 30, "{left:?}");
}

/// A device that does something to what is read at one place.
struct Bad<F>(Port, u64, F);

impl<F: Fn(&mut u8) -> Result<()> + Send + Sync> Device for Bad<F> {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        self.0.read(offset, into)?;
        let byte = self.1.checked_sub(offset).and_then(|at| into.get_mut(at as usize));
        byte.map_or(Ok(()), &self.2)
    }

    fn submit(&self, writes: &[Write<'_>]) -> Result<()> {
        self.0.submit(writes)
    }

    fn flush(&self) -> Result<()> {
        self.0.flush()
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.0.discard(offset, len)
    }
}

#[test]
fn node_that_the_device_cannot_read_is_not_cut() {
    let subject = Subject::new();
    let leaves: Vec<&Found> = subject.nodes.iter().filter(|node| node.level == 0).collect();
    let disk = subject.harmed(leaves[4], Harm::Flipped);
    let refuse = |_: &mut u8| Err(Error::new(Kind::Io, "device").because("a bad sector"));
    let blind = Bad(disk.port(), leaves[9].pointer.block.offset(), refuse);
    // Nor what is damaged beside it: what belongs to that may be where nothing can be read now.
    let repaired = repaired_with(Arc::new(blind), &disk, Unreadable::Cut).unwrap();
    assert!(repaired.done.is_empty(), "{repaired:?}");
    let findings = repaired.left.findings.iter();
    let nodes = findings.filter(|finding| finding.fault == Fault::Node && finding.on.starts_with("fileset"));
    assert_eq!(nodes.count(), 2, "{:?}", repaired.left.findings);
    // It can be read again: nothing is missing there.
    let repaired = cut(&disk).unwrap();
    assert!(repaired.left.is_sound());
    Model::new(&subject, leaves[4]).compare("seen again", &said(&disk));
}

#[test]
fn node_that_is_read_well_at_last_is_not_cut() {
    let subject = Subject::new();
    let node = subject.nodes.iter().find(|node| node.level == 0).unwrap();
    for times in [1, 2, 3, usize::MAX] {
        let disk = subject.world.disk.fork(times as u64);
        let left = AtomicUsize::new(times);
        let flip = move |byte: &mut u8| {
            let took = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            *byte ^= u8::from(took.is_ok());
            Ok(())
        };
        let wavering = Bad(disk.port(), node.pointer.block.offset() + 100, flip);
        let repaired = repaired_with(Arc::new(wavering), &disk, Unreadable::Cut).unwrap();
        assert!(repaired.left.is_sound(), "{:?}", repaired.left.findings);
        let is_cut = repaired.done.iter().any(|(_, became)| became.contains("cut out"));
        assert_eq!(is_cut, times == usize::MAX, "wrong {times} times: {:?}", repaired.done);
    }
}

#[test]
fn root_that_rots_after_a_cut_brings_no_damage_back() {
    let subject = Subject::new();
    for node in some(&subject) {
        let disk = subject.harmed(&node, Harm::Flipped);
        assert!(cut(&disk).unwrap().left.is_sound());
        let now = said(&disk);
        let (at, _) = newest(&disk);
        disk.flip(at + 100, 3);
        let faults = faults(&check_disk(&disk));
        assert!(faults.iter().all(|fault| *fault == Fault::Root), "{node:?}: {faults:?}");
        assert_eq!(said(&disk), now, "{node:?}");
    }
}

#[test]
fn several_nodes_at_once_are_cut() {
    let subject = Subject::new();
    let leaves: Vec<&Found> = subject.nodes.iter().filter(|node| node.level == 0).collect();
    let disk = subject.harmed(leaves[0], Harm::Flipped);
    for leaf in leaves.iter().skip(1).step_by(2).chain(leaves.iter().skip(10).take(9)) {
        Harm::Zeroed.befall(&disk, leaf.pointer.block.0, 0);
    }
    let repaired = cut(&disk).unwrap();
    assert!(repaired.left.is_sound(), "{:?}", repaired.left.findings);
    let again = cut(&disk).unwrap();
    assert!(again.done.is_empty(), "{again:?}");
    nothing_wrong("several", &subject.said, &said(&disk));
    subject
        .world
        .after(disk.fork(1), next(&disk))
        .aggregate()
        .census()
        .unwrap();
}

#[test]
fn what_snapshots_share_is_cut_of_the_fileset_and_stays_damaged_in_them() {
    let case = Case::new();
    let (mut mended, mut shared) = (0, 0);
    for (place, block) in case.used.iter().enumerate().step_by(2) {
        let disk = case.disk.fork(*block);
        let harm = [Harm::Flipped, Harm::Zeroed][place / 2 % 2];
        harm.befall(&disk, *block, 0);
        let on = format!("block {block} {harm:?}");
        let Ok(repaired) = cut(&disk) else { continue };
        let left = &repaired.left;
        assert!(left.beyond.is_none(), "{on}: {:?}", left.findings);
        let is_cut = repaired.done.iter().any(|(_, became)| became.starts_with("cut out"));
        assert!(
            left.findings.iter().all(|finding| finding.remedy().is_none()),
            "{on}: {:?}",
            left.findings
        );
        let now = said(&disk);
        let before = case.expected_of(*block, &now);
        nothing_wrong(&on, before, &now);
        if !is_cut {
            continue;
        }
        mended += 1;
        let is_live = |moment: &str| moment == FILESET.to_string() || moment == CLONE.to_string();
        for ((moment, what), answer) in &now {
            match is_live(moment) {
                true => assert!(answer.is_ok(), "{on}: {moment} {what}"),
                false if answer.is_ok() => {
                    assert_eq!(before.get(&(moment.clone(), what.clone())), Some(answer), "{on}");
                }
                false => shared += 1,
            }
        }
        let again = cut(&disk).unwrap_or_else(|error| panic!("{on}: {error}"));
        // The root before has that snapshot, too.
        let is_of_root = again.done.iter().all(|(finding, _)| finding.on.starts_with("root "));
        assert!(is_of_root, "{on}: {:?}", again.done);
        // The snapshots go, and what only they had comes back.
        let world = World::of(disk.clone(), next(&disk));
        given_back(&on, &world.aggregate(), now.clone());
        world.aggregate().checkpoint().unwrap();
        world.settle();
        let last = cut(&disk).unwrap_or_else(|error| panic!("{on}, snapshots gone: {error}"));
        assert!(last.left.beyond.is_none(), "{on}: {:?}", last.left.findings);
    }
    println!("{mended} nodes were cut, {shared} answers of snapshots stay lost");
    assert!(mended > 5 && shared > 5, "{mended}, {shared}");
}

#[test]
fn notices_nothing_where_nothing_is_wrong() {
    let subject = Subject::new();
    let disk = subject.world.disk.fork(3);
    let repaired = cut(&disk).unwrap();
    assert!(repaired.done.is_empty(), "{repaired:?}");
    assert_eq!(said(&disk), subject.said);
    let device = Arc::new(disk.port());
    assert!(
        check(device.clone(), Nodes::new(device), Data::Read)
            .unwrap()
            .findings
            .is_empty()
    );
}
