//! Each fault of the double, seen to bite.

use std::collections::BTreeSet;

use super::*;
use crate::buffer::Buffer;
use crate::device::{SECTOR_BYTES, suite};

const LEN: u64 = 1 << 20;

fn filled(byte: u8, len: usize) -> Buffer {
    let mut buffer = Buffer::zeroed(len);
    buffer.fill(byte);
    buffer
}

fn write(port: &Port, offset: u64, byte: u8, len: usize) -> Result<()> {
    port.submit(&[Write {
        offset,
        bytes: &filled(byte, len),
    }])
}

/// One letter per sector: which byte fills it.
fn sectors(disk: &Disk, offset: u64, count: usize) -> Vec<u8> {
    disk.peek(offset, count * SECTOR_BYTES)
        .chunks(SECTOR_BYTES)
        .map(|sector| sector[0])
        .collect()
}

/// What `observe` sees under each of many seeds.
fn seen<T: Ord>(observe: impl Fn(Disk) -> T) -> BTreeSet<T> {
    (0..200).map(|seed| observe(Disk::new(LEN, seed))).collect()
}

#[test]
fn double_keeps_the_promises_of_a_device() {
    suite::run(|| {
        let disk = Disk::new(suite::LEN, 1);
        let failing = disk.port();
        failing.arm(On::Write, 1, Trouble::Fail);
        suite::Fixture {
            device: Box::new(disk.port()),
            other: Box::new(disk.port()),
            failing: Box::new(failing),
        }
    });
}

#[test]
fn seated_double_keeps_the_promises_of_a_device() {
    let gate = Gate::new();
    gate.spawn(|seat| {
        suite::run(|| {
            let disk = Disk::new(suite::LEN, 1);
            let failing = disk.seated_port(&seat);
            failing.arm(On::Write, 1, Trouble::Fail);
            let [device, other] = [(); 2].map(|()| Box::new(disk.seated_port(&seat)));
            suite::Fixture {
                device,
                other,
                failing: Box::new(failing),
            }
        });
    });
    gate.run(|_, waiting| Choice::Go(waiting[0].0));
}

#[test]
fn power_cut_keeps_what_was_flushed_and_any_part_of_the_rest() {
    let after = seen(|disk| {
        let port = disk.port();
        write(&port, 0, 1, 2048).unwrap();
        port.flush().unwrap();
        write(&port, 0, 2, 2048).unwrap();
        disk.cut_power();
        assert!(write(&port, 0, 3, 512).is_err(), "a host without power wrote");
        sectors(&disk, 0, 4)
    });
    assert!(
        after.iter().flatten().all(|byte| [1, 2].contains(byte)),
        "flushed data was lost: {after:?}"
    );
    assert_eq!(after.len(), 16, "some subset of four sectors never came out: {after:?}");
}

#[test]
fn unflushed_writes_are_reordered() {
    let after = seen(|disk| {
        let port = disk.port();
        write(&port, 0, 1, 512).unwrap();
        write(&port, 4096, 2, 512).unwrap();
        write(&port, 0, 3, 512).unwrap();
        disk.cut_power();
        (sectors(&disk, 0, 1)[0], sectors(&disk, 4096, 1)[0])
    });
    assert_eq!(after, BTreeSet::from([(0, 0), (0, 2), (1, 0), (1, 2), (3, 0), (3, 2)]));
}

#[test]
fn flush_covers_all_ports() {
    let after = seen(|disk| {
        let (one, other) = (disk.port(), disk.port());
        write(&one, 0, 1, 512).unwrap();
        write(&other, 512, 2, 512).unwrap();
        one.flush().unwrap();
        disk.cut_power();
        sectors(&disk, 0, 2)
    });
    assert_eq!(after, BTreeSet::from([vec![1, 2]]));
}

#[test]
fn later_write_survives_the_flush_of_an_earlier_one_in_its_place() {
    let after = seen(|disk| {
        let (one, other) = (disk.port(), disk.port());
        write(&one, 0, 1, 512).unwrap();
        write(&other, 0, 2, 512).unwrap();
        one.flush().unwrap();
        assert_eq!(sectors(&disk, 0, 1), [2], "a read went back");
        other.flush().unwrap();
        disk.cut_power();
        sectors(&disk, 0, 1)
    });
    assert_eq!(after, BTreeSet::from([vec![2]]));
}

#[test]
fn write_of_a_stopped_incarnation_lands_whenever_it_likes() {
    let after = seen(|disk| {
        let (zombie, owner) = (disk.port(), disk.port());
        zombie.stop_at(2);
        zombie.flush().unwrap();
        assert!(write(&zombie, 0, 9, 1024).is_err());
        assert!(
            zombie.flush().is_err() && zombie.read(0, &mut Buffer::zeroed(512)).is_err(),
            "it lives on"
        );
        assert_eq!(sectors(&disk, 0, 2), [0, 0], "it landed at once");
        let mut history = Vec::new();
        for _ in 0..8 {
            owner.read(4096, &mut Buffer::zeroed(512)).unwrap();
            history.push(sectors(&disk, 0, 2));
        }
        history.dedup();
        history
    });
    for history in [
        vec![[0, 0]],
        vec![[0, 0], [9, 9]],
        vec![[0, 0], [0, 9]],
        vec![[0, 0], [9, 0], [9, 9]],
    ] {
        let history: Vec<Vec<u8>> = history.into_iter().map(|sectors| sectors.to_vec()).collect();
        assert!(after.contains(&history), "never seen: {history:?}");
    }
}

#[test]
fn late_writes_land_on_demand() {
    let disk = Disk::new(LEN, 7);
    let zombie = disk.port();
    zombie.stop_at(1);
    assert!(write(&zombie, 0, 9, 4096).is_err());
    disk.land_late();
    assert_eq!(sectors(&disk, 0, 8), [9; 8]);
}

#[test]
fn failed_write_may_have_landed() {
    let after = seen(|disk| {
        let port = disk.port();
        port.arm(On::Write, 2, Trouble::Fail);
        write(&port, 4096, 1, 512).unwrap();
        let error = write(&port, 0, 1, 1024).unwrap_err();
        assert_eq!(
            (error.kind, error.on.as_str()),
            (Kind::Io, "device double, port 0, write at 0")
        );
        sectors(&disk, 0, 2)
    });
    assert_eq!(after.len(), 4, "{after:?}");
}

#[test]
fn failed_flush_may_have_flushed() {
    let after = seen(|disk| {
        let port = disk.port();
        port.arm(On::Flush, 1, Trouble::Fail);
        write(&port, 0, 1, 512).unwrap();
        write(&port, 4096, 1, 512).unwrap();
        assert!(port.flush().is_err());
        assert!(port.flush().is_err(), "flushed after a failed flush");
        disk.cut_power();
        (sectors(&disk, 0, 1)[0], sectors(&disk, 4096, 1)[0])
    });
    assert_eq!(after.len(), 4, "{after:?}");
}

#[test]
fn reads_fail_once_or_for_good() {
    for (trouble, then) in [
        (Trouble::Fail, [true, false, true]),
        (Trouble::FailForGood, [true, false, false]),
    ] {
        let port = Disk::new(LEN, 1).port();
        port.arm(On::Read, 2, trouble);
        assert_eq!([(); 3].map(|()| port.read(0, &mut Buffer::zeroed(512)).is_ok()), then);
    }
}

#[test]
fn misdirected_operations_say_that_all_went_well() {
    let disk = Disk::new(LEN, 1);
    let port = disk.port();
    port.arm(On::Write, 1, Trouble::Misdirect(8192));
    write(&port, 0, 5, 1024).unwrap();
    assert_eq!(
        (sectors(&disk, 0, 2), sectors(&disk, 8192, 2)),
        (vec![0, 0], vec![5, 5])
    );
    port.arm(On::Read, 1, Trouble::Misdirect(8192));
    let mut buffer = Buffer::zeroed(512);
    port.read(0, &mut buffer).unwrap();
    assert_eq!(buffer[0], 5);
    port.read(0, &mut buffer).unwrap();
    assert_eq!(buffer[0], 0);
}

#[test]
fn flipped_bit_survives_a_flush_and_a_power_cut() {
    let disk = Disk::new(LEN, 1);
    let port = disk.port();
    write(&port, 0, 0, 512).unwrap();
    disk.flip(100, 3);
    port.flush().unwrap();
    disk.cut_power();
    assert_eq!(disk.peek(99, 3), [0, 8, 0]);
}

#[test]
fn fork_goes_its_own_way() {
    let disk = Disk::new(LEN, 1);
    let port = disk.port();
    write(&port, 0, 1, 512).unwrap();
    let after: BTreeSet<Vec<u8>> = (0..50)
        .map(|seed| {
            let fork = disk.fork(seed);
            fork.cut_power();
            sectors(&fork, 0, 1)
        })
        .collect();
    assert_eq!(after, BTreeSet::from([vec![0], vec![1]]));
    port.flush().unwrap();
    assert_eq!(sectors(&disk, 0, 1), [1]);
}

/// Two writers in one place, one of which may crash: what the disk shows at the end, and the order of all steps.
fn race(seed: u64, crash_at: usize) -> (Vec<u8>, Vec<usize>, u64) {
    let disk = Disk::new(LEN, seed);
    let mut rng = StdRng::seed_from_u64(seed);
    let gate = Gate::new();
    for byte in [1, 2] {
        let disk = disk.clone();
        gate.spawn(move |seat| {
            let port = disk.seated_port(&seat);
            let done = write(&port, 0, byte, 1024).and_then(|()| port.flush());
            if done.is_err() {
                assert!(
                    port.flush().is_err() && seat.pause().is_err(),
                    "a crashed server went on"
                );
            }
        });
    }
    let mut trace = Vec::new();
    gate.run(|_, waiting| {
        let (id, _) = waiting[rand::RngExt::random_range(&mut rng, 0..waiting.len())];
        trace.push(id.0);
        if trace.len() == crash_at {
            Choice::Crash(id)
        } else {
            Choice::Go(id)
        }
    });
    disk.land_late();
    (sectors(&disk, 0, 2), trace, disk.digest())
}

#[test]
fn gate_interleaves_anywhere_and_a_seed_replays() {
    let mut ends = BTreeSet::new();
    let mut traces = BTreeSet::new();
    for seed in 0..200 {
        for crash_at in [0, 3] {
            let history = race(seed, crash_at);
            assert_eq!(history, race(seed, crash_at), "seed {seed} has two histories");
            ends.insert(history.0);
            traces.insert(history.1);
        }
    }
    // Either order, and each way that one of them lands in two parts around the other.
    assert!(
        BTreeSet::from([vec![1, 1], vec![2, 2], vec![1, 2], vec![2, 1]]).is_subset(&ends),
        "{ends:?}"
    );
    assert!(traces.len() > 20, "only {} orders", traces.len());
}

#[test]
fn write_of_a_seat_that_crashed_lands_after_its_successor_wrote() {
    let after: BTreeSet<Vec<u8>> = (0..100)
        .map(|seed| {
            let disk = Disk::new(LEN, seed);
            let gate = Gate::new();
            let server = |byte| {
                let disk = disk.clone();
                move |seat: Seat| drop(write(&disk.seated_port(&seat), 0, byte, 512))
            };
            let zombie = gate.spawn(server(9));
            gate.run(|gate, waiting| match waiting[0] {
                (id, Step::Write { offset: 0, len: 512 }) if id == zombie => {
                    gate.spawn(server(1));
                    Choice::Crash(id)
                }
                (id, _) => Choice::Go(id),
            });
            let successor = disk.port();
            let mut history = vec![sectors(&disk, 0, 1)[0]];
            for _ in 0..6 {
                successor.flush().unwrap();
                history.push(sectors(&disk, 0, 1)[0]);
            }
            history.dedup();
            history
        })
        .collect();
    assert_eq!(after, BTreeSet::from([vec![1], vec![1, 9]]));
}

#[test]
#[should_panic(expected = "the server's own words")]
fn panic_of_a_seated_thread_reaches_the_test() {
    let gate = Gate::new();
    gate.spawn(|_| panic!("the server's own words"));
    gate.run(|_, waiting| Choice::Go(waiting[0].0));
}
