//! Writers: the threads that opened a handle or wrote by it, so that its close by a process that did not is not held up.
//!
//! A program that begins another closes what the other does not inherit, as the other: that one waited for bytes it
//! knows nothing of. If it is the one that the bytes wait for, a file server on its own client's machine, both would
//! wait for ever.

use std::collections::HashSet;
use std::path::Path;

use parking_lot::Mutex;

/// Threads that are remembered for a handle; with more, everybody counts as a writer.
const WRITERS_MAX: usize = 64;
/// What the kernel says where it writes pages by itself: they may be anybody's.
const KERNEL: u32 = 0;

/// Those of one handle.
#[derive(Default)]
pub struct Writers(Mutex<HashSet<u32>>);

/// Whether a thread's process is among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrote {
    /// It may be.
    Maybe,
    /// It is not: all of them live in other processes.
    No,
}

impl Writers {
    /// This thread writes.
    pub fn add(&self, thread: u32) {
        let mut threads = self.0.lock();
        if threads.len() >= WRITERS_MAX {
            threads.insert(KERNEL);
            return;
        }
        threads.insert(thread);
    }

    /// Whether it was the process of this thread.
    pub fn wrote(&self, thread: u32) -> Wrote {
        let threads = self.0.lock();
        match threads.iter().all(|writer| lives_elsewhere(*writer, thread)) {
            true => Wrote::No,
            false => Wrote::Maybe,
        }
    }
}

/// Whether `writer` is a thread that lives, in another process than `thread`.
fn lives_elsewhere(writer: u32, thread: u32) -> bool {
    let lives = |path: &str| Path::new(path).exists();
    writer != thread
        && writer != KERNEL
        && thread != KERNEL
        && lives(&format!("/proc/{writer}"))
        && lives(&format!("/proc/{thread}"))
        && !lives(&format!("/proc/{thread}/task/{writer}"))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn thread() -> u32 {
        let own = std::fs::read_link("/proc/thread-self").unwrap();
        own.file_name().unwrap().to_str().unwrap().parse().unwrap()
    }

    #[test]
    fn who_shares_a_process_with_a_writer_may_have_written_and_a_child_has_not() {
        let (writers, own) = (Writers::default(), std::process::id());
        assert_eq!(writers.wrote(own), Wrote::No, "nobody wrote");
        writers.add(thread());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert_eq!(writers.wrote(child.id()), Wrote::No);
        assert_eq!(writers.wrote(own), Wrote::Maybe);
        let another = std::thread::scope(|scope| scope.spawn(|| writers.wrote(thread())).join().unwrap());
        assert_eq!(another, Wrote::Maybe);
        writers.add(KERNEL);
        assert_eq!(writers.wrote(child.id()), Wrote::Maybe, "pages may be anybody's");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_writer_that_is_gone_may_have_been_of_any_process() {
        let writers = Writers::default();
        let (send, hear) = channel();
        std::thread::spawn(move || send.send(thread()).unwrap()).join().unwrap();
        writers.add(hear.recv().unwrap());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert_eq!(writers.wrote(child.id()), Wrote::Maybe);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn with_too_many_writers_everybody_is_one() {
        let writers = Writers::default();
        (1..=WRITERS_MAX as u32 + 1).for_each(|_| writers.add(std::process::id()));
        assert_eq!(writers.0.lock().len(), 1);
        (0..=WRITERS_MAX as u32).for_each(|number| writers.add(number + 1));
        assert_eq!(writers.wrote(std::process::id()), Wrote::Maybe);
        assert!(writers.0.lock().contains(&KERNEL));
    }
}
