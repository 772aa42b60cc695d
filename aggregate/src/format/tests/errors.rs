//! What each damage is told as, and what to do about it.

use baton_types::Kind;
use bytes::Bytes;

use crate::format::{Batch, Features, Geometry, Label, Lsn, Record, Root, Segment, Slot, sample};

fn with(bytes: &[u8], at: usize, value: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + value.len()].copy_from_slice(value);
    bytes
}

#[test]
fn flipped_bit_in_a_version_is_damage_not_a_newer_baton() {
    let sealed = [
        sample::label().encode(),
        sample::slot().encode().unwrap(),
        sample::root().encode().unwrap(),
    ];
    for good in sealed {
        let flipped = with(&good, 4, &[3]);
        let newer = sample::resealed(&flipped);
        let kinds = |bytes: &[u8]| {
            let errors = [
                Label::decode(bytes).err(),
                Slot::decode(bytes).err(),
                Root::decode(bytes).err(),
            ];
            errors.map(|error| error.unwrap().kind)
        };
        assert_eq!(kinds(&flipped), [Kind::Damaged; 3]);
        assert!(kinds(&newer).contains(&Kind::Version));
    }
}

#[test]
fn unknown_incompatible_feature_is_refused_with_a_way_out() {
    let mut label = sample::label();
    label.features.incompat = 8;
    let error = Label::decode(&label.encode()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "label: it uses features of the format that are unknown here (0x8); use the newer Baton that wrote it"
    );
    assert_eq!(error.kind, Kind::Version);
}

#[test]
fn unknown_read_only_feature_leaves_an_aggregate_readable() {
    let mut label = sample::label();
    label.features = Features {
        compat: 1,
        ro_compat: 4,
        incompat: 0,
    };
    let label = Label::decode(&label.encode()).unwrap();
    let error = label.may_be_written().unwrap_err();
    assert_eq!(error.kind, Kind::Version);
    assert!(error.to_string().contains("it can only be read here"), "{error}");
    sample::label().may_be_written().unwrap();
}

#[test]
fn one_good_copy_of_a_label_is_enough_two_torn_ones_are_not() {
    let good = sample::label().encode();
    let torn = with(&good, 100, b"\xff");
    let nothing = vec![0; good.len()];
    assert_eq!(Label::of_copies(&good, &torn).unwrap(), sample::label());
    assert_eq!(Label::of_copies(&nothing, &good).unwrap(), sample::label());
    let error = Label::of_copies(&torn, &torn).unwrap_err();
    assert_eq!(error.kind, Kind::Damaged);
    assert!(
        error.to_string().starts_with("label: both copies are damaged; "),
        "{error}"
    );
    let error = Label::of_copies(&nothing, &nothing).unwrap_err();
    assert_eq!(
        error.to_string(),
        "label: this device holds no aggregate; check its name; newaggr makes an aggregate"
    );
    assert_eq!(error.kind, Kind::NotFound);
}

#[test]
fn labels_of_two_aggregates_on_one_device_are_refused() {
    let mut other = sample::label();
    other.id = baton_types::AggregateId::random();
    let error = Label::of_copies(&sample::label().encode(), &other.encode()).unwrap_err();
    assert_eq!(error.kind, Kind::Damaged);
    assert!(error.to_string().contains("its copies differ"), "{error}");
}

#[test]
fn newer_label_beside_a_torn_one_is_newer() {
    let mut newer = sample::label();
    newer.features.incompat = 8;
    let error = Label::of_copies(&[0; 4096], &newer.encode()).unwrap_err();
    assert_eq!(error.kind, Kind::Version);
}

#[test]
fn unknown_record_kind_is_an_error_and_not_the_end() {
    let mut bytes = Vec::new();
    sample::record().encode(&mut bytes).unwrap();
    let of = |at, value| {
        Record::decode(&Bytes::from(with(&bytes, at, &[value])))
            .unwrap_err()
            .kind
    };
    assert_eq!(of(4, 2), Kind::Version);
    assert_eq!(of(5, 11), Kind::Version);
    assert_eq!(of(5, 0), Kind::Version);
    assert_eq!(of(60, 1), Kind::Damaged);
    assert_eq!(of(0, 1), Kind::Damaged);
}

#[test]
fn batch_of_another_aggregate_is_none() {
    let bytes = Bytes::from(sample::batch());
    let error = Batch::decode(&bytes, baton_types::AggregateId::random(), 1 << 20).unwrap_err();
    assert_eq!(error.kind, Kind::Damaged);
}

#[test]
fn batch_longer_than_the_geometry_allows_is_none() {
    let bytes = Bytes::from(sample::batch());
    assert!(Batch::decode(&bytes, sample::aggregate(), bytes.len()).is_ok());
    assert!(Batch::decode(&bytes, sample::aggregate(), bytes.len() - 1).is_err());
}

#[test]
fn settled_is_never_of_the_batch_itself() {
    let mut bytes = sample::batch();
    bytes[40..48].copy_from_slice(&5_001_u64.to_le_bytes());
    let bytes = Bytes::from(sample::rebatched(&bytes));
    assert!(Batch::decode(&bytes, sample::aggregate(), 1 << 20).is_err());
}

#[test]
fn root_whose_pieces_leave_a_gap_is_damaged() {
    let mut root = sample::root();
    root.chain[1].first = Lsn(5_002);
    assert_eq!(Root::decode(&root.encode().unwrap()).unwrap_err().kind, Kind::Damaged);
    root.chain[1].first = Lsn(5_001);
    root.chain[0].cut = None;
    assert_eq!(Root::decode(&root.encode().unwrap()).unwrap_err().kind, Kind::Damaged);
}

#[test]
fn root_that_does_not_fit_is_not_written() {
    let mut root = sample::root();
    root.log_reserve = vec![Segment(1); 1 << 14];
    assert_eq!(root.encode().unwrap_err().kind, Kind::Limit);
    root = sample::root();
    root.chain = vec![root.chain[0].clone(); 17];
    assert_eq!(root.encode().unwrap_err().kind, Kind::Limit);
}

#[test]
fn largest_root_of_a_checkpoint_fits() {
    let geometry = Geometry::usual(1 << 40).unwrap();
    let mut root = sample::root();
    let mut open = root.open[0].clone();
    open.bitmap = crate::format::Bitmap::free(geometry.segment_blocks());
    root.inherited.clear();
    root.open = vec![open.clone(); Root::OPEN_MAX];
    root.chain.drain(..1);
    // 32 MiB of records, the hard bound, with as much again for the generation that is kept.
    root.chain[0].segments = vec![Segment(9); 16];
    root.history = vec![root.history[0]; Root::HISTORY_MAX];
    assert!(root.encode().unwrap().len() <= 20 << 10);
    root.inherited = vec![
        crate::format::Inherited {
            epoch: root.epoch,
            open: vec![open; Root::OPEN_MAX]
        };
        2
    ];
    assert!(root.encode().unwrap().len() <= Geometry::ROOT_BYTES_MAX);
}

#[test]
fn geometry_refuses_what_is_too_small_and_says_how_much_is_needed() {
    let error = Geometry::new(1 << 20, 64 << 10, 8 << 10).unwrap_err();
    assert_eq!(error.kind, Kind::NoSpace);
    assert_eq!(
        error.to_string(),
        "device: 1048576 bytes are too few for an aggregate; give it at least 9506816 bytes"
    );
    let least = Geometry::new(9_506_816, 64 << 10, 8 << 10).unwrap();
    assert_eq!(least.segment_count(), Geometry::SEGMENTS_MIN);
    assert!(Geometry::new(9_506_815, 64 << 10, 8 << 10).is_err());
    for (segment, node) in [
        (32 << 10, 8 << 10),
        (8 << 20, 8 << 10),
        (100_000, 8 << 10),
        (1 << 20, 2 << 10),
    ] {
        assert_eq!(Geometry::new(1 << 40, segment, node).unwrap_err().kind, Kind::Invalid);
    }
}

#[test]
fn geometry_grows_around_the_second_copy_of_the_label() {
    let born = sample::geometry();
    let (segment, label) = (u64::from(born.segment_bytes), born.end_segment());
    let next = born.next_larger();
    let same = born.on(next - 1).unwrap();
    assert_eq!(same.segment_count(), born.segment_count());
    assert_eq!((same.next_larger(), same.label_offsets()), (next, born.label_offsets()));
    let grown = same.on(next).unwrap();
    assert_eq!(grown.segment_count(), born.segment_count() + 1);
    assert_eq!(grown.next_larger(), next + segment);
    assert!(!grown.has_segment(label) && grown.has_segment(Segment(label.0 + 1)));
    assert!(!grown.has_blocks(grown.first_block(label), 1));
    let from = |first: u32| {
        grown
            .segments_from(Segment(first))
            .map(|segment| segment.0)
            .collect::<Vec<_>>()
    };
    for first in label.0 - 1..=label.0 + 2 {
        assert_eq!(from(first).len() as u32, grown.count_from(Segment(first)), "{first}");
    }
    assert_eq!(from(label.0 - 1), [label.0 - 1, label.0 + 1]);
    let error = grown.on(born.device_bytes - 1).unwrap_err();
    assert_eq!(error.kind, Kind::Invalid, "{error}");
}

#[test]
fn geometry_puts_everything_where_the_page_says() {
    let geometry = Geometry::usual(16 << 30).unwrap();
    assert_eq!(geometry.segment_bytes, 4 << 20);
    assert_eq!(geometry.first_segment(), Segment(1));
    assert_eq!(geometry.end_segment(), Segment(4095));
    assert_eq!(geometry.label_offsets(), [0, (16 << 30) - 4096]);
    let small = Geometry::usual(8 << 30).unwrap();
    assert_eq!(small.segment_bytes, 4 << 20);
    let smaller = Geometry::usual((8 << 30) - 1).unwrap();
    assert_eq!((smaller.segment_bytes, smaller.first_segment()), (1 << 20, Segment(2)));
    assert_eq!(smaller.device_bytes % 4096, 0);
    assert_eq!(Geometry::slot_offset(7), 32 << 10);
    assert_eq!(
        Geometry::root_offset(7, crate::format::RootPlace::B),
        (64 << 10) + (15 << 16)
    );
    let tiny = sample::geometry();
    assert!(tiny.has_blocks(tiny.first_block(tiny.first_segment()), 16));
    assert!(!tiny.has_blocks(tiny.first_block(tiny.first_segment()), 17));
    assert!(!tiny.has_blocks(tiny.first_block(Segment(1)), 1));
    assert!(!tiny.has_blocks(tiny.first_block(tiny.end_segment()), 1));
    assert_eq!(tiny.batch_bytes_max(), 64 << 10);
}
