//! Histories that an order explains, and such that none does.

use super::{Object, Timed, When, check};

struct Register;

#[derive(Clone, Copy, Debug)]
enum Call {
    Write(u8),
    Read(u8),
}
use Call::{Read, Write};

impl Object for Register {
    type State = u8;
    type Call = Call;

    fn initial(&self) -> u8 {
        0
    }

    fn after(&self, state: &u8, call: &Call) -> Option<u8> {
        match call {
            Write(value) => Some(*value),
            Read(value) => (value == state).then_some(*state),
        }
    }
}

fn is_sound(calls: &[(u64, u64, Call)]) -> bool {
    let timed: Vec<_> = calls
        .iter()
        .map(|(begun, ended, call)| Timed {
            when: When {
                mount: 1,
                begun: *begun,
                ended: *ended,
            },
            call: *call,
        })
        .collect();
    check(&Register, &timed).is_ok()
}

#[test]
fn overlapping_calls_may_take_effect_in_any_order() {
    assert!(is_sound(&[(0, 10, Write(1)), (2, 3, Read(0)), (4, 5, Read(1))]));
    assert!(is_sound(&[(0, 10, Write(1)), (0, 10, Write(2)), (11, 12, Read(1))]));
    assert!(is_sound(&[
        (0, 1, Read(0)),
        (0, 9, Write(1)),
        (2, 3, Read(1)),
        (4, 5, Read(1))
    ]));
}

#[test]
fn an_old_value_after_a_new_one_is_found() {
    assert!(!is_sound(&[(0, 10, Write(1)), (2, 3, Read(1)), (4, 5, Read(0))]));
    assert!(!is_sound(&[(0, 1, Write(1)), (2, 3, Read(0))]));
}

#[test]
fn a_lost_write_and_a_value_from_nowhere_are_found() {
    assert!(!is_sound(&[(0, 1, Write(1)), (2, 3, Write(2)), (4, 5, Read(1))]));
    assert!(!is_sound(&[(0, 1, Read(7))]));
}

#[test]
fn two_readers_that_disagree_about_the_order_are_found() {
    let writes = [(0, 20, Write(1)), (0, 20, Write(2))];
    let reads = [(21, 22, Read(1)), (23, 24, Read(2))];
    assert!(!is_sound(&[writes[0], writes[1], reads[0], reads[1]]));
}
