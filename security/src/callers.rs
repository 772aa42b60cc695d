//! The callers of one connection: who is behind each handle.
//!
//! A handle is a number, found here in well under a microsecond. It means nothing on another connection,
//! because each connection has a table of its own; and it is never given out twice, so that an old handle
//! cannot become somebody else's.
//!
//! | handle | answer |
//! |---|---|
//! | 0 | nobody: an anonymous caller |
//! | in the table, its time not over | its identity |
//! | given out before, now gone or over | `caller-expired`: log in again and ask once more |
//! | never given out | `caller-unknown`: the same |
//!
//! Lock order: conversations, then the table; neither is held while a mechanism works.

mod conversations;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use baton_types::limits::{CALLER_SECONDS_MAX, CALLERS_MAX};
use baton_types::{Clock, Error, Kind, PrincipalName, Result, Time, Timestamp};
use parking_lot::{Mutex, RwLock};

use crate::auth::{Acceptor, Identity};
use crate::tls::Channel;
use conversations::Conversations;

/// Why a handle that was once good is no more, in a word that programs read.
pub const CALLER_EXPIRED: &str = "caller-expired";
/// The same for a handle that never was.
pub const CALLER_UNKNOWN: &str = "caller-unknown";
/// The same for no handle where one is needed.
pub const ANONYMOUS_NOT_ALLOWED: &str = "anonymous-not-allowed";

/// Asks the registry whether somebody who proved who he is may log in.
pub type Admit = Box<dyn Fn(&Identity) -> Result<()> + Send + Sync>;

/// What all connections of a server have in common.
pub struct Gate {
    mechanisms: ArcSwap<Vec<Arc<dyn Acceptor>>>,
    admit: Admit,
    clock: Arc<dyn Clock>,
}

impl Gate {
    /// Takes logins by `mechanisms`, best first, of those whom `admit` lets in.
    ///
    /// `admit` is asked when the caller is already in the table: one who is disabled at that very moment is
    /// either refused by it or found by [`Callers::end`]. Its error is told to the caller, so it does not say
    /// whether there is such a principal.
    pub fn new(mechanisms: Vec<Arc<dyn Acceptor>>, admit: Admit, clock: Arc<dyn Clock>) -> Gate {
        Gate {
            mechanisms: ArcSwap::from_pointee(mechanisms),
            admit,
            clock,
        }
    }

    /// Takes logins by `mechanisms` from now on. Who is logged in stays so.
    pub fn offer(&self, mechanisms: Vec<Arc<dyn Acceptor>>) {
        self.mechanisms.store(Arc::new(mechanisms));
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.mechanisms.load().iter().map(|mech| mech.name()))
            .finish()
    }
}

/// What the server says to a token.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Send this, and wait for the next token of the conversation.
    Continue {
        /// Its number, for the client to repeat.
        conversation: u32,
        /// For the mechanism at the client.
        token: Vec<u8>,
    },
    /// Logged in.
    Done {
        /// The last word for the mechanism at the client.
        token: Vec<u8>,
        /// The handle.
        caller: u32,
        /// Who it stands for.
        identity: Arc<Identity>,
        /// Until when, by this server's date.
        expires: Timestamp,
    },
}

/// The callers of one connection.
pub struct Callers {
    gate: Arc<Gate>,
    channel: Channel,
    conversations: Mutex<Conversations>,
    table: RwLock<Table>,
}

struct Table {
    entries: HashMap<u32, Entry>,
    /// The handle to give out next; all below were given out. `None` when all were.
    next: Option<u32>,
}

struct Entry {
    identity: Arc<Identity>,
    /// By the clock that counts suspended time: setting the date ends nobody's login and prolongs none.
    until: Time,
}

impl Callers {
    /// Nobody yet, on a connection that TLS proved as `channel`.
    pub fn new(gate: Arc<Gate>, channel: Channel) -> Callers {
        Callers {
            gate,
            channel,
            conversations: Mutex::new(Conversations::default()),
            table: RwLock::new(Table {
                entries: HashMap::new(),
                next: Some(1),
            }),
        }
    }

    /// What TLS proved of the connection.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Takes one token of a login by `mech`; conversation 0 begins one. Blocks while the mechanism works.
    ///
    /// # Errors
    /// `Denied`, `Expired` or `Invalid` when the proof is none; `Unsupported` for an unknown mechanism, naming those
    /// there are; `Limit` for too many conversations, callers, or failures, after which this connection takes no login.
    pub fn login(&self, mech: &str, conversation: u32, token: &[u8]) -> Result<Answer> {
        let answer = self.converse(mech, conversation, token);
        answer
            .inspect_err(|e| self.conversations.lock().count(e))
            .map_err(|e| e.op("log in"))
    }

    /// Who `caller` is; `None` for an anonymous one.
    ///
    /// # Errors
    /// `Expired`, with [`CALLER_EXPIRED`] or [`CALLER_UNKNOWN`] as the reason: the client logs in and asks again.
    pub fn find(&self, caller: u32) -> Result<Option<Arc<Identity>>> {
        if caller == 0 {
            return Ok(None);
        }
        let now = self.gate.clock.now();
        let table = self.table.read();
        let gone = |reason: &str| {
            Error::new(Kind::Expired, format!("caller {caller}"))
                .because(reason)
                .remedy("log in again")
        };
        match table.entries.get(&caller) {
            Some(entry) if now < entry.until => Ok(Some(entry.identity.clone())),
            Some(_) => Err(gone(CALLER_EXPIRED)),
            None if table.next.is_none_or(|next| caller < next) => Err(gone(CALLER_EXPIRED)),
            None => Err(gone(CALLER_UNKNOWN)),
        }
    }

    /// Who `caller` is, where nobody is not enough.
    ///
    /// # Errors
    /// As [`Callers::find`]; `Denied` with [`ANONYMOUS_NOT_ALLOWED`].
    pub fn identity(&self, caller: u32) -> Result<Arc<Identity>> {
        self.find(caller)?.ok_or_else(|| {
            Error::new(Kind::Denied, "anonymous caller")
                .because(ANONYMOUS_NOT_ALLOWED)
                .remedy("log in first: baton login")
        })
    }

    /// Ends one login.
    pub fn logout(&self, caller: u32) {
        self.table.write().entries.remove(&caller);
    }

    /// Ends all logins of a principal, and all that rest on its word if it is a machine. Says how many.
    pub fn end(&self, principal: &PrincipalName) -> usize {
        let mut table = self.table.write();
        let before = table.entries.len();
        table.entries.retain(|_, entry| {
            entry.identity.principal != *principal && entry.identity.host.as_ref() != Some(principal)
        });
        before - table.entries.len()
    }

    /// Gives `identity` a handle, if the registry lets it in.
    fn enter(&self, identity: Identity) -> Result<(u32, Arc<Identity>, Timestamp)> {
        let (now, date) = (self.gate.clock.now(), self.gate.clock.date());
        let left = u64::try_from(identity.expires.0.saturating_sub(date.0)).unwrap_or(0) / 1_000; // µs
        let lifetime = left.min(CALLER_SECONDS_MAX * 1_000_000);
        let expires = Timestamp(date.0.saturating_add(lifetime as i64 * 1_000)); // at most ten hours: no overflow
        let identity = Arc::new(identity);
        let caller = self.table.write().insert(
            now,
            Entry {
                identity: identity.clone(),
                until: now + lifetime,
            },
        )?;
        (self.gate.admit)(&identity).inspect_err(|_| self.logout(caller))?;
        Ok((caller, identity, expires))
    }
}

impl fmt::Debug for Callers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Callers({} at {:?})",
            self.table.read().entries.len(),
            self.channel.host
        )
    }
}

impl Table {
    fn insert(&mut self, now: Time, entry: Entry) -> Result<u32> {
        if self.entries.len() >= CALLERS_MAX {
            self.entries.retain(|_, entry| now < entry.until);
        }
        let full = |why: String| {
            Error::new(Kind::Limit, "login")
                .because(why)
                .remedy("log out somebody, or reconnect")
        };
        if self.entries.len() >= CALLERS_MAX {
            return Err(full(format!(
                "{CALLERS_MAX} callers on this connection, and no room for more"
            )));
        }
        let caller = self
            .next
            .ok_or_else(|| full("all handles of this connection are used up".to_owned()))?;
        self.next = caller.checked_add(1);
        self.entries.insert(caller, entry);
        Ok(caller)
    }
}

#[cfg(test)]
mod tests;
