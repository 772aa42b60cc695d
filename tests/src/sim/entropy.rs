//! The operating system's randomness, replaced on the threads that replay a history.
//!
//! Cores draw from their [`Seed`]; what lies around them does not ask: a `HashMap` seeds itself, a library calls
//! `rand::rng()`, a temporary file wants a name. All of them end in `getrandom`, which the program `sim` defines
//! itself and answers from here. Sources that were not sown answer nothing, and the real system call is made.

use std::cell::Cell;

use super::Seed;

thread_local! {
    // A value without destructor: `getrandom` may be called while the thread begins or ends.
    static SOWN: Cell<Option<u64>> = const { Cell::new(None) };
}

/// From now on this thread's randomness follows from `number`.
pub fn sow(number: u64) {
    SOWN.set(Some(number));
}

/// Fills `bytes` with this thread's seeded randomness; false, and nothing done, on a thread that was not sown.
pub fn fill(bytes: &mut [u8]) -> bool {
    let Some(number) = SOWN.get() else { return false };
    let mut seed = Seed::new(number);
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&seed.draw().to_le_bytes()[..chunk.len()]);
    }
    SOWN.set(Some(seed.draw()));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(number: u64) -> [[u8; 13]; 2] {
        let mut bytes = [[0; 13]; 2];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                sow(number);
                assert!(bytes.iter_mut().all(|bytes| fill(bytes)));
            });
        });
        bytes
    }

    #[test]
    fn same_number_fills_the_same() {
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
    }

    #[test]
    fn second_call_goes_on() {
        let [first, second] = drawn(1);
        assert_ne!(first, second);
    }

    #[test]
    fn other_threads_are_left_alone() {
        let mut bytes = [0; 8];
        assert!(!fill(&mut bytes));
        assert_eq!(bytes, [0; 8]);
    }
}
