//! Ten thousand watchers of three members: quick, slow and stuck ones, that break off and come back elsewhere, of members
//! that lag, start anew and jump by a snapshot. Each hears each change that it wants once and in order, or everything
//! there is; and what is on its way to one is never more than its credit.

use std::collections::{BTreeMap, VecDeque};

use baton_types::record::Key;
use baton_types::{AggregateId, Epoch, FilesetId};

use super::*;

const WATCHERS: usize = 10_000;
const MEMBERS: usize = 3;
const CHANGES: u64 = 150;
/// Changes that a member keeps: few, so that many who come back are too late.
const KEPT: usize = 24;
/// Until then things break; after that everybody must come to the end.
const TROUBLE: u64 = 110;
const CREDIT: u32 = 3;

/// Random numbers that come out the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }
}

/// A member: its hub, how far it is, and what it has on the way to its watchers.
struct Node {
    hub: Watch,
    state: Fldb,
    streams: BTreeMap<WatcherId, VecDeque<Action>>,
}

struct Follower {
    tables: Tables,
    /// Where it stands; 0 is nowhere.
    place: u64,
    /// Its stream, and at which member that is.
    stream: Option<(usize, WatcherId)>,
    /// It takes a message once in so many rounds.
    pace: u64,
}

/// All of it.
struct Crowd {
    dice: Dice,
    list: Vec<Arc<Changed>>,
    nodes: Vec<Node>,
    followers: Vec<Follower>,
    streams: WatcherId,
    /// Changes told one by one, and wholes.
    told: usize,
    wholes: usize,
    resumed: usize,
}

fn state_at(index: u64) -> Fldb {
    let mut state = Fldb::default();
    if index > 0 {
        state.step(0, Committed::Nothing(index));
    }
    state
}

impl Crowd {
    fn new(seed: u64) -> Crowd {
        let mut dice = Dice(seed * 2 + 1);
        let list = (1..=CHANGES).map(|index| Arc::new(change(index, &mut dice))).collect();
        let node = || Node {
            hub: Watch::new(Fldb::default(), KEPT),
            state: Fldb::default(),
            streams: BTreeMap::new(),
        };
        let kinds = [
            &[Table::Aggregate, Table::Server][..],
            &[Table::Fileset, Table::Aggregate, Table::Server],
            &[Table::Event],
            &Table::ALL,
        ];
        let follower = |number: usize| Follower {
            tables: kinds[number % kinds.len()].iter().copied().collect(),
            place: 0,
            stream: None,
            pace: [1, 1, 3, 40][number / kinds.len() % 4],
        };
        Crowd {
            dice,
            list,
            nodes: (0..MEMBERS).map(|_| node()).collect(),
            followers: (0..WATCHERS).map(follower).collect(),
            streams: 0,
            told: 0,
            wholes: 0,
            resumed: 0,
        }
    }

    fn tell(&mut self, node: usize, event: Event) {
        let node = &mut self.nodes[node];
        for action in node.hub.step(0, event) {
            let id = match &action {
                Action::Whole(id, ..) | Action::Changed(id, _) | Action::Reached(id, _) => *id,
            };
            let stream = node.streams.get_mut(&id).expect("nobody is told who left");
            stream.push_back(action);
            assert!(stream.len() <= CREDIT as usize, "more is on its way than was paid for");
        }
    }

    /// A member applies the next change that it has not; or it jumps to `to` by a snapshot.
    fn advance(&mut self, node: usize) {
        let next = self.nodes[node].state.applied() + 1;
        if let Some(changed) = self.list.get(usize::try_from(next).unwrap() - 1).cloned() {
            self.nodes[node].state = state_at(next);
            let state = self.nodes[node].state.clone();
            self.tell(node, Event::Applied(changed, state));
        }
    }

    fn jump(&mut self, node: usize, to: u64) {
        let state = state_at(to);
        self.nodes[node].state = state.clone();
        self.tell(node, Event::Installed(state));
    }

    /// All streams of a member end; it begins anew at its snapshot, which may be old.
    fn restart(&mut self, node: usize) {
        for follower in &mut self.followers {
            follower.stream = follower.stream.filter(|(at, _)| *at != node);
        }
        let at = self.nodes[node].state.applied();
        let state = state_at(at - self.dice.below(at.min(20) + 1));
        self.nodes[node] = Node {
            hub: Watch::new(state.clone(), KEPT),
            state,
            streams: BTreeMap::new(),
        };
    }

    fn connect(&mut self, number: usize) {
        let node = usize::try_from(self.dice.below(MEMBERS as u64)).unwrap();
        self.streams += 1;
        let id = self.streams;
        let follower = &mut self.followers[number];
        follower.stream = Some((node, id));
        self.resumed += usize::from(follower.place > 0);
        let event = Event::Subscribe {
            watcher: id,
            tables: follower.tables,
            changes_only: Tables::default(),
            after: follower.place,
            credit: CREDIT,
        };
        self.nodes[node].streams.insert(id, VecDeque::new());
        self.tell(node, event);
    }

    fn leave(&mut self, number: usize) {
        if let Some((node, id)) = self.followers[number].stream.take() {
            self.tell(node, Event::Gone(id));
            self.nodes[node].streams.remove(&id);
        }
    }

    /// A watcher takes what is first in its stream, and checks that it follows.
    fn take(&mut self, number: usize) -> bool {
        let Some((node, id)) = self.followers[number].stream else {
            return false;
        };
        let action = self.nodes[node].streams.get_mut(&id).and_then(VecDeque::pop_front);
        let Some(action) = action else { return false };
        let follower = &mut self.followers[number];
        match action {
            Action::Changed(_, changed) => {
                let wanted = |changed: &&Arc<Changed>| cut(changed, follower.tables).is_some();
                let next = self.list[usize::try_from(follower.place).unwrap()..]
                    .iter()
                    .find(wanted);
                assert_eq!(changed.index, next.unwrap().index, "one was left out, or told again");
                assert_eq!(*changed, *cut(next.unwrap(), follower.tables).unwrap());
                follower.place = changed.index;
                self.told += 1;
            }
            Action::Whole(_, tables, state) => {
                assert!(
                    (tables, state.applied() >= follower.place) == (follower.tables, true),
                    "it was taken back"
                );
                follower.place = state.applied();
                self.wholes += 1;
            }
            Action::Reached(_, index) => {
                let from = usize::try_from(follower.place).unwrap();
                assert!(index >= follower.place, "it was taken back");
                let missed = &self.list[from..usize::try_from(index).unwrap()];
                assert!(missed.iter().all(|changed| cut(changed, follower.tables).is_none()));
                follower.place = index;
            }
        }
        self.tell(node, Event::Credit(id, 1));
        true
    }

    /// One change is agreed, members get it or not, and everybody does something or not.
    fn round(&mut self, round: u64) {
        let is_trouble = round < TROUBLE;
        for node in 0..MEMBERS {
            let behind = round.saturating_sub(self.nodes[node].state.applied());
            for _ in 0..self.dice.below(behind.min(6) + 1) {
                self.advance(node);
            }
            if is_trouble && self.dice.one_in(25) {
                self.restart(node);
            } else if is_trouble && self.nodes[node].state.applied() + 3 < round && self.dice.one_in(3) {
                self.jump(node, round - 1);
            }
            if self.dice.one_in(10) {
                self.tell(node, Event::Tick);
            }
        }
        for number in 0..WATCHERS {
            if self.followers[number].stream.is_none() {
                self.connect(number);
            } else if is_trouble && self.dice.one_in(60) {
                self.leave(number);
            } else if self.dice.one_in(self.followers[number].pace) {
                while self.take(number) && self.dice.one_in(2) {}
            }
        }
        for node in &self.nodes {
            assert!(node.hub.ring.len() <= KEPT);
            let told_at_once: usize = node.hub.heads.values().map(BTreeSet::len).sum();
            assert!(told_at_once + node.hub.ahead.len() <= node.hub.watchers());
        }
    }

    /// Everybody takes everything there is.
    fn finish(&mut self) {
        for node in 0..MEMBERS {
            while self.nodes[node].state.applied() < CHANGES {
                self.advance(node);
            }
        }
        for number in 0..WATCHERS {
            if self.followers[number].stream.is_none() {
                self.connect(number);
            }
            while self.take(number) {}
            let follower = &self.followers[number];
            let left = &self.list[usize::try_from(follower.place).unwrap()..];
            let missed = left.iter().find(|changed| cut(changed, follower.tables).is_some());
            assert_eq!(missed, None, "watcher {number} stands at {}", follower.place);
        }
    }
}

/// A change of one to three tables, or an entry of Raft's own.
fn change(index: u64, dice: &mut Dice) -> Changed {
    let mut changed = Changed {
        index,
        ..Changed::default()
    };
    for _ in 0..dice.below(4) {
        let id = AggregateId(uuid::Uuid::from_u128(u128::from(index)));
        let key = match dice.below(4) {
            0 => Key::Aggregate(id),
            1 => Key::Fileset(FilesetId(index)),
            2 => Key::Tenure(id, Epoch(index)),
            _ => Key::Event(index),
        };
        if !changed.gone.contains(&key) {
            changed.gone.push(key);
        }
    }
    changed
}

#[test]
fn ten_thousand_watchers_hear_each_change_once_and_in_order() {
    for seed in 0..2 {
        let mut crowd = Crowd::new(seed);
        for round in 1..=CHANGES {
            crowd.round(round);
        }
        crowd.finish();
        let seen = (crowd.told, crowd.wholes, crowd.resumed);
        assert!(
            seen.0 > 10 * WATCHERS && seen.1 > WATCHERS && seen.2 > WATCHERS,
            "seed {seed}: {seen:?}"
        );
    }
}
