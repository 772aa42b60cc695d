//! Beats: a stream from a file server to every member, kept by a thread that does nothing else.
//!
//! The thread has a runtime of its own: what keeps the server's loops from running does not keep it from saying so
//! (its beats carry how long ago the others made progress). They go to every address of every member, each by a
//! connection of its own: where one of two links is cut, no beat is late. An address that does not answer for a while is
//! dialled anew; the others hear the beats all the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use baton_proto::{from_status, v1};
use baton_types::beat::Beat;
use baton_types::limits::BEAT_MICROS;
use baton_types::{Error, Kind, Result};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};
use tokio_stream::wrappers::ReceiverStream;

use super::{FldbClient, Inner};
use crate::config::PORT_FLDB;
use crate::dial::{Dialer, Target};

/// Between two beats.
const BEAT: Duration = Duration::from_micros(BEAT_MICROS);
/// An address that answers no beat for so long is dialled anew: its process may be another by now.
const SILENCE: Duration = Duration::from_secs(2);
/// For a connection and its first words.
const DIAL: Duration = Duration::from_secs(2);
/// Before a member that could not be reached is dialled again: a beat is all that it costs.
const RETRY: Duration = BEAT;
/// Beats on their way to one member; more would only be old ones.
const WAITING: usize = 2;

/// The beats of one run of a file server, until this is dropped.
#[derive(Debug)]
pub struct Beats {
    /// Dropped, it ends the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// The newest beat; none before the first.
type Newest = watch::Receiver<Option<v1::BeatRequest>>;

impl FldbClient {
    /// Starts a thread that asks `next` for a beat every [`BEAT_MICROS`] and sends it to every member there is.
    /// `next` must not wait for anything.
    ///
    /// # Errors
    /// `Io` when the machine has no thread left.
    pub fn beat(&self, next: impl FnMut() -> Beat + Send + 'static) -> Result<Beats> {
        let no_thread = |error| Error::io("thread of the beats", error);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(no_thread)?;
        let (stop, stopped) = oneshot::channel();
        let inner = self.inner.clone();
        let beat = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = send_all(inner, next) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("beats".to_owned()).spawn(beat);
        Ok(Beats {
            stop: Some(stop),
            thread: Some(thread.map_err(no_thread)?),
        })
    }
}

impl Drop for Beats {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the beats panicked");
        }
    }
}

impl Inner {
    /// Where each member is: by the records of the members, or by the addresses that were given before any came.
    pub(super) fn everyone(&self) -> Vec<Vec<Target>> {
        let known = self.known.lock();
        let target = |name, address| Target { name, address };
        if known.records().is_empty() {
            return known.all().into_iter().map(|only| vec![only]).collect();
        }
        let of = |member: &baton_types::record::Member| {
            let addresses = member.addresses.iter().cloned();
            addresses
                .map(|address| target(Some(member.name.clone()), address))
                .collect()
        };
        known.records().iter().map(of).collect()
    }
}

/// A task for each address of each member, and a beat for all of them at each tick.
async fn send_all(inner: Arc<Inner>, mut next: impl FnMut() -> Beat) {
    let (send, newest) = watch::channel(None);
    let mut tasks: BTreeMap<String, JoinHandle<()>> = BTreeMap::new();
    let mut again = interval(BEAT);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        again.tick().await;
        send.send_replace(Some(next().into()));
        let everyone: Vec<Vec<Target>> = inner.everyone().into_iter().flatten().map(|only| vec![only]).collect();
        let name = |targets: &[Target]| targets.iter().map(|t| format!("{t} ")).collect::<String>();
        tasks.retain(|known, task| {
            let is_there = everyone.iter().any(|targets| name(targets) == *known);
            if !is_there {
                task.abort();
            }
            is_there
        });
        for targets in everyone {
            tasks
                .entry(name(&targets))
                .or_insert_with(|| tokio::spawn(send_to(inner.clone(), targets, newest.clone())));
        }
    }
}

/// One member, for ever.
async fn send_to(inner: Arc<Inner>, targets: Vec<Target>, mut newest: Newest) {
    let on = targets.first().map(ToString::to_string).unwrap_or_default();
    loop {
        if let Err(error) = stream(&inner, &targets, &mut newest).await {
            tracing::debug!(%error, member = %on, "beats are not heard");
        }
        if newest.has_changed().is_err() {
            return;
        }
        sleep(RETRY).await;
    }
}

/// One stream, until it breaks or nobody answers on it any more.
async fn stream(inner: &Inner, targets: &[Target], newest: &mut Newest) -> Result<()> {
    let deadline = Instant::now() + DIAL;
    let dialer = Dialer::new(inner.tls(), inner.source, PORT_FLDB);
    let connection = dialer.first(targets, deadline).await.map_err(|failures| {
        let last = failures.into_iter().map(|(_, error)| error).next_back();
        last.unwrap_or_else(|| Error::new(Kind::Unreachable, "member").because("it has no address"))
    })?;
    let silent = || Error::new(Kind::TimedOut, "member").because("it answers no beats");
    let (send, beats) = mpsc::channel(WAITING);
    let mut fldb = connection.fldb();
    newest.mark_changed(); // the member answers the call when it has a first beat
    let replies = timeout_at(deadline, fldb.beat(ReceiverStream::new(beats)));
    tokio::pin!(replies);
    let mut answers = loop {
        tokio::select! {
            opened = &mut replies => {
                let opened = opened.map_err(|_| silent())?;
                break opened.map_err(|status| from_status(&status))?.into_inner();
            }
            next = newest.changed() => pass_on(next.is_ok(), newest, &send)?,
        }
    };
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            answer = answers.message() => match answer.map_err(|status| from_status(&status))? {
                Some(_) => heard = Instant::now(),
                None => return Err(silent()),
            },
            next = newest.changed() => {
                pass_on(next.is_ok(), newest, &send)?;
                if heard.elapsed() > SILENCE {
                    return Err(silent());
                }
            }
        }
    }
}

/// The newest beat, if there is room: an older one on its way says the same.
fn pass_on(goes_on: bool, newest: &mut Newest, send: &mpsc::Sender<v1::BeatRequest>) -> Result<()> {
    let beat = newest.borrow_and_update().clone();
    match beat {
        Some(beat) if goes_on => {
            drop(send.try_send(beat));
            Ok(())
        }
        Some(_) | None if goes_on => Ok(()),
        Some(_) | None => Err(Error::new(Kind::SessionLost, "beats").because("they are over")),
    }
}
