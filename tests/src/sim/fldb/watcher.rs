//! Watchers: each has a copy of some tables and goes on from where it stands when its stream breaks, at another
//! member perhaps. What it is sent are the messages that a daemon would send, as bytes.

use std::sync::Arc;
use std::time::Duration;

use baton_flserver::raft::Member;
use baton_flserver::watch::{Action, Tables, pieces};
use baton_proto::v1::{ListReply, WatchReply, watch_reply::Reply};
use baton_rpc::Follower;
use baton_types::record::Table;
use baton_types::{Result, Time};
use prost::Message;
use tokio::time::{sleep, timeout};

use super::world::{CLIENTS, Phase, Place, Shown, World};
use crate::invariants::watchers::Watcher;

/// A stream that says nothing for so long is dead.
const SILENCE: Duration = Duration::from_millis(400);
/// How long a watcher takes over a message, in microseconds; a slow one is one hundred times as slow.
const TAKES_MICROS: (Time, Time) = (0, 300);
/// Records in one message of the whole state: so few that it breaks in the middle now and then.
const PIECE: usize = 20;
/// How often a stream breaks at a message without any reason, in a thousand.
const BREAKS_PERMILLE: u64 = 10;

pub(super) struct WatchClient {
    world: Arc<World>,
    place: Place,
    tables: Tables,
    follower: Follower,
    copy: Watcher,
    slowness: u64,
}

impl WatchClient {
    pub fn new(world: Arc<World>, client: u64) -> WatchClient {
        let (tables, slowness) = world.draw(|seed| {
            let some = Table::ALL.into_iter().filter(|_| seed.chance(500)).collect();
            let tables = if seed.chance(500) { Tables::ALL } else { some };
            (tables, *seed.pick(&[1, 1, 100]))
        });
        WatchClient {
            world,
            place: CLIENTS + client,
            tables,
            follower: Follower::default(),
            copy: Watcher::new(tables),
            slowness,
        }
    }

    /// Watches until the faults are over, and then until it knows what there is to know.
    pub async fn watch(mut self) -> Result<()> {
        loop {
            let to = self.world.some_member();
            sleep(self.world.draw_time(1_000, 20_000)).await;
            if let Some((life, member)) = self.world.running(to)
                && !self.world.is_cut(self.place, to)
            {
                let after = self.follower.index();
                self.world
                    .note(Shown(self.place), format_args!("watches {} after {after}", Shown(to)));
                if self.follow(to, life, member).await {
                    return Ok(());
                }
                self.follower.broken();
            }
        }
    }

    /// One stream, until it breaks; true if there is nothing more to hear.
    async fn follow(&mut self, to: u64, life: u64, member: Member) -> bool {
        let mut stream = member
            .published()
            .watch(self.tables, Tables::default(), self.follower.index());
        while let Ok(Some(action)) = timeout(SILENCE, stream.next()).await {
            for message in messages(action) {
                let takes = TAKES_MICROS.1 * self.slowness;
                let delays = self.world.delays(to, self.place);
                let breaks = self.world.draw(|seed| seed.chance(BREAKS_PERMILLE));
                let Some(delay) = delays.first().filter(|_| !breaks) else {
                    return false;
                };
                sleep(*delay + self.world.draw_time(TAKES_MICROS.0, takes)).await;
                if !self.world.is_alive(to, life) || self.world.is_cut(to, self.place) || !self.hears(&message) {
                    return false;
                }
            }
            if self.has_heard_all() {
                return true;
            }
        }
        false
    }

    /// Takes a message; false if it cannot follow what came before, and another member is better asked.
    fn hears(&mut self, message: &[u8]) -> bool {
        let Ok(news) = WatchReply::decode(message)
            .map_err(drop)
            .and_then(|reply| self.follower.take(reply).map_err(drop))
        else {
            return false;
        };
        let oracle = self.world.oracle.lock();
        for news in news {
            self.world.check(self.copy.hears(news, &oracle.agreed));
        }
        self.world
            .note(Shown(self.place), format_args!("knows {:?}", self.copy.index()));
        true
    }

    /// True if the history is over and its copy is the last state.
    fn has_heard_all(&self) -> bool {
        let oracle = self.world.oracle.lock();
        let is_over = *self.world.phase.lock() == Phase::Settled;
        let is_there = is_over && self.copy.index() == Some(oracle.agreed.head());
        if is_there {
            self.world.check(self.copy.is_whole(&oracle.agreed));
        }
        is_there
    }
}

/// What a daemon would send, with the whole state in smaller pieces.
fn messages(action: Action) -> Vec<Vec<u8>> {
    let replies: Vec<WatchReply> = match action {
        Action::Whole(_, tables, state) => pieces(&state, tables).flat_map(smaller).collect(),
        Action::Changed(_, changed) => vec![reply(Reply::Changed((*changed).clone().into()))],
        Action::Reached(_, index) => vec![reply(Reply::Reached(index))],
    };
    replies.iter().map(Message::encode_to_vec).collect()
}

fn reply(reply: Reply) -> WatchReply {
    WatchReply { reply: Some(reply) }
}

fn smaller(message: WatchReply) -> Vec<WatchReply> {
    match message.reply {
        Some(Reply::Whole(ListReply { index, records })) if records.len() > PIECE => {
            let piece = |records: &[_]| ListReply {
                index,
                records: records.to_vec(),
            };
            let pieces = records.chunks(PIECE).map(|records| reply(Reply::Whole(piece(records))));
            pieces.collect()
        }
        _ => vec![message],
    }
}
