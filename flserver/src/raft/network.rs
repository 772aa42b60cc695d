//! The library's network, over a [`Wire`]: encode, ask, decode.
//!
//! Every question ends by its time to live: a lost answer must not wedge replication. `pre_vote` and
//! `transfer_leader` are given on, because the library's defaults grant everything and refuse everything.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use baton_types::{Error, Kind};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, v2::RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::types::{Config, Peer, Snapshot, Vote, decode, encode};
use super::wire::{Request, Wire};

/// A snapshot may take this long: it is installed and on the disk before it is answered.
const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(60);

/// Makes links to members.
pub(super) struct Network(pub(super) Arc<dyn Wire>);

/// The link to one member.
pub(super) struct Link {
    wire: Arc<dyn Wire>,
    peer: Peer,
}

impl RaftNetworkFactory<Config> for Network {
    type Network = Link;

    async fn new_client(&mut self, _target: u64, node: &Peer) -> Link {
        Link {
            wire: self.0.clone(),
            peer: node.clone(),
        }
    }
}

/// Unreachable makes the library wait before it tries again; anything else it tries again at once.
fn rpc_error(error: &Error) -> RPCError<Config> {
    match error.kind {
        Kind::Unreachable | Kind::Denied | Kind::Version => RPCError::Unreachable(Unreachable::from_string(error)),
        _ => RPCError::Network(NetworkError::from_string(error)),
    }
}

impl Link {
    async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        request: Request,
        question: &Q,
        option: &RPCOption,
    ) -> Result<A, RPCError<Config>> {
        let body = encode(question).map_err(|e| rpc_error(&e))?;
        let answer = self.wire.ask(&self.peer, request, body, option.hard_ttl()).await;
        answer.and_then(|answer| decode(&answer)).map_err(|e| rpc_error(&e))
    }
}

impl RaftNetworkV2<Config> for Link {
    type SnapshotData = Vec<u8>;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Config>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Config>, RPCError<Config>> {
        self.ask(Request::Append, &rpc, &option).await
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<Config>, RPCError<Config>>>, RPCError<Config>>>
    where
        S: Stream<Item = AppendEntriesRequest<Config>> + Send + Unpin + 'static,
    {
        async move {
            // An append that cannot be encoded ends the stream; the library opens another.
            let appends = input
                .map(|rpc| encode(&rpc).ok())
                .take_while(|body| futures::future::ready(body.is_some()));
            let appends = appends.filter_map(futures::future::ready).boxed();
            let answers = self
                .wire
                .append(&self.peer, appends, option.hard_ttl())
                .await
                .map_err(|e| rpc_error(&e))?;
            let answers = answers.map(|answer| answer.and_then(|body| decode(&body)).map_err(|e| rpc_error(&e)));
            Ok(answers.boxed())
        }
        .boxed()
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Config>,
        option: RPCOption,
    ) -> Result<VoteResponse<Config>, RPCError<Config>> {
        self.ask(Request::Vote, &rpc, &option).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Config>,
        option: RPCOption,
    ) -> Result<VoteResponse<Config>, RPCError<Config>> {
        self.ask(Request::PreVote, &rpc, &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Config>, StreamingError<Config>> {
        let head = encode(&(vote, snapshot.meta)).map_err(|e| StreamingError::from(rpc_error(&e)))?;
        let sent = self
            .wire
            .snapshot(&self.peer, head, snapshot.snapshot, SNAPSHOT_DEADLINE);
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            answer = sent => answer.and_then(|answer| decode(&answer)).map_err(|e| rpc_error(&e).into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<Config>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Config>, RPCError<Config>> {
        self.ask(Request::TransferLeader, &req, &option).await
    }
}
