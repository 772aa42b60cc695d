//! `Blow`: what befalls a cell, and how it is made good again.

use anyhow::{Context, Result};
use baton_rpc::config::PORT_FILES_CONTROL;
use baton_types::change::Takeover;

use super::arena::{AGGREGATE, Arena};
use crate::cell::{Ports, Role};

/// One fault, or one deed of an administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// Nothing breaks: the aggregate is moved as `fts failover` does it.
    Planned,
    /// The owner ends; its guard sees that, and says so.
    Kill,
    /// The owner and its guard end at once, as with the end of their machine: nobody says anything.
    Crash,
    /// The owner stands still, and wakes when it is followed.
    Freeze,
    /// The owner is killed, and when another has taken over, that one too.
    Successor,
    /// All file servers are killed.
    All,
    /// The owner's machine ends, and with it the leader of the location database.
    WithLeader,
    /// The location database loses its quorum, the leader with it.
    NoQuorum,
    /// The owner is cut off from the location database and the other servers; clients and the disk are not.
    CutOff,
    /// The owner's port fails: every request of it to the disk ends with EIO.
    Port,
}

/// What is to be made good.
#[derive(Debug)]
pub(super) struct Struck {
    blow: Blow,
    machines: Vec<String>,
}

impl Blow {
    /// Strikes; `None` if there is nothing to strike, because that is struck already or not to be found.
    pub(super) async fn strike(self, arena: &mut Arena) -> Result<Option<Struck>> {
        let Some(machines) = self.targets(arena).await else {
            return Ok(None);
        };
        if machines.iter().any(|machine| arena.struck.contains(machine)) {
            return Ok(None);
        }
        for machine in &machines {
            match self {
                Blow::Planned => {}
                Blow::Kill | Blow::Successor | Blow::All => arena.cell.kill(machine)?,
                Blow::Crash | Blow::WithLeader | Blow::NoQuorum => arena.cell.crash(machine)?,
                Blow::Freeze => arena.cell.stop(machine)?,
                Blow::CutOff => arena.cut_off(machine)?,
                Blow::Port => arena.port()?.shut(&arena.cell.places().root(machine)),
            }
            arena.struck.insert(machine.clone());
        }
        let mut struck = Struck { blow: self, machines };
        match self {
            Blow::Planned if planned(arena).await.is_err() => return Ok(None),
            Blow::Successor => struck.machines.push(successor(arena).await?),
            _ => {}
        }
        Ok(Some(struck))
    }

    /// The machines that it strikes first, if they are to be found.
    async fn targets(self, arena: &Arena) -> Option<Vec<String>> {
        match self {
            Blow::Planned => Some(Vec::new()),
            Blow::Kill | Blow::Crash | Blow::Freeze | Blow::Successor | Blow::CutOff | Blow::Port => {
                Some(vec![arena.owner().await.ok()?])
            }
            Blow::All => Some(arena.whole(Role::Fileserver)),
            Blow::WithLeader => Some(vec![arena.owner().await.ok()?, arena.cell.leader().await?]),
            Blow::NoQuorum => {
                let leader = arena.cell.leader().await?;
                let mut members = arena.whole(Role::Flserver);
                members.sort_by_key(|member| *member != leader);
                members.truncate(2);
                Some(members)
            }
        }
    }
}

impl Struck {
    /// Makes it good. That everything serves again is something to wait for.
    pub(super) fn heal(self, arena: &mut Arena) -> Result<()> {
        for machine in &self.machines {
            match self.blow {
                Blow::Planned => {}
                Blow::Kill | Blow::Crash | Blow::Successor | Blow::All | Blow::WithLeader | Blow::NoQuorum => {
                    arena.cell.start(machine)?;
                }
                Blow::Freeze => arena.cell.cont(machine)?,
                Blow::CutOff => arena.links.heal()?,
                Blow::Port => arena.port()?.open(&arena.cell.places().root(machine)),
            }
            arena.struck.remove(machine);
        }
        Ok(())
    }
}

impl Arena {
    /// Machines with this role that nothing has struck.
    fn whole(&self, role: Role) -> Vec<String> {
        let machines = self.cell.named(role).into_iter();
        machines.filter(|name| !self.struck.contains(name)).collect()
    }

    fn port(&self) -> Result<&Ports> {
        self.cell.ports().context("the cell has no ports")
    }

    fn cut_off(&mut self, server: &str) -> Result<()> {
        let others = [self.cell.named(Role::Flserver), self.cell.named(Role::Fileserver)].concat();
        let here = self.cell.address(server)?;
        for other in others.iter().filter(|other| *other != server) {
            self.links.cut_both(&here, &self.cell.address(other)?)?;
        }
        // Its clients reach it still, and cannot say so: else it would be left alone.
        self.links.cut_port(&here, PORT_FILES_CONTROL)
    }
}

/// Another server takes over, as an administrator has it.
async fn planned(arena: &Arena) -> Result<()> {
    let owner = arena.owner().await?;
    let target = arena.another(&owner).context("there is nobody to move it to")?;
    let target = arena.cell.file_server(&target).await?.id;
    arena.cell.fail_over(AGGREGATE, target, Takeover::Planned).await
}

/// With the owner killed, kills whoever takes over, and says who that was.
async fn successor(arena: &mut Arena) -> Result<String> {
    let struck = arena.struck.clone();
    let next = arena.cell.wait("another server takes the aggregate", async || {
        arena.owner().await.ok().filter(|owner| !struck.contains(owner))
    });
    let next = next.await?;
    arena.cell.kill(&next)?;
    arena.struck.insert(next.clone());
    Ok(next)
}
