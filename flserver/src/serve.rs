//! Calls of clients, servers, administrators and other members.
//!
//! The life of a call: TLS was proved by `baton-security`; `rpc::control` greets, takes logins and holds what
//! is known of the other end; the call's message names a caller, who becomes a [`Who`]; a lookup is answered from the
//! published state, a change goes to Raft with that name on it. Whether it may be done is decided where
//! it is applied.
//!
//! | file | serves |
//! |---|---|
//! | `serve/fldb.rs` | lookups, lists, changes, watches, status |
//! | `serve/beats.rs` | beats and attestations |
//! | `serve/issue.rs` | certificates for who was invited, and their renewal |
//! | `serve/members.rs` | the other members of the database |

mod backup;
mod beats;
mod fldb;
mod issue;
mod members;

pub(crate) use members::{body, envelope};

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use baton_proto::v1;
use baton_rpc::control::{self, Connection, House};
use baton_security::auth::host_trust::{MayAssert, Trust};
use baton_security::auth::{Identity, acceptors};
use baton_security::callers::{Admit, Gate};
use baton_security::listen::Accepted;
use baton_security::{Anchor, Authority};
use baton_types::change::Who;
use baton_types::limits::{FLDB_MESSAGE_BYTES_MAX, RAFT_MESSAGE_BYTES_MAX};
use baton_types::record::Table;
use baton_types::{Clock, EntryName, Error, GroupName, Kind, PrincipalName, Result};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tonic::{Request, Status};

use crate::arbiter::Bench;
use crate::publish::Published;
use crate::raft;
use crate::state::is_administrator;

/// How long a change or a fresh read may look for a leader before its caller is told that there is none.
const LEADER_DEADLINE: Duration = Duration::from_secs(5);
/// A reader that takes nothing for this long is cut off.
const STALL: Duration = Duration::from_secs(30);

/// One member, as those who call it see it.
pub struct Server {
    /// Raft's end.
    pub member: raft::Member,
    /// This machine's name in the cell.
    pub name: EntryName,
    /// The authority's certificate.
    pub anchor: Anchor,
    /// The authority itself, where this member holds its key.
    pub authority: Option<Authority>,
    /// Members known from the time of joining, for as long as there is no state in which this one stands.
    pub founders: BTreeSet<String>,
    /// For certificates and logins.
    pub clock: Arc<dyn Clock>,
    /// What judges file servers.
    pub bench: Arc<Bench>,
    gate: Arc<Gate>,
    /// What the gate offers.
    offered: Mutex<Vec<String>>,
    /// The log has been read to its end: others than members are answered.
    open: AtomicBool,
}

impl Server {
    /// Puts a server together.
    pub fn new(
        member: raft::Member,
        name: EntryName,
        anchor: Anchor,
        authority: Option<Authority>,
        founders: BTreeSet<String>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Server> {
        let published = member.published().clone();
        let admit: Admit = Box::new(move |identity: &Identity| enabled(&published, &identity.principal));
        let gate = Arc::new(Gate::new(Vec::new(), admit, clock.clone()));
        Arc::new(Server {
            bench: Bench::new(member.clone(), &name, clock.clone()),
            member,
            name,
            anchor,
            authority,
            founders,
            clock,
            gate,
            offered: Mutex::new(Vec::new()),
            open: AtomicBool::new(false),
        })
    }

    /// Answers others than members from now on.
    pub fn open(&self) {
        self.open.store(true, Ordering::Release);
    }

    /// Serves what comes through the listener, until that ends.
    ///
    /// # Errors
    /// `Io` if the server itself fails.
    pub async fn run(self: Arc<Self>, accepted: mpsc::Receiver<Accepted>) -> Result<()> {
        let gate = self.gate.clone();
        let incoming = control::incoming(accepted, gate);
        let fldb = v1::fldb_server::FldbServer::from_arc(self.clone())
            .max_decoding_message_size(FLDB_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(FLDB_MESSAGE_BYTES_MAX);
        let raft = v1::raft_server::RaftServer::from_arc(self.clone())
            .max_decoding_message_size(RAFT_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(RAFT_MESSAGE_BYTES_MAX);
        control::server(self)
            .add_service(fldb)
            .add_service(raft)
            .serve_with_incoming(incoming)
            .await
            .map_err(|e| Error::new(Kind::Io, "location database").because(e.to_string()))
    }

    fn published(&self) -> &Arc<Published> {
        self.member.published()
    }

    /// The connection a call came on, once its first words were said.
    fn connection<T>(&self, request: &Request<T>) -> Result<Arc<Connection>, Status> {
        Connection::of(request).map_err(|e| baton_proto::into_status(&e))
    }

    /// Where things are may be asked by anyone; who is who, and what was done, by those who are logged in;
    /// invitations by administrators.
    fn may_read(&self, who: &Who, tables: &[Table]) -> Result<()> {
        let is_private = |table: &&Table| {
            matches!(
                table,
                Table::Principal | Table::Group | Table::Event | Table::Invitation
            )
        };
        if *who == Who::Nobody && tables.iter().any(|table| is_private(&table)) {
            return Err(Error::new(Kind::Denied, "nobody")
                .because("not logged in")
                .remedy("log in first: baton login"));
        }
        if tables.contains(&Table::Invitation) && !is_administrator(&self.published().state(), who) {
            return Err(Error::new(Kind::Denied, "invitations").because("they are for administrators of the cell"));
        }
        Ok(())
    }

    /// Waits until everything that was acknowledged before now is applied here.
    async fn catch_up(&self) -> Result<()> {
        let index = self.member.read_index(LEADER_DEADLINE).await?;
        let reached = tokio::time::timeout(LEADER_DEADLINE, self.published().reached(index)).await;
        reached
            .unwrap_or_else(|_| Err(Error::new(Kind::TimedOut, "this member").because("it is far behind the leader")))
    }
}

impl House for Server {
    fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    fn name(&self) -> &EntryName {
        &self.name
    }

    fn applied(&self) -> u64 {
        self.published().state().applied()
    }

    fn offer_as_set(&self) {
        let state = self.published().state();
        let Some(cell) = state.cell() else { return };
        let mut offered = self.offered.lock();
        if *offered != cell.auth {
            let published = self.published().clone();
            let trust: Trust = Arc::new(move |host| MayAssert::of(published.state().principal(host)));
            self.gate
                .offer(acceptors(&cell.auth, (&self.anchor, &self.name), &self.clock, &trust));
            offered.clone_from(&cell.auth);
        }
    }

    fn who(&self, connection: &Connection, caller: u32) -> Result<Who> {
        if !self.open.load(Ordering::Acquire) {
            return Err(
                Error::new(Kind::Unreachable, format!("member {}", self.name)).because("it is still reading its log")
            );
        }
        let who = connection.who(caller)?;
        if let Some(name) = who.principal() {
            enabled(self.published(), name)?;
        }
        Ok(who)
    }

    fn groups(&self, who: &Who) -> Vec<GroupName> {
        self.published().state().groups(who)
    }
}

fn enabled(published: &Published, name: &PrincipalName) -> Result<()> {
    match published.state().principal(name) {
        Some(principal) if principal.disabled => {
            Err(Error::new(Kind::Denied, format!("principal {name}")).because("it is disabled"))
        }
        Some(_) | None => Ok(()),
    }
}
