//! Serving: connections in, calls to the service, answers out in the order in which they are known.
//!
//! ```text
//! socket ─ admission, TLS ─ first words ─ frames ─▶ calls ─▶ Service ─▶ answers ─ written together
//!                                                     └ changes: in their order, once (session::server)
//! ```
//! One single-threaded loop per CPU, each with a socket of its own for the same port; a connection stays where it was
//! accepted, and any loop serves any aggregate. Nothing here waits for the store.
//!
//! | file | is |
//! |---|---|
//! | `serve/connection.rs` | one connection: reader, writer, logins, budgets |
//! | `serve/turns.rs` | changes of all connections: which runs, who hears of it |
//! | `serve/records.rs` | what is written to the log about strangers |

mod connection;
mod records;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use baton_proto::files::ServerHello;
use baton_rpc::session::frame::Pool;
use baton_rpc::session::server::Session;
use baton_security::auth::Acceptor;
use baton_security::auth::cert::CertAcceptor;
use baton_security::auth::host_trust::HostTrustAcceptor;
use baton_security::callers::{Callers, Gate};
use baton_security::listen::{ListenLimits, Listener};
use baton_security::{Anchor, HostTls, Wire};
use baton_types::{ClientId, Clock, EntryName, Error, Hello, PrincipalName, Result};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, watch};

use crate::pulse::{Mark, Pulse};
use crate::pushes::Pushes;
use crate::service::Service;
use crate::who::Registry;
use records::Records;
use turns::Turns;

/// Bytes that calls and answers of all connections may take together: sixteen of the greediest.
const BYTES_MAX: usize = 256 << 20;
/// Connections that wait in the kernel to be accepted, for each loop.
const BACKLOG: u32 = 1_024;

/// What a server is made of.
pub struct Setup {
    /// Where to listen.
    pub addresses: Vec<SocketAddr>,
    /// This machine's certificate.
    pub tls: Arc<HostTls>,
    /// The authority that clients lie under.
    pub anchor: Anchor,
    /// This machine's name, as in the certificate.
    pub name: EntryName,
    /// Who may connect, and how often.
    pub limits: ListenLimits,
    /// Logins and records.
    pub clock: Arc<dyn Clock>,
    /// What answers.
    pub service: Arc<Service>,
    /// Who is who.
    pub registry: Arc<Registry>,
    /// What is told unasked.
    pub pushes: Arc<Pushes>,
    /// Loops; one per CPU.
    pub loops: usize,
    /// Where each loop shows that it goes round.
    pub pulse: Arc<Pulse>,
}

/// The file service on its port, until it is dropped: then no connection is left.
pub struct Server {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    loops: Vec<JoinHandle<()>>,
}

/// What all connections share.
struct Shared {
    hello: ServerHello,
    service: Arc<Service>,
    pushes: Arc<Pushes>,
    gate: Arc<Gate>,
    clock: Arc<dyn Clock>,
    pool: Arc<Pool>,
    turns: Turns,
    clients: Mutex<BTreeMap<ClientId, Client>>,
    callers: Mutex<Vec<Weak<Callers>>>,
    /// Of calls and answers now.
    bytes: AtomicUsize,
    /// Logins that work at once: each may take a while, and they are not what the CPUs are for.
    logins: Semaphore,
    records: Records,
}

/// A mount that is connected.
#[derive(Default)]
struct Client {
    connections: usize,
    sessions: BTreeSet<Session>,
}

impl Server {
    /// Clients that are connected.
    pub fn clients(&self) -> u32 {
        u32::try_from(self.shared.clients.lock().len()).unwrap_or(u32::MAX)
    }

    /// Listens, and serves from now on. Nobody can log in before [`Server::offer`].
    ///
    /// # Errors
    /// `Io` if an address cannot be listened on, naming it.
    pub fn start(setup: Setup) -> Result<Server> {
        let registry = setup.registry.clone();
        let admit = Box::new(move |identity: &_| registry.admit(identity));
        let shared = Arc::new(Shared {
            hello: ServerHello {
                hello: Hello::OURS,
                server: setup.name.clone(),
                cell: setup.anchor.id(),
            },
            service: setup.service.clone(),
            pushes: setup.pushes.clone(),
            gate: Arc::new(Gate::new(Vec::new(), admit, setup.clock.clone())),
            clock: setup.clock.clone(),
            pool: Arc::default(),
            turns: Turns::default(),
            clients: Mutex::default(),
            callers: Mutex::default(),
            bytes: AtomicUsize::new(0),
            logins: Semaphore::new(2 * setup.loops.max(1)),
            records: Records::default(),
        });
        let (stop, stopped) = watch::channel(false);
        let mut server = Server {
            shared,
            stop,
            loops: Vec::new(),
        };
        for number in 0..setup.loops.max(1) {
            let sockets = setup.addresses.iter().map(|address| bind(*address));
            let sockets = sockets.collect::<Result<Vec<_>>>()?;
            let (shared, stopped) = (server.shared.clone(), stopped.clone());
            let (tls, limits, mark) = (setup.tls.clone(), setup.limits, setup.pulse.mark());
            let body = move || run(&shared, sockets, (&tls, limits), mark, stopped);
            let thread = std::thread::Builder::new()
                .name(format!("serve {number}"))
                .spawn(body)
                .map_err(|e| Error::io("thread", e))?;
            server.loops.push(thread);
        }
        Ok(server)
    }

    /// Takes logins by these mechanisms from now on, best first, as the cell's settings name them.
    pub fn offer(&self, mechanisms: &[String], setup: &Offer) {
        let mut acceptors: Vec<Arc<dyn Acceptor>> = Vec::new();
        for mechanism in mechanisms {
            match mechanism.as_str() {
                "cert" => acceptors.push(Arc::new(CertAcceptor::new(
                    setup.anchor.clone(),
                    self.shared.hello.server.clone(),
                    self.shared.clock.clone(),
                ))),
                "host-trust" => {
                    let registry = setup.registry.clone();
                    let trust = Arc::new(move |host: &PrincipalName| registry.may_assert(host));
                    acceptors.push(Arc::new(HostTrustAcceptor::new(trust)));
                }
                unknown => tracing::error!(unknown, "a mechanism that this version does not know"),
            }
        }
        self.shared.gate.offer(acceptors);
    }

    /// Ends all logins of a principal, on every connection.
    pub fn end(&self, principal: &PrincipalName) {
        let callers: Vec<_> = self.shared.callers.lock().iter().filter_map(Weak::upgrade).collect();
        let ended: usize = callers.iter().map(|callers| callers.end(principal)).sum();
        if ended > 0 {
            tracing::info!(%principal, ended, "logins ended");
        }
    }
}

/// What logins are judged by.
pub struct Offer {
    /// The authority of users' certificates.
    pub anchor: Anchor,
    /// For whom machines may speak.
    pub registry: Arc<Registry>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        for thread in self.loops.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a loop had ended by a panic");
            }
        }
    }
}

/// A socket that shares its port with those of the other loops.
fn bind(address: SocketAddr) -> Result<std::net::TcpListener> {
    let failed = |e| Error::io(format!("address {address}"), e);
    let runtime = match tokio::runtime::Handle::try_current() {
        Ok(_) => None, // we are in one
        Err(_) => Some(
            tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .build()
                .map_err(failed)?,
        ),
    };
    let _inside = runtime.as_ref().map(tokio::runtime::Runtime::enter);
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
    .map_err(failed)?;
    socket.set_reuseaddr(true).map_err(failed)?;
    socket.set_reuseport(true).map_err(failed)?;
    socket.bind(address).map_err(failed)?;
    let listener = socket.listen(BACKLOG).map_err(failed)?;
    listener.into_std().map_err(failed)
}

/// One loop, until it is told to stop.
fn run(
    shared: &Arc<Shared>,
    sockets: Vec<std::net::TcpListener>,
    (tls, limits): (&Arc<HostTls>, ListenLimits),
    mark: Mark,
    mut stopped: watch::Receiver<bool>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no loop");
            return;
        }
    };
    runtime.block_on(async {
        tokio::spawn(mark.keep());
        let mut listeners = Vec::new();
        for socket in sockets {
            let socket = match TcpListener::from_std(socket) {
                Ok(socket) => socket,
                Err(error) => {
                    tracing::error!(%error, "a socket cannot be listened on");
                    continue;
                }
            };
            let (listener, mut accepted) =
                Listener::start(socket, tls.clone(), Wire::Files, limits, shared.clock.clone());
            listeners.push(listener);
            let shared = shared.clone();
            tokio::spawn(async move {
                while let Some(accepted) = accepted.recv().await {
                    tokio::spawn(connection::serve(shared.clone(), accepted));
                }
            });
        }
        // The sender lives as long as the server: an error says that it is gone.
        drop(stopped.wait_for(|stop| *stop).await);
    });
    // Connections end with the runtime that they run on.
}

#[cfg(test)]
mod tests;
