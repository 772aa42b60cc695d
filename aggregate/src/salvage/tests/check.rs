//! `check` on sound aggregates, and on harmed ones.

use baton_types::{ClientId, FilesetId, FilesetName, Timestamp, Vnode};
use uuid::Uuid;

use super::world::{World, at, check_disk, faults, name};
use crate::fileset::lookup;
use crate::format::{
    Attributes, BLOCK_BYTES, BatchHeader, Extent, FilesetEntry, Geometry, Key, KeyKind, Label, NameEntry, Orphan,
    RecordKind, Root, RootPlace, encode_holders,
};
use crate::recover::Chain;
use crate::salvage::{Fault, served_by};
use crate::transaction::{Reply, Transaction};
use crate::tree::Stop;

/// Nothing is found at this `moment`.
fn sound(world: &World, moment: &str) {
    let report = world.check();
    assert!(report.findings.is_empty(), "{moment}: {:?}", report.findings);
}

#[test]
fn new_aggregate_is_sound() {
    let world = World::new();
    let report = check_disk(&world.disk);
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!((report.name.as_str(), report.filesets, report.files), ("agg1", 0, 0));
}

#[test]
fn used_aggregate_is_sound_at_every_stage_of_its_life() {
    let mut world = World::served();
    for round in 0..12 {
        world.fill(&format!("{round}"));
        sound(&world, &format!("round {round}, log"));
        if round % 2 == 0 {
            world.aggregate().checkpoint().unwrap();
            sound(&world, &format!("round {round}, checkpoint"));
        }
        if round % 3 == 1 {
            world.aggregate().detach(Timestamp(9)).unwrap();
        }
        if round % 3 != 2 {
            world.take_over();
            sound(&world, &format!("round {round}, takeover"));
        }
    }
    let report = world.check();
    assert_eq!((report.filesets, report.files), (1, 2 + 12 * 6));
}

#[test]
fn aggregate_that_has_grown_is_sound() {
    let mut world = World::served();
    let mut bytes = Geometry::new(256 * (64 << 10), 64 << 10, 4 << 10).unwrap().device_bytes;
    for round in 0..4 {
        world.fill(&format!("{round}"));
        bytes += 70 * (64 << 10);
        world.disk.grow(bytes);
        assert_eq!(world.aggregate().grow(None).unwrap(), bytes);
        world.fill(&format!("more {round}"));
        sound(&world, &format!("round {round}"));
        world.take_over();
        sound(&world, &format!("round {round}, takeover"));
    }
}

/// Long after the last segment that was never used: what each begins with was another one's before.
#[test]
fn aggregate_is_sound_whoever_crashed_and_however_early() {
    for checkpoints in [0, 1] {
        let mut world = World::served();
        for round in 0..90 {
            if round % 4 == 0 {
                world.fill(&format!("{round}"));
            }
            for _ in 0..checkpoints {
                world.aggregate().checkpoint().unwrap();
            }
            let moment = format!("{checkpoints} checkpoints each, round {round}");
            sound(&world, &moment);
            world.take_over();
            sound(&world, &format!("{moment}, takeover"));
        }
    }
}

/// The offset of the file's first data block.
fn data_of(world: &mut World, called: &str) -> u64 {
    let root = world.root();
    let extent = world.change(|transaction, names| {
        let called = name(called);
        let place = at(root, &called);
        let object = lookup(transaction, names, place)?;
        let extent = transaction.get(Key::extent(object.fid.vnode, 0))?.unwrap();
        Ok(Extent::decode(&extent)?)
    });
    extent.block.offset()
}

#[test]
fn flipped_bit_in_data_is_found_with_the_file() {
    let mut world = World::served();
    let root = world.root();
    let file = world.file(root, "f", &[7; 2 * BLOCK_BYTES]);
    world.aggregate().checkpoint().unwrap();
    let offset = data_of(&mut world, "f");
    world.settle();
    world.disk.flip(offset + 5_000, 3);
    let report = world.check();
    assert_eq!(faults(&report), [Fault::Data]);
    assert_eq!(
        report.findings[0].to_string(),
        format!(
            "fileset user.ito, vnode {} (/f): its 4096 bytes from 4096 on do not verify",
            file.fid.vnode.number()
        )
    );
}

#[test]
fn harm_in_fixed_places_is_found() {
    let mut world = World::served();
    world.fill("a");
    world.aggregate().checkpoint().unwrap();
    world.aggregate().checkpoint().unwrap();
    world.settle();
    let found = |harm: &dyn Fn(&crate::device::double::Disk)| {
        let disk = world.disk.fork(3);
        harm(&disk);
        faults(&check_disk(&disk))
    };
    assert_eq!(found(&|_| {}), []);
    let label = Label::decode(&world.disk.peek(0, BLOCK_BYTES)).unwrap();
    for offset in label.geometry.label_offsets() {
        assert_eq!(found(&|disk| disk.flip(offset + 100, 1)), [Fault::Label]);
    }
    assert_eq!(
        found(&|disk| disk.flip(Geometry::slot_offset(5) + 40, 1)),
        [Fault::Slot]
    );

    let roots = RootPlace::BOTH.map(|place| Geometry::root_offset(1, place));
    let read = |at| Root::decode(&world.disk.peek(at, Geometry::ROOT_BYTES_MAX)).unwrap();
    let newest = roots.into_iter().max_by_key(|at| read(*at).name()).unwrap();
    assert_eq!(found(&|disk| disk.flip(newest + 300, 1)), [Fault::Root]);
    let system = read(newest).system.unwrap().block.offset();
    assert!(found(&|disk| disk.flip(system + 100, 1)).contains(&Fault::Node));
    let space = read(newest).space;
    if let Some(space) = space {
        assert!(found(&|disk| disk.flip(space.block.offset() + 100, 1)).contains(&Fault::Node));
    }
}

#[test]
fn rot_in_the_middle_of_the_log_is_found() {
    let mut world = World::served();
    let root = world.root();
    let geometry = world.aggregate().label().geometry;
    // Checkpoints come by themselves, and what lies behind the last of them may be one batch.
    let newest = (0..9).find_map(|round| {
        world.file(root, &format!("{round}"), &[1; BLOCK_BYTES]);
        world.settle();
        let roots = RootPlace::BOTH.map(|place| {
            let at = Geometry::root_offset(1, place);
            Root::decode(&world.disk.peek(at, Geometry::ROOT_BYTES_MAX)).unwrap()
        });
        let newest = roots.into_iter().max_by_key(Root::name).unwrap();
        let chain = Chain::read(&world.disk.port(), newest.aggregate, &geometry, &newest).unwrap();
        (chain.pieces[0].batches.len() > 1).then_some(newest)
    });
    let newest = newest.unwrap();
    let piece = &newest.chain[0];
    let blocks = piece.segments.iter().flat_map(|segment| {
        let first = u64::from(segment.0) * (64 << 10);
        (0..16).map(move |block| first + block * BLOCK_BYTES as u64)
    });
    let is_first = |at: &u64| {
        let bytes = world.disk.peek(*at, BLOCK_BYTES);
        let header = BatchHeader::peek(&bytes, newest.aggregate, 64 << 10);
        header.is_ok_and(|header| (header.epoch, header.first) == (piece.epoch, piece.first))
    };
    let batch = blocks.into_iter().find(is_first).unwrap();
    world.disk.flip(batch + 200, 1);
    let report = check_disk(&world.disk);
    assert!(faults(&report).contains(&Fault::Log), "{:?}", report.findings);
}

/// Changes a file's attributes behind everybody's back.
fn set(transaction: &mut Transaction<'_>, vnode: Vnode, change: impl Fn(&mut Attributes)) -> Result<(), Stop> {
    let bytes = transaction.get(Key::attributes(vnode))?.unwrap();
    let mut attributes = Attributes::decode(&bytes)?;
    change(&mut attributes);
    transaction.put(Key::attributes(vnode), attributes.encode());
    Ok(())
}

/// One harm done to the file `f` or the directory `once`, and what it must be found as.
pub(crate) type Harm = (Fault, fn(&mut Transaction<'_>, Vnode, Vnode) -> Result<(), Stop>);

pub(crate) const HARMS: &[Harm] = &[
    (Fault::Links, |transaction, file, _| {
        set(transaction, file, |attributes| attributes.links = 2)
    }),
    (Fault::Links, |transaction, _, directory| {
        set(transaction, directory, |attributes| attributes.links = 3)
    }),
    (Fault::Directory, |transaction, _, directory| {
        set(transaction, directory, |attributes| attributes.size = 9)
    }),
    (Fault::Directory, |transaction, _, directory| {
        set(transaction, directory, |attributes| attributes.parent = Some(directory))
    }),
    (Fault::Directory, |transaction, file, _| {
        // Another file by the same number.
        set(transaction, file, |attributes| attributes.unique += 1)
    }),
    (Fault::Directory, |transaction, file, _| {
        transaction.delete(Key::attributes(file));
        transaction.delete(Key::extent(file, 0));
        Ok(())
    }),
    (Fault::Item, |transaction, file, _| {
        transaction.put(Key::attributes(file), vec![1; 112]);
        Ok(())
    }),
    (Fault::Item, |transaction, file, _| {
        set(transaction, file, |attributes| attributes.acl = 77)
    }),
    (Fault::Item, |transaction, file, _| {
        transaction.put(Key::xattr(file, 0), vec![9, 9]);
        Ok(())
    }),
    (Fault::Orphan, |transaction, file, _| {
        transaction.put(Key::orphan(file), Orphan::Held.encode());
        Ok(())
    }),
    (Fault::Usage, |transaction, _, _| {
        transaction.usage().bytes += 1;
        Ok(())
    }),
    (Fault::Usage, |transaction, _, _| {
        transaction.usage().files += 1;
        Ok(())
    }),
    (Fault::Usage, |transaction, file, _| {
        set(transaction, file, |attributes| attributes.blocks = 7)
    }),
    (Fault::Extent, |transaction, file, _| {
        let extent = transaction.get(Key::extent(file, 0))?.unwrap();
        transaction.put(Key::extent(file, 1), extent);
        Ok(())
    }),
    (Fault::Block, |transaction, file, _| {
        let extent = Extent::decode(&transaction.get(Key::extent(file, 0))?.unwrap())?;
        transaction.free(extent.block, 1, extent.birth);
        Ok(())
    }),
    (Fault::Leak, |transaction, file, _| {
        transaction.delete(Key::extent(file, 0));
        Ok(())
    }),
    (Fault::Birth, |transaction, file, _| {
        let mut extent = Extent::decode(&transaction.get(Key::extent(file, 0))?.unwrap())?;
        extent.birth.0 += 1_000_000;
        transaction.put(Key::extent(file, 0), extent.encode());
        Ok(())
    }),
    (Fault::Vnode, |transaction, file, _| {
        let attributes = transaction.get(Key::attributes(file))?.unwrap();
        transaction.put(Key::attributes(Vnode::new(1 << 30)?), attributes);
        Ok(())
    }),
];

#[test]
fn each_harm_to_a_fileset_is_found_for_what_it_is() {
    let mut world = World::served();
    let root = world.root();
    let file = world.file(root, "f", &[7; 2 * BLOCK_BYTES]).fid.vnode;
    let directory = world.change(|transaction, names| {
        let called = name("once");
        let place = at(root, &called);
        lookup(transaction, names, place)
    });
    world.aggregate().checkpoint().unwrap();
    world.settle();
    assert_eq!(world.faults(), []);
    for (index, (fault, harm)) in HARMS.iter().enumerate() {
        let fork = World::on(&world, 100 + index as u64);
        let mut fork = fork;
        fork.change(|transaction, _| harm(transaction, file, directory.fid.vnode));
        let found = fork.check();
        assert!(
            faults(&found).contains(fault),
            "harm {index}, {fault:?}: {:?}",
            found.findings
        );
    }
}

#[test]
fn directories_that_hold_each_other_are_found() {
    let mut world = World::served();
    let root = world.root();
    let entry = |transaction: &Transaction<'_>, names: &_| -> Result<(Key, NameEntry), Stop> {
        let called = name("once");
        let place = at(root, &called);
        let object = lookup(transaction, names, place)?;
        for item in transaction.scan(Key::name(Vnode::ROOT, 0), Key::name(Vnode::ROOT, u64::MAX)) {
            let (key, value) = item?;
            let entry = NameEntry::decode_all(&value)?.remove(0);
            if entry.vnode == object.fid.vnode {
                return Ok((key, entry));
            }
        }
        unreachable!("the root directory has the name")
    };
    world.change(|transaction, names| {
        let (key, entry) = entry(transaction, names)?;
        transaction.delete(key);
        transaction.put(
            Key {
                object: entry.vnode.number(),
                ..key
            },
            NameEntry::encode_all(std::slice::from_ref(&entry)),
        );
        set(transaction, Vnode::ROOT, |attributes| {
            (attributes.links, attributes.size) = (2, 0);
        })?;
        set(transaction, entry.vnode, |attributes| {
            (attributes.links, attributes.size, attributes.parent) = (3, 1, Some(entry.vnode));
        })
    });
    let report = world.check();
    assert_eq!(faults(&report), [Fault::Directory]);
    assert!(
        report.findings[0].reason.contains("comes back"),
        "{:?}",
        report.findings
    );
}

#[test]
fn each_harm_to_the_system_tree_is_found_for_what_it_is() {
    type Harm = (Fault, fn(&mut Transaction<'_>));
    let harms: &[Harm] = &[
        (Fault::Session, |transaction| {
            transaction.put(Key::reply(999, 0, 1), Reply::done().encode());
        }),
        (Fault::Session, |transaction| {
            let client = ClientId(Uuid::from_u128(77));
            transaction.put(Key::hold(super::world::FILESET, client), encode_holders(&[client]));
        }),
        (Fault::Catalog, |transaction| {
            let entry = FilesetEntry {
                fileset: FilesetId(5),
                name: FilesetName::parse("none").unwrap(),
            };
            transaction.put(Key::fileset_name(17), FilesetEntry::encode_all(&[entry]));
        }),
        (Fault::Catalog, |transaction| {
            transaction.delete(Key::fileset_header(super::world::FILESET));
        }),
        (Fault::Item, |transaction| {
            transaction.put(Key::new(3, KeyKind::Name, 4), vec![1]);
        }),
        (Fault::Item, |transaction| transaction.put(Key::session(3), vec![1])),
    ];
    let mut world = World::served();
    world.fill("a");
    world.aggregate().checkpoint().unwrap();
    world.settle();
    for (index, (fault, harm)) in harms.iter().enumerate() {
        let mut fork = World::on(&world, index as u64);
        fork.system(RecordKind::Session, |transaction| {
            harm(transaction);
            Ok(())
        });
        let found = fork.check();
        assert!(
            faults(&found).contains(fault),
            "harm {index}, {fault:?}: {:?}",
            found.findings
        );
    }
}

#[test]
fn beat_that_goes_on_shows_who_serves() {
    let world = World::served();
    world.settle();
    let port = world.disk.port();
    assert_eq!(served_by(&port, || {}).unwrap(), None);
    let owner = served_by(&port, || world.aggregate().beat(Timestamp(7)).unwrap())
        .unwrap()
        .unwrap();
    assert_eq!((owner.principal.as_str(), owner.epoch.0), ("hosts/fs1", 1));
}
