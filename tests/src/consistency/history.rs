//! Linearizability of one object's history, by Lowe's just-in-time search (*Testing for linearizability*, 2017).
//!
//! Calls and returns are gone through in the order of time. A configuration is a state of the object and the set of
//! calls under way that have taken effect in it. When a call returns, it has taken effect in every configuration that
//! stays; when none stays, no order explains the history.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;

/// What an object is supposed to do.
pub trait Object {
    /// All there is to know of it.
    type State: Clone + Eq + Hash + Debug;
    /// What was asked, and what was answered.
    type Call: Clone + Debug;

    /// The state in which it begins.
    fn initial(&self) -> Self::State;
    /// The state after `call`; `None` if in this state that could not have been the answer.
    fn after(&self, state: &Self::State, call: &Self::Call) -> Option<Self::State>;
}

/// One call of one thread.
#[derive(Clone, Debug)]
pub struct Timed<C> {
    /// When and where.
    pub when: When,
    /// What.
    pub call: C,
}

/// When a call was made, by a clock that all threads share.
#[derive(Clone, Copy, Debug)]
pub struct When {
    /// Through which mount, from 1 on.
    pub mount: usize,
    /// When it began.
    pub begun: u64,
    /// When it had returned.
    pub ended: u64,
}

/// Configurations at once: with a handful of threads there are a few dozen.
const CONFIGURATIONS_MAX: usize = 1 << 20;

/// A call that no order explains, and what went before it.
#[derive(Debug)]
pub struct Violation {
    /// The calls that were under way or ended shortly before, the inexplicable one last.
    pub lines: Vec<String>,
}

/// Searches an order that explains `calls`.
///
/// # Errors
/// The first return that none explains.
pub fn check<O: Object>(object: &O, calls: &[Timed<O::Call>]) -> Result<(), Violation> {
    // (time, is a return, which): at one time calls come before returns, so that they count as overlapping.
    let mut events: Vec<(u64, bool, usize)> = (0..calls.len())
        .flat_map(|i| [(calls[i].when.begun, false, i), (calls[i].when.ended, true, i)])
        .collect();
    events.sort_unstable();
    let mut under_way: Vec<usize> = Vec::new();
    let mut configurations = HashSet::from([(object.initial(), Vec::<usize>::new())]);
    for (at, (_, is_return, call)) in events.iter().enumerate() {
        if !is_return {
            under_way.push(*call);
            continue;
        }
        configurations = returned(object, calls, &under_way, configurations, *call);
        under_way.retain(|other| other != call);
        if configurations.is_empty() {
            return Err(violation(calls, &events[..=at]));
        }
        assert!(
            configurations.len() <= CONFIGURATIONS_MAX,
            "too many calls at once to be judged"
        );
    }
    Ok(())
}

type Configurations<S> = HashSet<(S, Vec<usize>)>;

/// Lets every configuration go on until `call` has taken effect in it.
fn returned<O: Object>(
    object: &O,
    calls: &[Timed<O::Call>],
    under_way: &[usize],
    before: Configurations<O::State>,
    call: usize,
) -> Configurations<O::State> {
    let mut after = HashSet::new();
    let mut seen = before.clone();
    let mut open: Vec<_> = before.into_iter().collect();
    while let Some((state, done)) = open.pop() {
        if done.contains(&call) {
            let done = done.into_iter().filter(|other| *other != call).collect();
            after.insert((state, done));
            continue;
        }
        for next in under_way.iter().filter(|next| !done.contains(next)) {
            let Some(state) = object.after(&state, &calls[*next].call) else {
                continue;
            };
            let mut done = done.clone();
            done.push(*next);
            done.sort_unstable();
            if seen.insert((state.clone(), done.clone())) {
                open.push((state, done));
            }
        }
    }
    after
}

/// Calls shown beside one that cannot be explained.
const SHOWN: usize = 24;

fn violation<C: Debug>(calls: &[Timed<C>], events: &[(u64, bool, usize)]) -> Violation {
    let mut shown: Vec<usize> = Vec::new();
    for (_, _, call) in events.iter().rev() {
        if !shown.contains(call) {
            shown.push(*call);
        }
        if shown.len() == SHOWN {
            break;
        }
    }
    shown.reverse();
    let line = |call: &usize| {
        let Timed { when, call } = &calls[*call];
        let When { mount, begun, ended } = when;
        format!("{begun:>12} to {ended:>12} by mount {mount}: {call:?}")
    };
    Violation {
        lines: shown.iter().map(line).collect(),
    }
}

#[cfg(test)]
mod tests;
