//! Changes of owners between their typed form and the wire.

use baton_types::change::{AggregateRef, Ask, Change, Grant, Held, Move, Moving, Takeover, Verdict};
use baton_types::limits::{JUDGED_AGGREGATES_MAX, JUDGED_SERVERS_MAX};
use baton_types::{AggregateId, Epoch, Error, Incarnation, Result, ServerId};
use v1::change::Change as Wire;

use super::aggregate_bytes;
use crate::v1;
use crate::wire::{FromWire, at_most, bytes, free_text, invalid, missing};

fn id(id: uuid::Uuid) -> Vec<u8> {
    id.as_bytes().to_vec()
}

/// The wire form of what an administrator says of where aggregates are to be.
///
/// # Panics
/// For any other change.
pub(super) fn whereabouts_to_wire(change: Change) -> Wire {
    match change {
        Change::SetDrained { server, drained } => Wire::SetDrained(v1::SetDrained {
            server: id(server.0),
            drained,
        }),
        Change::SetDomain { server, domain } => Wire::SetDomain(v1::SetDomain {
            server: id(server.0),
            domain: domain.map(bytes).unwrap_or_default(),
        }),
        Change::Prefer { aggregate, server } => Wire::Prefer(v1::Prefer {
            aggregate: aggregate_bytes(aggregate),
            server: id(server.0),
        }),
        other => unreachable!("{other:?} says nothing of whereabouts"),
    }
}

/// The wire form of a change of owners.
///
/// # Panics
/// For any other change.
pub(super) fn to_wire(change: Change) -> Wire {
    match change {
        Change::GiveUp {
            aggregate,
            server,
            epoch,
            why,
        } => Wire::GiveUp(v1::GiveUp {
            aggregate: id(aggregate.0),
            server: id(server.0),
            epoch: epoch.0,
            why,
        }),
        Change::Fail {
            aggregate,
            server,
            epoch,
            why,
        } => Wire::Fail(v1::Fail {
            aggregate: id(aggregate.0),
            server: id(server.0),
            epoch: epoch.0,
            why,
        }),
        Change::Adopt {
            aggregate,
            server,
            incarnation,
            epoch,
        } => Wire::Adopt(adopt_to_wire((aggregate, epoch), (server, incarnation))),
        Change::SetHeld { aggregate, why } => Wire::SetHeld(v1::SetHeld {
            aggregate: aggregate_bytes(aggregate),
            why,
        }),
        Change::Judge {
            verdicts,
            grants,
            asks,
            silent_micros,
            reason,
        } => Wire::Judge(v1::Judge {
            asks: asks.into_iter().map(Into::into).collect(),
            verdicts: verdicts.into_iter().map(Into::into).collect(),
            grants: grants.into_iter().map(Into::into).collect(),
            silent_micros,
            reason,
        }),
        Change::HandOver { server, rows } => Wire::HandOver(v1::HandOver {
            server: id(server.0),
            rows: rows.into_iter().map(Into::into).collect(),
        }),
        Change::AbandonMove { server, rows, why } => Wire::AbandonMove(v1::AbandonMove {
            server: id(server.0),
            rows: rows.into_iter().map(Into::into).collect(),
            why,
        }),
        Change::ReportTakeover {
            server,
            aggregate,
            epoch,
            time_line,
        } => Wire::ReportTakeover(v1::ReportTakeover {
            server: id(server.0),
            aggregate: id(aggregate.0),
            epoch: epoch.0,
            time_line: Some(time_line.into()),
        }),
        other => unreachable!("not of owners: {other:?}"),
    }
}

pub(super) fn takeover(insists: bool) -> Takeover {
    if insists { Takeover::Forced } else { Takeover::Planned }
}

pub(super) fn give_up(c: v1::GiveUp) -> Result<Change> {
    Ok(Change::GiveUp {
        aggregate: AggregateId::from_wire(&c.aggregate)?,
        server: ServerId::from_wire(&c.server)?,
        epoch: Epoch(c.epoch),
        why: free_text(c.why, "reason")?,
    })
}

pub(super) fn fail(c: v1::Fail) -> Result<Change> {
    Ok(Change::Fail {
        aggregate: AggregateId::from_wire(&c.aggregate)?,
        server: ServerId::from_wire(&c.server)?,
        epoch: Epoch(c.epoch),
        why: free_text(c.why, "reason")?,
    })
}

fn adopt_to_wire((aggregate, epoch): (AggregateId, Epoch), (server, run): (ServerId, Incarnation)) -> v1::Adopt {
    v1::Adopt {
        aggregate: id(aggregate.0),
        server: id(server.0),
        incarnation: id(run.0),
        epoch: epoch.0,
    }
}

pub(super) fn adopt(c: &v1::Adopt) -> Result<Change> {
    Ok(Change::Adopt {
        aggregate: AggregateId::from_wire(&c.aggregate)?,
        server: ServerId::from_wire(&c.server)?,
        incarnation: Incarnation::from_wire(&c.incarnation)?,
        epoch: Epoch(c.epoch),
    })
}

pub(super) fn set_held(c: v1::SetHeld) -> Result<Change> {
    Ok(Change::SetHeld {
        aggregate: AggregateRef::from_wire(&c.aggregate)?,
        why: c.why.map(|why| free_text(why, "reason")).transpose()?,
    })
}

pub(super) fn judge(c: v1::Judge) -> Result<Change> {
    at_most(c.verdicts.len(), JUDGED_SERVERS_MAX, "verdicts")?;
    at_most(c.grants.len(), JUDGED_AGGREGATES_MAX, "grants")?;
    at_most(c.asks.len(), JUDGED_AGGREGATES_MAX, "asks")?;
    Ok(Change::Judge {
        verdicts: c.verdicts.into_iter().map(TryInto::try_into).collect::<Result<_>>()?,
        grants: c.grants.iter().map(grant).collect::<Result<_>>()?,
        asks: c.asks.iter().map(ask).collect::<Result<_>>()?,
        silent_micros: c.silent_micros,
        reason: free_text(c.reason, "reason")?,
    })
}

impl From<Ask> for v1::Ask {
    fn from(ask: Ask) -> v1::Ask {
        v1::Ask {
            aggregate: id(ask.aggregate.0),
            from: ask.from.0,
            to: id(ask.to.0),
        }
    }
}

fn ask(ask: &v1::Ask) -> Result<Ask> {
    Ok(Ask {
        aggregate: AggregateId::from_wire(&ask.aggregate)?,
        from: Epoch(ask.from),
        to: ServerId::from_wire(&ask.to)?,
    })
}

pub(super) fn hand_over(c: &v1::HandOver) -> Result<Change> {
    Ok(Change::HandOver {
        server: ServerId::from_wire(&c.server)?,
        rows: held(&c.rows)?,
    })
}

pub(super) fn abandon_move(c: v1::AbandonMove) -> Result<Change> {
    Ok(Change::AbandonMove {
        server: ServerId::from_wire(&c.server)?,
        rows: held(&c.rows)?,
        why: free_text(c.why, "reason")?,
    })
}

pub(super) fn report_takeover(c: &v1::ReportTakeover) -> Result<Change> {
    Ok(Change::ReportTakeover {
        server: ServerId::from_wire(&c.server)?,
        aggregate: AggregateId::from_wire(&c.aggregate)?,
        epoch: Epoch(c.epoch),
        time_line: c.time_line.ok_or_else(|| missing("time line"))?.into(),
    })
}

fn held(rows: &[v1::Held]) -> Result<Vec<Held>> {
    at_most(rows.len(), JUDGED_AGGREGATES_MAX, "aggregates")?;
    let held = |row: &v1::Held| {
        Ok(Held {
            aggregate: AggregateId::from_wire(&row.aggregate)?,
            epoch: Epoch(row.epoch),
        })
    };
    rows.iter().map(held).collect()
}

impl From<Held> for v1::Held {
    fn from(held: Held) -> v1::Held {
        v1::Held {
            aggregate: id(held.aggregate.0),
            epoch: held.epoch.0,
        }
    }
}

impl From<Verdict> for v1::Verdict {
    fn from(verdict: Verdict) -> v1::Verdict {
        v1::Verdict {
            server: id(verdict.server.0),
            incarnation: id(verdict.incarnation.0),
            state: v1::ServerState::from(verdict.state) as i32,
            evidence: verdict.evidence,
        }
    }
}

impl TryFrom<v1::Verdict> for Verdict {
    type Error = Error;

    fn try_from(c: v1::Verdict) -> Result<Verdict> {
        if c.state() == v1::ServerState::Unspecified {
            return Err(invalid("verdict", "a state this version does not know"));
        }
        Ok(Verdict {
            state: c.state().into(),
            server: ServerId::from_wire(&c.server)?,
            incarnation: Incarnation::from_wire(&c.incarnation)?,
            evidence: free_text(c.evidence, "evidence")?,
        })
    }
}

impl From<Grant> for v1::Grant {
    fn from(grant: Grant) -> v1::Grant {
        v1::Grant {
            aggregate: id(grant.aggregate.0),
            from_epoch: grant.from.0,
            to: id(grant.to.0),
            run: id(grant.run.0),
            disk_epoch: grant.disk.0,
        }
    }
}

fn grant(c: &v1::Grant) -> Result<Grant> {
    Ok(Grant {
        aggregate: AggregateId::from_wire(&c.aggregate)?,
        from: Epoch(c.from_epoch),
        to: ServerId::from_wire(&c.to)?,
        run: Incarnation::from_wire(&c.run)?,
        disk: Epoch(c.disk_epoch),
    })
}

impl From<Move> for v1::Move {
    fn from(wish: Move) -> v1::Move {
        let (aggregates, server) = match wish.what {
            Moving::Aggregates(list) => (list.into_iter().map(aggregate_bytes).collect(), Vec::new()),
            Moving::Server(server) => (Vec::new(), id(server.0)),
        };
        v1::Move {
            aggregates,
            server,
            to: wish.to.map(|to| id(to.0)).unwrap_or_default(),
            takeover: wish.takeover == Takeover::Forced,
        }
    }
}

impl TryFrom<v1::Move> for Move {
    type Error = Error;

    fn try_from(c: v1::Move) -> Result<Move> {
        let what = match (ServerId::optional(&c.server)?, c.aggregates.is_empty()) {
            (Some(server), true) => Moving::Server(server),
            (None, false) => {
                Moving::Aggregates(AggregateRef::list(&c.aggregates, JUDGED_AGGREGATES_MAX, "aggregates")?)
            }
            (Some(_), false) | (None, true) => return Err(invalid("move", "aggregates or a server, one of the two")),
        };
        Ok(Move {
            what,
            to: ServerId::optional(&c.to)?,
            takeover: takeover(c.takeover),
        })
    }
}
