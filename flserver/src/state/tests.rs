//! What each change does, what it refuses, and with which words.
//!
//! Every change of every test goes through [`Db::step`]: by way of the wire form, as it does in the log, and
//! with what must hold after any change checked behind it.

mod aggregates;
mod bad_input;
mod books;
mod cell;
mod dump;
mod entries;
mod filesets;
mod held;
mod import;
mod invitations;
mod members;
mod once;
mod owners;
mod queries;
mod registry;
mod restored;
mod rights;
mod roles;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use baton_proto::v1;
use baton_types::change::{AggregateRef, Change, ChangeSession, FilesetRef, Proposal, Takeover, Who};
use baton_types::record::{
    Aggregate, Changed, Fileset, Invitation, InvitationKind, Key, Member, Principal, Record, Server, ServerEntry,
    Table, VersionState,
};
use baton_types::{
    Address, AggregateId, CellId, CellName, Core, EntryName, Epoch, Error, FilesetId, GroupName, Incarnation,
    PrincipalName, ServerId, Timestamp,
};
use uuid::Uuid;

use super::{Action, Answered, Committed, Filter, Fldb, Outcome};

/// The session of changes that do not bring one of their own.
const SESSION: ChangeSession = ChangeSession([7; 16]);

/// A state, and what is needed to change it.
#[derive(Clone)]
struct Db {
    state: Fldb,
    date: Timestamp,
    sequence: u32,
}

/// A good name, address or other value.
fn of<T: FromStr<Err = Error>>(text: &str) -> T {
    text.parse().unwrap()
}

fn address(text: &str) -> Address {
    of(text)
}

fn names<T: FromStr<Err = Error>>(list: &[&str]) -> Vec<T> {
    list.iter().map(|text| of(text)).collect()
}

fn server_id(number: u128) -> ServerId {
    ServerId(Uuid::from_u128(number))
}

fn aggregate_id(number: u128) -> AggregateId {
    AggregateId(Uuid::from_u128(0xa000 + number))
}

fn run(number: u128) -> Incarnation {
    Incarnation(Uuid::from_u128(0xf000 + number))
}

/// A person logged in by certificate.
fn person(name: &str) -> Who {
    Who::Principal {
        name: of(name),
        mech: "cert".to_owned(),
    }
}

/// The machine `name`, whose certificate carries the server id `number`.
fn host(name: &str, number: u128) -> Who {
    Who::Host {
        name: PrincipalName::host(&of(name)),
        server: Some(server_id(number)),
    }
}

fn genesis() -> Change {
    Change::Genesis {
        cell_id: CellId(Uuid::from_u128(1)),
        cell: of::<CellName>("example.org"),
        administrator: of("alice"),
        administrator_id: 1_000,
        member: of("fl1"),
        addresses: names(&["fl1"]),
    }
}

fn new_person(name: &str, id: Option<u32>, groups: &[&str]) -> Change {
    Change::EditPrincipal {
        name: of(name),
        create: Some(id),
        groups: Some(names(groups)),
        primary: None,
        disabled: None,
        may_assert_users: None,
        may_assert_root: None,
    }
}

fn edit_person(name: &str, groups: Option<&[&str]>, disabled: Option<bool>) -> Change {
    Change::EditPrincipal {
        name: of(name),
        create: None,
        groups: groups.map(names),
        primary: None,
        disabled,
        may_assert_users: None,
        may_assert_root: None,
    }
}

/// The server `number` says, as owner of an aggregate under an epoch, whether a fileset is there.
fn report_fileset((number, aggregate, epoch): (u128, u128, Epoch), fileset: u64, valid: bool) -> Change {
    Change::ReportFileset {
        server: server_id(number),
        aggregate: aggregate_id(aggregate),
        epoch,
        fileset: FilesetId(fileset),
        state: if valid {
            VersionState::Valid
        } else {
            VersionState::Invalid
        },
    }
}

fn register(name: &str, number: u128, addresses: &[&str], incarnation: u128) -> Change {
    Change::RegisterServer {
        id: server_id(number),
        name: of(name),
        addresses: names(addresses),
        incarnation: run(incarnation),
        beats: true,
    }
}

fn report(number: u128, aggregate: u128, name: &str) -> Change {
    Change::ReportAggregate {
        server: server_id(number),
        id: aggregate_id(aggregate),
        name: of(name),
    }
}

fn claim(number: u128, aggregate: u128, incarnation: u128, disk_epoch: Epoch) -> Change {
    Change::Claim {
        aggregate: aggregate_id(aggregate),
        server: server_id(number),
        incarnation: run(incarnation),
        disk_epoch,
        takeover: Takeover::Planned,
    }
}

fn create(name: &str, server: &str, aggregate: &str) -> Change {
    Change::CreateFileset {
        name: of(name),
        server: of(server),
        aggregate: on(aggregate),
        quota_bytes: 0,
    }
}

fn delete(name: &str, server: &str, aggregate: &str) -> Change {
    Change::DeleteFileset {
        fileset: named(name),
        server: of(server),
        aggregate: on(aggregate),
    }
}

fn named(name: &str) -> FilesetRef {
    FilesetRef::Name(of(name))
}

fn numbered(id: u64) -> FilesetRef {
    FilesetRef::Id(FilesetId(id))
}

fn on(aggregate: &str) -> AggregateRef {
    AggregateRef::Name(of(aggregate))
}

fn invite(secret: u8, kind: InvitationKind, name: &str) -> Change {
    Change::Invite {
        secret_hash: [secret; 32],
        kind,
        principal: of(name),
        id: None,
        groups: Vec::new(),
    }
}

fn join(secret: u8, key: u8, addresses: &[&str]) -> Change {
    Change::UseInvitation {
        secret_hash: [secret; 32],
        public_key_hash: [key; 32],
        addresses: names(addresses),
    }
}

/// All records by their keys.
fn records(state: &Fldb) -> BTreeMap<Key, Record> {
    let all = Table::ALL
        .into_iter()
        .flat_map(|t| state.list(t, &Filter::default()).unwrap());
    all.map(|record| (record.key(), record)).collect()
}

/// How a refusal reads, with its kind before it.
fn says(error: &Error) -> String {
    format!("{:?}: {error}", error.kind)
}

impl Db {
    /// Before the first change of a cell.
    fn empty() -> Db {
        Db {
            state: Fldb::default(),
            date: Timestamp(1_000_000_000),
            sequence: 0,
        }
    }

    /// A cell that `alice` administrates.
    fn new() -> Db {
        let mut db = Db::empty();
        db.by(&Who::Database, genesis()).unwrap();
        db
    }

    /// The same with the servers `fs1` and `fs2`, both attached to `agg1`.
    fn with_servers() -> Db {
        let mut db = Db::new();
        for (name, number) in [("fs1", 1), ("fs2", 2)] {
            db.done(new_person(&format!("hosts/{name}"), None, &[]));
            db.by(&host(name, number), register(name, number, &[name], number))
                .unwrap();
            db.by(&host(name, number), report(number, 1, "agg1")).unwrap();
        }
        db
    }

    /// Applies `change` for `who` as the next of the session.
    fn by(&mut self, who: &Who, change: Change) -> Outcome {
        self.sequence += 1;
        let proposal = Proposal {
            session: SESSION,
            sequence: self.sequence,
            born: self.state.horizon,
            date: self.date,
            who: who.clone(),
            change,
        };
        self.step(proposal).0.outcome
    }

    /// Applies `change` for the administrator; it succeeds.
    fn done(&mut self, change: Change) -> Option<Record> {
        self.by(&person("alice"), change.clone())
            .unwrap_or_else(|error| panic!("{change:?}: {}", says(&error)))
    }

    /// Applies `change` for the administrator; says how it was refused.
    fn refused(&mut self, change: Change) -> String {
        self.refused_by(&person("alice"), change)
    }

    /// Applies `change` for `who`; says how it was refused.
    fn refused_by(&mut self, who: &Who, change: Change) -> String {
        match self.by(who, change.clone()) {
            Err(error) => says(&error),
            Ok(record) => panic!("{change:?} was done: {record:?}"),
        }
    }

    /// Applies one proposal at the next index, and checks what holds for every one.
    fn step(&mut self, proposal: Proposal) -> (Answered, Changed) {
        let wire = v1::Proposal::from(proposal.clone());
        assert_eq!(
            Proposal::try_from(wire.clone()).unwrap(),
            proposal,
            "it survives the wire"
        );
        let before = self.state.clone();
        let index = before.applied() + 1;
        let (session, sequence) = (proposal.session, proposal.sequence);
        let mut actions = self
            .state
            .step(0, Committed::Change(index, Box::new(proposal)))
            .into_iter();
        let (
            Some(Action::Answer {
                session: whose,
                sequence: which,
                index: answered,
                outcome,
            }),
            Some(Action::Changed(changed)),
            None,
        ) = (actions.next(), actions.next(), actions.next())
        else {
            panic!("an answer and a change follow from every proposal");
        };
        assert_eq!(
            (whose, which, changed.index, self.state.applied()),
            (session, sequence, index, index)
        );
        if outcome.is_err() {
            assert_eq!(
                (records(&before), &before.next),
                (records(&self.state), &self.state.next)
            );
        }
        check_changed(&before, &self.state, &changed);
        check_uses(&self.state);
        let loaded = Fldb::load(&self.state.dump()).unwrap().keeping(self.state.kept);
        assert_eq!(loaded, self.state, "its dump is all of it");
        (
            Answered {
                sequence,
                index: answered,
                outcome,
            },
            changed,
        )
    }

    fn entry(&self, at: &str) -> ServerEntry {
        self.state.entry(&of(at)).unwrap()
    }

    fn server(&self, name: &str) -> Server {
        self.state.server_named(name).unwrap().clone()
    }

    fn aggregate(&self, name: &str) -> Aggregate {
        self.state.aggregate(&on(name)).unwrap()
    }

    fn fileset(&self, name: &str) -> Fileset {
        self.state.fileset(&named(name)).unwrap()
    }

    fn principal(&self, name: &str) -> Principal {
        self.state.principal(&of(name)).unwrap().clone()
    }

    fn member(&self, name: &str) -> Option<Member> {
        self.state.members().find(|m| m.name.as_str() == name).cloned()
    }

    fn invitation(&self, secret: u8) -> Option<Invitation> {
        self.state.invitations.get(&[secret; 32]).cloned()
    }

    fn groups(&self, name: &str) -> Vec<GroupName> {
        self.principal(name).groups
    }

    /// What the events say, oldest first.
    fn events(&self) -> Vec<String> {
        let events = self.state.events.values();
        events.map(|e| format!("{} {} {}", e.by, e.what, e.on)).collect()
    }

    /// The name of the owner and the epoch of `aggregate`.
    fn owner(&self, aggregate: &str) -> (Option<EntryName>, Epoch) {
        let aggregate = self.aggregate(aggregate);
        let name = aggregate
            .owner
            .map(|id| self.state.servers.get(&id).unwrap().name.clone());
        (name, aggregate.epoch)
    }
}

/// What watchers are told is exactly what became of the records, each told once.
fn check_changed(before: &Fldb, after: &Fldb, changed: &Changed) {
    let keys: Vec<Key> = changed
        .put
        .iter()
        .map(Record::key)
        .chain(changed.gone.iter().cloned())
        .collect();
    let different: BTreeSet<&Key> = keys.iter().collect();
    assert_eq!(different.len(), keys.len(), "{keys:?}");
    let mut told = records(before);
    for record in &changed.put {
        told.insert(record.key(), record.clone());
    }
    for key in &changed.gone {
        assert!(told.remove(key).is_some(), "{key:?} was not there to go");
    }
    assert_eq!(told, records(after));
}

/// The count of each entry is what a scan of all filesets finds.
fn check_uses(state: &Fldb) {
    for entry in state.entries.values() {
        let sites = state.filesets.by_name().flat_map(|f| f.sites);
        let found: u32 = sites
            .filter(|s| s.entry == entry.number)
            .map(|s| s.versions.count_ones())
            .sum();
        assert_eq!(entry.uses, found, "uses of {}", entry.name);
    }
}
