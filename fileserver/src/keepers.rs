//! Who administrates this server besides administrators of the cell: owner groups of server entries.
//!
//! The rule is that of the location database (`flserver/src/state/right.rs`), for everything on this server at once: a
//! disk that others see as well is theirs too, so who administrates here owns the entries of all servers that share one
//! with it.

use std::collections::{BTreeMap, BTreeSet};

use baton_types::record::{Key, Record, Server, ServerEntry};
use baton_types::{AggregateId, GroupName, ServerId};

/// What is known of server entries, and of who shares disks.
#[derive(Default)]
pub struct Keepers {
    entries: BTreeMap<u32, ServerEntry>,
    servers: BTreeMap<ServerId, Server>,
    attached: BTreeMap<AggregateId, Vec<ServerId>>,
}

impl Keepers {
    /// Hears of a record of any table.
    pub fn put(&mut self, record: &Record) {
        match record {
            Record::Entry(entry) => drop(self.entries.insert(entry.number, entry.clone())),
            Record::Server(server) => drop(self.servers.insert(server.id, server.clone())),
            Record::Aggregate(aggregate) => drop(self.attached.insert(aggregate.id, aggregate.attached.clone())),
            Record::Cell(_)
            | Record::Member(_)
            | Record::Fileset(_)
            | Record::Principal(_)
            | Record::Invitation(_)
            | Record::Event(_)
            | Record::Tenure(_)
            | Record::Group(_) => {}
        }
    }

    /// Hears that a record is no more. Servers and aggregates stay for good.
    pub fn remove(&mut self, key: &Key) {
        if let Key::Entry(number) = key {
            self.entries.remove(number);
        }
    }

    /// The groups that somebody must be in, all of them, to administrate `me`; none if nobody does so.
    pub fn owners(&self, me: ServerId) -> Vec<GroupName> {
        let mut servers = BTreeSet::from([me]);
        servers.extend(self.attached.values().filter(|all| all.contains(&me)).flatten());
        ServerEntry::owners(servers.iter().flat_map(|server| self.entries_of(*server)))
    }

    fn entries_of(&self, server: ServerId) -> Vec<Option<&ServerEntry>> {
        let Some(server) = self.servers.get(&server) else {
            return vec![None];
        };
        let is_own = |entry: &&ServerEntry| entry.is_of(&server.name, &server.addresses);
        let entries: Vec<_> = self.entries.values().filter(is_own).map(Some).collect();
        if entries.is_empty() { vec![None] } else { entries }
    }
}

#[cfg(test)]
mod tests {
    use baton_types::record::Aggregate;
    use baton_types::{EntryName, PrincipalName};

    use super::*;

    fn server(number: u128) -> Record {
        let name = EntryName::parse(&format!("fs{number}")).unwrap();
        Record::Server(Server {
            addresses: vec![name.as_str().parse().unwrap()],
            ..Server::new(id(number), name)
        })
    }

    fn id(number: u128) -> ServerId {
        ServerId(uuid::Uuid::from_u128(number))
    }

    /// An entry with the address of `fs{number}` and the principal of `fs{principal}`.
    fn entry(number: u32, principal: u32, owner: &str) -> Record {
        let name = EntryName::parse(&format!("fs{number}")).unwrap();
        Record::Entry(ServerEntry {
            number,
            addresses: vec![name.as_str().parse().unwrap()],
            name,
            principal: PrincipalName::parse(&format!("hosts/fs{principal}")).unwrap(),
            owner: (!owner.is_empty()).then(|| GroupName::parse(owner).unwrap()),
            quota: 0,
            uses: 0,
        })
    }

    fn aggregate(number: u128, attached: &[u128]) -> Record {
        let name = format!("agg{number}").parse().unwrap();
        Record::Aggregate(Aggregate {
            attached: attached.iter().map(|server| id(*server)).collect(),
            ..Aggregate::new(AggregateId(uuid::Uuid::from_u128(0xa000 + number)), name, 1)
        })
    }

    fn owners(records: &[Record], me: u128) -> Vec<String> {
        let mut keepers = Keepers::default();
        records.iter().for_each(|record| keepers.put(record));
        keepers.owners(id(me)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn owners_of_a_server_own_all_that_share_a_disk_with_it() {
        let mut records = vec![server(1), server(2), server(3)];
        records.extend([entry(1, 1, "east"), entry(2, 2, "west"), entry(3, 3, "north")]);
        assert_eq!(owners(&records, 1), ["east"]);
        records.extend([aggregate(1, &[1]), aggregate(2, &[2, 3])]);
        assert_eq!(
            (owners(&records, 1), owners(&records, 2)),
            (vec!["east".to_owned()], vec!["north".to_owned(), "west".to_owned()])
        );
        records.push(aggregate(3, &[1, 2]));
        assert_eq!(owners(&records, 1), ["east", "west"]);
        // One that nobody owns, or that is not known, is for administrators of the cell.
        records.push(entry(2, 2, ""));
        assert!(owners(&records, 1).is_empty() && owners(&records, 2).is_empty());
        assert_eq!(owners(&records, 3), Vec::<String>::new());
        records.extend([entry(2, 2, "west"), aggregate(4, &[1, 9])]);
        assert!(owners(&records, 1).is_empty());
    }

    #[test]
    fn an_address_makes_no_entry_a_servers() {
        let records = [server(1), entry(1, 2, "east")];
        assert!(owners(&records, 1).is_empty());
        let mut keepers = Keepers::default();
        [server(1), entry(1, 1, "east")]
            .iter()
            .for_each(|record| keepers.put(record));
        assert_eq!(keepers.owners(id(1)).len(), 1);
        keepers.remove(&Key::Entry(1));
        assert!(keepers.owners(id(1)).is_empty());
    }
}
