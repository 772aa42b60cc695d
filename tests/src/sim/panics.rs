//! `caught`: a panic becomes a sentence.
//!
//! A core ends its process by an `assert!` when an invariant is broken (I10). In a simulation that is a finding
//! like any other and has to come with its seed, so it must not end the program. Only the first panic counts: a
//! destructor that trips over a poisoned lock afterwards hides the cause.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

thread_local! {
    /// How many calls of `caught` this thread is in.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static FIRST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Does `work`; if it panics, returns what was said and where instead of printing it.
///
/// # Errors
/// The first panic's message and place. What `work` had borrowed may be half changed then: report and stop.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(
            move |info| if DEPTH.get() > 0 { remember(info) } else { usual(info) },
        ));
    });
    DEPTH.set(DEPTH.get() + 1);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    DEPTH.set(DEPTH.get() - 1);
    result.map_err(|_| FIRST.take().unwrap_or_else(|| "panicked without a word".to_owned()))
}

/// The first panic within [`caught`] that somebody else caught and kept to himself: a runtime, of one of its tasks.
pub fn swallowed() -> Option<String> {
    FIRST.take()
}

fn remember(info: &PanicHookInfo<'_>) {
    let what = info.payload_as_str().unwrap_or("panicked");
    let place = info
        .location()
        .map(|place| format!(" ({}:{})", place.file(), place.line()))
        .unwrap_or_default();
    FIRST.with_borrow_mut(|first| {
        first.get_or_insert_with(|| format!("{what}{place}"));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_is_told_with_its_place() {
        let said = caught(|| panic!("two owners of {}", "agg1")).unwrap_err();
        assert!(
            said.starts_with("two owners of agg1 (") && said.contains("panics.rs:"),
            "{said}"
        );
        assert_eq!(caught(|| 5), Ok(5));
    }

    #[test]
    fn first_panic_is_the_one_told() {
        struct Careless;
        impl Drop for Careless {
            fn drop(&mut self) {
                let _ = panic::catch_unwind(|| panic!("poisoned"));
            }
        }
        let said = caught(|| {
            let _careless = Careless;
            panic!("the cause");
        });
        assert!(said.unwrap_err().starts_with("the cause"));
    }

    #[test]
    fn panic_that_a_runtime_swallowed_is_not_lost() {
        let swallowed = caught(|| {
            let _ = panic::catch_unwind(|| panic!("in a task"));
            swallowed()
        });
        assert!(swallowed.unwrap().unwrap().starts_with("in a task ("));
    }

    #[test]
    fn inner_catch_tells_its_own() {
        let said = caught(|| caught(|| panic!("inner")).map_err(|inner| panic!("outer after {inner}")));
        assert!(said.unwrap_err().starts_with("outer after inner"));
    }
}
