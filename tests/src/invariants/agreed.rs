//! One index, one command, one state: what the first member to apply an index made of it, everybody makes of it.
//!
//! The oracle keeps every command that was ever applied anywhere and applies each once, in order, to a state of
//! its own. A member that was restarted, or caught up by a snapshot, must stand where that state stood.

use baton_flserver::state::{Action, Committed, Fldb};
use baton_types::Core;
use baton_types::change::Proposal;
use baton_types::record::Changed;

use super::Verdict;

/// What a command makes of a state.
pub type Apply = fn(&mut Fldb, Committed) -> Vec<Action>;

/// The commands that were applied, and where they lead.
#[derive(Debug)]
pub struct Agreed {
    steps: Vec<Step>,
    nothing: Fldb,
    apply: Apply,
}

impl Default for Agreed {
    fn default() -> Agreed {
        Agreed::new(Fldb::default(), |state, committed| state.step(0, committed))
    }
}

/// What one index did.
#[derive(Debug)]
pub struct Step {
    who: String,
    term: u64,
    /// The command; none for an entry of Raft's own.
    pub proposal: Option<Proposal>,
    /// What watchers are told.
    pub changed: Changed,
    /// The answer, and the index at which it was given first.
    pub answer: Option<(u64, baton_flserver::state::Outcome)>,
    /// The state after it.
    pub state: Fldb,
}

impl Agreed {
    /// Begins at `nothing`; whoever shows that another oracle bites says how commands are applied besides.
    pub fn new(nothing: Fldb, apply: Apply) -> Agreed {
        Agreed {
            steps: Vec::new(),
            nothing,
            apply,
        }
    }

    /// `who` applied `committed`, made in `term`. Returns the step if nobody had before.
    ///
    /// # Errors
    /// Another command was applied at this index, or none at the one before.
    pub fn applied(&mut self, who: &str, term: u64, committed: &Committed) -> Result<Option<&Step>, String> {
        let (index, proposal) = match committed {
            Committed::Change(index, proposal) => (*index, Some(&**proposal)),
            Committed::Nothing(index) => (*index, None),
        };
        let head = self.head();
        if index > head + 1 {
            return Err(format!(
                "{who} applied index {index}, and nobody ever applied {}",
                head + 1
            ));
        }
        if index <= head {
            let first = &self.steps[position(index)];
            if first.term == term && first.proposal.as_ref() == proposal {
                return Ok(None);
            }
            return Err(format!(
                "two commands at index {index}: {} applied {} of term {}, {who} {} of term {term}",
                first.who,
                told(first.proposal.as_ref()),
                first.term,
                told(proposal),
            ));
        }
        let step = self.step(who, term, committed, proposal);
        self.steps.push(step);
        Ok(self.steps.last())
    }

    fn step(&self, who: &str, term: u64, committed: &Committed, proposal: Option<&Proposal>) -> Step {
        let mut step = Step {
            who: who.to_owned(),
            term,
            proposal: proposal.cloned(),
            changed: Changed::default(),
            answer: None,
            state: self.state(self.head()).unwrap_or(&self.nothing).clone(),
        };
        for action in (self.apply)(&mut step.state, committed.clone()) {
            match action {
                Action::Answer { index, outcome, .. } => step.answer = Some((index, outcome)),
                Action::Changed(changed) => step.changed = changed,
            }
        }
        step
    }

    /// The highest index that anybody applied.
    pub fn head(&self) -> u64 {
        self.steps.len() as u64
    }

    /// What the index did, if anybody applied it.
    pub fn at(&self, index: u64) -> Option<&Step> {
        self.steps.get(position(index))
    }

    /// The steps after the index `after`, up to `to`.
    pub fn between(&self, after: u64, to: u64) -> &[Step] {
        let end = self.steps.len().min(position(to + 1));
        &self.steps[position(after + 1).min(end)..end]
    }

    /// The state as of an index.
    pub fn state(&self, index: u64) -> Option<&Fldb> {
        match index {
            0 => Some(&self.nothing),
            index => self.at(index).map(|step| &step.state),
        }
    }

    /// `actions` are what followed from the index at `who`.
    ///
    /// # Errors
    /// Something else followed from it elsewhere.
    pub fn same_actions(&self, who: &str, index: u64, actions: &[Action]) -> Verdict {
        let is_same = |step: &Step, action: &Action| match action {
            Action::Answer { index, outcome, .. } => step.answer.as_ref() == Some(&(*index, outcome.clone())),
            Action::Changed(changed) => step.changed == *changed,
        };
        match self.at(index) {
            Some(step) if actions.iter().all(|action| is_same(step, action)) => Ok(()),
            agreed => Err(format!("{who} made {actions:?} of index {index}, others {agreed:?}")),
        }
    }

    /// `state` is what `who` made of the commands.
    ///
    /// # Errors
    /// It is not what the commands make.
    pub fn same(&self, who: &str, state: &Fldb) -> Verdict {
        match self.state(state.applied()) {
            Some(agreed) if agreed == state => Ok(()),
            Some(_) => Err(format!(
                "{who} has another state at index {} than the commands up to it make",
                state.applied()
            )),
            None => Err(format!("{who} is at index {}, which nobody applied", state.applied())),
        }
    }
}

/// Where the step of an index is; the database's indexes begin at 1.
fn position(index: u64) -> usize {
    usize::try_from(index).map_or(usize::MAX, |index| index.wrapping_sub(1))
}

fn told(proposal: Option<&Proposal>) -> String {
    match proposal {
        None => "nothing".to_owned(),
        Some(proposal) => format!(
            "change {} of session {:02x}{:02x}",
            proposal.sequence, proposal.session.0[0], proposal.session.0[1]
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::{genesis, set};

    #[test]
    fn second_command_at_an_index_is_noticed() {
        let mut agreed = Agreed::default();
        assert!(agreed.applied("fl1", 1, &Committed::Nothing(1)).unwrap().is_some());
        assert!(agreed.applied("fl2", 1, &Committed::Nothing(1)).unwrap().is_none());
        assert!(
            agreed.applied("fl2", 2, &Committed::Nothing(1)).is_err(),
            "of another term"
        );
        agreed.applied("fl1", 1, &genesis(2)).unwrap();
        let error = agreed.applied("fl2", 1, &set(2, 1, "other")).unwrap_err();
        assert!(error.starts_with("two commands at index 2: fl1 applied"), "{error}");
    }

    #[test]
    fn gap_is_noticed() {
        let mut agreed = Agreed::default();
        let error = agreed.applied("fl1", 1, &Committed::Nothing(2)).unwrap_err();
        assert!(error.contains("nobody ever applied 1"), "{error}");
    }

    #[test]
    fn state_that_went_another_way_is_noticed() {
        let mut agreed = Agreed::default();
        agreed.applied("fl1", 1, &genesis(1)).unwrap();
        agreed.applied("fl1", 1, &set(2, 1, "one")).unwrap();
        let mut other = agreed.state(1).unwrap().clone();
        assert_eq!(agreed.same("fl2", &other), Ok(()));
        other.step(0, set(2, 1, "two"));
        assert!(agreed.same("fl2", &other).is_err());
        other.step(0, Committed::Nothing(3));
        assert!(agreed.same("fl2", &other).unwrap_err().contains("nobody applied"));
    }

    #[test]
    fn other_actions_are_noticed() {
        let mut agreed = Agreed::default();
        agreed.applied("fl1", 1, &genesis(1)).unwrap();
        agreed.applied("fl1", 1, &set(2, 1, "one")).unwrap();
        let mut state = agreed.state(1).unwrap().clone();
        let actions = state.step(0, set(2, 1, "one"));
        assert_eq!(agreed.same_actions("fl2", 2, &actions), Ok(()));
        for other in &actions {
            assert!(agreed.same_actions("fl2", 1, std::slice::from_ref(other)).is_err());
        }
    }
}
