//! The way to the other members, for real: gRPC over TLS, one connection to each.
//!
//! A connection that breaks is forgotten, and the next message dials anew. Dialling goes on when the
//! message that began it has run out of time, so that slow networks too get connected.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use baton_proto::v1::raft_client::RaftClient;
use baton_proto::v1::{Envelope, SnapshotPiece};
use baton_proto::{failure_of, from_status};
use baton_rpc::config::PORT_FLDB;
use baton_rpc::{Connection, Dialer, Target};
use baton_security::{HostTls, Wire as Protocol};
use baton_types::limits::{CHUNK_BYTES_MAX, RAFT_MESSAGE_BYTES_MAX};
use baton_types::{EntryName, Error, Kind, Result};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

use crate::raft::{Peer, Request, Wire};
use crate::serve::{body, envelope};

/// How long one round of dialling a member's addresses may take.
const DIAL: Duration = Duration::from_secs(2);

/// Appends on their way to one member.
const APPENDS: usize = 16;

/// Connections to members, by name.
#[derive(Clone)]
pub struct Peers {
    tls: Arc<HostTls>,
    source: Option<IpAddr>,
    slots: Arc<Mutex<HashMap<String, Arc<Slot>>>>,
}

#[derive(Default)]
struct Slot {
    live: Mutex<Option<Connection>>,
    /// Held by the one who dials.
    dialling: tokio::sync::Mutex<()>,
    /// It did not answer last time. Told when it changes, and not twenty times a second.
    silent: AtomicBool,
}

impl Slot {
    fn heard(&self, peer: &Peer) {
        if self.silent.swap(false, Ordering::Relaxed) {
            tracing::info!(%peer, "member answers again");
        }
    }

    fn not_heard(&self, peer: &Peer, error: &Error) {
        if !self.silent.swap(true, Ordering::Relaxed) {
            tracing::warn!(%peer, %error, "member does not answer");
        }
    }
}

impl Peers {
    /// Dials as this machine, from `source` if given.
    pub fn new(tls: Arc<HostTls>, source: Option<IpAddr>) -> Peers {
        Peers {
            tls,
            source,
            slots: Arc::default(),
        }
    }

    fn slot(&self, peer: &Peer) -> Arc<Slot> {
        self.slots.lock().entry(peer.name.clone()).or_default().clone()
    }

    /// The connection to `peer`, made if there is none.
    async fn connection(self, peer: Peer) -> Result<Connection> {
        let slot = self.slot(&peer);
        if let Some(live) = slot.live.lock().clone() {
            return Ok(live);
        }
        let _dialling = slot.dialling.lock().await;
        if let Some(live) = slot.live.lock().clone() {
            return Ok(live);
        }
        let name = EntryName::parse(&peer.name)?;
        let target = |address: &baton_types::Address| Target {
            name: Some(name.clone()),
            address: address.clone(),
        };
        let targets: Vec<Target> = peer.addresses.iter().map(target).collect();
        let dialer = Dialer::new(self.tls.client(Protocol::Control), self.source, PORT_FLDB);
        let connection = dialer
            .first(&targets, Instant::now() + DIAL)
            .await
            .map_err(|failures| {
                let why: Vec<String> = failures
                    .iter()
                    .map(|(target, error)| format!("{target}: {error}"))
                    .collect();
                Error::new(Kind::Unreachable, format!("member {name}")).because(why.join("; "))
            })?;
        *slot.live.lock() = Some(connection.clone());
        Ok(connection)
    }

    /// A client for `peer`, within `deadline`; dialling goes on past it.
    async fn client(&self, peer: &Peer, deadline: Duration) -> Result<RaftClient<Channel>> {
        let live = self.slot(peer).live.lock().clone();
        let connection = match live {
            Some(connection) => connection,
            None => {
                let dialling = tokio::spawn(self.clone().connection(peer.clone()));
                let late = |_| Error::new(Kind::Unreachable, format!("member {peer}")).because("no connection yet");
                let failed = |e: tokio::task::JoinError| Error::new(Kind::Io, "dialling").because(e.to_string());
                timeout(deadline, dialling).await.map_err(late)?.map_err(failed)??
            }
        };
        Ok(RaftClient::new(connection.grpc())
            .max_decoding_message_size(RAFT_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(RAFT_MESSAGE_BYTES_MAX))
    }

    /// The error in `status`; one that is of the way there, not of the peer, ends the connection.
    fn failed(&self, peer: &Peer, status: &Status) -> Error {
        if failure_of(status).is_none() {
            self.slot(peer).live.lock().take();
        }
        Error {
            on: format!("member {peer}"),
            ..from_status(status)
        }
    }

    async fn ask_once(self, peer: Peer, request: Request, message: Vec<u8>, deadline: Duration) -> Result<Vec<u8>> {
        let mut client = self.client(&peer, deadline).await?;
        let message = envelope(message);
        let answer = async {
            match request {
                Request::Vote => client.vote(message).await,
                Request::PreVote => client.pre_vote(message).await,
                Request::Append => client.heartbeat(message).await,
                Request::TransferLeader => client.transfer_leader(message).await,
                Request::ReadIndex => client.read_index(message).await,
                Request::Forward => client.forward(message).await,
            }
        };
        let late =
            |_| Error::new(Kind::TimedOut, format!("member {peer}")).because(format!("no answer in {deadline:?}"));
        let answer = timeout(deadline, answer).await.map_err(late)?;
        let answer = answer.and_then(|answer| body(answer.into_inner()));
        answer.map_err(|status| self.failed(&peer, &status))
    }
}

type Answers = BoxStream<'static, Result<Vec<u8>>>;

impl Peers {
    async fn open_appends(self, peer: Peer, appends: ReceiverStream<Envelope>, deadline: Duration) -> Result<Answers> {
        let mut client = self.client(&peer, deadline).await?;
        let opened = client.append(appends).await;
        let answers = opened.map_err(|status| self.failed(&peer, &status))?.into_inner();
        let told = move |answer: std::result::Result<Envelope, Status>| {
            answer.and_then(body).map_err(|status| self.failed(&peer, &status))
        };
        Ok(answers.map(told).boxed())
    }
}

impl Wire for Peers {
    fn ask(
        &self,
        to: &Peer,
        request: Request,
        body: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Vec<u8>>> {
        let (peers, peer) = (self.clone(), to.clone());
        async move {
            let slot = peers.slot(&peer);
            let answer = peers.ask_once(peer.clone(), request, body, deadline).await;
            match &answer {
                Ok(_) => slot.heard(&peer),
                Err(error) if matches!(error.kind, Kind::Unreachable | Kind::TimedOut) => {
                    slot.not_heard(&peer, error);
                }
                Err(_) => {}
            }
            answer
        }
        .boxed()
    }

    fn append(
        &self,
        to: &Peer,
        appends: BoxStream<'static, Vec<u8>>,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<BoxStream<'static, Result<Vec<u8>>>>> {
        // The gRPC library wants a stream with a type of its own.
        let (send, receive) = mpsc::channel(APPENDS);
        tokio::spawn(async move {
            let mut appends = appends.map(envelope);
            while let Some(append) = appends.next().await {
                if send.send(append).await.is_err() {
                    return;
                }
            }
        });
        self.clone()
            .open_appends(to.clone(), ReceiverStream::new(receive), deadline)
            .boxed()
    }

    fn snapshot(
        &self,
        to: &Peer,
        head: Vec<u8>,
        data: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Vec<u8>>> {
        let (peers, peer) = (self.clone(), to.clone());
        async move {
            let mut client = peers.client(&peer, deadline).await?;
            let late = |_| Error::new(Kind::TimedOut, format!("member {peer}")).because("it did not take the snapshot");
            let sent = timeout(deadline, client.snapshot(futures::stream::iter(pieces(head, data))));
            let answer = sent.await.map_err(late)?.and_then(|answer| body(answer.into_inner()));
            answer.map_err(|status| peers.failed(&peer, &status))
        }
        .boxed()
    }
}

fn pieces(head: Vec<u8>, data: Vec<u8>) -> impl Iterator<Item = SnapshotPiece> + Send {
    let head = std::iter::once(SnapshotPiece {
        head: Some(envelope(head)),
        data: Vec::new(),
    });
    let count = data.len().div_ceil(CHUNK_BYTES_MAX);
    let piece = move |n: usize| {
        let end = data.len().min((n + 1) * CHUNK_BYTES_MAX);
        SnapshotPiece {
            head: None::<Envelope>,
            data: data[n * CHUNK_BYTES_MAX..end].to_vec(),
        }
    };
    head.chain((0..count).map(piece))
}
