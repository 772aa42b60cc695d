//! What a new aggregate has on its device, and which devices are refused.

use std::fs::File;
use std::os::unix::fs::FileExt;

use baton_types::{AggregateId, AggregateName, Kind, Timestamp};
use tempfile::NamedTempFile;

use super::{Overwrite, Plan, check, create, read_copies, read_label};
use crate::device::{Access, Device, FileDevice};
use crate::format::{Geometry, Label, Root, RootPlace, Slot, sample};

const BYTES: u64 = 16 << 20;

fn image(bytes: u64) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    file.as_file().set_len(bytes).unwrap();
    file
}

fn open(file: &NamedTempFile) -> FileDevice {
    FileDevice::open(file.path(), Access::Write).unwrap()
}

fn plan() -> Plan {
    Plan {
        id: AggregateId::random(),
        name: AggregateName::parse("agg1").unwrap(),
        geometry: Some(sample::geometry()),
        overwrite: Overwrite::Refuse,
        created: Timestamp(7),
    }
}

fn put(file: &File, offset: u64, bytes: &[u8]) {
    file.write_all_at(bytes, offset).unwrap();
}

#[test]
fn new_aggregate_has_label_slots_and_seal() {
    let file = image(BYTES);
    let device = open(&file);
    let label = create(&device, &plan()).unwrap();
    assert_eq!(read_label(&device).unwrap(), label);

    let bytes = std::fs::read(file.path()).unwrap();
    let [first, last] = read_copies(&device).unwrap();
    assert_eq!(first[..], last[..]);
    for index in 0..Geometry::RING {
        let slot = Slot::decode(&bytes[Geometry::slot_offset(index) as usize..]).unwrap();
        assert_eq!(slot, Slot::at_birth(label.id, label.created));
        assert!(slot.fits(index));
    }
    for place in RootPlace::BOTH {
        let root = Root::decode(&bytes[Geometry::root_offset(0, place) as usize..]).unwrap();
        assert_eq!(
            (root.aggregate, root.high_water),
            (label.id, label.geometry.first_segment())
        );
        assert!(Root::decode(&bytes[Geometry::root_offset(1, place) as usize..]).is_err());
    }
}

#[test]
fn too_small_a_device_is_refused() {
    let file = image(2 << 20);
    let usual = Plan {
        geometry: None,
        ..plan()
    };
    let error = create(&open(&file), &usual).unwrap_err();
    assert_eq!(
        error.to_string(),
        "device: 2097152 bytes are too few for an aggregate; give it at least 136318976 bytes"
    );
    let error = create(&open(&file), &plan()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "device: it has 2097152 bytes, and the geometry asks for 16777216"
    );
}

#[test]
fn what_somebody_would_miss_is_refused_by_name() {
    let signatures: [(u64, &[u8], &str); 10] = [
        (1080, b"\x53\xef", "an ext file system"),
        (65_600, b"_BHRfS_M", "a btrfs file system"),
        (0, b"XFSB", "an xfs file system"),
        (4086, b"SWAPSPACE2", "swap space"),
        (512, b"LABELONE", "an LVM physical volume"),
        (512, b"EFI PART", "a partition table (GPT)"),
        (510, b"\x55\xaa", "a partition table or a boot sector"),
        (0, b"LUKS\xba\xbe", "an encrypted volume (LUKS)"),
        (4096, b"\xfc\x4e\x2b\xa9", "a part of a RAID array"),
        (32_769, b"CD001", "an ISO 9660 file system"),
    ];
    for (offset, bytes, what) in signatures {
        let file = image(BYTES);
        put(file.as_file(), offset, bytes);
        let error = create(&open(&file), &plan()).unwrap_err();
        assert_eq!(error.kind, Kind::Exists);
        assert_eq!(
            error.to_string(),
            format!("device: it holds {what}; to lose all that is on it: newaggr -overwrite")
        );
        let before = std::fs::read(file.path()).unwrap();
        assert_eq!(
            before[offset as usize..][..bytes.len()],
            *bytes,
            "a refusal writes nothing"
        );
        let insisting = Plan {
            overwrite: Overwrite::Insist,
            ..plan()
        };
        create(&open(&file), &insisting).unwrap();
        assert!(read_label(&open(&file)).is_ok());
    }
}

#[test]
fn aggregate_is_refused_also_where_one_label_is_left() {
    let file = image(BYTES);
    let label = create(&open(&file), &plan()).unwrap();
    let error = create(&open(&file), &plan()).unwrap_err();
    assert!(
        error.to_string().starts_with("device: it holds aggregate agg1; "),
        "{error}"
    );
    put(file.as_file(), 0, &[0; 4096]);
    assert!(check(&open(&file), &plan()).is_err());
    assert_eq!(read_label(&open(&file)).unwrap(), label);
    put(file.as_file(), BYTES - 4000, b"torn");
    let error = create(&open(&file), &plan()).unwrap_err();
    assert!(
        error.to_string().contains("an aggregate with a damaged label"),
        "{error}"
    );
}

#[test]
fn label_that_cannot_be_used_says_why_and_what_to_do() {
    let file = image(BYTES);
    let device = open(&file);
    let error = read_label(&device).unwrap_err();
    assert_eq!(error.kind, Kind::NotFound);
    assert!(
        error.to_string().contains("holds no aggregate; check its name"),
        "{error}"
    );

    let label = create(&device, &plan()).unwrap();
    for offset in label.geometry.label_offsets() {
        put(file.as_file(), offset + 200, b"torn");
    }
    let error = read_label(&device).unwrap_err();
    assert_eq!(error.kind, Kind::Damaged);
    assert!(
        error
            .to_string()
            .contains("both copies are damaged; read the device by another path"),
        "{error}"
    );

    let mut newer = label.clone();
    newer.features.incompat = 8;
    for offset in label.geometry.label_offsets() {
        put(file.as_file(), offset, &newer.encode());
    }
    let error = read_label(&device).unwrap_err();
    assert_eq!(error.kind, Kind::Version);
    assert!(error.to_string().contains("use the newer Baton"), "{error}");

    let mut foreign = label.clone();
    foreign.id = AggregateId::random();
    put(file.as_file(), 0, &foreign.encode());
    put(file.as_file(), label.geometry.label_offsets()[1], &label.encode());
    let error = read_label(&device).unwrap_err();
    assert_eq!(error.kind, Kind::Damaged);
    assert!(error.to_string().contains("its copies differ"), "{error}");
}

#[test]
fn shrunk_device_is_refused_and_a_grown_one_is_not() {
    let file = image(BYTES);
    let label = create(&open(&file), &plan()).unwrap();
    file.as_file().set_len(BYTES + (1 << 20)).unwrap();
    let grown = open(&file);
    assert_eq!(read_label(&grown).unwrap(), label);
    assert_eq!(Label::decode(&read_copies(&grown).unwrap()[1]).unwrap(), label);
    file.as_file().set_len(BYTES / 2).unwrap();
    let error = read_label(&open(&file)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "aggregate agg1: the device has 8388608 bytes, and the aggregate takes 16777216; give the device its size back"
    );
}

#[test]
fn last_bytes_of_an_odd_device_are_left_alone() {
    let file = image(BYTES + 512);
    let device = open(&file);
    let odd = Plan {
        geometry: Some(Geometry::new(device.len(), 64 << 10, 8 << 10).unwrap()),
        ..plan()
    };
    let label = create(&device, &odd).unwrap();
    assert_eq!(label.geometry.device_bytes, BYTES);
    assert_eq!(read_label(&device).unwrap(), label);
}
