//! What may be done, drawn at random.

use baton_types::{FilesetId, Timestamp};
use proptest::prelude::{Just, Strategy, any, prop_oneof};

use super::model::New;
use crate::fileset::{Holders, Onto, SetAttributes, SetXattr};
use crate::format::{FileKind, MountPoint};

/// Which of the files made so far.
pub type Slot = u16;
/// Which of a few names.
pub type Text = u8;

/// Something to be done, to the store and to the model.
#[derive(Clone, Debug)]
pub enum Act {
    Make(Slot, Text, New, Reuse),
    Link(Slot, Text, Slot),
    Unlink(Slot, Text, Holders),
    Rmdir(Slot, Text, Holders),
    RemoveMountPoint(Slot, Text),
    Rename((Slot, Text), (Slot, Text), Onto),
    Set(Slot, SetAttributes, Option<Vec<u8>>),
    SetXattr(Slot, Text, Vec<u8>, SetXattr),
    RemoveXattr(Slot, Text),
    Grow(Slot, u64),
    Step(Slot),
    Lookup(Slot, Text),
    Freeze,
    Merge,
}

/// Whether a new file comes with a vnode that was used before.
#[derive(Clone, Copy, Debug)]
pub enum Reuse {
    No,
    Of(Slot),
}

fn new() -> impl Strategy<Value = New> {
    let kind = prop_oneof![
        6 => Just(FileKind::Directory),
        4 => Just(FileKind::Regular),
        2 => proptest::sample::select(FileKind::ALL.to_vec()),
    ];
    let target = prop_oneof![4 => 1_usize..20, 1 => 1_usize..4_096];
    (kind, target, any::<u64>(), any::<u32>(), acl()).prop_map(|(kind, target, device, mode, acl)| New {
        kind,
        target: vec![b't'; target],
        device,
        mount: MountPoint::Regular(FilesetId(device | 1)),
        mode,
        acl,
    })
}

fn acl() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => Just(0), 1 => 0_u16..4].prop_map(|index| vec![index as u8; usize::from(index) * 1_500])
}

fn set() -> impl Strategy<Value = SetAttributes> {
    let time = || proptest::option::of(any::<i64>().prop_map(Timestamp));
    let number = || proptest::option::of(any::<u32>());
    (number(), number(), number(), time(), time()).prop_map(|(mode, uid, gid, accessed, modified)| SetAttributes {
        mode,
        uid,
        gid,
        accessed,
        modified,
    })
}

fn holders() -> impl Strategy<Value = Holders> {
    proptest::sample::select(vec![Holders::Nobody, Holders::Somebody])
}

fn onto() -> impl Strategy<Value = Onto> {
    prop_oneof![4 => holders().prop_map(Onto::Anything), 1 => Just(Onto::Nothing), 2 => Just(Onto::Exchange)]
}

pub fn act() -> impl Strategy<Value = Act> {
    let slot = any::<Slot>;
    let text = || 0..8_u8;
    let place = move || (slot(), text());
    let reuse = prop_oneof![20 => Just(Reuse::No), 1 => slot().prop_map(Reuse::Of)];
    let how = proptest::sample::select(vec![SetXattr::Always, SetXattr::Create, SetXattr::Replace]);
    let value = prop_oneof![8 => 0..40_usize, 1 => 1_900..6_000_usize, 1 => Just(65_536)].prop_map(|len| vec![7; len]);
    prop_oneof![
        12 => (slot(), text(), new(), reuse).prop_map(|(d, n, new, reuse)| Act::Make(d, n, new, reuse)),
        3 => (slot(), text(), slot()).prop_map(|(d, n, f)| Act::Link(d, n, f)),
        4 => (slot(), text(), holders()).prop_map(|(d, n, h)| Act::Unlink(d, n, h)),
        3 => (slot(), text(), holders()).prop_map(|(d, n, h)| Act::Rmdir(d, n, h)),
        1 => (slot(), text()).prop_map(|(d, n)| Act::RemoveMountPoint(d, n)),
        12 => (place(), place(), onto()).prop_map(|(s, t, o)| Act::Rename(s, t, o)),
        2 => (slot(), set(), proptest::option::of(acl())).prop_map(|(f, s, a)| Act::Set(f, s, a)),
        4 => (slot(), text(), value, how).prop_map(|(f, n, v, h)| Act::SetXattr(f, n, v, h)),
        1 => (slot(), text()).prop_map(|(f, n)| Act::RemoveXattr(f, n)),
        2 => (slot(), 1_u64..80).prop_map(|(f, n)| Act::Grow(f, n)),
        2 => slot().prop_map(Act::Step),
        3 => (slot(), text()).prop_map(|(d, n)| Act::Lookup(d, n)),
        1 => Just(Act::Freeze),
        1 => Just(Act::Merge),
    ]
}
