//! The way between members. Questions may be lost, late or doubled, each by itself.
//!
//! A stream of appends is like a connection: what it carries keeps its order, so one slow message holds up those
//! behind it, and with the first that is lost or meets a cut it is dead, in silence. A doubled append comes by
//! itself, whenever it likes, and nobody hears the answer: a copy that a broken connection had left behind.
//!
//! ```text
//!   library ─► pump ─── (arrives at, append) ───► serve ─► the other's library
//!      ▲                                            │
//!      └── receive ◄── (arrives at, answer) ◄───────┘
//! ```

use std::sync::Arc;
use std::time::Duration;

use baton_flserver::raft::{Member, Peer, Request, Wire};
use baton_types::{Error, Kind, Result};
use futures::future::{BoxFuture, pending};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::host::within;
use super::world::{Shown, Work, World};

/// A snapshot that is not answered is given up after this, as a daemon gives up a connection that carries nothing
/// any more; here sooner, so that histories stay short.
const SILENCE_MAX: Duration = Duration::from_secs(1);
/// Messages on their way in one direction of a stream.
const UNDER_WAY_MAX: usize = 64;

/// The way out of one life of a member.
#[derive(Clone)]
pub(super) struct SimWire {
    world: Arc<World>,
    from: u64,
    life: u64,
}

impl SimWire {
    pub fn new(world: Arc<World>, from: u64, life: u64) -> SimWire {
        SimWire { world, from, life }
    }

    fn is_dead(&self) -> bool {
        !self.world.is_alive(self.from, self.life)
    }

    async fn ask(self, to: u64, what: String, work: Work<Vec<u8>>) -> Result<Vec<u8>> {
        if self.is_dead() {
            return pending().await;
        }
        self.world.ask(self.from, to, what, work).await
    }

    /// Who appends says that it leads.
    fn leads(&self) {
        if let Some((_, member)) = self.world.running(self.from) {
            let status = member.status();
            if status.leader == Some(self.from) {
                self.world
                    .check(self.world.oracle.lock().leaders.leads(status.term, self.from));
            }
        }
    }
}

fn number(peer: &Peer) -> u64 {
    peer.name.trim_start_matches("fl").parse().unwrap_or_default()
}

impl Wire for SimWire {
    fn ask(
        &self,
        to: &Peer,
        request: Request,
        body: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Vec<u8>>> {
        let what = format!("{request:?} {}", body.len());
        let work = move |member: Member| {
            let body = body.clone();
            async move { member.answer(request, body).await }.boxed()
        };
        within(deadline, self.clone().ask(number(to), what, Arc::new(work))).boxed()
    }

    fn append(
        &self,
        to: &Peer,
        appends: BoxStream<'static, Vec<u8>>,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<BoxStream<'static, Result<Vec<u8>>>>> {
        let link = Link {
            wire: self.clone(),
            to: number(to),
        };
        async move { Ok(link.open(appends, deadline)) }.boxed()
    }

    fn snapshot(
        &self,
        to: &Peer,
        head: Vec<u8>,
        data: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Vec<u8>>> {
        let what = format!("snapshot {}", data.len());
        let work = move |member: Member| {
            let (head, data) = (head.clone(), data.clone());
            async move { member.answer_snapshot(&head, data).await }.boxed()
        };
        within(
            deadline.min(SILENCE_MAX),
            self.clone().ask(number(to), what, Arc::new(work)),
        )
        .boxed()
    }
}

/// One direction between two members.
#[derive(Clone)]
struct Link {
    wire: SimWire,
    to: u64,
}

/// Something on its way, and when it is there.
type UnderWay<T> = (Instant, T);

/// What the library waits for: when each append left, and the answers.
struct Receiving {
    link: Link,
    left: mpsc::Receiver<Instant>,
    answers: mpsc::Receiver<UnderWay<Result<Vec<u8>>>>,
    deadline: Duration,
}

impl Link {
    fn open(self, appends: BoxStream<'static, Vec<u8>>, deadline: Duration) -> BoxStream<'static, Result<Vec<u8>>> {
        let (leaves, left) = mpsc::channel(UNDER_WAY_MAX);
        let (out, arriving) = mpsc::channel(UNDER_WAY_MAX);
        let (back, answers) = mpsc::channel(UNDER_WAY_MAX);
        tokio::spawn(self.clone().pump(appends, leaves, out));
        tokio::spawn(self.clone().serve(arriving, back));
        let receiving = Receiving {
            link: self,
            left,
            answers,
            deadline,
        };
        stream::unfold(Some(receiving), Receiving::next).boxed()
    }

    /// Sends what the library has, until it has no more or does not listen any more.
    async fn pump(
        self,
        mut appends: BoxStream<'static, Vec<u8>>,
        leaves: mpsc::Sender<Instant>,
        out: mpsc::Sender<UnderWay<Vec<u8>>>,
    ) {
        let world = self.wire.world.clone();
        let mut out = Some(out);
        let mut last = Instant::now();
        loop {
            let append = tokio::select! {
                biased;
                () = leaves.closed() => return,
                append = appends.next() => append,
            };
            let Some(append) = append.filter(|_| !self.wire.is_dead()) else {
                return;
            };
            self.wire.leads();
            if leaves.send(Instant::now()).await.is_err() {
                return;
            }
            let is_muted = world.muted.lock().contains(&self.wire.from);
            let delays = world.delays(self.wire.from, self.to);
            let mut copies = delays.into_iter().filter(|_| !is_muted);
            match (copies.next(), &out) {
                (Some(delay), Some(way)) => {
                    last = last.max(Instant::now() + delay);
                    if way.send((last, append.clone())).await.is_err() {
                        out = None;
                    }
                }
                (Some(_), None) | (None, _) => out = None,
            }
            if copies.next().is_some() {
                tokio::spawn(self.clone().stray(append));
            }
        }
    }

    /// A copy that comes by itself.
    async fn stray(self, append: Vec<u8>) {
        let work = move |member: Member| {
            let append = append.clone();
            async move { member.answer(Request::Append, append).await }.boxed()
        };
        let asked = self.wire.ask(self.to, "a stray append".to_owned(), Arc::new(work));
        // Nobody waits for it.
        let _ = within(Duration::from_secs(1), asked).await;
    }

    /// The other end of the stream.
    async fn serve(
        self,
        mut arriving: mpsc::Receiver<UnderWay<Vec<u8>>>,
        back: mpsc::Sender<UnderWay<Result<Vec<u8>>>>,
    ) {
        let world = self.wire.world.clone();
        let Some(first) = self.arrived(&mut arriving).await else {
            return;
        };
        let Some((life, member)) = world.running(self.to) else {
            if let Some(refused) = world.refused(self.to) {
                let _ = back.send((Instant::now(), refused)).await;
            }
            return;
        };
        let link = self.clone();
        let rest = stream::unfold(arriving, move |mut arriving| {
            let link = link.clone();
            async move {
                let append = link.arrived(&mut arriving).await?;
                link.wire.world.is_alive(link.to, life).then_some((append, arriving))
            }
        });
        let mut answers = member.answer_appends(stream::once(async move { first }).chain(rest).boxed());
        let mut last = Instant::now();
        while let Some(answer) = answers.next().await {
            let delay = world.delays(self.to, self.wire.from).first().copied();
            let Some(delay) = delay.filter(|_| world.is_alive(self.to, life)) else {
                return;
            };
            last = last.max(Instant::now() + delay);
            if back.send((last, answer)).await.is_err() {
                return;
            }
        }
    }

    /// The next append, when it is there; none if there are no more, or the way is cut.
    async fn arrived(&self, arriving: &mut mpsc::Receiver<UnderWay<Vec<u8>>>) -> Option<Vec<u8>> {
        let (at, append) = arriving.recv().await?;
        sleep_until(at).await;
        let world = &self.wire.world;
        if world.is_cut(self.wire.from, self.to) {
            return None;
        }
        world.note(
            Shown(self.wire.from),
            format_args!("> {} append {}", Shown(self.to), append.len()),
        );
        Some(append)
    }
}

impl Receiving {
    async fn next(this: Option<Receiving>) -> Option<(Result<Vec<u8>>, Option<Receiving>)> {
        let mut this = this?;
        let left = this.left.recv().await?;
        match timeout_at(left + this.deadline, this.answer()).await {
            Ok(Ok(answer)) => Some((Ok(answer), Some(this))),
            Ok(Err(error)) => Some((Err(error), None)),
            Err(_) => {
                let error = Error::new(Kind::TimedOut, Shown(this.link.to).to_string()).because("no answer in time");
                Some((Err(error), None))
            }
        }
    }

    /// The next answer, when it is there. A way that broke off says nothing for ever.
    async fn answer(&mut self) -> Result<Vec<u8>> {
        let Some((at, answer)) = self.answers.recv().await else {
            return pending().await;
        };
        sleep_until(at).await;
        let Link { wire, to } = &self.link;
        if wire.world.is_cut(*to, wire.from) {
            return pending().await;
        }
        answer
    }
}
