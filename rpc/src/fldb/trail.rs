//! What came of one call so far: who was asked in vain, and why, so that the error can say it.

use baton_types::{CellName, Error, Kind};

use crate::dial::Target;

/// The members that one call has tried.
#[derive(Debug, Default)]
pub(super) struct Trail {
    tried: Vec<Tried>,
    /// A request was sent of which nobody knows what became.
    pub(super) is_doubtful: bool,
    /// The caller's handle was made anew once already.
    pub(super) has_logged_in_again: bool,
}

#[derive(Debug)]
struct Tried {
    target: Target,
    error: Error,
    /// It greeted; whatever it lacks, it runs.
    is_reached: bool,
    /// Not to be asked again before the others.
    is_avoided: bool,
}

impl Trail {
    /// `target` could not be reached.
    pub(super) fn unreached(&mut self, target: Target, error: Error) {
        self.add(target, error, false);
    }

    /// `target` was reached, and could not do it.
    pub(super) fn reached(&mut self, target: Target, error: Error) {
        self.add(target, error, true);
    }

    fn add(&mut self, target: Target, error: Error, is_reached: bool) {
        let before = self.tried.extract_if(.., |tried| is_same(&tried.target, &target));
        // That time ran out says less than what it had said itself.
        let error = match before.last() {
            Some(before) if before.is_reached && error.kind == Kind::TimedOut => before.error,
            _ => error,
        };
        self.tried.push(Tried {
            target,
            error,
            is_reached,
            is_avoided: true,
        });
    }

    /// True if it was tried in this round.
    pub(super) fn avoids(&self, target: &Target) -> bool {
        self.tried
            .iter()
            .any(|tried| tried.is_avoided && is_same(&tried.target, target))
    }

    /// All may be tried again.
    pub(super) fn next_round(&mut self) {
        self.tried.iter_mut().for_each(|tried| tried.is_avoided = false);
    }

    /// Set when nobody failed in a way that time could mend: then there is nothing to wait for.
    pub(super) fn final_error(&self) -> Option<Error> {
        let is_final = |tried: &Tried| !is_transient(tried.error.kind);
        match self.tried.first() {
            Some(first) if self.tried.iter().all(is_final) => Some(first.error.clone()),
            _ => None,
        }
    }

    /// Time is over.
    pub(super) fn to_error(&self, cell: &CellName) -> Error {
        let head = match () {
            () if self.tried.iter().any(|tried| tried.error.kind == Kind::Moved) => {
                "nobody who answers holds the authority's key"
            }
            () if self.tried.iter().any(|tried| tried.is_reached) => "no quorum",
            () => "nobody answers",
        };
        let remedy = match () {
            () if self.tried.iter().any(|tried| tried.is_reached) => "start the members that are down: fts status",
            () => "check the network, and that flserver runs there",
        };
        let each: Vec<_> = self.tried.iter().map(Tried::text).collect();
        let reason = match each.as_slice() {
            [] => head.to_owned(),
            each => format!("{head} ({})", each.join("; ")),
        };
        Error::new(Kind::Unreachable, format!("location database of {cell}"))
            .because(reason)
            .remedy(remedy)
    }
}

impl Tried {
    fn text(&self) -> String {
        let (target, error) = (&self.target, &self.error);
        let reason = match error.reason.as_str() {
            "" => error.kind.text(),
            reason => reason,
        };
        format!("{target}: {reason}")
    }
}

/// True for what another member, or the same one later, may do after all.
pub(super) fn is_transient(kind: Kind) -> bool {
    matches!(kind, Kind::Unreachable | Kind::TimedOut | Kind::Io | Kind::Moved)
}

fn is_same(one: &Target, other: &Target) -> bool {
    one.address == other.address || (one.name.is_some() && one.name == other.name)
}
