//! A committed change: done once, and whole or not at all.
//!
//! A change may reach the log twice, when an answer was lost and its caller asked again. The session
//! and sequence it carries find the first answer, and that is given again. Sessions are forgotten, the
//! longest unused first, when there are too many; then `horizon` remembers how far, and a session that
//! may be a forgotten one is refused rather than guessed at.

use baton_types::change::{ChangeSession, Proposal};
use baton_types::record::Changed;
use baton_types::{Core, Error, Kind, Time};

use super::draft::Draft;
use super::right::may;
use super::{Answered, Fldb, Outcome};

/// Something the log says, in its order.
#[derive(Clone, Debug)]
pub enum Committed {
    /// A change at this index.
    Change(u64, Box<Proposal>),
    /// An entry of Raft's own at this index.
    Nothing(u64),
}

/// What follows from an entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Whoever waits for this session's change gets this.
    Answer {
        /// Whose.
        session: ChangeSession,
        /// Which of its changes.
        sequence: u32,
        /// The index the answer was first given at.
        index: u64,
        /// What came of it.
        outcome: Outcome,
    },
    /// Watchers are told. Sent for every index, also when nothing changed: indexes only grow.
    Changed(Changed),
}

impl Core for Fldb {
    type Event = Committed;
    type Action = Action;

    fn step(&mut self, _now: Time, event: Committed) -> Vec<Action> {
        let (index, proposal) = match event {
            Committed::Change(index, proposal) => (index, Some(proposal)),
            Committed::Nothing(index) => (index, None),
        };
        assert!(
            index > self.applied,
            "entry {index} after {}: the log went backwards",
            self.applied
        );
        self.applied = index;
        let Some(proposal) = proposal else {
            return vec![Action::Changed(Changed {
                index,
                ..Changed::default()
            })];
        };
        let (answered, changed) = self.once(index, &proposal);
        let answer = Action::Answer {
            session: proposal.session,
            sequence: proposal.sequence,
            index: answered.index,
            outcome: answered.outcome,
        };
        vec![answer, Action::Changed(changed)]
    }
}

impl Fldb {
    /// Does the change unless it was done before.
    fn once(&mut self, index: u64, proposal: &Proposal) -> (Answered, Changed) {
        let unchanged = Changed {
            index,
            ..Changed::default()
        };
        let refuse = |why: &str| Answered {
            sequence: proposal.sequence,
            index,
            outcome: Err(Error::new(Kind::SessionLost, "this change").because(why.to_owned())),
        };
        match self.sessions.get(&proposal.session) {
            Some(last) if last.sequence == proposal.sequence => return (last.clone(), unchanged),
            Some(last) if last.sequence > proposal.sequence => {
                return (
                    refuse("a later change of its session has been answered already"),
                    unchanged,
                );
            }
            None if proposal.born < self.horizon || proposal.sequence == 0 => {
                return (
                    refuse("its session is too old to tell whether it was done before"),
                    unchanged,
                );
            }
            Some(_) | None => {}
        }
        let (outcome, changed) = self.change(index, proposal);
        let answered = Answered {
            sequence: proposal.sequence,
            index,
            outcome,
        };
        self.remember(proposal.session, answered.clone());
        (answered, changed)
    }

    /// Does the change on a copy, and keeps the copy if nothing was refused.
    fn change(&mut self, index: u64, proposal: &Proposal) -> (Outcome, Changed) {
        if let Err(error) = may(self, &proposal.who, &proposal.change) {
            return (
                Err(error),
                Changed {
                    index,
                    ..Changed::default()
                },
            );
        }
        let mut draft = Draft::new(self.clone(), index, proposal);
        match draft.run(&proposal.change) {
            Ok(record) => {
                let (state, changed) = draft.finish(&proposal.change);
                *self = state;
                (Ok(record), changed)
            }
            Err(error) => (
                Err(error),
                Changed {
                    index,
                    ..Changed::default()
                },
            ),
        }
    }

    fn remember(&mut self, session: ChangeSession, answered: Answered) {
        if let Some(before) = self.sessions.get(&session) {
            self.session_order.remove_mut(&before.index);
        }
        self.session_order.insert_mut(answered.index, session);
        self.sessions.insert_mut(session, answered);
        while self.sessions.size() > self.kept.sessions {
            let Some((&oldest, &session)) = self.session_order.iter().next() else {
                return;
            };
            self.session_order.remove_mut(&oldest);
            self.sessions.remove_mut(&session);
            self.horizon = oldest;
        }
    }
}
