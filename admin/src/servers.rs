//! File servers as commands find them: by the location database, and then by their control.

use baton_rpc::FldbClient;
use baton_rpc::fldb::{ControlClient, Freshness, Query};
use baton_types::change::AggregateRef;
use baton_types::record::{Aggregate, Record, Server, Table};
use baton_types::{Address, Error, Kind, Result, ServerId};

/// The file servers of a cell and their aggregates, as the location database has them.
#[derive(Debug, Default)]
pub struct Servers {
    servers: Vec<Server>,
    /// In the order of their names.
    pub aggregates: Vec<Aggregate>,
}

impl Servers {
    /// Asks for them.
    ///
    /// # Errors
    /// As [`FldbClient::list`].
    pub async fn ask(client: &FldbClient) -> Result<Servers> {
        let query = Query::tables(&[Table::Server, Table::Aggregate], Freshness::Linearizable);
        Ok(Servers::of(client.list(&query).await?.records))
    }

    /// Those among `records`.
    pub fn of(records: Vec<Record>) -> Servers {
        let mut all = Servers::default();
        for record in records {
            match record {
                Record::Server(server) => all.servers.push(server),
                Record::Aggregate(aggregate) => all.aggregates.push(aggregate),
                Record::Cell(_) | Record::Member(_) | Record::Entry(_) | Record::Fileset(_) => {}
                Record::Principal(_) | Record::Group(_) => {}
                Record::Invitation(_) | Record::Event(_) | Record::Tenure(_) => {}
            }
        }
        all.aggregates.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// The server with this address, or of this name.
    ///
    /// # Errors
    /// `NotFound`, naming those there are.
    pub fn find(&self, address: &Address) -> Result<&Server> {
        let has_address = |server: &&Server| server.addresses.contains(address);
        // An address is kept in lower case, a server's name as it is.
        let has_name = |server: &&Server| server.name.as_str().eq_ignore_ascii_case(address.host());
        let mut found = self.servers.iter().filter(has_address);
        let found = found.next().or_else(|| self.servers.iter().find(has_name));
        found.ok_or_else(|| {
            let names: Vec<&str> = self.servers.iter().map(|server| server.name.as_str()).collect();
            let remedy = match names.as_slice() {
                [] => "none has registered yet".to_owned(),
                names => format!("there are: {}", names.join(", ")),
            };
            Error::new(Kind::NotFound, format!("server {address}"))
                .because("no file server has this name or address")
                .remedy(remedy)
        })
    }

    /// The aggregate that is meant.
    pub fn aggregate(&self, meant: &AggregateRef) -> Option<&Aggregate> {
        self.aggregates.iter().find(|aggregate| is_meant(aggregate, meant))
    }

    /// A server's name; its id where that is not known.
    pub fn name(&self, id: ServerId) -> String {
        let known = self.servers.iter().find(|server| server.id == id);
        known.map_or_else(|| id.to_string(), |server| server.name.to_string())
    }

    /// How many aggregates a server owns.
    pub fn owned_by(&self, server: &Server) -> usize {
        self.aggregates.iter().filter(|a| a.owner == Some(server.id)).count()
    }

    /// Who owns an aggregate.
    pub fn owner(&self, aggregate: &Aggregate) -> Option<&Server> {
        self.servers.iter().find(|server| Some(server.id) == aggregate.owner)
    }

    /// The control of an aggregate's owner.
    ///
    /// # Errors
    /// `Detached` if nobody owns it; as [`FldbClient::control`].
    pub async fn control_of(&self, client: &FldbClient, aggregate: &Aggregate) -> Result<ControlClient> {
        match self.owner(aggregate) {
            Some(owner) => client.control(owner).await,
            None => Err(self.unowned(aggregate)),
        }
    }

    /// What to say of an aggregate that nobody owns.
    pub fn unowned(&self, aggregate: &Aggregate) -> Error {
        let named = |id: &ServerId| self.servers.iter().find(|server| server.id == *id);
        let attached = aggregate.attached.iter().filter_map(named);
        let attached = attached.map(|server| server.name.as_str());
        Error::new(Kind::Detached, format!("aggregate {}", aggregate.name))
            .because("nobody exports it")
            .remedy(format!(
                "on {}: dfsexport -aggregate {}",
                attached.collect::<Vec<_>>().join(" or "),
                aggregate.name
            ))
    }
}

/// Whether somebody who wrote `meant` means this one.
pub fn is_meant(aggregate: &Aggregate, meant: &AggregateRef) -> bool {
    match meant {
        AggregateRef::Number(number) => aggregate.number == *number,
        AggregateRef::Name(name) => aggregate.name == *name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fts::tests::records;

    #[test]
    fn servers_are_found_by_name_and_by_address() {
        let servers = Servers::of(records());
        for text in ["mlserva.example", "mlserva", "MLSERVA"] {
            let found = servers.find(&Address::parse(text).unwrap()).unwrap();
            assert_eq!(found.name.as_str(), "mlserva", "{text}");
        }
        let error = servers.find(&Address::parse("mlservb").unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "server mlservb: no file server has this name or address; there are: mlserva"
        );
    }

    #[test]
    fn an_aggregate_without_an_owner_says_where_to_export_it() {
        let mut servers = Servers::of(records());
        let aggregate = servers.aggregate(&AggregateRef::Number(13)).unwrap().clone();
        assert_eq!(servers.owner(&aggregate).unwrap().name.as_str(), "mlserva");
        servers.aggregates[0].owner = None;
        let aggregate = &servers.aggregates[0];
        assert!(servers.owner(aggregate).is_none());
        assert_eq!(
            servers.unowned(aggregate).to_string(),
            "aggregate lfs03: nobody exports it; on mlserva: dfsexport -aggregate lfs03"
        );
    }
}
