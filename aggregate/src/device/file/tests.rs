//! A real file by direct I/O passes the suite, and says what is wrong with one that cannot be used.

use tempfile::NamedTempFile;

use super::*;
use crate::buffer::Buffer;
use crate::device::suite;

const LEN: u64 = 4 << 20;

fn image(len: u64) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    file.as_file().set_len(len).unwrap();
    file
}

fn device() -> (NamedTempFile, FileDevice) {
    let file = image(LEN);
    let device = FileDevice::open(file.path(), Access::Write).unwrap();
    (file, device)
}

/// More writes than a ring holds, so that it is used again within one submit: strangers, or all neighbours.
fn many_writes_are_read_back(device: &FileDevice) {
    writes_are_read_back(device, |index| (99 - index as u64) * 16384);
    writes_are_read_back(device, |index| 4096 + index as u64 * 8192);
}

fn writes_are_read_back(device: &FileDevice, at: impl Fn(usize) -> u64) {
    let bytes: Vec<Buffer> = (0..100u8).map(|index| Buffer::padded(&[index; 5000])).collect();
    let writes: Vec<Write> = (0..100)
        .map(|index| Write {
            offset: at(index),
            bytes: &bytes[index],
        })
        .collect();
    device.submit(&writes).unwrap();
    device.flush().unwrap();
    let mut read = Buffer::zeroed(8192);
    for (index, bytes) in bytes.iter().enumerate() {
        device.read(at(index), &mut read).unwrap();
        assert_eq!(read[..], bytes[..], "write {index}");
    }
}

#[test]
fn long_read_is_whole_and_fails_whole() {
    let (file, device) = device();
    let len = HALVED_BYTES + 3 * 4096;
    let mut written = Buffer::zeroed(len);
    for (block, number) in written.chunks_mut(4096).zip(1u64..) {
        block[..8].copy_from_slice(&number.to_le_bytes());
    }
    let bytes = &written[..];
    device.submit(&[Write { offset: 4096, bytes }]).unwrap();
    let mut read = Buffer::zeroed(len);
    device.read(4096, &mut read).unwrap();
    assert!(read[..] == written[..]);
    // It became shorter: only the first half is there.
    file.as_file()
        .set_len(4096 + HALVED_BYTES as u64 / 2 + 3 * 4096)
        .unwrap();
    assert_eq!(device.read(4096, &mut read).unwrap_err().kind, Kind::Io);
}

#[test]
fn neighbours_that_came_back_short_are_finished() {
    let (_file, device) = device();
    let bytes = [1, 2, 3].map(|content| Buffer::padded(&[content; 8192]));
    let writes: Vec<Write> = (0..)
        .zip(&bytes)
        .map(|(index, bytes)| Write {
            offset: index * 8192,
            bytes,
        })
        .collect();
    assert_eq!(neighbours(&writes).count(), 1);
    device.finish(&writes, Ok(8192 + 4096)).unwrap();
    let mut read = Buffer::zeroed(3 * 8192);
    device.read(0, &mut read).unwrap();
    let blocks: Vec<u8> = read.chunks(4096).map(|block| block[0]).collect();
    assert_eq!(blocks, [0, 0, 0, 2, 3, 3]);
}

#[test]
fn many_writes_at_once_are_read_back() {
    many_writes_are_read_back(&device().1);
}

#[test]
fn many_writes_without_a_ring_are_read_back() {
    let (_file, device) = device();
    device.rings.refused.store(true, Ordering::Relaxed);
    many_writes_are_read_back(&device);
}

#[test]
fn discarded_room_leaves_the_file() {
    use std::os::unix::fs::MetadataExt;
    let (file, device) = device();
    device
        .submit(&[Write {
            offset: 0,
            bytes: &Buffer::padded(&[1; 1 << 20]),
        }])
        .unwrap();
    device.flush().unwrap();
    let before = file.as_file().metadata().unwrap().blocks();
    device.discard(0, 1 << 20).unwrap();
    let after = file.as_file().metadata().unwrap();
    assert!(after.blocks() < before, "{} blocks, {before} before", after.blocks());
    assert_eq!(after.len(), LEN);
}

/// A descriptor that cannot write stands for a disk that fails, by `pwrite` and by ring.
#[test]
fn failed_write_of_several_is_named() {
    let (file, mut device) = device();
    device.file = File::open(file.path()).unwrap();
    let bytes = Buffer::zeroed(4096);
    let writes = [1, 3, 5].map(|index| Write {
        offset: index * 4096,
        bytes: &bytes,
    });
    let error = device.submit(&writes).unwrap_err();
    let text = format!(
        "device {}, write of 4096 bytes at 4096: Bad file descriptor",
        file.path().display()
    );
    assert!(error.to_string().starts_with(&text), "{error}");
}

#[test]
fn file_keeps_the_promises_of_a_device() {
    suite::run(|| {
        let file = image(suite::LEN);
        let open = || FileDevice::open(file.path(), Access::Write).unwrap();
        let mut failing = open();
        // Its descriptor cannot write: what comes after the first failure is refused before it is tried.
        failing.file = rustix::fs::open(file.path(), OFlags::RDONLY | OFlags::DIRECT, Mode::empty())
            .unwrap()
            .into();
        suite::Fixture {
            device: Box::new(open()),
            other: Box::new(open()),
            failing: Box::new(failing),
        }
    });
}

#[test]
fn file_that_shrank_is_an_error_not_a_hang() {
    let (file, device) = device();
    file.as_file().set_len(4096).unwrap();
    let error = device.read(0, &mut Buffer::zeroed(8192)).unwrap_err();
    assert!(error.to_string().contains("ends there now"), "{error}");
}

#[test]
fn what_cannot_be_a_device_is_refused() {
    let reason = |path: &Path| FileDevice::open(path, Access::Write).map(drop).unwrap_err().to_string();
    let empty = image(0);
    assert!(reason(empty.path()).ends_with("it is empty"));
    assert!(reason(Path::new("/nowhere/at/all")).contains("No such file"));
    assert!(!reason(Path::new("/dev/null")).is_empty());
    let device = FileDevice::open(image(8192).path(), Access::Read).unwrap();
    assert_eq!(device.len(), 8192);
    assert!(
        device
            .submit(&[Write {
                offset: 0,
                bytes: &Buffer::zeroed(4096)
            }])
            .is_err()
    );
}
