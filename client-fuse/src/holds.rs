//! The client's half of a fileset's one token: what it may rely on, and how that is given back.
//!
//! ```text
//!        wanted            joined alone             revoked                    settled
//!  Out ─────────▶ Joining ──────────────▶ Alone ──────────────▶ Settling(s) ───────────▶ Shared
//!   ▲              │  │ joined shared      ▲ │ lapsed, lost          ▲    │ return(s)      │ ▲
//!   │              │  └────────────────────┼─┼──▶ Settling(-) ───────┘    └────────────────┘ │
//!   │              │        settled        │ │                                               │
//!   │              └─▶ Clearing ───────────┘ │                                               │
//!   │                      ▲ └───────────────┼──▶ Settling(s): revoked                       │
//!   │                      └─────────────────┼────────────────────────────── joined alone ───┘
//!   └────────────────────────────────────────┴─────────────── lost, left
//! ```
//! *Settling*: the kernel forgets the fileset, and its server hears of every file that is open. Calls go on
//! meanwhile, as if shared: a notice to the kernel may wait for one of them.
//!
//! *Clearing*: nobody else is there, but the kernel may hold pages from when there was somebody. It forgets those
//! before it is let keep anything.
//!
//! When a call comes, everything but *Out*, *Joining* and *Leaving* lets it through.
//!
//! A revocation with a higher serial beats a grant that arrives after it: what it took back was not given yet.

use baton_types::call::{Coming, Hold};
use baton_types::{Core, Time};

/// Between two questions whether the client is alone by now, in microseconds.
const ASK_EVERY: Time = 5_000_000;
/// A shared fileset that nobody used for so long is left, in microseconds: the others may then be alone in it.
const LEAVE_AFTER: Time = 60_000_000;

/// What a client has of a fileset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Out,
    /// It asked for its share. Calls wait.
    Joining,
    /// Nobody else is there.
    Alone,
    /// Nobody else is there, and the kernel may still hold pages from when there was.
    Clearing,
    /// Others may be there, and the kernel still holds what was true before. With the serial to give back, if any.
    Settling(Option<u64>),
    /// Others may be there.
    Shared,
    /// It said that it goes, and is not gone before that is answered. Calls wait.
    Leaving,
}

impl State {
    fn lets_in(self) -> bool {
        match self {
            State::Alone | State::Clearing | State::Settling(_) | State::Shared => true,
            State::Out | State::Joining | State::Leaving => false,
        }
    }
}

/// Whether programs have something of the fileset in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Calls, open files, locks.
    Busy,
    /// Nothing.
    Idle,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A call wants to go there.
    Wanted,
    /// The server gives a share.
    Joined(Hold, u64),
    /// It does not.
    Refused,
    /// The server takes the hold back.
    Revoked(u64),
    /// This run of settling is over.
    Settled(u64),
    /// There is a new owner, who is about to be asked: serials begin anew.
    Returning,
    /// It took us back.
    Rejoined(Hold, u64),
    /// We are gone.
    Left,
    /// The session is over.
    Lost,
    /// The lifetime is over, or about to be.
    Lapsed,
    /// It is seen under so many paths: the kernel takes each for another tree.
    Views(usize),
    /// Time goes by.
    Tick(Use),
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask for a share.
    Join(Coming),
    /// Calls that wait may go.
    Admit,
    /// Calls that wait are refused.
    Refuse,
    /// From now on the kernel may keep what it is told.
    Believe,
    /// From now on it may not.
    Doubt,
    /// The kernel forgets; then `Settled` with this number.
    Forget(u64),
    /// The kernel forgets pages; then `Settled` with this number.
    Clear(u64),
    /// The kernel forgets, the server hears of open files; then `Settled` with this number.
    Settle(u64),
    /// Give the hold back.
    Return(u64),
    /// Take part no more.
    Leave,
}

/// The pages that the kernel holds of a fileset while nothing is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pages {
    /// None that are old.
    Good,
    /// Perhaps some of before.
    Old,
}

/// One fileset.
#[derive(Debug)]
pub struct Holds {
    state: State,
    pages: Pages,
    /// Highest serial that was taken back.
    revoked: u64,
    /// Counts the runs of settling.
    run: u64,
    views: usize,
    /// A question whether the client is alone by now is under way.
    asking: bool,
    /// A call came while it was leaving.
    is_wanted: bool,
    asked: Time,
    used: Time,
}

impl Default for Holds {
    fn default() -> Holds {
        Holds {
            state: State::Out,
            pages: Pages::Good,
            revoked: 0,
            run: 0,
            views: 1,
            asking: false,
            is_wanted: false,
            asked: 0,
            used: 0,
        }
    }
}

impl Holds {
    /// What the client has.
    pub fn state(&self) -> State {
        self.state
    }

    fn granted(&mut self, hold: Hold, serial: u64, out: &mut Vec<Action>) {
        let is_taken_back = serial < self.revoked;
        match (self.state, hold) {
            (State::Out | State::Joining, Hold::Alone) if is_taken_back => {
                self.settle(Some(self.revoked), out);
            }
            (State::Out | State::Joining, Hold::Alone) => self.alone(out),
            (State::Clearing, Hold::Shared) => self.settle(None, out),
            (State::Out | State::Joining, Hold::Shared) => self.settle(None, out),
            (State::Shared, Hold::Alone) if !is_taken_back => self.alone(out),
            (State::Alone, Hold::Shared) => {
                out.push(Action::Doubt);
                self.settle(None, out);
            }
            (State::Shared | State::Alone | State::Clearing | State::Settling(_) | State::Leaving, _) => {}
        }
    }

    fn alone(&mut self, out: &mut Vec<Action>) {
        if self.pages == Pages::Old && self.views <= 1 {
            self.state = State::Clearing;
            self.run += 1;
            return out.push(Action::Clear(self.run));
        }
        self.state = State::Alone;
        match self.views {
            0 | 1 => out.push(Action::Believe),
            _ => self.pages = Pages::Old,
        }
    }

    fn settle(&mut self, back: Option<u64>, out: &mut Vec<Action>) {
        self.state = State::Settling(back);
        self.pages = Pages::Old;
        self.run += 1;
        out.push(Action::Settle(self.run));
    }

    fn forget(&mut self, out: &mut Vec<Action>) {
        self.pages = Pages::Old;
        self.run += 1;
        out.extend([Action::Doubt, Action::Forget(self.run)]);
    }

    fn revoked(&mut self, serial: u64, out: &mut Vec<Action>) {
        self.revoked = self.revoked.max(serial);
        match self.state {
            // The grant is on its way, and is given back when it is here.
            State::Joining => {}
            State::Out | State::Clearing => self.settle(Some(self.revoked), out),
            State::Alone => {
                out.push(Action::Doubt);
                self.settle(Some(self.revoked), out);
            }
            State::Settling(_) => self.state = State::Settling(Some(self.revoked)),
            // Nothing is kept: it was given back, or is given back before it came.
            State::Shared | State::Leaving => out.push(Action::Return(serial)),
        }
    }

    fn settled(&mut self, run: u64, out: &mut Vec<Action>) {
        if run != self.run {
            return;
        }
        match self.state {
            State::Settling(back) => {
                self.state = State::Shared;
                out.extend(back.map(Action::Return));
            }
            State::Clearing => {
                self.pages = Pages::Good;
                self.alone(out);
            }
            State::Out | State::Joining | State::Alone | State::Shared | State::Leaving => {}
        }
    }

    fn out(&mut self, out: &mut Vec<Action>) {
        if self.state == State::Alone {
            self.forget(out);
        }
        if !matches!(self.state, State::Joining | State::Leaving) {
            self.state = State::Out;
        }
    }

    /// The last owner's serials mean nothing to the next one.
    fn returning(&mut self) {
        self.revoked = 0;
        if let State::Settling(Some(_)) = self.state {
            self.state = State::Settling(None);
        }
    }

    fn wanted(&mut self, now: Time, out: &mut Vec<Action>) {
        self.used = now;
        match self.state {
            State::Out => {
                self.state = State::Joining;
                self.asked = now;
                out.push(Action::Join(Coming::Fresh));
            }
            State::Leaving => self.is_wanted = true,
            State::Joining | State::Alone | State::Clearing | State::Settling(_) | State::Shared => {}
        }
    }

    fn left(&mut self, now: Time, out: &mut Vec<Action>) {
        if self.state == State::Leaving {
            self.state = State::Out;
            if std::mem::take(&mut self.is_wanted) {
                self.wanted(now, out);
            }
        }
    }

    fn views(&mut self, views: usize, out: &mut Vec<Action>) {
        let before = std::mem::replace(&mut self.views, views);
        if self.state != State::Alone {
            return;
        }
        match (before <= 1, views <= 1) {
            (true, false) => self.forget(out),
            (false, true) => self.alone(out),
            (true, true) | (false, false) => {}
        }
    }

    fn tick(&mut self, now: Time, used: Use, out: &mut Vec<Action>) {
        if used == Use::Busy {
            self.used = now;
        }
        if self.state != State::Shared || self.asking {
            return;
        }
        if now.saturating_sub(self.used) >= LEAVE_AFTER {
            self.state = State::Leaving;
            out.push(Action::Leave);
        } else if used == Use::Busy && now.saturating_sub(self.asked) >= ASK_EVERY {
            self.asking = true;
            self.asked = now;
            out.push(Action::Join(Coming::Fresh));
        }
    }
}

impl Core for Holds {
    type Event = Event;
    type Action = Action;

    fn step(&mut self, now: Time, event: Event) -> Vec<Action> {
        let before = self.state;
        let mut out = Vec::new();
        match event {
            Event::Wanted => self.wanted(now, &mut out),
            Event::Left => self.left(now, &mut out),
            Event::Returning => self.returning(),
            Event::Joined(hold, serial) => {
                self.asking = false;
                self.granted(hold, serial, &mut out);
            }
            Event::Rejoined(hold, serial) => self.granted(hold, serial, &mut out),
            Event::Refused => {
                self.asking = false;
                if self.state == State::Joining {
                    self.state = State::Out;
                    out.push(Action::Refuse);
                }
            }
            Event::Revoked(serial) => self.revoked(serial, &mut out),
            Event::Settled(run) => self.settled(run, &mut out),
            Event::Lost => {
                self.revoked = 0; // another session's serials
                self.out(&mut out);
            }
            Event::Lapsed => self.out(&mut out),
            Event::Views(views) => self.views(views, &mut out),
            Event::Tick(used) => self.tick(now, used, &mut out),
        }
        if !before.lets_in() && self.state.lets_in() {
            out.push(Action::Admit);
        }
        out
    }
}

#[cfg(test)]
mod tests;
