//! The state of the location database: a value.
//!
//! Every member applies the same changes in the same order and so holds the same value. It knows no
//! clock, no disk, no network: what it needs of the date comes with the change. Its maps share
//! structure, so a copy costs nothing: readers, snapshots and a change that fails half-way all rest on that.
//!
//! | file | is |
//! |---|---|
//! | `state/apply.rs` | a committed change: once only, whole or not at all |
//! | `state/draft.rs` | a change under way: the copy it works on, and what it has touched |
//! | `state/right.rs` | who may do what |
//! | `state/{cell,registry,entries,aggregates,filesets}.rs` | what each change does |
//! | `state/import.rs` | numbers of groups, and many people at once |
//! | `state/books.rs` | entries after what is on the disks, and without them |
//! | `state/owners.rs` | the changes of owners: claims, moves, judgements |
//! | `state/seized.rs` | owners that nobody granted |
//! | `state/whereabouts.rs` | where aggregates are to be: drained, preferred, failure domains |
//! | `state/plan.rs` | who would go where |
//! | `state/table.rs`, `state/packed.rs` | the filesets, of which there may be a million |
//! | `state/query.rs` | questions |
//! | `state/dump.rs` | the whole value as bytes, for Raft's snapshots and for backups |
//! | `state/restored.rs` | the value out of a backup |

mod aggregates;
mod apply;
mod books;
mod cell;
mod draft;
mod dump;
mod entries;
mod filesets;
mod held;
mod import;
mod owners;
mod packed;
mod plan;
mod query;
mod registry;
mod restored;
mod right;
mod seized;
mod table;
#[cfg(test)]
mod tests;
mod whereabouts;

use baton_types::change::ChangeSession;
use baton_types::limits::{CHANGE_SESSIONS_MAX, EVENTS_MAX};
use baton_types::record::{
    Aggregate, Cell, Event, Group, Invitation, Member, Principal, Record, Server, ServerEntry, Tenure,
};
use baton_types::{Address, AggregateId, AggregateName, EntryName, Epoch, GroupName, PrincipalName, Result, ServerId};
use rpds::RedBlackTreeMapSync as Map;

use table::Filesets;

pub use apply::{Action, Committed};
pub(crate) use draft::one_line;
pub use query::{Filter, Location, Scan};
pub use restored::Restoration;
pub(crate) use right::is_administrator;

/// What a change gave back: the record as it stands after it, or none if it is gone.
pub type Outcome = Result<Option<Record>>;

/// The last answer of a session of changes.
#[derive(Clone, Debug, PartialEq)]
struct Answered {
    sequence: u32,
    index: u64,
    outcome: Outcome,
}

/// Counted up and never down.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Counters {
    fileset: u64,
    entry: u32,
    aggregate: u32,
    member: u64,
    principal: u32,
}

/// An index that is remembered beside the value and is no part of it: a member that came by a snapshot has another.
#[derive(Clone, Copy, Debug, Default)]
struct Moment(u64);

impl PartialEq for Moment {
    fn eq(&self, _: &Moment) -> bool {
        true
    }
}

/// How much of the past is kept. Part of how changes are done: the same on every member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Sessions whose last answer is remembered.
    pub sessions: usize,
    /// Events.
    pub events: usize,
}

impl Default for Kept {
    fn default() -> Kept {
        Kept {
            sessions: CHANGE_SESSIONS_MAX,
            events: EVENTS_MAX,
        }
    }
}

/// The location database as of one index of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Fldb {
    applied: u64,
    next: Counters,
    cell: Option<Cell>,
    members: Map<u64, Member>,
    servers: Map<ServerId, Server>,
    server_names: Map<EntryName, ServerId>,
    entries: Map<u32, ServerEntry>,
    entry_addresses: Map<Address, u32>,
    aggregates: Map<AggregateId, Aggregate>,
    aggregate_names: Map<AggregateName, AggregateId>,
    aggregate_numbers: Map<u32, AggregateId>,
    /// When servers and aggregates changed last: whoever goes through all of them need not do so again before that.
    owners_changed: Moment,
    /// The aggregates of each owner, in the order of their numbers.
    owned: Map<(ServerId, u32), AggregateId>,
    filesets: Filesets,
    principals: Map<PrincipalName, Principal>,
    principal_ids: Map<u32, PrincipalName>,
    groups: Map<GroupName, Group>,
    group_ids: Map<u32, GroupName>,
    invitations: Map<[u8; 32], Invitation>,
    events: Map<u64, Event>,
    tenures: Map<(AggregateId, Epoch), Tenure>,
    sessions: Map<ChangeSession, Answered>,
    /// Sessions by the index of their last change: the first is the next to be forgotten.
    session_order: Map<u64, ChangeSession>,
    /// Sessions last used at or before this index may have been forgotten.
    horizon: u64,
    kept: Kept,
}

impl Fldb {
    /// The same, but for how much it keeps of what comes: a test need not make thousands of changes to see
    /// the first forgotten.
    #[must_use]
    pub fn keeping(self, kept: Kept) -> Fldb {
        Fldb { kept, ..self }
    }

    /// A record of an aggregate with its indexes; what they say of the record before it is gone already.
    fn enter_aggregate(&mut self, aggregate: Aggregate) {
        let (id, number) = (aggregate.id, aggregate.number);
        self.aggregate_names.insert_mut(aggregate.name.clone(), id);
        self.aggregate_numbers.insert_mut(number, id);
        if let Some(owner) = aggregate.owner {
            self.owned.insert_mut((owner, number), id);
        }
        self.aggregates.insert_mut(id, aggregate);
    }
}

impl Default for Fldb {
    fn default() -> Fldb {
        Fldb {
            applied: 0,
            next: Counters {
                fileset: 1,
                entry: 1,
                aggregate: 1,
                member: 1,
                principal: 1_000,
            },
            cell: None,
            members: Map::default(),
            servers: Map::default(),
            server_names: Map::default(),
            entries: Map::default(),
            entry_addresses: Map::default(),
            aggregates: Map::default(),
            aggregate_names: Map::default(),
            aggregate_numbers: Map::default(),
            owned: Map::default(),
            owners_changed: Moment::default(),
            filesets: Filesets::default(),
            principals: Map::default(),
            principal_ids: Map::default(),
            groups: Map::default(),
            group_ids: Map::default(),
            invitations: Map::default(),
            events: Map::default(),
            tenures: Map::default(),
            sessions: Map::default(),
            session_order: Map::default(),
            horizon: 0,
            kept: Kept::default(),
        }
    }
}
