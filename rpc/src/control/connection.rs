//! One connection: its stream for the gRPC library, and what is known of its other end.
//!
//! A connection that does not say its first words in time is cut off, like one that does not shake hands.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use baton_security::callers::{Callers, Gate};
use baton_security::listen::{Accepted, Peer};
use baton_types::change::Who;
use baton_types::limits::HANDSHAKE_SECONDS_MAX;
use baton_types::{Error, Kind, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tonic::Request;
use tonic::transport::server::Connected;

/// What is known of the other end.
pub struct Connection {
    /// Who is logged in on it.
    pub callers: Callers,
    /// Holds the connection's place among those of its address.
    pub peer: Peer,
    greeted: AtomicBool,
}

impl Connection {
    /// The connection that a call came on, once its first words were said.
    ///
    /// # Errors
    /// `Version` before that.
    pub fn of<T>(request: &Request<T>) -> Result<Arc<Connection>> {
        let connection = Connection::begun(request)?;
        connection.greeted()?;
        Ok(connection)
    }

    /// The connection that a call came on, whatever was said before.
    pub(super) fn begun<T>(request: &Request<T>) -> Result<Arc<Connection>> {
        let connection = request.extensions().get::<Arc<Connection>>().cloned();
        connection.ok_or_else(|| Error::new(Kind::Io, "a call").because("it came on no connection"))
    }

    /// Who a caller's handle stands for; without one, the machine at the other end, or nobody.
    ///
    /// # Errors
    /// As [`Callers::find`].
    pub fn who(&self, caller: u32) -> Result<Who> {
        Ok(match (self.callers.find(caller)?, &self.callers.channel().host) {
            (Some(identity), _) => Who::Principal {
                name: identity.principal.clone(),
                mech: identity.mech.to_owned(),
            },
            (None, Some(host)) => Who::Host {
                name: host.principal.clone(),
                server: host.server,
            },
            (None, None) => Who::Nobody,
        })
    }

    /// Both sides have said which versions they speak.
    pub(super) fn greet(&self) {
        self.greeted.store(true, Ordering::Release);
    }

    /// Refuses a call that comes before the first words.
    fn greeted(&self) -> Result<()> {
        if self.greeted.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(Error::new(Kind::Version, "connection")
            .because("every connection begins with Greet: versions and features"))
    }
}

/// A TLS stream that the gRPC library reads and writes.
pub struct Io {
    stream: TlsStream<TcpStream>,
    connection: Arc<Connection>,
    /// Until the first words are said.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Io {
    /// For a connection whose callers log in by `gate`.
    pub fn new(accepted: Accepted, gate: Arc<Gate>) -> Io {
        let callers = Callers::new(gate, accepted.peer.channel.clone());
        let connection = Arc::new(Connection {
            callers,
            peer: accepted.peer,
            greeted: AtomicBool::new(false),
        });
        let deadline = Some(Box::pin(sleep(Duration::from_secs(HANDSHAKE_SECONDS_MAX))));
        Io {
            stream: accepted.stream,
            connection,
            deadline,
        }
    }
}

impl Connected for Io {
    type ConnectInfo = Arc<Connection>;

    fn connect_info(&self) -> Arc<Connection> {
        self.connection.clone()
    }
}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.deadline.is_some() && self.connection.greeted().is_ok() {
            self.deadline = None;
        }
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no first words")));
        }
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
