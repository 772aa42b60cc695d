//! Random operations, each held against the model; then a walk through all there is.

use proptest::proptest;

use super::acts::act;
use super::pair::Pair;
use crate::fileset::Names;
use crate::format::HashKey;

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 128, failure_persistence: None, ..Default::default() })]

    #[test]
    fn prop_operations_equal_a_model_file_system(
        acts in proptest::collection::vec(act(), 1..300),
        mask in proptest::sample::select(vec![u64::MAX, 0x30]),
    ) {
        let mut pair = Pair::new(Names::cut(HashKey([9; 16]), mask));
        for (index, act) in acts.iter().enumerate() {
            pair.act(act);
            if index % 64 == 63 {
                pair.check();
            }
        }
        pair.check();
    }
}
