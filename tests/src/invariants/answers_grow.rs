//! A session's later change is done at a later index.

use std::collections::BTreeMap;

use baton_types::change::ChangeSession;

use super::Verdict;

/// The last answer of each session.
#[derive(Debug, Default)]
pub struct AnswersGrow {
    last: BTreeMap<ChangeSession, (u32, u64)>,
}

impl AnswersGrow {
    /// A change, by its session and sequence, was acknowledged as done at `index`.
    ///
    /// # Errors
    /// Not after the change before it.
    pub fn answered(&mut self, (session, sequence): (ChangeSession, u32), index: u64) -> Verdict {
        let (before, at) = self.last.insert(session, (sequence, index)).unwrap_or_default();
        if sequence <= before || index <= at {
            return Err(format!(
                "change {sequence} was done at {index}, after change {before} at {at}"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_back_is_noticed() {
        let (one, two) = (ChangeSession([1; 16]), ChangeSession([2; 16]));
        let mut answers = AnswersGrow::default();
        answers.answered((one, 1), 5).unwrap();
        answers.answered((two, 1), 4).unwrap();
        answers.answered((one, 3), 6).unwrap();
        assert!(answers.answered((one, 4), 6).is_err(), "two at one index");
        assert!(answers.answered((two, 1), 9).is_err(), "the same again");
    }
}
