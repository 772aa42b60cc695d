//! Dialling a file server: its addresses one after the other, TLS, the first words.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use baton_proto::files::{ClientHello, ServerHello};
use baton_security::ClientTls;
use baton_types::call::Role;
use baton_types::{CellId, ClientId, Error, FrameKind, Hello, Kind, Result};
use bytes::Bytes;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};

use super::Wire;
use super::tls::{TlsWire, wait};
use crate::Owner;
use crate::config::PORT_FILES;
use crate::session::frame::{Frame, Name, Pool};

/// How long all of it may take: a dead server must be found out, and its successor asked.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes that were sent and not acknowledged for this long end a connection (HA §4.1).
const USER_TIMEOUT_MILLIS: u32 = 1_000;
/// After so much silence the other machine is asked whether it is there; with the time above, one that went without a
/// word is found out although nothing is sent.
const KEEPALIVE: Duration = Duration::from_secs(2);

/// How connections come about: over a network, or in a test's own way.
pub trait Dial: Send + Sync {
    /// A connection to the owner of an aggregate, for `role`. Blocks for a second at most.
    ///
    /// # Errors
    /// Why there is none.
    fn dial(&self, owner: &Owner, role: Role) -> Result<Box<dyn Wire>>;
}

/// Dials file servers.
pub struct Files {
    /// Which mount.
    pub client: ClientId,
    /// How to dial now.
    pub tls: Arc<dyn Fn() -> ClientTls + Send + Sync>,
    /// From this address of the machine.
    pub source: Option<IpAddr>,
    /// Buffers for what comes.
    pub pool: Arc<Pool>,
}

impl Dial for Files {
    fn dial(&self, owner: &Owner, role: Role) -> Result<Box<dyn Wire>> {
        let deadline = Instant::now() + PATIENCE;
        let on = format!("server {}", owner.server);
        let tcp = self.tcp(owner, &on, deadline)?;
        let (mut wire, cell) = TlsWire::shake(tcp, &(self.tls)(), &owner.server, self.pool.clone(), deadline)?;
        let hello = Hello::OURS;
        let client = self.client;
        let meta = ClientHello { hello, client, role }.encode();
        wire.send(&[Frame::new(Name::default(), FrameKind::Call, meta, Bytes::new())?])?;
        let late = || Error::new(Kind::Unreachable, on.clone()).because("it does not say its first words");
        let first = wire
            .recv(deadline.saturating_duration_since(Instant::now()))?
            .ok_or_else(late)?;
        greeted(&first, owner, cell, &on)?;
        Ok(Box::new(wire))
    }
}

/// Whether the one who answers is the one who was dialled.
fn greeted(first: &Frame, owner: &Owner, cell: CellId, on: &str) -> Result<()> {
    let theirs = ServerHello::decode(&first.meta)?;
    Hello::OURS.agree(theirs.hello)?;
    if theirs.server != owner.server || theirs.cell != cell {
        let reason = format!(
            "it says that it is {} of another cell, or another server",
            theirs.server
        );
        return Err(Error::new(Kind::Denied, on).because(reason));
    }
    Ok(())
}

impl Files {
    /// The first address that takes a connection.
    fn tcp(&self, owner: &Owner, on: &str, deadline: Instant) -> Result<TcpStream> {
        let mut last = Error::new(Kind::Unreachable, on).because("it has no address");
        for (index, address) in owner.addresses.iter().enumerate() {
            let resolved = match address.with_port(PORT_FILES).to_socket_addrs() {
                Ok(resolved) => resolved,
                Err(error) => {
                    last = Error::new(Kind::Unreachable, on).because(format!("{address}: {error}"));
                    continue;
                }
            };
            // What is left is shared by those that were not tried.
            let share = (owner.addresses.len() - index) as u32;
            for target in resolved {
                let left = deadline.saturating_duration_since(Instant::now());
                match self.tcp_to(target, Instant::now() + left / share) {
                    Ok(tcp) => return Ok(tcp),
                    Err(error) => {
                        last = Error::new(Kind::Unreachable, on).because(format!("{target}: {error}"));
                    }
                }
            }
        }
        Err(last)
    }

    fn tcp_to(&self, target: SocketAddr, deadline: Instant) -> io::Result<TcpStream> {
        let family = match target {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        match self.source {
            Some(source) if source.is_ipv4() == target.is_ipv4() => bind(&socket, &SocketAddr::new(source, 0))?,
            Some(_) | None => {}
        }
        match connect(&socket, &target) {
            Ok(()) => {}
            Err(Errno::INPROGRESS) => {
                if !wait(socket.as_fd(), PollFlags::OUT, deadline)? {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                sockopt::socket_error(&socket)??;
            }
            Err(error) => return Err(error.into()),
        }
        sockopt::set_tcp_nodelay(&socket, true)?;
        sockopt::set_tcp_user_timeout(&socket, USER_TIMEOUT_MILLIS)?;
        sockopt::set_socket_keepalive(&socket, true)?;
        sockopt::set_tcp_keepidle(&socket, KEEPALIVE)?;
        sockopt::set_tcp_keepintvl(&socket, KEEPALIVE)?;
        Ok(socket.into())
    }
}
