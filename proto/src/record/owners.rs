//! Servers, aggregates, and who owned what.
//!
//! Fields that an older version did not write read as what was true then: every server was taken to be alive.

use baton_types::limits::{ADDRESSES_MAX, ATTACHED_MAX};
use baton_types::record::{Aggregate, AggregateState, Failure, Server, ServerState, Tenure, TimeLine};
use baton_types::{
    Address, AggregateId, EntryName, Epoch, Error, Incarnation, PrincipalName, Result, ServerId, Timestamp,
};

use super::uuid_bytes;
use crate::v1;
use crate::wire::{FromWire, bytes, bytes_list, free_text, invalid};

impl From<ServerState> for v1::ServerState {
    fn from(state: ServerState) -> v1::ServerState {
        match state {
            ServerState::Alive => v1::ServerState::Alive,
            ServerState::Pending => v1::ServerState::Pending,
            ServerState::Dead => v1::ServerState::Dead,
        }
    }
}

impl From<v1::ServerState> for ServerState {
    fn from(state: v1::ServerState) -> ServerState {
        match state {
            v1::ServerState::Unspecified | v1::ServerState::Alive => ServerState::Alive,
            v1::ServerState::Pending => ServerState::Pending,
            v1::ServerState::Dead => ServerState::Dead,
        }
    }
}

impl From<Server> for v1::Server {
    fn from(s: Server) -> v1::Server {
        v1::Server {
            id: uuid_bytes(s.id.0),
            name: bytes(s.name),
            principal: bytes(s.principal),
            addresses: bytes_list(s.addresses),
            incarnation: s.incarnation.map(|i| uuid_bytes(i.0)).unwrap_or_default(),
            registered: s.registered.0,
            beats: s.beats,
            state: v1::ServerState::from(s.state) as i32,
            since: s.since.0,
            evidence: s.evidence,
            drained: s.drained,
            domain: s.domain.map(bytes).unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::Server> for Server {
    type Error = Error;

    fn try_from(s: v1::Server) -> Result<Server> {
        let is_older = s.state() == v1::ServerState::Unspecified;
        Ok(Server {
            state: s.state().into(),
            id: ServerId::from_wire(&s.id)?,
            name: FromWire::from_wire(&s.name)?,
            principal: PrincipalName::from_wire(&s.principal)?,
            addresses: Address::list(&s.addresses, ADDRESSES_MAX, "addresses")?,
            incarnation: Incarnation::optional(&s.incarnation)?,
            registered: Timestamp(s.registered),
            beats: s.beats,
            since: Timestamp(if is_older { s.registered } else { s.since }),
            evidence: free_text(s.evidence, "evidence")?,
            drained: s.drained,
            domain: EntryName::optional(&s.domain)?,
        })
    }
}

impl From<AggregateState> for v1::AggregateState {
    fn from(state: AggregateState) -> v1::AggregateState {
        match state {
            AggregateState::Detached => v1::AggregateState::Detached,
            AggregateState::Exported => v1::AggregateState::Exported,
            AggregateState::Draining => v1::AggregateState::Draining,
            AggregateState::Unserved => v1::AggregateState::Unserved,
        }
    }
}

impl TryFrom<v1::AggregateState> for AggregateState {
    type Error = Error;

    fn try_from(state: v1::AggregateState) -> Result<AggregateState> {
        match state {
            v1::AggregateState::Detached => Ok(AggregateState::Detached),
            v1::AggregateState::Exported => Ok(AggregateState::Exported),
            v1::AggregateState::Draining => Ok(AggregateState::Draining),
            v1::AggregateState::Unserved => Ok(AggregateState::Unserved),
            v1::AggregateState::Unspecified => Err(invalid("aggregate", "a state this version does not know")),
        }
    }
}

impl From<Aggregate> for v1::Aggregate {
    fn from(a: Aggregate) -> v1::Aggregate {
        v1::Aggregate {
            id: uuid_bytes(a.id.0),
            name: bytes(a.name),
            number: a.number,
            attached: a.attached.into_iter().map(|s| uuid_bytes(s.0)).collect(),
            owner: a.owner.map(|s| uuid_bytes(s.0)).unwrap_or_default(),
            epoch: a.epoch.0,
            state: v1::AggregateState::from(a.state) as i32,
            run: a.run.map(|run| uuid_bytes(run.0)).unwrap_or_default(),
            target: a.target.map(|s| uuid_bytes(s.0)).unwrap_or_default(),
            since: a.since.0,
            reason: a.reason,
            held: a.held,
            failure: a.failure.map(Into::into),
        }
    }
}

impl TryFrom<v1::Aggregate> for Aggregate {
    type Error = Error;

    fn try_from(a: v1::Aggregate) -> Result<Aggregate> {
        Ok(Aggregate {
            state: a.state().try_into()?,
            id: AggregateId::from_wire(&a.id)?,
            name: FromWire::from_wire(&a.name)?,
            number: a.number,
            attached: ServerId::list(&a.attached, ATTACHED_MAX, "attached servers")?,
            owner: ServerId::optional(&a.owner)?,
            epoch: Epoch(a.epoch),
            run: Incarnation::optional(&a.run)?,
            target: ServerId::optional(&a.target)?,
            since: Timestamp(a.since),
            reason: free_text(a.reason, "reason")?,
            held: a.held.map(|why| free_text(why, "reason")).transpose()?,
            failure: a.failure.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<Failure> for v1::FailedOn {
    fn from(failure: Failure) -> v1::FailedOn {
        v1::FailedOn {
            server: uuid_bytes(failure.server.0),
            epoch: failure.epoch.0,
            date: failure.date.0,
        }
    }
}

impl TryFrom<v1::FailedOn> for Failure {
    type Error = Error;

    fn try_from(failure: v1::FailedOn) -> Result<Failure> {
        Ok(Failure {
            server: ServerId::from_wire(&failure.server)?,
            epoch: Epoch(failure.epoch),
            date: Timestamp(failure.date),
        })
    }
}

impl From<TimeLine> for v1::TimeLine {
    fn from(t: TimeLine) -> v1::TimeLine {
        v1::TimeLine {
            fenced_micros: t.fenced_micros,
            replayed_micros: t.replayed_micros,
            records: t.records,
            first_reclaim_micros: t.first_reclaim_micros,
            last_reclaim_micros: t.last_reclaim_micros,
            serving_micros: t.serving_micros,
        }
    }
}

impl From<v1::TimeLine> for TimeLine {
    fn from(t: v1::TimeLine) -> TimeLine {
        TimeLine {
            fenced_micros: t.fenced_micros,
            replayed_micros: t.replayed_micros,
            records: t.records,
            first_reclaim_micros: t.first_reclaim_micros,
            last_reclaim_micros: t.last_reclaim_micros,
            serving_micros: t.serving_micros,
        }
    }
}

impl From<Tenure> for v1::Tenure {
    fn from(t: Tenure) -> v1::Tenure {
        v1::Tenure {
            aggregate: uuid_bytes(t.aggregate.0),
            epoch: t.epoch.0,
            owner: uuid_bytes(t.owner.0),
            date: t.date.0,
            reason: t.reason,
            silent_micros: t.silent_micros,
            time_line: t.time_line.map(Into::into),
        }
    }
}

impl TryFrom<v1::Tenure> for Tenure {
    type Error = Error;

    fn try_from(t: v1::Tenure) -> Result<Tenure> {
        Ok(Tenure {
            aggregate: AggregateId::from_wire(&t.aggregate)?,
            epoch: Epoch(t.epoch),
            owner: ServerId::from_wire(&t.owner)?,
            date: Timestamp(t.date),
            reason: free_text(t.reason, "reason")?,
            silent_micros: t.silent_micros,
            time_line: t.time_line.map(Into::into),
        })
    }
}

#[cfg(test)]
mod tests {
    use baton_types::{AggregateName, EntryName};
    use prost::Message;
    use uuid::Uuid;

    use super::*;

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    #[test]
    fn records_of_an_older_version_read_as_what_was_true_then() {
        // As it was written before there were states: fields 1 to 6 of a server, 1 to 7 of an aggregate.
        let server = v1::Server {
            id: vec![1; 16],
            name: b"fs1".to_vec(),
            principal: b"hosts/fs1".to_vec(),
            incarnation: vec![2; 16],
            registered: 7,
            ..Default::default()
        };
        let server = v1::Server::decode(server.encode_to_vec().as_slice()).unwrap();
        let server = Server::try_from(server).unwrap();
        assert_eq!(
            (server.state, server.since, server.beats),
            (ServerState::Alive, Timestamp(7), false)
        );
        let aggregate = v1::Aggregate {
            id: vec![3; 16],
            name: b"agg1".to_vec(),
            owner: vec![1; 16],
            epoch: 41,
            state: v1::AggregateState::Exported as i32,
            ..Default::default()
        };
        let aggregate = Aggregate::try_from(aggregate).unwrap();
        assert_eq!(
            (aggregate.run, aggregate.target, aggregate.reason.as_str()),
            (None, None, "")
        );
    }

    #[test]
    fn owners_survive_the_wire() {
        let server = Server {
            incarnation: Some(Incarnation(id(2))),
            beats: true,
            state: ServerState::Dead,
            since: Timestamp(9),
            evidence: "beat 1.0 s late".to_owned(),
            drained: true,
            domain: Some(FromWire::from_wire(b"rack1").unwrap()),
            ..Server::new(ServerId(id(1)), EntryName::parse("fs1").unwrap())
        };
        assert_eq!(Server::try_from(v1::Server::from(server.clone())).unwrap(), server);
        let aggregate = Aggregate {
            owner: Some(server.id),
            run: server.incarnation,
            state: AggregateState::Draining,
            target: Some(ServerId(id(4))),
            since: Timestamp(8),
            reason: "fts failover".to_owned(),
            held: Some("two servers failed on it".to_owned()),
            failure: Some(Failure {
                server: server.id,
                epoch: Epoch(3),
                date: Timestamp(7),
            }),
            ..Aggregate::new(AggregateId(id(3)), AggregateName::parse("agg1").unwrap(), 1)
        };
        assert_eq!(
            Aggregate::try_from(v1::Aggregate::from(aggregate.clone())).unwrap(),
            aggregate
        );
        let tenure = Tenure {
            aggregate: aggregate.id,
            epoch: Epoch(4),
            owner: server.id,
            date: Timestamp(5),
            reason: "claimed".to_owned(),
            silent_micros: Some(0),
            time_line: Some(TimeLine {
                first_reclaim_micros: Some(0),
                ..TimeLine::default()
            }),
        };
        assert_eq!(Tenure::try_from(v1::Tenure::from(tenure.clone())).unwrap(), tenure);
    }
}
