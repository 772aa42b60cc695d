//! Changes that programs were told are done, and that their server has not answered yet.
//!
//! They go to it in their order, after one another and without waiting. Whoever wants to see what they made waits for
//! those of that file which were asked for before; a change of one of those files is asked for after them. A failure
//! is kept with the file (`inodes.rs`) until a program hears of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use baton_types::Fid;
use parking_lot::Mutex;

/// What is done when what was waited for is over.
pub type Then = Box<dyn FnOnce() + Send>;

/// Those of one fileset.
#[derive(Default)]
pub struct Queued {
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    last: u64,
    open: BTreeMap<u64, Vec<Fid>>,
    files: HashMap<Fid, BTreeSet<u64>>,
    waiting: Vec<Waiting>,
}

struct Waiting {
    of: Which,
    upto: u64,
    then: Then,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// What changes this file.
    File(Fid),
    /// All.
    All,
}

/// Whether something has to be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It is over.
    Over,
    /// It is not.
    Waits,
}

impl Queued {
    /// A change of these files begins. Its number is for [`Queued::end`].
    pub fn begin(&self, files: Vec<Fid>) -> u64 {
        let mut book = self.book.lock();
        book.last += 1;
        let number = book.last;
        for fid in &files {
            book.files.entry(*fid).or_default().insert(number);
        }
        book.open.insert(number, files);
        number
    }

    /// It was answered.
    pub fn end(&self, number: u64) {
        let due = {
            let mut book = self.book.lock();
            for fid in book.open.remove(&number).unwrap_or_default() {
                if let Some(numbers) = book.files.get_mut(&fid) {
                    numbers.remove(&number);
                    if numbers.is_empty() {
                        book.files.remove(&fid);
                    }
                }
            }
            let waiting = std::mem::take(&mut book.waiting);
            let (due, left) = waiting
                .into_iter()
                .partition(|waiting| book.is_over(waiting.of, waiting.upto));
            book.waiting = left;
            due
        };
        let due: Vec<Waiting> = due;
        due.into_iter().for_each(|waiting| (waiting.then)());
    }

    /// Whether a change of one of these files is under way.
    pub fn touches(&self, files: &[Fid]) -> bool {
        let book = self.book.lock();
        !book.files.is_empty() && files.iter().any(|fid| book.files.contains_key(fid))
    }

    /// Whether nothing is under way.
    pub fn is_over(&self) -> bool {
        self.book.lock().open.is_empty()
    }

    /// The files that are being changed.
    pub fn files(&self) -> Vec<Fid> {
        self.book.lock().files.keys().copied().collect()
    }

    /// Does `then` when what began before now is over: here, if it is.
    pub fn after(&self, of: Which, then: impl FnOnce() + Send + 'static) -> After {
        {
            let mut book = self.book.lock();
            let upto = book.last;
            if !book.is_over(of, upto) {
                let then = Box::new(then);
                book.waiting.push(Waiting { of, upto, then });
                return After::Waits;
            }
        }
        then();
        After::Over
    }
}

impl Book {
    fn is_over(&self, of: Which, upto: u64) -> bool {
        let first = match of {
            Which::File(fid) => self.files.get(&fid).and_then(BTreeSet::first),
            Which::All => self.open.keys().next(),
        };
        first.is_none_or(|first| *first > upto)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use baton_types::{FilesetId, Vnode};

    use super::*;

    fn fid(number: u64) -> Fid {
        Fid {
            fileset: FilesetId(4),
            vnode: Vnode::new(number).unwrap(),
            unique: 9,
        }
    }

    #[test]
    fn who_looks_at_a_file_waits_for_what_began_before_and_for_nothing_else() {
        let (queued, seen) = (Queued::default(), Arc::new(Mutex::new(Vec::new())));
        let look = |of, name: &'static str| {
            let seen = seen.clone();
            queued.after(of, move || seen.lock().push(name));
        };
        look(Which::All, "nothing is under way");
        let first = queued.begin(vec![fid(2)]);
        let other = queued.begin(vec![fid(3), fid(1)]);
        look(Which::File(fid(2)), "the first");
        look(Which::File(fid(1)), "the directory");
        look(Which::All, "all");
        look(Which::File(fid(4)), "another file");
        let later = queued.begin(vec![fid(2)]);
        assert!(queued.touches(&[fid(4), fid(3)]));
        assert_eq!(*seen.lock(), ["nothing is under way", "another file"]);
        queued.end(first);
        assert_eq!(seen.lock().last(), Some(&"the first"));
        queued.end(later);
        assert_eq!(seen.lock().len(), 3);
        queued.end(other);
        assert_eq!(seen.lock()[3..], ["the directory", "all"]);
        assert!(queued.files().is_empty() && queued.is_over());
    }

    #[test]
    fn what_is_done_then_may_begin_the_next_change() {
        let queued = Arc::new(Queued::default());
        let first = queued.begin(vec![fid(2)]);
        let next = queued.clone();
        queued.after(Which::File(fid(2)), move || {
            next.begin(vec![fid(2)]);
        });
        queued.end(first);
        assert!(queued.touches(&[fid(2)]));
    }
}
