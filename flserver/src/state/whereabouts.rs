//! What an administrator says of where aggregates are to be: off a server, apart from another, at home.

use baton_types::change::{AggregateRef, Change};
use baton_types::record::{Record, Server};
use baton_types::{EntryName, Error, Kind, Result, ServerId};

use super::draft::Draft;

impl Draft<'_> {
    /// What an administrator says of where aggregates are to be.
    pub(super) fn whereabouts(&mut self, change: &Change) -> Result<Record> {
        match change {
            Change::SetDrained { server, drained } => self.set_drained(*server, *drained),
            Change::SetDomain { server, domain } => self.set_domain(*server, domain.as_ref()),
            Change::Prefer { aggregate, server } => self.prefer(aggregate, *server),
            _ => unreachable!("routed by Draft::run"),
        }
    }

    /// Said again unchanged, it is no event.
    fn set_drained(&mut self, id: ServerId, drained: bool) -> Result<Record> {
        let server = self.state.known_server(id)?.clone();
        if server.drained == drained {
            return Ok(Record::Server(server));
        }
        self.tell(format!("server {}", server.name));
        Ok(self.put_server(Server { drained, ..server }))
    }

    /// Said again unchanged, it is no event.
    fn set_domain(&mut self, id: ServerId, domain: Option<&EntryName>) -> Result<Record> {
        let server = self.state.known_server(id)?.clone();
        if server.domain.as_ref() == domain {
            return Ok(Record::Server(server));
        }
        let detail = domain.map_or_else(|| "in no domain".to_owned(), |domain| format!("in domain {domain}"));
        self.tell_detail(format!("server {}", server.name), &detail);
        Ok(self.put_server(Server {
            domain: domain.cloned(),
            ..server
        }))
    }

    /// `server` comes before all others that are attached.
    fn prefer(&mut self, aggregate: &AggregateRef, server: ServerId) -> Result<Record> {
        let mut aggregate = self.state.aggregate(aggregate)?;
        let name = self.state.known_server(server)?.name.clone();
        let on = format!("aggregate {}", aggregate.name);
        let Some(place) = aggregate.attached.iter().position(|id| *id == server) else {
            return Err(Error::new(Kind::Invalid, on)
                .because(format!("{name} has not reported its label"))
                .remedy(format!(
                    "connect the disk to {name} and list it in fileserver.devices there"
                )));
        };
        if place > 0 {
            aggregate.attached[..=place].rotate_right(1);
            self.tell_detail(on, &format!("{name} comes first"));
        }
        Ok(self.put_aggregate(aggregate))
    }
}
