//! From a label to an export: the grant, and what it takes on the disk.

use std::sync::Arc;
use std::time::Duration;

use baton_aggregate::aggregate::{Opened, Running};
use baton_aggregate::device::{Access, FileDevice};
use baton_aggregate::fence::{Grant, Ring, Slots, ended, read_slots};
use baton_aggregate::nodes::Nodes;
use baton_types::change::{Change, Takeover};
use baton_types::record::TimeLine;
use baton_types::{Epoch, Error, Kind, PrincipalName, Result, Time};

use super::{Claims, aggregate_of, blocking};
use crate::devices::Found;
use crate::endings::Taking;
use crate::exports::Export;

/// Between two looks whether grace is over: the time of its end is noted by who sees it.
const PEACE_LOOK: Duration = Duration::from_millis(20);
/// A beat older than this is no sign of life: six are due in that time.
const BEAT_MAX_SECONDS: i64 = 3;

/// Leave to own an aggregate that was found.
pub(super) struct Leave {
    /// What was found.
    pub(super) found: Found,
    pub(super) device: Arc<FileDevice>,
    pub(super) slots: Slots,
    /// Under which.
    pub(super) epoch: Epoch,
}

/// An aggregate that was taken.
pub(super) struct Taken {
    /// It is served.
    pub(super) export: Arc<Export>,
    /// Of the log, that were replayed.
    pub(super) records: u64,
    /// When they were.
    pub(super) replayed_at: Time,
}

impl Claims {
    /// Asks the location database for an epoch: above all that it granted and all that stand on the disk.
    pub(super) async fn ask(&self, found: &Found, takeover: Takeover) -> Result<Leave> {
        let known = self.attach(found).await?;
        self.reported.lock().insert(found.id);
        let seen = found.clone();
        let (device, slots) = blocking(move || open(&seen)).await?;
        let next = slots.next(known.epoch).ok_or_else(|| {
            Error::new(Kind::Damaged, format!("aggregate {}", found.name))
                .because("no epoch can follow those on its disk: more than one slot is unreadable")
                .remedy("look at it first: salvage -check")
        })?;
        if takeover == Takeover::Planned {
            self.not_seized(&known, &slots)?;
        }
        let change = Change::Claim {
            aggregate: found.id,
            server: self.me.id,
            incarnation: self.me.incarnation,
            disk_epoch: match slots.newest() {
                // What is on the disk says where a new era begins.
                Some(newest) if known.epoch.begins_era() => newest.epoch,
                _ => Epoch(next.0.saturating_sub(1)),
            },
            takeover,
        };
        let granted = self.client.change(change).await.map_err(|error| match error.kind {
            Kind::Busy if known.held.is_none() => self.not_taken(error, &slots),
            _ => error,
        })?;
        Ok(Leave {
            found: found.clone(),
            device,
            slots,
            epoch: aggregate_of(granted.record)?.epoch,
        })
    }

    /// Leave for what was granted already.
    pub(super) async fn leave(&self, found: &Found, epoch: Epoch) -> Result<Leave> {
        let seen = found.clone();
        let (device, slots) = blocking(move || open(&seen)).await?;
        Ok(Leave {
            found: found.clone(),
            device,
            slots,
            epoch,
        })
    }

    /// Another server owns it; whether that one lives is on the disk.
    fn not_taken(&self, error: Error, slots: &Slots) -> Error {
        let age = slots
            .newest()
            .map(|slot| self.clock.date().seconds() - slot.time.seconds());
        let beat = match age {
            Some(age) if (0..=BEAT_MAX_SECONDS).contains(&age) => "its beat goes on".to_owned(),
            Some(age) if age > 0 => format!("its last beat was {age} s ago"),
            Some(_) | None => "its beat cannot be told".to_owned(),
        };
        let reason = format!("{}; {beat}. Not taken", error.reason);
        error.because(reason)
    }

    /// Becomes owner on the disk, and serves. Reads and writes disks.
    pub(super) fn take(&self, leave: &Leave) -> Result<Taken> {
        let Leave {
            found,
            device,
            slots,
            epoch,
        } = leave;
        device.hold(*epoch)?;
        let _taking = Taking::begin(found.id, *epoch);
        let grant = Grant {
            epoch: *epoch,
            server: self.me.id,
            incarnation: self.me.incarnation,
            boot: self.boot,
            principal: PrincipalName::host(&self.me.name).to_string(),
            ring: Ring::Ended(ended(device, slots, (self.me.id, self.boot))?),
        };
        let nodes = Nodes::over(device.clone(), self.exports.cache().clone());
        let opened = Opened::open(device.clone(), nodes)?;
        if opened.label().id != found.id {
            return Err(Error::new(Kind::Stale, format!("device {device}")).because(format!(
                "it held aggregate {} a moment ago, and now another",
                found.name
            )));
        }
        let claimed = opened.claim(grant, self.clock.date())?;
        let claimed_at = self.clock.now();
        let recovered = claimed.recover()?;
        let (records, replayed_at) = (recovered.records(), self.clock.now());
        let running = Running::start(recovered.seal()?, self.clock.clone())?;
        let export = Arc::new(Export::new(running, claimed_at));
        self.service.serve(&export)?;
        Ok(Taken {
            export,
            records,
            replayed_at,
        })
    }

    /// Tells the location database how a takeover went, once nobody is waited for any more.
    pub(super) fn report_takeover(
        self: &Arc<Claims>,
        export: &Arc<Export>,
        (begun, replayed): (Time, Time),
        records: u64,
    ) {
        let (claims, export) = (self.clone(), export.clone());
        tokio::spawn(async move {
            let since = |at: Time| at.saturating_sub(begun);
            // Whoever loses it meanwhile has nothing to tell.
            while let Some(peace) = claims.service.peace(&export) {
                let Some(over) = peace.since else {
                    tokio::time::sleep(PEACE_LOOK).await;
                    continue;
                };
                let time_line = TimeLine {
                    fenced_micros: since(export.claimed_at),
                    replayed_micros: since(replayed),
                    records,
                    first_reclaim_micros: peace.first_reclaim.map(since),
                    last_reclaim_micros: peace.last_reclaim.map(since),
                    serving_micros: since(over),
                };
                tracing::info!(aggregate = %export.name, epoch = %export.epoch, ?time_line, "nobody is waited for");
                let change = Change::ReportTakeover {
                    server: claims.me.id,
                    aggregate: export.id,
                    epoch: export.epoch,
                    time_line,
                };
                if let Err(error) = claims.client.change(change).await {
                    tracing::debug!(%error, aggregate = %export.name, "its takeover is not reported");
                }
                return;
            }
        });
    }
}

pub(super) fn open(found: &Found) -> Result<(Arc<FileDevice>, Slots)> {
    let device = Arc::new(FileDevice::open(&found.path, Access::Write)?);
    let slots = read_slots(&*device, found.id)?;
    Ok((device, slots))
}
