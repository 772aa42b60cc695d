//! Servers and aggregates, as the servers themselves report them; and who owns what.

use baton_types::limits::ATTACHED_MAX;
use baton_types::record::{Aggregate, AggregateState, Record, Server, ServerEntry};
use baton_types::{
    Address, AggregateId, AggregateName, EntryName, Epoch, Error, Incarnation, Kind, PrincipalName, Result, ServerId,
};

use super::draft::Draft;

impl Draft<'_> {
    pub(super) fn register(
        &mut self,
        id: ServerId,
        name: &EntryName,
        addresses: &[Address],
        incarnation: Incarnation,
    ) -> Result<Record> {
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
        Ok(self.put_server(Server {
            id,
            name: name.clone(),
            principal,
            addresses: own,
            incarnation: Some(incarnation),
            registered: self.date,
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
                    id,
                    name: name.clone(),
                    number,
                    attached: Vec::new(),
                    owner: None,
                    epoch: Epoch::NONE,
                    state: AggregateState::Detached,
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

    /// One owner under one epoch, and epochs only grow (I1). A restarted owner gets a new epoch too: an
    /// epoch is used by one run of one process.
    pub(super) fn claim(&mut self, id: AggregateId, by: ServerId, run: Incarnation, disk: Epoch) -> Result<Record> {
        let mut aggregate = self.state.known_aggregate(id)?;
        let on = format!("aggregate {}", aggregate.name);
        let name = |id: &ServerId| {
            self.state
                .servers
                .get(id)
                .map_or_else(|| id.to_string(), |s| s.name.to_string())
        };
        if self
            .state
            .servers
            .get(&by)
            .is_none_or(|server| server.incarnation != Some(run))
        {
            return Err(Error::new(Kind::Stale, on).because(format!("{} runs again since: register first", name(&by))));
        }
        if !aggregate.attached.contains(&by) {
            return Err(Error::new(Kind::Denied, on).because(format!("{} has not reported its label", name(&by))));
        }
        if let Some(owner) = aggregate.owner.filter(|owner| *owner != by) {
            let owner = name(&owner);
            return Err(Error::new(Kind::Busy, on)
                .because(format!("exported by {owner} under epoch {}", aggregate.epoch))
                .remedy(format!("on {owner}: dfsexport -aggregate {} -detach", aggregate.name)));
        }
        aggregate.epoch = aggregate
            .epoch
            .max(disk)
            .next()
            .ok_or_else(|| Error::new(Kind::Limit, on.clone()).because("the epochs of this era are used up"))?;
        aggregate.owner = Some(by);
        aggregate.state = AggregateState::Exported;
        self.tell(format!("{on} for {} under epoch {}", name(&by), aggregate.epoch));
        Ok(self.put_aggregate(aggregate))
    }

    pub(super) fn detach(&mut self, id: AggregateId, by: ServerId, epoch: Epoch) -> Result<Record> {
        let mut aggregate = self.state.known_aggregate(id)?;
        let on = format!("aggregate {}", aggregate.name);
        if aggregate.owner != Some(by) || aggregate.epoch != epoch {
            return Err(Error::new(Kind::WrongEpoch, on).because(format!("it is under epoch {} now", aggregate.epoch)));
        }
        aggregate.owner = None;
        aggregate.state = AggregateState::Detached;
        self.tell(on);
        Ok(self.put_aggregate(aggregate))
    }
}
