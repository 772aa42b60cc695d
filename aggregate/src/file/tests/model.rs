//! A file against a map of its bytes, over layers and trees, through checkpoints and power cuts.

use std::collections::BTreeMap;

use baton_types::call::{Allocate, At};
use proptest::prelude::*;

use super::*;

/// Bytes that are not zero.
#[derive(Default)]
struct Model {
    bytes: BTreeMap<u64, u8>,
    size: u64,
}

impl Model {
    fn write(&mut self, offset: u64, bytes: &[u8]) {
        for (at, byte) in (offset..).zip(bytes) {
            self.bytes.insert(at, *byte);
        }
        self.size = self.size.max(offset + bytes.len() as u64);
    }

    fn truncate(&mut self, size: u64) {
        self.bytes.split_off(&size);
        self.size = size;
    }

    fn punch(&mut self, range: std::ops::Range<u64>, how: Allocate) {
        match how {
            Allocate::PunchHole | Allocate::Zero => self.bytes.retain(|at, _| !range.contains(at)),
            Allocate::Extend | Allocate::KeepSize => {}
        }
        if matches!(how, Allocate::Extend | Allocate::Zero) {
            self.size = self.size.max(range.end);
        }
    }

    fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let end = (offset + len as u64).min(self.size).max(offset);
        let mut bytes = vec![0; (end - offset) as usize];
        for (at, byte) in self.bytes.range(offset..end) {
            bytes[(at - offset) as usize] = *byte;
        }
        bytes
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write { offset: u64, len: usize, seed: u8 },
    Append { len: usize, seed: u8 },
    Truncate { size: u64 },
    Fallocate { offset: u64, len: usize, how: Allocate },
    Read { offset: u64, len: usize },
    Seek { offset: u64, sought: Sought },
    Commit,
    Checkpoint,
    PowerCut,
}

/// Near the start, at the edges of blocks, and far away.
fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..3_000u64,
        6 => 0..300_000u64,
        3 => (0..80u64).prop_map(|block| block * BLOCK),
        1 => (1 << 40)..(1 << 40) + 20_000u64,
    ]
}

fn len() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 1..2_000usize, 4 => 1..20_000usize, 2 => (1..8usize).prop_map(|n| n * BLOCK_BYTES), 1 => 60_000..150_000usize]
}

fn step() -> impl Strategy<Value = Step> {
    let how = prop_oneof![
        4 => Just(Allocate::PunchHole),
        2 => Just(Allocate::Zero),
        1 => Just(Allocate::Extend),
        1 => Just(Allocate::KeepSize),
    ];
    let near = prop_oneof![0..3_000u64, 0..300_000u64, (0..80u64).prop_map(|block| block * BLOCK)];
    let sought = prop_oneof![Just(Sought::Data), Just(Sought::Hole)];
    prop_oneof![
        10 => (offset(), len(), any::<u8>()).prop_map(|(offset, len, seed)| Step::Write { offset, len, seed }),
        2 => (len(), any::<u8>()).prop_map(|(len, seed)| Step::Append { len, seed }),
        3 => offset().prop_map(|size| Step::Truncate { size }),
        4 => (near, len(), how).prop_map(|(offset, len, how)| Step::Fallocate { offset, len, how }),
        6 => (offset(), 1..200_000usize).prop_map(|(offset, len)| Step::Read { offset, len }),
        3 => (offset(), sought).prop_map(|(offset, sought)| Step::Seek { offset, sought }),
        2 => Just(Step::Commit),
        2 => Just(Step::Checkpoint),
        1 => Just(Step::PowerCut),
    ]
}

fn check_seek(bed: &Bed, model: &Model, offset: u64, sought: Sought) {
    let found = seek(&bed.fileset, bed.fid, offset, sought).unwrap();
    match (sought, found) {
        (_, None) if offset >= model.size => {}
        (Sought::Data, found) => {
            let next = model.bytes.range(offset..).next().map(|(at, _)| *at);
            assert!(
                found.unwrap_or(u64::MAX) <= next.unwrap_or(u64::MAX),
                "data at {next:?} was passed over"
            );
            assert!(found.is_none_or(|found| found >= offset && found < model.size));
        }
        (Sought::Hole, Some(found)) => {
            assert!(found >= offset && found <= model.size);
            let end = (found / BLOCK + 1) * BLOCK;
            assert_eq!(
                model.bytes.range(found..end.max(found)).next(),
                None,
                "data in the hole at {found}"
            );
        }
        (Sought::Hole, None) => panic!("a file has a hole at its end at least"),
    }
}

fn run(steps: &[Step], seed: u64) {
    let mut bed = Bed::new(seed);
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Write { offset, len, seed } => {
                let bytes = pattern(*seed, *len);
                model.write(*offset, &bytes);
                assert_eq!(bed.write(*offset, &bytes).attributes.size, model.size);
            }
            Step::Append { len, seed } => {
                let bytes = pattern(*seed, *len);
                model.write(model.size, &bytes);
                let operation = Operation::default();
                let done = write_as(&bed.fileset, &operation, (bed.fid, At::End), &bytes, &mut as_it_is);
                assert_eq!(answer(done).attributes.size, model.size);
            }
            Step::Fallocate { offset, len, how } => {
                let range = *offset..*offset + *len as u64;
                model.punch(range.clone(), *how);
                assert_eq!(bed.fallocate(range, *how).attributes.size, model.size);
            }
            Step::Truncate { size } => {
                model.truncate(*size);
                assert_eq!(bed.truncate(*size).attributes.size, *size);
            }
            Step::Read { offset, len } => {
                assert!(bed.read(*offset, *len)[..] == model.read(*offset, *len)[..], "{step:?}");
            }
            Step::Seek { offset, sought } => check_seek(&bed, &model, *offset, *sought),
            Step::Commit => bed.commit(),
            Step::Checkpoint => bed.aggregate.checkpoint().unwrap(),
            Step::PowerCut => {
                bed.commit();
                bed.reopen();
            }
        }
        bed.check();
    }
    assert!(bed.read(0, 1 << 20)[..] == model.read(0, 1 << 20)[..], "at the end");
    assert!(
        bed.read(1 << 40, 1 << 20)[..] == model.read(1 << 40, 1 << 20)[..],
        "far away at the end"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn prop_file_equals_model(steps in prop::collection::vec(step(), 1..60), seed in any::<u64>()) {
        run(&steps, seed);
    }
}
