//! The accepting end: who may connect, the handshake, and what it proved.
//!
//! ```text
//! TCP ─ admission by address ─ TLS, a deadline, so many at once ─ Accepted, in a queue ─ the server
//! ```
//! Nothing that a stranger sends reaches the server: plaintext, old TLS, silence and floods end here, each with
//! one line in the log a minute for each address. When the queue is full or all handshakes are taken, newcomers
//! wait in the kernel's backlog.

mod admission;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use baton_types::limits::{HANDSHAKE_SECONDS_MAX, HANDSHAKES_MAX};
use baton_types::{Clock, Error, Kind, Result};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::names::Names;
use crate::tls::{Channel, ChannelBinding, HostTls, Wire, explain_io};

pub use admission::{Admission, AdmissionLimits, Refusal, Source};

/// Connections that wait for the server to take them.
const QUEUE: usize = 64;
/// How long to leave the listener alone when the machine is out of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How a listener treats newcomers.
#[derive(Clone, Copy, Debug)]
pub struct ListenLimits {
    /// By address, before TLS.
    pub admission: AdmissionLimits,
    /// Handshakes at once.
    pub handshakes: usize,
    /// How long one may take.
    pub handshake: Duration,
}

impl Default for ListenLimits {
    fn default() -> ListenLimits {
        ListenLimits {
            admission: AdmissionLimits::default(),
            handshakes: HANDSHAKES_MAX,
            handshake: Duration::from_secs(HANDSHAKE_SECONDS_MAX),
        }
    }
}

/// A connection whose handshake is done.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: TlsStream<TcpStream>,
    /// Who is at the other end.
    pub peer: Peer,
}

/// The other end of a connection. It counts as one of its address until the last copy of this is gone.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where it connected from.
    pub address: SocketAddr,
    /// What TLS proved.
    pub channel: Channel,
    _place: Arc<Place>,
}

/// A port that is listened on, until this is dropped. Connections that were taken live on.
#[derive(Debug)]
pub struct Listener {
    task: JoinHandle<()>,
}

/// What the accept loop and its handshakes share.
struct Door {
    tls: Arc<HostTls>,
    wire: Wire,
    limits: ListenLimits,
    clock: Arc<dyn Clock>,
    admission: Arc<Mutex<Admission>>,
}

/// One connection's place among those of its address.
struct Place {
    admission: Arc<Mutex<Admission>>,
    source: Source,
}

impl Listener {
    /// Listens on `socket`; what comes through is in the queue. Call it within a runtime.
    pub fn start(
        socket: TcpListener,
        tls: Arc<HostTls>,
        wire: Wire,
        limits: ListenLimits,
        clock: Arc<dyn Clock>,
    ) -> (Listener, mpsc::Receiver<Accepted>) {
        let (queue, accepted) = mpsc::channel(QUEUE);
        let admission = Arc::new(Mutex::new(Admission::new(limits.admission)));
        let door = Arc::new(Door {
            tls,
            wire,
            limits,
            clock,
            admission,
        });
        let task = tokio::spawn(door.run(socket, queue));
        (Listener { task }, accepted)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Door {
    /// Accepts until the server no longer takes what comes through. The handshakes end with it.
    async fn run(self: Arc<Door>, socket: TcpListener, queue: mpsc::Sender<Accepted>) {
        let mut handshakes = JoinSet::new();
        loop {
            while handshakes.len() >= self.limits.handshakes.max(1) {
                handshakes.join_next().await;
            }
            let connect = tokio::select! {
                connect = socket.accept() => connect,
                Some(_) = handshakes.join_next() => continue,
                () = queue.closed() => return,
            };
            match connect {
                Ok((tcp, address)) => {
                    if let Some(place) = self.admit(address) {
                        handshakes.spawn(self.clone().shake_and_queue(tcp, address, place, queue.clone()));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, address: SocketAddr) -> Option<Place> {
        let source = Source::of(address.ip());
        let result = self.admission.lock().enter(self.clock.now(), source);
        match result {
            Ok(()) => Some(Place {
                admission: self.admission.clone(),
                source,
            }),
            Err(refusal) => {
                self.record(
                    address,
                    &Error::new(Kind::Limit, address.to_string()).because(refusal.text()),
                );
                None
            }
        }
    }

    async fn shake_and_queue(
        self: Arc<Door>,
        tcp: TcpStream,
        address: SocketAddr,
        place: Place,
        queue: mpsc::Sender<Accepted>,
    ) {
        match self.shake(tcp, address, place).await {
            // A server that is gone takes nothing more, and the connection ends with it.
            Ok(accepted) => drop(queue.send(accepted).await),
            Err(error) => self.record(address, &error),
        }
    }

    async fn shake(&self, tcp: TcpStream, address: SocketAddr, place: Place) -> Result<Accepted> {
        let on = || address.to_string();
        tcp.set_nodelay(true).map_err(|e| Error::io(on(), e))?;
        let handshake = TlsAcceptor::from(self.tls.server(self.wire)).accept(tcp);
        let late = |_| {
            Error::new(Kind::TimedOut, on()).because(format!("no TLS handshake within {:?}", self.limits.handshake))
        };
        let stream = timeout(self.limits.handshake, handshake)
            .await
            .map_err(late)?
            .map_err(|e| explain_io(&on(), e))?;
        let connection = stream.get_ref().1;
        if connection.alpn_protocol().is_none() {
            return Err(Error::new(Kind::Version, on()).because("it names no protocol"));
        }
        let leaf = connection.peer_certificates().and_then(|chain| chain.first());
        let host = leaf.map(|leaf| Names::of(leaf)).transpose()?;
        let channel = Channel {
            binding: ChannelBinding::of(connection)?,
            host,
        };
        let peer = Peer {
            address,
            channel,
            _place: Arc::new(place),
        };
        Ok(Accepted { stream, peer })
    }

    /// Says in the log why a connection came to nothing: once a minute for each source.
    fn record(&self, address: SocketAddr, error: &Error) {
        let may = self
            .admission
            .lock()
            .may_record(self.clock.now(), Source::of(address.ip()));
        if let Some(suppressed) = may {
            tracing::info!(%error, suppressed, wire = ?self.wire, "connection refused");
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.lock().leave(self.source);
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.source)
    }
}

#[cfg(test)]
mod tests;
