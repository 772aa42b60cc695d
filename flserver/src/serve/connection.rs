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
use baton_types::limits::HANDSHAKE_SECONDS_MAX;
use baton_types::{Error, Kind, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

/// What is known of the other end.
pub(super) struct Connection {
    pub(super) callers: Callers,
    /// Holds the connection's place among those of its address.
    pub(super) peer: Peer,
    greeted: AtomicBool,
}

impl Connection {
    /// Both sides have said which versions they speak.
    pub(super) fn greet(&self) {
        self.greeted.store(true, Ordering::Release);
    }

    /// Refuses a call that comes before the first words.
    pub(super) fn greeted(&self) -> Result<()> {
        if self.greeted.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(Error::new(Kind::Version, "connection")
            .because("every connection begins with Greet: versions and features"))
    }
}

/// A TLS stream that the gRPC library reads and writes.
pub(super) struct Io {
    stream: TlsStream<TcpStream>,
    connection: Arc<Connection>,
    /// Until the first words are said.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Io {
    pub(super) fn new(accepted: Accepted, gate: Arc<Gate>) -> Io {
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
