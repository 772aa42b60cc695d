//! Claims: how this server becomes owner of an aggregate, and how it stops being that (I1).
//!
//! ```text
//! label seen → reported → granted an epoch by the location database → lock of the epoch → slot → log replayed
//!            → seal → threads → exported
//! ```
//!
//! The grant alone gives nothing: what makes it safe is on the disk, and the store sees to that. What the database
//! says is this server's is claimed anew when it starts, under a new epoch. An aggregate that is lost, to a newer
//! epoch or to a failing disk, is served no more from that moment, and this server stays attached to it.

mod moving;
mod pursue;
mod scan;
mod seize;
mod take;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use baton_aggregate::fence::boot_id;
use baton_rpc::FldbClient;
use baton_rpc::fldb::{Freshness, Query};
use baton_types::change::{Change, Takeover};
use baton_types::control::{AggregateExport, AggregateReport, DetachReport, ExportReport, Force};
use baton_types::record::{Aggregate, Record, Table};
use baton_types::{AggregateId, AggregateName, Clock, Epoch, Error, Kind, Result, ServerId};
use parking_lot::Mutex;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::daemon::Me;
use crate::devices::{Devices, Found};
use crate::endings::Ending;
use crate::exports::{Export, Exports};
use crate::filesets;
use crate::ports::Ports;
use crate::service::Service;
use crate::work::Works;
use take::{Leave, Taken};

/// Between two looks whether what is exported is still written.
const CHECK_EVERY: Duration = Duration::from_millis(200);
/// Before what nobody heard is said again.
const SAID_AGAIN: Duration = Duration::from_secs(1);
/// What claims, and for whom.
pub struct Claims {
    /// This server.
    pub me: Me,
    /// As this server.
    pub client: FldbClient,
    /// For grace, and for dates.
    pub clock: Arc<dyn Clock>,
    /// What it serves now.
    pub exports: Arc<Exports>,
    /// What serves it.
    pub service: Arc<Service>,
    /// Where it is found.
    pub devices: Devices,
    /// How it looks from here.
    pub ports: Ports,
    /// What is under way.
    pub works: Works,
    boot: Uuid,
    /// Labels that the location database has heard of.
    reported: Mutex<BTreeSet<AggregateId>>,
    /// What the location database says was this server's before it ran, and is not exported yet.
    awaited: Mutex<BTreeSet<AggregateId>>,
    /// What the location database said last of each aggregate.
    rows: Mutex<BTreeMap<AggregateId, Aggregate>>,
    /// The last epoch of each that this run used: it uses none twice.
    used: Mutex<BTreeMap<AggregateId, Epoch>>,
    /// Something is to be handed over.
    moving: Notify,
    /// The location database came back from a file.
    anew: Notify,
}

impl Claims {
    /// Claims for `me` what is found by `devices`, and has it served by `service`.
    ///
    /// # Errors
    /// If the machine does not say which boot this is.
    pub fn new(
        me: Me,
        client: FldbClient,
        clock: Arc<dyn Clock>,
        service: Arc<Service>,
        devices: Devices,
    ) -> Result<Claims> {
        Ok(Claims {
            me,
            client,
            works: Works::new(clock.clone()),
            ports: Ports::new(clock.clone()),
            clock,
            exports: service.exports().clone(),
            service,
            devices,
            boot: boot_id()?,
            reported: Mutex::default(),
            awaited: Mutex::default(),
            rows: Mutex::default(),
            used: Mutex::default(),
            moving: Notify::new(),
            anew: Notify::new(),
        })
    }

    /// The other servers that are attached to what this one is.
    pub fn buddies(&self) -> BTreeSet<ServerId> {
        let rows = self.rows.lock();
        let shared = rows.values().filter(|row| row.attached.contains(&self.me.id));
        let attached = shared.flat_map(|row| row.attached.iter().copied());
        attached.filter(|id| *id != self.me.id).collect()
    }

    /// Looks for ever whether what is exported is still written, and drops what is not.
    pub async fn check(self: &Arc<Claims>) {
        loop {
            tokio::time::sleep(CHECK_EVERY).await;
            for export in self.exports.list() {
                if let Err(error) = export.aggregate().check()
                    && export.accepting()
                    && error.kind != Kind::Detached
                {
                    self.lose(&export, &error).await;
                }
            }
        }
    }

    /// Exports the aggregate called `name`; `takeover` says whether a living owner keeps it.
    ///
    /// # Errors
    /// `Exists` if it is exported already; `NotFound` if no disk has its label; `Busy` if another server keeps it; what
    /// the disk says.
    pub async fn export(self: &Arc<Claims>, name: &AggregateName, takeover: Takeover) -> Result<ExportReport> {
        let turn = self.works.begin("export", name)?;
        self.not_exported(name)?;
        self.look().await;
        let found = self.devices.named(name)?;
        let exported = self.claim(&found, takeover).await;
        match &exported {
            Err((error, Some(epoch))) => {
                tracing::error!(%error, aggregate = %name, %epoch, "not exported");
                if let Err(error) = self.detach_in_database(found.id, *epoch).await {
                    tracing::warn!(%error, "the location database still says that this server owns it");
                }
            }
            Err((_, None)) => {}
            Ok(_) => drop(self.awaited.lock().remove(&found.id)),
        }
        drop(turn);
        self.pursue(found.id);
        exported.map_err(|(error, _)| error)
    }

    fn not_exported(&self, name: &AggregateName) -> Result<()> {
        match self.exports.named(name) {
            Err(_) => Ok(()),
            Ok(export) => Err(Error::new(Kind::Exists, format!("aggregate {name}"))
                .because(format!("exported already, under epoch {}", export.epoch))),
        }
    }

    /// Detaches the aggregate called `name`: clients have given back what they hold, unless nobody waits for them;
    /// everything is written, and the disk says that nothing is in flight.
    ///
    /// # Errors
    /// `NotFound` if it is not exported here; `Busy` while clients keep what they hold; what the disk or the location
    /// database says.
    pub async fn detach(self: &Arc<Claims>, name: &AggregateName, force: Force) -> Result<DetachReport> {
        let _turn = self.works.begin("detach", name)?;
        let Ok(export) = self.exports.named(name) else {
            return self.detach_unserved(name).await;
        };
        let (detaching, service, date) = (export.clone(), self.service.clone(), self.clock.date());
        let detached = blocking(move || {
            let recalled = service.recall(&detaching, force)?;
            detaching.stop_accepting();
            let filesets = detaching.filesets()?.len() as u64;
            service.withdraw(&detaching);
            detaching.stop();
            detaching.aggregate().detach(date)?;
            Ok((filesets, recalled))
        });
        let (filesets, recalled) = detached.await?;
        self.detach_in_database(export.id, export.epoch).await?;
        tracing::info!(aggregate = %name, epoch = %export.epoch, "detached");
        Ok(DetachReport {
            aggregate: name.clone(),
            epoch: export.epoch,
            filesets,
            holds: recalled.holds,
            unreachable: recalled.unreachable,
        })
    }

    /// All aggregates whose labels were seen. Reads disks: not for a thread that may not wait.
    ///
    /// # Errors
    /// Damage.
    pub fn list(&self) -> Result<Vec<AggregateReport>> {
        let report = |found: Found| {
            let exported = match self.exports.of_aggregate(found.id) {
                Ok(export) => {
                    let (space, block) = (export.aggregate().space(), baton_aggregate::format::BLOCK_BYTES as u64);
                    Some(AggregateExport {
                        epoch: export.epoch,
                        total_bytes: space.blocks * block,
                        free_bytes: space.free * block,
                        filesets: export.filesets()?.len() as u64,
                    })
                }
                Err(_) => None,
            };
            Ok(AggregateReport {
                id: found.id,
                name: found.name,
                device: found.path.display().to_string(),
                exported,
            })
        };
        self.devices.list().into_iter().map(report).collect()
    }

    /// The process ends: everything is written, and stays this server's.
    pub async fn drain(&self) {
        let drain = |export: Arc<Export>| {
            export.stop_accepting();
            let service = self.service.clone();
            tokio::task::spawn_blocking(move || {
                service.withdraw(&export);
                let aggregate = export.aggregate();
                let written = aggregate.checkpoint().and_then(|()| aggregate.wait(aggregate.last()));
                export.stop();
                match written {
                    Ok(()) => tracing::info!(aggregate = %export.name, epoch = %export.epoch, "written and closed"),
                    Err(error) => tracing::error!(%error, aggregate = %export.name, "not all of it is written"),
                }
            })
        };
        let draining: Vec<_> = self.exports.list().into_iter().map(drain).collect();
        for drained in draining {
            if let Err(error) = drained.await {
                tracing::error!(%error, "an aggregate was not closed");
            }
        }
    }

    /// From the label to the export. An error comes with the epoch that was granted, if one was.
    async fn claim(
        self: &Arc<Claims>,
        found: &Found,
        takeover: Takeover,
    ) -> Result<ExportReport, (Error, Option<Epoch>)> {
        let leave = self.ask(found, takeover).await.map_err(|error| (error, None))?;
        let epoch = leave.epoch;
        self.serve_under(leave).await.map_err(|error| (error, Some(epoch)))
    }

    /// From the grant to the export, with the root of the cell on it if there is none yet.
    async fn serve_under(self: &Arc<Claims>, leave: Leave) -> Result<ExportReport> {
        let (export, report) = self.begin(leave).await?;
        filesets::make_root_cell(self, &export).await;
        Ok(report)
    }

    /// From the grant to the export.
    async fn begin(self: &Arc<Claims>, leave: Leave) -> Result<(Arc<Export>, ExportReport)> {
        let (epoch, name, id, begun) = (leave.epoch, leave.found.name.clone(), leave.found.id, self.clock.now());
        let claims = self.clone();
        let taken = blocking(move || claims.take(&leave)).await;
        if !taken.as_ref().is_err_and(|error| error.kind == Kind::Busy) {
            self.used.lock().insert(id, epoch);
        }
        let Taken {
            export,
            records,
            replayed_at,
        } = taken?;
        // It may have been heard that it is to move while there was nothing to hand over yet.
        if self.row(id).is_some_and(|row| self.is_to_move(&row)) {
            self.moving.notify_one();
        }
        let micros = self.clock.now().saturating_sub(begun);
        self.report_takeover(&export, (begun, replayed_at), records);
        let counted = export.clone();
        let filesets = blocking(move || counted.filesets()).await?.len() as u64;
        tracing::info!(aggregate = %name, %epoch, records, micros, filesets, "exported");
        let report = ExportReport {
            aggregate: name,
            epoch,
            records,
            micros,
            filesets,
        };
        Ok((export, report))
    }

    /// Serves an aggregate no more that this server does not own, or cannot write.
    async fn lose(&self, export: &Arc<Export>, error: &Error) {
        let (stopped, service) = (export.clone(), self.service.clone());
        let ended = blocking(move || {
            service.withdraw(&stopped);
            stopped.stop();
            // Somebody may have a hand on it for long: a call that waits, a program that does not go away.
            stopped.aggregate().retire();
            Ok(())
        });
        drop(ended.await);
        tracing::error!(%error, aggregate = %export.name, epoch = %export.epoch,
            "served no more; this server stays attached to it");
        self.give_up(export.id, export.epoch, error);
    }

    /// Tells the location database what ended earlier runs of this server, before this one takes anything.
    pub async fn confess(&self, endings: Vec<Ending>) {
        for ending in endings {
            tracing::error!(aggregate = %ending.aggregate, epoch = %ending.epoch, "{}", ending.why);
            let change = Change::Fail {
                aggregate: ending.aggregate,
                server: self.me.id,
                epoch: ending.epoch,
                why: ending.why.clone(),
            };
            say_until_heard(self.client.clone(), change).await;
            ending.forget();
        }
    }

    /// The location database is not to say that this server serves what it does not. Whoever is fit may have it; but
    /// what is damaged is tried by one other at most, and then for salvage (I10).
    fn give_up(&self, aggregate: AggregateId, epoch: Epoch, error: &Error) {
        let server = self.me.id;
        let change = match error.kind {
            Kind::WrongEpoch | Kind::Detached => return, // it knows more than this server
            Kind::Damaged => Change::Fail {
                aggregate,
                server,
                epoch,
                why: error.to_string(),
            },
            _ => Change::GiveUp {
                aggregate,
                server,
                epoch,
                why: error.to_string(),
            },
        };
        tokio::spawn(say_until_heard(self.client.clone(), change));
    }

    /// It is not served here; but if the location database says so, a detach that was cut short is finished.
    async fn detach_unserved(&self, name: &AggregateName) -> Result<DetachReport> {
        let query = Query::tables(&[Table::Aggregate], Freshness::Linearizable);
        let own = self
            .client
            .list(&query)
            .await?
            .records
            .into_iter()
            .find_map(|record| match record {
                Record::Aggregate(known) if known.name == *name && known.owner == Some(self.me.id) => Some(known),
                _ => None,
            });
        let own = own.ok_or_else(|| {
            Error::new(Kind::NotFound, format!("aggregate {name}"))
                .because("not exported by this server")
                .remedy("dfsexport lists what is")
        })?;
        self.awaited.lock().remove(&own.id);
        self.detach_in_database(own.id, own.epoch).await?;
        Ok(DetachReport {
            aggregate: own.name,
            epoch: own.epoch,
            filesets: 0,
            holds: 0,
            unreachable: 0,
        })
    }

    async fn detach_in_database(&self, aggregate: AggregateId, epoch: Epoch) -> Result<()> {
        let change = Change::Detach {
            aggregate,
            server: self.me.id,
            epoch,
        };
        self.client.change(change).await.map(drop)
    }
}

/// Asks for a change that does no harm when it is done twice, until somebody has heard it: as long as nobody has, nobody
/// else gets what this server does not serve.
async fn say_until_heard(client: FldbClient, change: Change) {
    while let Err(error) = client.change(change.clone()).await {
        let is_unheard = matches!(
            error.kind,
            Kind::Unreachable | Kind::TimedOut | Kind::Io | Kind::Moved | Kind::SessionLost
        );
        tracing::warn!(%error, is_unheard, "the location database has not heard what became of an aggregate");
        if !is_unheard {
            return;
        }
        tokio::time::sleep(SAID_AGAIN).await;
    }
}

/// Runs what waits for disks where nobody else waits.
///
/// # Errors
/// Its own.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::new(Kind::Io, "work on a disk").because(error.to_string())))
}

fn aggregate_of(record: Option<Record>) -> Result<Aggregate> {
    match record {
        Some(Record::Aggregate(aggregate)) => Ok(aggregate),
        _ => Err(Error::new(Kind::Damaged, "aggregate").because("the location database answered something else")),
    }
}
