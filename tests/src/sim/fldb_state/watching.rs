//! A watcher and the stream it hangs on: in order, at its own pace, until it breaks.

use std::collections::VecDeque;

use baton_flserver::watch::{Action, Event, Tables, pieces};
use baton_proto::v1::{ListReply, WatchReply, watch_reply::Reply};
use baton_rpc::{Follower, News};
use baton_types::record::Table;
use baton_types::{Core, Time};

use super::habit::Habit;
use super::{CLIENTS, Duty, REPLICAS, Wake, World};
use crate::invariants::watchers::Watcher;
use crate::sim::State;

/// Names a stream; never used again.
pub(super) type StreamId = u64;

/// How long a stream lives before it breaks by itself.
const STREAM_LIFE: (Time, Time) = (20_000, 400_000);
/// Between two tries to open a stream.
const RETRY: (Time, Time) = (1_000, 20_000);

/// A member's end of a stream, and what is under way on it.
#[derive(Debug)]
pub(super) struct Stream {
    /// The node at the other end.
    pub node: usize,
    queue: VecDeque<WatchReply>,
    /// A `Take` is on the agenda.
    is_taking: bool,
}

/// One watcher.
#[derive(Debug)]
pub(super) struct Watching {
    tables: Tables,
    follower: Follower,
    /// What it made of the news.
    pub copy: Watcher,
    /// Its stream, and the member at the other end.
    stream: Option<(StreamId, usize)>,
    /// Microseconds that it takes over a message at most.
    pace: Time,
    credit: u32,
}

impl World {
    /// A watcher of some of the tables, quick or slow.
    pub(super) fn new_watching(&mut self) -> Watching {
        let seed = &mut self.seed;
        let tables: Tables = match seed.below(3) {
            0 => Tables::ALL,
            1 => [Table::Fileset, Table::Aggregate, Table::Server].into_iter().collect(),
            _ => Table::ALL.into_iter().filter(|_| seed.chance(400)).collect(),
        };
        Watching {
            tables,
            follower: Follower::default(),
            copy: Watcher::new(tables),
            stream: None,
            pace: *seed.pick(&[100, 2_000, 20_000]),
            credit: u32::try_from(seed.between(1, 5)).unwrap_or(1),
        }
    }

    fn watching(&mut self, node: usize) -> &mut Watching {
        &mut self.watchings[node - REPLICAS - CLIENTS]
    }

    /// Opens a stream at some member, from where the watcher stands.
    pub(super) fn connect(&mut self, node: usize) {
        let member = self.seed.index(REPLICAS);
        let is_there = self.state_of(member) == State::Up && self.is_linked(member, node);
        if self.watching(node).stream.is_some() {
            return;
        }
        if !is_there {
            let delay = self.seed.between(RETRY.0, RETRY.1);
            self.wake(delay, node, Wake::Connect);
            return;
        }
        self.streams += 1;
        let id = self.streams;
        let watching = self.watching(node);
        watching.stream = Some((id, member));
        let mut after = watching.follower.index();
        let (tables, credit) = (watching.tables, watching.credit);
        self.seen.resumed += u64::from(after > 0);
        if self.habit == Habit::ResumesTooLate && after > 0 {
            after += 1;
        }
        self.note(node, format_args!("watches at fl{} after {after}", member + 1));
        let stream = Stream {
            node,
            queue: VecDeque::new(),
            is_taking: false,
        };
        self.replicas[member].streams.insert(id, stream);
        let subscribe = Event::Subscribe {
            watcher: id,
            tables,
            changes_only: Tables::default(),
            after,
            credit,
        };
        self.hub(member, subscribe);
        let life = self.seed.between(STREAM_LIFE.0, STREAM_LIFE.1);
        if !self.is_healed {
            self.wake(life, node, Wake::Break(id));
        }
    }

    fn is_linked(&self, member: usize, node: usize) -> bool {
        !self.network.is_cut(member, node) && !self.network.is_cut(node, member)
    }

    /// Tells the hub of a member what happened, and sends what it says.
    pub(super) fn hub(&mut self, replica: usize, event: Event) {
        for action in self.replicas[replica].hub.step(0, event) {
            let (id, messages) = match action {
                Action::Whole(id, tables, state) => {
                    self.seen.wholes += 1;
                    let size = *self.seed.pick(&[1, 7, 1_000]);
                    (
                        id,
                        pieces(&state, tables).flat_map(|piece| split(piece, size)).collect(),
                    )
                }
                Action::Changed(id, changed) => (id, vec![reply(Reply::Changed((*changed).clone().into()))]),
                Action::Reached(id, index) => (id, vec![reply(Reply::Reached(index))]),
            };
            let Some(stream) = self.replicas[replica].streams.get_mut(&id) else {
                continue;
            };
            stream.queue.extend(messages);
            self.take_later(replica, id);
        }
    }

    /// Puts the next message of a stream on the agenda.
    fn take_later(&mut self, replica: usize, id: StreamId) {
        let Some(stream) = self.replicas[replica].streams.get_mut(&id) else {
            return;
        };
        if stream.is_taking || stream.queue.is_empty() {
            return;
        }
        stream.is_taking = true;
        let node = stream.node;
        let pace = self.watching(node).pace;
        let delay = self.seed.between(50, pace);
        self.wake(delay, node, Wake::Take(id));
    }

    /// The watcher takes a message.
    pub(super) fn take(&mut self, node: usize, id: StreamId) -> Result<(), String> {
        let Some((_, member)) = self.watching(node).stream.filter(|(own, _)| *own == id) else {
            return Ok(());
        };
        if !self.is_linked(member, node) {
            self.break_stream(id);
            return Ok(());
        }
        let Some(stream) = self.replicas[member].streams.get_mut(&id) else {
            return Ok(());
        };
        stream.is_taking = false;
        let Some(message) = stream.queue.pop_front() else {
            return Ok(());
        };
        self.hears(node, member, id, message)?;
        self.take_later(member, id);
        Ok(())
    }

    fn hears(&mut self, node: usize, member: usize, id: StreamId, message: WatchReply) -> Result<(), String> {
        // The pieces of a whole were paid for together.
        let is_piece = matches!(message.reply, Some(Reply::Whole(_)));
        let Ok(news) = self.watching(node).follower.take(message) else {
            self.seen.streams_refused += 1;
            self.note(node, format_args!("refuses what it hears"));
            self.break_stream(id);
            return Ok(());
        };
        for news in news {
            let is_complete = matches!(news, News::Complete(_));
            let watching = &mut self.watchings[node - REPLICAS - CLIENTS];
            watching.copy.hears(news, &self.oracles.agreed)?;
            self.seen.completed += u64::from(is_complete);
        }
        if let Some(index) = self.watching(node).copy.index() {
            self.note(node, format_args!("stands at {index}"));
        }
        if !is_piece {
            let delay = self.seed.between(50, 1_000);
            self.duty(delay, member, Duty::Credit(id));
        }
        Ok(())
    }

    /// The stream is gone; its member learns that a little later, its watcher looks for another.
    pub(super) fn break_stream(&mut self, id: StreamId) {
        let own = |watching: &Watching| watching.stream.filter(|(own, _)| *own == id);
        let Some((place, member)) = (0..)
            .zip(&self.watchings)
            .find_map(|(place, w)| own(w).map(|(_, member)| (place, member)))
        else {
            return;
        };
        let forgets = self.habit == Habit::ForgetsFloor;
        let watching: &mut Watching = &mut self.watchings[place];
        watching.stream = None;
        watching.follower.broken();
        if forgets {
            watching.follower = Follower::default();
        }
        let node = REPLICAS + CLIENTS + place;
        self.note(node, format_args!("lost its stream"));
        let delay = self.seed.between(50, 20_000);
        self.duty(delay, member, Duty::Gone(id));
        let delay = self.seed.between(RETRY.0, RETRY.1);
        self.wake(delay, node, Wake::Connect);
    }

    /// A member learns that a stream is gone.
    pub(super) fn forget_stream(&mut self, replica: usize, id: StreamId) {
        self.replicas[replica].streams.remove(&id);
        self.hub(replica, Event::Gone(id));
    }
}

/// A piece of a whole in pieces of `size` records: a state as small as these travels in one otherwise.
fn split(message: WatchReply, size: usize) -> Vec<WatchReply> {
    match message.reply {
        Some(Reply::Whole(ListReply { index, records })) if records.len() > size => {
            let pieces = records.chunks(size).map(|records| ListReply {
                index,
                records: records.to_vec(),
            });
            pieces.map(|piece| reply(Reply::Whole(piece))).collect()
        }
        _ => vec![message],
    }
}

fn reply(reply: Reply) -> WatchReply {
    WatchReply { reply: Some(reply) }
}
