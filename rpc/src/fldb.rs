//! The client of the location database: it asks until somebody answers, and changes things once.
//!
//! One connection is kept, to whichever member greeted first; at any trouble on it the next member is asked.
//! Each call has a deadline for the whole of it. What a member *decided* is returned; what only shows that this
//! member cannot decide now (no quorum, a broken connection, no answer) leads to the next one.
//!
//! Nothing is remembered here of what the database says, but for its members: for that there are watches.

mod backup;
mod beats;
mod buddies;
mod call;
mod change;
mod join;
mod members;
mod owners;
mod probe;
mod query;
mod report;
mod server;
mod status;
mod trail;
mod watch;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use baton_security::auth::Initiator;
use baton_security::auth::cert::CertInitiator;
use baton_security::{ClientTls, Credential, HostTls, Wire};
use baton_types::record::Member;
use baton_types::{CellName, Clock, Result};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::config::CellFile;
use call::Live;
use change::Run;
use members::Known;

pub use backup::Backup;
pub use beats::Beats;
pub use buddies::Buddies;
pub use change::Done;
pub use join::Joined;
pub(crate) use probe::Probe;
pub use query::{Freshness, Listing, Location, Query, Sought, Who};
pub(crate) use report::Reporters;
pub use server::{ControlClient, Owner};
pub use status::{MemberStatus, Silence, Status};
pub use watch::Watch;

/// How long a call is tried by default: an election is over in two seconds, a member's restart in five.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// As whom to call.
#[derive(Clone, Debug)]
pub enum Identity {
    /// As nobody.
    Nobody,
    /// As the holder of this credential, who logs in on each connection.
    User(Arc<Credential>),
    /// As this machine, by the certificate that it shows in the handshake.
    Host(Arc<HostTls>),
}

/// The client of one cell's location database. A cheap copy: copies share the connection and the run of changes.
#[derive(Clone)]
pub struct FldbClient {
    inner: Arc<Inner>,
    patience: Duration,
}

struct Inner {
    cell: CellName,
    identity: Identity,
    /// Of those who are no machine.
    tls: ClientTls,
    source: Option<IpAddr>,
    known: Mutex<Known>,
    /// When the members were last asked for.
    learned: Mutex<Instant>,
    live: Mutex<Option<Arc<Live>>>,
    /// Taken by the one who dials, so that a member's end does not make all callers dial at once.
    dialling: tokio::sync::Mutex<()>,
    /// Taken by the one who changes something: a session's changes are made one at a time.
    run: tokio::sync::Mutex<Option<Run>>,
}

impl FldbClient {
    /// Calls the members that `cell` names.
    ///
    /// # Errors
    /// `Invalid` or `Denied` when the cell's authority in the file is none, or another's.
    pub fn new(cell: &CellFile, identity: Identity, clock: &Arc<dyn Clock>) -> Result<FldbClient> {
        let tls = ClientTls::anonymous(&cell.anchor()?, Wire::Control, clock)?;
        let known = Known::addresses(cell.flservers.clone());
        Ok(FldbClient::with(cell.cell.clone(), identity, tls, known))
    }

    fn with(cell: CellName, identity: Identity, tls: ClientTls, known: Known) -> FldbClient {
        FldbClient {
            inner: Arc::new(Inner {
                cell,
                identity,
                tls,
                source: None,
                known: Mutex::new(known),
                learned: Mutex::new(Instant::now()),
                live: Mutex::new(None),
                dialling: tokio::sync::Mutex::new(()),
                run: tokio::sync::Mutex::new(None),
            }),
            patience: PATIENCE,
        }
    }

    /// Dials from this address of the machine. To be said before the first call, by a client of which there is no copy.
    #[must_use]
    pub fn from_source(mut self, source: Option<IpAddr>) -> FldbClient {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.source = source;
        }
        self
    }

    /// A copy whose calls are tried for so long.
    #[must_use]
    pub fn within(&self, patience: Duration) -> FldbClient {
        FldbClient {
            inner: self.inner.clone(),
            patience,
        }
    }

    /// The cell it calls.
    pub fn cell(&self) -> &CellName {
        &self.inner.cell
    }

    /// The members, as last heard from one of them; empty before the first call.
    pub fn members(&self) -> Vec<Member> {
        self.inner.known.lock().records().to_vec()
    }
}

impl fmt::Debug for FldbClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FldbClient({} as {:?})", self.inner.cell, self.inner.identity)
    }
}

impl Identity {
    fn initiator(&self) -> Option<Arc<dyn Initiator>> {
        match self {
            Identity::Nobody | Identity::Host(_) => None,
            Identity::User(credential) => Some(Arc::new(CertInitiator::new(credential.clone()))),
        }
    }
}

impl Inner {
    /// What to dial by: a machine's certificate may have been renewed since the last time.
    fn tls(&self) -> ClientTls {
        match &self.identity {
            Identity::Nobody | Identity::User(_) => self.tls.clone(),
            Identity::Host(host) => host.client(Wire::Control),
        }
    }
}

#[cfg(test)]
mod tests;
