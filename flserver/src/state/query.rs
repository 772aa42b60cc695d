//! Questions to the state. Each answer is of one index.

use baton_types::change::{AggregateRef, FilesetRef, Who};
use baton_types::record::{Aggregate, Cell, Fileset, Member, Principal, Record, Server, ServerEntry, Table};
use baton_types::{
    Address, AggregateId, Error, FilesetId, FilesetName, GroupName, Kind, PrincipalName, Result, ServerId, Timestamp,
};

use super::Fldb;

/// Which filesets, events and tenures a list is about.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// This one only.
    pub fileset: Option<FilesetRef>,
    /// Booked under the entry with this address.
    pub entry: Option<Address>,
    /// With a version on this aggregate; tenures of it.
    pub aggregate: Option<AggregateRef>,
    /// With an administrator's lock that still holds at this date.
    pub locked_at: Option<Timestamp>,
    /// Events later than this index.
    pub after: u64,
}

/// Records of a table, and nothing in the place of each that is not wanted.
pub type Scan<'a> = Box<dyn Iterator<Item = Option<Record>> + Send + 'a>;

/// Where something is: all that is needed to dial its owner or the standby.
#[derive(Clone, Debug, PartialEq)]
pub struct Location {
    /// Absent if an aggregate was asked for.
    pub fileset: Option<Fileset>,
    /// Those it has sites on.
    pub aggregates: Vec<Aggregate>,
    /// Those attached to these aggregates.
    pub servers: Vec<Server>,
}

impl Fldb {
    /// The index of the last entry applied.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// The cell, once there is one.
    pub fn cell(&self) -> Option<&Cell> {
        self.cell.as_ref()
    }

    /// The members of the location database, as they should be.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// How many filesets there are.
    pub fn fileset_count(&self) -> usize {
        self.filesets.len()
    }

    /// The registry's record of `name`.
    pub fn principal(&self, name: &PrincipalName) -> Option<&Principal> {
        self.principals.get(name)
    }

    /// The principal with this uid.
    pub fn principal_by_id(&self, id: u32) -> Option<&Principal> {
        self.principal_ids.get(&id).and_then(|name| self.principals.get(name))
    }

    /// The server called `name`.
    pub fn server_named(&self, name: &str) -> Option<&Server> {
        self.server_names.get(name).and_then(|id| self.servers.get(id))
    }

    /// The groups of whoever this is.
    pub fn groups(&self, who: &Who) -> Vec<GroupName> {
        who.principal()
            .and_then(|name| self.principal(name))
            .map(|p| p.groups.clone())
            .unwrap_or_default()
    }

    /// True if a token with this hash was given out and is still known.
    pub fn knows_invitation(&self, secret_hash: &[u8; 32]) -> bool {
        self.invitations.contains_key(secret_hash)
    }

    /// The server entry with this address.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn entry(&self, address: &Address) -> Result<ServerEntry> {
        self.entry_at(address).cloned().ok_or_else(|| {
            Error::new(Kind::NotFound, format!("server entry {address}"))
                .because("no entry has this address")
                .remedy("fts lsserverentry -all lists them")
        })
    }

    /// The same, if there is one.
    pub(super) fn entry_at(&self, address: &Address) -> Option<&ServerEntry> {
        self.entry_addresses
            .get(address)
            .and_then(|number| self.entries.get(number))
    }

    /// Whether the three ids that begin with `id` were given to a fileset, or to none for good.
    pub(super) fn is_given_out(&self, id: FilesetId) -> bool {
        id.0 > 0
            && id
                .0
                .checked_add(FilesetId::STEP)
                .is_some_and(|after| after <= self.next.fileset)
    }

    /// The fileset a person means.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn fileset(&self, fileset: &FilesetRef) -> Result<Fileset> {
        match fileset {
            FilesetRef::Id(id) => self.fileset_by_id(*id),
            FilesetRef::Name(name) => self.fileset_by_name(name),
        }
    }

    fn fileset_by_name(&self, name: &FilesetName) -> Result<Fileset> {
        let found = self.filesets.named(name).and_then(|id| self.filesets.get(id));
        found.ok_or_else(|| Error::new(Kind::NotFound, format!("fileset {name}")).remedy("fts lsfldb lists them"))
    }

    /// By any of its three ids.
    fn fileset_by_id(&self, id: FilesetId) -> Result<Fileset> {
        match self.filesets.at_or_below(id) {
            Some(fileset) if id.0 - fileset.id.0 < FilesetId::STEP => Ok(fileset),
            Some(_) | None => Err(Error::new(Kind::NotFound, format!("fileset {id}")).remedy("fts lsfldb lists them")),
        }
    }

    /// The aggregate a person means.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn aggregate(&self, aggregate: &AggregateRef) -> Result<Aggregate> {
        let (id, text) = match aggregate {
            AggregateRef::Number(number) => (self.aggregate_numbers.get(number), number.to_string()),
            AggregateRef::Name(name) => (self.aggregate_names.get(name), name.to_string()),
        };
        id.and_then(|id| self.aggregates.get(id)).cloned().ok_or_else(|| {
            Error::new(Kind::NotFound, format!("aggregate {text}"))
                .because("no server has reported it")
                .remedy("fts status lists the aggregates of the cell")
        })
    }

    /// The aggregate with this id.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn known_aggregate(&self, id: AggregateId) -> Result<Aggregate> {
        let found = self.aggregates.get(&id).cloned();
        found.ok_or_else(|| Error::new(Kind::NotFound, format!("aggregate {id}")).because("no server has reported it"))
    }

    /// Where a fileset is.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn locate(&self, fileset: &FilesetRef) -> Result<Location> {
        let fileset = self.fileset(fileset)?;
        let aggregates: Vec<Aggregate> = fileset
            .sites
            .iter()
            .filter_map(|site| self.aggregates.get(&site.aggregate))
            .cloned()
            .collect();
        let servers = self.servers_of(&aggregates);
        Ok(Location {
            fileset: Some(fileset),
            aggregates,
            servers,
        })
    }

    /// Where an aggregate is.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn locate_aggregate(&self, id: AggregateId) -> Result<Location> {
        let aggregates = vec![self.known_aggregate(id)?];
        let servers = self.servers_of(&aggregates);
        Ok(Location {
            fileset: None,
            aggregates,
            servers,
        })
    }

    fn servers_of(&self, aggregates: &[Aggregate]) -> Vec<Server> {
        let mut ids: Vec<ServerId> = aggregates.iter().flat_map(|a| a.attached.iter().copied()).collect();
        ids.sort();
        ids.dedup();
        ids.iter().filter_map(|id| self.servers.get(id)).cloned().collect()
    }

    /// The records of a table, in the order of their keys (filesets: of their names), as far as `filter` wants them.
    ///
    /// # Errors
    /// `NotFound` if the filter names something that is not there: an empty list would be a lie.
    pub fn list<'a>(&'a self, table: Table, filter: &Filter) -> Result<Box<dyn Iterator<Item = Record> + Send + 'a>> {
        Ok(Box::new(self.scan(table, filter)?.flatten()))
    }

    /// The same with nothing in the place of each record that is looked at and not wanted: a filter may find a few among
    /// a million, and whoever looks for them counts how many it looked at.
    ///
    /// # Errors
    /// As [`Fldb::list`].
    pub fn scan<'a>(&'a self, table: Table, filter: &Filter) -> Result<Scan<'a>> {
        let all: Box<dyn Iterator<Item = Record> + Send + 'a> = match table {
            Table::Fileset => return self.scan_filesets(filter),
            Table::Cell => Box::new(self.cell.iter().cloned().map(Record::Cell)),
            Table::Member => Box::new(self.members.values().cloned().map(Record::Member)),
            Table::Server => Box::new(self.servers.values().cloned().map(Record::Server)),
            Table::Entry => Box::new(self.entries.values().cloned().map(Record::Entry)),
            Table::Aggregate => Box::new(self.aggregates.values().cloned().map(Record::Aggregate)),
            Table::Group => Box::new(self.groups.values().cloned().map(Record::Group)),
            Table::Principal => Box::new(self.principals.values().cloned().map(Record::Principal)),
            Table::Invitation => Box::new(self.invitations.values().cloned().map(Record::Invitation)),
            Table::Event => {
                let later = self.events.range(filter.after.saturating_add(1)..);
                Box::new(later.map(|(_, event)| Record::Event(event.clone())))
            }
            Table::Tenure => {
                let of = filter
                    .aggregate
                    .as_ref()
                    .map(|a| self.aggregate(a))
                    .transpose()?
                    .map(|a| a.id);
                let own = self
                    .tenures
                    .values()
                    .filter(move |t| of.is_none_or(|id| t.aggregate == id));
                Box::new(own.cloned().map(Record::Tenure))
            }
        };
        Ok(Box::new(all.map(Some)))
    }

    fn scan_filesets<'a>(&'a self, filter: &Filter) -> Result<Scan<'a>> {
        let entry = filter
            .entry
            .as_ref()
            .map(|address| self.entry_of(address))
            .transpose()?
            .map(|e| e.number);
        let aggregate = filter
            .aggregate
            .as_ref()
            .map(|a| self.aggregate(a))
            .transpose()?
            .map(|a| a.id);
        let locked_at = filter.locked_at;
        let wanted = move |fileset: &Fileset| {
            let here = |s: &baton_types::record::Site| {
                entry.is_none_or(|number| s.entry == number) && aggregate.is_none_or(|id| s.aggregate == id)
            };
            let locked = locked_at.is_none_or(|date| fileset.lock.as_ref().is_some_and(|lock| lock.until > date));
            locked && fileset.sites.iter().any(here)
        };
        if let Some(fileset) = &filter.fileset {
            let fileset = self.fileset(fileset)?;
            let found = wanted(&fileset).then_some(Record::Fileset(fileset));
            return Ok(Box::new(std::iter::once(found)));
        }
        let by_name = self.filesets.by_name();
        Ok(Box::new(by_name.map(move |fileset| {
            wanted(&fileset).then_some(Record::Fileset(fileset))
        })))
    }
}
