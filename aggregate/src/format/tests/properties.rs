//! What is written is read back; whatever is read is a value or an error, and a value is what was written.

use baton_types::{Epoch, FilesetId, Vnode};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::format::{
    Attributes, Batch, BatchHeader, Bitmap, Block, Checksum, Extent, FileKind, Free, History, Inherited, Key, KeyKind,
    Label, Lsn, NameEntry, OpenSegment, Piece, Pointer, Record, RecordKind, Root, Segment, SegmentClass, Slot,
    VALUE_BYTES_MAX, sample,
};

fn checksum() -> impl Strategy<Value = Checksum> {
    any::<[u8; 16]>().prop_map(Checksum)
}

fn block() -> impl Strategy<Value = Block> {
    (1..Block::END.0).prop_map(Block)
}

fn pointer() -> impl Strategy<Value = Pointer> {
    (block(), 1..=u8::MAX, any::<u64>(), checksum()).prop_map(|(block, blocks, birth, checksum)| Pointer {
        block,
        blocks,
        flags: 0,
        birth: Lsn(birth),
        checksum,
    })
}

fn key() -> impl Strategy<Value = Key> {
    let kind = (0..KeyKind::ALL.len()).prop_map(|index| KeyKind::ALL[index]);
    let number = prop_oneof![any::<u64>(), 0..3_u64];
    (number.clone(), kind, number).prop_map(|(object, kind, sub)| Key::new(object, kind, sub))
}

fn record() -> impl Strategy<Value = Record> {
    let kind = (1..=10_u8).prop_map(|number| RecordKind::from_number(number).unwrap());
    let value = vec(any::<u8>(), 0..100).prop_map(Bytes::from);
    let free = (block(), 1..=u16::MAX, any::<u64>()).prop_map(|(block, count, birth)| Free {
        block,
        count,
        birth: Lsn(birth),
    });
    let numbers = (any::<[u64; 5]>(), any::<u16>(), any::<u32>());
    let result = vec(any::<u8>(), 0..=160).prop_map(Bytes::from);
    let lists = (vec((key(), option::of(value)), 0..6), vec(free, 0..4));
    (kind, numbers, result, lists).prop_map(|(kind, (numbers, small, sequence), result, (items, frees))| Record {
        kind,
        flags: small,
        fileset: FilesetId(numbers[0]),
        session: numbers[1],
        stream: small,
        sequence,
        usage_bytes: numbers[2],
        usage_files: numbers[3],
        usage_promised: numbers[4],
        result,
        items,
        frees,
    })
}

fn open_segment() -> impl Strategy<Value = OpenSegment> {
    let class = prop_oneof![Just(SegmentClass::Node), Just(SegmentClass::Data)];
    (any::<u32>(), class, any::<[u8; 2]>()).prop_map(|(segment, class, bitmap)| OpenSegment {
        segment: Segment(segment),
        class,
        bitmap: Bitmap::from_bytes(&bitmap),
    })
}

/// Pieces that follow one another: each of `lens` records, in as many segments as it says.
fn chain() -> impl Strategy<Value = Vec<Piece>> {
    let piece = (1..1_000_u64, vec(any::<u32>(), 1..4), 0..16_u32, checksum());
    (vec(piece, 0..=16), any::<bool>()).prop_map(|(pieces, is_open)| {
        let count = pieces.len() as u64;
        let mut first = Lsn(1);
        let mut chain = Vec::new();
        for (index, (records, segments, offset, before)) in (1..).zip(pieces) {
            let cut = Lsn(first.0 + records - 1);
            chain.push(Piece {
                epoch: Epoch(index),
                first,
                offset,
                before,
                cut: Some(cut).filter(|_| index < count || !is_open),
                segments: segments.into_iter().map(Segment).collect(),
            });
            first = cut.next();
        }
        chain
    })
}

fn root() -> impl Strategy<Value = Root> {
    let pointers = proptest::array::uniform5(option::of(pointer()));
    let inherited = (any::<u64>(), vec(open_segment(), 0..4)).prop_map(|(epoch, open)| Inherited {
        epoch: Epoch(epoch),
        open,
    });
    let past = (any::<u64>(), any::<u64>()).prop_map(|(epoch, cut)| History {
        epoch: Epoch(epoch),
        server: sample::slot().server,
        cut: Lsn(cut),
    });
    let lists = (
        chain(),
        vec(open_segment(), 0..=128),
        vec(any::<u32>(), 0..9),
        vec(inherited, 0..4),
        vec(any::<u64>(), 0..9),
        vec(past, 0..=16),
    );
    (pointers, lists, 1..u64::MAX).prop_map(
        |(pointers, (chain, open, reserve, inherited, quarantine, history), seq)| {
            let [system, space, residue, older, newer] = pointers;
            Root {
                seq,
                system,
                space,
                residue,
                pending: [older, newer],
                chain,
                open,
                log_reserve: reserve.into_iter().map(Segment).collect(),
                inherited,
                quarantine: quarantine.into_iter().map(Epoch).collect(),
                history,
                ..sample::root()
            }
        },
    )
}

/// A good structure with some bytes changed and the end cut off or not.
fn hurt(good: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let changes = vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    (changes, option::of(any::<prop::sample::Index>())).prop_map(move |(changes, cut)| {
        let mut bytes = good.clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(good.len()));
        }
        bytes
    })
}

proptest! {
    #[test]
    fn prop_keys_order_as_their_bytes(one in key(), other in key()) {
        prop_assert_eq!(one.cmp(&other), one.encode().cmp(&other.encode()));
        prop_assert_eq!(Key::decode(&one.encode()).unwrap(), one);
        prop_assert!(Key::FIRST <= one && one <= Key::LAST);
    }

    #[test]
    fn prop_pointers_come_back(pointer in option::of(pointer())) {
        prop_assert_eq!(Pointer::decode_option(&Pointer::encode_option(pointer)).unwrap(), pointer);
    }

    #[test]
    fn prop_roots_come_back(root in root()) {
        let bytes = root.encode().unwrap();
        prop_assert_eq!(Root::decode(&bytes).unwrap(), root);
    }

    #[test]
    fn prop_records_come_back(record in record()) {
        let mut bytes = Vec::new();
        record.encode(&mut bytes).unwrap();
        prop_assert_eq!(bytes.len(), record.encoded_len());
        prop_assert_eq!(Record::decode(&Bytes::from(bytes)).unwrap(), record);
    }

    #[test]
    fn prop_batches_come_back(records in vec(record(), 0..9), after in 0..9_usize) {
        let header = BatchHeader::peek(&sample::batch(), sample::aggregate(), 1 << 20).unwrap();
        let (header, mut bytes) = Batch::encode(header, &records, 1 << 20).unwrap();
        bytes.resize(bytes.len() + after, 0xee);
        let batch = Batch::decode(&Bytes::from(bytes), sample::aggregate(), 1 << 20).unwrap();
        prop_assert_eq!(batch.header, header);
        let read: Vec<_> = batch.records().map(|record| record.unwrap()).collect();
        prop_assert_eq!(read.last().map_or(Lsn(header.first.0 - 1), |&(lsn, _)| lsn), header.last());
        prop_assert_eq!(read.into_iter().map(|(_, record)| record).collect::<Vec<_>>(), records);
    }

    #[test]
    fn prop_names_come_back(names in vec(("[^/\0]{1,60}", 1..1_u64 << 40, any::<u64>(), 0..8_usize), 1..5)) {
        let entry = |(name, vnode, unique, kind): (String, u64, u64, usize)| NameEntry {
            vnode: Vnode::new(vnode).unwrap(),
            unique,
            kind: FileKind::ALL[kind],
            name: if name == "." || name == ".." { b"dots".to_vec() } else { name.into_bytes() },
        };
        let entries: Vec<_> = names.into_iter().map(entry).collect();
        prop_assert_eq!(NameEntry::decode_all(&NameEntry::encode_all(&entries)).unwrap(), entries);
    }

    #[test]
    fn prop_extents_come_back(block in block(), count in 1..=64_u8, unit_shift in 12..=18_u8, fill in any::<u8>()) {
        let units = (usize::from(count) * 4096).div_ceil(1 << unit_shift);
        let extent = Extent { unit_shift, block, count, checksums: vec![Checksum([fill; 16]); units], ..sample::extent() };
        let bytes = extent.encode();
        prop_assert!(bytes.len() <= VALUE_BYTES_MAX);
        prop_assert_eq!(Extent::decode(&bytes).unwrap(), extent);
    }

    #[test]
    fn prop_any_bytes_are_a_value_or_an_error(bytes in vec(any::<u8>(), 0..300)) {
        sample::decode_values(&bytes);
        prop_assert!(Label::decode(&bytes).is_err() && Slot::decode(&bytes).is_err() && Root::decode(&bytes).is_err());
        drop(Record::decode(&Bytes::from(bytes.clone())));
        prop_assert!(Batch::decode(&Bytes::from(bytes), sample::aggregate(), 1 << 20).is_err());
    }

    /// What is accepted is written just as it was read: there is one way to write a thing.
    #[test]
    fn prop_changed_structures_are_refused_or_canonical(
        label in hurt(sample::label().encode()),
        slot in hurt(sample::slot().encode().unwrap()),
        root in hurt(sample::root().encode().unwrap()),
        batch in hurt(sample::batch()),
        attributes in hurt(sample::attributes().encode()),
    ) {
        let label = sample::resealed(&label);
        if let Ok(read) = Label::decode(&label) {
            prop_assert_eq!(read.encode(), label);
        }
        let slot = sample::resealed(&slot);
        if let Ok(read) = Slot::decode(&slot) {
            prop_assert_eq!(read.encode().unwrap(), slot);
        }
        let root = sample::resealed(&root);
        if let Ok(read) = Root::decode(&root) {
            prop_assert_eq!(read.encode().unwrap(), root);
        }
        let batch = sample::rebatched(&batch);
        if let Ok(read) = Batch::decode(&batch.clone().into(), sample::aggregate(), 1 << 20) {
            let records = read.records().map(|record| record.map(|(_, record)| record)).collect::<Result<Vec<_>, _>>();
            if let Ok(records) = records {
                prop_assert_eq!(Batch::encode(read.header, &records, 1 << 20).unwrap().1, batch);
            }
        }
        if let Ok(read) = Attributes::decode(&attributes) {
            prop_assert_eq!(read.encode(), attributes);
        }
    }

    #[test]
    fn prop_changed_values_are_values_or_errors(value in (0..sample::values().len()).prop_flat_map(|index| {
        hurt(sample::values().swap_remove(index).1)
    })) {
        sample::decode_values(&value);
    }
}
