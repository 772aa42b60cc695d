//! Who may do what. Decided where the change is applied, by the same state on every member, so that a
//! right taken away takes effect between one index and the next.
//!
//! `docs/identities.md` has the table. A server entry's owner group is a role for what is on that server alone: whatever
//! is on several servers is for who is in the owner groups of all of them, and what is for the whole cell (ids, quotas
//! of entries, owners) for none.

use baton_types::change::{AggregateRef, Change, FilesetRef, Move, Moving, Who};
use baton_types::record::groups::{CELL_ADMIN, FILESET_ADMIN, FLDB_ADMIN, OPERATOR};
use baton_types::record::{Aggregate, ServerEntry};
use baton_types::{Address, Error, Kind, PrincipalName, Result, ServerId};

use super::Fldb;

/// Says whether `who` may do `change`.
///
/// # Errors
/// `Denied`, naming the caller and the group that would be needed.
pub(crate) fn may(state: &Fldb, who: &Who, change: &Change) -> Result<()> {
    if let Some(name) = who.principal() {
        enabled(state, name)?;
    }
    match change {
        Change::Genesis { .. } => match who {
            Who::Database => Ok(()),
            Who::Nobody | Who::Principal { .. } | Who::Host { .. } => Err(who.denied("only a new cell does this")),
        },
        Change::AnnounceMember { name, .. } => match who {
            Who::Host { name: own, .. } if own.as_host() == Some(name.as_str()) => Ok(()),
            Who::Host { .. } | Who::Nobody | Who::Principal { .. } | Who::Database => Err(who.denied(format!(
                "only member {name} itself says this, under its own certificate"
            ))),
        },
        Change::Judge { .. } => match who {
            Who::Host { name, .. } if state.members.values().any(|m| name.as_host() == Some(m.name.as_str())) => Ok(()),
            Who::Host { .. } | Who::Nobody | Who::Principal { .. } | Who::Database => {
                Err(who.denied("only a member of the location database judges"))
            }
        },
        Change::Move(wish) => allowed(state, who, MOVES, moving(state, wish)),
        Change::SetHeld { aggregate, .. } => allowed(state, who, MOVES, attached(state, known(state, aggregate))),
        Change::SetDrained { server, .. } => allowed(state, who, MOVES, of_server(state, *server)),
        Change::SetDomain { server, .. } => allowed(state, who, MOVES, of_server(state, *server)),
        Change::Prefer { aggregate, .. } => allowed(state, who, MOVES, attached(state, known(state, aggregate))),
        // The secret of the token is the right.
        Change::UseInvitation { .. } => Ok(()),
        Change::RegisterServer { id, .. } => own_server(who, *id),
        Change::ReportAggregate { server, .. }
        | Change::Claim { server, .. }
        | Change::Detach { server, .. }
        | Change::GiveUp { server, .. }
        | Change::Fail { server, .. }
        | Change::Adopt { server, .. }
        | Change::HandOver { server, .. }
        | Change::AbandonMove { server, .. }
        | Change::ReportTakeover { server, .. }
        | Change::ReportFileset { server, .. } => own_server(who, *server),
        // The first aggregate exported in a cell gets its root.
        Change::CreateFileset { name, aggregate, .. } if name.is_root_cell() && owns(state, who, aggregate) => Ok(()),
        Change::SetCell { .. }
        | Change::EditPrincipal { .. }
        | Change::EditGroup { .. }
        | Change::Import(_)
        | Change::Invite { .. }
        | Change::RemoveMember { .. } => allowed(state, who, &[CELL_ADMIN], Vec::new()),
        Change::CreateServerEntry { .. }
        | Change::EditServerEntry { .. }
        | Change::DeleteServerEntry { .. }
        | Change::BookFileset { .. }
        | Change::ReserveFilesetIds { .. }
        | Change::ForgetFileset { .. } => allowed(state, who, ENTRIES, of_books(state, who, change)),
        Change::CreateFileset { server, aggregate, .. } => {
            allowed(state, who, FILESETS, placed(state, server, aggregate))
        }
        Change::DeleteFileset { fileset, .. }
        | Change::RenameFileset { fileset, .. }
        | Change::SetQuota { fileset, .. }
        | Change::LockFileset { fileset }
        | Change::UnlockFileset { fileset } => allowed(state, who, FILESETS, booked(state, who, fileset)),
    }
}

/// Who edits server entries, and entries of filesets without their files.
const ENTRIES: &[&str] = &[FLDB_ADMIN];
/// Who makes, names and locks filesets.
const FILESETS: &[&str] = &[FILESET_ADMIN, FLDB_ADMIN];
/// Who says where aggregates are served.
const MOVES: &[&str] = &[FLDB_ADMIN, OPERATOR];

/// The server entries that a change is about; `None` is one that is not there, and so nobody's.
type Entries<'a> = Vec<Option<&'a ServerEntry>>;

/// Administrators of these groups may, and who is in the owner groups of all the entries that it is about.
fn allowed(state: &Fldb, who: &Who, groups: &[&str], entries: Entries<'_>) -> Result<()> {
    let record = who.principal().and_then(|name| state.principals.get(name));
    who.must_be_in(record, groups, &ServerEntry::owners(entries))
}

/// Where a fileset is booked, and where its aggregates may be served. That there is no such fileset is then said to any
/// owner.
fn booked<'a>(state: &'a Fldb, who: &Who, fileset: &FilesetRef) -> Entries<'a> {
    let Ok(fileset) = state.fileset(fileset) else {
        return vec![own_entry(state, who)];
    };
    let entries = fileset.sites.iter().flat_map(|site| {
        let mut entries = attached(state, state.aggregates.get(&site.aggregate));
        entries.push(state.entries.get(&site.entry));
        entries
    });
    entries.collect()
}

/// The same for a fileset to be.
fn placed<'a>(state: &'a Fldb, server: &Address, aggregate: &AggregateRef) -> Entries<'a> {
    let entry = state.entry_of(server).ok();
    let mut entries = attached(state, known(state, aggregate));
    entries.push(entry.and_then(|entry| state.entries.get(&entry.number)));
    entries
}

/// Those that a change of the database's own books is about; none, if it is about the cell.
fn of_books<'a>(state: &'a Fldb, who: &Who, change: &Change) -> Entries<'a> {
    match change {
        Change::EditServerEntry {
            address,
            principal: None,
            quota: None,
            owner: None,
            ..
        } => vec![state.entry_at(address)],
        Change::BookFileset {
            fileset,
            server,
            aggregate,
            ..
        } if state.is_given_out(*fileset) => {
            let mut entries = placed(state, server, aggregate);
            if state.filesets.get(*fileset).is_some() {
                entries.extend(booked(state, who, &FilesetRef::Id(*fileset)));
            }
            entries
        }
        // Of ids that are given out it changes nothing: it comes with every `fts syncfldb`.
        Change::ReserveFilesetIds { through } if state.is_given_out(*through) => vec![own_entry(state, who)],
        Change::ForgetFileset { fileset } => booked(state, who, fileset),
        // An owner makes himself no quota and no other owner, and uses up no ids of the cell.
        Change::CreateServerEntry { .. }
        | Change::EditServerEntry { .. }
        | Change::DeleteServerEntry { .. }
        | Change::BookFileset { .. }
        | Change::ReserveFilesetIds { .. } => Vec::new(),
        other => unreachable!("{other:?} is no change of the books"),
    }
}

fn known<'a>(state: &'a Fldb, aggregate: &AggregateRef) -> Option<&'a Aggregate> {
    let aggregate = state.aggregate(aggregate).ok()?;
    state.aggregates.get(&aggregate.id)
}

/// Those of all servers that may ever serve an aggregate; one that nobody knows is nobody's.
fn attached<'a>(state: &'a Fldb, aggregate: Option<&'a Aggregate>) -> Entries<'a> {
    let Some(aggregate) = aggregate else {
        return vec![None];
    };
    let servers = aggregate.attached.iter();
    servers.flat_map(|server| of_server(state, *server)).collect()
}

/// Those of all that a move may come from or go to.
fn moving<'a>(state: &'a Fldb, wish: &Move) -> Entries<'a> {
    match &wish.what {
        Moving::Aggregates(list) => list.iter().flat_map(|one| attached(state, known(state, one))).collect(),
        Moving::Server(server) => {
            let owned = state
                .aggregates
                .values()
                .filter(|aggregate| aggregate.owner == Some(*server));
            let all = owned.flat_map(|aggregate| attached(state, Some(aggregate)));
            of_server(state, *server).into_iter().chain(all).collect()
        }
    }
}

/// A server that is under no entry is nobody's.
fn of_server(state: &Fldb, server: ServerId) -> Entries<'_> {
    let Some(server) = state.servers.get(&server) else {
        return vec![None];
    };
    let is_own = |entry: &&ServerEntry| entry.is_of(&server.name, &server.addresses);
    let entries = server.addresses.iter().filter_map(|address| state.entry_at(address));
    let entries: Entries<'_> = entries.filter(is_own).map(Some).collect();
    if entries.is_empty() { vec![None] } else { entries }
}

/// Any entry whose owner group `who` is in.
fn own_entry<'a>(state: &'a Fldb, who: &Who) -> Option<&'a ServerEntry> {
    let own = state.groups(who);
    let is_own = |entry: &&ServerEntry| entry.owner.as_ref().is_some_and(|owner| own.contains(owner));
    state.entries.values().find(is_own)
}

/// True if `who` is in the group of administrators of the whole cell.
pub(crate) fn is_administrator(state: &Fldb, who: &Who) -> bool {
    allowed(state, who, &[CELL_ADMIN], Vec::new()).is_ok()
}

fn enabled(state: &Fldb, name: &PrincipalName) -> Result<()> {
    match state.principals.get(name) {
        Some(principal) if principal.disabled => {
            Err(Error::new(Kind::Denied, format!("principal {name}")).because("it is disabled"))
        }
        Some(_) | None => Ok(()),
    }
}

/// True if `who` is the server that owns the aggregate.
fn owns(state: &Fldb, who: &Who, aggregate: &AggregateRef) -> bool {
    let owner = state.aggregate(aggregate).ok().and_then(|aggregate| aggregate.owner);
    matches!((who, owner), (Who::Host { server: Some(own), .. }, Some(owner)) if *own == owner)
}

/// A machine speaks for the server in its own certificate, and for no other.
fn own_server(who: &Who, id: ServerId) -> Result<()> {
    match who {
        Who::Host { server: Some(own), .. } if *own == id => Ok(()),
        Who::Host { .. } | Who::Nobody | Who::Principal { .. } | Who::Database => {
            Err(who.denied(format!("only server {id} itself says this, under its own certificate")))
        }
    }
}
