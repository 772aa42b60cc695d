//! Login: how a caller proves who he is, inside a connection and bound to it.
//!
//! A mechanism is a pair: an [`Acceptor`] at the server, an [`Initiator`] at the client. Each login is one
//! exchange of tokens, made and judged with the channel at hand, so that a token is worth nothing elsewhere.
//! A step may block (a mechanism may read files or ask a KDC): it runs where blocking is allowed.

pub mod cert;
pub mod host_trust;

use std::fmt;
use std::sync::Arc;

use baton_types::{CellName, Clock, EntryName, PrincipalName, Result, Timestamp};

use crate::anchor::Anchor;
use crate::tls::Channel;
use cert::CertAcceptor;
use host_trust::{HostTrustAcceptor, Trust};

/// Somebody who proved who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who.
    pub principal: PrincipalName,
    /// Of which cell.
    pub cell: CellName,
    /// By which mechanism.
    pub mech: &'static str,
    /// The machine that vouches for it, where it is a machine's word and not the caller's own proof.
    pub host: Option<PrincipalName>,
    /// What that machine says of the caller's process.
    pub unix: Option<UnixIds>,
    /// Until when the proof is good.
    pub expires: Timestamp,
}

/// `alice@example.org`.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.principal, self.cell)
    }
}

/// What a process runs as on its machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixIds {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// All other groups.
    pub groups: Vec<u32>,
}

/// What came of a token.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this and wait for the next.
    Continue(Vec<u8>),
    /// Send this last token: the caller is known.
    Done(Vec<u8>, Identity),
}

/// The server's half of a mechanism.
pub trait Acceptor: Send + Sync {
    /// Its name on the wire.
    fn name(&self) -> &'static str;
    /// Begins one login.
    fn start(&self) -> Box<dyn Exchange>;
}

/// One login at the server.
pub trait Exchange: Send {
    /// Judges the client's next token. An error ends the login. Blocks.
    ///
    /// # Errors
    /// `Denied`, `Expired` or `Invalid`, in words that may be told to the caller.
    fn step(&mut self, channel: &Channel, token: &[u8]) -> Result<Step>;
}

/// The server's halves of the mechanisms that a cell's settings name, for the server `name`.
pub fn acceptors(
    mechanisms: &[String],
    (anchor, name): (&Anchor, &EntryName),
    clock: &Arc<dyn Clock>,
    trust: &Trust,
) -> Vec<Arc<dyn Acceptor>> {
    let acceptor = |mechanism: &String| -> Option<Arc<dyn Acceptor>> {
        match mechanism.as_str() {
            cert::MECH => Some(Arc::new(CertAcceptor::new(anchor.clone(), name.clone(), clock.clone()))),
            host_trust::MECH => Some(Arc::new(HostTrustAcceptor::new(trust.clone()))),
            unknown => {
                tracing::error!(unknown, "a mechanism that this version does not know");
                None
            }
        }
    };
    mechanisms.iter().filter_map(acceptor).collect()
}

/// The client's half of a mechanism, for one user.
pub trait Initiator: Send + Sync {
    /// Its name on the wire.
    fn name(&self) -> &'static str;
    /// Begins one login at the machine `server`.
    fn start(&self, server: &EntryName) -> Box<dyn InitExchange>;
}

/// One login at the client.
pub trait InitExchange: Send {
    /// The next token for the server, whose last answer was `answer`, empty at first. Blocks.
    ///
    /// # Errors
    /// When the user has nothing to prove himself with, or the server's answer is no good.
    fn step(&mut self, channel: &Channel, answer: &[u8]) -> Result<Vec<u8>>;

    /// The server says that the login is done, with this last token.
    ///
    /// # Errors
    /// `Denied` when it has not proved itself, where the mechanism wants that.
    fn finish(&mut self, channel: &Channel, answer: &[u8]) -> Result<()>;
}
