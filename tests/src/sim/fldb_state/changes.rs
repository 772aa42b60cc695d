//! Changes as clients ask for them: few names, so that they meet; good ones and bad ones; some by callers who may not.

use baton_flserver::state::{Filter, Fldb};
use baton_proto::v1;
use baton_types::change::{
    AddressEdit, AggregateRef, Ask, Change, FilesetRef, Grant, Held, Import, ImportedPerson, Move, Moving, OwnerEdit,
    Takeover, Verdict, Who,
};
use baton_types::record::{Group, InvitationKind, Record, ServerState, Site, Table, TimeLine};
use baton_types::{Address, AggregateId, CellId, Epoch, Error, FilesetId, GroupName, Incarnation, ServerId};
use std::str::FromStr;
use uuid::Uuid;

use crate::sim::Seed;

/// File servers `fs1`, `fs2`, `fs3`.
const SERVERS: u64 = 3;
/// Aggregates `agg1`, `agg2`.
const AGGREGATES: u64 = 2;
/// Runs of each server.
const RUNS: u64 = 2;

fn of<T: FromStr<Err = Error>>(text: &str) -> T {
    text.parse().expect("the simulation's own names are good")
}

fn one_of<T: FromStr<Err = Error>>(seed: &mut Seed, names: &[&str]) -> T {
    of(names[seed.index(names.len())])
}

fn server_id(number: u64) -> ServerId {
    ServerId(Uuid::from_u128(u128::from(number)))
}

fn aggregate_id(number: u64) -> AggregateId {
    AggregateId(Uuid::from_u128(0xa0 + u128::from(number)))
}

fn run(number: u64) -> Incarnation {
    Incarnation(Uuid::from_u128(0xf0 + u128::from(number)))
}

fn person(name: &str) -> Who {
    Who::Principal {
        name: of(name),
        mech: "cert".to_owned(),
    }
}

fn host(number: u64) -> Who {
    Who::Host {
        name: of(&format!("hosts/fs{number}")),
        server: Some(server_id(number)),
    }
}

/// What every history begins with: a cell with an administrator, another one, somebody else, and three servers of
/// which the first two see the first aggregate.
pub(super) fn beginning() -> Vec<(Who, Change)> {
    let genesis = Change::Genesis {
        cell_id: CellId(Uuid::from_u128(1)),
        cell: of("example.org"),
        administrator: of("alice"),
        administrator_id: 1_000,
        member: of("fl1"),
        addresses: vec![of("fl1")],
    };
    let mut changes = vec![(Who::Database, genesis)];
    for (name, groups) in [("fred", vec![of("fileset-admin")]), ("eve", vec![of("g0")])] {
        changes.push((person("alice"), new_principal(name, groups)));
    }
    for number in 1..=SERVERS {
        changes.push((person("alice"), new_principal(&format!("hosts/fs{number}"), Vec::new())));
        changes.push((host(number), register(number, 1)));
    }
    changes.extend([1, 2].map(|number| (host(number), report(number, 1))));
    changes
}

fn new_principal(name: &str, groups: Vec<GroupName>) -> Change {
    Change::EditPrincipal {
        name: of(name),
        create: Some(None),
        groups: Some(groups),
        primary: None,
        disabled: None,
        may_assert_users: None,
        may_assert_root: None,
    }
}

fn register(number: u64, incarnation: u64) -> Change {
    Change::RegisterServer {
        id: server_id(number),
        name: of(&format!("fs{number}")),
        addresses: vec![of(&format!("fs{number}"))],
        incarnation: run(incarnation),
        beats: true,
    }
}

fn report(number: u64, aggregate: u64) -> Change {
    Change::ReportAggregate {
        server: server_id(number),
        id: aggregate_id(aggregate),
        name: of(&format!("agg{aggregate}")),
    }
}

/// A change, and on whose behalf. Its caller may know the newest `state`, as a careful one would, or guess.
pub(super) fn drawn(seed: &mut Seed, state: &Fldb) -> (Who, Change) {
    let (who, change) = match seed.below(20) {
        0..2 => owner_change(seed, state),
        2..4 => move_change(seed, state),
        4..6 => server_change(seed),
        6..15 => (caller(seed), fileset_change(seed, state)),
        15..17 => (caller(seed), entry_change(seed)),
        _ => registry_change(seed),
    };
    let wire = v1::Change::from(change);
    (who, wire.try_into().expect("what is sent can be read"))
}

fn caller(seed: &mut Seed) -> Who {
    match seed.below(20) {
        0 => person("eve"),
        1..6 => person("fred"),
        _ => person("alice"),
    }
}

fn server_change(seed: &mut Seed) -> (Who, Change) {
    let number = seed.between(1, SERVERS);
    let change = match seed.below(2) {
        0 => register(number, seed.between(1, RUNS)),
        _ => report(number, seed.between(1, AGGREGATES)),
    };
    (host(number), change)
}

/// Claims and detaches: half by the right server under the right epoch, half by guess.
fn owner_change(seed: &mut Seed, state: &Fldb) -> (Who, Change) {
    let aggregate = aggregate_id(seed.between(1, AGGREGATES));
    let known = state.known_aggregate(aggregate).ok().filter(|_| seed.chance(700));
    let epoch = known.as_ref().map_or(Epoch(seed.below(5)), |known| known.epoch);
    let owner = known.as_ref().and_then(|known| known.owner);
    let number = match (owner, &known) {
        (Some(owner), _) if seed.chance(700) => number_of(owner),
        (_, Some(known)) if !known.attached.is_empty() => number_of(*seed.pick(&known.attached)),
        _ => seed.between(1, SERVERS),
    };
    let server = server_id(number);
    let change = match owner {
        Some(_) if seed.chance(600) => Change::Detach {
            aggregate,
            server,
            epoch,
        },
        Some(_) | None => Change::Claim {
            aggregate,
            server,
            incarnation: incarnation(seed, state, server),
            disk_epoch: *seed.pick(&[Epoch::NONE, epoch, epoch, Epoch(epoch.0 + 2)]),
            takeover: *seed.pick(&[Takeover::Planned, Takeover::Planned, Takeover::Forced]),
        },
    };
    (host(number), change)
}

/// Moves and what follows from them, judgements, and what owners say of them.
fn move_change(seed: &mut Seed, state: &Fldb) -> (Who, Change) {
    let aggregate = aggregate_id(seed.between(1, AGGREGATES));
    let known = state.known_aggregate(aggregate).ok();
    let epoch = known.as_ref().map_or(Epoch(seed.below(5)), |known| known.epoch);
    let owner = known
        .and_then(|known| known.owner)
        .map_or(seed.between(1, SERVERS), number_of);
    let server = server_id(if seed.chance(800) {
        owner
    } else {
        seed.between(1, SERVERS)
    });
    let rows = vec![Held { aggregate, epoch }];
    let change = match seed.below(10) {
        0..2 => return (caller(seed), wish(seed)),
        2..4 => return (member(), judgement(seed, state)),
        4 => Change::HandOver { server, rows },
        5 => Change::AbandonMove {
            server,
            rows,
            why: "calls do not end".to_owned(),
        },
        6 => Change::GiveUp {
            aggregate,
            server,
            epoch,
            why: "its disk fails".to_owned(),
        },
        7 => Change::Fail {
            aggregate,
            server,
            epoch,
            why: "its log does not replay".to_owned(),
        },
        8 => Change::Adopt {
            aggregate,
            server,
            incarnation: incarnation(seed, state, server),
            epoch: Epoch::new(epoch.era() + 1, 4),
        },
        _ => Change::ReportTakeover {
            server,
            aggregate,
            epoch,
            time_line: TimeLine {
                serving_micros: seed.below(9),
                ..TimeLine::default()
            },
        },
    };
    (host(number_of(server)), change)
}

fn wish(seed: &mut Seed) -> Change {
    let server = server_id(seed.between(1, SERVERS));
    if seed.chance(300) {
        return Change::SetDrained {
            server,
            drained: seed.chance(400),
        };
    }
    if seed.chance(100) {
        let domain = seed.chance(700).then(|| of(&format!("rack{}", seed.between(1, 2))));
        return Change::SetDomain { server, domain };
    }
    if seed.chance(100) {
        let aggregate = AggregateRef::Name(of(&format!("agg{}", seed.between(1, AGGREGATES))));
        return Change::Prefer { aggregate, server };
    }
    let aggregates = (1..=AGGREGATES).map(|number| AggregateRef::Name(of(&format!("agg{number}"))));
    Change::Move(Move {
        what: match seed.below(3) {
            0 => Moving::Server(server),
            1 => Moving::Aggregates(aggregates.take(1).collect()),
            _ => Moving::Aggregates(aggregates.collect()),
        },
        to: seed.chance(300).then(|| server_id(seed.between(1, SERVERS))),
        takeover: *seed.pick(&[Takeover::Planned, Takeover::Planned, Takeover::Forced]),
    })
}

/// One server is judged, rightly or not; one aggregate goes to another.
fn judgement(seed: &mut Seed, state: &Fldb) -> Change {
    let server = server_id(seed.between(1, SERVERS));
    let to = server_id(seed.between(1, SERVERS));
    let aggregate = aggregate_id(seed.between(1, AGGREGATES));
    let known = state
        .known_aggregate(aggregate)
        .map_or(Epoch::NONE, |known| known.epoch);
    Change::Judge {
        verdicts: vec![Verdict {
            server,
            incarnation: incarnation(seed, state, server),
            state: *seed.pick(&[ServerState::Alive, ServerState::Pending, ServerState::Dead]),
            evidence: "beat 1.0 s late".to_owned(),
        }],
        grants: vec![Grant {
            aggregate,
            from: if seed.chance(800) { known } else { Epoch(seed.below(5)) },
            to,
            run: incarnation(seed, state, to),
            disk: known,
        }],
        asks: vec![Ask {
            aggregate: aggregate_id(seed.between(1, AGGREGATES)),
            from: if seed.chance(800) { known } else { Epoch(seed.below(5)) },
            to,
        }],
        silent_micros: 1_000_000,
        reason: "beat 1.0 s late".to_owned(),
    }
}

/// The member whose name `beginning` gives.
fn member() -> Who {
    Who::Host {
        name: of("hosts/fl1"),
        server: None,
    }
}

fn number_of(server: ServerId) -> u64 {
    (1..=SERVERS).find(|number| server_id(*number) == server).unwrap_or(1)
}

/// Mostly the run that is registered.
fn incarnation(seed: &mut Seed, state: &Fldb, server: ServerId) -> Incarnation {
    let guess = run(seed.between(1, RUNS));
    let registered = all(state, Table::Server).into_iter().find_map(|record| match record {
        Record::Server(known) if known.id == server => known.incarnation,
        _ => None,
    });
    registered.filter(|_| seed.chance(800)).unwrap_or(guess)
}

/// All records of a table.
fn all(state: &Fldb, table: Table) -> Vec<Record> {
    state.list(table, &Filter::default()).into_iter().flatten().collect()
}

fn fileset_change(seed: &mut Seed, state: &Fldb) -> Change {
    let name = of(&format!("f{}", seed.below(8)));
    if seed.chance(450) {
        let (server, aggregate) = place(seed, state);
        let quota_bytes = seed.below(9);
        return Change::CreateFileset {
            name,
            server,
            aggregate,
            quota_bytes,
        };
    }
    let fileset = match all(state, Table::Fileset).as_slice() {
        known @ [_, ..] if seed.chance(800) => match seed.pick(known) {
            Record::Fileset(known) if seed.chance(500) => FilesetRef::Name(known.name.clone()),
            Record::Fileset(known) => FilesetRef::Id(FilesetId(known.id.0 + seed.below(4))),
            other => unreachable!("{other:?} in the list of filesets"),
        },
        _ => FilesetRef::Id(FilesetId(seed.between(1, 40))),
    };
    match seed.below(9) {
        0..2 => {
            let site = state
                .fileset(&fileset)
                .ok()
                .and_then(|known| known.sites.first().cloned());
            let known = site
                .filter(|_| seed.chance(800))
                .and_then(|site| place_of(state, &site));
            let (server, aggregate) = known.unwrap_or_else(|| place(seed, state));
            Change::DeleteFileset {
                fileset,
                server,
                aggregate,
            }
        }
        2 => Change::RenameFileset { fileset, name },
        3 => Change::LockFileset { fileset },
        4 => Change::SetQuota {
            fileset,
            bytes: seed.chance(700).then(|| seed.below(1 << 40)),
            files: seed.chance(500).then(|| seed.below(1 << 20)),
        },
        5 => Change::ForgetFileset { fileset },
        6 => Change::ReserveFilesetIds {
            through: FilesetId(seed.below(80)),
        },
        7 => {
            let (server, aggregate) = place(seed, state);
            let known = state.fileset(&fileset).ok().filter(|_| seed.chance(700));
            Change::BookFileset {
                fileset: known.map_or_else(|| FilesetId(seed.below(80)), |known| known.id),
                name,
                server,
                aggregate,
                quota_bytes: seed.below(9),
                quota_files: seed.below(9),
            }
        }
        _ => Change::UnlockFileset { fileset },
    }
}

/// A server and an aggregate: mostly such that belong together.
fn place(seed: &mut Seed, state: &Fldb) -> (Address, AggregateRef) {
    let known = all(state, Table::Aggregate);
    if let [_, ..] = known.as_slice()
        && seed.chance(800)
        && let Record::Aggregate(aggregate) = seed.pick(&known)
        && let [_, ..] = aggregate.attached.as_slice()
    {
        let server = number_of(*seed.pick(&aggregate.attached));
        return (of(&format!("fs{server}")), AggregateRef::Number(aggregate.number));
    }
    let server = of(&format!("fs{}", seed.between(1, SERVERS)));
    (
        server,
        AggregateRef::Name(of(&format!("agg{}", seed.between(1, AGGREGATES)))),
    )
}

/// How a person would name the place of a site.
fn place_of(state: &Fldb, site: &Site) -> Option<(Address, AggregateRef)> {
    let entry = all(state, Table::Entry).into_iter().find_map(|record| match record {
        Record::Entry(entry) if entry.number == site.entry => Some(entry),
        _ => None,
    })?;
    let aggregate = state.known_aggregate(site.aggregate).ok()?;
    Some((entry.addresses.first()?.clone(), AggregateRef::Name(aggregate.name)))
}

fn entry_change(seed: &mut Seed) -> Change {
    let address = one_of(seed, &["fs1", "fs2", "fs3", "dummy"]);
    let other = one_of(seed, &["fs1", "fs2", "dummy", "fs9"]);
    match seed.below(4) {
        0 => Change::CreateServerEntry {
            address,
            principal: of("hosts/fs1"),
            quota: 0,
            owner: None,
        },
        1 => Change::DeleteServerEntry { address },
        _ => Change::EditServerEntry {
            address,
            addresses: Some(match seed.below(3) {
                0 => AddressEdit::Add(other),
                1 => AddressEdit::Remove,
                _ => AddressEdit::ChangeTo(other),
            }),
            principal: None,
            quota: seed.chance(300).then(|| u32::try_from(seed.below(4)).unwrap_or(0)),
            owner: seed.chance(200).then(|| match seed.chance(500) {
                true => OwnerEdit::Set(of("g0")),
                false => OwnerEdit::Clear,
            }),
        },
    }
}

/// So few that they clash.
fn number(seed: &mut Seed) -> u32 {
    2_000 + u32::try_from(seed.below(4)).unwrap_or(0)
}

/// A line or two of a passwd and a group file.
fn imported(seed: &mut Seed, name: &str) -> Import {
    let group: GroupName = one_of(seed, &["g0", "g1"]);
    let person = ImportedPerson {
        name: of(name),
        id: seed.chance(700).then(|| number(seed)),
        primary: seed.chance(500).then(|| group.clone()),
        groups: vec![group.clone()],
    };
    let group = Group {
        name: group,
        id: number(seed),
    };
    Import {
        groups: seed.chance(500).then_some(group).into_iter().collect(),
        people: vec![person],
    }
}

fn registry_change(seed: &mut Seed) -> (Who, Change) {
    let name = format!("p{}", seed.below(4));
    let secret = [u8::try_from(seed.below(3)).unwrap_or(0); 32];
    let change = match seed.below(8) {
        0 => new_principal(&name, Vec::new()),
        1 => Change::EditPrincipal {
            name: one_of(seed, &["fred", "alice", "p0", "p1"]),
            create: None,
            groups: seed.chance(300).then(Vec::new),
            primary: None,
            disabled: Some(seed.chance(300)),
            may_assert_users: None,
            may_assert_root: None,
        },
        2 => Change::SetCell {
            key: (*seed.pick(&["description", "lock-lifetime", "colour"])).to_owned(),
            value: format!("{}s", seed.between(50, 90)),
        },
        3 => Change::Invite {
            secret_hash: secret,
            kind: InvitationKind::User,
            principal: of(&name),
            id: None,
            groups: vec![of("staff")],
        },
        4 => Change::EditGroup {
            name: one_of(seed, &["g0", "g1"]),
            id: seed.chance(700).then(|| number(seed)),
        },
        5 => Change::Import(imported(seed, &name)),
        _ => {
            let public_key_hash = [u8::try_from(seed.below(2)).unwrap_or(0); 32];
            let join = Change::UseInvitation {
                secret_hash: secret,
                public_key_hash,
                addresses: Vec::new(),
            };
            return (Who::Nobody, join);
        }
    };
    (caller(seed), change)
}
