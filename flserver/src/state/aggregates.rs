//! Servers and aggregates, as the servers themselves report them.

use baton_types::change::Change;
use baton_types::limits::ATTACHED_MAX;
use baton_types::record::{Aggregate, Record, Server, ServerEntry, ServerState};
use baton_types::{Address, AggregateId, AggregateName, Error, Kind, PrincipalName, Result, ServerId};

use super::draft::Draft;

impl Draft<'_> {
    /// A new run of a server is taken to be alive, whatever became of the last.
    pub(super) fn register(&mut self, change: &Change) -> Result<Record> {
        let Change::RegisterServer {
            id,
            name,
            addresses,
            incarnation,
            beats,
        } = change
        else {
            unreachable!("routed by Draft::run")
        };
        let id = *id;
        let on = format!("server {name}");
        let principal = PrincipalName::host(name);
        if self.who.principal() != Some(&principal) {
            return Err(Error::new(Kind::Denied, on).because("its certificate is of another machine"));
        }
        let mut own: Vec<Address> = Vec::new();
        for address in addresses {
            if !own.contains(address) {
                own.push(address.clone());
            }
        }
        if own.is_empty() {
            return Err(Error::new(Kind::Invalid, on).because("it named no address"));
        }
        if let Some(other) = self.state.server_names.get(name).filter(|other| **other != id) {
            return Err(Error::new(Kind::Exists, on)
                .because(format!("the name belongs to server {other}"))
                .remedy("a rebuilt machine keeps its identity if it is invited again: baton cell invite"));
        }
        let clash = |s: &&Server| s.id != id && s.addresses.iter().any(|a| own.contains(a));
        if let Some(other) = self.state.servers.values().find(clash) {
            return Err(Error::new(Kind::Exists, on).because(format!("server {} has one of its addresses", other.name)));
        }
        if !own.iter().any(|a| self.state.entry_addresses.contains_key(a)) {
            let number = self.next_entry();
            self.put_entry(ServerEntry {
                number,
                name: self.free_name(name.as_str(), number)?,
                addresses: own.clone(),
                principal: principal.clone(),
                owner: None,
                quota: 0,
                uses: 0,
            });
        }
        self.tell(on);
        let known = self.state.servers.get(&id).cloned();
        let mut server = known.unwrap_or_else(|| Server::new(id, name.clone()));
        if server.incarnation != Some(*incarnation) {
            server.state = ServerState::Alive;
            server.since = self.date;
            "registered".clone_into(&mut server.evidence);
        }
        Ok(self.put_server(Server {
            name: name.clone(),
            principal,
            addresses: own,
            incarnation: Some(*incarnation),
            registered: self.date,
            beats: *beats,
            ..server
        }))
    }

    /// A label seen again changes nothing, and is no event.
    pub(super) fn report(&mut self, server: ServerId, id: AggregateId, name: &AggregateName) -> Result<Record> {
        let on = format!("aggregate {name}");
        if !self.state.servers.contains_key(&server) {
            return Err(Error::new(Kind::NotFound, format!("server {server}")).because("it has not registered"));
        }
        if let Some(other) = self.state.aggregate_names.get(name).filter(|other| **other != id) {
            return Err(Error::new(Kind::Exists, on)
                .because(format!("the cell has another aggregate of this name, {other}"))
                .remedy("one of the two needs another name in its label"));
        }
        let mut aggregate = match self.state.aggregates.get(&id) {
            Some(known) if known.name != *name => {
                return Err(Error::new(Kind::Exists, on)
                    .because(format!("the cell knows this disk as aggregate {}", known.name))
                    .remedy("a label that was copied needs an id of its own"));
            }
            Some(known) if known.attached.contains(&server) => return Ok(Record::Aggregate(known.clone())),
            Some(known) => known.clone(),
            None => {
                let number = self.state.next.aggregate;
                self.state.next.aggregate += 1;
                Aggregate {
                    since: self.date,
                    ..Aggregate::new(id, name.clone(), number)
                }
            }
        };
        if aggregate.attached.len() >= ATTACHED_MAX {
            return Err(Error::new(Kind::Limit, on).because(format!("{ATTACHED_MAX} servers are attached already")));
        }
        aggregate.attached.push(server);
        self.tell(on);
        Ok(self.put_aggregate(aggregate))
    }
}
