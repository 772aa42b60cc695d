//! `Habit`: how the parts under test behave. One way is right; each of the others is a bug that an oracle must find.

use baton_flserver::state::{Action, Committed, Fldb};
use baton_types::change::{Change, ChangeSession};
use baton_types::record::{Aggregate, Record};
use baton_types::{Core, Epoch};

/// A way to behave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code, reason = "the bugs are for the tests of the oracles"))]
pub(super) enum Habit {
    /// As it must be.
    #[default]
    Sound,
    /// The state does not know whose change it is, and does what comes twice twice.
    ForgetsSessions,
    /// A claim is granted the epoch before the one that it should be.
    GrantsOldEpoch,
    /// The leader answers what it would do as soon as it is asked.
    AnswersBeforeCommit,
    /// One member goes by its own date.
    OwnDate,
    /// A member that starts from a snapshot has nothing but its index.
    StartsEmpty,
    /// A watcher that resumes is served from one index too late.
    ResumesTooLate,
    /// A watcher does not remember how far it had come.
    ForgetsFloor,
}

/// How an entry is applied to a state.
pub(super) type Apply = fn(&mut Fldb, Committed) -> Vec<Action>;

impl Habit {
    /// How every member applies entries.
    pub fn apply(self) -> Apply {
        match self {
            Habit::ForgetsSessions => without_session,
            Habit::GrantsOldEpoch => with_old_epoch,
            Habit::Sound
            | Habit::AnswersBeforeCommit
            | Habit::OwnDate
            | Habit::StartsEmpty
            | Habit::ResumesTooLate
            | Habit::ForgetsFloor => step,
        }
    }

    /// What member `replica` takes the entry for.
    pub fn taken(self, replica: usize, committed: Committed) -> Committed {
        match (self, committed) {
            (Habit::OwnDate, Committed::Change(index, mut proposal)) if replica == 2 => {
                proposal.date = proposal.date.plus_seconds(1);
                Committed::Change(index, proposal)
            }
            (_, committed) => committed,
        }
    }
}

fn step(state: &mut Fldb, committed: Committed) -> Vec<Action> {
    state.step(0, committed)
}

fn without_session(state: &mut Fldb, committed: Committed) -> Vec<Action> {
    let Committed::Change(at, mut proposal) = committed else {
        return state.step(0, committed);
    };
    let whose = proposal.session;
    proposal.session = ChangeSession(u128::from(at).to_le_bytes());
    let mut actions = state.step(0, Committed::Change(at, proposal));
    for action in &mut actions {
        if let Action::Answer { session, .. } = action {
            *session = whose;
        }
    }
    actions
}

fn with_old_epoch(state: &mut Fldb, committed: Committed) -> Vec<Action> {
    let is_claim = matches!(&committed, Committed::Change(_, p) if matches!(p.change, Change::Claim { .. }));
    let mut actions = state.step(0, committed);
    for action in actions.iter_mut().filter(|_| is_claim) {
        match action {
            Action::Answer { outcome, .. } => {
                if let Ok(Some(Record::Aggregate(aggregate))) = outcome {
                    age(aggregate);
                }
            }
            Action::Changed(changed) => {
                for record in &mut changed.put {
                    if let Record::Aggregate(aggregate) = record {
                        age(aggregate);
                    }
                }
            }
        }
    }
    actions
}

fn age(aggregate: &mut Aggregate) {
    aggregate.epoch = Epoch(aggregate.epoch.0 - 1).max(Epoch(1));
}
