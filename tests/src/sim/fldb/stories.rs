//! Histories that are told and not drawn: each brings about one thing that the drawn ones meet too rarely.

use std::sync::Arc;
use std::time::Duration;

use baton_flserver::store::Lie;
use baton_types::change::{Change, Who};
use baton_types::{EntryName, Error, PrincipalName};
use tokio::time::{Instant, sleep};

use super::admin::ADMINISTRATOR;
use super::changes::administrator;
use super::client::Session;
use super::host::{Host, State, address};
use super::plan::Plan;
use super::world::{Shown, World};
use super::{SETTLED_WITHIN, told};
use crate::sim::{Seed, Trace, Violation};

/// Long against every timer of Raft's.
const LONG: Duration = Duration::from_millis(1_500);

/// Whether restarted leaders lead on without a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// They stand for election like anybody else.
    Voted,
    /// They do, as the library would by default.
    LeadsOn,
}

/// The leader crashes with an entry that the others have and its own disk has not, and is back at once.
///
/// # Errors
/// What an oracle found.
pub fn leader_with_an_unsynced_entry(number: u64, restart: Restart) -> Result<Trace, Violation> {
    let plan = match restart {
        Restart::Voted => Plan::calm(3),
        Restart::LeadsOn => Plan::calm(3).with_leader_restore(),
    };
    told(number, plan, Seed::new(number), |world| Box::pin(unsynced_entry(world)))
}

async fn unsynced_entry(world: Arc<World>) -> Result<(), String> {
    let mut session = grown(&world).await?;
    let leader = world.leader().ok_or("nobody leads")?;
    world.hang(leader, LONG);
    describe(&mut session, "the others have this").await?;
    world.crash(leader, State::Down);
    world.begin(leader);
    describe(&mut session, "this must come behind it").await?;
    world.settled(Instant::now() + SETTLED_WITHIN).await
}

/// Whether disks keep what they promised to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disks {
    /// They do.
    Honest,
    /// They forget their member's vote at each crash.
    ForgetVotes,
    /// They lose the last entry that they had promised to keep.
    LoseEntries,
}

impl Disks {
    fn plan(self) -> Plan {
        match self {
            Disks::Honest => Plan::calm(3),
            Disks::ForgetVotes => Plan::calm(3).with_lie(Lie::ForgetsVote),
            Disks::LoseEntries => Plan::calm(3).with_lie(Lie::LosesLastEntry),
        }
    }
}

/// A member votes, crashes, and is asked by another candidate of the same term.
///
/// # Errors
/// What an oracle found.
pub fn second_candidate(number: u64, disks: Disks) -> Result<Trace, Violation> {
    told(number, disks.plan(), Seed::new(number), |world| {
        Box::pin(second_vote(world))
    })
}

async fn second_vote(world: Arc<World>) -> Result<(), String> {
    grown(&world).await?;
    let voter = world.leader().ok_or("nobody leads")?;
    let others: Vec<u64> = (1..=3).filter(|number| *number != voter).collect();
    let &[first, second] = &*others else {
        return Err(format!("{others:?} are not two"));
    };
    // The voter does not lead any more, and elects the first candidate, whom nobody hears as a leader.
    world.apart(second, &[voter, first]);
    world.muted.lock().insert(first);
    world.host(voter, Host::slow_down);
    world.crash(voter, State::Down);
    world.begin(voter);
    until(|| world.leads(first)).await?;
    // Then it crashes again, and hears only the second candidate, who knows nothing of that term.
    world.apart(first, &[voter, second]);
    world.crash(voter, State::Down);
    world.begin(voter);
    world.together(second, &[voter]);
    until(|| world.leads(second)).await?;
    // Both say that they lead.
    sleep(LONG).await;
    world.muted.lock().clear();
    world.together(first, &[voter, second]);
    world.settled(Instant::now() + SETTLED_WITHIN).await
}

/// The power of all members fails at once, when a change was just acknowledged.
///
/// # Errors
/// What an oracle found.
pub fn power_cut(number: u64, disks: Disks) -> Result<Trace, Violation> {
    told(number, disks.plan(), Seed::new(number), |world| {
        Box::pin(all_at_once(world))
    })
}

async fn all_at_once(world: Arc<World>) -> Result<(), String> {
    let mut session = grown(&world).await?;
    describe(&mut session, "before the power cut").await?;
    for number in 1..=3 {
        world.crash(number, State::Down);
    }
    for number in 1..=3 {
        world.begin(number);
    }
    describe(&mut session, "after the power cut").await?;
    world.settled(Instant::now() + SETTLED_WITHIN).await
}

/// The leader is taken out of the group while it runs, and another member comes at once.
///
/// # Errors
/// What an oracle found.
pub fn retired_leader(number: u64) -> Result<Trace, Violation> {
    told(number, Plan::calm(3), Seed::new(number), |world| {
        Box::pin(retired(world))
    })
}

async fn retired(world: Arc<World>) -> Result<(), String> {
    let mut session = grown(&world).await?;
    let leader = world.leader().ok_or("nobody leads")?;
    let heir = (1..=3).find(|number| *number != leader).ok_or("nobody else is there")?;
    let told = async {
        // The only one who can issue certificates cannot leave.
        let name = EntryName::parse(&Shown(heir).to_string())?;
        let announced = Change::AnnounceMember {
            name: name.clone(),
            addresses: address(heir).into_iter().collect(),
            issuer: true,
        };
        let itself = Who::Host {
            name: PrincipalName::host(&name),
            server: None,
        };
        session.change(itself, announced).await?;
        let name = EntryName::parse(&Shown(leader).to_string())?;
        session.change(administrator()?, Change::RemoveMember { name }).await?;
        world.join(&mut session).await
    };
    told.await.map_err(|e: Error| e.to_string())?;
    world.settled(Instant::now() + SETTLED_WITHIN).await
}

/// A group of its full size, in peace.
async fn grown(world: &Arc<World>) -> Result<Session, String> {
    let mut session = Session::new(world.clone(), ADMINISTRATOR);
    world.found(&mut session).await.map_err(|e| e.to_string())?;
    world.grow(&mut session).await.map_err(|e| e.to_string())?;
    world.settled(Instant::now() + SETTLED_WITHIN).await?;
    Ok(session)
}

async fn describe(session: &mut Session, text: &str) -> Result<(), String> {
    let change = Change::SetCell {
        key: "description".to_owned(),
        value: text.to_owned(),
    };
    let who = administrator().map_err(|e| e.to_string())?;
    session.change(who, change).await.map(drop).map_err(|e| e.to_string())
}

async fn until(is_so: impl Fn() -> bool) -> Result<(), String> {
    let end = Instant::now() + SETTLED_WITHIN;
    while !is_so() {
        if Instant::now() >= end {
            return Err("what the story needs did not happen".to_owned());
        }
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

impl World {
    /// The disk of a host answers nothing for a while.
    fn hang(&self, number: u64, time: Duration) {
        let end = self.now() + u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.host(number, |host| host.hung_until = end);
    }

    fn host(&self, number: u64, change: impl FnOnce(&mut Host)) {
        if let Some(host) = self.hosts.lock().get_mut(&number) {
            change(host);
        }
    }

    fn apart(&self, one: u64, others: &[u64]) {
        for other in others {
            self.cut(one, *other);
        }
    }

    fn together(&self, one: u64, others: &[u64]) {
        for other in others {
            self.mend(one, *other);
        }
    }
}
