//! A change as it is proposed: on whose behalf, and under which name it is done once.

use serde::{Deserialize, Serialize};

use super::Change;
use crate::record::Principal;
use crate::record::groups::CELL_ADMIN;
use crate::{Error, GroupName, Kind, PrincipalName, Result, ServerId, Timestamp};

/// On whose behalf a change is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Who {
    /// Not logged in.
    Nobody,
    /// Logged in by the mechanism named.
    Principal {
        /// Without the cell.
        name: PrincipalName,
        /// `cert`, `host-trust`.
        mech: String,
    },
    /// A machine by the certificate of its connection.
    Host {
        /// `hosts/NAME`.
        name: PrincipalName,
        /// In its certificate.
        server: Option<ServerId>,
    },
    /// The database itself.
    Database,
}

impl Who {
    /// The principal, if there is one.
    pub fn principal(&self) -> Option<&PrincipalName> {
        match self {
            Who::Principal { name, .. } | Who::Host { name, .. } => Some(name),
            Who::Nobody | Who::Database => None,
        }
    }

    /// Refuses whom the registry, with `record` of him, puts neither in one of `groups` nor in all of `owners`, if there
    /// are any. Administrators of the cell may everything. A machine that states who its callers are is never believed
    /// about an administrator.
    ///
    /// # Errors
    /// `Denied`, naming the caller and the group that would be needed.
    pub fn must_be_in(&self, record: Option<&Principal>, groups: &[&str], owners: &[GroupName]) -> Result<()> {
        match self {
            Who::Principal { mech, .. } if mech == "host-trust" => {
                return Err(self.denied("a login by host-trust does not administrate"));
            }
            Who::Principal { .. } | Who::Host { .. } => {}
            Who::Nobody | Who::Database => {
                return Err(self.denied("not logged in").remedy("log in first: baton login"));
            }
        }
        let own = record.map(|principal| principal.groups.as_slice()).unwrap_or_default();
        let counts = |group: &GroupName| group.as_str() == CELL_ADMIN || groups.contains(&group.as_str());
        let is_owner = !owners.is_empty() && owners.iter().all(|owner| own.contains(owner));
        if is_owner || own.iter().any(counts) {
            return Ok(());
        }
        let roles = groups.join(" or ");
        let missing = match owners {
            [] => roles,
            [owner] => format!("{roles} or {owner}"),
            owners => {
                let owners: Vec<&str> = owners.iter().map(GroupName::as_str).collect();
                format!("{roles}, nor in all of {}", owners.join(" and "))
            }
        };
        Err(self
            .denied(format!("not in group {missing}"))
            .remedy("an administrator of the cell can add you: baton cell principal NAME --groups ..."))
    }

    /// A refusal that names the caller.
    pub fn denied(&self, why: impl Into<String>) -> Error {
        let on = match self {
            Who::Nobody => "nobody".to_owned(),
            Who::Database => "the database".to_owned(),
            Who::Principal { name, .. } | Who::Host { name, .. } => name.to_string(),
        };
        Error::new(Kind::Denied, on).because(why)
    }
}

/// Names a run of changes of one caller: drawn at random, one change at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChangeSession(pub [u8; 16]);

/// A change with the name under which it is done once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Whose.
    pub session: ChangeSession,
    /// Counts from 1 within the session.
    pub sequence: u32,
    /// An index that the caller had seen before its session's first change: an unknown session that was
    /// born before others were forgotten may be a forgotten one, and is refused.
    pub born: u64,
    /// The leader's, so that every member decides the same about what has ended.
    pub date: Timestamp,
    /// On whose behalf.
    pub who: Who,
    /// What.
    pub change: Change,
}
