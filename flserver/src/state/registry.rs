//! The registry: who is who, and how a new one comes in.

use baton_types::change::Change;
use baton_types::limits::{GROUPS_OF_PRINCIPAL_MAX, INVITATIONS_MAX, MEMBERS_MAX};
use baton_types::record::groups::CELL_ADMIN;
use baton_types::record::{Invitation, InvitationKind, Member, Principal, Record};
use baton_types::{Address, EntryName, Error, GroupName, Kind, PrincipalName, Result};

use super::Fldb;
use super::cell::machine;
use super::draft::Draft;

/// Linux's nobody: no principal has this uid.
const NOBODY: u32 = 65_534;

impl Draft<'_> {
    pub(super) fn edit_principal(&mut self, change: &Change) -> Result<Record> {
        let Change::EditPrincipal {
            name,
            create,
            groups,
            primary,
            disabled,
            may_assert_users,
            may_assert_root,
        } = change
        else {
            unreachable!("routed by Draft::run")
        };
        let on = format!("principal {name}");
        let found = self.state.principals.get(name).cloned();
        let mut principal = match (found, create) {
            (Some(_), Some(_)) => return Err(Error::new(Kind::Exists, on)),
            (None, None) => return Err(Error::new(Kind::NotFound, on).remedy("baton cell principals lists them")),
            (Some(principal), None) => principal,
            (None, Some(Some(_))) if name.as_host().is_some() => {
                return Err(Error::new(Kind::Invalid, on).because("machines have no id"));
            }
            (None, Some(None)) if name.as_host().is_some() => machine(name.clone()),
            (None, Some(id)) => self.person(name, *id)?,
        };
        if let Some(groups) = groups {
            principal.groups = sorted(groups.clone())?;
            principal.primary = principal.primary.filter(|primary| groups.contains(primary));
        }
        if let Some(primary) = primary {
            is_among(&principal, primary)?;
            principal.primary = Some(primary.clone());
        }
        principal.disabled = disabled.unwrap_or(principal.disabled);
        principal.may_assert_users = may_assert_users.unwrap_or(principal.may_assert_users);
        principal.may_assert_root = may_assert_root.unwrap_or(principal.may_assert_root);
        if name.as_host().is_none() && (principal.may_assert_users || principal.may_assert_root) {
            return Err(Error::new(Kind::Invalid, on).because("only a machine, hosts/NAME, may assert users"));
        }
        let record = self.put_principal(principal);
        self.some_administrator_left()?;
        self.tell(on);
        Ok(record)
    }

    /// Without one, nobody could ever repair the registry.
    fn some_administrator_left(&self) -> Result<()> {
        let is_admin = |p: &Principal| !p.disabled && p.groups.iter().any(|g| g.as_str() == CELL_ADMIN);
        if self.state.principals.values().any(is_admin) {
            return Ok(());
        }
        Err(Error::new(Kind::Invalid, format!("group {CELL_ADMIN}"))
            .because("this would remove its last member")
            .remedy("make somebody else an administrator first"))
    }

    /// A new person with the uid asked for, or the next free one.
    fn person(&mut self, name: &PrincipalName, id: Option<u32>) -> Result<Principal> {
        let id = match id {
            Some(id) => id,
            None => {
                // Who has no primary group has his uid for a gid, which is then nobody else's.
                let is_taken = |state: &Fldb, id| {
                    state.principal_ids.contains_key(&id) || state.group_ids.contains_key(&id) || id == NOBODY
                };
                while is_taken(&self.state, self.state.next.principal) {
                    self.state.next.principal += 1;
                }
                self.state.next.principal
            }
        };
        self.free_id(id, name)?;
        let mut principal = machine(name.clone());
        principal.id = Some(id);
        Ok(principal)
    }

    /// Says whether `name` may have the uid `id`.
    pub(super) fn free_id(&self, id: u32, name: &PrincipalName) -> Result<()> {
        usable(id)?;
        match self.state.principal_ids.get(&id) {
            Some(owner) if owner != name => {
                Err(Error::new(Kind::Exists, format!("id {id}")).because(format!("it is {owner}'s")))
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn invite(&mut self, change: &Change) -> Result<Record> {
        let Change::Invite {
            secret_hash,
            kind,
            principal,
            id,
            groups,
        } = change
        else {
            unreachable!("routed by Draft::run")
        };
        let on = format!("principal {principal}");
        let is_host = principal.as_host().is_some();
        match kind {
            InvitationKind::User if is_host => {
                return Err(Error::new(Kind::Invalid, on).because("names under hosts/ are machines'"));
            }
            InvitationKind::Host | InvitationKind::Member if !is_host => {
                return Err(Error::new(Kind::Invalid, on).because("a machine's principal is hosts/NAME"));
            }
            InvitationKind::User | InvitationKind::Host | InvitationKind::Member => {}
        }
        self.not_disabled(principal)?;
        if let Some(id) = id {
            self.free_id(*id, principal)?;
            let known = self.state.principals.get(principal).and_then(|p| p.id);
            if let Some(known) = known.filter(|known| known != id) {
                return Err(Error::new(Kind::Invalid, on).because(format!("its id is {known}")));
            }
        }
        if *kind == InvitationKind::Member {
            self.room_for_member(principal)?;
        }
        self.drop_ended_invitations();
        if self.state.invitations.size() >= INVITATIONS_MAX {
            return Err(Error::new(Kind::Limit, "invitations")
                .because(format!("{INVITATIONS_MAX} are open"))
                .remedy("wait until some have ended"));
        }
        let cell = self
            .state
            .cell
            .as_ref()
            .ok_or_else(|| Error::new(Kind::NotFound, "cell"))?;
        let until = self.date.plus_seconds(cell.invitation_seconds);
        let by = self
            .who
            .principal()
            .cloned()
            .ok_or_else(|| Error::new(Kind::Denied, "nobody"))?;
        self.tell(on);
        Ok(self.put_invitation(Invitation {
            secret_hash: *secret_hash,
            kind: *kind,
            principal: principal.clone(),
            by,
            until,
            used_by: None,
            id: *id,
            groups: sorted(groups.clone())?,
        }))
    }

    /// A token for somebody who is refused everywhere would be good for nothing.
    fn not_disabled(&self, principal: &PrincipalName) -> Result<()> {
        if self.state.principals.get(principal).is_some_and(|p| p.disabled) {
            return Err(Error::new(Kind::Denied, format!("principal {principal}"))
                .because("it is disabled")
                .remedy(format!("baton cell principal {principal} --disabled off")));
        }
        Ok(())
    }

    fn room_for_member(&self, principal: &PrincipalName) -> Result<()> {
        let host = principal.as_host().unwrap_or_default();
        if self.state.members.values().any(|m| m.name.as_str() == host) {
            return Err(Error::new(Kind::Exists, format!("member {host}")).remedy(format!(
                "to replace a lost one, remove it first: baton cell remove {host}"
            )));
        }
        if self.state.members.size() >= MEMBERS_MAX {
            return Err(Error::new(Kind::Limit, "members").because(format!("there are {MEMBERS_MAX} already")));
        }
        Ok(())
    }

    fn drop_ended_invitations(&mut self) {
        let ended: Vec<[u8; 32]> = self
            .state
            .invitations
            .values()
            .filter(|i| i.until < self.date)
            .map(|i| i.secret_hash)
            .collect();
        for secret_hash in ended {
            self.drop_invitation(secret_hash);
        }
    }

    pub(super) fn use_invitation(&mut self, secret: [u8; 32], key: [u8; 32], addresses: &[Address]) -> Result<Record> {
        let unknown = || {
            Error::new(Kind::Denied, "token")
                .because("this cell gave out no such token, or it ended long ago")
                .remedy("ask for a new one: baton cell invite")
        };
        let mut invitation = self.state.invitations.get(&secret).cloned().ok_or_else(unknown)?;
        let turn = match invitation.used_by {
            None => Use::First,
            Some(before) if before == key => Use::Again,
            Some(_) => return Err(used_up("a token is good for one key")),
        };
        if self.date > invitation.until {
            return Err(Error::new(Kind::Expired, "token")
                .because("its time is over")
                .remedy("ask for a new one: baton cell invite"));
        }
        let name = invitation.principal.clone();
        self.not_disabled(&name)?;
        let mut principal = match self.state.principals.get(&name).cloned() {
            Some(principal) => principal,
            None if name.as_host().is_some() => machine(name.clone()),
            None => self.person(&name, invitation.id)?,
        };
        if turn == Use::First {
            principal.groups = sorted([principal.groups, invitation.groups.clone()].concat())?;
        }
        let record = self.put_principal(principal);
        invitation.used_by = Some(key);
        let kind = invitation.kind;
        self.put_invitation(invitation);
        if turn == Use::First {
            self.tell_for(name.clone(), format!("principal {name}"));
        }
        match (kind, turn) {
            (InvitationKind::Member, Use::First) => self.new_member(&name, addresses),
            (InvitationKind::Member, Use::Again) => self.same_member(&name),
            (InvitationKind::User | InvitationKind::Host, _) => Ok(record),
        }
    }

    /// A member that was removed since does not come back by an old token.
    fn same_member(&self, principal: &PrincipalName) -> Result<Record> {
        let host = principal.as_host().unwrap_or_default();
        let member = self.state.members.values().find(|m| m.name.as_str() == host);
        let member = member.ok_or_else(|| used_up(&format!("member {host} was removed since")))?;
        Ok(Record::Member(member.clone()))
    }

    fn new_member(&mut self, principal: &PrincipalName, addresses: &[Address]) -> Result<Record> {
        let name = EntryName::parse(principal.as_host().unwrap_or_default())?;
        self.room_for_member(principal)?;
        if addresses.is_empty() {
            return Err(Error::new(Kind::Invalid, format!("member {name}")).because("it named no address"));
        }
        let number = self.state.next.member;
        self.state.next.member += 1;
        Ok(self.put_member(Member {
            number,
            name,
            addresses: addresses.to_vec(),
            issuer: false,
        }))
    }
}

/// Whether a token comes for the first time, or again with the key it came with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    First,
    Again,
}

/// Refuses numbers that no person and no group can have.
pub(super) fn usable(id: u32) -> Result<()> {
    let refuse = |why| Err(Error::new(Kind::Invalid, format!("id {id}")).because(why));
    match id {
        0 | NOBODY => refuse("0 and 65534 are nobody's"),
        u32::MAX => refuse("to every system call it means none"),
        _ => Ok(()),
    }
}

/// Refuses a primary group that is not one of its groups.
pub(super) fn is_among(principal: &Principal, primary: &GroupName) -> Result<()> {
    if principal.groups.contains(primary) {
        return Ok(());
    }
    let (name, mut groups) = (&principal.name, principal.groups.clone());
    groups.push(primary.clone());
    let groups: Vec<&str> = groups.iter().map(GroupName::as_str).collect();
    Err(Error::new(Kind::Invalid, format!("principal {name}"))
        .because(format!(
            "its primary group must be one of its groups, and it is not in {primary}"
        ))
        .remedy(format!(
            "put it in as well: baton cell principal {name} --groups {} --primary {primary}",
            groups.join(" ")
        )))
}

fn used_up(why: &str) -> Error {
    Error::new(Kind::Denied, "token")
        .because(format!("it is used up: {why}"))
        .remedy("ask for a new one: baton cell invite")
}

pub(super) fn sorted(mut groups: Vec<GroupName>) -> Result<Vec<GroupName>> {
    groups.sort();
    groups.dedup();
    if groups.len() > GROUPS_OF_PRINCIPAL_MAX {
        return Err(Error::new(Kind::Limit, "groups").because(format!(
            "{} for one principal, {GROUPS_OF_PRINCIPAL_MAX} at most",
            groups.len()
        )));
    }
    Ok(groups)
}
