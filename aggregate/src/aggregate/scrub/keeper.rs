//! When a scrub begins, how fast it goes, and what became of the last one.
//!
//! A thread of the aggregate does it. It waits after each piece until the rate allows the next one, and four times as
//! long while programs read from the device or change something.

use std::ops::ControlFlow;
use std::time::Duration;

use baton_types::control::{ScrubEnd, ScrubPass, ScrubReport, Scrubbed};
use baton_types::limits::SCRUB_RATE;
use baton_types::{Clock, Error, Kind, Result, Time};
use parking_lot::Mutex;

use crate::aggregate::Aggregate;
use crate::aggregate::running::Stop;

/// How often it is looked whether a scrub is due, or is to end.
const LOOK: Duration = Duration::from_millis(200);
/// Bytes a second at least: with less a pass would never end.
const RATE_MIN: u64 = 64 << 10;
/// The owner of the moment does not know when the one before it ended a scrub: he begins one after this.
const FIRST_AFTER: Duration = Duration::from_hours(24);
/// Microseconds.
const MADE_UP: Time = 100_000;
/// Beside programs it goes so many times slower.
const GIVING_WAY: u64 = 4;

/// What is wished of the thread that scrubs, and what it did.
pub(crate) struct Scrubs(Mutex<State>);

struct State {
    rate: u64,
    /// For the pass that goes on or was asked for.
    rate_now: Option<u64>,
    every: Option<Duration>,
    is_wanted: bool,
    is_unwanted: bool,
    run: Option<ScrubPass>,
    finished: Option<ScrubPass>,
    /// The next one begins then at the latest, by the clock of the thread.
    due: Option<Time>,
}

impl Default for Scrubs {
    fn default() -> Scrubs {
        Scrubs(Mutex::new(State {
            rate: SCRUB_RATE,
            rate_now: None,
            every: None,
            is_wanted: false,
            is_unwanted: false,
            run: None,
            finished: None,
            due: None,
        }))
    }
}

impl State {
    fn is_underway(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.end == ScrubEnd::Underway)
    }
}

impl Aggregate {
    /// From now on it is scrubbed with so many bytes a second, and again so long after the end of a pass; `None`: when
    /// somebody asks.
    pub fn set_scrub(&self, rate: u64, every: Option<Duration>) {
        let mut state = self.engine.scrubs.0.lock();
        (state.rate, state.every, state.due) = (rate.max(RATE_MIN), every, None);
    }

    /// Asks for a scrub, with another rate than usual if one is given. One that goes on takes the rate.
    ///
    /// # Errors
    /// `Exists` if one goes on and no rate is given.
    pub fn start_scrub(&self, rate: Option<u64>) -> Result<()> {
        let mut state = self.engine.scrubs.0.lock();
        if (state.is_underway() || state.is_wanted) && rate.is_none() {
            return Err(
                Error::new(Kind::Exists, format!("scrub of aggregate {}", self.label().name))
                    .because("one goes on")
                    .remedy("fts scrub -status shows how far it is; -rate makes it faster, -stop ends it"),
            );
        }
        state.rate_now = rate.map(|rate| rate.max(RATE_MIN));
        if !state.is_underway() {
            state.is_wanted = true;
        }
        state.is_unwanted = false;
        Ok(())
    }

    /// Ends the scrub that goes on, soon.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub fn stop_scrub(&self) -> Result<()> {
        let mut state = self.engine.scrubs.0.lock();
        if !state.is_underway() && !state.is_wanted {
            let on = format!("scrub of aggregate {}", self.label().name);
            return Err(Error::new(Kind::NotFound, on).because("none goes on"));
        }
        (state.is_wanted, state.is_unwanted) = (false, state.is_underway());
        Ok(())
    }

    /// How its scrubs went, and how far the one is that goes on.
    pub fn scrub_report(&self) -> ScrubReport {
        let state = self.engine.scrubs.0.lock();
        ScrubReport {
            rate: state.rate_now.unwrap_or(state.rate),
            every: state.every,
            last: state.run.clone(),
            finished: state.finished.clone(),
        }
    }

    /// True if a pass begins now.
    fn begin_scrub(&self, clock: &dyn Clock) -> bool {
        let mut state = self.engine.scrubs.0.lock();
        let now = clock.now();
        if state.due.is_none() {
            state.due = state.every.map(|every| now + micros(every.min(FIRST_AFTER)));
        }
        let is_due = state.due.is_some_and(|due| now >= due);
        let begins = is_due || state.is_wanted;
        if begins {
            let date = clock.date();
            (state.is_wanted, state.is_unwanted) = (false, false);
            state.run = Some(ScrubPass {
                began: date,
                ended: date,
                end: ScrubEnd::Underway,
                scrubbed: Scrubbed::default(),
            });
        }
        begins
    }

    fn end_scrub(&self, clock: &dyn Clock, scrubbed: Result<Scrubbed>) {
        let mut state = self.engine.scrubs.0.lock();
        let (now, name) = (clock.now(), &self.label().name);
        state.rate_now = None;
        state.due = state.every.map(|every| now + micros(every));
        let Some(mut run) = state.run.take() else { return };
        run.ended = clock.date();
        match scrubbed {
            Ok(scrubbed) => {
                run.end = match scrubbed.is_finished {
                    true => ScrubEnd::Finished,
                    false => ScrubEnd::Stopped,
                };
                let (bytes, damages) = (scrubbed.bytes, scrubbed.count());
                tracing::info!(aggregate = %name, bytes, damages, end = ?run.end, "scrubbed");
                run.scrubbed = scrubbed;
            }
            Err(error) => {
                tracing::warn!(aggregate = %name, %error, "the scrub has failed");
                run.end = ScrubEnd::Failed(error.to_string());
            }
        }
        if run.end == ScrubEnd::Finished {
            state.finished = Some(run.clone());
        }
        state.run = Some(run);
    }

    /// What programs have read and changed so far.
    fn use_so_far(&self) -> (u64, u64) {
        (self.engine.nodes.reads(), self.engine.log.last().0)
    }
}

/// How fast a pass goes.
struct Pacing<'a> {
    aggregate: &'a Aggregate,
    stop: &'a Stop,
    clock: &'a dyn Clock,
    /// Nothing more is read before this.
    due: Time,
    /// Read at the last look, and what programs had done then.
    bytes: u64,
    seen: (u64, u64),
}

impl Pacing<'_> {
    fn wait(&mut self, scrubbed: &Scrubbed) -> ControlFlow<()> {
        let bytes = scrubbed.bytes - self.bytes;
        self.bytes = scrubbed.bytes;
        self.tell(scrubbed);
        let use_now = self.aggregate.use_so_far();
        let slower = match std::mem::replace(&mut self.seen, use_now) == use_now {
            true => 1,
            false => GIVING_WAY,
        };
        // What was slept too long a moment ago is made up for, and no more than that.
        let since = self.due.max(self.clock.now().saturating_sub(MADE_UP));
        loop {
            let rate = {
                let state = self.aggregate.engine.scrubs.0.lock();
                if state.is_unwanted {
                    return ControlFlow::Break(());
                }
                state.rate_now.unwrap_or(state.rate)
            };
            self.due = since + bytes.saturating_mul(1_000_000 * slower) / rate;
            let left = self.due.saturating_sub(self.clock.now());
            let is_over = match left {
                0 => self.stop.is_set(),
                _ => self.stop.wait(Duration::from_micros(left).min(LOOK)),
            };
            match (is_over, left) {
                (true, _) => return ControlFlow::Break(()),
                (false, 0) => return ControlFlow::Continue(()),
                (false, _) => {}
            }
        }
    }

    fn tell(&self, scrubbed: &Scrubbed) {
        let mut state = self.aggregate.engine.scrubs.0.lock();
        let Some(run) = &mut state.run else { return };
        run.ended = self.clock.date();
        run.scrubbed.bytes = scrubbed.bytes;
        // What is damaged may have got its path since.
        if run.scrubbed.damages != scrubbed.damages {
            run.scrubbed = scrubbed.clone();
        }
    }
}

/// What the thread does, until it is told to stop.
pub(in crate::aggregate) fn keep(aggregate: &Aggregate, stop: &Stop, clock: &dyn Clock) {
    while !stop.wait(LOOK) {
        if !aggregate.begin_scrub(clock) {
            continue;
        }
        let mut pacing = Pacing {
            aggregate,
            stop,
            clock,
            due: clock.now(),
            bytes: 0,
            seen: aggregate.use_so_far(),
        };
        let scrubbed = aggregate.scrub(&mut |scrubbed| pacing.wait(scrubbed));
        aggregate.end_scrub(clock, scrubbed);
    }
}

fn micros(duration: Duration) -> Time {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
