//! Mechanism `host-trust`: a machine states who its caller is, and is believed because the cell says so.
//!
//! NFS's `sec=sys` in effect, but only over a connection that the machine's own certificate authenticates, and
//! only for machines that the registry marks. The identity names the machine that stated it, so that whoever
//! gives rights can give less: no administrator is ever known by this mechanism.
//!
//! ```text
//! u32 uid │ u32 gid │ u16 count │ count × u32 group │ principal's name, ASCII, to the end      (little-endian)
//! ```

use std::fmt;
use std::sync::Arc;

use baton_types::limits::GROUPS_OF_PRINCIPAL_MAX;
use baton_types::record::Principal;
use baton_types::{EntryName, Error, Kind, PrincipalName, Result};

use super::{Acceptor, Exchange, Identity, InitExchange, Initiator, Step, UnixIds};
use crate::names::Names;
use crate::tls::Channel;

/// Its name on the wire.
pub const MECH: &str = "host-trust";

/// For whom a machine may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayAssert {
    /// For itself alone.
    Nobody,
    /// For its users, but not for uid 0.
    Users,
    /// For all, uid 0 as well: test and import machines only.
    UsersAndRoot,
}

impl MayAssert {
    /// As the registry's record of the machine says.
    pub fn of(machine: Option<&Principal>) -> MayAssert {
        match machine {
            Some(p) if p.disabled => MayAssert::Nobody,
            Some(p) if p.may_assert_users && p.may_assert_root => MayAssert::UsersAndRoot,
            Some(p) if p.may_assert_users => MayAssert::Users,
            Some(_) | None => MayAssert::Nobody,
        }
    }
}

/// Asks the registry for whom a machine may speak.
pub type Trust = Arc<dyn Fn(&PrincipalName) -> MayAssert + Send + Sync>;

/// The server's half.
pub struct HostTrustAcceptor(Trust);

impl HostTrustAcceptor {
    /// Believes the machines that `trust` says may be believed.
    pub fn new(trust: Trust) -> HostTrustAcceptor {
        HostTrustAcceptor(trust)
    }
}

impl Acceptor for HostTrustAcceptor {
    fn name(&self) -> &'static str {
        MECH
    }

    fn start(&self) -> Box<dyn Exchange> {
        Box::new(HostTrustExchange(self.0.clone()))
    }
}

struct HostTrustExchange(Trust);

impl Exchange for HostTrustExchange {
    fn step(&mut self, channel: &Channel, token: &[u8]) -> Result<Step> {
        let host = channel
            .host
            .as_ref()
            .ok_or_else(|| denied("login by host-trust", "the connection shows no machine's certificate"))?;
        let may = (self.0)(&host.principal);
        if may == MayAssert::Nobody {
            return Err(denied(host, "this machine may not speak for its users"));
        }
        let statement = Statement::decode(token)?;
        if statement.unix.uid == 0 && may != MayAssert::UsersAndRoot {
            return Err(denied(host, "this machine may not speak for its root"));
        }
        Ok(Step::Done(Vec::new(), statement.believe(host)))
    }
}

/// The client's half, for one user of this machine.
pub struct HostTrustInitiator(Statement);

impl HostTrustInitiator {
    /// States that the user `principal` runs as `unix` here.
    pub fn new(principal: PrincipalName, unix: UnixIds) -> HostTrustInitiator {
        HostTrustInitiator(Statement { principal, unix })
    }
}

impl Initiator for HostTrustInitiator {
    fn name(&self) -> &'static str {
        MECH
    }

    fn start(&self, server: &EntryName) -> Box<dyn InitExchange> {
        Box::new(HostTrustInitExchange {
            statement: self.0.clone(),
            server: server.clone(),
        })
    }
}

struct HostTrustInitExchange {
    statement: Statement,
    server: EntryName,
}

impl InitExchange for HostTrustInitExchange {
    fn step(&mut self, channel: &Channel, answer: &[u8]) -> Result<Vec<u8>> {
        self.finish(channel, answer)?;
        self.statement.encode()
    }

    fn finish(&mut self, _channel: &Channel, answer: &[u8]) -> Result<()> {
        if answer.is_empty() {
            return Ok(());
        }
        Err(Error::new(Kind::Invalid, format!("login at {}", self.server)).because("an answer where none belongs"))
    }
}

/// What a machine says of one of its users.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Statement {
    principal: PrincipalName,
    unix: UnixIds,
}

impl Statement {
    fn believe(self, host: &Names) -> Identity {
        Identity {
            principal: self.principal,
            cell: host.cell.clone(),
            mech: MECH,
            host: Some(host.principal.clone()),
            unix: Some(self.unix),
            expires: host.validity.not_after,
        }
    }

    fn encode(&self) -> Result<Vec<u8>> {
        let groups = &self.unix.groups;
        let count = u16::try_from(groups.len())
            .ok()
            .filter(|n| usize::from(*n) <= GROUPS_OF_PRINCIPAL_MAX);
        let count = count.ok_or_else(|| too_many(groups.len()))?;
        let mut token = Vec::with_capacity(10 + 4 * groups.len() + self.principal.as_str().len());
        token.extend(self.unix.uid.to_le_bytes());
        token.extend(self.unix.gid.to_le_bytes());
        token.extend(count.to_le_bytes());
        groups.iter().for_each(|group| token.extend(group.to_le_bytes()));
        token.extend(self.principal.as_str().as_bytes());
        Ok(token)
    }

    fn decode(token: &[u8]) -> Result<Statement> {
        let short = || bad("shorter than it says");
        let (uid, rest) = token.split_first_chunk().ok_or_else(short)?;
        let (gid, rest) = rest.split_first_chunk().ok_or_else(short)?;
        let (count, rest) = rest.split_first_chunk().ok_or_else(short)?;
        let count = usize::from(u16::from_le_bytes(*count));
        if count > GROUPS_OF_PRINCIPAL_MAX {
            return Err(too_many(count));
        }
        let (groups, name) = rest.split_at_checked(4 * count).ok_or_else(short)?;
        let (groups, _) = groups.as_chunks::<4>();
        let name = std::str::from_utf8(name).map_err(|_| bad("the name is not ASCII"))?;
        let principal = PrincipalName::parse(name)?;
        if principal.as_str().split('/').next() == Some("hosts") {
            return Err(bad("a machine proves itself with its own certificate"));
        }
        let unix = UnixIds {
            uid: u32::from_le_bytes(*uid),
            gid: u32::from_le_bytes(*gid),
            groups: groups.iter().map(|group| u32::from_le_bytes(*group)).collect(),
        };
        if unix.uid == u32::MAX || unix.gid == u32::MAX {
            return Err(bad("4294967295 is no uid and no gid"));
        }
        Ok(Statement { principal, unix })
    }
}

fn denied(on: impl fmt::Display, why: &str) -> Error {
    Error::new(Kind::Denied, on.to_string()).because(why)
}

fn too_many(count: usize) -> Error {
    Error::new(Kind::Invalid, "login token").because(format!("{count} groups, {GROUPS_OF_PRINCIPAL_MAX} at most"))
}

fn bad(why: &str) -> Error {
    Error::new(Kind::Invalid, "login token").because(why)
}

#[cfg(test)]
mod tests;
