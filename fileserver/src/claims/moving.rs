//! Planned moves: what is draining is frozen, written, detached and handed over, all of it in one commit.
//!
//! | step | if it fails |
//! |---|---|
//! | a checkpoint, while clients work on | the move is abandoned |
//! | frozen: calls wait, changes that are under way end | thawed, abandoned |
//! | what clients hold is left on the disk, all is durable, the slot says DETACHED | the same |
//! | one commit: the targets own all of it | what is not handed over is thawed: its slot says OWN again |
//! | whoever waited is told to ask the next owner | |
//!
//! Whether the commit took place may stay unknown. To thaw is safe then too: the slot says OWN before the look that
//! comes before anything else, so either the next owner finds OWN and trusts nothing that was left, or the look finds
//! the next owner (R1, R3).

use std::sync::Arc;
use std::time::Duration;

use baton_rpc::fldb::{Freshness, Query};
use baton_types::change::{Change, Held};
use baton_types::record::{Aggregate, AggregateState, Record, Table};
use baton_types::{AggregateName, Error, Kind, Result};
use tokio::time::{sleep, timeout};

use super::{Claims, blocking};
use crate::exports::Export;
use crate::work::Turn;

/// What the location database says in one piece is heard in one: so much later all of a plan is known.
const GATHER: Duration = Duration::from_millis(2);
/// Changes that are under way take no longer, unless a disk is at fault: then the move would not get on either.
const CHANGES_MAX: Duration = Duration::from_millis(200);
/// For the location database to decide: while it does, nobody is served.
const DECISION_MAX: Duration = Duration::from_secs(2);
/// For whoever is at work on the aggregate to end.
const TURN_MAX: Duration = Duration::from_secs(2);
const TURN_AGAIN: Duration = Duration::from_millis(5);

impl Claims {
    /// Hands over what is to be, for ever.
    pub async fn hand_over(self: &Arc<Claims>) {
        loop {
            self.moving.notified().await;
            sleep(GATHER).await;
            self.hand_over_all().await;
        }
    }

    /// Whether this server is to hand an aggregate over, and can.
    pub(super) fn is_to_move(&self, row: &Aggregate) -> bool {
        let exported = self.exports.of_aggregate(row.id);
        row.owner == Some(self.me.id)
            && row.state == AggregateState::Draining
            && exported.is_ok_and(|export| export.epoch == row.epoch && export.accepting())
    }

    async fn hand_over_all(self: &Arc<Claims>) {
        let mut rows: Vec<Aggregate> = self.rows.lock().values().cloned().collect();
        rows.retain(|row| self.is_to_move(row));
        let freezing: Vec<_> = rows
            .into_iter()
            .map(|row| {
                let claims = self.clone();
                let (held, name) = (held(&row), row.name.clone());
                (held, name, tokio::spawn(async move { claims.freeze(&row).await }))
            })
            .collect();
        let (mut frozen, mut kept) = (Vec::new(), Vec::new());
        for (held, name, task) in freezing {
            match task.await {
                Ok(Ok(export)) => frozen.push(export),
                Ok(Err(error)) => kept.push((held, name, error)),
                Err(error) => tracing::error!(%error, aggregate = %name, "its move was cut short"),
            }
        }
        if !frozen.is_empty() {
            kept.extend(self.commit(frozen).await);
        }
        for (held, name, error) in kept {
            tracing::warn!(%error, aggregate = %name, "not handed over; it is served on");
            self.abandon(held, &error).await;
        }
    }

    /// Nobody else works on the aggregate as long as this lives.
    async fn turn(&self, name: &AggregateName) -> Result<Turn<'_>> {
        let wait = async {
            loop {
                match self.works.begin("move", name) {
                    Ok(turn) => return turn,
                    Err(_) => sleep(TURN_AGAIN).await,
                }
            }
        };
        match timeout(TURN_MAX, wait).await {
            Ok(turn) => Ok(turn),
            Err(_) => self.works.begin("move", name),
        }
    }

    /// From service to the slot that says DETACHED; if that fails, back to service.
    async fn freeze(self: &Arc<Claims>, row: &Aggregate) -> Result<Arc<Export>> {
        let _turn = self.turn(&row.name).await?;
        let export = self.exports.of_aggregate(row.id)?;
        let (claims, freezing) = (self.clone(), export.clone());
        blocking(move || claims.freeze_now(&freezing)).await?;
        Ok(export)
    }

    fn freeze_now(&self, export: &Arc<Export>) -> Result<()> {
        let aggregate = export.aggregate();
        aggregate.checkpoint()?;
        let begun = self.clock.now();
        let handed = self.service.freeze(export, CHANGES_MAX)?;
        let written = (|| {
            if let Some(handed) = handed {
                aggregate.leave(&handed.encode())?;
            }
            aggregate.wait(aggregate.last())?;
            export.stop();
            aggregate.detach(self.clock.date())
        })();
        let micros = self.clock.now().saturating_sub(begun);
        match written {
            Ok(()) => {
                tracing::info!(aggregate = %export.name, epoch = %export.epoch, micros, "frozen, written and detached");
                Ok(())
            }
            Err(error) => {
                let went_on = export.go_on(self.clock.clone());
                self.service.thaw(export);
                Err(went_on.err().unwrap_or(error))
            }
        }
    }

    /// The one commit; whatever it did not move is thawed, and named.
    async fn commit(self: &Arc<Claims>, frozen: Vec<Arc<Export>>) -> Vec<(Held, AggregateName, Error)> {
        let change = Change::HandOver {
            server: self.me.id,
            rows: frozen.iter().map(held_by).collect(),
        };
        let late = || Error::new(Kind::TimedOut, "hand-over").because("the location database did not decide in time");
        let decided = timeout(DECISION_MAX, self.client.change(change)).await;
        let decided = decided.unwrap_or_else(|_| Err(late())).map(drop);
        let left = self.left(&frozen).await;
        let mut kept = Vec::new();
        for export in frozen {
            if !left.contains(&held_by(&export)) {
                let (service, moved) = (self.service.clone(), export.clone());
                let withdrawn = blocking(move || {
                    service.withdraw(&moved);
                    Ok(())
                });
                drop(withdrawn.await);
                tracing::info!(aggregate = %export.name, epoch = %export.epoch, "handed over");
                continue;
            }
            let (claims, thawing) = (self.clone(), export.clone());
            let thawed = blocking(move || {
                thawing.aggregate().thaw(claims.clock.date())?;
                thawing.go_on(claims.clock.clone())?;
                claims.service.thaw(&thawing);
                Ok(())
            });
            match thawed.await {
                Ok(()) => {
                    let why = decided.clone().err().unwrap_or_else(|| {
                        Error::new(Kind::Busy, format!("aggregate {}", export.name)).because("nobody is fit to take it")
                    });
                    kept.push((held_by(&export), export.name.clone(), why));
                }
                Err(error) => self.lose(&export, &error).await,
            }
        }
        kept
    }

    /// Which of `frozen` the location database says are this server's still; all, if it says nothing.
    async fn left(&self, frozen: &[Arc<Export>]) -> Vec<Held> {
        let query = Query::tables(&[Table::Aggregate], Freshness::Linearizable);
        let listing = timeout(DECISION_MAX, self.client.list(&query)).await;
        let Ok(Ok(listing)) = listing else {
            return frozen.iter().map(held_by).collect();
        };
        let own = listing.records.iter().filter_map(|record| match record {
            Record::Aggregate(row) if row.owner == Some(self.me.id) => Some(held(row)),
            _ => None,
        });
        own.collect()
    }

    async fn abandon(&self, held: Held, error: &Error) {
        let change = Change::AbandonMove {
            server: self.me.id,
            rows: vec![held],
            why: error.to_string(),
        };
        if let Err(error) = self.client.change(change).await {
            tracing::warn!(%error, "the location database still says that it is to move");
        }
    }
}

fn held(row: &Aggregate) -> Held {
    Held {
        aggregate: row.id,
        epoch: row.epoch,
    }
}

fn held_by(export: &Arc<Export>) -> Held {
    Held {
        aggregate: export.id,
        epoch: export.epoch,
    }
}
