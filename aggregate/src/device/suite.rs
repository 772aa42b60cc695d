//! What every [`Device`] keeps, shown once for the real one, the double, and any other backend to come.

use baton_types::{Kind, Result};

use super::{Device, SECTOR_BYTES, Write};
use crate::buffer::{ALIGNMENT, Buffer};

/// Bytes of a disk under test.
pub const LEN: u64 = 8 << 20;

/// One disk, new, full of zeroes and [`LEN`] bytes long, and three accesses to it.
pub struct Fixture {
    /// One host's.
    pub device: Box<dyn Device>,
    /// Another host's.
    pub other: Box<dyn Device>,
    /// One of which the next write fails, and would fail no more after that.
    pub failing: Box<dyn Device>,
}

type Case = fn(&Fixture);

/// Runs every case, each on its own disk.
///
/// # Panics
/// If the device breaks a promise; the case is named just before.
pub fn run(fixture: impl Fn() -> Fixture) {
    let cases: [(&str, Case); 9] = [
        ("it has its length, and is zero", new_disk_is_zero),
        ("what was written is read, by others too", written_is_read),
        ("many unordered writes all arrive", many_writes_arrive),
        ("sectors are written by themselves", sectors_are_apart),
        ("no range leaves the device", ranges_are_bounded),
        ("nothing misaligned is taken", misaligned_is_refused),
        ("a refused submit writes nothing", refused_submit_writes_nothing),
        ("discarded room can be used again", discarded_is_usable),
        ("a failed write is the last", failed_write_is_the_last),
    ];
    for (name, case) in cases {
        println!("case: {name}");
        case(&fixture());
    }
}

/// `len` bytes that differ by `seed` and by place.
fn pattern(seed: u8, len: usize) -> Buffer {
    let mut buffer = Buffer::zeroed(len);
    for (index, byte) in buffer.iter_mut().enumerate() {
        *byte = seed ^ (index / SECTOR_BYTES) as u8;
    }
    buffer
}

fn write(device: &dyn Device, offset: u64, bytes: &[u8]) -> Result<()> {
    device.submit(&[Write { offset, bytes }])
}

fn read(device: &dyn Device, offset: u64, len: usize) -> Buffer {
    let mut buffer = pattern(0xee, len);
    device.read(offset, &mut buffer).expect("a read of what is there");
    buffer
}

fn new_disk_is_zero(fixture: &Fixture) {
    assert_eq!(fixture.device.len(), LEN);
    assert!(
        read(&*fixture.device, LEN - (1 << 20), 1 << 20)
            .iter()
            .all(|&byte| byte == 0)
    );
    assert!(read(&*fixture.device, 0, 0).is_empty());
    fixture.device.submit(&[]).expect("nothing to write");
    fixture.device.flush().expect("nothing to flush");
}

fn written_is_read(fixture: &Fixture) {
    for (seed, offset, len) in [
        (1, 0, 4096),
        (2, LEN - 4096, 4096),
        (3, 1 << 20, 1 << 20),
        (4, 4096, 12288),
    ] {
        let bytes = pattern(seed, len);
        write(&*fixture.device, offset, &bytes).expect("a write");
        assert_eq!(read(&*fixture.device, offset, len)[..], bytes[..], "own, unflushed");
        assert_eq!(
            read(&*fixture.other, offset, len)[..],
            bytes[..],
            "the other's, unflushed"
        );
        fixture.device.flush().expect("a flush");
        assert_eq!(
            read(&*fixture.other, offset, len)[..],
            bytes[..],
            "the other's, flushed"
        );
    }
}

fn many_writes_arrive(fixture: &Fixture) {
    let at = |index: u8| u64::from(index) * 49_152 % LEN;
    let bytes: Vec<Buffer> = (0..100)
        .map(|index| pattern(index, 4096 * (1 + usize::from(index) % 12)))
        .collect();
    let writes: Vec<Write<'_>> = bytes
        .iter()
        .zip(0..)
        .map(|(bytes, index)| Write {
            offset: at(index),
            bytes,
        })
        .collect();
    fixture.device.submit(&writes).expect("many writes");
    fixture.device.flush().expect("a flush");
    for (bytes, index) in bytes.iter().zip(0..) {
        assert_eq!(
            read(&*fixture.device, at(index), bytes.len())[..],
            bytes[..],
            "write {index}"
        );
    }
}

fn sectors_are_apart(fixture: &Fixture) {
    write(&*fixture.device, 8192, &pattern(1, 4096)).expect("a block");
    let sector = pattern(9, SECTOR_BYTES);
    write(&*fixture.other, 8192 + 1024, &sector).expect("a sector of it");
    let mut expected = pattern(1, 4096);
    expected[1024..1536].copy_from_slice(&sector);
    assert_eq!(read(&*fixture.device, 8192, 4096)[..], expected[..]);
    assert_eq!(read(&*fixture.device, 8192 + 1024, SECTOR_BYTES)[..], sector[..]);
}

fn ranges_are_bounded(fixture: &Fixture) {
    let mut bytes = Buffer::zeroed(8192);
    for offset in [LEN - 4096, LEN, LEN + 4096, u64::MAX - 4095] {
        let device = &fixture.device;
        let refused = [
            device.read(offset, &mut bytes),
            write(&**device, offset, &bytes),
            device.discard(offset, 8192),
        ];
        for result in refused {
            assert_eq!(result.expect_err("beyond the end").kind, Kind::Invalid, "at {offset}");
        }
    }
    write(&*fixture.device, 0, &bytes).expect("a refused call breaks nothing");
}

fn misaligned_is_refused(fixture: &Fixture) {
    let mut bytes = Buffer::zeroed(8192);
    let device = &fixture.device;
    let refused = [
        device.read(100, &mut bytes[..4096]),
        device.read(0, &mut bytes[..100]),
        device.read(0, &mut bytes[512..1024]),
        write(&**device, 100, &bytes[..4096]),
        write(&**device, 0, &bytes[..100]),
        write(&**device, 0, &bytes[ALIGNMENT / 2..ALIGNMENT]),
        device.discard(100, 4096),
        device.discard(0, 100),
    ];
    for (index, result) in refused.into_iter().enumerate() {
        assert_eq!(result.expect_err("misaligned").kind, Kind::Invalid, "call {index}");
    }
}

fn refused_submit_writes_nothing(fixture: &Fixture) {
    let bytes = pattern(1, 4096);
    let writes = [
        Write {
            offset: 0,
            bytes: &bytes,
        },
        Write {
            offset: LEN,
            bytes: &bytes,
        },
    ];
    fixture
        .device
        .submit(&writes)
        .expect_err("the second is beyond the end");
    assert!(read(&*fixture.device, 0, 4096).iter().all(|&byte| byte == 0));
}

fn discarded_is_usable(fixture: &Fixture) {
    let bytes = pattern(1, 1 << 20);
    write(&*fixture.device, 1 << 20, &bytes).expect("a write");
    fixture.device.flush().expect("a flush");
    fixture.device.discard((1 << 20) + 8192, 65536).expect("a discard");
    fixture.device.discard(0, 0).expect("nothing to discard");
    assert_eq!(
        read(&*fixture.other, 1 << 20, 8192)[..],
        bytes[..8192],
        "what lies before it"
    );
    assert_eq!(
        read(&*fixture.other, (1 << 20) + 73_728, 8192)[..],
        bytes[73_728..81_920],
        "what lies after it"
    );
    write(&*fixture.device, (1 << 20) + 8192, &bytes[..65536]).expect("a write into discarded room");
    assert_eq!(read(&*fixture.device, (1 << 20) + 8192, 65536)[..], bytes[..65536]);
}

fn failed_write_is_the_last(fixture: &Fixture) {
    let bytes = pattern(1, 4096);
    let device = &fixture.failing;
    let error = write(&**device, 4096, &bytes).expect_err("it was to fail");
    assert!(error.kind == Kind::Io && error.on.contains("4096"), "{error}");
    for result in [write(&**device, 4096, &bytes), device.flush(), device.discard(0, 4096)] {
        let error = result.expect_err("after a failed write");
        assert!(
            error.kind == Kind::Io && error.reason.contains("not written any more"),
            "{error}"
        );
    }
    read(&**device, 0, 4096);
    write(&*fixture.device, 4096, &bytes).expect("a device opened by itself");
    fixture.device.flush().expect("its flush");
    assert_eq!(read(&**device, 4096, 4096)[..], bytes[..]);
}
