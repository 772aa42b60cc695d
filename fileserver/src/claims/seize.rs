//! `dfsexport -seize`: ownership that nobody granted, while the location database cannot.
//!
//! It is as safe as a grant, for what makes either safe is on the disk: the epoch is above all that stand there, and
//! above all that may have been granted and not been used yet, for it is of the next era. Only whoever asks for it
//! knows that it is wanted; so only root of this machine does, and never while the database answers.

use std::sync::Arc;
use std::time::Duration;

use baton_aggregate::fence::Slots;
use baton_aggregate::format::SlotState;
use baton_rpc::fldb::{Freshness, Query};
use baton_types::change::Change;
use baton_types::control::ExportReport;
use baton_types::record::{Aggregate, Table};
use baton_types::{AggregateName, Epoch, Error, Kind, Result};

use super::take::{Leave, open};
use super::{Claims, blocking, say_until_heard};
use crate::devices::Found;

/// How long the location database is listened for: an election is over long before.
const SILENT_FOR: Duration = Duration::from_secs(3);

impl Claims {
    /// Takes the aggregate called `name` without the location database, and tells it once it is back.
    ///
    /// # Errors
    /// `Exists` if it is exported here; `NotFound` if no disk has its label; `Busy` while the location database answers,
    /// or if an earlier owner may still write; what the disk says.
    pub async fn seize(self: &Arc<Claims>, name: &AggregateName) -> Result<ExportReport> {
        let _turn = self.works.begin("export", name)?;
        self.not_exported(name)?;
        let query = Query::tables(&[Table::Cell], Freshness::Linearizable);
        if self.client.within(SILENT_FOR).list(&query).await.is_ok() {
            return Err(Error::new(Kind::Busy, format!("aggregate {name}"))
                .because("the location database answers, and only what it grants is taken")
                .remedy(format!("dfsexport -aggregate {name} -takeover")));
        }
        self.look().await;
        let found = self.devices.named(name)?;
        let leave = self.next_era(&found).await?;
        tracing::warn!(aggregate = %name, epoch = %leave.epoch, "seized: the location database does not answer");
        let epoch = leave.epoch;
        let (_, report) = self.begin(leave).await?;
        let change = Change::Adopt {
            aggregate: found.id,
            server: self.me.id,
            incarnation: self.me.incarnation,
            epoch,
        };
        tokio::spawn(say_until_heard(self.client.clone(), change));
        Ok(report)
    }

    async fn next_era(&self, found: &Found) -> Result<Leave> {
        let seen = found.clone();
        let (device, slots) = blocking(move || open(&seen)).await?;
        let epoch = slots.next_era().ok_or_else(|| {
            Error::new(Kind::Damaged, format!("aggregate {}", found.name))
                .because("no era can follow those on its disk: more than one slot is unreadable")
                .remedy("look at it first: salvage -check")
        })?;
        Ok(Leave {
            found: found.clone(),
            device,
            slots,
            epoch,
        })
    }

    /// Refuses to claim anew what another seized and the location database has not heard of: it was this server's
    /// before.
    pub(super) fn not_seized(&self, known: &Aggregate, slots: &Slots) -> Result<()> {
        let newest = slots
            .newest()
            .filter(|slot| slot.state == SlotState::Own && slot.server != self.me.id);
        match newest {
            Some(slot) if slot.epoch.era() > known.epoch.era() && known.epoch != Epoch::NONE => {
                Err(Error::new(Kind::Busy, format!("aggregate {}", known.name))
                    .because(format!("{} seized it under epoch {}", slot.principal, slot.epoch))
                    .remedy(format!(
                        "if that one is dead: dfsexport -aggregate {} -takeover",
                        known.name
                    )))
            }
            _ => Ok(()),
        }
    }
}
