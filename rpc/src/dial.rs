//! One connection to a machine of the cell: TCP, TLS 1.3, HTTP/2, and the first words of both sides.
//!
//! The HTTP/2 client is handed one stream, made beforehand, and never a second: what a login proved holds for
//! this connection only, so a reconnect must be a new [`Connection`], with no callers.
//! Several places are tried side by side, each a little later than the one before; the first that greets wins.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use baton_proto::v1::fldb_client::FldbClient;
use baton_proto::v1::session_client::SessionClient;
use baton_proto::{FromWire, failure_of, from_status, v1};
use baton_security::auth::Initiator;
use baton_security::{Anchor, ClientTls, Dialled, explain_source};
use baton_types::limits::{AUTH_TOKEN_BYTES_MAX, FLDB_MESSAGE_BYTES_MAX};
use baton_types::{Address, CellId, EntryName, Error, Features, Hello, Kind, PrincipalName, Result, Timestamp};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// The shortest time that an address is given: below it a busy machine across a wide network looks dead.
const CONNECT_MIN: Duration = Duration::from_millis(250);
/// How much later the next place is tried while the one before has not answered; as RFC 8305 §8 recommends.
const STAGGER: Duration = Duration::from_millis(250);
/// A quiet connection is probed this often, so that a machine that vanished is found out without a call.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// How long the answer to a probe may take: as long again, because a machine under load answers late.
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// As at the servers: what we send is far smaller, and a peer may not make us hold more.
const HEADER_BYTES_MAX: u32 = 16 << 10;
/// Tokens that one login may take: Kerberos needs two.
const LOGIN_STEPS_MAX: usize = 8;

/// Where to dial, and whom to find there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The machine; `None`: any of the cell, for one who knows only addresses.
    pub name: Option<EntryName>,
    /// Without a port, the one the dialler is for.
    pub address: Address,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) if name.as_str() != self.address.to_string() => write!(f, "{name} ({})", self.address),
            _ => write!(f, "{}", self.address),
        }
    }
}

/// How to dial: a cheap copy.
#[derive(Clone, Debug)]
pub struct Dialer {
    tls: ClientTls,
    source: Option<IpAddr>,
    port: u16,
}

/// Places that were tried in vain, and why each failed.
pub type Failures = Vec<(Target, Error)>;

impl Dialer {
    /// Dials by `tls`, from `source` if given, to `port` where an address names none.
    pub fn new(tls: ClientTls, source: Option<IpAddr>, port: u16) -> Dialer {
        Dialer { tls, source, port }
    }

    /// The first of `targets` that greets. They are begun in this order; one that fails makes way at once.
    ///
    /// # Errors
    /// Why each failed.
    pub async fn first(&self, targets: &[Target], deadline: Instant) -> Result<Connection, Failures> {
        let mut rest = targets.iter().cloned();
        let mut attempts = JoinSet::new();
        let mut failures = Failures::new();
        loop {
            let begun = rest.next().map(|target| {
                let dialer = self.clone();
                attempts.spawn(async move {
                    let result = dialer.connect(&target, deadline).await;
                    (target, result)
                });
            });
            if begun.is_none() && attempts.is_empty() {
                return Err(failures);
            }
            // With nothing left to begin, only the end of an attempt is news.
            let next = async {
                match begun {
                    Some(()) => sleep(STAGGER).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(ended) = attempts.join_next() => match ended {
                    Ok((_, Ok(connection))) => return Ok(connection),
                    Ok((target, Err(error))) => failures.push((target, error)),
                    Err(panic) => std::panic::resume_unwind(panic.into_panic()),
                },
                () = next => {}
            }
        }
    }

    /// Dials `target` until `deadline`, but no less than a quarter of a second.
    ///
    /// # Errors
    /// `Unreachable` when nobody answers; `Denied`, `Expired` or `Version` when the wrong one does.
    pub async fn connect(&self, target: &Target, deadline: Instant) -> Result<Connection> {
        let begun = Instant::now();
        let late = |_| {
            let waited = begun.elapsed().as_millis();
            Error::new(Kind::Unreachable, target.to_string()).because(format!("no answer within {waited} ms"))
        };
        let deadline = deadline.max(begun + CONNECT_MIN);
        timeout_at(deadline, self.open(target, deadline))
            .await
            .map_err(late)?
            .map_err(|e| Error {
                on: target.to_string(),
                ..e
            })
    }

    async fn open(&self, target: &Target, deadline: Instant) -> Result<Connection> {
        let tcp = self.tcp(target, deadline).await?;
        let dialled = match &target.name {
            Some(name) => self.tls.connect(tcp, name).await?,
            None => self.tls.connect_any(tcp).await?,
        };
        Connection::greet(dialled, target).await
    }

    /// The first address of the target's host that takes a connection.
    async fn tcp(&self, target: &Target, deadline: Instant) -> Result<TcpStream> {
        let on = target.to_string();
        let failed = |e: &io::Error| Error::new(Kind::Unreachable, on.clone()).because(plain(e));
        let unknown = |e: io::Error| failed(&e).remedy("check the name, or give an IP address");
        let addresses: Vec<SocketAddr> = lookup_host(target.address.with_port(self.port))
            .await
            .map_err(unknown)?
            .collect();
        let mut last = Error::new(Kind::Unreachable, on.clone()).because("its name has no address");
        for (index, address) in addresses.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
            match timeout(share.max(CONNECT_MIN), self.tcp_to(*address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(e)) => last = failed(&e),
                Err(_) => last = failed(&io::ErrorKind::TimedOut.into()),
            }
        }
        Err(last)
    }

    /// Whether the target's host says that nobody listens there: a word of its own, and not the silence of a network.
    pub(crate) async fn is_refused(&self, target: &Target) -> bool {
        let Ok(mut addresses) = lookup_host(target.address.with_port(self.port)).await else {
            return false;
        };
        let Some(address) = addresses.next() else { return false };
        let refused = |e: io::Error| e.kind() == io::ErrorKind::ConnectionRefused;
        self.tcp_to(address).await.is_err_and(refused)
    }

    async fn tcp_to(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        match self.source {
            Some(source) if source.is_ipv4() == address.is_ipv4() => socket.bind(SocketAddr::new(source, 0))?,
            Some(_) | None => {}
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Who a handle on a connection stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Goes with every call.
    pub handle: u32,
    /// As whom the server knows it.
    pub principal: PrincipalName,
    /// Until when, by the server's date.
    pub expires: Timestamp,
}

/// A connection on which both sides have greeted. A cheap copy; when it breaks, all copies are broken for good.
#[derive(Clone, Debug)]
pub struct Connection {
    grpc: Channel,
    target: Target,
    member: EntryName,
    applied: u64,
    features: Features,
    proved: Arc<Proved>,
}

#[derive(Debug)]
struct Proved {
    channel: baton_security::Channel,
    anchor: Anchor,
}

impl Connection {
    async fn greet(dialled: Dialled, target: &Target) -> Result<Connection> {
        let on = || target.to_string();
        let grpc = http2(dialled.stream).await.map_err(|e| {
            explain_source(&on(), &e)
                .unwrap_or_else(|| Error::new(Kind::Unreachable, on()).because("it does not speak HTTP/2"))
        })?;
        let reply = session_client(&grpc)
            .greet(v1::Hello::from(Hello::OURS))
            .await
            .map_err(|status| refused(&on(), &status))?
            .into_inner();
        let theirs = reply
            .hello
            .ok_or_else(|| Error::new(Kind::Version, on()).because("it greets without a version"))?;
        let (_, features) = Hello::OURS.agree(theirs.into())?;
        let member = EntryName::from_wire(&reply.member)?;
        let (channel, anchor) = (dialled.channel, dialled.anchor);
        let proved = channel.host.as_ref().and_then(|names| names.host());
        if proved != Some(member.as_str()) {
            return Err(Error::new(Kind::Denied, on()).because(format!(
                "it says that it is {member}, and its certificate says {}",
                proved.unwrap_or("no machine")
            )));
        }
        if CellId::from_wire(&reply.cell_id)? != anchor.id() {
            return Err(Error::new(Kind::Denied, on()).because(format!(
                "it is of a cell called {} with another id",
                reply.cell.escape_ascii()
            )));
        }
        Ok(Connection {
            grpc,
            target: Target {
                name: Some(member.clone()),
                address: target.address.clone(),
            },
            member,
            applied: reply.applied,
            features,
            proved: Arc::new(Proved { channel, anchor }),
        })
    }

    /// Logs in, and returns the handle: good on this connection only.
    ///
    /// # Errors
    /// `Denied` or `Expired` when the proof is refused; `Unreachable` when the connection broke.
    pub async fn login(&self, initiator: &Arc<dyn Initiator>) -> Result<Caller> {
        let mech = initiator.name();
        let mut exchange = initiator.start(&self.member);
        let (mut conversation, mut answer) = (0, Vec::new());
        for _ in 0..LOGIN_STEPS_MAX {
            let channel = self.proved.channel.clone();
            // A mechanism may read files or ask a KDC.
            let step = move || {
                let token = exchange.step(&channel, &answer);
                token.map(|token| (exchange, token))
            };
            let (returned, token) = tokio::task::spawn_blocking(step)
                .await
                .map_err(|e| Error::new(Kind::Io, format!("login by {mech}")).from_source(e))??;
            exchange = returned;
            let request = v1::AuthenticateRequest {
                mech: mech.to_owned(),
                conversation,
                token,
            };
            let reply = self.session().authenticate(request).await;
            let reply = reply.map_err(|status| from_status(&status))?.into_inner();
            if reply.done {
                exchange.finish(&self.proved.channel, &reply.token)?;
                return Ok(Caller {
                    handle: reply.caller,
                    principal: PrincipalName::from_wire(&reply.principal)?,
                    expires: Timestamp(reply.expires),
                });
            }
            (conversation, answer) = (reply.conversation, reply.token);
        }
        Err(Error::new(Kind::Limit, format!("login by {mech}"))
            .because(format!("{} wants more than {LOGIN_STEPS_MAX} tokens", self.member)))
    }

    /// Greeting and logins.
    pub fn session(&self) -> SessionClient<Channel> {
        session_client(&self.grpc)
    }

    /// The location database.
    pub fn fldb(&self) -> FldbClient<Channel> {
        FldbClient::new(self.grpc.clone())
            .max_decoding_message_size(FLDB_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(FLDB_MESSAGE_BYTES_MAX)
    }

    /// For the clients of other services; they set their own limits.
    pub fn grpc(&self) -> Channel {
        self.grpc.clone()
    }

    /// Where it leads, with the name of the one who answered.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Who answered: as its certificate says, and as it says itself.
    pub fn member(&self) -> &EntryName {
        &self.member
    }

    /// The index that it had applied when it greeted.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// What both sides can do.
    pub fn features(&self) -> Features {
        self.features
    }

    /// The authority that it lies under.
    pub fn anchor(&self) -> &Anchor {
        &self.proved.anchor
    }
}

fn session_client(grpc: &Channel) -> SessionClient<Channel> {
    // A token, and a little around it.
    let max = 2 * AUTH_TOKEN_BYTES_MAX;
    SessionClient::new(grpc.clone())
        .max_decoding_message_size(max)
        .max_encoding_message_size(max)
}

/// HTTP/2 over this one stream.
async fn http2<S>(stream: S) -> Result<Channel, tonic::transport::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let only = Mutex::new(Some(TokioIo::new(stream)));
    let connector = tower::service_fn(move |_| {
        let stream = only.lock().take();
        async move { stream.ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "the connection is gone")) }
    });
    Endpoint::from_static("https://baton.invalid")
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .connect_with_connector(connector)
        .await
}

/// Why a greeting was refused: the server's own words, those of its TLS, or that the connection broke.
fn refused(on: &str, status: &Status) -> Error {
    failure_of(status)
        .or_else(|| explain_source(on, status))
        .unwrap_or_else(|| from_status(status))
}

/// An I/O error in lower-case words, without the number.
fn plain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(_) => error.kind().to_string(),
        None => error.to_string(),
    }
}
