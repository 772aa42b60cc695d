//! A thread that serves the kernel runs where the program runs that it serves.
//!
//! A request costs two wake-ups, one each way. From processor to processor each is an interrupt, on a virtual machine
//! some twenty microseconds; on one processor it is a tenth of that. The system wakes a thread where it ran last, and so
//! the two stay apart as long as both processors have time. Whoever is asked again and again by one and the same thread
//! therefore goes to its processor. As soon as somebody else asks it, it may run anywhere again.

use std::cell::RefCell;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// So many requests of one thread after the other are a habit; where that thread runs is looked up so seldom, because
/// it means reading a file of `/proc`.
const HABIT: u32 = 64;

/// Whom a thread of ours served last, and where it is bound to run.
#[derive(Debug, Default)]
struct Habit {
    caller: u32,
    requests: u32,
    bound: Option<usize>,
}

/// What a thread of ours does about a request.
#[derive(Debug, PartialEq, Eq)]
enum Move {
    Stay,
    /// Runs on this processor alone.
    To(usize),
    /// Runs wherever the system likes.
    Anywhere,
}

impl Habit {
    /// The thread `caller` asks; `runs_on` says where it ran last.
    fn asked(&mut self, caller: u32, runs_on: impl FnOnce(u32) -> Option<usize>) -> Move {
        if caller != self.caller {
            (self.caller, self.requests) = (caller, 1);
            return self.bound.take().map_or(Move::Stay, |_| Move::Anywhere);
        }
        self.requests += 1;
        if !self.requests.is_multiple_of(HABIT) {
            return Move::Stay;
        }
        match runs_on(caller) {
            Some(processor) if self.bound != Some(processor) => {
                self.bound = Some(processor);
                Move::To(processor)
            }
            Some(_) => Move::Stay,
            None => self.bound.take().map_or(Move::Stay, |_| Move::Anywhere),
        }
    }
}

/// The processors that this thread may run on, if that is known and there is more than one, and its habit.
struct Nearby {
    allowed: CpuSet,
    habit: Habit,
}

thread_local! {
    static NEARBY: RefCell<Option<Nearby>> = RefCell::new(begin());
}

fn begin() -> Option<Nearby> {
    let allowed = sched_getaffinity(None).ok()?;
    (allowed.count() > 1).then_some(Nearby {
        allowed,
        habit: Habit::default(),
    })
}

/// The thread `caller` asks the one that calls this; 0 is nobody, the kernel itself.
pub fn asked(caller: u32) {
    if caller == 0 {
        return;
    }
    NEARBY.with_borrow_mut(|nearby| {
        let Some(Nearby { allowed, habit }) = nearby else {
            return;
        };
        let runs_on = |caller| runs_on(caller).filter(|processor| allowed.is_set(*processor));
        let to = match habit.asked(caller, runs_on) {
            Move::Stay => return,
            Move::Anywhere => *allowed,
            Move::To(processor) => {
                let mut one = CpuSet::new();
                one.set(processor);
                one
            }
        };
        // Refused where somebody took processors away since: then it stays where it is, and tries no more.
        if sched_setaffinity(None, &to).is_err() {
            *nearby = None;
        }
    });
}

/// The processor that a thread ran on last; `None` if it is gone.
fn runs_on(thread: u32) -> Option<usize> {
    processor(&std::fs::read_to_string(format!("/proc/{thread}/stat")).ok()?)
}

/// Field 39 of `proc_pid_stat(5)`. The second one is the program's name in brackets, whatever is in that.
fn processor(stat: &str) -> Option<usize> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(36)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_asks_again_and_again_is_followed_until_another_one_asks() {
        let mut habit = Habit::default();
        let mut ask = |caller, at| habit.asked(caller, |_| at);
        for _ in 1..HABIT {
            assert_eq!(ask(7, Some(1)), Move::Stay);
        }
        assert_eq!(ask(7, Some(1)), Move::To(1));
        for _ in 1..HABIT {
            assert_eq!(ask(7, Some(0)), Move::Stay);
        }
        assert_eq!(ask(7, Some(0)), Move::To(0), "it moved");
        assert_eq!(ask(8, Some(1)), Move::Anywhere);
        assert_eq!(ask(7, Some(1)), Move::Stay, "the habit is gone");
    }

    #[test]
    fn two_that_take_turns_are_not_followed() {
        let mut habit = Habit::default();
        for request in 0..HABIT * 10 {
            assert_eq!(habit.asked(7 + request % 2, |_| Some(1)), Move::Stay);
        }
    }

    #[test]
    fn one_that_is_gone_is_not_followed() {
        let mut habit = Habit::default();
        for _ in 0..HABIT {
            habit.asked(7, |_| Some(1));
        }
        for _ in 1..HABIT {
            habit.asked(7, |_| None);
        }
        assert_eq!(habit.asked(7, |_| None), Move::Anywhere);
    }

    #[test]
    fn place_of_a_thread_is_found_behind_any_name() {
        let fields = (3..=52).map(|number| number.to_string());
        let stat = format!("41 (a ) 1 b) {}", fields.collect::<Vec<_>>().join(" "));
        assert_eq!(processor(&stat), Some(39));
        assert_eq!(processor("41 (short) S 1"), None);
        assert!(runs_on(std::process::id()).is_some());
    }

    #[test]
    fn thread_goes_where_its_caller_is_and_is_free_again() {
        let Some(Nearby { allowed, .. }) = begin() else {
            return; // One processor: there is nowhere to go.
        };
        let caller = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        let served = std::thread::spawn(move || {
            (0..HABIT).for_each(|_| asked(caller));
            let bound = sched_getaffinity(None).unwrap().count();
            asked(caller + 1);
            (bound, sched_getaffinity(None).unwrap() == allowed)
        });
        assert_eq!(served.join().unwrap(), (1, true));
    }
}
