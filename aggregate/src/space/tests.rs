//! Open segments: when they may be closed.

use baton_types::Epoch;

use super::Space;
use crate::format::{Bitmap, Geometry, SegmentClass};
use crate::live::LiveTree;

#[test]
fn segment_with_a_write_in_flight_or_unrecorded_at_the_freeze_is_not_closed() {
    let geometry = Geometry::new(200 * (64 << 10), 64 << 10, 8 << 10).unwrap();
    let segment = geometry.first_segment();
    let mut space = Space::new(geometry, Epoch(1), LiveTree::default(), segment);
    space.opened(SegmentClass::Data, vec![(segment, Bitmap::free(16))]);
    let first = space.take(SegmentClass::Data, 15).unwrap();
    let last = space.take(SegmentClass::Data, 1).unwrap();
    first.iter().for_each(|run| space.record(*run));
    // The last block is on its way to the disk.
    space.freeze();
    assert!(space.close().is_empty());
    last.iter().for_each(|run| space.record(*run));
    // Its record comes after the freeze: the root that is being made does not know it.
    assert!(space.close().is_empty());
    space.freeze();
    let closed = space.close();
    assert_eq!(closed.len(), 1);
    assert_eq!(closed[0].2.room(), 0);
}
