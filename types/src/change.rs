//! What can be done to the location database, and on whose behalf.

mod import;
mod proposal;

use serde::{Deserialize, Serialize};

use crate::record::{InvitationKind, ServerState, TimeLine, VersionState};
use crate::{
    Address, AggregateId, AggregateName, CellId, CellName, EntryName, Epoch, FilesetId, FilesetName, GroupName,
    Incarnation, PrincipalName, ServerId,
};

pub use import::{Import, ImportedPerson};
pub use proposal::{ChangeSession, Proposal, Who};

/// A fileset as a person names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FilesetRef {
    /// By any of its three ids.
    Id(FilesetId),
    /// By name.
    Name(FilesetName),
}

/// An aggregate as a person names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AggregateRef {
    /// By the number the database gave it.
    Number(u32),
    /// By name.
    Name(AggregateName),
}

/// What happens to an entry's addresses; the address that found the entry is the one meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AddressEdit {
    /// One more.
    Add(Address),
    /// This one instead.
    ChangeTo(Address),
    /// One less.
    Remove,
}

/// What happens to an entry's owner group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OwnerEdit {
    /// This group.
    Set(GroupName),
    /// None.
    Clear,
}

/// Whether the owner of an aggregate has a say in its going.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Takeover {
    /// It is asked, and hands over everything its clients hold: nobody notices more than a pause.
    #[default]
    Planned,
    /// It is not asked, and fenced by the new epoch.
    Forced,
}

/// Which aggregates are to move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Moving {
    /// These.
    Aggregates(Vec<AggregateRef>),
    /// All that this server owns.
    Server(ServerId),
}

/// An aggregate that changes hands, or the wish that it does: all that a plan of moves is made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// What.
    pub what: Moving,
    /// To whom; `None` chooses for each the first of those attached that is fit.
    pub to: Option<ServerId>,
    /// Whether the owner is asked.
    pub takeover: Takeover,
}

/// What the arbiter holds of one run of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Of whom.
    pub server: ServerId,
    /// Of which run: a newer one has nothing to do with it.
    pub incarnation: Incarnation,
    /// What.
    pub state: ServerState,
    /// On what evidence, in one line for people.
    pub evidence: String,
}

/// An aggregate that the arbiter gives to another server, or to another run of the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// What.
    pub aggregate: AggregateId,
    /// As the arbiter knew it; if it moved since, this grant is passed over.
    pub from: Epoch,
    /// To whom.
    pub to: ServerId,
    /// To which run of it; if it is another by now, this grant is passed over.
    pub run: Incarnation,
    /// The newest epoch that was seen on the disk.
    pub disk: Epoch,
}

/// An aggregate whose living owner the arbiter asks to hand it over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// What.
    pub aggregate: AggregateId,
    /// As the arbiter knew it; if it moved since, nobody is asked.
    pub from: Epoch,
    /// To whom.
    pub to: ServerId,
}

/// An aggregate as one party knows it: whatever has another epoch by now is passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Which.
    pub aggregate: AggregateId,
    /// Under which it is held.
    pub epoch: Epoch,
}

/// One change of the location database; applied by every member in the order of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// `fts crserverentry`.
    CreateServerEntry {
        /// Its first address; the entry's name comes from it.
        address: Address,
        /// Must be in the registry.
        principal: PrincipalName,
        /// Most fileset versions; 0 is no limit.
        quota: u32,
        /// Who administrates what is on it, besides administrators.
        owner: Option<GroupName>,
    },
    /// `fts edserverentry`.
    EditServerEntry {
        /// Finds the entry, and nothing else does.
        address: Address,
        /// What to do with that address.
        addresses: Option<AddressEdit>,
        /// Must be in the registry.
        principal: Option<PrincipalName>,
        /// 0 is no limit.
        quota: Option<u32>,
        /// Who administrates what is on it, besides administrators.
        owner: Option<OwnerEdit>,
    },
    /// `fts delserverentry`.
    DeleteServerEntry {
        /// Any of its addresses.
        address: Address,
    },
    /// `fts create`, the database's half: ids and a site, all versions invalid.
    CreateFileset {
        /// Unique in the cell.
        name: FilesetName,
        /// A server's name or an entry's address.
        server: Address,
        /// Attached to that server.
        aggregate: AggregateRef,
        /// 0 is no limit.
        quota_bytes: u64,
    },
    /// `fts delete`, the database's half.
    DeleteFileset {
        /// Its RW version goes.
        fileset: FilesetRef,
        /// Must be where it is.
        server: Address,
        /// Must be where it is.
        aggregate: AggregateRef,
    },
    /// `fts rename`.
    RenameFileset {
        /// Which.
        fileset: FilesetRef,
        /// Its new name.
        name: FilesetName,
    },
    /// `fts setquota`, the database's half.
    SetQuota {
        /// Which.
        fileset: FilesetRef,
        /// Bytes that it may hold, if that changes; 0 is no limit.
        bytes: Option<u64>,
        /// Files that it may hold, if that changes; 0 is no limit.
        files: Option<u64>,
    },
    /// `fts lock`.
    LockFileset {
        /// Which.
        fileset: FilesetRef,
    },
    /// `fts unlock`.
    UnlockFileset {
        /// Which.
        fileset: FilesetRef,
    },
    /// `fts syncfldb`: a fileset whose header is on an aggregate has an entry that says what the header says. What an
    /// owner has not said is there stays *invalid*.
    BookFileset {
        /// Its RW id.
        fileset: FilesetId,
        /// As in its header.
        name: FilesetName,
        /// A server's name or an entry's address.
        server: Address,
        /// Attached to that server.
        aggregate: AggregateRef,
        /// As in its header; 0 is no limit.
        quota_bytes: u64,
        /// The same.
        quota_files: u64,
    },
    /// `fts syncfldb`: ids up to the three of this one are on disks, and nothing new gets them.
    ReserveFilesetIds {
        /// An RW id.
        through: FilesetId,
    },
    /// `fts delfldbentry`: an entry goes, whatever is on disks.
    ForgetFileset {
        /// Which.
        fileset: FilesetRef,
    },
    /// A file server says that it runs; under its own certificate only.
    RegisterServer {
        /// As in its certificate.
        id: ServerId,
        /// As in its certificate.
        name: EntryName,
        /// Best first.
        addresses: Vec<Address>,
        /// This run of it.
        incarnation: Incarnation,
        /// It sends beats to every member from now on.
        beats: bool,
    },
    /// A file server says that it sees an aggregate's label; under its own certificate only.
    ReportAggregate {
        /// Who sees it.
        server: ServerId,
        /// From the label.
        id: AggregateId,
        /// From the label.
        name: AggregateName,
    },
    /// A file server asks for an aggregate; under its own certificate only.
    Claim {
        /// Which.
        aggregate: AggregateId,
        /// For whom.
        server: ServerId,
        /// The run that asks: an epoch is used by one run only.
        incarnation: Incarnation,
        /// The newest epoch on the disk; the grant is above it and above every earlier grant.
        disk_epoch: Epoch,
        /// Whether a living owner keeps it.
        takeover: Takeover,
    },
    /// The owner gives an aggregate up; under its own certificate only.
    Detach {
        /// Which.
        aggregate: AggregateId,
        /// The owner.
        server: ServerId,
        /// Under which it owned it: a late word of an older epoch changes nothing.
        epoch: Epoch,
    },
    /// The owner cannot serve an aggregate any more, because of its port, its disk or what is on it; under its own
    /// certificate only. Whoever is fit is to take it.
    GiveUp {
        /// Which.
        aggregate: AggregateId,
        /// The owner.
        server: ServerId,
        /// Under which it owned it.
        epoch: Epoch,
        /// In one line for people.
        why: String,
    },
    /// A server cannot go on with an aggregate because of what is on its disk, or ended when it tried; under its own
    /// certificate only. If it owns it, it has given it up; the second time within an hour it is held.
    Fail {
        /// Which.
        aggregate: AggregateId,
        /// Who.
        server: ServerId,
        /// Under which it owned it.
        epoch: Epoch,
        /// In one line for people.
        why: String,
    },
    /// A server owns what it took by itself when nobody was there to grant it (`dfsexport -seize`); under its own
    /// certificate only. Its epoch is of a later era than any that was granted.
    Adopt {
        /// Which.
        aggregate: AggregateId,
        /// Who.
        server: ServerId,
        /// Which run of it.
        incarnation: Incarnation,
        /// Under which it owns it.
        epoch: Epoch,
    },
    /// `fts hold`, `fts unhold`.
    SetHeld {
        /// Which.
        aggregate: AggregateRef,
        /// Why, in one line for people; `None` if it is held no more.
        why: Option<String>,
    },
    /// What the arbiter decides, all of it or, row by row, what still fits; by a member only.
    Judge {
        /// Servers whose state changes.
        verdicts: Vec<Verdict>,
        /// Aggregates that get a new owner.
        grants: Vec<Grant>,
        /// Aggregates whose owner is to hand them over.
        asks: Vec<Ask>,
        /// How long nothing had been heard of whom it is about, in microseconds.
        silent_micros: u64,
        /// In one line for people.
        reason: String,
    },
    /// `fts failover`: owners are asked to hand over, or the aggregates are granted to others at once. All of it or nothing.
    Move(Move),
    /// The owner has frozen, written and detached aggregates that are draining: their targets own them from here on;
    /// under its own certificate only. What is not draining under its epoch any more is passed over.
    HandOver {
        /// The owner.
        server: ServerId,
        /// All that it hands over at once.
        rows: Vec<Held>,
    },
    /// The owner could not hand over, and serves on; under its own certificate only.
    AbandonMove {
        /// The owner.
        server: ServerId,
        /// What it keeps.
        rows: Vec<Held>,
        /// In one line for people.
        why: String,
    },
    /// `fts drain`, `fts undrain`: whether a server may be given anything.
    SetDrained {
        /// Which.
        server: ServerId,
        /// Nothing more.
        drained: bool,
    },
    /// `fts setdomain`: what a server fails together with.
    SetDomain {
        /// Which server.
        server: ServerId,
        /// A rack, a room, a power line; `None` if it shares nothing.
        domain: Option<EntryName>,
    },
    /// `fts prefer`: the server that an aggregate goes to before all others.
    Prefer {
        /// Which.
        aggregate: AggregateRef,
        /// Attached to it.
        server: ServerId,
    },
    /// A new owner's last fileset has left grace; under its own certificate only.
    ReportTakeover {
        /// The owner.
        server: ServerId,
        /// Of what.
        aggregate: AggregateId,
        /// Under which epoch.
        epoch: Epoch,
        /// What it took.
        time_line: TimeLine,
    },
    /// The owner of an aggregate says whether a version of a fileset is on it; under its own certificate only.
    ReportFileset {
        /// The owner.
        server: ServerId,
        /// Where it is booked.
        aggregate: AggregateId,
        /// Under which the aggregate is owned: a late word of an older epoch changes nothing.
        epoch: Epoch,
        /// The RW id, or the backup id.
        fileset: FilesetId,
        /// Whether that version is there.
        state: VersionState,
    },
    /// `fts cell set`.
    SetCell {
        /// Which setting.
        key: String,
        /// As typed.
        value: String,
    },
    /// Makes or edits a record of the registry.
    EditPrincipal {
        /// Who.
        name: PrincipalName,
        /// Make it, with this uid or the next free one; else it must be there.
        create: Option<Option<u32>>,
        /// All its groups; the primary one is none any more if it is not among them.
        groups: Option<Vec<GroupName>>,
        /// One of its groups.
        primary: Option<GroupName>,
        /// Refuse it.
        disabled: Option<bool>,
        /// For machines.
        may_assert_users: Option<bool>,
        /// For machines.
        may_assert_root: Option<bool>,
    },
    /// Gives a group a number, or takes it away.
    EditGroup {
        /// Which.
        name: GroupName,
        /// Its gid; `None`: it has none any more.
        id: Option<u32>,
    },
    /// `baton cell import`: many people and groups at once. All of it or nothing.
    Import(Import),
    /// Gives out a token.
    Invite {
        /// blake3 of its secret.
        secret_hash: [u8; 32],
        /// For what.
        kind: InvitationKind,
        /// For whom; the record is made when the token is used.
        principal: PrincipalName,
        /// A person's uid; `None` draws the next free one.
        id: Option<u32>,
        /// A person's groups.
        groups: Vec<GroupName>,
    },
    /// A token comes back with a key to certify.
    UseInvitation {
        /// blake3 of the secret shown.
        secret_hash: [u8; 32],
        /// blake3 of the public key: the same key may come again, no other.
        public_key_hash: [u8; 32],
        /// Where a new member will listen.
        addresses: Vec<Address>,
    },
    /// A member says where it listens and whether it can issue certificates; under its own certificate only.
    AnnounceMember {
        /// Which.
        name: EntryName,
        /// Where it listens.
        addresses: Vec<Address>,
        /// It holds the authority's key.
        issuer: bool,
    },
    /// A member leaves the location database.
    RemoveMember {
        /// Which.
        name: EntryName,
    },
    /// The first change of every cell.
    Genesis {
        /// Drawn at its making.
        cell_id: CellId,
        /// Its name.
        cell: CellName,
        /// Who made it.
        administrator: PrincipalName,
        /// The administrator's uid.
        administrator_id: u32,
        /// The first member.
        member: EntryName,
        /// Where that listens.
        addresses: Vec<Address>,
    },
}
