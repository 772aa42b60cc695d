//! The arbiter's driver: it tells the core the time, the state and who leads, and puts its decisions into the log.

use std::sync::Arc;
use std::time::Duration;

use baton_types::beat::{Beat, Report};
use baton_types::change::{Change, ChangeSession, Proposal, Who};
use baton_types::limits::BEAT_MICROS;
use baton_types::{Clock, Core, EntryName, Incarnation, PrincipalName, Result, ServerId, Time};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::{Action, Arbiter, Event};
use crate::raft::Member;

/// Between two ticks: a quarter of a beat, so that judging adds little to what was waited for.
const TICK: Duration = Duration::from_micros(BEAT_MICROS / 4);
/// Between two looks at a state that changes: many changes at once are one look.
const BREATH: Duration = Duration::from_millis(10);
/// For one decision to be made: an election and more. After that it is made anew, on what is so then.
const DECISION: Duration = Duration::from_secs(2);
/// Decisions and alarms on their way: of the first there is one at a time, of the second few.
const ACTIONS: usize = 64;

/// Where the arbiter of one member sits.
pub struct Bench {
    core: Mutex<Arbiter>,
    member: Member,
    clock: Arc<dyn Clock>,
    /// As whom it judges: this member.
    who: Who,
    send: mpsc::Sender<Action>,
    actions: Mutex<Option<mpsc::Receiver<Action>>>,
}

impl Bench {
    /// For the member called `name`.
    pub fn new(member: Member, name: &EntryName, clock: Arc<dyn Clock>) -> Arc<Bench> {
        let (send, actions) = mpsc::channel(ACTIONS);
        Arc::new(Bench {
            core: Mutex::new(Arbiter::default()),
            member,
            clock,
            who: Who::Host {
                name: PrincipalName::host(name),
                server: None,
            },
            send,
            actions: Mutex::new(Some(actions)),
        })
    }

    /// A server beats.
    pub fn heard(&self, beat: Beat) {
        self.tell(&mut self.core.lock(), Event::Beat(beat)); // not worth a look at the state: there are thousands a second
    }

    /// A guard saw a run of its server end.
    pub fn attested(&self, server: ServerId, run: Incarnation) {
        tracing::info!(%server, %run, "its guard saw it end");
        self.step(Event::Attested(server, run));
    }

    /// Clients on a machine say how a server answers them.
    pub fn reported(&self, by: PrincipalName, report: Report) {
        self.step(Event::Reported(by, report));
    }

    /// How long ago a server was last heard of by this member.
    pub fn silence(&self, server: ServerId) -> Option<Time> {
        self.core.lock().silence(self.clock.now(), server)
    }

    /// Judges for as long as the process lives.
    pub async fn run(self: Arc<Bench>) {
        let Some(mut actions) = self.actions.lock().take() else {
            return; // somebody runs it already
        };
        let bench = self.clone();
        let proposing = async move {
            while let Some(action) = actions.recv().await {
                bench.carry_out(action).await;
            }
        };
        tokio::join!(self.tick(), self.follow(), proposing);
    }

    async fn tick(&self) {
        let mut again = interval(TICK);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            again.tick().await;
            self.step(Event::Tick(self.clock.date()));
        }
    }

    /// Who gives something up need not wait for a tick.
    async fn follow(&self) {
        let mut progress = self.member.published().progress();
        while progress.changed().await.is_ok() {
            self.look(&mut self.core.lock());
            sleep(BREATH).await;
        }
    }

    /// Tells the core what it is to decide on: the newest state that is applied here comes first.
    fn step(&self, event: Event) {
        let mut core = self.core.lock();
        self.look(&mut core);
        self.tell(&mut core, event);
    }

    fn leads(&self) -> Event {
        let status = self.member.status();
        match status.leader == Some(status.number) && status.quorum {
            true => Event::Leads(status.term),
            false => Event::Follows,
        }
    }

    fn look(&self, core: &mut Arbiter) {
        let state = self.member.published().state();
        if state.applied() > core.applied() {
            self.tell(core, Event::State(state));
        }
    }

    fn tell(&self, core: &mut Arbiter, event: Event) {
        let now = self.clock.now();
        if !matches!(event, Event::Beat(_) | Event::Reported(..)) {
            // Nothing is decided as the leader of a term that is over.
            core.step(now, self.leads());
        }
        for action in core.step(now, event) {
            let is_proposal = matches!(action, Action::Propose(_));
            if self.send.try_send(action).is_err() && is_proposal {
                // Not proposed: the next tick decides anew.
                core.step(now, Event::Follows);
            }
        }
    }

    async fn carry_out(&self, action: Action) {
        let change = match action {
            Action::Alarm(text) => return tracing::error!("{text}"),
            Action::Propose(change) => change,
        };
        tracing::warn!(reason = reason(&change), "the arbiter decides");
        self.step(match self.propose(change).await {
            Ok(()) => Event::Settled,
            Err(error) => {
                tracing::warn!(%error, "its decision was not made");
                Event::Refused
            }
        });
    }

    /// By this member as leader, or not at all: another leader has a judgement of its own.
    async fn propose(&self, change: Change) -> Result<()> {
        let proposal = Proposal {
            session: ChangeSession(rand::random()),
            sequence: 1,
            born: self.member.published().state().applied(),
            date: self.clock.date(),
            who: self.who.clone(),
            change,
        };
        let reply = self.member.propose_as_leader(proposal, DECISION).await?;
        drop(timeout(DECISION, self.member.published().reached(reply.index)).await);
        Ok(())
    }
}

fn reason(change: &Change) -> &str {
    match change {
        Change::Judge { reason, .. } => reason,
        _ => "",
    }
}
