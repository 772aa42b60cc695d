//! Changes as clients would make them: mostly sensible, on few things, so that they get in each other's way.

use baton_flserver::state::Fldb;
use baton_types::change::{AddressEdit, AggregateRef, Change, FilesetRef, Takeover, Who};
use baton_types::record::{Aggregate, Record, Table};
use baton_types::{
    Address, AggregateId, AggregateName, EntryName, Error, FilesetName, Incarnation, PrincipalName, Result, ServerId,
};
use uuid::Uuid;

use super::host::address;
use crate::sim::Seed;

/// Servers, and aggregates, there are to be.
const FEW: u64 = 3;
/// Names that all clients make filesets of.
const SHARED_NAMES: u64 = 5;

/// The administrator, as the first change of the cell makes him.
pub(super) fn administrator() -> Result<Who> {
    Ok(Who::Principal {
        name: PrincipalName::parse("admin")?,
        mech: "cert".to_owned(),
    })
}

/// Draws changes for one client.
pub(super) struct Changes {
    client: u64,
    count: u64,
}

impl Changes {
    pub fn new(client: u64) -> Changes {
        Changes { client, count: 0 }
    }

    /// The next change, from what the client knows, which may be old.
    pub fn next(&mut self, seed: &mut Seed, known: &Fldb) -> Result<(Who, Change)> {
        self.count += 1;
        let server = seed.between(1, FEW);
        let aggregate = seed.between(1, FEW);
        if self.count <= 4 && self.client == 0 {
            return registration(seed, self.count.min(FEW));
        }
        match seed.below(16) {
            0 => registration(seed, server),
            1..=2 => report(server, aggregate),
            3..=5 => claim(known, server, aggregate),
            6..=7 => detach(known, aggregate),
            8..=10 => self.create(seed, server, aggregate),
            11..=13 => edit(seed, known),
            14 => announce(seed, known),
            _ => Ok((
                administrator()?,
                Change::SetCell {
                    key: "description".to_owned(),
                    value: format!("{} {}", self.client, self.count),
                },
            )),
        }
    }

    fn create(&self, seed: &mut Seed, server: u64, aggregate: u64) -> Result<(Who, Change)> {
        let name = if seed.chance(300) {
            format!("shared{}", seed.below(SHARED_NAMES))
        } else {
            format!("fileset{}.{}", self.client, self.count)
        };
        let change = Change::CreateFileset {
            name: FilesetName::parse(&name)?,
            server: server_address(server)?,
            aggregate: AggregateRef::Name(aggregate_name(aggregate)?),
            quota_bytes: seed.below(1 << 30),
        };
        Ok((administrator()?, change))
    }
}

fn uuid(kind: u128, number: u64) -> Uuid {
    Uuid::from_u128(kind << 64 | u128::from(number))
}

fn server_id(number: u64) -> ServerId {
    ServerId(uuid(1, number))
}

fn server_address(number: u64) -> Result<Address> {
    Address::parse(&format!("10.0.1.{number}"))
}

fn aggregate_name(number: u64) -> Result<AggregateName> {
    AggregateName::parse(&format!("agg{number}"))
}

/// The server itself, by its certificate.
fn server_itself(number: u64) -> Result<Who> {
    Ok(Who::Host {
        name: PrincipalName::host(&EntryName::parse(&format!("fs{number}"))?),
        server: Some(server_id(number)),
    })
}

fn registration(seed: &mut Seed, server: u64) -> Result<(Who, Change)> {
    let change = Change::RegisterServer {
        id: server_id(server),
        name: EntryName::parse(&format!("fs{server}"))?,
        addresses: vec![server_address(server)?],
        incarnation: Incarnation(uuid(2, seed.draw())),
        beats: true,
    };
    Ok((server_itself(server)?, change))
}

fn report(server: u64, aggregate: u64) -> Result<(Who, Change)> {
    let change = Change::ReportAggregate {
        server: server_id(server),
        id: AggregateId(uuid(3, aggregate)),
        name: aggregate_name(aggregate)?,
    };
    Ok((server_itself(server)?, change))
}

fn known_aggregate(known: &Fldb, number: u64) -> Option<Aggregate> {
    known.known_aggregate(AggregateId(uuid(3, number))).ok()
}

fn claim(known: &Fldb, server: u64, aggregate: u64) -> Result<(Who, Change)> {
    let run = known
        .server_named(&format!("fs{server}"))
        .and_then(|server| server.incarnation);
    let change = Change::Claim {
        aggregate: AggregateId(uuid(3, aggregate)),
        server: server_id(server),
        incarnation: run.unwrap_or(Incarnation(Uuid::nil())),
        disk_epoch: known_aggregate(known, aggregate)
            .map(|aggregate| aggregate.epoch)
            .unwrap_or_default(),
        takeover: Takeover::Planned,
    };
    Ok((server_itself(server)?, change))
}

fn detach(known: &Fldb, aggregate: u64) -> Result<(Who, Change)> {
    let owned = known_aggregate(known, aggregate);
    let owner = (1..=FEW).find(|server| owned.as_ref().is_some_and(|a| a.owner == Some(server_id(*server))));
    let server = owner.unwrap_or(1);
    let change = Change::Detach {
        aggregate: AggregateId(uuid(3, aggregate)),
        server: server_id(server),
        epoch: owned.map(|aggregate| aggregate.epoch).unwrap_or_default(),
    };
    Ok((server_itself(server)?, change))
}

/// Something on a fileset that is there; on a server's entry if there is none.
fn edit(seed: &mut Seed, known: &Fldb) -> Result<(Who, Change)> {
    let records: Vec<Record> = known
        .list(Table::Fileset, &baton_flserver::state::Filter::default())?
        .collect();
    if records.is_empty() {
        let change = Change::EditServerEntry {
            address: server_address(1)?,
            addresses: Some(AddressEdit::Add(server_address(seed.between(10, 200))?)),
            principal: None,
            quota: None,
            owner: None,
        };
        return Ok((administrator()?, change));
    }
    let Record::Fileset(fileset) = seed.pick(&records) else {
        return Err(Error::new(baton_types::Kind::Damaged, "list of filesets"));
    };
    let named = FilesetRef::Id(fileset.id);
    let change = match seed.below(4) {
        0 => Change::RenameFileset {
            fileset: named,
            name: FilesetName::parse(&format!("renamed{}", seed.below(SHARED_NAMES)))?,
        },
        1 => Change::LockFileset { fileset: named },
        2 => Change::UnlockFileset { fileset: named },
        _ => Change::DeleteFileset {
            fileset: named,
            server: server_address(seed.between(1, FEW))?,
            aggregate: AggregateRef::Name(aggregate_name(seed.between(1, FEW))?),
        },
    };
    Ok((administrator()?, change))
}

/// A member says that it listens at another address too, or no longer.
fn announce(seed: &mut Seed, known: &Fldb) -> Result<(Who, Change)> {
    let members: Vec<_> = known.members().collect();
    let member = *seed.pick(&members);
    let mut addresses: Vec<Address> = address(member.number).into_iter().collect();
    if seed.chance(500) {
        addresses.extend(address(100 + member.number));
    }
    let who = Who::Host {
        name: PrincipalName::host(&member.name),
        server: None,
    };
    let change = Change::AnnounceMember {
        name: member.name.clone(),
        addresses,
        issuer: member.issuer,
    };
    Ok((who, change))
}
