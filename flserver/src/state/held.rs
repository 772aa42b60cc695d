//! Held aggregates (I10): nobody becomes their owner until an administrator says so.
//!
//! What ends one server may end the next: an aggregate on which two fail in a row goes to no third. A server fails on
//! it when it says so itself, in service or while it takes it; what a server says of a run that ended counts for
//! nothing if somebody else has served the aggregate since.

use baton_types::change::{AggregateRef, Change};
use baton_types::record::{Aggregate, AggregateState, Failure, Record};
use baton_types::{AggregateName, Error, Kind, Result};

use super::draft::Draft;

/// A second failure so soon after the first is one in a row.
const IN_A_ROW_SECONDS: i64 = 3_600;

/// What to do about a held aggregate.
pub(super) fn remedy(name: &AggregateName) -> String {
    format!("look at it: salvage -check; then: fts unhold -aggregate {name}")
}

impl Draft<'_> {
    /// Said again, it counts once.
    pub(super) fn fail(&mut self, change: &Change) -> Result<Record> {
        let &Change::Fail {
            aggregate: id,
            server: by,
            epoch,
            ref why,
        } = change
        else {
            unreachable!("routed by Draft::run")
        };
        let aggregate = self.state.known_aggregate(id)?;
        let known = self.state.tenures.get(&(id, epoch));
        if known.is_none_or(|tenure| tenure.owner != by) {
            return Err(Error::new(Kind::WrongEpoch, format!("aggregate {}", aggregate.name))
                .because(format!("{} did not own it under epoch {epoch}", self.server_name(by)))
                .remedy(format!(
                    "who owns it, and since when: fts history -aggregate {}",
                    aggregate.name
                )));
        }
        let is_served_since = || {
            let newest = self.state.tenures.get(&(id, aggregate.epoch));
            aggregate.epoch > epoch && newest.is_some_and(|tenure| tenure.time_line.is_some())
        };
        if aggregate.failure.is_some_and(|last| last.epoch >= epoch) || is_served_since() {
            return Ok(Record::Aggregate(aggregate));
        }
        let name = self.server_name(by);
        let failure = Failure {
            server: by,
            epoch,
            date: self.date,
        };
        let last = aggregate.failure.filter(|last| {
            let since = self.date.seconds().saturating_sub(last.date.seconds());
            since < IN_A_ROW_SECONDS
        });
        let held = last.map(|last| match last.server == by {
            true => format!("{name} failed on it twice, at last: {why}"),
            false => format!("{} failed on it, then {name}: {why}", self.server_name(last.server)),
        });
        self.tell_detail(format!("aggregate {} by {name}", aggregate.name), why);
        let is_owner = aggregate.owner == Some(by) && aggregate.epoch == epoch;
        let is_given_up = is_owner && aggregate.state != AggregateState::Detached;
        let aggregate = Aggregate {
            held: aggregate.held.clone().or(held),
            failure: Some(failure),
            ..aggregate
        };
        Ok(self.put_aggregate(match is_given_up {
            true => Aggregate {
                run: None,
                state: AggregateState::Unserved,
                target: None,
                since: self.date,
                reason: format!("{name} failed on it: {why}"),
                ..aggregate
            },
            false => aggregate,
        }))
    }

    /// Said again unchanged, it is no event.
    pub(super) fn set_held(&mut self, aggregate: &AggregateRef, why: Option<&str>) -> Result<Record> {
        let aggregate = self.state.aggregate(aggregate)?;
        let by = self
            .who
            .principal()
            .map_or_else(|| "nobody".to_owned(), ToString::to_string);
        let held = why.map(|why| match why {
            "" => format!("by {by}"),
            why => format!("by {by}: {why}"),
        });
        if aggregate.held == held {
            return Ok(Record::Aggregate(aggregate));
        }
        self.tell_detail(format!("aggregate {}", aggregate.name), why.unwrap_or_default());
        let failure = aggregate.failure.filter(|_| held.is_some());
        Ok(self.put_aggregate(Aggregate {
            held,
            failure,
            ..aggregate
        }))
    }
}
