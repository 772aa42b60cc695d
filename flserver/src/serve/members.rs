//! What the other members ask. Members only: by their machine's certificate, and by the registry of members.
//!
//! A member that has no state yet, or only one that is older than itself, knows its fellows from the moment it joined,
//! and believes nobody else: any machine of the cell could otherwise play the leader to it.

use baton_proto::into_status;
use baton_proto::v1::{self, Envelope, SnapshotPiece};
use baton_types::{Error, Kind};
use futures::StreamExt;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::Server;
use crate::raft::{MESSAGE_FORMAT, Request as Asked};

/// A snapshot larger than this is no snapshot: ten million filesets take less.
const SNAPSHOT_BYTES_MAX: usize = 4 << 30;

type Answers = futures::stream::BoxStream<'static, Result<Envelope, Status>>;

#[async_trait]
impl v1::raft_server::Raft for Server {
    async fn vote(&self, request: Request<Envelope>) -> Result<Response<Envelope>, Status> {
        self.asked(Asked::Vote, request).await
    }

    async fn pre_vote(&self, request: Request<Envelope>) -> Result<Response<Envelope>, Status> {
        self.asked(Asked::PreVote, request).await
    }

    async fn transfer_leader(&self, request: Request<Envelope>) -> Result<Response<Envelope>, Status> {
        self.asked(Asked::TransferLeader, request).await
    }

    async fn read_index(&self, request: Request<Envelope>) -> Result<Response<Envelope>, Status> {
        self.asked(Asked::ReadIndex, request).await
    }

    async fn forward(&self, request: Request<Envelope>) -> Result<Response<Envelope>, Status> {
        self.asked(Asked::Forward, request).await
    }

    async fn heartbeat(&self, request: Request<Envelope>) -> Result<Response<Envelope>, Status> {
        self.asked(Asked::Append, request).await
    }

    type AppendStream = Answers;

    async fn append(&self, request: Request<Streaming<Envelope>>) -> Result<Response<Answers>, Status> {
        self.members_only(&request)?;
        // A broken or foreign message ends the stream; its sender opens another.
        let appends = request.into_inner().map(|message| message.and_then(body).ok());
        let appends = appends.take_while(|body| futures::future::ready(body.is_some()));
        let answers = self
            .member
            .answer_appends(appends.filter_map(futures::future::ready).boxed());
        let answers = answers.map(|answer| answer.map(envelope).map_err(|e| into_status(&e)));
        Ok(Response::new(answers.boxed()))
    }

    async fn snapshot(&self, request: Request<Streaming<SnapshotPiece>>) -> Result<Response<Envelope>, Status> {
        self.members_only(&request)?;
        let mut pieces = request.into_inner();
        let (mut head, mut data) = (None, Vec::new());
        while let Some(piece) = pieces.message().await? {
            if let Some(first) = piece.head {
                head = Some(body(first)?);
            }
            if data.len() + piece.data.len() > SNAPSHOT_BYTES_MAX {
                return Err(into_status(
                    &Error::new(Kind::Limit, "snapshot").because("it does not end"),
                ));
            }
            data.extend_from_slice(&piece.data);
        }
        let head = head.ok_or_else(|| into_status(&Error::new(Kind::Invalid, "snapshot").because("it has no head")))?;
        let answer = self.member.answer_snapshot(&head, data).await;
        answer
            .map(|body| Response::new(envelope(body)))
            .map_err(|e| into_status(&e))
    }
}

impl Server {
    async fn asked(&self, asked: Asked, request: Request<Envelope>) -> Result<Response<Envelope>, Status> {
        self.members_only(&request)?;
        let answer = self.member.answer(asked, body(request.into_inner())?).await;
        answer
            .map(|body| Response::new(envelope(body)))
            .map_err(|e| into_status(&e))
    }

    /// Refuses whoever is no member.
    fn members_only<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let connection = self.connection(request)?;
        let host = connection.callers.channel().host.as_ref();
        let name = host.and_then(|names| names.host()).unwrap_or_default();
        let state = self.published().state();
        // A state in which this member does not stand is older than its joining: who leads now may not stand there either.
        let is_young = !state.members().any(|m| m.number == self.member.number());
        let is_member = state.members().any(|m| m.name.as_str() == name) || (is_young && self.founders.contains(name));
        // Raft's own membership may be ahead of the state that was applied here.
        if is_member || self.member.peers().values().any(|peer| peer.name == name) {
            return Ok(());
        }
        let who = host.map_or_else(|| "nobody".to_owned(), ToString::to_string);
        let error = Error::new(Kind::Denied, who).because("this call is for members of the location database");
        Err(into_status(&error))
    }
}

/// A message as members send it.
pub(crate) fn envelope(body: Vec<u8>) -> Envelope {
    Envelope {
        format: MESSAGE_FORMAT,
        body,
    }
}

/// What is in it, if it is in our format.
pub(crate) fn body(envelope: Envelope) -> Result<Vec<u8>, Status> {
    if envelope.format == MESSAGE_FORMAT {
        return Ok(envelope.body);
    }
    let error = Error::new(Kind::Version, "member")
        .because(format!(
            "it speaks format {}, this one {MESSAGE_FORMAT}",
            envelope.format
        ))
        .remedy("run the same version on all members");
    Err(into_status(&error))
}
