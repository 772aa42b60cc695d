//! The accepting end of gRPC: connections that came through a listener, their first words, and logins on them.
//!
//! What is served besides is the server's own: it adds its services to [`server`], and finds in each call's
//! [`Connection`] who is asking.

mod connection;
mod session;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use baton_proto::v1;
use baton_security::Anchor;
use baton_security::callers::Gate;
use baton_security::listen::{Accepted, AdmissionLimits, ListenLimits};
use baton_types::change::Who;
use baton_types::limits::AUTH_TOKEN_BYTES_MAX;
use baton_types::{Address, EntryName, Error, GroupName, Kind, Result};
use tokio::net::{TcpListener, lookup_host};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Server;
use tonic::transport::server::Router;

use crate::config::Limits;
pub use connection::{Connection, Io};

/// Calls and streams at once on one connection.
const STREAMS_MAX: u32 = 64;

/// What a server says of itself to whoever connects, and what it knows of callers.
pub trait House: Send + Sync + 'static {
    /// The authority it lies under.
    fn anchor(&self) -> &Anchor;
    /// Its name in the cell.
    fn name(&self) -> &EntryName;
    /// How far it knows the location database.
    fn applied(&self) -> u64;
    /// Puts the mechanisms on offer that the cell's settings name now.
    fn offer_as_set(&self);
    /// On whose behalf a call is made.
    ///
    /// # Errors
    /// `Expired` for a handle that is none; `Denied` for one who is disabled; `Unreachable` while it cannot know.
    fn who(&self, connection: &Connection, caller: u32) -> Result<Who>;
    /// The groups that somebody is in.
    fn groups(&self, who: &Who) -> Vec<GroupName>;
}

/// A gRPC server that greets and takes logins for `house`; other services are added to it.
pub fn server<H: House>(house: Arc<H>) -> Router {
    let session = v1::session_server::SessionServer::new(session::Sessions(house))
        .max_decoding_message_size(AUTH_TOKEN_BYTES_MAX * 2);
    Server::builder()
        .max_concurrent_streams(STREAMS_MAX)
        .http2_max_header_list_size(16 << 10)
        .http2_max_pending_accept_reset_streams(Some(20))
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .add_service(session)
}

/// What comes through a listener, for a gRPC server whose callers log in by `gate`.
pub fn incoming(accepted: mpsc::Receiver<Accepted>, gate: Arc<Gate>) -> impl Stream<Item = std::io::Result<Io>> {
    ReceiverStream::new(accepted).map(move |accepted| Ok(Io::new(accepted, gate.clone())))
}

/// Opens a socket for each of `addresses`; where one names no port, `port`.
///
/// # Errors
/// Naming the address; `Invalid` if there is none.
pub async fn bind(addresses: &[Address], port: u16) -> Result<Vec<TcpListener>> {
    let mut sockets = Vec::new();
    for address in resolve(addresses, port).await? {
        let socket = TcpListener::bind(address).await;
        sockets.push(socket.map_err(|e| Error::io(format!("listening on {address}"), e))?);
    }
    Ok(sockets)
}

/// Where to listen, by the configuration.
///
/// # Errors
/// Naming the address; `Invalid` if there is none.
pub async fn resolve(addresses: &[Address], port: u16) -> Result<Vec<SocketAddr>> {
    let mut resolved = Vec::new();
    for address in addresses {
        let on = format!("listening on {}", address.with_port(port));
        resolved.extend(
            lookup_host(address.with_port(port))
                .await
                .map_err(|e| Error::io(on, e))?,
        );
    }
    if resolved.is_empty() {
        return Err(Error::new(Kind::Invalid, "baton.toml").because("it names no address to listen on"));
    }
    Ok(resolved)
}

/// How a listener treats newcomers, by the configuration.
pub fn listen_limits(limits: &Limits) -> ListenLimits {
    let admission = AdmissionLimits {
        connections: limits.connections_per_address,
        connects_per_minute: limits.connections_per_minute,
        ..AdmissionLimits::default()
    };
    ListenLimits {
        admission,
        ..ListenLimits::default()
    }
}
