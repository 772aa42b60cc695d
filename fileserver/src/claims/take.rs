//! From a label to an export: the grant, and what it takes on the disk.

use std::sync::Arc;

use baton_aggregate::aggregate::{Opened, Running};
use baton_aggregate::device::{Access, FileDevice};
use baton_aggregate::fence::{Grant, Ring, Slots, read_slots};
use baton_aggregate::format::SlotState;
use baton_aggregate::nodes::Nodes;
use baton_types::change::{Change, Takeover};
use baton_types::{Epoch, Error, Kind, PrincipalName, Result};

use super::{Claims, aggregate_of, blocking};
use crate::devices::Found;
use crate::exports::Export;

/// A beat older than this is no sign of life: six are due in that time.
const BEAT_MAX_SECONDS: i64 = 3;

/// Leave to own an aggregate that was found.
pub(super) struct Leave {
    found: Found,
    device: Arc<FileDevice>,
    slots: Slots,
    /// Under which.
    pub(super) epoch: Epoch,
}

impl Claims {
    /// Asks the location database for an epoch: above all that it granted and all that stand on the disk.
    pub(super) async fn ask(&self, found: &Found) -> Result<Leave> {
        let known = self.attach(found).await?;
        self.reported.lock().insert(found.id);
        let seen = found.clone();
        let opened = blocking(move || {
            let device = Arc::new(FileDevice::open(&seen.path, Access::Write)?);
            let slots = read_slots(&*device, seen.id)?;
            Ok((device, slots))
        });
        let (device, slots) = opened.await?;
        let next = slots.next(known.epoch).ok_or_else(|| {
            Error::new(Kind::Damaged, format!("aggregate {}", found.name))
                .because("no epoch can follow those on its disk: more than one slot is unreadable")
                .remedy("look at it first: salvage -check")
        })?;
        let change = Change::Claim {
            aggregate: found.id,
            server: self.me.id,
            incarnation: self.me.incarnation,
            disk_epoch: Epoch(next.0.saturating_sub(1)),
            takeover: Takeover::Planned,
        };
        let granted = self.client.change(change).await.map_err(|error| match error.kind {
            Kind::Busy => self.not_taken(error, &slots),
            _ => error,
        })?;
        Ok(Leave {
            found: found.clone(),
            device,
            slots,
            epoch: aggregate_of(granted.record)?.epoch,
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
    pub(super) fn take(&self, leave: &Leave) -> Result<(Arc<Export>, u64)> {
        let Leave {
            found,
            device,
            slots,
            epoch,
        } = leave;
        device.hold(*epoch)?;
        let grant = Grant {
            epoch: *epoch,
            server: self.me.id,
            incarnation: self.me.incarnation,
            boot: self.boot,
            principal: PrincipalName::host(&self.me.name).to_string(),
            ring: Ring::Ended(self.ended(device, slots)?),
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
        let records = recovered.records();
        let running = Running::start(recovered.seal()?, self.clock.clone())?;
        let export = Arc::new(Export::new(running, claimed_at));
        self.service.serve(&export)?;
        Ok((export, records))
    }

    /// Epochs that ran on this host since it was booted, and whose I/O has ended: nobody holds their locks. On device
    /// nodes only this server's own are believed: another one's may have come by a node of its own.
    fn ended(&self, device: &FileDevice, slots: &Slots) -> Result<Vec<Epoch>> {
        let mut ended = Vec::new();
        for slot in slots.sound() {
            let is_ours = slot.boot == self.boot && (device.is_file() || slot.server == self.me.id);
            if is_ours && slot.state != SlotState::Detached && !device.is_held(slot.epoch)? {
                ended.push(slot.epoch);
            }
        }
        Ok(ended)
    }
}
