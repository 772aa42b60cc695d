//! Who owns what: asked of the location database, and moved by it.

use anyhow::{Context, Result, bail};
use baton_rpc::fldb::{Freshness, Query};
use baton_types::change::{AggregateRef, Change, Move, Moving, Takeover};
use baton_types::record::{Aggregate, AggregateState, Record, Server, Table};
use baton_types::{Epoch, ServerId};

use super::{As, Cell};

impl Cell {
    /// What the location database says of an aggregate.
    ///
    /// # Errors
    /// When it does not answer, or knows of no such aggregate.
    pub async fn aggregate(&self, name: &str) -> Result<Aggregate> {
        self.aggregate_at(name, Freshness::Linearizable).await
    }

    /// The same, as fresh as said: without a quorum only what some member knows is to be had.
    ///
    /// # Errors
    /// As for [`Cell::aggregate`].
    pub async fn aggregate_at(&self, name: &str, freshness: Freshness) -> Result<Aggregate> {
        for record in self.records(Table::Aggregate, freshness).await? {
            match record {
                Record::Aggregate(aggregate) if aggregate.name.as_str() == name => return Ok(aggregate),
                _ => {}
            }
        }
        bail!("the location database knows of no aggregate {name}")
    }

    /// What it says of a file server.
    ///
    /// # Errors
    /// As for [`Cell::aggregate`].
    pub async fn file_server(&self, name: &str) -> Result<Server> {
        self.file_server_at(name, Freshness::Linearizable).await
    }

    /// The same, as fresh as said.
    ///
    /// # Errors
    /// As for [`Cell::aggregate`].
    pub async fn file_server_at(&self, name: &str, freshness: Freshness) -> Result<Server> {
        for record in self.records(Table::Server, freshness).await? {
            match record {
                Record::Server(server) if server.name.as_str() == name => return Ok(server),
                _ => {}
            }
        }
        bail!("the location database knows of no server {name}")
    }

    async fn records(&self, table: Table, freshness: Freshness) -> Result<Vec<Record>> {
        let query = Query::tables(&[table], freshness);
        let client = self.client(As::User(self.administrator_name()))?;
        Ok(client.list(&query).await?.records)
    }

    /// Has an aggregate moved to another server, as `fts failover` does.
    ///
    /// # Errors
    /// What the location database says.
    pub async fn fail_over(&self, name: &str, to: ServerId, takeover: Takeover) -> Result<()> {
        let what = Moving::Aggregates(vec![AggregateRef::Name(name.parse()?)]);
        self.fail_over_what(what, to, takeover).await
    }

    /// Has all that a server owns moved to another one, as `fts failover -server` does.
    ///
    /// # Errors
    /// What the location database says.
    pub async fn fail_over_all(&self, of: ServerId, to: ServerId, takeover: Takeover) -> Result<()> {
        self.fail_over_what(Moving::Server(of), to, takeover).await
    }

    async fn fail_over_what(&self, what: Moving, to: ServerId, takeover: Takeover) -> Result<()> {
        let change = Change::Move(Move {
            what,
            to: Some(to),
            takeover,
        });
        let client = self.client(As::User(self.administrator_name()))?;
        client.change(change).await.map(drop).context("not moved")
    }

    /// Waits until a server has all aggregates that there are, and serves them.
    ///
    /// # Errors
    /// When it never does.
    pub async fn has_all(&self, server: ServerId) -> Result<()> {
        self.wait("one server has all aggregates", async || {
            let records = self.records(Table::Aggregate, Freshness::Local).await.ok()?;
            let is_there = |record: &Record| match record {
                Record::Aggregate(aggregate) => {
                    aggregate.owner == Some(server) && aggregate.state == AggregateState::Exported
                }
                _ => true,
            };
            records.iter().all(is_there).then_some(())
        })
        .await
    }

    /// Waits until a server serves an aggregate under a newer epoch than this, and says so itself; gives that epoch.
    ///
    /// # Errors
    /// When it never does.
    pub async fn served_by(&self, name: &str, server: &str, after: Epoch) -> Result<Epoch> {
        let seat = self.seat(server, self.administrator_name());
        self.wait(
            &format!("{server} serves {name} under a newer epoch than {after}"),
            async || {
                let epoch = self.aggregate(name).await.ok()?.epoch;
                let listed = seat.dfsexport(&[]).ok()?.stdout;
                let line = format!("{name}, exported, epoch {epoch}, ");
                (epoch > after && listed.contains(&line)).then_some(epoch)
            },
        )
        .await
    }
}
