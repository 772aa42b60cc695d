//! One good value of each structure: for tests, and for the fuzzer to begin from.

use baton_types::{
    AggregateId, AggregateName, ClientId, Epoch, FileName, FilesetId, FilesetName, Incarnation, ServerId, Timestamp,
    Vnode,
};
use bytes::Bytes;
use uuid::Uuid;

use crate::format::{
    Attributes, Base, Batch, BatchHeader, Bitmap, Block, Checksum, ClientState, DeadChunk, Extent, Features, FileKind,
    FilesetEntry, FilesetHeader, FilesetKind, FilesetUsage, Free, Further, Geometry, HashKey, Held, History, Inherited,
    Key, Label, Lsn, MountPoint, NameEntry, OpenSegment, Orphan, Pending, Piece, Pointer, Record, RecordKind, Root,
    RootKind, RootName, Segment, SegmentClass, SegmentPhase, SegmentState, SessionHeader, Shared, Slot, SlotState,
    Snapshot, VnodeRange, Walk, XattrEntry, encode_holders,
};

fn uuid(fill: u8) -> Uuid {
    Uuid::from_bytes([fill; 16])
}

fn vnode(number: u64) -> Vnode {
    Vnode::new(number).expect("a vnode's number")
}

/// The aggregate of all samples.
pub fn aggregate() -> AggregateId {
    AggregateId(uuid(0xa1))
}

/// 16 MiB in segments of 64 KiB.
pub fn geometry() -> Geometry {
    Geometry::new(16 << 20, 64 << 10, 8 << 10).expect("sizes that a label may have")
}

/// A label.
pub fn label() -> Label {
    Label {
        id: aggregate(),
        name: AggregateName::parse("agg1").expect("a name"),
        geometry: geometry(),
        created: Timestamp(1_795_000_000_000_000_000),
        features: Features::default(),
    }
}

/// The slot of an owner.
pub fn slot() -> Slot {
    Slot {
        aggregate: aggregate(),
        epoch: Epoch(41),
        server: ServerId(uuid(0x5e)),
        incarnation: Incarnation(uuid(0x1c)),
        boot: uuid(0xb0),
        principal: "hosts/fs1".to_owned(),
        state: SlotState::Own,
        root: RootName {
            epoch: Epoch(41),
            seq: 7,
        },
        beat: 1_234,
        time: Timestamp(1_795_000_000_500_000_000),
    }
}

/// A pointer.
pub fn pointer() -> Pointer {
    Pointer {
        block: Block(0x1234),
        blocks: 2,
        flags: 0,
        birth: Lsn(99),
        checksum: Checksum::of(b"node"),
    }
}

fn open(segment: u32, class: SegmentClass) -> OpenSegment {
    let mut bitmap = Bitmap::free(geometry().segment_blocks());
    bitmap.take(0);
    bitmap.take(9);
    OpenSegment {
        segment: Segment(segment),
        class,
        bitmap,
    }
}

/// A checkpoint with something in each of its lists.
pub fn root() -> Root {
    Root {
        aggregate: aggregate(),
        epoch: Epoch(41),
        seq: 7,
        generation: 300,
        lsn: Lsn(5_000),
        kind: RootKind::Checkpoint,
        device_bytes: geometry().device_bytes,
        high_water: Segment(90),
        system: Some(pointer()),
        space: Some(pointer()),
        residue: None,
        pending: [None, Some(pointer())],
        chain: vec![
            Piece {
                epoch: Epoch(40),
                first: Lsn(4_990),
                offset: 3,
                before: Checksum::of(b"batch"),
                cut: Some(Lsn(5_000)),
                segments: vec![Segment(30)],
            },
            Piece {
                epoch: Epoch(41),
                first: Lsn(5_001),
                offset: 0,
                before: Checksum::of(b"next"),
                cut: None,
                segments: vec![Segment(31), Segment(33)],
            },
        ],
        open: vec![open(40, SegmentClass::Node), open(41, SegmentClass::Data)],
        log_reserve: vec![Segment(34)],
        inherited: vec![Inherited {
            epoch: Epoch(40),
            open: vec![open(50, SegmentClass::Data), open(51, SegmentClass::Log)],
        }],
        quarantine: vec![Epoch(40)],
        history: vec![History {
            epoch: Epoch(40),
            server: ServerId(uuid(0x5f)),
            cut: Lsn(5_000),
        }],
    }
}

/// A create: an entry, attributes, the answer.
pub fn record() -> Record {
    Record {
        session: 77,
        stream: 1,
        sequence: 12,
        usage_bytes: 4_096,
        usage_files: 3,
        usage_promised: 0,
        result: Bytes::from_static(b"made"),
        items: vec![
            (
                Key::name(Vnode::ROOT, 0x0123_4567_89ab_cdef),
                Some(NameEntry::encode_all(&[name_entry()]).into()),
            ),
            (Key::attributes(vnode(1_025)), Some(attributes().encode().into())),
            (Key::orphan(vnode(9)), None),
        ],
        frees: vec![Free {
            block: Block(0x777),
            count: 3,
            birth: Lsn(12),
        }],
        ..Record::new(RecordKind::Op, FilesetId(1_201))
    }
}

/// A record that reserves two segments.
pub fn reserve() -> Record {
    Record {
        flags: SegmentClass::Data as u16,
        result: Bytes::from_static(&[60, 0, 0, 0, 61, 0, 0, 0]),
        ..Record::new(RecordKind::Reserve, FilesetId(0))
    }
}

/// A batch of two records.
pub fn batch() -> Vec<u8> {
    let header = BatchHeader {
        aggregate: aggregate(),
        epoch: Epoch(41),
        first: Lsn(5_001),
        settled: Lsn(5_000),
        count: 0,
        bytes: 0,
        previous: Checksum::of(b"next"),
        checksum: Checksum::default(),
    };
    let batch = Batch::encode(header, &[record(), reserve()], geometry().batch_bytes_max());
    batch.expect("two records fit a batch").1
}

/// The attributes of a file.
pub fn attributes() -> Attributes {
    Attributes {
        mode: FileKind::Regular.mode() | 0o644,
        uid: 1_000,
        gid: 100,
        links: 1,
        size: 4_096,
        blocks: 1,
        data_version: 2,
        unique: 0xfeed,
        accessed: Timestamp(1),
        modified: Timestamp(-2),
        changed: Timestamp(3),
        created: Timestamp(4),
        parent: Some(Vnode::ROOT),
        device: 0,
        acl: 5,
        flags: 0,
        promised: 0,
        promised_in: 0,
    }
}

/// A directory's entry.
pub fn name_entry() -> NameEntry {
    NameEntry {
        vnode: vnode(1_025),
        unique: 0xfeed,
        kind: FileKind::Regular,
        name: b"paper.tex".to_vec(),
    }
}

/// An extent of two blocks.
pub fn extent() -> Extent {
    Extent {
        flags: 0,
        unit_shift: 12,
        block: Block(0x4321),
        count: 2,
        birth: Lsn(98),
        checksums: vec![Checksum::of(b"one"), Checksum::of(b"two")],
    }
}

/// The value of each kind of item, and what the kind is called.
pub fn values() -> Vec<(&'static str, Vec<u8>)> {
    let name = FilesetName::parse("user.ito").expect("a name");
    let header = FilesetHeader {
        kind: FilesetKind::ReadWrite,
        name: name.clone(),
        hash_key: HashKey([0x33; 16]),
        created: Timestamp(5),
        quota_bytes: 1 << 30,
        quota_files: 0,
        newest_snapshot: Lsn(0),
        origin: 0,
        snapshots_taken: 0,
        version: 6,
    };
    let usage = FilesetUsage {
        bytes: 1,
        files: 2,
        next_vnode: 2_049,
        promised: 0,
    };
    let session = SessionHeader {
        client: ClientId(uuid(0xc1)),
        opened: Timestamp(7),
    };
    let client = ClientState {
        session: 77,
        time: Timestamp(8),
        lapsed: Some(Timestamp(9)),
    };
    let range = VnodeRange {
        first: vnode(1_025),
        count: 1_024,
    };
    let xattr = XattrEntry {
        name: b"user.mime".to_vec(),
        value: Bytes::from_static(b"text/x-tex"),
    };
    let segment = SegmentState {
        phase: SegmentPhase::Closed,
        class: Some(SegmentClass::Data),
        epoch: Epoch(40),
        bitmap: open(0, SegmentClass::Data).bitmap,
    };
    let fileset = FilesetId(1_201);
    vec![
        ("attributes", attributes().encode()),
        ("name", NameEntry::encode_all(&[name_entry()])),
        ("xattr", XattrEntry::encode_all(&[xattr])),
        ("extent", extent().encode()),
        ("orphan", Orphan::Removing(64).encode()),
        ("mount_point", MountPoint::ReadWrite(fileset).encode()),
        ("fileset_header", header.encode()),
        (
            "fileset_name",
            FilesetEntry::encode_all(&[FilesetEntry { fileset, name }]),
        ),
        ("fileset_usage", usage.encode()),
        ("session", session.encode()),
        ("client", client.encode()),
        ("vnode_range", VnodeRange::encode_all(&[range])),
        ("holders", encode_holders(&[ClientId(uuid(0xc1)), ClientId(uuid(0xc2))])),
        ("snapshot", snapshot().encode()),
        ("dead_chunk", dead_chunk().encode()),
        ("base", base().encode()),
        ("held", held().encode()),
        ("walk", walk().encode()),
        ("segment", segment.encode()),
        ("pending", pending().encode()),
        ("shared", shared().encode()),
        ("further", further().encode()),
    ]
}

fn snapshot() -> Snapshot {
    Snapshot {
        serial: 3,
        name: FileName::parse(b"2026-11-21").expect("a name"),
        taken: Timestamp(4),
        bytes: 5,
        files: 6,
        deleted: Lsn(7),
    }
}

fn pending() -> Pending {
    Pending {
        count: 4,
        birth: Lsn(97),
    }
}

fn shared() -> Shared {
    Shared {
        count: 64,
        places: 3,
        birth: Lsn(96),
    }
}

fn further() -> Further {
    Further {
        count: 1_024,
        owners: 2,
    }
}

fn base() -> Base {
    Base {
        origin: FilesetId(1_201),
        snapshot: Lsn(70),
        next_vnode: 2_049,
    }
}

fn held() -> Held {
    Held {
        fileset: FilesetId(1_204),
        snapshot: Lsn(70),
    }
}

fn walk() -> Walk {
    Walk {
        floor: Lsn(60),
        from: Key::extent(vnode(1_025), 64),
    }
}

fn dead_chunk() -> DeadChunk {
    DeadChunk {
        generation: 8,
        runs: vec![(Block(9), 10), (Block(11), 12)],
    }
}

/// Gives every decoder of an item's value these bytes; they have but to return.
pub fn decode_values(bytes: &[u8]) {
    drop(Attributes::decode(bytes));
    drop(NameEntry::decode_all(bytes));
    drop(XattrEntry::decode_all(&Bytes::copy_from_slice(bytes)));
    drop(Extent::decode(bytes));
    drop(Orphan::decode(bytes));
    drop(MountPoint::decode(bytes));
    drop(FilesetHeader::decode(bytes));
    drop(FilesetEntry::decode_all(bytes));
    drop(FilesetUsage::decode(bytes));
    drop(SessionHeader::decode(bytes));
    drop(ClientState::decode(bytes));
    drop(VnodeRange::decode_all(bytes));
    drop(crate::format::decode_holders(bytes));
    drop(Snapshot::decode(bytes));
    drop(DeadChunk::decode(bytes));
    drop(Base::decode(bytes));
    drop(Held::decode(bytes));
    drop(Walk::decode(bytes));
    drop(Shared::decode(bytes));
    drop(Further::decode(bytes));
    drop(SegmentState::decode(bytes));
    drop(Pending::decode(bytes));
    drop(Pointer::decode_option(bytes));
    drop(Key::decode(bytes));
}

/// Label, slot or root with its checksum made right again, so that a change within it reaches what lies behind.
pub fn resealed(bytes: &[u8]) -> Vec<u8> {
    checksummed(bytes, 16, 8)
}

/// A batch with its checksum made right again.
pub fn rebatched(bytes: &[u8]) -> Vec<u8> {
    checksummed(bytes, 72, 52)
}

/// With the checksum at `checksum_at` over as many bytes as the number at `length_at` says, if they are there.
fn checksummed(bytes: &[u8], checksum_at: usize, length_at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let Some(length) = bytes.get(length_at..).and_then(|rest| rest.first_chunk()) else {
        return bytes;
    };
    let length = u32::from_le_bytes(*length) as usize;
    if (checksum_at + 16..=bytes.len()).contains(&length) {
        let checksum = Checksum::around(&bytes[..length], checksum_at);
        bytes[checksum_at..checksum_at + 16].copy_from_slice(&checksum.0);
    }
    bytes
}
