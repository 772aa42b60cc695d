//! Looking for disks: labels are reported, and what is this server's is taken.

use std::sync::Arc;
use std::time::Duration;

use baton_rpc::fldb::{Freshness, Query};
use baton_types::change::{Change, Takeover};
use baton_types::record::{Aggregate, Record, Table};
use baton_types::{Error, Kind, Result};

use super::{CHECK_EVERY, Claims, aggregate_of, blocking};
use crate::devices::Found;

/// Between two looks for disks that came or went.
const SCAN_EVERY: Duration = Duration::from_secs(10);
/// The same while something is this server's that it has not taken.
const SCAN_SOON: Duration = Duration::from_secs(1);

impl Claims {
    /// Looks for disks now and for ever after: reports labels, and takes what is this server's.
    pub async fn scan(self: &Arc<Claims>) {
        self.recall().await;
        loop {
            for found in self.look().await {
                if let Err(error) = self.report(&found).await {
                    tracing::warn!(%error, aggregate = %found.name, "its label is not reported yet");
                }
                self.resume(&found).await;
                self.pursue(found.id);
            }
            let pause = match self.awaited.lock().is_empty() {
                true => SCAN_EVERY,
                false => SCAN_SOON,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.anew.notified() => {}
            }
        }
    }

    /// Begins anew with a location database that came back from a file: tells it of the labels, and claims what it says
    /// is this server's.
    pub async fn begin_anew(&self) {
        self.reported.lock().clear();
        for row in self.recall().await {
            // The epoch may be of that era, and then a database that is lost granted it: no comparison tells.
            if row.epoch.begins_era()
                && let Ok(export) = self.exports.of_aggregate(row.id)
                && let Ok(_turn) = self.works.begin("takeover", &row.name)
            {
                let error = Error::new(Kind::WrongEpoch, format!("aggregate {}", row.name))
                    .because("the location database came back from a file: it is claimed anew");
                self.lose(&export, &error).await;
            }
        }
        self.anew.notify_one();
    }

    /// Asks what is this server's, until it is told.
    async fn recall(&self) -> Vec<Aggregate> {
        let query = Query::tables(&[Table::Aggregate], Freshness::Linearizable);
        let listing = loop {
            match self.client.list(&query).await {
                Ok(listing) => break listing,
                Err(error) => {
                    tracing::warn!(%error, "what this server owns is not known yet");
                    tokio::time::sleep(CHECK_EVERY).await;
                }
            }
        };
        let own = listing.records.into_iter().filter_map(|record| match record {
            Record::Aggregate(aggregate) if aggregate.owner == Some(self.me.id) => Some(aggregate),
            _ => None,
        });
        let own: Vec<Aggregate> = own.collect();
        self.awaited.lock().extend(own.iter().map(|row| row.id));
        own
    }

    pub(super) async fn look(self: &Arc<Claims>) -> Vec<Found> {
        let claims = self.clone();
        let looked = blocking(move || {
            let found = claims.devices.scan();
            claims.ports.watch(&found)?;
            Ok(found)
        });
        looked.await.unwrap_or_else(|error| {
            tracing::error!(%error, "what this machine can reach is not known");
            Vec::new()
        })
    }

    /// Tells the location database of a label, once.
    async fn report(&self, found: &Found) -> Result<()> {
        if self.reported.lock().contains(&found.id) {
            return Ok(());
        }
        self.attach(found).await?;
        tracing::info!(aggregate = %found.name, device = %found.path.display(), "its label is reported");
        self.reported.lock().insert(found.id);
        Ok(())
    }

    pub(super) async fn attach(&self, found: &Found) -> Result<Aggregate> {
        let change = Change::ReportAggregate {
            server: self.me.id,
            id: found.id,
            name: found.name.clone(),
        };
        aggregate_of(self.client.change(change).await?.record)
    }

    /// Claims anew what was this server's before it ended. What may be better soon is tried again at the next look.
    async fn resume(self: &Arc<Claims>, found: &Found) {
        if !self.awaited.lock().contains(&found.id) {
            return;
        }
        let Ok(_turn) = self.works.begin("export", &found.name) else {
            return; // somebody does it just now
        };
        if self.exports.of_aggregate(found.id).is_ok() {
            return; // served still, until that is withdrawn
        }
        let is_granted = self.rows.lock().get(&found.id).is_some_and(|row| self.is_mine(row));
        if !is_granted && let Err((error, epoch)) = self.claim(found, Takeover::Planned).await {
            tracing::error!(%error, aggregate = %found.name, "not exported again");
            let is_passing = matches!(
                error.kind,
                Kind::Io | Kind::TimedOut | Kind::Unreachable | Kind::SessionLost
            );
            match epoch {
                None if is_passing => return,
                None => {}
                Some(_) if error.kind == Kind::Busy => return, // an earlier run's I/O is still in flight
                Some(epoch) => self.give_up(found.id, epoch, &error),
            }
        }
        self.awaited.lock().remove(&found.id);
    }
}
