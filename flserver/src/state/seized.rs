//! What a server took by itself while nobody could grant it: `dfsexport -seize`.

use baton_types::change::Change;
use baton_types::record::{Aggregate, Record};
use baton_types::{Error, Incarnation, Kind, Result, ServerId};

use super::draft::Draft;
use super::owners::Cause;

impl Draft<'_> {
    /// What was seized when nobody was there to grant it. Its epoch is of an era that was not granted from, so that it
    /// is above them all; from here on nothing is granted from an older one. Said again, it changes nothing.
    pub(super) fn adopt(&mut self, change: &Change) -> Result<Record> {
        let &Change::Adopt {
            aggregate,
            server: by,
            incarnation: run,
            epoch,
        } = change
        else {
            unreachable!("routed by Draft::run")
        };
        let aggregate = self.state.known_aggregate(aggregate)?;
        let me = self.server_name(by);
        self.may_own(&aggregate, (by, run))?;
        if (aggregate.epoch, aggregate.owner, aggregate.run) == (epoch, Some(by), Some(run)) {
            return Ok(Record::Aggregate(aggregate));
        }
        if epoch.era() <= aggregate.epoch.era() {
            return Err(Error::new(Kind::WrongEpoch, format!("aggregate {}", aggregate.name))
                .because(format!(
                    "epoch {epoch} is of no later era than {}, under which it was granted",
                    aggregate.epoch
                ))
                .remedy(format!("to whom, and when: fts history -aggregate {}", aggregate.name)));
        }
        self.tell(format!("aggregate {} by {me} under epoch {epoch}", aggregate.name));
        Ok(self.own(aggregate, (by, run), epoch, Cause::told(format!("seized by {me}"))))
    }

    /// Refuses whoever is not that run of a server, or has not said that it sees the aggregate.
    pub(super) fn may_own(&self, aggregate: &Aggregate, (server, run): (ServerId, Incarnation)) -> Result<()> {
        let on = || format!("aggregate {}", aggregate.name);
        let me = self.server_name(server);
        if self
            .state
            .servers
            .get(&server)
            .is_none_or(|s| s.incarnation != Some(run))
        {
            return Err(Error::new(Kind::Stale, on()).because(format!("{me} runs again since: register first")));
        }
        if !aggregate.attached.contains(&server) {
            return Err(Error::new(Kind::Denied, on())
                .because(format!("{me} has not reported its label"))
                .remedy(format!(
                    "let {me} see the disk: 'devices' in its baton.toml says where it looks"
                )));
        }
        Ok(())
    }
}
