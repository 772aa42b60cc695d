//! Changes between their typed form and the wire.
//!
//! | file | is |
//! |---|---|
//! | `change/filesets.rs` | changes of filesets |
//! | `change/owners.rs` | changes of owners: what the arbiter, owners and administrators say of them |
//! | `change/registry.rs` | changes of the registry |
//! | `change/proposal.rs` | who proposes a change, and under which name it is done once |

mod filesets;
mod owners;
mod proposal;
mod registry;

use baton_types::change::{AddressEdit, AggregateRef, Change, FilesetRef, OwnerEdit, Takeover};
pub use baton_types::change::{Proposal, Who};
use baton_types::limits::ADDRESSES_MAX;
use baton_types::{
    Address, AggregateId, AggregateName, EntryName, Epoch, Error, FilesetId, FilesetName, GroupName, Incarnation,
    PrincipalName, Result, ServerId,
};
use v1::change::Change as Wire;

use crate::v1;
use crate::wire::{FromWire, bytes, bytes_list, free_text, missing};

/// A fileset by name or id; what is all digits and commas is an id.
impl FromWire for FilesetRef {
    fn from_wire(text: &[u8]) -> Result<FilesetRef> {
        let is_id = !text.is_empty() && text.iter().all(|b| b.is_ascii_digit() || *b == b',');
        match std::str::from_utf8(text) {
            Ok(text) if is_id => Ok(FilesetRef::Id(text.parse()?)),
            _ => Ok(FilesetRef::Name(FilesetName::from_wire(text)?)),
        }
    }
}

/// An aggregate by name or number; what is all digits is a number.
impl FromWire for AggregateRef {
    fn from_wire(text: &[u8]) -> Result<AggregateRef> {
        let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        match number {
            Some(number) => Ok(AggregateRef::Number(number)),
            None => Ok(AggregateRef::Name(AggregateName::from_wire(text)?)),
        }
    }
}

fn fileset_bytes(fileset: FilesetRef) -> Vec<u8> {
    match fileset {
        FilesetRef::Id(id) => bytes(id),
        FilesetRef::Name(name) => bytes(name),
    }
}

fn aggregate_bytes(aggregate: AggregateRef) -> Vec<u8> {
    match aggregate {
        AggregateRef::Number(number) => bytes(number),
        AggregateRef::Name(name) => bytes(name),
    }
}

impl From<Change> for v1::Change {
    #[expect(clippy::too_many_lines, reason = "one arm for each change, and nothing else")]
    fn from(change: Change) -> v1::Change {
        let change = match change {
            Change::CreateServerEntry {
                address,
                principal,
                quota,
                owner,
            } => Wire::CreateServerEntry(v1::CreateServerEntry {
                address: bytes(address),
                principal: bytes(principal),
                quota,
                owner: owner.map(bytes).unwrap_or_default(),
            }),
            Change::EditServerEntry {
                address,
                addresses,
                principal,
                quota,
                owner,
            } => Wire::EditServerEntry(v1::EditServerEntry {
                address: bytes(address),
                addresses: addresses.map(address_edit),
                principal: principal.map(bytes).unwrap_or_default(),
                quota_edit: quota.map(v1::edit_server_entry::QuotaEdit::Quota),
                owner_edit: owner.map(owner_edit),
            }),
            Change::DeleteServerEntry { address } => Wire::DeleteServerEntry(v1::DeleteServerEntry {
                address: bytes(address),
            }),
            filesets @ (Change::CreateFileset { .. }
            | Change::DeleteFileset { .. }
            | Change::RenameFileset { .. }
            | Change::SetQuota { .. }
            | Change::LockFileset { .. }
            | Change::UnlockFileset { .. }
            | Change::BookFileset { .. }
            | Change::ReserveFilesetIds { .. }
            | Change::ForgetFileset { .. }
            | Change::ReportFileset { .. }) => filesets::to_wire(filesets),
            Change::RegisterServer {
                id,
                name,
                addresses,
                incarnation,
                beats,
            } => Wire::RegisterServer(v1::RegisterServer {
                id: id.0.as_bytes().to_vec(),
                name: bytes(name),
                addresses: bytes_list(addresses),
                incarnation: incarnation.0.as_bytes().to_vec(),
                beats,
            }),
            Change::ReportAggregate { server, id, name } => Wire::ReportAggregate(v1::ReportAggregate {
                server: server.0.as_bytes().to_vec(),
                id: id.0.as_bytes().to_vec(),
                name: bytes(name),
            }),
            Change::Claim {
                aggregate,
                server,
                incarnation,
                disk_epoch,
                takeover,
            } => Wire::Claim(v1::Claim {
                aggregate: aggregate.0.as_bytes().to_vec(),
                server: server.0.as_bytes().to_vec(),
                incarnation: incarnation.0.as_bytes().to_vec(),
                disk_epoch: disk_epoch.0,
                takeover: takeover == Takeover::Forced,
            }),
            Change::Detach {
                aggregate,
                server,
                epoch,
            } => Wire::Detach(v1::Detach {
                aggregate: aggregate.0.as_bytes().to_vec(),
                server: server.0.as_bytes().to_vec(),
                epoch: epoch.0,
            }),
            Change::Move(wish) => Wire::Move(wish.into()),
            owners @ (Change::GiveUp { .. }
            | Change::Fail { .. }
            | Change::Adopt { .. }
            | Change::SetHeld { .. }
            | Change::Judge { .. }
            | Change::HandOver { .. }
            | Change::AbandonMove { .. }
            | Change::ReportTakeover { .. }) => owners::to_wire(owners),
            wish @ (Change::SetDrained { .. } | Change::SetDomain { .. } | Change::Prefer { .. }) => {
                owners::whereabouts_to_wire(wish)
            }
            Change::SetCell { key, value } => Wire::SetCell(v1::SetCell { key, value }),
            registry @ (Change::EditPrincipal { .. }
            | Change::EditGroup { .. }
            | Change::Import(_)
            | Change::Invite { .. }) => registry::to_wire(registry),
            Change::UseInvitation {
                secret_hash,
                public_key_hash,
                addresses,
            } => Wire::UseInvitation(v1::UseInvitation {
                secret_hash: secret_hash.to_vec(),
                public_key_hash: public_key_hash.to_vec(),
                addresses: bytes_list(addresses),
            }),
            Change::AnnounceMember {
                name,
                addresses,
                issuer,
            } => Wire::AnnounceMember(v1::AnnounceMember {
                name: bytes(name),
                addresses: bytes_list(addresses),
                issuer,
            }),
            Change::RemoveMember { name } => Wire::RemoveMember(v1::RemoveMember { name: bytes(name) }),
            Change::Genesis {
                cell_id,
                cell,
                administrator,
                administrator_id,
                member,
                addresses,
            } => Wire::Genesis(v1::Genesis {
                cell_id: cell_id.0.as_bytes().to_vec(),
                cell: bytes(cell),
                administrator: bytes(administrator),
                administrator_id,
                member: bytes(member),
                addresses: bytes_list(addresses),
            }),
        };
        v1::Change { change: Some(change) }
    }
}

fn address_edit(edit: AddressEdit) -> v1::edit_server_entry::Addresses {
    match edit {
        AddressEdit::Add(address) => v1::edit_server_entry::Addresses::Add(bytes(address)),
        AddressEdit::ChangeTo(address) => v1::edit_server_entry::Addresses::ChangeTo(bytes(address)),
        AddressEdit::Remove => v1::edit_server_entry::Addresses::Remove(true),
    }
}

fn owner_edit(edit: OwnerEdit) -> v1::edit_server_entry::OwnerEdit {
    match edit {
        OwnerEdit::Set(group) => v1::edit_server_entry::OwnerEdit::Owner(bytes(group)),
        OwnerEdit::Clear => v1::edit_server_entry::OwnerEdit::NoOwner(true),
    }
}

impl TryFrom<v1::Change> for Change {
    type Error = Error;

    #[expect(clippy::too_many_lines, reason = "one arm for each change, and nothing else")]
    fn try_from(change: v1::Change) -> Result<Change> {
        Ok(match change.change.ok_or_else(|| missing("change"))? {
            Wire::CreateServerEntry(c) => Change::CreateServerEntry {
                address: Address::from_wire(&c.address)?,
                principal: PrincipalName::from_wire(&c.principal)?,
                quota: c.quota,
                owner: GroupName::optional(&c.owner)?,
            },
            Wire::EditServerEntry(c) => edit_server_entry(c)?,
            Wire::DeleteServerEntry(c) => Change::DeleteServerEntry {
                address: Address::from_wire(&c.address)?,
            },
            Wire::CreateFileset(c) => filesets::create(c)?,
            Wire::DeleteFileset(c) => filesets::delete(c)?,
            Wire::RenameFileset(c) => filesets::rename(c)?,
            Wire::SetQuota(c) => filesets::set_quota(c)?,
            Wire::LockFileset(c) => Change::LockFileset {
                fileset: FilesetRef::from_wire(&c.fileset)?,
            },
            Wire::UnlockFileset(c) => Change::UnlockFileset {
                fileset: FilesetRef::from_wire(&c.fileset)?,
            },
            Wire::BookFileset(c) => filesets::book(c)?,
            Wire::ReserveFilesetIds(c) => Change::ReserveFilesetIds {
                through: FilesetId(c.through),
            },
            Wire::ForgetFileset(c) => Change::ForgetFileset {
                fileset: FilesetRef::from_wire(&c.fileset)?,
            },
            Wire::RegisterServer(c) => Change::RegisterServer {
                id: ServerId::from_wire(&c.id)?,
                name: EntryName::from_wire(&c.name)?,
                addresses: Address::list(&c.addresses, ADDRESSES_MAX, "addresses")?,
                incarnation: Incarnation::from_wire(&c.incarnation)?,
                beats: c.beats,
            },
            Wire::ReportAggregate(c) => Change::ReportAggregate {
                server: ServerId::from_wire(&c.server)?,
                id: AggregateId::from_wire(&c.id)?,
                name: AggregateName::from_wire(&c.name)?,
            },
            Wire::Claim(c) => Change::Claim {
                aggregate: AggregateId::from_wire(&c.aggregate)?,
                server: ServerId::from_wire(&c.server)?,
                incarnation: Incarnation::from_wire(&c.incarnation)?,
                disk_epoch: Epoch(c.disk_epoch),
                takeover: owners::takeover(c.takeover),
            },
            Wire::Detach(c) => Change::Detach {
                aggregate: AggregateId::from_wire(&c.aggregate)?,
                server: ServerId::from_wire(&c.server)?,
                epoch: Epoch(c.epoch),
            },
            Wire::ReportFileset(c) => filesets::report(c)?,
            Wire::Move(c) => Change::Move(c.try_into()?),
            Wire::GiveUp(c) => owners::give_up(c)?,
            Wire::Fail(c) => owners::fail(c)?,
            Wire::Adopt(c) => owners::adopt(&c)?,
            Wire::SetHeld(c) => owners::set_held(c)?,
            Wire::Judge(c) => owners::judge(c)?,
            Wire::HandOver(c) => owners::hand_over(&c)?,
            Wire::AbandonMove(c) => owners::abandon_move(c)?,
            Wire::SetDrained(c) => Change::SetDrained {
                server: ServerId::from_wire(&c.server)?,
                drained: c.drained,
            },
            Wire::SetDomain(c) => Change::SetDomain {
                server: ServerId::from_wire(&c.server)?,
                domain: EntryName::optional(&c.domain)?,
            },
            Wire::Prefer(c) => Change::Prefer {
                aggregate: AggregateRef::from_wire(&c.aggregate)?,
                server: ServerId::from_wire(&c.server)?,
            },
            Wire::ReportTakeover(c) => owners::report_takeover(&c)?,
            Wire::SetCell(c) => Change::SetCell {
                key: free_text(c.key, "setting")?,
                value: free_text(c.value, "value")?,
            },
            Wire::EditPrincipal(c) => registry::edit_principal(c)?,
            Wire::EditGroup(c) => registry::edit_group(&c)?,
            Wire::Import(c) => registry::import(&c)?,
            Wire::Invite(c) => registry::invite(&c)?,
            Wire::UseInvitation(c) => Change::UseInvitation {
                secret_hash: FromWire::from_wire(&c.secret_hash)?,
                public_key_hash: FromWire::from_wire(&c.public_key_hash)?,
                addresses: Address::list(&c.addresses, ADDRESSES_MAX, "addresses")?,
            },
            Wire::AnnounceMember(c) => Change::AnnounceMember {
                name: EntryName::from_wire(&c.name)?,
                addresses: Address::list(&c.addresses, ADDRESSES_MAX, "addresses")?,
                issuer: c.issuer,
            },
            Wire::RemoveMember(c) => Change::RemoveMember {
                name: EntryName::from_wire(&c.name)?,
            },
            Wire::Genesis(c) => Change::Genesis {
                cell_id: FromWire::from_wire(&c.cell_id)?,
                cell: FromWire::from_wire(&c.cell)?,
                administrator: PrincipalName::from_wire(&c.administrator)?,
                administrator_id: c.administrator_id,
                member: EntryName::from_wire(&c.member)?,
                addresses: Address::list(&c.addresses, ADDRESSES_MAX, "addresses")?,
            },
        })
    }
}

fn edit_server_entry(c: v1::EditServerEntry) -> Result<Change> {
    use v1::edit_server_entry as wire;
    let addresses = match c.addresses {
        None => None,
        Some(wire::Addresses::Add(address)) => Some(AddressEdit::Add(Address::from_wire(&address)?)),
        Some(wire::Addresses::ChangeTo(address)) => Some(AddressEdit::ChangeTo(Address::from_wire(&address)?)),
        Some(wire::Addresses::Remove(_)) => Some(AddressEdit::Remove),
    };
    let owner = match c.owner_edit {
        None => None,
        Some(wire::OwnerEdit::Owner(group)) => Some(OwnerEdit::Set(GroupName::from_wire(&group)?)),
        Some(wire::OwnerEdit::NoOwner(_)) => Some(OwnerEdit::Clear),
    };
    Ok(Change::EditServerEntry {
        address: Address::from_wire(&c.address)?,
        addresses,
        principal: PrincipalName::optional(&c.principal)?,
        quota: c.quota_edit.map(|wire::QuotaEdit::Quota(quota)| quota),
        owner,
    })
}

/// Kept together so that an id printed by one command is read back by the next.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filesets_and_aggregates_are_told_by_their_looks() {
        assert_eq!(
            FilesetRef::from_wire(b"0,,1201").unwrap(),
            FilesetRef::Id(FilesetId(1201))
        );
        assert_eq!(FilesetRef::from_wire(b"1201").unwrap(), FilesetRef::Id(FilesetId(1201)));
        assert!(matches!(
            FilesetRef::from_wire(b"user.1201").unwrap(),
            FilesetRef::Name(_)
        ));
        assert!(FilesetRef::from_wire(b"0,1").is_err());
        assert!(FilesetRef::from_wire(b"").is_err());
        assert_eq!(AggregateRef::from_wire(b"13").unwrap(), AggregateRef::Number(13));
        assert!(matches!(
            AggregateRef::from_wire(b"lfs03").unwrap(),
            AggregateRef::Name(_)
        ));
        assert!(AggregateRef::from_wire(&[0xff]).is_err());
    }
}
