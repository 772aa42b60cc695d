//! The location database with its real Raft beneath: members, clients and watchers, under faults.
//!
//! What is real: openraft, our log storage, state machine, membership and network glue, the published state and
//! its watchers. What is not: time (paused, it jumps to the next timer), the wire, the disks, and everything above
//! the wire. After the last fault all must come to one end, and at every step all oracles must agree.
//!
//! A seed decides a history only in the program `sim`, which answers the libraries' calls for randomness itself;
//! the order in which the runtime wakes tasks is seeded here.
//!
//! | file | is |
//! |---|---|
//! | `fldb/plan.rs` | what kind of history it is |
//! | `fldb/world.rs` | what all parts share |
//! | `fldb/wire.rs` | the way between members |
//! | `fldb/host.rs` | a member's machine: its disk, and the lives of its process |
//! | `fldb/faults.rs` | what goes wrong |
//! | `fldb/admin.rs`, `fldb/client.rs`, `fldb/watcher.rs` | who uses the group |
//! | `fldb/changes.rs` | what they change |
//! | `fldb/oracle.rs` | what must hold |
//! | `fldb/stories.rs` | histories that are told and not drawn |

mod admin;
mod changes;
mod client;
mod faults;
mod host;
mod oracle;
mod plan;
mod stories;
mod watcher;
mod wire;
mod world;

use std::sync::Arc;
use std::time::Duration;

use baton_flserver::raft::Member;
use baton_types::Result;
use futures::future::BoxFuture;
use tokio::runtime::{Builder, RngSeed};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Seed, Trace, Violation, swallowed};
use admin::ADMINISTRATOR;
use client::Session;
pub use plan::Plan;
use plan::{FAULTS_UNTIL, Growth};
pub use stories::{Disks, Restart, leader_with_an_unsynced_entry, power_cut, retired_leader, second_candidate};
use watcher::WatchClient;
use world::{Phase, Shown, World};

/// Clients that make changes; after them come those that read, and those that watch.
const WRITERS: u64 = 3;
const READERS: u64 = 2;
const WATCHERS: u64 = 2;
/// From the last fault to the end everything must be done within this time.
const SETTLED_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked whether all members agree.
const LOOK: Duration = Duration::from_millis(20);

/// One history, drawn from its seed.
///
/// # Errors
/// What an oracle found, or a group that does not come to its end.
pub fn history(number: u64) -> Result<Trace, Violation> {
    history_of(number, |plan| plan)
}

/// The same history, after `change` was made to the plan that was drawn.
///
/// # Errors
/// As [`history`].
pub fn history_of(number: u64, change: fn(Plan) -> Plan) -> Result<Trace, Violation> {
    let mut seed = Seed::new(number);
    let plan = change(Plan::drawn(&mut seed));
    told(number, plan, seed, |world| Box::pin(drawn(world)))
}

/// A history of its own: what `story` does, under the eyes of the oracles.
fn told(
    number: u64,
    plan: Plan,
    mut seed: Seed,
    story: impl FnOnce(Arc<World>) -> BoxFuture<'static, Result<(), String>>,
) -> Result<Trace, Violation> {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(RngSeed::from_bytes(&seed.draw().to_le_bytes()))
        .build();
    let runtime = runtime.map_err(|e| Trace::new(number).violation(format!("no runtime: {e}")))?;
    runtime.block_on(async {
        let world = World::new(number, plan, seed);
        let ended = tokio::select! {
            biased;
            violation = world.broken() => Err(violation),
            ended = story(world.clone()) => ended.map_err(|what| world.violation(what)),
        };
        // A runtime keeps the panics of its tasks to itself, and what they lead to hides them.
        let ended = match (ended, swallowed()) {
            (Ok(()), Some(what)) => Err(world.violation(what)),
            (Err(violation), Some(what)) => Err(Violation { what, ..violation }),
            (ended, None) => ended,
        };
        let trace = world.into_trace();
        ended.map(|()| trace)
    })
}

/// Everything that a drawn history is.
async fn drawn(world: Arc<World>) -> Result<(), String> {
    let mut session = Session::new(world.clone(), ADMINISTRATOR);
    world.found(&mut session).await.map_err(|e| e.to_string())?;
    if world.plan.growth == Growth::Calm {
        world.grow(&mut session).await.map_err(|e| e.to_string())?;
        world.settled(Instant::now() + SETTLED_WITHIN).await?;
    }
    let users = users(&world, session);
    let watchers = (0..WATCHERS).map(|client| WatchClient::new(world.clone(), WRITERS + READERS + client));
    let watchers = watchers.map(|client| tokio::spawn(client.watch())).collect();
    world.trouble();
    sleep(Duration::from_micros(FAULTS_UNTIL)).await;
    world.heal();

    let end = Instant::now() + SETTLED_WITHIN;
    ended(users, end, "a client").await?;
    world.settled(end).await?;
    *world.phase.lock() = Phase::Settled;
    ended(watchers, end, "a watcher").await
}

fn users(world: &Arc<World>, session: Session) -> Vec<JoinHandle<Result<()>>> {
    let administrator = tokio::spawn(world.clone().administrate(session));
    let writers = (0..WRITERS).map(|client| tokio::spawn(world.clone().make_changes(client)));
    let readers = (WRITERS..WRITERS + READERS).map(|client| tokio::spawn(world.clone().read(client)));
    std::iter::once(administrator).chain(writers).chain(readers).collect()
}

async fn ended(tasks: Vec<JoinHandle<Result<()>>>, end: Instant, who: &str) -> Result<(), String> {
    for task in tasks {
        match timeout_at(end, task).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => return Err(format!("{who}: {error}")),
            Ok(Err(panic)) => return Err(format!("{who}: {panic}")),
            Err(_) => return Err(format!("long after the last fault {who} had not come to its end")),
        }
    }
    Ok(())
}

impl World {
    /// Waits until all members are where the last of them is, and membership is what the records say.
    async fn settled(&self, end: Instant) -> Result<(), String> {
        while let Err(why) = self.is_settled() {
            if Instant::now() >= end {
                return Err(format!("it took too long: {why}"));
            }
            sleep(LOOK).await;
        }
        let newest = self.oracle.lock().newest().dump();
        for (number, member) in self.members()? {
            if member.published().state().dump() != newest {
                return Err(format!("at the end {} has another state", Shown(number)));
            }
        }
        Ok(())
    }

    fn is_settled(&self) -> Result<(), String> {
        let head = self.oracle.lock().agreed.head();
        let members = self.members()?;
        let wanted: Vec<u64> = members.iter().map(|(number, _)| *number).collect();
        for (number, member) in &members {
            let (applied, status) = (member.published().state().applied(), member.status());
            if applied != head {
                return Err(format!("{} has applied {applied} of {head}", Shown(*number)));
            }
            let places: Vec<u64> = member.peers().into_keys().collect();
            if status.changing || status.voters != wanted || places != wanted {
                return Err(format!(
                    "{} knows the voters {:?} among {places:?}, the records say {wanted:?}",
                    Shown(*number),
                    status.voters
                ));
            }
        }
        Ok(())
    }

    /// All that the records call members, and that are running.
    fn members(&self) -> Result<Vec<(u64, Member)>, String> {
        let state = self.oracle.lock().newest();
        let running = state.members().map(|record| {
            let running = self.running(record.number).map(|(_, member)| (record.number, member));
            running.ok_or_else(|| format!("{} is not running", record.name))
        });
        running.collect()
    }
}
