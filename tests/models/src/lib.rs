//! Exhaustive models of who may write an aggregate: every state that pauses, crashes and late writes can lead to.
//!
//! | model | asks |
//! |---|---|
//! | [`ownership`] | slots, seals and looks: is anything lost, brought back or written over? |
//! | [`space`] | reserves and roots: what must be looked at before it is used? |
//! | [`blocks`] | blocks freed and used again: how long must a free wait, and what may recovery trust? |
//!
//! There is no clock in them. A server may stop anywhere for any time; what it was writing lands at any later moment or
//! never; the location database declares failovers as it likes, right or wrong, and grants are acted upon late. Each
//! rule of the real fence has a variant without it, and each such variant has a counter-example. The same adversary
//! meets the real code in the simulation `store-fence`.

pub mod blocks;
pub mod ownership;
pub mod space;

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{Hash, Hasher};

/// Servers of every model.
pub const SERVERS: usize = 2;

/// States, and what leads from one to the next.
pub trait Model {
    /// All that there is at one moment.
    type State: Clone + Hash;

    /// Where everything begins.
    fn start(&self) -> Self::State;

    /// What may happen next.
    fn next(&self, state: &Self::State) -> Vec<Step<Self::State>>;

    /// What must not be, if it is so in `state`.
    fn wrong(&self, state: &Self::State) -> Option<String>;
}

/// One thing that happens.
pub struct Step<S> {
    label: String,
    leads_to: Result<S, String>,
}

impl<S> Step<S> {
    /// `label` happens.
    pub fn to(label: impl Into<String>, state: S) -> Step<S> {
        Step {
            label: label.into(),
            leads_to: Ok(state),
        }
    }

    /// `label` happens, and that is wrong.
    pub fn wrong(label: impl Into<String>, what: String) -> Step<S> {
        Step {
            label: label.into(),
            leads_to: Err(what),
        }
    }
}

/// What a search came to.
#[derive(Debug)]
pub enum Outcome {
    /// Every state was seen, and none is wrong.
    Holds {
        /// How many there are.
        states: usize,
    },
    /// So many were seen, and none is wrong.
    Unfinished {
        /// How many.
        states: usize,
    },
    /// The shortest way to something wrong.
    Violated {
        /// What.
        what: String,
        /// How many states were seen before.
        states: usize,
        /// Step by step.
        trace: Vec<String>,
    },
}

impl Outcome {
    /// True if every state was seen and none is wrong.
    pub fn holds(&self) -> bool {
        matches!(self, Outcome::Holds { .. })
    }

    /// True if something is wrong.
    pub fn is_violated(&self) -> bool {
        matches!(self, Outcome::Violated { .. })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Holds { states } => write!(f, "holds: all {states} states"),
            Outcome::Unfinished { states } => write!(f, "no violation in the first {states} states"),
            Outcome::Violated { what, states, .. } => write!(f, "violated after {states} states: {what}"),
        }
    }
}

/// Where a state was first reached from, and by what.
struct Reached {
    from: usize,
    label: Box<str>,
}

/// Goes through the states of `model`, nearest first, until one is wrong or `states_max` were seen.
pub fn explore<M: Model>(model: &M, states_max: usize) -> Outcome {
    let start = model.start();
    let mut seen = HashMap::from([(fingerprint(&start), 0)]);
    let mut reached = vec![Reached {
        from: 0,
        label: "".into(),
    }];
    let mut queue = VecDeque::from([(start, 0)]);
    while let Some((state, id)) = queue.pop_front() {
        for Step { label, leads_to } in model.next(&state) {
            let wrong = match &leads_to {
                Ok(next) => model.wrong(next),
                Err(what) => Some(what.clone()),
            };
            if let Some(what) = wrong {
                let trace = trace(&reached, id, label);
                let states = reached.len();
                return Outcome::Violated { what, states, trace };
            }
            let Ok(next) = leads_to else { continue };
            let count = reached.len();
            if *seen.entry(fingerprint(&next)).or_insert(count) == count {
                reached.push(Reached {
                    from: id,
                    label: label.into(),
                });
                queue.push_back((next, count));
            }
        }
        if reached.len() > states_max {
            return Outcome::Unfinished { states: reached.len() };
        }
    }
    Outcome::Holds { states: reached.len() }
}

fn trace(reached: &[Reached], mut id: usize, last: String) -> Vec<String> {
    let mut trace = vec![last];
    while id != 0 {
        trace.push(reached[id].label.to_string());
        id = reached[id].from;
    }
    trace.reverse();
    trace
}

/// 128 bits for a state: a collision would hide one, and is less likely than a flipped bit of memory.
fn fingerprint(state: &impl Hash) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        state.hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(1) << 64 | half(2)
}
