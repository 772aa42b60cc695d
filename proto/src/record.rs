//! Records between their typed form and the wire.
//!
//! | file | is |
//! |---|---|
//! | `record/owners.rs` | servers, aggregates, and who owned what |
//! | `record/registry.rs` | people, machines, groups, and who is to come |

mod owners;
mod registry;

use baton_types::limits::{ADDRESSES_MAX, FILESET_SITES_MAX};
use baton_types::record::{
    Cell, Changed, EntryLock, Event, FailBack, Fileset, Member, Patience, ServerEntry, Site, VersionState,
};
pub use baton_types::record::{Key, Record, Table};
use baton_types::{
    Address, AggregateId, Epoch, Error, FilesetId, GroupName, PrincipalName, Result, ServerId, Timestamp,
};

use crate::v1;
use crate::wire::{FromWire, at_most, bytes, bytes_list, free_text, invalid, missing};

fn uuid_bytes(id: uuid::Uuid) -> Vec<u8> {
    id.as_bytes().to_vec()
}

impl From<ServerEntry> for v1::ServerEntry {
    fn from(e: ServerEntry) -> v1::ServerEntry {
        v1::ServerEntry {
            number: e.number,
            name: bytes(e.name),
            addresses: bytes_list(e.addresses),
            principal: bytes(e.principal),
            owner: e.owner.map(bytes).unwrap_or_default(),
            quota: e.quota,
            uses: e.uses,
        }
    }
}

impl TryFrom<v1::ServerEntry> for ServerEntry {
    type Error = Error;

    fn try_from(e: v1::ServerEntry) -> Result<ServerEntry> {
        Ok(ServerEntry {
            number: e.number,
            name: FromWire::from_wire(&e.name)?,
            addresses: Address::list(&e.addresses, ADDRESSES_MAX, "addresses")?,
            principal: PrincipalName::from_wire(&e.principal)?,
            owner: GroupName::optional(&e.owner)?,
            quota: e.quota,
            uses: e.uses,
        })
    }
}

impl From<Fileset> for v1::Fileset {
    fn from(f: Fileset) -> v1::Fileset {
        let site = |s: Site| v1::Site {
            entry: s.entry,
            aggregate: uuid_bytes(s.aggregate.0),
            versions: u32::from(s.versions),
        };
        v1::Fileset {
            id: f.id.0,
            name: bytes(f.name),
            rw: f.rw == VersionState::Valid,
            ro: f.ro == VersionState::Valid,
            backup: f.backup == VersionState::Valid,
            sites: f.sites.into_iter().map(site).collect(),
            quota_bytes: f.quota_bytes,
            quota_files: f.quota_files,
            lock: f.lock.map(|l| v1::EntryLock {
                holder: bytes(l.holder),
                since: l.since.0,
                until: l.until.0,
            }),
        }
    }
}

impl TryFrom<v1::Fileset> for Fileset {
    type Error = Error;

    fn try_from(f: v1::Fileset) -> Result<Fileset> {
        let version = |valid| {
            if valid {
                VersionState::Valid
            } else {
                VersionState::Invalid
            }
        };
        at_most(f.sites.len(), FILESET_SITES_MAX, "sites")?;
        let site = |s: v1::Site| {
            let versions = u8::try_from(s.versions).map_err(|_| invalid("site", "unknown versions"))?;
            Ok(Site {
                entry: s.entry,
                aggregate: AggregateId::from_wire(&s.aggregate)?,
                versions,
            })
        };
        let lock = |l: v1::EntryLock| {
            let holder = PrincipalName::from_wire(&l.holder)?;
            Ok::<_, Error>(EntryLock {
                holder,
                since: Timestamp(l.since),
                until: Timestamp(l.until),
            })
        };
        Ok(Fileset {
            id: FilesetId(f.id),
            name: FromWire::from_wire(&f.name)?,
            rw: version(f.rw),
            ro: version(f.ro),
            backup: version(f.backup),
            sites: f.sites.into_iter().map(site).collect::<Result<_>>()?,
            quota_bytes: f.quota_bytes,
            quota_files: f.quota_files,
            lock: f.lock.map(lock).transpose()?,
        })
    }
}

impl From<Cell> for v1::Cell {
    fn from(c: Cell) -> v1::Cell {
        v1::Cell {
            id: uuid_bytes(c.id.0),
            name: bytes(c.name),
            description: c.description,
            auth: c.auth,
            invitation_seconds: c.invitation_seconds,
            host_certificate_seconds: c.host_certificate_seconds,
            user_certificate_seconds: c.user_certificate_seconds,
            entry_lock_seconds: c.entry_lock_seconds,
            suspect_millis: c.patience.suspect_millis,
            dead_millis: c.patience.dead_millis,
            isolated_millis: c.patience.isolated_millis,
            fail_back: c.fail_back.is_auto,
            fail_back_seconds: c.fail_back.after_seconds,
            fail_back_window: c.fail_back.window.map(|window| window.to_string()).unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::Cell> for Cell {
    type Error = Error;

    fn try_from(c: v1::Cell) -> Result<Cell> {
        Ok(Cell {
            id: FromWire::from_wire(&c.id)?,
            name: FromWire::from_wire(&c.name)?,
            description: free_text(c.description, "description")?,
            auth: c
                .auth
                .into_iter()
                .map(|mech| free_text(mech, "mechanism"))
                .collect::<Result<_>>()?,
            invitation_seconds: c.invitation_seconds,
            host_certificate_seconds: c.host_certificate_seconds,
            user_certificate_seconds: c.user_certificate_seconds,
            entry_lock_seconds: c.entry_lock_seconds,
            patience: patience((c.suspect_millis, c.dead_millis, c.isolated_millis)),
            fail_back: FailBack {
                is_auto: c.fail_back,
                after_seconds: match c.fail_back_seconds {
                    0 => FailBack::default().after_seconds,
                    seconds => seconds,
                },
                window: match c.fail_back_window.as_str() {
                    "" => None,
                    window => Some(window.parse()?),
                },
            },
        })
    }
}

/// What an older version did not write is what it is by default.
fn patience((suspect, dead, isolated): (u64, u64, u64)) -> Patience {
    let given = |millis: u64, default: u64| if millis == 0 { default } else { millis };
    let default = Patience::default();
    Patience {
        suspect_millis: given(suspect, default.suspect_millis),
        dead_millis: given(dead, default.dead_millis),
        isolated_millis: given(isolated, default.isolated_millis),
    }
}

impl From<Member> for v1::Member {
    fn from(m: Member) -> v1::Member {
        v1::Member {
            number: m.number,
            name: bytes(m.name),
            addresses: bytes_list(m.addresses),
            issuer: m.issuer,
        }
    }
}

impl TryFrom<v1::Member> for Member {
    type Error = Error;

    fn try_from(m: v1::Member) -> Result<Member> {
        Ok(Member {
            number: m.number,
            name: FromWire::from_wire(&m.name)?,
            addresses: Address::list(&m.addresses, ADDRESSES_MAX, "addresses")?,
            issuer: m.issuer,
        })
    }
}

impl From<Event> for v1::Event {
    fn from(e: Event) -> v1::Event {
        v1::Event {
            index: e.index,
            date: e.date.0,
            by: bytes(e.by),
            what: e.what,
            on: e.on,
            detail: e.detail,
        }
    }
}

impl TryFrom<v1::Event> for Event {
    type Error = Error;

    fn try_from(e: v1::Event) -> Result<Event> {
        Ok(Event {
            index: e.index,
            date: Timestamp(e.date),
            by: PrincipalName::from_wire(&e.by)?,
            what: free_text(e.what, "event")?,
            on: free_text(e.on, "event")?,
            detail: free_text(e.detail, "event")?,
        })
    }
}

impl From<Record> for v1::Record {
    fn from(record: Record) -> v1::Record {
        use v1::record::Record as Wire;
        let record = match record {
            Record::Cell(r) => Wire::Cell(r.into()),
            Record::Member(r) => Wire::Member(r.into()),
            Record::Server(r) => Wire::Server(r.into()),
            Record::Entry(r) => Wire::Entry(r.into()),
            Record::Aggregate(r) => Wire::Aggregate(r.into()),
            Record::Fileset(r) => Wire::Fileset(r.into()),
            Record::Principal(r) => Wire::Principal(r.into()),
            Record::Invitation(r) => Wire::Invitation(r.into()),
            Record::Event(r) => Wire::Event(r.into()),
            Record::Tenure(r) => Wire::Tenure(r.into()),
            Record::Group(r) => Wire::Group(r.into()),
        };
        v1::Record { record: Some(record) }
    }
}

impl TryFrom<v1::Record> for Record {
    type Error = Error;

    fn try_from(record: v1::Record) -> Result<Record> {
        use v1::record::Record as Wire;
        Ok(match record.record.ok_or_else(|| missing("record"))? {
            Wire::Cell(r) => Record::Cell(r.try_into()?),
            Wire::Member(r) => Record::Member(r.try_into()?),
            Wire::Server(r) => Record::Server(r.try_into()?),
            Wire::Entry(r) => Record::Entry(r.try_into()?),
            Wire::Aggregate(r) => Record::Aggregate(r.try_into()?),
            Wire::Fileset(r) => Record::Fileset(r.try_into()?),
            Wire::Principal(r) => Record::Principal(r.try_into()?),
            Wire::Invitation(r) => Record::Invitation(r.try_into()?),
            Wire::Event(r) => Record::Event(r.try_into()?),
            Wire::Tenure(r) => Record::Tenure(r.try_into()?),
            Wire::Group(r) => Record::Group(r.try_into()?),
            Wire::Session(_) | Wire::Counters(_) => return Err(invalid("record", "it belongs in snapshots only")),
        })
    }
}

impl From<Key> for v1::Key {
    fn from(key: Key) -> v1::Key {
        use v1::key::Key as Wire;
        let key = match key {
            Key::Cell => Wire::Cell(true),
            Key::Member(number) => Wire::Member(number),
            Key::Server(id) => Wire::Server(uuid_bytes(id.0)),
            Key::Entry(number) => Wire::Entry(number),
            Key::Aggregate(id) => Wire::Aggregate(uuid_bytes(id.0)),
            Key::Fileset(id) => Wire::Fileset(id.0),
            Key::Principal(name) => Wire::Principal(bytes(name)),
            Key::Invitation(hash) => Wire::Invitation(hash.to_vec()),
            Key::Event(index) => Wire::Event(index),
            Key::Tenure(aggregate, epoch) => Wire::Tenure(v1::TenureKey {
                aggregate: uuid_bytes(aggregate.0),
                epoch: epoch.0,
            }),
            Key::Group(name) => Wire::Group(bytes(name)),
        };
        v1::Key { key: Some(key) }
    }
}

impl TryFrom<v1::Key> for Key {
    type Error = Error;

    fn try_from(key: v1::Key) -> Result<Key> {
        use v1::key::Key as Wire;
        Ok(match key.key.ok_or_else(|| missing("key"))? {
            Wire::Cell(_) => Key::Cell,
            Wire::Member(number) => Key::Member(number),
            Wire::Server(id) => Key::Server(ServerId::from_wire(&id)?),
            Wire::Entry(number) => Key::Entry(number),
            Wire::Aggregate(id) => Key::Aggregate(AggregateId::from_wire(&id)?),
            Wire::Fileset(id) => Key::Fileset(FilesetId(id)),
            Wire::Principal(name) => Key::Principal(PrincipalName::from_wire(&name)?),
            Wire::Invitation(hash) => Key::Invitation(FromWire::from_wire(&hash)?),
            Wire::Event(index) => Key::Event(index),
            Wire::Tenure(key) => Key::Tenure(AggregateId::from_wire(&key.aggregate)?, Epoch(key.epoch)),
            Wire::Group(name) => Key::Group(GroupName::from_wire(&name)?),
        })
    }
}

impl From<Changed> for v1::Changed {
    fn from(changed: Changed) -> v1::Changed {
        v1::Changed {
            index: changed.index,
            put: changed.put.into_iter().map(Into::into).collect(),
            gone: changed.gone.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Changed> for Changed {
    type Error = Error;

    fn try_from(changed: v1::Changed) -> Result<Changed> {
        Ok(Changed {
            index: changed.index,
            put: changed.put.into_iter().map(TryInto::try_into).collect::<Result<_>>()?,
            gone: changed.gone.into_iter().map(TryInto::try_into).collect::<Result<_>>()?,
        })
    }
}

impl From<Table> for v1::Table {
    fn from(table: Table) -> v1::Table {
        match table {
            Table::Cell => v1::Table::Cell,
            Table::Member => v1::Table::Member,
            Table::Server => v1::Table::Server,
            Table::Entry => v1::Table::Entry,
            Table::Aggregate => v1::Table::Aggregate,
            Table::Fileset => v1::Table::Fileset,
            Table::Principal => v1::Table::Principal,
            Table::Invitation => v1::Table::Invitation,
            Table::Event => v1::Table::Event,
            Table::Tenure => v1::Table::Tenure,
            Table::Group => v1::Table::Group,
        }
    }
}

impl TryFrom<v1::Table> for Table {
    type Error = Error;

    fn try_from(table: v1::Table) -> Result<Table> {
        Ok(match table {
            v1::Table::Cell => Table::Cell,
            v1::Table::Member => Table::Member,
            v1::Table::Server => Table::Server,
            v1::Table::Entry => Table::Entry,
            v1::Table::Aggregate => Table::Aggregate,
            v1::Table::Fileset => Table::Fileset,
            v1::Table::Principal => Table::Principal,
            v1::Table::Invitation => Table::Invitation,
            v1::Table::Event => Table::Event,
            v1::Table::Tenure => Table::Tenure,
            v1::Table::Group => Table::Group,
            v1::Table::Unspecified => return Err(invalid("table", "one this version does not know")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_with_a_bad_name_is_refused_not_truncated() {
        let wire = v1::Record {
            record: Some(v1::record::Record::Fileset(v1::Fileset {
                name: b"a/b".to_vec(),
                ..Default::default()
            })),
        };
        assert!(Record::try_from(wire).is_err());
        assert!(Record::try_from(v1::Record::default()).is_err());
    }

    #[test]
    fn a_fileset_survives_the_wire() {
        let fileset = Fileset {
            id: FilesetId(1201),
            name: baton_types::FilesetName::parse("user.ito").unwrap(),
            rw: VersionState::Invalid,
            ro: VersionState::Valid,
            backup: VersionState::Invalid,
            sites: vec![Site {
                entry: 3,
                aggregate: AggregateId::random(),
                versions: Site::RW | Site::RO,
            }],
            quota_bytes: 5 << 20,
            quota_files: 7,
            lock: Some(EntryLock {
                holder: PrincipalName::parse("alice").unwrap(),
                since: Timestamp(1),
                until: Timestamp(2),
            }),
        };
        let record = Record::Fileset(fileset);
        assert_eq!(Record::try_from(v1::Record::from(record.clone())).unwrap(), record);
    }
}
