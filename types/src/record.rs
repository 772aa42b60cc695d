//! The records of the location database: what is where, who owns it, who is who.
//!
//! A *server* is a process's lasting identity, and what clients dial. A *server entry* is what
//! administrators edit and read; it opens and closes nothing.

mod owners;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    Address, AggregateId, CellId, CellName, EntryName, Epoch, FilesetId, FilesetName, GroupName, PrincipalName,
    ServerId, Timestamp,
};

pub use owners::{
    Aggregate, AggregateState, FailBack, Failure, Patience, Server, ServerState, Tenure, TimeLine, Window,
};

/// What administrators edit and read under a server's address, as DFS had it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerEntry {
    /// For the DFS spellings, and what filesets' sites refer to.
    pub number: u32,
    /// The name given at its making; it does not follow the addresses.
    pub name: EntryName,
    /// One to sixteen; each belongs to one entry only.
    pub addresses: Vec<Address>,
    /// Abbreviated as in DFS: `hosts/fs1`.
    pub principal: PrincipalName,
    /// Its members administrate what is on the server, besides administrators.
    pub owner: Option<GroupName>,
    /// Most fileset versions it may hold; 0 is no limit.
    pub quota: u32,
    /// Fileset versions that refer to it.
    pub uses: u32,
}

impl ServerEntry {
    /// Whether it is the entry of a server: its principal is, and one of its addresses. By an address alone nobody's
    /// server would become somebody else's.
    pub fn is_of(&self, name: &EntryName, addresses: &[Address]) -> bool {
        self.principal.as_host() == Some(name.as_str()) && self.addresses.iter().any(|own| addresses.contains(own))
    }

    /// The groups whose members administrate what is under all of `entries`: one who is in each of them may. None if
    /// there is no entry, or one of them has no owner; `None` among them is an entry that is not there.
    pub fn owners<'a>(entries: impl IntoIterator<Item = Option<&'a ServerEntry>>) -> Vec<GroupName> {
        let owners = entries.into_iter().map(|entry| entry?.owner.clone());
        let owners: Option<BTreeSet<GroupName>> = owners.collect();
        owners.unwrap_or_default().into_iter().collect()
    }
}

/// Whether a version of a fileset is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VersionState {
    /// Its id is reserved; nothing is there.
    Invalid,
    /// It exists (for RO: a site is defined).
    Valid,
}

/// Where versions of a fileset live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// The server entry it is booked under.
    pub entry: u32,
    /// The aggregate it is on.
    pub aggregate: AggregateId,
    /// Which versions: any of [`Site::RW`], [`Site::RO`], [`Site::BACKUP`].
    pub versions: u8,
}

impl Site {
    /// The read-write version.
    pub const RW: u8 = 1;
    /// A read-only replica.
    pub const RO: u8 = 2;
    /// The backup clone.
    pub const BACKUP: u8 = 4;
}

/// An administrator's lock on a fileset's entry: it keeps other administrators out, never programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryLock {
    /// Who set it.
    pub holder: PrincipalName,
    /// When.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Timestamp,
}

/// A fileset: its name, its three ids, where its versions are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fileset {
    /// The RW id; RO and backup follow it.
    pub id: FilesetId,
    /// Unique in the cell.
    pub name: FilesetName,
    /// The RW version.
    pub rw: VersionState,
    /// The RO replicas.
    pub ro: VersionState,
    /// The backup clone.
    pub backup: VersionState,
    /// At least the RW's.
    pub sites: Vec<Site>,
    /// Bytes it may hold; 0 is no limit.
    pub quota_bytes: u64,
    /// Files it may hold; 0 is no limit.
    pub quota_files: u64,
    /// Set while an administrator works on it.
    pub lock: Option<EntryLock>,
}

/// Somebody who can prove who they are: a person, a daemon, a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// Without the cell.
    pub name: PrincipalName,
    /// Its uid in the cell, 1 and up; machines have none.
    pub id: Option<u32>,
    /// What it is a member of, sorted.
    pub groups: Vec<GroupName>,
    /// The one of them whose gid what it makes gets.
    pub primary: Option<GroupName>,
    /// Its certificates are refused and its callers dropped.
    pub disabled: bool,
    /// A machine that may state uid, gid and groups for its callers.
    pub may_assert_users: bool,
    /// Such a machine whose uid 0 acts as root.
    pub may_assert_root: bool,
}

/// The number of a group. A group needs none to have members; without one it means nothing to files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// As its members have it.
    pub name: GroupName,
    /// Its gid in the cell, 1 and up.
    pub id: u32,
}

/// Members of these groups administrate.
pub mod groups {
    use crate::GroupName;

    /// May do everything, and alone may edit the registry, membership and settings.
    pub const CELL_ADMIN: &str = "cell-admin";
    /// May edit servers, server entries and any fileset's entry.
    pub const FLDB_ADMIN: &str = "fldb-admin";
    /// May create, rename, delete and lock filesets.
    pub const FILESET_ADMIN: &str = "fileset-admin";
    /// May move aggregates between servers, and nothing else: who is called at night.
    pub const OPERATOR: &str = "operator";
    /// The first three: those of who makes the cell.
    pub const ALL: [&str; 3] = [CELL_ADMIN, FLDB_ADMIN, FILESET_ADMIN];

    /// Whether members of `group` administrate anything, wherever it is.
    pub fn is_administrators(group: &GroupName) -> bool {
        ALL.contains(&group.as_str()) || group.as_str() == OPERATOR
    }
}

/// The cell itself and its settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// For ever.
    pub id: CellId,
    /// As DNS would write it.
    pub name: CellName,
    /// One line for people.
    pub description: String,
    /// Mechanisms by which callers may log in, best first.
    pub auth: Vec<String>,
    /// How long an invitation is good, in seconds.
    pub invitation_seconds: u64,
    /// How long a machine's certificate is good, in seconds; renewed at two thirds.
    pub host_certificate_seconds: u64,
    /// The same for a person's.
    pub user_certificate_seconds: u64,
    /// How long an administrator's lock on a fileset entry lasts, in seconds.
    pub entry_lock_seconds: u64,
    /// When the arbiter judges a silent server.
    pub patience: Patience,
    /// When aggregates go home.
    pub fail_back: FailBack,
}

/// A member of the location database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Raft's number for it; a replaced member gets a new one.
    pub number: u64,
    /// Its host's name in the cell.
    pub name: EntryName,
    /// Where it listens.
    pub addresses: Vec<Address>,
    /// It holds the authority's key and can sign certificates.
    pub issuer: bool,
}

/// What an invitation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InvitationKind {
    /// A machine that will run a file server or mount the cell.
    Host,
    /// A machine that will be a member of the location database.
    Member,
    /// A person.
    User,
}

/// A token that was given out and not used up: only its hash is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// blake3 of the token's secret.
    pub secret_hash: [u8; 32],
    /// What it makes.
    pub kind: InvitationKind,
    /// For whom: the principal that joining makes certificates for.
    pub principal: PrincipalName,
    /// Who invited.
    pub by: PrincipalName,
    /// When it ends.
    pub until: Timestamp,
    /// blake3 of the public key that used it; that key may come again, no other.
    pub used_by: Option<[u8; 32]>,
    /// A person's uid to be; `None` draws the next free one.
    pub id: Option<u32>,
    /// A person's groups to be.
    pub groups: Vec<GroupName>,
}

/// Something that happened to the cell, for `fts events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The index of the change that caused it.
    pub index: u64,
    /// When, by the leader's date.
    pub date: Timestamp,
    /// Who did it.
    pub by: PrincipalName,
    /// What, in one lower-case verb phrase: `create fileset`.
    pub what: String,
    /// On which thing.
    pub on: String,
    /// On what evidence, or with what result; empty for what speaks for itself.
    pub detail: String,
}

/// The tables of the location database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Table {
    /// One record.
    Cell,
    /// Members of the database.
    Member,
    /// File servers.
    Server,
    /// Server entries.
    Entry,
    /// Aggregates.
    Aggregate,
    /// Filesets.
    Fileset,
    /// The registry.
    Principal,
    /// Open invitations; seen by administrators only.
    Invitation,
    /// What happened.
    Event,
    /// The last owners of each aggregate.
    Tenure,
    /// Numbers of groups.
    Group,
}

impl Table {
    /// All of them, in the order of a dump.
    pub const ALL: [Table; 11] = [
        Table::Cell,
        Table::Member,
        Table::Server,
        Table::Entry,
        Table::Aggregate,
        Table::Fileset,
        Table::Principal,
        Table::Invitation,
        Table::Event,
        Table::Tenure,
        Table::Group,
    ];
}

/// A record of any table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each variant holds the record of its name")]
pub enum Record {
    Cell(Cell),
    Member(Member),
    Server(Server),
    Entry(ServerEntry),
    Aggregate(Aggregate),
    Fileset(Fileset),
    Principal(Principal),
    Invitation(Invitation),
    Event(Event),
    Tenure(Tenure),
    Group(Group),
}

/// What names a record within its table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each variant holds the key of its table")]
pub enum Key {
    Cell,
    Member(u64),
    Server(ServerId),
    Entry(u32),
    Aggregate(AggregateId),
    Fileset(FilesetId),
    Principal(PrincipalName),
    Invitation([u8; 32]),
    Event(u64),
    Tenure(AggregateId, Epoch),
    Group(GroupName),
}

impl Record {
    /// The key of this record.
    pub fn key(&self) -> Key {
        match self {
            Record::Cell(_) => Key::Cell,
            Record::Member(m) => Key::Member(m.number),
            Record::Server(s) => Key::Server(s.id),
            Record::Entry(e) => Key::Entry(e.number),
            Record::Aggregate(a) => Key::Aggregate(a.id),
            Record::Fileset(f) => Key::Fileset(f.id),
            Record::Principal(p) => Key::Principal(p.name.clone()),
            Record::Invitation(i) => Key::Invitation(i.secret_hash),
            Record::Event(e) => Key::Event(e.index),
            Record::Tenure(t) => Key::Tenure(t.aggregate, t.epoch),
            Record::Group(g) => Key::Group(g.name.clone()),
        }
    }
}

impl Key {
    /// The table it is a key of.
    pub fn table(&self) -> Table {
        match self {
            Key::Cell => Table::Cell,
            Key::Member(_) => Table::Member,
            Key::Server(_) => Table::Server,
            Key::Entry(_) => Table::Entry,
            Key::Aggregate(_) => Table::Aggregate,
            Key::Fileset(_) => Table::Fileset,
            Key::Principal(_) => Table::Principal,
            Key::Invitation(_) => Table::Invitation,
            Key::Event(_) => Table::Event,
            Key::Tenure(..) => Table::Tenure,
            Key::Group(_) => Table::Group,
        }
    }
}

/// What one index of the log did to the tables: absolute values, so that hearing it twice does no harm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The index.
    pub index: u64,
    /// Records as they stand now.
    pub put: Vec<Record>,
    /// Records that are no more.
    pub gone: Vec<Key>,
}
