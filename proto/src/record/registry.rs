//! The registry: people, machines, groups, and who is to come.

use baton_types::limits::GROUPS_OF_PRINCIPAL_MAX;
use baton_types::record::{Group, Invitation, InvitationKind, Principal};
use baton_types::{Error, GroupName, PrincipalName, Result, Timestamp};

use crate::v1;
use crate::wire::{FromWire, bytes, bytes_list, invalid};

impl From<Principal> for v1::Principal {
    fn from(p: Principal) -> v1::Principal {
        v1::Principal {
            name: bytes(p.name),
            id: p.id.unwrap_or_default(),
            groups: bytes_list(p.groups),
            disabled: p.disabled,
            may_assert_users: p.may_assert_users,
            may_assert_root: p.may_assert_root,
            primary: p.primary.map(bytes).unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::Principal> for Principal {
    type Error = Error;

    fn try_from(p: v1::Principal) -> Result<Principal> {
        Ok(Principal {
            name: PrincipalName::from_wire(&p.name)?,
            id: (p.id != 0).then_some(p.id),
            groups: GroupName::list(&p.groups, GROUPS_OF_PRINCIPAL_MAX, "groups")?,
            primary: GroupName::optional(&p.primary)?,
            disabled: p.disabled,
            may_assert_users: p.may_assert_users,
            may_assert_root: p.may_assert_root,
        })
    }
}

impl From<Group> for v1::Group {
    fn from(g: Group) -> v1::Group {
        v1::Group {
            name: bytes(g.name),
            id: g.id,
        }
    }
}

impl TryFrom<v1::Group> for Group {
    type Error = Error;

    fn try_from(g: v1::Group) -> Result<Group> {
        Ok(Group {
            name: GroupName::from_wire(&g.name)?,
            id: g.id,
        })
    }
}

impl From<InvitationKind> for v1::InvitationKind {
    fn from(kind: InvitationKind) -> v1::InvitationKind {
        match kind {
            InvitationKind::Host => v1::InvitationKind::Host,
            InvitationKind::Member => v1::InvitationKind::Member,
            InvitationKind::User => v1::InvitationKind::User,
        }
    }
}

impl TryFrom<v1::InvitationKind> for InvitationKind {
    type Error = Error;

    fn try_from(kind: v1::InvitationKind) -> Result<InvitationKind> {
        match kind {
            v1::InvitationKind::Host => Ok(InvitationKind::Host),
            v1::InvitationKind::Member => Ok(InvitationKind::Member),
            v1::InvitationKind::User => Ok(InvitationKind::User),
            v1::InvitationKind::Unspecified => Err(invalid("invitation", "a kind this version does not know")),
        }
    }
}

impl From<Invitation> for v1::Invitation {
    fn from(i: Invitation) -> v1::Invitation {
        v1::Invitation {
            secret_hash: i.secret_hash.to_vec(),
            kind: v1::InvitationKind::from(i.kind) as i32,
            principal: bytes(i.principal),
            by: bytes(i.by),
            until: i.until.0,
            used_by: i.used_by.map(|hash| hash.to_vec()).unwrap_or_default(),
            id: i.id.unwrap_or_default(),
            groups: bytes_list(i.groups),
        }
    }
}

impl TryFrom<v1::Invitation> for Invitation {
    type Error = Error;

    fn try_from(i: v1::Invitation) -> Result<Invitation> {
        Ok(Invitation {
            secret_hash: FromWire::from_wire(&i.secret_hash)?,
            kind: i.kind().try_into()?,
            principal: PrincipalName::from_wire(&i.principal)?,
            by: PrincipalName::from_wire(&i.by)?,
            until: Timestamp(i.until),
            used_by: FromWire::optional(&i.used_by)?,
            id: (i.id != 0).then_some(i.id),
            groups: GroupName::list(&i.groups, GROUPS_OF_PRINCIPAL_MAX, "groups")?,
        })
    }
}
