//! Who is told of which change: a core without I/O.
//!
//! The latest changes are kept in a ring. A watcher has a place in it and a *credit* of messages it may
//! be sent; it costs no memory beyond that, however slow it is. One whose place has left the ring, or
//! who never had one, is first sent the whole state.
//!
//! | event | what follows |
//! |---|---|
//! | `Applied` | every watcher at the head with credit is sent what it wants of the change |
//! | `Installed` | the state jumped: the ring is empty, every watcher behind gets the whole |
//! | `Subscribe` | from its place, or the whole |
//! | `Credit` | as much more of the ring as the credit pays for |
//! | `Tick` | every watcher with credit hears how far it has come |
//! | `Gone` | it is forgotten |
//!
//! What is sent never goes back: a watcher hears indexes that only grow, and between two of them
//! nothing that it wants was left out.

mod pieces;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use baton_types::record::{Changed, Table};
use baton_types::{Core, Time};

use crate::state::Fldb;
pub use pieces::{list_pieces, pieces};

/// A set of tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tables(u16);

impl Tables {
    /// Every table there is.
    pub const ALL: Tables = Tables(u16::MAX);

    /// True if `table` is in it.
    pub fn contains(self, table: Table) -> bool {
        self.0 & 1 << table as u16 != 0
    }

    /// Those that are not in `others`.
    fn without(self, others: Tables) -> Tables {
        Tables(self.0 & !others.0)
    }
}

impl FromIterator<Table> for Tables {
    fn from_iter<I: IntoIterator<Item = Table>>(tables: I) -> Tables {
        Tables(tables.into_iter().fold(0, |set, table| set | 1 << table as u16))
    }
}

/// Names one watch stream of this process.
pub type WatcherId = u64;

/// What can happen.
#[derive(Clone, Debug)]
pub enum Event {
    /// An entry was applied; the state is as after it.
    Applied(Arc<Changed>, Fldb),
    /// A snapshot replaced the state.
    Installed(Fldb),
    /// Somebody wants to know what changes after an index.
    Subscribe {
        /// Not in use yet.
        watcher: WatcherId,
        /// What of.
        tables: Tables,
        /// Of these it is never sent what there is: a million filesets, of which it wants to know three.
        changes_only: Tables,
        /// From where: 0 for everything.
        after: u64,
        /// Messages that may be sent before more credit comes.
        credit: u32,
    },
    /// The watcher took some messages.
    Credit(WatcherId, u32),
    /// Time for a sign of life.
    Tick,
    /// Its stream is closed.
    Gone(WatcherId),
}

/// What is to be sent.
#[derive(Clone, Debug)]
pub enum Action {
    /// All records of its tables in this state.
    Whole(WatcherId, Tables, Box<Fldb>),
    /// A change, cut down to its tables.
    Changed(WatcherId, Arc<Changed>),
    /// Nothing of its tables changed up to this index.
    Reached(WatcherId, u64),
}

#[derive(Debug)]
struct Watcher {
    tables: Tables,
    /// What it is sent of where it has to begin anew.
    whole: Tables,
    /// It needs nothing at or before this index; none before it was sent the whole. Not kept up for one at the head.
    place: Option<u64>,
    credit: u32,
    is_at_head: bool,
}

/// The ring and the places in it.
#[derive(Debug)]
pub struct Watch {
    state: Fldb,
    /// One for every index after `trimmed`, in order, without a gap.
    ring: VecDeque<Arc<Changed>>,
    trimmed: u64,
    kept_max: usize,
    watchers: BTreeMap<WatcherId, Watcher>,
    /// Those who have heard everything and have credit, by what they want: a change is cut once for all who want the
    /// same, and costs nothing for those who want none of it.
    heads: BTreeMap<Tables, BTreeSet<WatcherId>>,
    /// Those with credit who come from a faster member, by their places.
    ahead: BTreeSet<(u64, WatcherId)>,
}

impl Watch {
    /// Begins at `state` and keeps at most `kept_max` changes.
    pub fn new(state: Fldb, kept_max: usize) -> Watch {
        Watch {
            trimmed: state.applied(),
            state,
            ring: VecDeque::new(),
            kept_max,
            watchers: BTreeMap::new(),
            heads: BTreeMap::new(),
            ahead: BTreeSet::new(),
        }
    }

    /// How many watch.
    pub fn watchers(&self) -> usize {
        self.watchers.len()
    }

    fn applied(&mut self, changed: Arc<Changed>, state: Fldb) -> Vec<Action> {
        let expected = self.state.applied() + 1;
        assert_eq!(
            changed.index, expected,
            "changes come in the order of the log, without a gap"
        );
        self.state = state;
        let mut actions = self.tell_heads(&changed);
        self.ring.push_back(changed);
        while self.ring.len() > self.kept_max {
            self.ring.pop_front();
            self.trimmed += 1;
        }
        while let Some(&(place, id)) = self.ahead.first().filter(|(place, _)| *place <= expected) {
            self.ahead.remove(&(place, id));
            actions.extend(self.pump(id));
        }
        actions
    }

    /// Sends a change to everybody at the head who wants some of it.
    fn tell_heads(&mut self, changed: &Arc<Changed>) -> Vec<Action> {
        let mut actions = Vec::new();
        for (tables, head) in &mut self.heads {
            let Some(wanted) = cut(changed, *tables) else { continue };
            head.retain(|id| {
                let Some(watcher) = self.watchers.get_mut(id) else {
                    return false;
                };
                watcher.credit -= 1;
                actions.push(Action::Changed(*id, wanted.clone()));
                if watcher.credit == 0 {
                    (watcher.is_at_head, watcher.place) = (false, Some(changed.index));
                }
                watcher.credit > 0
            });
        }
        self.heads.retain(|_, head| !head.is_empty());
        actions
    }

    /// A snapshot is there: what lies between is not known.
    fn installed(&mut self, state: Fldb) -> Vec<Action> {
        let before = self.state.applied();
        assert!(
            state.applied() >= before,
            "a snapshot at {} after {before}: the state went backwards",
            state.applied(),
        );
        (self.trimmed, self.state) = (state.applied(), state);
        self.ring.clear();
        self.heads.clear();
        self.ahead.clear();
        for watcher in self.watchers.values_mut().filter(|watcher| watcher.is_at_head) {
            (watcher.is_at_head, watcher.place) = (false, Some(before));
        }
        let ids: Vec<WatcherId> = self.watchers.keys().copied().collect();
        ids.into_iter().flat_map(|id| self.pump(id)).collect()
    }

    /// Sends `id` what it has credit for.
    fn pump(&mut self, id: WatcherId) -> Vec<Action> {
        let newest = self.state.applied();
        let Some(watcher) = self.watchers.get_mut(&id).filter(|watcher| !watcher.is_at_head) else {
            return Vec::new();
        };
        let mut actions = Vec::new();
        while watcher.credit > 0 {
            let Some(place) = watcher.place.filter(|place| *place >= self.trimmed) else {
                watcher.place = Some(newest);
                watcher.credit -= 1;
                actions.push(Action::Whole(id, watcher.whole, Box::new(self.state.clone())));
                continue;
            };
            let at = usize::try_from(place - self.trimmed).unwrap_or(usize::MAX);
            // Nothing newer is here; a watcher that comes from a faster member waits until this one gets there.
            let Some(changed) = self.ring.get(at) else {
                watcher.is_at_head = place == newest;
                match watcher.is_at_head {
                    true => self.heads.entry(watcher.tables).or_default().insert(id),
                    false => self.ahead.insert((place, id)),
                };
                break;
            };
            watcher.place = Some(changed.index);
            if let Some(wanted) = cut(changed, watcher.tables) {
                watcher.credit -= 1;
                actions.push(Action::Changed(id, wanted));
            }
        }
        actions
    }

    /// A sign of life even if nothing moved; only with credit, so that a stuck peer costs nothing.
    fn tick(&mut self) -> Vec<Action> {
        let (newest, mut actions, mut spent) = (self.state.applied(), Vec::new(), Vec::new());
        for (id, watcher) in &mut self.watchers {
            let place = watcher
                .place
                .map(|place| if watcher.is_at_head { newest } else { place });
            if let Some(place) = place
                && watcher.credit > 0
            {
                watcher.credit -= 1;
                watcher.place = Some(place);
                actions.push(Action::Reached(*id, place));
                if watcher.credit == 0 {
                    spent.push(*id);
                }
            }
        }
        for id in spent {
            self.leave(id);
        }
        actions
    }

    /// Takes `id` from those who are told at once.
    fn leave(&mut self, id: WatcherId) {
        let Some(watcher) = self.watchers.get_mut(&id) else {
            return;
        };
        watcher.is_at_head = false;
        if let Some(head) = self.heads.get_mut(&watcher.tables) {
            head.remove(&id);
        }
        if let Some(place) = watcher.place {
            self.ahead.remove(&(place, id));
        }
    }
}

impl Core for Watch {
    type Event = Event;
    type Action = Action;

    fn step(&mut self, _now: Time, event: Event) -> Vec<Action> {
        match event {
            Event::Applied(changed, state) => self.applied(changed, state),
            Event::Installed(state) => self.installed(state),
            Event::Subscribe {
                watcher,
                tables,
                changes_only,
                after,
                credit,
            } => {
                // Who has nothing gets the whole, even where the ring goes back to the beginning.
                let place = (after > 0).then_some(after);
                let begun = Watcher {
                    tables,
                    whole: tables.without(changes_only),
                    place,
                    credit,
                    is_at_head: false,
                };
                let before = self.watchers.insert(watcher, begun);
                assert!(before.is_none(), "watcher {watcher} is there already");
                self.pump(watcher)
            }
            Event::Credit(id, count) => {
                if let Some(watcher) = self.watchers.get_mut(&id) {
                    watcher.credit = watcher.credit.saturating_add(count);
                }
                self.pump(id)
            }
            Event::Tick => self.tick(),
            Event::Gone(id) => {
                self.leave(id);
                self.watchers.remove(&id);
                Vec::new()
            }
        }
    }
}

/// What of `changed` is in `tables`; none if nothing is.
fn cut(changed: &Arc<Changed>, tables: Tables) -> Option<Arc<Changed>> {
    let wanted = |table: Table| tables.contains(table);
    let all = changed.put.iter().all(|r| wanted(r.key().table())) && changed.gone.iter().all(|k| wanted(k.table()));
    if all {
        return (!changed.put.is_empty() || !changed.gone.is_empty()).then(|| changed.clone());
    }
    let put: Vec<_> = changed
        .put
        .iter()
        .filter(|r| wanted(r.key().table()))
        .cloned()
        .collect();
    let gone: Vec<_> = changed.gone.iter().filter(|k| wanted(k.table())).cloned().collect();
    (!put.is_empty() || !gone.is_empty()).then(|| {
        Arc::new(Changed {
            index: changed.index,
            put,
            gone,
        })
    })
}

#[cfg(test)]
mod tests;
