//! What an administrator does: makes the cell, invites members, replaces one that is lost.

use std::sync::Arc;
use std::time::Duration;

use baton_types::change::{Change, Who};
use baton_types::record::{InvitationKind, Record};
use baton_types::{CellId, CellName, EntryName, Error, Kind, PrincipalName, Result};
use tokio::time::sleep;
use uuid::Uuid;

use super::changes::administrator;
use super::client::Session;
use super::host::{address, peer};
use super::plan::{Growth, Leaving};
use super::world::{Shown, World};

/// The administrator among the clients.
pub(super) const ADMINISTRATOR: u64 = 99;

impl World {
    /// Makes the cell with its first member.
    pub async fn found(self: &Arc<World>, session: &mut Session) -> Result<()> {
        self.begin(1);
        let member = loop {
            match self.running(1) {
                Some((_, member)) => break member,
                None => sleep(Duration::from_millis(1)).await,
            }
        };
        member.initialize(peer(1)).await?;
        let genesis = Change::Genesis {
            cell_id: CellId(Uuid::from_u128(1)),
            cell: CellName::parse("example.org")?,
            administrator: PrincipalName::parse("admin")?,
            administrator_id: 1_000,
            member: EntryName::parse(&Shown(1).to_string())?,
            addresses: address(1).into_iter().collect(),
        };
        session.change(Who::Database, genesis).await.map(drop)
    }

    /// Brings the group to its size, and replaces the member that leaves.
    pub async fn administrate(self: Arc<World>, mut session: Session) -> Result<()> {
        if self.plan.growth == Growth::UnderFaults {
            self.grow(&mut session).await?;
        }
        let Some((number, when, leaving)) = self.plan.leaves else {
            return Ok(());
        };
        sleep(Duration::from_micros(when)).await;
        // A group that is not whole yet may not survive the loss of one, whatever anybody does.
        while !self.is_whole() {
            sleep(Duration::from_millis(5)).await;
        }
        if leaving == Leaving::Lost {
            self.lose(number);
        }
        let name = EntryName::parse(&Shown(number).to_string())?;
        session.change(administrator()?, Change::RemoveMember { name }).await?;
        self.join(&mut session).await
    }

    /// True if all members that are to be have a vote that counts.
    fn is_whole(&self) -> bool {
        let leader = self.leader().and_then(|number| self.running(number));
        leader.is_some_and(|(_, member)| {
            let status = member.status();
            !status.changing && status.voters.len() as u64 == self.plan.members
        })
    }

    /// Invites as many members as are to be.
    pub async fn grow(self: &Arc<World>, session: &mut Session) -> Result<()> {
        for _ in 1..self.plan.members {
            self.join(session).await?;
        }
        Ok(())
    }

    /// Invites one more member, and starts it.
    pub async fn join(self: &Arc<World>, session: &mut Session) -> Result<()> {
        let number = self.hosts.lock().keys().max().map_or(1, |last| last + 1);
        let name = EntryName::parse(&Shown(number).to_string())?;
        loop {
            let secret_hash = self.draw(|seed| [0; 32].map(|_: u8| seed.draw().to_le_bytes()[0]));
            let invite = Change::Invite {
                secret_hash,
                kind: InvitationKind::Member,
                principal: PrincipalName::host(&name),
                id: None,
                groups: Vec::new(),
            };
            session.change(administrator()?, invite).await?;
            let used = Change::UseInvitation {
                secret_hash,
                public_key_hash: secret_hash,
                addresses: address(number).into_iter().collect(),
            };
            let reply = match session.change(Who::Nobody, used).await {
                // The next leader's date may be hours ahead.
                Err(error) if error.kind == Kind::Expired => continue,
                used => used?,
            };
            return match reply.record.map(Record::try_from).transpose()? {
                Some(Record::Member(member)) if member.number == number => {
                    self.begin(number);
                    Ok(())
                }
                other => Err(Error::new(Kind::Damaged, "a new member").because(format!("it became {other:?}"))),
            };
        }
    }
}
