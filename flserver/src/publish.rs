//! What of the state everybody else sees: the value as of the last entry applied, and the watchers of it.
//!
//! The state machine's one thread writes here; lookups read without waiting for it. The hub of the
//! watchers stands behind one mutex, held for the time it takes to decide who is sent what. They are told a few at a
//! time: whoever waits for an answer, and the other members, do not stand in line behind a thousand of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use baton_types::limits::{WATCH_CHANGES_MAX, WATCH_CREDIT};
use baton_types::record::Changed;
use baton_types::{Core, Error, Kind, Result};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::yield_now;

use crate::state::Fldb;
use crate::watch::{Action, Event, Tables, Watch, WatcherId};

/// Watchers who are told something before all others have their turn.
const TOLD_AT_ONCE: usize = 64;

/// The published state of one member.
pub struct Published {
    state: ArcSwap<Fldb>,
    applied: watch::Sender<u64>,
    hub: Mutex<Hub>,
    /// There is something to be told.
    news: Arc<Notify>,
}

struct Hub {
    core: Watch,
    next: WatcherId,
    streams: BTreeMap<WatcherId, mpsc::Sender<Action>>,
    /// Decided, and not told yet: at most what all have credit for.
    queue: VecDeque<Action>,
}

/// One watcher's end. Dropping it ends the watch.
pub struct Watching {
    id: WatcherId,
    actions: mpsc::Receiver<Action>,
    published: Arc<Published>,
}

impl Default for Published {
    fn default() -> Published {
        let core = Watch::new(Fldb::default(), WATCH_CHANGES_MAX);
        Published {
            state: ArcSwap::from_pointee(Fldb::default()),
            applied: watch::channel(0).0,
            hub: Mutex::new(Hub {
                core,
                next: 1,
                streams: BTreeMap::new(),
                queue: VecDeque::new(),
            }),
            news: Arc::default(),
        }
    }
}

impl Published {
    /// The state as of the last entry applied here.
    pub fn state(&self) -> Arc<Fldb> {
        self.state.load_full()
    }

    /// Tells each new applied index.
    pub fn progress(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Waits until `index` is applied here.
    ///
    /// # Errors
    /// `Unreachable` if this member is stopping.
    pub async fn reached(&self, index: u64) -> Result<()> {
        let mut progress = self.applied.subscribe();
        let reached = progress.wait_for(|applied| *applied >= index).await;
        reached
            .map(drop)
            .map_err(|_| Error::new(Kind::Unreachable, "this member").because("it is stopping"))
    }

    /// How many watch here.
    pub fn watchers(&self) -> usize {
        self.hub.lock().core.watchers()
    }

    /// Begins a watch of `tables`, from after the index `after`; where it has to begin anew, with nothing of
    /// `changes_only`.
    pub fn watch(self: &Arc<Self>, tables: Tables, changes_only: Tables, after: u64) -> Watching {
        let mut hub = self.hub.lock();
        let id = hub.next;
        hub.next += 1;
        let (stream, actions) = mpsc::channel(WATCH_CREDIT as usize);
        hub.streams.insert(id, stream);
        drop(hub);
        self.step(Event::Subscribe {
            watcher: id,
            tables,
            changes_only,
            after,
            credit: WATCH_CREDIT,
        });
        Watching {
            id,
            actions,
            published: self.clone(),
        }
    }

    /// Sends every watcher that takes what it is sent a sign of life.
    pub fn tick(&self) {
        self.step(Event::Tick);
    }

    pub(crate) fn applied(&self, changed: Changed, state: Fldb) {
        let index = changed.index;
        self.state.store(Arc::new(state.clone()));
        self.applied.send_replace(index);
        self.step(Event::Applied(Arc::new(changed), state));
    }

    pub(crate) fn installed(&self, state: Fldb) {
        let index = state.applied();
        self.state.store(Arc::new(state.clone()));
        self.applied.send_replace(index);
        self.step(Event::Installed(state));
    }

    fn step(&self, event: Event) {
        let mut hub = self.hub.lock();
        let actions = hub.core.step(0, event);
        hub.queue.extend(actions);
        if !hub.queue.is_empty() {
            self.news.notify_one();
        }
    }

    /// Tells the watchers what there is for them, for as long as anybody publishes.
    pub(crate) fn tell(self: &Arc<Self>) -> impl Future<Output = ()> + Send + use<> {
        let (published, news) = (Arc::downgrade(self), self.news.clone());
        let tell = |published: &Weak<Published>| Some(published.upgrade()?.hub.lock().tell());
        async move {
            while let Some(is_more) = tell(&published) {
                match is_more {
                    true => yield_now().await,
                    false => news.notified().await,
                }
            }
        }
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        self.news.notify_one();
    }
}

impl Hub {
    /// Tells some of what is decided; true if there is more.
    fn tell(&mut self) -> bool {
        for action in self.queue.drain(..self.queue.len().min(TOLD_AT_ONCE)) {
            let id = match &action {
                Action::Whole(id, ..) | Action::Changed(id, _) | Action::Reached(id, _) => *id,
            };
            let Some(stream) = self.streams.get(&id) else { continue };
            // The channel holds as much as the core gives credit for, so it is full for no watcher that lives.
            if stream.try_send(action).is_err() {
                self.streams.remove(&id);
            }
        }
        !self.queue.is_empty()
    }
}

impl Watching {
    /// The next thing to send. `None` when this member is stopping.
    pub async fn next(&mut self) -> Option<Action> {
        let action = self.actions.recv().await?;
        self.published.step(Event::Credit(self.id, 1));
        Some(action)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.published.hub.lock().streams.remove(&self.id);
        self.published.step(Event::Gone(self.id));
    }
}

#[cfg(test)]
mod tests;
