//! Changes of the registry between their typed form and the wire.

use baton_types::change::{Change, Import, ImportedPerson};
use baton_types::limits::{GROUPS_OF_PRINCIPAL_MAX, IMPORT_ROWS_MAX};
use baton_types::{GroupName, PrincipalName, Result};
use v1::change::Change as Wire;

use crate::v1;
use crate::wire::{FromWire, at_most, bytes, bytes_list};

pub(super) fn to_wire(change: Change) -> Wire {
    match change {
        Change::EditPrincipal {
            name,
            create,
            groups,
            primary,
            disabled,
            may_assert_users,
            may_assert_root,
        } => Wire::EditPrincipal(v1::EditPrincipal {
            name: bytes(name),
            create: create.is_some(),
            id: create.flatten().unwrap_or_default(),
            groups_edit: groups.map(|names| {
                v1::edit_principal::GroupsEdit::Groups(v1::Groups {
                    names: bytes_list(names),
                })
            }),
            disabled_edit: disabled.map(v1::edit_principal::DisabledEdit::Disabled),
            users_edit: may_assert_users.map(v1::edit_principal::UsersEdit::MayAssertUsers),
            root_edit: may_assert_root.map(v1::edit_principal::RootEdit::MayAssertRoot),
            primary: primary.map(bytes).unwrap_or_default(),
        }),
        Change::Invite {
            secret_hash,
            kind,
            principal,
            id,
            groups,
        } => Wire::Invite(v1::Invite {
            secret_hash: secret_hash.to_vec(),
            kind: v1::InvitationKind::from(kind) as i32,
            principal: bytes(principal),
            id: id.unwrap_or_default(),
            groups: bytes_list(groups),
        }),
        Change::EditGroup { name, id } => Wire::EditGroup(v1::EditGroup {
            name: bytes(name),
            id: id.unwrap_or_default(),
        }),
        Change::Import(Import { groups, people }) => Wire::Import(v1::Import {
            groups: groups.into_iter().map(Into::into).collect(),
            people: people.into_iter().map(person_to_wire).collect(),
        }),
        other => unreachable!("{other:?} is no change of the registry"),
    }
}

fn person_to_wire(person: ImportedPerson) -> v1::ImportedPerson {
    v1::ImportedPerson {
        name: bytes(person.name),
        id: person.id.unwrap_or_default(),
        primary: person.primary.map(bytes).unwrap_or_default(),
        groups: bytes_list(person.groups),
    }
}

pub(super) fn edit_principal(c: v1::EditPrincipal) -> Result<Change> {
    use v1::edit_principal as wire;
    let groups = match c.groups_edit {
        None => None,
        Some(wire::GroupsEdit::Groups(groups)) => {
            Some(GroupName::list(&groups.names, GROUPS_OF_PRINCIPAL_MAX, "groups")?)
        }
    };
    Ok(Change::EditPrincipal {
        name: PrincipalName::from_wire(&c.name)?,
        create: c.create.then_some((c.id != 0).then_some(c.id)),
        groups,
        primary: GroupName::optional(&c.primary)?,
        disabled: c.disabled_edit.map(|wire::DisabledEdit::Disabled(on)| on),
        may_assert_users: c.users_edit.map(|wire::UsersEdit::MayAssertUsers(on)| on),
        may_assert_root: c.root_edit.map(|wire::RootEdit::MayAssertRoot(on)| on),
    })
}

pub(super) fn edit_group(c: &v1::EditGroup) -> Result<Change> {
    Ok(Change::EditGroup {
        name: GroupName::from_wire(&c.name)?,
        id: (c.id != 0).then_some(c.id),
    })
}

pub(super) fn import(c: &v1::Import) -> Result<Change> {
    at_most(c.groups.len() + c.people.len(), IMPORT_ROWS_MAX, "people and groups")?;
    let person = |p: &v1::ImportedPerson| {
        Ok(ImportedPerson {
            name: PrincipalName::from_wire(&p.name)?,
            id: (p.id != 0).then_some(p.id),
            primary: GroupName::optional(&p.primary)?,
            groups: GroupName::list(&p.groups, GROUPS_OF_PRINCIPAL_MAX, "groups")?,
        })
    };
    let groups = c.groups.iter().cloned().map(TryInto::try_into);
    Ok(Change::Import(Import {
        groups: groups.collect::<Result<_>>()?,
        people: c.people.iter().map(person).collect::<Result<_>>()?,
    }))
}

pub(super) fn invite(c: &v1::Invite) -> Result<Change> {
    Ok(Change::Invite {
        secret_hash: FromWire::from_wire(&c.secret_hash)?,
        kind: c.kind().try_into()?,
        principal: PrincipalName::from_wire(&c.principal)?,
        id: (c.id != 0).then_some(c.id),
        groups: GroupName::list(&c.groups, GROUPS_OF_PRINCIPAL_MAX, "groups")?,
    })
}
