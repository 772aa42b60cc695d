//! What is heard of an aggregate's owner, and what follows from it here.
//!
//! | the location database says | this server | does |
//! |---|---|---|
//! | another epoch, a greater one | exports it under a smaller one | serves it no more: it is standby |
//! | this run of this server is to own it | does not export it | takes it under that epoch, without asking again |
//! | this run is to hand it over | exports it | hands it over ([`super::moving`]) |
//! | anything else | | nothing |
//!
//! Each aggregate is pursued by itself, so that many are taken side by side; and by one task at a time, which goes on
//! until what was heard last needs nothing more.

use std::sync::Arc;

use baton_types::record::Aggregate;
use baton_types::{AggregateId, Error, Kind};

use super::Claims;

impl Claims {
    /// The location database has another record of an aggregate.
    pub fn heard(self: &Arc<Claims>, row: &Aggregate) {
        self.rows.lock().insert(row.id, row.clone());
        if let Ok(export) = self.exports.of_aggregate(row.id)
            && row.epoch > export.epoch
        {
            export.stop_accepting();
        }
        if self.is_to_move(row) {
            self.moving.notify_one();
        }
        self.pursue(row.id);
    }

    /// Does what follows from the last record of an aggregate, unless somebody is at work there: he pursues it when he
    /// is done.
    pub(super) fn pursue(self: &Arc<Claims>, aggregate: AggregateId) {
        let claims = self.clone();
        tokio::spawn(async move {
            while let Some(row) = claims.row(aggregate) {
                let Ok(turn) = claims.works.begin("takeover", &row.name) else {
                    return;
                };
                let step = claims.step(&row).await;
                drop(turn);
                if step == Step::Rest && claims.row(aggregate).as_ref() == Some(&row) {
                    return;
                }
            }
        });
    }

    pub(super) fn row(&self, aggregate: AggregateId) -> Option<Aggregate> {
        self.rows.lock().get(&aggregate).cloned()
    }

    /// Whether this run is to own it, and may still take it under this epoch.
    pub(super) fn is_mine(&self, row: &Aggregate) -> bool {
        let is_unused = self.used.lock().get(&row.id).is_none_or(|used| *used < row.epoch);
        let is_granted = row.owner == Some(self.me.id) && row.run == Some(self.me.incarnation);
        is_granted && row.state.is_served() && is_unused
    }

    async fn step(self: &Arc<Claims>, row: &Aggregate) -> Step {
        if let Ok(export) = self.exports.of_aggregate(row.id) {
            // What was detached on purpose is withdrawn by whoever did that.
            let is_given_up = |error: &Error| error.kind == Kind::Detached;
            if row.epoch <= export.epoch || export.aggregate().check().is_err_and(|error| is_given_up(&error)) {
                return Step::Rest;
            }
            let error = Error::new(Kind::WrongEpoch, format!("aggregate {}", row.name))
                .because(format!("the location database has it under epoch {}", row.epoch));
            self.lose(&export, &error).await;
            return Step::Done;
        }
        let found = self.devices.list().into_iter().find(|found| found.id == row.id);
        let Some(found) = found.filter(|_| self.is_mine(row)) else {
            return Step::Rest;
        };
        let taken = match self.leave(&found, row.epoch).await {
            Ok(leave) => self.serve_under(leave).await,
            Err(error) => Err(error),
        };
        match taken {
            Ok(_) => Step::Done,
            // What an earlier run had in flight is so still; the next look at the disks comes back to it.
            Err(error) if error.kind == Kind::Busy => {
                tracing::warn!(%error, aggregate = %row.name, epoch = %row.epoch, "not taken yet");
                Step::Rest
            }
            Err(error) => {
                tracing::error!(%error, aggregate = %row.name, epoch = %row.epoch, "not taken");
                self.used.lock().insert(row.id, row.epoch);
                self.give_up(row.id, row.epoch, &error);
                Step::Done
            }
        }
    }
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Something was done: there may be more to do.
    Done,
    /// Nothing is to be done.
    Rest,
}
