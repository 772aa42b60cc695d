//! Lookups, lists, changes, watches and status.
//!
//! Lookups are answered by any member from what it has applied. A list may be asked for fresh: then it
//! waits until everything acknowledged before is applied here. Long answers go out in small pieces, one at
//! a time, and a reader that takes nothing is cut off: it holds no more memory than a piece.

use std::sync::Arc;

use baton_proto::v1::{self, ListReply, WatchReply, watch_reply};
use baton_proto::{FromWire, Table, into_status};
use baton_rpc::control::{Connection, House};
use baton_types::change::{AggregateRef, Change, ChangeSession, FilesetRef, Proposal, Who};
use baton_types::{AggregateId, Error, FilesetId, FilesetName, Kind, Result, Timestamp};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{LEADER_DEADLINE, STALL, Server};
use crate::publish::Watching;
use crate::state::{Filter, Fldb, Location};
use crate::watch::{Action, Tables, list_pieces, pieces};

/// Pieces of an answer on their way to one reader.
const PIECES: usize = 4;

type Answers<T> = ReceiverStream<Result<T, Status>>;

#[async_trait]
impl v1::fldb_server::Fldb for Server {
    async fn lookup(&self, request: Request<v1::LookupRequest>) -> Result<Response<v1::LookupReply>, Status> {
        let connection = self.connection(&request)?;
        let ask = request.into_inner();
        let answer = || {
            self.who(&connection, ask.caller)?;
            lookup(&self.published().state(), ask.what)
        };
        answer().map(Response::new).map_err(|e: Error| into_status(&e))
    }

    type ListStream = Answers<ListReply>;

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<Self::ListStream>, Status> {
        let connection = self.connection(&request)?;
        let answers = self.list(&connection, request.into_inner()).await;
        answers.map(Response::new).map_err(|e| into_status(&e))
    }

    async fn change(&self, request: Request<v1::ChangeRequest>) -> Result<Response<v1::ChangeReply>, Status> {
        let connection = self.connection(&request)?;
        let reply = self.change(&connection, request.into_inner()).await;
        reply.map(Response::new).map_err(|e| into_status(&e))
    }

    type WatchStream = Answers<WatchReply>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let connection = self.connection(&request)?;
        let answers = self.begin_watch(&connection, &request.into_inner());
        answers.map(Response::new).map_err(|e| into_status(&e))
    }

    async fn status(&self, request: Request<v1::StatusRequest>) -> Result<Response<v1::StatusReply>, Status> {
        let connection = self.connection(&request)?;
        self.who(&connection, request.into_inner().caller)
            .map_err(|e| into_status(&e))?;
        Ok(Response::new(self.status()))
    }

    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinReply>, Status> {
        self.connection(&request)?;
        let reply = self.admit(request.into_inner()).await;
        reply.map(Response::new).map_err(|e| into_status(&e))
    }

    type BeatStream = Answers<v1::BeatReply>;

    async fn beat(&self, request: Request<Streaming<v1::BeatRequest>>) -> Result<Response<Self::BeatStream>, Status> {
        let connection = self.connection(&request)?;
        let answers = self.hear(&connection, request.into_inner());
        answers.map(Response::new).map_err(|e| into_status(&e))
    }

    async fn attest(&self, request: Request<v1::AttestRequest>) -> Result<Response<v1::AttestReply>, Status> {
        let connection = self.connection(&request)?;
        let heard = self.attested(&connection, &request.into_inner());
        heard
            .map(|()| Response::new(v1::AttestReply {}))
            .map_err(|e| into_status(&e))
    }

    async fn report(&self, request: Request<v1::ReportRequest>) -> Result<Response<v1::ReportReply>, Status> {
        let connection = self.connection(&request)?;
        let heard = self.reported(&connection, request.into_inner());
        heard
            .map(|()| Response::new(v1::ReportReply {}))
            .map_err(|e| into_status(&e))
    }

    async fn plan(&self, request: Request<v1::PlanRequest>) -> Result<Response<v1::PlanReply>, Status> {
        let connection = self.connection(&request)?;
        let reply = self.plan(&connection, request.into_inner()).await;
        reply.map(Response::new).map_err(|e| into_status(&e))
    }

    type BackupStream = super::backup::Pieces;

    async fn backup(&self, request: Request<v1::BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        let connection = self.connection(&request)?;
        let pieces = self.back_up(&connection, request.get_ref()).await;
        pieces.map(Response::new).map_err(|e| into_status(&e))
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewReply>, Status> {
        let connection = self.connection(&request)?;
        let reply = self.renew_certificate(&connection, &request.into_inner()).await;
        reply.map(Response::new).map_err(|e| into_status(&e))
    }
}

impl Server {
    async fn change(&self, connection: &Connection, ask: v1::ChangeRequest) -> Result<v1::ChangeReply> {
        let who = self.who(connection, ask.caller)?;
        let wire = ask
            .change
            .ok_or_else(|| Error::new(Kind::Invalid, "message").because("no change in it"))?;
        let change = Change::try_from(wire)?;
        match (&who, &change) {
            // Every member would refuse it; the log need not hear of it.
            (Who::Nobody, _) => {
                return Err(Error::new(Kind::Denied, "nobody")
                    .because("not logged in")
                    .remedy("baton login"));
            }
            (_, Change::UseInvitation { .. } | Change::Genesis { .. } | Change::Judge { .. }) => {
                return Err(Error::new(Kind::Invalid, "message").because("nobody asks for this change by this call"));
            }
            _ => {}
        }
        let claimed = match &change {
            Change::Claim { aggregate, .. } => Some(*aggregate),
            _ => None,
        };
        let proposal = Proposal {
            session: ChangeSession(FromWire::from_wire(&ask.session)?),
            sequence: ask.sequence,
            born: ask.born,
            date: self.clock.date(), // the leader puts its own
            who,
            change,
        };
        let reply = self.member.propose(proposal, LEADER_DEADLINE).await;
        let reply = reply.map_err(|error| match claimed {
            Some(aggregate) if error.kind == Kind::Busy => self.with_beat(aggregate, error),
            _ => error,
        })?;
        // Whoever asks this member next finds what it was just told.
        drop(timeout(LEADER_DEADLINE, self.published().reached(reply.index)).await);
        Ok(reply)
    }

    async fn list(&self, connection: &Connection, ask: v1::ListRequest) -> Result<Answers<ListReply>> {
        let who = self.who(connection, ask.caller)?;
        let tables = tables(ask.tables().collect())?;
        self.may_read(&who, &tables)?;
        let filter = filter(&ask, self.clock.date())?;
        if ask.freshness() == v1::Freshness::Linearizable {
            self.catch_up().await?;
        }
        let state = self.published().state();
        for table in &tables {
            drop(state.list(*table, &filter)?); // a filter that names nothing is an error, not an empty list
        }
        let (send, answers) = mpsc::channel(PIECES);
        tokio::spawn(send_list(state, tables, filter, send));
        Ok(ReceiverStream::new(answers))
    }

    fn begin_watch(self: &Server, connection: &Arc<Connection>, ask: &v1::WatchRequest) -> Result<Answers<WatchReply>> {
        let who = self.who(connection, ask.caller)?;
        if who == Who::Nobody {
            return Err(Error::new(Kind::Denied, "nobody")
                .because("not logged in")
                .remedy("baton login"));
        }
        let tables = tables(ask.tables().collect())?;
        self.may_read(&who, &tables)?;
        let changes_only = self::tables(ask.changes_only().collect())?;
        let (tables, changes_only) = (tables.into_iter().collect(), changes_only.into_iter().collect());
        let watching = self.published().watch(tables, changes_only, ask.after);
        let (send, answers) = mpsc::channel(PIECES);
        tokio::spawn(send_watch(watching, connection.clone(), send));
        Ok(ReceiverStream::new(answers))
    }

    /// A refused claim says how alive the owner is, as far as this member has heard.
    fn with_beat(&self, aggregate: AggregateId, error: Error) -> Error {
        // What is held is refused whoever its owner is.
        let known = self.published().state().known_aggregate(aggregate).ok();
        let owner = known.filter(|a| a.held.is_none()).and_then(|a| a.owner);
        let Some(silent) = owner.and_then(|owner| self.bench.silence(owner)) else {
            return error;
        };
        let beat = format!(
            "heartbeat {}.{} s ago",
            silent / 1_000_000,
            silent % 1_000_000 / 100_000
        );
        let reason = format!("{}, {beat}", error.reason);
        error.because(reason)
    }

    /// Asked fresh: what is shown is what would be done.
    async fn plan(&self, connection: &Connection, ask: v1::PlanRequest) -> Result<v1::PlanReply> {
        if self.who(connection, ask.caller)? == Who::Nobody {
            return Err(Error::new(Kind::Denied, "nobody")
                .because("not logged in")
                .remedy("baton login"));
        }
        let wish = ask
            .r#move
            .ok_or_else(|| Error::new(Kind::Invalid, "message").because("no move in it"))?;
        self.catch_up().await?;
        let state = self.published().state();
        let moves = state.plan(&wish.try_into()?)?;
        Ok(v1::PlanReply {
            index: state.applied(),
            moves: moves.into_iter().map(Into::into).collect(),
        })
    }

    fn status(&self) -> v1::StatusReply {
        let raft = self.member.status();
        let state = self.published().state();
        let name_of = |number: u64| {
            let name = state.members().find(|m| m.number == number).map(|m| m.name.to_string());
            name.or_else(|| self.member.peers().get(&number).map(|peer| peer.name.clone()))
        };
        let member = |m: &baton_types::record::Member| {
            let micros = |d: &std::time::Duration| i64::try_from(d.as_micros()).unwrap_or(i64::MAX);
            v1::MemberStatus {
                member: Some(m.clone().into()),
                voter: raft.voters.contains(&m.number),
                matched: raft.matched.get(&m.number).copied().unwrap_or_default(),
                silent_micros: raft.silent.get(&m.number).map_or(-1, micros),
            }
        };
        v1::StatusReply {
            member: self.name.to_string().into_bytes(),
            leader: raft.leader.and_then(name_of).unwrap_or_default().into_bytes(),
            term: raft.term,
            committed: raft.committed,
            applied: state.applied(),
            quorum: raft.quorum,
            members: state.members().map(member).collect(),
            filesets: state.fileset_count() as u64,
            watchers: self.published().watchers() as u64,
            silences: state
                .servers()
                .filter_map(|s| Some((s.id, self.bench.silence(s.id)?)))
                .map(|(server, micros)| v1::Silence {
                    server: server.0.as_bytes().to_vec(),
                    micros,
                })
                .collect(),
        }
    }
}

fn tables(wire: Vec<v1::Table>) -> Result<Vec<Table>> {
    wire.into_iter().map(Table::try_from).collect()
}

fn lookup(state: &Fldb, what: Option<v1::lookup_request::What>) -> Result<v1::LookupReply> {
    use v1::lookup_request::What;
    let location = match what {
        Some(What::Fileset(id)) => state.locate(&FilesetRef::Id(FilesetId(id)))?,
        Some(What::Name(name)) => state.locate(&FilesetRef::Name(FilesetName::from_wire(&name)?))?,
        Some(What::Aggregate(id)) => state.locate_aggregate(AggregateId::from_wire(&id)?)?,
        None => return Err(Error::new(Kind::Invalid, "lookup").because("it names nothing")),
    };
    let Location {
        fileset,
        aggregates,
        servers,
    } = location;
    Ok(v1::LookupReply {
        index: state.applied(),
        fileset: fileset.map(Into::into),
        aggregates: aggregates.into_iter().map(Into::into).collect(),
        servers: servers.into_iter().map(Into::into).collect(),
    })
}

fn filter(ask: &v1::ListRequest, now: Timestamp) -> Result<Filter> {
    Ok(Filter {
        fileset: FilesetRef::optional(&ask.fileset)?,
        entry: FromWire::optional(&ask.entry)?,
        aggregate: AggregateRef::optional(&ask.aggregate)?,
        locked_at: ask.locked.then_some(now),
        after: ask.after,
    })
}

async fn send_list(
    state: Arc<Fldb>,
    tables: Vec<Table>,
    filter: Filter,
    send: mpsc::Sender<Result<ListReply, Status>>,
) {
    let mut is_first = true;
    for piece in list_pieces(&state, tables, filter) {
        if (is_first || !piece.records.is_empty()) && !sent(&send, piece).await {
            return;
        }
        is_first = false;
        yield_now().await; // a million records are looked at in half a second, and others want to be served
    }
}

/// Sends what the hub says, until the reader leaves, stalls, or may no longer listen.
async fn send_watch(
    mut watching: Watching,
    connection: Arc<Connection>,
    send: mpsc::Sender<Result<WatchReply, Status>>,
) {
    loop {
        let action = tokio::select! {
            action = watching.next() => action,
            () = send.closed() => return,
        };
        let sent_all = match action {
            None => {
                let stopping = Error::new(Kind::Unreachable, "this member").because("it is stopping");
                drop(timeout(STALL, send.send(Err(into_status(&stopping)))).await);
                return;
            }
            Some(Action::Whole(_, tables, state)) => send_whole(&state, tables, &send).await,
            Some(Action::Changed(_, changed)) => {
                let changed = watch_reply::Reply::Changed((*changed).clone().into());
                sent(&send, WatchReply { reply: Some(changed) }).await
            }
            Some(Action::Reached(_, index)) => {
                sent(
                    &send,
                    WatchReply {
                        reply: Some(watch_reply::Reply::Reached(index)),
                    },
                )
                .await
            }
        };
        if !sent_all {
            tracing::debug!(peer = %connection.peer.address, "a watcher left or stalled");
            return;
        }
    }
}

async fn send_whole(state: &Fldb, tables: Tables, send: &mpsc::Sender<Result<WatchReply, Status>>) -> bool {
    for piece in pieces(state, tables) {
        if !sent(send, piece).await {
            return false;
        }
        yield_now().await;
    }
    true
}

/// False if the reader is gone, or took nothing for too long.
pub(super) async fn sent<T>(send: &mpsc::Sender<Result<T, Status>>, message: T) -> bool {
    matches!(timeout(STALL, send.send(Ok(message))).await, Ok(Ok(())))
}
