//! `getrandom`, for this whole program: seeded on the threads of histories, the kernel's elsewhere.
//!
//! The linker prefers a program's own symbol to the C library's, so the standard library, `rand` and `uuid` all
//! come here. Nothing in a history may be drawn that its seed does not decide.

use std::ffi::{c_uint, c_void};

use baton_tests::sim::entropy;

/// As getrandom(2).
///
/// # Safety
/// `buffer` points to `len` bytes that may be written.
#[expect(
    unsafe_code,
    reason = "takes the place of a C function: its name and its arguments are C's"
)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, len: usize, flags: c_uint) -> isize {
    if len == 0 {
        return 0;
    }
    // SAFETY: the caller promises `len` writable bytes; they are zeroed before a reference to them exists, since
    // nobody promises that they were ever written.
    let bytes = unsafe {
        buffer.cast::<u8>().write_bytes(0, len);
        std::slice::from_raw_parts_mut(buffer.cast::<u8>(), len)
    };
    if entropy::fill(bytes) {
        return isize::try_from(len).unwrap_or(isize::MAX);
    }
    // SAFETY: the same buffer and length. The plain system call, since the C library's function is this one.
    let written = unsafe { libc::syscall(libc::SYS_getrandom, buffer, len, flags) };
    isize::try_from(written).unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::hash::{BuildHasher, RandomState};

    use baton_tests::sim::registry::Simulation;
    use baton_tests::sim::{Trace, runner};
    use rand::RngExt;

    /// Everything a history might draw behind our back.
    fn drawn(seed: u64) -> u64 {
        let simulation = Simulation {
            name: "draws",
            about: "randomness of the standard library and of others",
            history: |seed| {
                let mut trace = Trace::new(seed);
                let order: Vec<u32> = (0..50)
                    .map(|key| (key, ()))
                    .collect::<HashMap<_, _>>()
                    .into_keys()
                    .collect();
                trace.note(0, "std", format_args!("{} {order:?}", RandomState::new().hash_one(1)));
                trace.note(0, "rand", format_args!("{}", rand::rng().random::<u64>()));
                trace.note(0, "uuid", format_args!("{}", uuid::Uuid::new_v4()));
                Ok(trace)
            },
        };
        runner::history(&simulation, seed, 10).unwrap().hash()
    }

    #[test]
    fn history_draws_only_from_its_seed() {
        for seed in 0..50 {
            assert_eq!(drawn(seed), drawn(seed), "seed {seed}");
        }
        assert_ne!(drawn(1), drawn(2));
    }

    #[test]
    fn other_threads_keep_the_kernels_randomness() {
        assert_ne!(uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
        let on_a_new_thread = || std::thread::spawn(|| RandomState::new().hash_one(1)).join().unwrap();
        assert_ne!(on_a_new_thread(), on_a_new_thread());
    }
}
