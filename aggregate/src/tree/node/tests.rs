//! Nodes against maps, and against bytes that no node has.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::format::{Block, KeyKind};

fn id(node_bytes: u32) -> TreeId {
    TreeId {
        tree: 0x11,
        epoch: Epoch(0x22),
        generation: 0x33,
        birth: Lsn(0x44),
        node_bytes,
    }
}

fn node(level: u8, items: &[(Key, Vec<u8>)]) -> Node {
    let mut run = Run::default();
    items.iter().for_each(|(key, value)| run.push((*key).into(), value));
    Node::encode(&id(65536), level, &run, items.len())
}

fn pointer(node: &Node) -> Pointer {
    Pointer {
        block: Block(9),
        blocks: (node.bytes().len() / BLOCK_BYTES) as u8,
        flags: 0,
        birth: node.birth(),
        checksum: Checksum::of(node.bytes()),
    }
}

fn small() -> Node {
    let items = [
        (Key::new(0x0102, KeyKind::Attributes, 0), b"one".to_vec()),
        (Key::new(0x0102, KeyKind::Name, 0x0a0b0c0d0e0f0001), b"".to_vec()),
        (Key::new(0x0203, KeyKind::Inline, 5), b"three".to_vec()),
    ];
    node(0, &items)
}

/// The bytes of `small` with one of them changed.
fn changed(at: usize, byte: u8) -> Result<Node> {
    let mut bytes = small().bytes().to_vec();
    bytes[at] = byte;
    Node::decode(bytes.into())
}

#[test]
fn bytes_are_as_drawn() {
    let node = small();
    let bytes = node.bytes();
    assert_eq!(bytes.len(), 4096);
    let header = [
        b"BtNd\x01\x00\x06\x00".as_slice(), // version, level, prefix length, flags
        b"\x11\0\0\0\0\0\0\0\x22\0\0\0\0\0\0\0\x33\0\0\0\0\0\0\0\x44\0\0\0\0\0\0\0", // tree, epoch, generation, birth
        b"\x03\0\x75\0",                    // count, used: 64 + 3 * 8 + 3 * 7 + 8
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", // prefix and zeroes
    ];
    assert_eq!(bytes[..64], header.concat());
    let slots = [
        b"\xe3\x0f\x03\0\x01\x02\x01\0".as_slice(), // offset, value length, head
        b"\xed\x0f\0\0\x01\x02\x02\x0a",
        b"\xf4\x0f\x05\0\x02\x03\x06\0",
    ];
    assert_eq!(bytes[64..88], slots.concat());
    assert_eq!(bytes[88..0xfe3], vec![0; 0xfe3 - 88]);
    let items = [
        b"\0\0\0\0\0\0\0one".as_slice(),
        b"\x0b\x0c\x0d\x0e\x0f\x00\x01",
        b"\0\0\0\0\0\0\x05three",
    ];
    assert_eq!(bytes[0xfe3..], items.concat());
}

#[test]
fn a_node_is_what_its_pointer_says() {
    let node = small();
    let right = pointer(&node);
    assert_eq!(Node::verify(node.bytes().clone(), &right).unwrap().len(), 3);
    let mut flipped = node.bytes().to_vec();
    flipped[2000] ^= 1;
    let wrong = [
        (flipped.into(), right),
        (node.bytes().slice(..0), right),
        (node.bytes().clone(), Pointer { blocks: 2, ..right }),
        (
            node.bytes().clone(),
            Pointer {
                birth: Lsn(0x45),
                ..right
            },
        ),
    ];
    for (bytes, pointer) in wrong {
        let error = Node::verify(bytes, &pointer).unwrap_err();
        assert_eq!((error.kind, error.on.as_str()), (Kind::Damaged, "node at block 9"));
    }
}

#[test]
fn what_contradicts_itself_is_damaged() {
    let cases = [
        (0, b'x', "magic"),
        (5, 1, "level of a node without pointers"),
        (6, 18, "prefix longer than a key"),
        (6, 255, "prefix longer than a key"),
        (40, 0, "no item"),
        (40, 2, "an item less"),
        (40, 4, "an item more"),
        (41, 255, "slots beyond the node"),
        (42, 0x74, "used less"),
        (42, 0x76, "used more"),
        (43, 0x20, "used more than there is"),
        (50, 1, "byte after the prefix"),
        (61, 1, "byte after the header's fields"),
        (64, 0xe4, "item elsewhere"),
        (65, 0xff, "item beyond the node"),
        (66, 4, "value longer"),
        (67, 0x80, "value much longer"),
        (68, 3, "keys out of order"),
        (100, 1, "byte between slots and items"),
    ];
    for (at, byte, what) in cases {
        assert_eq!(changed(at, byte).unwrap_err().kind, Kind::Damaged, "{what}");
    }
    for len in [0, 1, 63, 64, 4095, 4097, 8192] {
        let mut bytes = small().bytes().to_vec();
        bytes.resize(len, 0);
        assert_eq!(
            Node::decode(bytes.into()).unwrap_err().kind,
            Kind::Damaged,
            "{len} bytes"
        );
    }
}

#[test]
fn what_a_newer_baton_wrote_is_said_to_be_so() {
    for (at, byte, what) in [(4, 2, "version"), (7, 1, "flags"), (86, 0x63, "key kind")] {
        assert_eq!(changed(at, byte).unwrap_err().kind, Kind::Version, "{what}");
    }
}

#[test]
fn values_have_the_size_of_their_level() {
    let key = Key::new(1, KeyKind::Extent, 1);
    let longest = node(0, &[(key, vec![1; VALUE_BYTES_MAX])]);
    assert_eq!(
        Node::decode(longest.bytes().clone()).unwrap().value_ref(0).len(),
        VALUE_BYTES_MAX
    );
    let too_long = node(0, &[(key, vec![1; VALUE_BYTES_MAX + 1])]);
    assert_eq!(Node::decode(too_long.bytes().clone()).unwrap_err().kind, Kind::Damaged);

    let child = pointer(&longest);
    let parent = Node::decode(node(1, &[(key, child.encode().to_vec())]).bytes().clone()).unwrap();
    assert_eq!((parent.level(), parent.pointer(0)), (1, child));
    for bytes in [vec![0; POINTER_BYTES], vec![1; POINTER_BYTES - 1]] {
        assert_eq!(
            Node::decode(node(1, &[(key, bytes)]).bytes().clone()).unwrap_err().kind,
            Kind::Damaged
        );
    }
}

#[test]
fn the_longest_node_may_end_with_nothing() {
    let key = |sub| Key::new(1, KeyKind::Extent, sub);
    // Fourteen bytes in common leave three to the head and none to the items.
    let mut items: Vec<_> = (1..=34).map(|sub| (key(sub), vec![7; 1900])).collect();
    items.push((key(1 << 23), vec![]));
    let mut missing = usize::from(u16::MAX) - (HEADER_BYTES + 35 * SLOT_BYTES + 34 * 1900);
    for (_, value) in items.iter_mut().take(34) {
        let more = missing.min(VALUE_BYTES_MAX - value.len());
        value.resize(1900 + more, 7);
        missing -= more;
    }
    let full = node(0, &items);
    assert_eq!((full.used(), full.bytes().len()), (65535, 65536));
    let read = Node::decode(full.bytes().clone()).unwrap();
    assert_eq!(read.search(key(1 << 23)), Ok(34));
    assert_eq!((read.key(34), read.value(34)), (key(1 << 23), Bytes::new()));
    assert_eq!(read.value(33), vec![7; 1900]);
}

fn keys() -> impl Strategy<Value = Key> {
    let number = || prop_oneof![0..4u64, 0..300u64, any::<u64>(), (0..64u32).prop_map(|bit| 1 << bit)];
    (number(), prop::sample::select(KeyKind::ALL), number()).prop_map(|(object, kind, sub)| Key::new(object, kind, sub))
}

fn items() -> impl Strategy<Value = Vec<(Key, Vec<u8>)>> {
    prop::collection::btree_map(keys(), prop::collection::vec(any::<u8>(), 0..40), 1..200)
        .prop_map(|items: BTreeMap<_, _>| items.into_iter().collect())
}

/// Everything that can be asked of a node.
fn read_all(node: &Node) -> Vec<(Key, Vec<u8>)> {
    let items: Vec<_> = (0..node.len())
        .map(|index| (node.key(index), node.value(index).to_vec()))
        .collect();
    assert!(items.is_sorted_by(|(one, _), (other, _)| one < other));
    assert!(
        items
            .iter()
            .enumerate()
            .all(|(index, (key, _))| node.search(*key) == Ok(index))
    );
    items
}

proptest! {
    #[test]
    fn prop_what_is_written_is_read(items in items(), asked in prop::collection::vec(keys(), 50)) {
        let node = Node::decode(node(0, &items).bytes().clone()).unwrap();
        prop_assert_eq!(read_all(&node), items.clone());
        for key in asked {
            prop_assert_eq!(node.search(key), items.binary_search_by_key(&key, |(key, _)| *key));
        }
    }

    #[test]
    fn prop_whatever_the_bytes_a_node_or_an_error(
        items in items(),
        changes in prop::collection::vec((prop_oneof![0..128usize, any::<usize>()], any::<u8>()), 1..5),
    ) {
        let mut bytes = node(0, &items).bytes().to_vec();
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Ok(node) = Node::decode(bytes.into()) {
            read_all(&node);
        }
    }
}
