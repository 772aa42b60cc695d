//! Programs that came by a name to a file that was gone before they could use it.
//!
//! The kernel finds a name's file, and then asks something about the file. In between another machine may take the
//! name away, or put another file there. Such a question is refused (`ESTALE`), and the kernel looks at all names of
//! the path again, once: where names change all the time the program would see the error. So the second time what its
//! names lead to is kept open for a while, and does not go away again.

use std::collections::HashMap;
use std::sync::Arc;

use baton_types::{Clock, Time};
use parking_lot::Mutex;

/// The kernel looks again at once; after so long, in microseconds, the thread does something else.
const AGAIN: Time = 1_000_000;
/// So long what is found the second time is kept open, in microseconds: a program on a machine with much to do.
pub const KEPT: Time = 10_000_000;
/// A thread that looks again finds another file each time that it asks for the one it found: after so many it is told.
pub const TRIES_MAX: u32 = 100;

/// Threads that met one lately, and when.
pub struct Gone {
    clock: Arc<dyn Clock>,
    threads: Mutex<HashMap<u32, Time>>,
}

impl Gone {
    /// Nobody met one.
    pub fn new(clock: Arc<dyn Clock>) -> Gone {
        Gone {
            clock,
            threads: Mutex::default(),
        }
    }

    /// `thread` is told that a file is gone.
    pub fn met(&self, thread: u32) {
        let (now, mut threads) = (self.clock.now(), self.threads.lock());
        threads.retain(|_, met| now < *met + AGAIN);
        threads.insert(thread, now);
    }

    /// Whether what `thread` asks for now it asks for again.
    pub fn looks_again(&self, thread: u32) -> bool {
        let threads = self.threads.lock();
        threads.get(&thread).is_some_and(|met| self.clock.now() < *met + AGAIN)
    }
}

#[cfg(test)]
mod tests {
    use baton_types::ManualClock;

    use super::*;

    #[test]
    fn a_thread_that_met_a_file_that_was_gone_looks_again_for_a_while() {
        let clock = ManualClock::default();
        let gone = Gone::new(Arc::new(clock.clone()));
        gone.met(7);
        clock.advance(AGAIN - 1);
        assert!(gone.looks_again(7));
        assert!(!gone.looks_again(8), "it is another thread's");
        clock.advance(1);
        assert!(!gone.looks_again(7));
        gone.met(8);
        assert_eq!(gone.threads.lock().len(), 1, "who is through is forgotten");
    }
}
