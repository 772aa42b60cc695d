//! Where faults strike: a cell of several file servers on one disk, programs at work in its mounts, and what is struck.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use baton_rpc::fldb::Freshness;
use baton_types::record::{Aggregate, AggregateState};

use super::programs::{Count, Work};
use crate::cell::{Builder, Cell, Links, Reach, Role, Trust};
use crate::suites::Stage;

/// The aggregate that goes from server to server.
pub(super) const AGGREGATE: &str = "lfs01";
/// Members of the location database.
const MEMBERS: usize = 3;
/// Mounts in which programs work.
const MOUNTS: usize = 2;
/// Room for what the programs write in some hundred rounds.
const DISK_BYTES: u64 = 4 << 30;

/// A cell, its programs, and what is struck just now.
pub struct Arena {
    pub(super) cell: Cell,
    pub(super) links: Links,
    pub(super) struck: BTreeSet<String>,
    work: Work,
}

/// What came of it all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Of what the programs were promised.
    pub count: Count,
    /// The longest that a program waited for a promise.
    pub longest: Duration,
}

impl Outcome {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Outcome) -> Outcome {
        Outcome {
            count: self.count.and(other.count),
            longest: self.longest.max(other.longest),
        }
    }
}

impl Arena {
    /// A cell with so many file servers, and programs that have begun. The caller is isolated.
    ///
    /// # Errors
    /// When it does not come to that.
    pub async fn open(servers: usize, reach: Reach) -> Result<Arena> {
        let builder = Builder::default().flservers(MEMBERS).servers(servers).aggregates(1);
        let cell = builder.disk_bytes(DISK_BYTES).reach(reach).start().await?;
        let stage = Stage::within(cell, MOUNTS, Trust::UsersAndRoot).await?;
        let work = Work::begin(&stage.directories)?;
        Ok(Arena {
            cell: stage.cell,
            links: Links::new()?,
            struck: BTreeSet::new(),
            work,
        })
    }

    /// How every machine is, and how its log ends.
    pub async fn condition(&self) -> String {
        self.cell.condition().await
    }

    /// Waits until every program has done something since now.
    ///
    /// # Errors
    /// When one never does.
    pub async fn goes_on(&self) -> Result<()> {
        self.work.goes_on(&self.cell).await
    }

    /// The aggregate, as the location database has it, or as some member knows it where no quorum says more.
    pub(super) async fn aggregate(&self, freshness: Freshness) -> Result<Aggregate> {
        self.cell.aggregate_at(AGGREGATE, freshness).await
    }

    /// The machine that owns the aggregate, as far as any member knows.
    pub(super) async fn owner(&self) -> Result<String> {
        let aggregate = self.aggregate(Freshness::Local).await?;
        let owner = aggregate.owner.context("nobody owns the aggregate")?;
        for name in self.cell.named(Role::Fileserver) {
            if self.cell.file_server_at(&name, Freshness::Local).await?.id == owner {
                return Ok(name);
            }
        }
        anyhow::bail!("no machine here is the owner, {owner}")
    }

    /// A file server that nothing has struck, other than `server`.
    pub(super) fn another(&self, server: &str) -> Option<String> {
        let servers = self.cell.named(Role::Fileserver).into_iter();
        servers
            .filter(|name| name != server)
            .find(|name| !self.struck.contains(name))
    }

    /// Waits until one that nothing has struck serves the aggregate in the place of its owner, under a newer epoch.
    pub(super) async fn moved_from(&self, before: &Aggregate) -> Result<Aggregate> {
        self.cell
            .wait("another server takes the aggregate", async || {
                let now = self.aggregate(Freshness::Local).await.ok()?;
                let has_moved = now.epoch > before.epoch && now.owner != before.owner;
                let is_whole = !self.struck.contains(&self.owner().await.ok()?);
                (has_moved && is_whole && now.state == AggregateState::Exported).then_some(now)
            })
            .await
    }

    /// Waits until nothing shows any more of what was struck: members have votes, servers are fit to take over.
    ///
    /// # Errors
    /// When something does not come back.
    pub async fn is_whole(&self) -> Result<()> {
        self.cell.wait_for_all().await?;
        for server in self.cell.named(Role::Fileserver) {
            self.cell
                .wait(&format!("{server} is fit"), async || {
                    let record = self.cell.file_server(&server).await.ok()?;
                    record.is_fit().then_some(())
                })
                .await?;
        }
        self.cell
            .wait("the aggregate is exported", async || {
                let now = self.aggregate(Freshness::Linearizable).await.ok()?;
                (now.state == AggregateState::Exported).then_some(())
            })
            .await
    }

    /// Ends the programs and counts; then the servers, and looks at what is on the disk.
    ///
    /// # Errors
    /// An error that a program met; what is not as promised; what `salvage -check` finds; a daemon that ended by itself.
    pub async fn finish(mut self) -> Result<Outcome> {
        let waits = self.work.waits();
        let longest = waits.iter().map(|wait| wait.took).max().unwrap_or_default();
        let finished = self.work.finish().await.and_then(Count::checked);
        let count = match finished {
            Ok(count) => count,
            Err(error) => return Err(error.context(self.cell.condition().await)),
        };
        ensure!(self.struck.is_empty(), "not healed: {:?}", self.struck);
        for server in self.cell.named(Role::Fileserver) {
            self.cell.terminate(&server)?;
        }
        let disk = self.cell.places().disk(AGGREGATE);
        let disk = disk.to_str().context("the directory's name is no text")?;
        self.cell.administrator().run("salvage", &["-check", disk])?.done()?;
        self.cell.down()?;
        Ok(Outcome { count, longest })
    }
}
