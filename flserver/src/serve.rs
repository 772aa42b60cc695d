//! Calls of clients, servers, administrators and other members.
//!
//! The life of a call: TLS was proved by `baton-security`; `serve/connection.rs` holds what is known of
//! the other end; the call's message names a caller, who becomes a [`Who`]; a lookup is answered from the
//! published state, a change goes to Raft with that name on it. Whether it may be done is decided where
//! it is applied.
//!
//! | file | serves |
//! |---|---|
//! | `serve/session.rs` | first words, logins |
//! | `serve/fldb.rs` | lookups, lists, changes, watches, status |
//! | `serve/issue.rs` | certificates for who was invited, and their renewal |
//! | `serve/members.rs` | the other members of the database |

mod connection;
mod fldb;
mod issue;
mod members;
mod session;

pub(crate) use members::{body, envelope};

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use baton_proto::v1;
use baton_security::auth::cert::CertAcceptor;
use baton_security::auth::host_trust::{HostTrustAcceptor, MayAssert};
use baton_security::auth::{Acceptor, Identity};
use baton_security::callers::{Admit, Gate};
use baton_security::listen::Accepted;
use baton_security::{Anchor, Authority};
use baton_types::change::Who;
use baton_types::limits::{AUTH_TOKEN_BYTES_MAX, FLDB_MESSAGE_BYTES_MAX, RAFT_MESSAGE_BYTES_MAX};
use baton_types::record::Table;
use baton_types::{Clock, EntryName, Error, Kind, PrincipalName, Result};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use crate::publish::Published;
use crate::raft;
use crate::state::is_administrator;
use connection::{Connection, Io};

/// How long a change or a fresh read may look for a leader before its caller is told that there is none.
const LEADER_DEADLINE: Duration = Duration::from_secs(5);
/// Calls and streams at once on one connection.
const STREAMS_MAX: u32 = 64;
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
    /// Members known from the time of joining, for as long as there is no state.
    pub founders: BTreeSet<String>,
    /// For certificates and logins.
    pub clock: Arc<dyn Clock>,
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
        let incoming =
            ReceiverStream::new(accepted).map(move |accepted| Ok::<_, std::io::Error>(Io::new(accepted, gate.clone())));
        let session = v1::session_server::SessionServer::from_arc(self.clone())
            .max_decoding_message_size(AUTH_TOKEN_BYTES_MAX * 2);
        let fldb = v1::fldb_server::FldbServer::from_arc(self.clone())
            .max_decoding_message_size(FLDB_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(FLDB_MESSAGE_BYTES_MAX);
        let raft = v1::raft_server::RaftServer::from_arc(self)
            .max_decoding_message_size(RAFT_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(RAFT_MESSAGE_BYTES_MAX);
        tonic::transport::Server::builder()
            .max_concurrent_streams(STREAMS_MAX)
            .http2_max_header_list_size(16 << 10)
            .http2_max_pending_accept_reset_streams(Some(20))
            .http2_keepalive_interval(Some(Duration::from_secs(10)))
            .http2_keepalive_timeout(Some(Duration::from_secs(10)))
            .add_service(session)
            .add_service(fldb)
            .add_service(raft)
            .serve_with_incoming(incoming)
            .await
            .map_err(|e| Error::new(Kind::Io, "location database").because(e.to_string()))
    }

    /// Puts the mechanisms on offer that the cell's settings name now.
    fn offer_as_set(&self) {
        let state = self.published().state();
        let Some(cell) = state.cell() else { return };
        let mut offered = self.offered.lock();
        if *offered != cell.auth {
            self.offer(&cell.auth);
            offered.clone_from(&cell.auth);
        }
    }

    fn offer(&self, mechanisms: &[String]) {
        let mut acceptors: Vec<Arc<dyn Acceptor>> = Vec::new();
        for mechanism in mechanisms {
            match mechanism.as_str() {
                "cert" => {
                    let name = self.name.clone();
                    acceptors.push(Arc::new(CertAcceptor::new(
                        self.anchor.clone(),
                        name,
                        self.clock.clone(),
                    )));
                }
                "host-trust" => {
                    let published = self.published().clone();
                    acceptors.push(Arc::new(HostTrustAcceptor::new(Arc::new(move |host| {
                        trust(&published, host)
                    }))));
                }
                unknown => tracing::error!(unknown, "a mechanism that this version does not know"),
            }
        }
        self.gate.offer(acceptors);
    }

    fn published(&self) -> &Arc<Published> {
        self.member.published()
    }

    /// The connection a call came on, once its first words were said.
    fn connection<T>(&self, request: &Request<T>) -> Result<Arc<Connection>, Status> {
        let connection = request.extensions().get::<Arc<Connection>>().cloned();
        let connection = connection.ok_or_else(|| Status::internal("a call without a connection"))?;
        connection.greeted().map_err(|e| baton_proto::into_status(&e))?;
        Ok(connection)
    }

    /// On whose behalf a call is made.
    fn who(&self, connection: &Connection, caller: u32) -> Result<Who> {
        if !self.open.load(Ordering::Acquire) {
            return Err(
                Error::new(Kind::Unreachable, format!("member {}", self.name)).because("it is still reading its log")
            );
        }
        let who = match (connection.callers.find(caller)?, &connection.callers.channel().host) {
            (Some(identity), _) => Who::Principal {
                name: identity.principal.clone(),
                mech: identity.mech.to_owned(),
            },
            (None, Some(host)) => Who::Host {
                name: host.principal.clone(),
                server: host.server,
            },
            (None, None) => Who::Nobody,
        };
        if let Some(name) = who.principal() {
            enabled(self.published(), name)?;
        }
        Ok(who)
    }

    /// Where things are may be asked by anyone; who is who, and what was done, by those who are logged in;
    /// invitations by administrators.
    fn may_read(&self, who: &Who, tables: &[Table]) -> Result<()> {
        let is_private = |table: &&Table| matches!(table, Table::Principal | Table::Event | Table::Invitation);
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

fn enabled(published: &Published, name: &PrincipalName) -> Result<()> {
    match published.state().principal(name) {
        Some(principal) if principal.disabled => {
            Err(Error::new(Kind::Denied, format!("principal {name}")).because("it is disabled"))
        }
        Some(_) | None => Ok(()),
    }
}

fn trust(published: &Published, host: &PrincipalName) -> MayAssert {
    match published.state().principal(host) {
        Some(p) if p.disabled => MayAssert::Nobody,
        Some(p) if p.may_assert_users && p.may_assert_root => MayAssert::UsersAndRoot,
        Some(p) if p.may_assert_users => MayAssert::Users,
        Some(_) | None => MayAssert::Nobody,
    }
}
