//! Buddies: the servers that this one can take over from, or that can from it, asked all the time whether they live.
//!
//! What is found goes out with the beats of this server. So a server whose own beats do not reach the location database
//! is not taken for dead as long as a buddy hears it, and one that is dead is found out sooner.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use baton_types::beat::{Buddy, Found, Sign};
use baton_types::limits::{BEAT_MICROS, BUDDIES_MAX};
use baton_types::record::Server;
use baton_types::{Address, Error, Incarnation, Result, ServerId};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::FldbClient;
use super::probe::Probe;

/// Between two probes of one address.
const AGAIN: Duration = Duration::from_micros(BEAT_MICROS);

/// What is known of the buddies; they are asked until this is dropped.
pub struct Buddies {
    known: Known,
    /// Dropped, it ends the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// By server and address, what came of the last probe.
type Known = Arc<Mutex<BTreeMap<(ServerId, String), (Found, Option<Sign>)>>>;

impl FldbClient {
    /// Starts a thread that asks those whom `whom` names, at all of their addresses. `whom` must not wait for anything.
    ///
    /// # Errors
    /// `Io` when the machine has no thread left.
    pub fn ask_buddies(&self, whom: impl Fn() -> Vec<Server> + Send + 'static) -> Result<Buddies> {
        let no_thread = |error| Error::io("thread of the buddies", error);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(no_thread)?;
        let (stop, stopped) = oneshot::channel();
        let (client, known) = (self.clone(), Known::default());
        let results = known.clone();
        let ask = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = ask_all(&client, whom, &results) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("buddies".to_owned()).spawn(ask);
        Ok(Buddies {
            known,
            stop: Some(stop),
            thread: Some(thread.map_err(no_thread)?),
        })
    }
}

impl Buddies {
    /// Each that was asked, as it answers at the best of its addresses.
    pub fn found(&self) -> Vec<Buddy> {
        let mut best: BTreeMap<ServerId, Buddy> = BTreeMap::new();
        for ((server, _), (found, sign)) in &*self.known.lock() {
            let buddy = Buddy {
                server: *server,
                found: *found,
                sign: *sign,
            };
            let known = best.entry(*server).or_insert(buddy);
            if (buddy.found, newness(&buddy)) > (known.found, newness(known)) {
                *known = buddy;
            }
        }
        best.into_values().take(BUDDIES_MAX).collect()
    }
}

fn newness(buddy: &Buddy) -> u64 {
    buddy.sign.map_or(0, |sign| sign.sequence)
}

impl Drop for Buddies {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the buddies panicked");
        }
    }
}

/// Who is asked, where, and which run: when anything of that changes, the asking begins anew.
type Place = (ServerId, Vec<Address>, Option<Incarnation>);

/// A task for each address of each buddy.
async fn ask_all(client: &FldbClient, whom: impl Fn() -> Vec<Server>, known: &Known) {
    let mut tasks: BTreeMap<Place, Vec<JoinHandle<()>>> = BTreeMap::new();
    let mut again = interval(AGAIN);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        again.tick().await;
        let place = |server: &Server| (server.id, server.addresses.clone(), server.incarnation);
        let wanted: BTreeMap<Place, Server> = whom().into_iter().map(|server| (place(&server), server)).collect();
        tasks.retain(|place, tasks| {
            let is_wanted = wanted.contains_key(place);
            if !is_wanted {
                tasks.iter().for_each(JoinHandle::abort);
                known.lock().retain(|(server, _), _| *server != place.0);
            }
            is_wanted
        });
        for (place, server) in wanted {
            tasks.entry(place).or_insert_with(|| {
                let probes = Probe::all(&client.inner, &server).into_iter();
                probes.map(|probe| tokio::spawn(ask(probe, known.clone()))).collect()
            });
        }
    }
}

/// One address, for ever.
async fn ask(mut probe: Probe, known: Known) {
    let key = (probe.server(), probe.address());
    let mut was = None;
    loop {
        // Who answers late goes on being slow until it answers in time or not at all.
        let late = || {
            if was != Some(Found::Slow)
                && let Some((found, _)) = known.lock().get_mut(&key)
            {
                *found = Found::Silent;
            }
        };
        let (found, sign) = probe.ask(late).await;
        if was.is_some_and(|was| was != found) {
            tracing::info!(server = %key.0, address = %key.1, ?found, "a buddy answers otherwise than before");
        }
        was = Some(found);
        note(&known, &key, (found, sign));
        sleep(AGAIN).await;
    }
}

/// The last sign of life stays known when there is no newer one.
fn note(known: &Known, key: &(ServerId, String), (found, sign): (Found, Option<Sign>)) {
    let mut known = known.lock();
    let before = known.get(key).and_then(|(_, sign)| *sign);
    known.insert(key.clone(), (found, sign.or(before)));
}
