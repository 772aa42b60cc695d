//! The cell itself: its first change, its settings, the members of its database.

use baton_types::change::Change;
use baton_types::record::{Cell, FailBack, Member, Patience, Principal, Record, Window, groups};
use baton_types::timers::Timers;
use baton_types::units::{format_duration, parse_duration};
use baton_types::{Address, EntryName, Error, GroupName, Kind, PrincipalName, Result};
use std::time::Duration;

use super::draft::Draft;
use super::registry::sorted;

/// Mechanisms of logging in that this version knows.
const MECHANISMS: [&str; 2] = ["cert", "host-trust"];
/// Below a minute nobody could type the token; above a week it is a key under the mat.
const INVITATION_SECONDS: std::ops::RangeInclusive<u64> = 60..=7 * 86_400;
/// Below an hour a machine that was off over lunch could not renew; above a year nothing is renewed.
const CERTIFICATE_SECONDS: std::ops::RangeInclusive<u64> = 3_600..=366 * 86_400;
/// Below two beats every server would be late; above five minutes somebody is called before the arbiter acts.
const PATIENCE_MILLIS: std::ops::RangeInclusive<u64> = 400..=300_000;
/// A server that was just mended may fail again; after a day nobody knows any more why it moved.
const FAIL_BACK_SECONDS: std::ops::RangeInclusive<u64> = 10..=86_400;
/// DFS's own locks ended after 8 hours; a week is a forgotten one.
const LOCK_SECONDS: std::ops::RangeInclusive<u64> = 60..=7 * 86_400;

impl Draft<'_> {
    /// Said again unchanged, it is no event.
    pub(super) fn announce_member(&mut self, name: &EntryName, addresses: &[Address], issuer: bool) -> Result<Record> {
        let on = format!("member {name}");
        let found = self.state.members.values().find(|m| m.name == *name).cloned();
        let mut member = found.ok_or_else(|| Error::new(Kind::NotFound, on.clone()))?;
        if addresses.is_empty() {
            return Err(Error::new(Kind::Invalid, on).because("it named no address"));
        }
        if member.addresses != addresses || member.issuer != issuer {
            member.addresses = addresses.to_vec();
            member.issuer = issuer;
            self.tell(on);
            return Ok(self.put_member(member));
        }
        Ok(Record::Member(member))
    }

    pub(super) fn remove_member(&mut self, name: &EntryName) -> Result<()> {
        let on = format!("member {name}");
        let found = self.state.members.values().find(|m| m.name == *name).cloned();
        let member = found.ok_or_else(|| Error::new(Kind::NotFound, on.clone()))?;
        if self.state.members.size() == 1 {
            return Err(Error::new(Kind::Invalid, on)
                .because("it is the last one, and the cell would be gone")
                .remedy("let another one join first: baton cell invite HOST --member"));
        }
        if member.issuer && self.state.members.values().filter(|m| m.issuer).count() == 1 {
            return Err(Error::new(Kind::Invalid, on)
                .because("it alone holds the authority's key")
                .remedy("copy ca.key into another member's pki directory and restart that member first"));
        }
        self.drop_member(member.number);
        self.tell(on);
        Ok(())
    }

    pub(super) fn genesis(&mut self, change: &Change) -> Result<Record> {
        let Change::Genesis {
            cell_id,
            cell,
            administrator,
            administrator_id,
            member,
            addresses,
        } = change
        else {
            unreachable!("routed by Draft::run")
        };
        if self.state.cell.is_some() {
            return Err(Error::new(Kind::Exists, format!("cell {cell}")));
        }
        if administrator.as_host().is_some() {
            return Err(Error::new(Kind::Invalid, format!("principal {administrator}"))
                .because("the first administrator is a person, and names under hosts/ are machines'"));
        }
        self.free_id(*administrator_id, administrator)?;
        let all = groups::ALL
            .iter()
            .map(|group| GroupName::parse(group))
            .collect::<Result<Vec<_>>>()?;
        self.put_principal(Principal {
            name: administrator.clone(),
            id: Some(*administrator_id),
            groups: sorted(all)?,
            primary: None,
            disabled: false,
            may_assert_users: false,
            may_assert_root: false,
        });
        self.put_principal(machine(PrincipalName::host(member)));
        let number = self.state.next.member;
        self.state.next.member += 1;
        self.put_member(Member {
            number,
            name: member.clone(),
            addresses: addresses.clone(),
            issuer: true,
        });
        self.tell_for(administrator.clone(), format!("cell {cell}"));
        Ok(self.put_cell(Cell {
            id: *cell_id,
            name: cell.clone(),
            description: String::new(),
            auth: vec!["cert".to_owned()],
            invitation_seconds: 15 * 60,
            host_certificate_seconds: 30 * 86_400,
            user_certificate_seconds: 30 * 86_400,
            entry_lock_seconds: 8 * 3_600,
            patience: Patience::default(),
            fail_back: FailBack::default(),
        }))
    }

    pub(super) fn set_cell(&mut self, key: &str, value: &str) -> Result<Record> {
        let mut cell = self
            .state
            .cell
            .clone()
            .ok_or_else(|| Error::new(Kind::NotFound, "cell"))?;
        match key {
            "description" => cell.description = value.to_owned(),
            "auth" => cell.auth = mechanisms(value)?,
            "invitation-lifetime" => cell.invitation_seconds = seconds(key, value, INVITATION_SECONDS)?,
            "host-certificate-lifetime" => {
                cell.host_certificate_seconds = seconds(key, value, CERTIFICATE_SECONDS)?;
            }
            "user-certificate-lifetime" => {
                cell.user_certificate_seconds = seconds(key, value, CERTIFICATE_SECONDS)?;
            }
            "lock-lifetime" => cell.entry_lock_seconds = seconds(key, value, LOCK_SECONDS)?,
            "suspect-after" => cell.patience.suspect_millis = millis(key, value)?,
            "dead-after" => cell.patience.dead_millis = millis(key, value)?,
            "isolated-after" => cell.patience.isolated_millis = millis(key, value)?,
            "fail-back" => cell.fail_back.is_auto = fail_back(value)?,
            "fail-back-after" => cell.fail_back.after_seconds = seconds(key, value, FAIL_BACK_SECONDS)?,
            "fail-back-window" => {
                cell.fail_back.window = match value {
                    "any" => None,
                    window => Some(window.parse::<Window>()?),
                }
            }
            _ => {
                return Err(
                    Error::new(Kind::NotFound, format!("setting '{}'", key.escape_debug())).remedy(
                        "there are: description, auth, invitation-lifetime, host-certificate-lifetime, \
                     user-certificate-lifetime, lock-lifetime, suspect-after, dead-after, isolated-after, \
                     fail-back, fail-back-after, fail-back-window",
                    ),
                );
            }
        }
        Timers::of(&cell.patience).check().map_err(|error| Error {
            on: key.to_owned(),
            ..error.remedy("set the others first")
        })?;
        self.tell(format!("{key} = {value}"));
        Ok(self.put_cell(cell))
    }
}

/// The registry's record of a machine.
pub(super) fn machine(name: PrincipalName) -> Principal {
    Principal {
        name,
        id: None,
        groups: Vec::new(),
        primary: None,
        disabled: false,
        may_assert_users: false,
        may_assert_root: false,
    }
}

fn fail_back(value: &str) -> Result<bool> {
    match value {
        "auto" => Ok(true),
        "manual" => Ok(false),
        other => Err(
            Error::new(Kind::Invalid, format!("fail-back '{}'", other.escape_debug())).remedy("give auto or manual"),
        ),
    }
}

fn mechanisms(value: &str) -> Result<Vec<String>> {
    let mut list: Vec<String> = Vec::new();
    for word in value.split([',', ' ']).filter(|word| !word.is_empty()) {
        if !list.iter().any(|known| known == word) {
            list.push(word.to_owned());
        }
    }
    let bad = |why: String| {
        Error::new(Kind::Invalid, format!("auth '{}'", value.escape_debug()))
            .because(why)
            .remedy(format!("give a list of: {}", MECHANISMS.join(", ")))
    };
    if let Some(unknown) = list.iter().find(|m| !MECHANISMS.contains(&m.as_str())) {
        return Err(bad(format!("'{}' is no mechanism", unknown.escape_debug())));
    }
    if !list.iter().any(|m| m == "cert") {
        return Err(bad("without cert nobody could administrate the cell".to_owned()));
    }
    Ok(list)
}

fn millis(key: &str, value: &str) -> Result<u64> {
    let millis = u64::try_from(parse_duration(value)?.as_millis()).unwrap_or(u64::MAX);
    if !PATIENCE_MILLIS.contains(&millis) {
        let text = |millis: &u64| format_duration(Duration::from_millis(*millis));
        return Err(Error::new(Kind::Range, format!("{key} {value}")).because(format!(
            "outside {} to {}",
            text(PATIENCE_MILLIS.start()),
            text(PATIENCE_MILLIS.end())
        )));
    }
    Ok(millis)
}

fn seconds(key: &str, value: &str, range: std::ops::RangeInclusive<u64>) -> Result<u64> {
    let seconds = parse_duration(value)?.as_secs();
    if !range.contains(&seconds) {
        let text = |s: &u64| format_duration(Duration::from_secs(*s));
        return Err(Error::new(Kind::Range, format!("{key} {value}")).because(format!(
            "outside {} to {}",
            text(range.start()),
            text(range.end())
        )));
    }
    Ok(seconds)
}
