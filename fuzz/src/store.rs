//! Decoders of what lies on an aggregate's disk.
//!
//! A changed byte is found by the checksum before anything else is looked at, so what has one is given to its
//! decoder twice: as it is, and with the checksum made right.

use baton_aggregate::format::{
    Attributes, Batch, Block, ClientState, Extent, FilesetEntry, FilesetHeader, FilesetUsage, Key, KeyKind, Label, Lsn,
    MountPoint, NameEntry, Orphan, Pending, Pointer, Record, Root, SegmentState, SessionHeader, Slot, VnodeRange,
    XattrEntry, decode_holders, sample,
};
use baton_aggregate::tree::{self, Node, Sink, TreeId};
use baton_types::{Epoch, Result};

use crate::Target;

/// More than any structure is long.
const BATCH_BYTES_MAX: usize = 1 << 20;

macro_rules! values {
    ($($name:literal $kind:literal $decode:expr;)*) => {
        &[$(Target {
            name: $name,
            decode: |bytes| drop($decode(bytes)),
            good: || value($kind),
        },)*]
    };
}

/// The structures.
pub const STRUCTURES: &[Target] = &[
    Target {
        name: "label",
        decode: label,
        good: || sample::label().encode(),
    },
    Target {
        name: "slot",
        decode: slot,
        good: || sample::slot().encode().unwrap_or_default(),
    },
    Target {
        name: "root",
        decode: root,
        good: || sample::root().encode().unwrap_or_default(),
    },
    Target {
        name: "batch",
        decode: batch,
        good: sample::batch,
    },
    Target {
        name: "log_record",
        decode: |bytes| drop(Record::decode(&bytes.to_vec().into())),
        good: log_record,
    },
    Target {
        name: "node",
        decode: node,
        good: good_node,
    },
    Target {
        name: "pointer",
        decode: |bytes| drop(Pointer::decode_option(bytes)),
        good: || sample::pointer().encode().to_vec(),
    },
    Target {
        name: "key",
        decode: |bytes| drop(Key::decode(bytes)),
        good: || Key::new(1, KeyKind::Name, 2).encode().to_vec(),
    },
];

/// The values of items.
pub const VALUES: &[Target] = values! {
    "attributes" "attributes" Attributes::decode;
    "names" "name" NameEntry::decode_all;
    "xattrs" "xattr" |bytes: &[u8]| XattrEntry::decode_all(&bytes.to_vec().into());
    "extent" "extent" Extent::decode;
    "orphan" "orphan" Orphan::decode;
    "mount_point" "mount_point" MountPoint::decode;
    "fileset_header" "fileset_header" FilesetHeader::decode;
    "fileset_names" "fileset_name" FilesetEntry::decode_all;
    "fileset_usage" "fileset_usage" FilesetUsage::decode;
    "session" "session" SessionHeader::decode;
    "client" "client" ClientState::decode;
    "vnode_ranges" "vnode_range" VnodeRange::decode_all;
    "holders" "holders" decode_holders;
    "segment_state" "segment" SegmentState::decode;
    "pending_free" "pending" Pending::decode;
};

fn value(kind: &str) -> Vec<u8> {
    let mut values = sample::values().into_iter();
    values
        .find(|(name, _)| *name == kind)
        .map(|(_, value)| value)
        .unwrap_or_default()
}

fn label(bytes: &[u8]) {
    for bytes in [bytes, &sample::resealed(bytes)] {
        drop(Label::decode(bytes));
        drop(Label::of_copies(bytes, &sample::label().encode()));
    }
}

fn slot(bytes: &[u8]) {
    drop(Slot::decode(bytes));
    drop(Slot::decode(&sample::resealed(bytes)));
}

fn root(bytes: &[u8]) {
    drop(Root::decode(bytes));
    drop(Root::decode(&sample::resealed(bytes)));
}

fn batch(bytes: &[u8]) {
    for bytes in [bytes.to_vec(), sample::rebatched(bytes)] {
        if let Ok(batch) = Batch::decode(&bytes.into(), sample::aggregate(), BATCH_BYTES_MAX) {
            batch.records().for_each(drop);
        }
    }
}

fn log_record() -> Vec<u8> {
    let mut bytes = Vec::new();
    drop(sample::record().encode(&mut bytes));
    bytes
}

/// A node that is taken is asked for all it holds.
fn node(bytes: &[u8]) {
    let Ok(node) = Node::decode(bytes.to_vec().into()) else {
        return;
    };
    for index in 0..node.len() {
        assert!(node.search(node.key(index)).is_ok(), "a key is not found where it is");
        drop(node.value(index));
    }
}

fn good_node() -> Vec<u8> {
    /// Keeps the last node.
    struct Last(Vec<u8>);

    impl Sink for Last {
        fn allocate(&mut self, _blocks: u8) -> Result<Block> {
            Ok(Block(1))
        }

        fn write(&mut self, _pointer: &Pointer, node: Node) -> Result<()> {
            self.0 = node.bytes().to_vec();
            Ok(())
        }

        fn free(&mut self, _pointer: &Pointer) {}
    }

    let id = TreeId {
        tree: 7,
        epoch: Epoch(1),
        generation: 2,
        birth: Lsn(3),
        node_bytes: 8 << 10,
    };
    let items = (1..40_u64).map(|object| (Key::new(object, KeyKind::Extent, object * 3), sample::extent().encode()));
    let mut last = Last(Vec::new());
    drop(tree::build(items, id, &mut last));
    last.0
}
