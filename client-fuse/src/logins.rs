//! How the users of this machine prove to file servers who they are.
//!
//! | the user | proves himself by |
//! |---|---|
//! | has registered an identity of the cell (`baton login`) | its certificate |
//! | has not, and this machine has a certificate of the cell | this machine's word, which a server believes if the cell lets the machine speak for its users |
//! | has not, and it has none | nothing: he calls as nobody |
//!
//! An identity comes as the bytes of its files from the user's own process, over a socket where the kernel says who
//! that is: nothing of a user's is ever opened by this daemon, which runs as root and would follow his links. It is
//! kept in memory until he logs out or the daemon ends.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use baton_rpc::sessions::{Logins, Who};
use baton_security::auth::Initiator;
use baton_security::auth::UnixIds;
use baton_security::auth::cert::{self, CertInitiator};
use baton_security::auth::host_trust::{self, HostTrustInitiator};
use baton_security::{Anchor, Credential, Key, read_certificate};
use baton_types::{CellName, Clock, Error, Kind, PrincipalName, Result, Time};
use parking_lot::{Mutex, RwLock};

/// The files of an identity.
#[derive(Clone, Copy)]
pub struct Files<'a> {
    /// `ca.pem`.
    pub authority: &'a [u8],
    /// `user.pem`.
    pub certificate: &'a [u8],
    /// `user.key`.
    pub key: &'a [u8],
}

/// Whether this machine speaks for its users in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// It has a certificate of that cell.
    ForAll,
    /// It has none.
    ForNobody,
}

/// The identities that users of this machine have registered.
#[derive(Debug, Default)]
pub struct Registered {
    users: RwLock<HashMap<(CellName, u32), Arc<Credential>>>,
    changes: AtomicU64,
}

impl Registered {
    /// `uid` is from now on who these files say. `known` finds the authority of a cell that this machine knows.
    ///
    /// # Errors
    /// `Invalid`, `Denied` for files that do not belong together, are a machine's, or are of a cell that is not known
    /// or is another one of that name.
    pub fn login(
        &self,
        uid: u32,
        files: Files<'_>,
        known: impl FnOnce(&CellName) -> Result<Anchor>,
    ) -> Result<PrincipalName> {
        let anchor = Anchor::from_pem("ca.pem", text("ca.pem", files.authority)?)?;
        if known(anchor.cell())?.fingerprint() != anchor.fingerprint() {
            return Err(Error::new(Kind::Denied, "ca.pem")
                .because(format!("this machine knows another authority of {}", anchor.cell()))
                .remedy("get an identity of this cell: baton login --invite CODE"));
        }
        let certificate = read_certificate("user.pem", files.certificate)?;
        let key = Key::from_pem("user.key", files.key)?;
        let credential = Credential::new(anchor, certificate, key)?;
        if credential.names().host().is_some() {
            return Err(Error::new(Kind::Denied, "user.pem").because("it is a machine's, and no user's"));
        }
        let principal = credential.names().principal.clone();
        let cell = credential.anchor().cell().clone();
        self.users.write().insert((cell, uid), Arc::new(credential));
        self.changes.fetch_add(1, Ordering::SeqCst);
        Ok(principal)
    }

    /// `uid` is who this machine says again, in all cells; says in how many he was somebody else.
    pub fn logout(&self, uid: u32) -> usize {
        let mut users = self.users.write();
        let before = users.len();
        users.retain(|(_, other), _| *other != uid);
        self.changes.fetch_add(1, Ordering::SeqCst);
        before - users.len()
    }

    /// How often somebody has logged in or out.
    fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// What `uid` has registered in `cell`.
    pub fn of(&self, cell: &CellName, uid: u32) -> Option<Arc<Credential>> {
        self.users.read().get(&(cell.clone(), uid)).cloned()
    }
}

/// So long a user whom a server refused is not tried again, in microseconds: a program that tries and tries must not
/// use up the failures that a connection bears, which are for all users of this machine.
const REFUSED: Time = 5_000_000;

/// A refusal, for so long.
struct Refusal {
    until: Time,
    error: Error,
}

/// The users of one cell.
pub struct Users {
    cell: CellName,
    registered: Arc<Registered>,
    speaks: Speaks,
    clock: Arc<dyn Clock>,
    refused: Mutex<HashMap<u32, (u64, Refusal)>>,
}

impl Users {
    /// Of `cell`, by what they have registered, else by this machine's word.
    pub fn new(cell: CellName, registered: Arc<Registered>, speaks: Speaks, clock: Arc<dyn Clock>) -> Users {
        Users {
            cell,
            registered,
            speaks,
            clock,
            refused: Mutex::default(),
        }
    }

    /// As whom `uid` calls, and by which mechanism; `None`: as nobody.
    ///
    /// # Errors
    /// `Denied` for an identity that is over.
    pub fn identity(&self, uid: u32) -> Result<Option<(PrincipalName, &'static str)>> {
        if let Some(credential) = self.registered.of(&self.cell, uid) {
            self.check(&credential)?;
            return Ok(Some((credential.names().principal.clone(), cert::MECH)));
        }
        Ok(match self.speaks {
            Speaks::ForAll => Some((principal_of(uid), host_trust::MECH)),
            Speaks::ForNobody => None,
        })
    }

    /// Why a server refused `uid` just now, unless somebody has logged in or out since.
    fn refusal(&self, uid: u32) -> Option<Error> {
        let refused = self.refused.lock();
        let (changes, refusal) = refused.get(&uid)?;
        let is_so = refusal.until > self.clock.now() && *changes == self.registered.changes();
        is_so.then(|| refusal.error.clone())
    }

    /// That it is over is for the user to know, not for a server to find out.
    fn check(&self, credential: &Credential) -> Result<()> {
        let names = credential.names();
        let checked = names.validity.check(&format!("identity of {names}"), self.clock.date());
        checked.map_err(|e| Error {
            kind: Kind::Denied,
            ..e.remedy("show the one you have now: baton login")
        })
    }
}

impl Logins for Users {
    fn refused(&self, who: &Who, error: &Error) {
        let refusal = Refusal {
            until: self.clock.now() + REFUSED,
            error: error.clone(),
        };
        let changes = self.registered.changes();
        let mut refused = self.refused.lock();
        refused.retain(|_, (_, other)| other.until > self.clock.now());
        refused.insert(who.uid, (changes, refusal));
    }

    fn initiator(&self, who: &Who) -> Result<Option<Arc<dyn Initiator>>> {
        if let Some(error) = self.refusal(who.uid) {
            return Err(error);
        }
        if let Some(credential) = self.registered.of(&self.cell, who.uid) {
            self.check(&credential)?;
            return Ok(Some(Arc::new(CertInitiator::new(credential))));
        }
        let unix = UnixIds {
            uid: who.uid,
            gid: who.gid,
            groups: who.groups.clone(),
        };
        Ok(match self.speaks {
            Speaks::ForAll => Some(Arc::new(HostTrustInitiator::new(principal_of(who.uid), unix))),
            Speaks::ForNobody => None,
        })
    }
}

/// What this machine calls a uid: its name in the password file, if that is one that a principal may have.
fn principal_of(uid: u32) -> PrincipalName {
    let table = fs::read("/etc/passwd").unwrap_or_default();
    name_in(&table, uid).unwrap_or_else(|| {
        let number = format!("uid{uid}");
        PrincipalName::parse(&number).expect("letters and digits are a good name")
    })
}

fn name_in(table: &[u8], uid: u32) -> Option<PrincipalName> {
    let name = table.split(|b| *b == b'\n').find_map(|line| {
        let mut fields = line.split(|b| *b == b':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        let number: u32 = std::str::from_utf8(number).ok()?.parse().ok()?;
        (number == uid).then_some(name)
    })?;
    let name = PrincipalName::parse(std::str::from_utf8(name).ok()?).ok()?;
    (name.as_str() != "hosts").then_some(name)
}

fn text<'a>(on: &str, bytes: &'a [u8]) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|_| Error::new(Kind::Invalid, on).because("not UTF-8"))
}

#[cfg(test)]
mod tests;
