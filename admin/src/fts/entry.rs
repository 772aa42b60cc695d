//! A fileset's entry as `lsfldb` and `lsft` print it.

use std::collections::HashMap;
use std::fmt::Write;

use baton_types::change::AggregateRef;
use baton_types::record::{Aggregate, EntryLock, Fileset, Record, Server, ServerEntry, Site, VersionState};
use baton_types::{Address, AggregateId, FilesetId, ServerId, Timestamp};
use serde_json::{Value, json};

use crate::output::date;
use crate::servers::is_meant;

/// What the entries refer to by number or id.
#[derive(Debug, Default)]
pub struct Book {
    entries: HashMap<u32, ServerEntry>,
    aggregates: HashMap<AggregateId, Aggregate>,
    servers: HashMap<ServerId, Server>,
    /// In the order of their names; locks that have ended are no longer in them.
    pub filesets: Vec<Fileset>,
}

impl Book {
    /// Sorts records into it, as they are at this date.
    pub fn of(records: Vec<Record>, now: Timestamp) -> Book {
        let mut book = Book::default();
        for record in records {
            match record {
                Record::Entry(entry) => drop(book.entries.insert(entry.number, entry)),
                Record::Aggregate(aggregate) => drop(book.aggregates.insert(aggregate.id, aggregate)),
                Record::Server(server) => drop(book.servers.insert(server.id, server)),
                Record::Fileset(mut fileset) => {
                    let holds = |lock: &EntryLock| lock.until > now;
                    fileset.lock = fileset.lock.filter(holds);
                    book.filesets.push(fileset);
                }
                Record::Cell(_) | Record::Member(_) | Record::Principal(_) | Record::Group(_) => {}
                Record::Invitation(_) | Record::Event(_) | Record::Tenure(_) => {}
            }
        }
        book
    }

    /// The server entry of a site.
    pub fn entry(&self, site: &Site) -> Option<&ServerEntry> {
        self.entries.get(&site.entry)
    }

    /// The aggregate of a site.
    pub fn aggregate(&self, site: &Site) -> Option<&Aggregate> {
        self.aggregates.get(&site.aggregate)
    }

    /// Whether somebody who writes `server` and `aggregate` means this site: by an address of its entry first, as DFS
    /// does, else by the name of a server whose address that is.
    pub fn is_at(&self, site: &Site, server: &Address, aggregate: &AggregateRef) -> bool {
        let Some(entry) = self.entry(site) else { return false };
        let named = self
            .servers
            .values()
            .find(|known| known.name.as_str().eq_ignore_ascii_case(server.host()));
        let is_named = named.is_some_and(|named| named.addresses.iter().any(|own| entry.addresses.contains(own)));
        let is_here = self.aggregate(site).is_some_and(|known| is_meant(known, aggregate));
        is_here && (entry.addresses.contains(server) || is_named)
    }

    /// Who owns an aggregate.
    pub fn owner(&self, aggregate: &Aggregate) -> Option<&Server> {
        self.servers.get(&aggregate.owner?)
    }

    /// Where a site is: the first address of its entry, as DFS printed it.
    pub fn address(&self, site: &Site) -> String {
        let address = self.entry(site).and_then(|entry| entry.addresses.first());
        address.map_or_else(|| format!("entry {}", site.entry), ToString::to_string)
    }

    /// The name of a site's aggregate.
    pub fn aggregate_name(&self, site: &Site) -> String {
        self.aggregate(site)
            .map_or_else(|| site.aggregate.to_string(), |aggregate| aggregate.name.to_string())
    }

    /// One fileset's entry in DFS's layout.
    pub fn print(&self, fileset: &Fileset) -> String {
        let mut text = format!("{}\n", fileset.name);
        let versions = [
            ("readWriteID", fileset.id, fileset.rw),
            ("readOnlyID", fileset.id.read_only(), fileset.ro),
            ("backupID", fileset.id.backup(), fileset.backup),
        ];
        for (name, id, state) in versions {
            // A String takes whatever is written to it.
            let _ = writeln!(text, "        {name:<12} {id}  {}", state_text(state));
        }
        if let Some(lock) = &fileset.lock {
            let _ = writeln!(
                text,
                "        locked by {} since {}, until {}",
                lock.holder,
                date(lock.since),
                date(lock.until)
            );
        }
        let _ = writeln!(text, "number of sites: {}", fileset.sites.len());
        text + &self.print_sites(&fileset.sites)
    }

    fn print_sites(&self, sites: &[Site]) -> String {
        let rows: Vec<[String; 5]> = sites.iter().map(|site| self.site_row(site)).collect();
        let width = |column: usize, least: usize| {
            let longest = rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
            longest.max(least)
        };
        let (server, flags, aggr) = (width(0, 19), width(1, 8), width(2, 6));
        let (principal, owner) = (width(3, 14), 3);
        let mut text = format!(
            "{:<server$} {:<flags$}{:>aggr$}   siteAge {:<principal$} {:<owner$}\n",
            "   server", "flags", "aggr", "principal", "owner"
        );
        for [a, b, c, d, e] in &rows {
            let _ = writeln!(text, "{a:<server$} {b:<flags$}{c:>aggr$}   0:00:00 {d:<principal$} {e}");
        }
        text
    }

    fn site_row(&self, site: &Site) -> [String; 5] {
        let entry = self.entry(site);
        let principal = entry.map(|entry| entry.principal.to_string()).unwrap_or_default();
        let owner = entry.and_then(|entry| entry.owner.as_ref());
        [
            self.address(site),
            versions(site).join(",").to_uppercase(),
            self.aggregate_name(site),
            principal,
            owner.map_or_else(|| "<nil>".to_owned(), ToString::to_string),
        ]
    }

    /// One fileset's entry.
    pub fn to_json(&self, fileset: &Fileset) -> Value {
        let version =
            |id: FilesetId, state| json!({ "id": id.to_string(), "number": id.0, "state": state_text(state) });
        let site = |site: &Site| {
            let entry = self.entry(site);
            json!({
                "server": self.address(site),
                "entry": entry.map(|entry| &entry.name),
                "principal": entry.map(|entry| &entry.principal),
                "owner": entry.and_then(|entry| entry.owner.as_ref()),
                "versions": versions(site),
                "aggregate": self.aggregate_name(site),
                "aggregate_number": self.aggregate(site).map(|aggregate| aggregate.number),
                "aggregate_id": site.aggregate.to_string(),
            })
        };
        json!({
            "name": fileset.name,
            "read_write": version(fileset.id, fileset.rw),
            "read_only": version(fileset.id.read_only(), fileset.ro),
            "backup": version(fileset.id.backup(), fileset.backup),
            "quota_bytes": fileset.quota_bytes,
            "quota_files": fileset.quota_files,
            "sites": fileset.sites.iter().map(site).collect::<Vec<_>>(),
            "lock": fileset.lock.as_ref().map(lock_json),
        })
    }
}

/// An administrator's lock.
pub fn lock_json(lock: &EntryLock) -> Value {
    json!({ "holder": lock.holder, "since": date(lock.since), "until": date(lock.until) })
}

/// DFS's word.
pub fn state_text(state: VersionState) -> &'static str {
    match state {
        VersionState::Valid => "valid",
        VersionState::Invalid => "invalid",
    }
}

fn versions(site: &Site) -> Vec<&'static str> {
    let names = [(Site::RW, "rw"), (Site::RO, "ro"), (Site::BACKUP, "bk")];
    names
        .into_iter()
        .filter_map(|(bit, name)| (site.versions & bit != 0).then_some(name))
        .collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use baton_types::record::AggregateState;
    use baton_types::{Address, AggregateName, EntryName, Epoch, FilesetName, PrincipalName};
    use uuid::Uuid;

    /// The fileset of [`records`].
    pub fn fileset() -> Fileset {
        let found = records().into_iter().find_map(|record| match record {
            Record::Fileset(fileset) => Some(fileset),
            _ => None,
        });
        found.unwrap()
    }

    /// A server entry, an aggregate that its server owns, and a fileset there.
    pub fn records() -> Vec<Record> {
        let (server, aggregate) = (ServerId(Uuid::from_u128(7)), AggregateId(Uuid::from_u128(8)));
        let principal = PrincipalName::parse("hosts/mlserva").unwrap();
        let address = Address::parse("mlserva.example").unwrap();
        vec![
            Record::Server(Server {
                addresses: vec![address.clone()],
                registered: Timestamp(1_800_000_000 * 1_000_000_000),
                since: Timestamp(1_800_000_000 * 1_000_000_000),
                ..Server::new(server, EntryName::parse("mlserva").unwrap())
            }),
            Record::Entry(ServerEntry {
                number: 3,
                name: EntryName::parse("mlserva").unwrap(),
                addresses: vec![address],
                principal,
                owner: None,
                quota: 0,
                uses: 2,
            }),
            Record::Aggregate(Aggregate {
                attached: vec![server],
                owner: Some(server),
                epoch: Epoch(41),
                state: AggregateState::Exported,
                since: Timestamp(1_800_000_000 * 1_000_000_000),
                reason: "claimed by mlserva".to_owned(),
                ..Aggregate::new(aggregate, AggregateName::parse("lfs03").unwrap(), 13)
            }),
            Record::Fileset(Fileset {
                id: FilesetId(1201),
                name: FilesetName::parse("user.ito").unwrap(),
                rw: VersionState::Valid,
                ro: VersionState::Invalid,
                backup: VersionState::Valid,
                sites: vec![Site {
                    entry: 3,
                    aggregate,
                    versions: Site::RW | Site::BACKUP,
                }],
                quota_bytes: 20 << 30,
                quota_files: 0,
                lock: None,
            }),
        ]
    }

    #[test]
    fn an_entry_has_the_layout_of_dfs() {
        let book = Book::of(records(), Timestamp(0));
        assert_eq!(
            book.print(&book.filesets[0]),
            "user.ito\n\
             \x20       readWriteID  0,,1201  valid\n\
             \x20       readOnlyID   0,,1202  invalid\n\
             \x20       backupID     0,,1203  valid\n\
             number of sites: 1\n\
             \x20  server           flags     aggr   siteAge principal      owner\n\
             mlserva.example     RW,BK    lfs03   0:00:00 hosts/mlserva  <nil>\n"
        );
    }

    #[test]
    fn a_lock_is_told_while_it_holds() {
        let date = |seconds: i64| Timestamp(seconds * 1_000_000_000);
        let locked = |mut record| {
            if let Record::Fileset(fileset) = &mut record {
                fileset.lock = Some(EntryLock {
                    holder: PrincipalName::parse("alice").unwrap(),
                    since: date(1_800_000_000),
                    until: date(1_800_028_800),
                });
            }
            record
        };
        let book = |now| Book::of(records().into_iter().map(locked).collect(), now);
        let (held, over) = (book(date(1_800_028_799)), book(date(1_800_028_800)));
        let text = held.print(&held.filesets[0]);
        assert!(
            text.contains("locked by alice since 2027-01-15T08:00:00Z, until 2027-01-15T16:00:00Z\n"),
            "{text}"
        );
        assert_eq!(held.to_json(&held.filesets[0])["lock"]["holder"], "alice");
        assert!(!over.print(&over.filesets[0]).contains("locked"));
        assert_eq!(over.to_json(&over.filesets[0])["lock"], Value::Null);
    }

    #[test]
    fn a_site_whose_entry_is_not_known_is_named_by_its_number() {
        let mut book = Book::of(records(), Timestamp(0));
        book.entries.clear();
        let text = book.print(&book.filesets[0]);
        assert!(text.contains("\nentry 3 "), "{text}");
    }

    #[test]
    fn an_entry_in_json_has_its_fields() {
        let book = Book::of(records(), Timestamp(0));
        assert_eq!(
            book.to_json(&book.filesets[0]),
            json!({
                "name": "user.ito",
                "read_write": { "id": "0,,1201", "number": 1201, "state": "valid" },
                "read_only": { "id": "0,,1202", "number": 1202, "state": "invalid" },
                "backup": { "id": "0,,1203", "number": 1203, "state": "valid" },
                "quota_bytes": 21_474_836_480_u64,
                "quota_files": 0,
                "lock": null,
                "sites": [{
                    "server": "mlserva.example",
                    "entry": "mlserva",
                    "principal": "hosts/mlserva",
                    "owner": null,
                    "versions": ["rw", "bk"],
                    "aggregate": "lfs03",
                    "aggregate_number": 13,
                    "aggregate_id": "00000000-0000-0000-0000-000000000008",
                }],
            })
        );
    }
}
