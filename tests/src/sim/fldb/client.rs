//! Clients: each makes change after change, and repeats one until it hears what became of it; reads, and looks up.

use std::sync::Arc;
use std::time::Duration;

use baton_flserver::raft::Member;
use baton_proto::v1;
use baton_types::change::{Change, ChangeSession, Proposal, Who};
use baton_types::limits::TEXT_BYTES_MAX;
use baton_types::{Kind, Result, Time, Timestamp};
use futures::FutureExt;
use tokio::time::sleep;

use super::changes::{Changes, administrator};
use super::host::within;
use super::world::{CLIENTS, Phase, Place, Shown, Work, World};

/// Between two changes of a client, in microseconds.
const PAUSE_MICROS: (Time, Time) = (1_000, 60_000);
/// How long a member may try to have a change decided, in microseconds.
const PATIENCE_MICROS: (Time, Time) = (200_000, 800_000);
/// A client gives the member, and the way there and back, this much more.
const GRACE: Duration = Duration::from_millis(150);

/// How many of a thousand changes are followed by one that the log could not give back.
const UNREADABLE_PERMILLE: u64 = 20;

/// One who makes changes, in a session of its own.
pub(super) struct Session {
    world: Arc<World>,
    place: Place,
    session: ChangeSession,
    sequence: u32,
    born: u64,
}

impl Session {
    pub fn new(world: Arc<World>, client: u64) -> Session {
        let number = u128::from(world.draw(|seed| seed.draw())) << 64 | u128::from(client);
        // Of what a client has seen, only what was acknowledged is sure to be seen again.
        let born = world.oracle.lock().reads.begin();
        Session {
            world,
            place: CLIENTS + client,
            session: ChangeSession(number.to_be_bytes()),
            sequence: 0,
            born,
        }
    }

    /// Has a change decided, however often it must be sent.
    pub async fn change(&mut self, who: Who, change: Change) -> Result<v1::ChangeReply> {
        let proposal = self.next(who, change);
        loop {
            match self.attempt(&proposal).await {
                Err(error) if matches!(error.kind, Kind::Unreachable | Kind::TimedOut) => {
                    sleep(self.world.draw_time(PAUSE_MICROS.0, PAUSE_MICROS.1)).await;
                }
                decided => {
                    let said = decided
                        .as_ref()
                        .map_or_else(|e| e.kind.text().to_owned(), |r| r.index.to_string());
                    self.world.note(
                        Shown(self.place),
                        format_args!("hears of change {}: {said}", proposal.sequence),
                    );
                    self.world
                        .check(self.world.oracle.lock().acknowledged(&proposal, &decided));
                    return decided;
                }
            }
        }
    }

    /// Tries a change that no member could read back from its log: one that took it in would end them all.
    async fn try_unreadable(&mut self) -> Result<()> {
        let value = "x".repeat(TEXT_BYTES_MAX + 1);
        let key = "description".to_owned();
        let proposal = self.next(administrator()?, Change::SetCell { key, value });
        if let Ok(reply) = self.attempt(&proposal).await {
            let what = format!("a change that cannot be read was done at {}", reply.index);
            self.world.check(Err(what));
        }
        Ok(())
    }

    fn next(&mut self, who: Who, change: Change) -> Proposal {
        self.sequence += 1;
        Proposal {
            session: self.session,
            sequence: self.sequence,
            born: self.born,
            date: Timestamp::default(),
            who,
            change,
        }
    }

    async fn attempt(&self, proposal: &Proposal) -> Result<v1::ChangeReply> {
        let patience = self.world.draw_time(PATIENCE_MICROS.0, PATIENCE_MICROS.1);
        let proposal = proposal.clone();
        let what = format!("change {}", proposal.sequence);
        let work: Work<v1::ChangeReply> = Arc::new(move |member: Member| {
            let proposal = proposal.clone();
            async move { member.propose(proposal, patience).await }.boxed()
        });
        let to = self.world.some_member();
        within(patience + GRACE, self.world.ask(self.place, to, what, work)).await
    }
}

impl World {
    /// A member that a client turns to. It may be down, or gone.
    pub fn some_member(&self) -> u64 {
        let hosts = self.hosts.lock();
        let numbers: Vec<u64> = hosts.keys().copied().collect();
        self.draw(|seed| *seed.pick(&numbers))
    }

    /// True once the faults are over.
    pub fn is_healed(&self) -> bool {
        *self.phase.lock() >= Phase::Healed
    }

    /// Makes changes until the faults are over, and one after that.
    pub async fn make_changes(self: Arc<World>, client: u64) -> Result<()> {
        let mut changes = Changes::new(client);
        let mut session = Session::new(self.clone(), client);
        let mut is_last = false;
        while !is_last {
            sleep(self.draw_time(PAUSE_MICROS.0, PAUSE_MICROS.1)).await;
            is_last = self.is_healed();
            let known = self.oracle.lock().newest();
            let (who, change) = self.draw(|seed| changes.next(seed, &known))?;
            // Whether it was done or refused: either is an answer, and the oracle has seen it.
            let _ = session.change(who, change).await;
            if self.draw(|seed| seed.chance(UNREADABLE_PERMILLE)) {
                session.try_unreadable().await?;
            }
        }
        Ok(())
    }

    /// Reads, by turns the latest state and what some member has, until the faults are over.
    pub async fn read(self: Arc<World>, client: u64) -> Result<()> {
        while !self.is_healed() {
            sleep(self.draw_time(PAUSE_MICROS.0, PAUSE_MICROS.1)).await;
            let patience = self.draw_time(PATIENCE_MICROS.0, PATIENCE_MICROS.1);
            let wanted = self.oracle.lock().reads.begin();
            let is_lookup = self.draw(|seed| seed.chance(300));
            let work: Work<_> = Arc::new(move |member: Member| {
                async move {
                    let read = if is_lookup {
                        0
                    } else {
                        member.read_index(patience).await?
                    };
                    within(patience, member.published().reached(read)).await?;
                    Ok((read, member.published().state()))
                }
                .boxed()
            });
            let (place, to) = (CLIENTS + client, self.some_member());
            let asked = self.ask(place, to, "read".to_owned(), work);
            let Ok((read, state)) = within(patience + GRACE, asked).await else {
                continue;
            };
            self.note(Shown(place), format_args!("reads {} of {}", state.applied(), Shown(to)));
            let oracle = self.oracle.lock();
            if !is_lookup {
                self.check(oracle.reads.seen(wanted, read, state.applied()));
            }
            self.check(oracle.agreed.same(&Shown(to).to_string(), &state));
        }
        Ok(())
    }
}
