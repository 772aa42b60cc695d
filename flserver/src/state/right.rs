//! Who may do what. Decided where the change is applied, by the same state on every member, so that a
//! right taken away takes effect between one index and the next.

use baton_types::change::{AggregateRef, Change, Who};
use baton_types::record::groups::{CELL_ADMIN, FILESET_ADMIN, FLDB_ADMIN, OPERATOR};
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
        Change::Move(_) | Change::SetDrained { .. } | Change::SetHeld { .. } => {
            member_of(state, who, &[FLDB_ADMIN, OPERATOR])
        }
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
        | Change::RemoveMember { .. } => member_of(state, who, &[CELL_ADMIN]),
        Change::CreateServerEntry { .. }
        | Change::BookFileset { .. }
        | Change::ReserveFilesetIds { .. }
        | Change::ForgetFileset { .. } => member_of(state, who, &[FLDB_ADMIN]),
        Change::EditServerEntry { address, .. } | Change::DeleteServerEntry { address } => {
            let owner = entry_owner(state, address);
            match owner {
                Some(group) => member_of(state, who, &[FLDB_ADMIN, &group]),
                None => member_of(state, who, &[FLDB_ADMIN]),
            }
        }
        Change::CreateFileset { .. }
        | Change::DeleteFileset { .. }
        | Change::RenameFileset { .. }
        | Change::SetQuota { .. }
        | Change::LockFileset { .. }
        | Change::UnlockFileset { .. } => member_of(state, who, &[FILESET_ADMIN, FLDB_ADMIN]),
    }
}

/// True if `who` is in the group of administrators of the whole cell.
pub(crate) fn is_administrator(state: &Fldb, who: &Who) -> bool {
    member_of(state, who, &[CELL_ADMIN]).is_ok()
}

fn entry_owner(state: &Fldb, address: &Address) -> Option<String> {
    let number = state.entry_addresses.get(address)?;
    state.entries.get(number)?.owner.as_ref().map(ToString::to_string)
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

fn member_of(state: &Fldb, who: &Who, groups: &[&str]) -> Result<()> {
    who.must_be_in(who.principal().and_then(|name| state.principals.get(name)), groups)
}
