//! What a scripted member answers, and how it is reached.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use baton_proto::v1::fldb_server::{Fldb, FldbServer};
use baton_proto::v1::session_server::{Session, SessionServer};
use baton_proto::{FromWire, into_status, v1};
use baton_security::callers::{Answer, Callers, Gate};
use baton_security::listen::{Accepted, ListenLimits, Listener, Peer};
use baton_security::{Authority, HostTls, Request as KeyRequest, Subject, Wire};
use baton_types::change::{Change, ChangeSession};
use baton_types::record::{Changed, Event, Member, Record};
use baton_types::{BootClock, Clock, EntryName, Error, Kind, PrincipalName};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::server::TlsStream;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, async_trait};

use super::{Script, Shared, alice, clock};

/// One member.
pub(super) struct Service {
    pub(super) name: EntryName,
    pub(super) authority: Arc<Authority>,
    pub(super) shared: Arc<Shared>,
    pub(super) script: Arc<Mutex<Script>>,
    pub(super) asking: watch::Sender<usize>,
}

pub(super) async fn serve(socket: std::net::TcpListener, tls: Arc<HostTls>, gate: Arc<Gate>, service: Arc<Service>) {
    let socket = TcpListener::from_std(socket).unwrap();
    let (_listener, accepted) = Listener::start(socket, tls, Wire::Control, ListenLimits::default(), clock());
    let incoming = ReceiverStream::new(accepted).map(move |accepted| Ok::<_, io::Error>(Io::new(accepted, &gate)));
    Server::builder()
        .add_service(SessionServer::from_arc(service.clone()))
        .add_service(FldbServer::from_arc(service))
        .serve_with_incoming(incoming)
        .await
        .unwrap();
}

#[derive(Clone)]
struct Conn {
    callers: Arc<Callers>,
    _peer: Peer,
}

struct Io {
    stream: TlsStream<TcpStream>,
    conn: Conn,
}

impl Io {
    fn new(accepted: Accepted, gate: &Arc<Gate>) -> Io {
        let callers = Arc::new(Callers::new(gate.clone(), accepted.peer.channel.clone()));
        Io {
            stream: accepted.stream,
            conn: Conn {
                callers,
                _peer: accepted.peer,
            },
        }
    }
}

impl Connected for Io {
    type ConnectInfo = Conn;

    fn connect_info(&self) -> Conn {
        self.conn.clone()
    }
}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
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

impl Service {
    /// Who calls, if the script lets anybody call.
    fn begin<T>(&self, request: &Request<T>, caller: u32) -> Result<Option<PrincipalName>, Status> {
        if let Some(error) = &self.script.lock().refuses {
            return Err(into_status(error));
        }
        let callers = &request.extensions().get::<Conn>().unwrap().callers;
        let machine = callers.channel().host.as_ref().map(|names| names.principal.clone());
        let user = callers.find(caller).map_err(|e| into_status(&e))?;
        Ok(user.map(|identity| identity.principal.clone()).or(machine))
    }
}

#[async_trait]
impl Session for Service {
    async fn greet(&self, _request: Request<v1::Hello>) -> Result<Response<v1::HelloReply>, Status> {
        let script = self.script.lock().clone();
        Ok(Response::new(v1::HelloReply {
            hello: Some(script.hello.into()),
            cell_id: self.authority.anchor().id().0.as_bytes().to_vec(),
            cell: self.authority.anchor().cell().to_string().into_bytes(),
            member: script.says.unwrap_or(self.name.as_str()).as_bytes().to_vec(),
            applied: self.shared.applied(),
        }))
    }

    async fn authenticate(
        &self,
        request: Request<v1::AuthenticateRequest>,
    ) -> Result<Response<v1::AuthenticateReply>, Status> {
        let callers = request.extensions().get::<Conn>().unwrap().callers.clone();
        let ask = request.into_inner();
        match callers.login(&ask.mech, ask.conversation, &ask.token) {
            Ok(Answer::Done {
                token,
                caller,
                identity,
                expires,
            }) => Ok(Response::new(v1::AuthenticateReply {
                token,
                done: true,
                caller,
                expires: expires.0,
                principal: identity.principal.to_string().into_bytes(),
                conversation: 0,
            })),
            Ok(Answer::Continue { .. }) => Err(Status::internal("cert takes one token")),
            Err(error) => Err(into_status(&error)),
        }
    }

    /// Ends every login on the connection: the tests use it to make a handle worthless.
    async fn logout(&self, request: Request<v1::LogoutRequest>) -> Result<Response<v1::LogoutReply>, Status> {
        let callers = &request.extensions().get::<Conn>().unwrap().callers;
        callers.logout(request.get_ref().caller);
        Ok(Response::new(v1::LogoutReply {}))
    }

    async fn who(&self, request: Request<v1::WhoRequest>) -> Result<Response<v1::WhoReply>, Status> {
        let principal = self.begin(&request, request.get_ref().caller)?;
        Ok(Response::new(v1::WhoReply {
            principal: principal.map(|name| name.to_string().into_bytes()).unwrap_or_default(),
            mech: "cert".to_owned(),
            expires: 7,
            groups: vec![b"cell-admin".to_vec()],
        }))
    }
}

fn piece(index: u64, records: Vec<Record>) -> v1::ListReply {
    v1::ListReply {
        index,
        records: records.into_iter().map(Into::into).collect(),
    }
}

#[async_trait]
impl Fldb for Service {
    async fn lookup(&self, request: Request<v1::LookupRequest>) -> Result<Response<v1::LookupReply>, Status> {
        self.begin(&request, request.get_ref().caller)?;
        Err(into_status(&Error::new(Kind::NotFound, "fileset")))
    }

    type ListStream = ReceiverStream<Result<v1::ListReply, Status>>;

    /// Members, or events: each in a piece of its own.
    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<Self::ListStream>, Status> {
        let ask = request.get_ref();
        let wants_members = ask.tables().any(|table| table == v1::Table::Member);
        if !wants_members {
            self.begin(&request, ask.caller)?;
        }
        let (send, pieces) = mpsc::channel(1_000);
        let index = self.shared.applied();
        let state = self.shared.state.lock();
        let records: Vec<Record> = match wants_members {
            true => state.members.iter().cloned().map(Record::Member).collect(),
            false => state.events.values().cloned().map(Record::Event).collect(),
        };
        for record in records {
            send.try_send(Ok(piece(index, vec![record]))).unwrap();
        }
        Ok(Response::new(ReceiverStream::new(pieces)))
    }

    async fn change(&self, request: Request<v1::ChangeRequest>) -> Result<Response<v1::ChangeReply>, Status> {
        let who = self.begin(&request, request.get_ref().caller)?;
        if who.is_none() {
            return Err(into_status(&Error::new(Kind::Denied, "nobody")));
        }
        let ask = request.into_inner();
        Change::try_from(ask.change.unwrap()).unwrap();
        let session = ChangeSession(FromWire::from_wire(&ask.session).unwrap());
        let index = self.shared.once(session, ask.sequence, ask.born);
        let is_mute = self.script.lock().is_mute; // before anybody hears of it, who may have it speak again
        self.asking.send_modify(|count| *count += 1);
        if is_mute {
            std::future::pending::<()>().await;
        }
        let index = index.map_err(|e| into_status(&e))?;
        Ok(Response::new(v1::ChangeReply { index, record: None }))
    }

    type WatchStream = ReceiverStream<Result<v1::WatchReply, Status>>;

    /// Events, one by one: the whole is that there are none.
    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        self.begin(&request, request.get_ref().caller)?;
        let (send, replies) = mpsc::channel(16);
        let shared = self.shared.clone();
        let after = request.get_ref().after;
        tokio::spawn(async move {
            use v1::watch_reply::Reply;
            let mut heard = after;
            let reply = |reply| Ok(v1::WatchReply { reply: Some(reply) });
            if after == 0 {
                heard = shared.applied();
                let _ = send.send(reply(Reply::Whole(piece(heard, Vec::new())))).await;
                let _ = send.send(reply(Reply::WholeEnd(heard))).await;
            }
            let mut newest = shared.newest.subscribe();
            loop {
                let next: Vec<Event> = {
                    let state = shared.state.lock();
                    state
                        .events
                        .range(heard + 1..)
                        .map(|(_, event)| event.clone())
                        .collect()
                };
                for event in next {
                    heard = event.index;
                    let changed = Changed {
                        index: event.index,
                        put: vec![Record::Event(event)],
                        gone: Vec::new(),
                    };
                    if send.send(reply(Reply::Changed(changed.into()))).await.is_err() {
                        return;
                    }
                }
                if newest.changed().await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(replies)))
    }

    type BackupStream = ReceiverStream<Result<v1::BackupReply, Status>>;

    async fn backup(&self, request: Request<v1::BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        self.begin(&request, request.get_ref().caller)?;
        Err(into_status(&Error::new(Kind::Denied, "nobody")))
    }

    async fn status(&self, request: Request<v1::StatusRequest>) -> Result<Response<v1::StatusReply>, Status> {
        self.begin(&request, request.get_ref().caller)?;
        let members = self.shared.state.lock().members.clone();
        let status = |member: Member| v1::MemberStatus {
            member: Some(member.into()),
            voter: true,
            matched: 5,
            silent_micros: -1,
        };
        Ok(Response::new(v1::StatusReply {
            member: self.name.to_string().into_bytes(),
            leader: b"fl1".to_vec(),
            term: 3,
            quorum: self.name.as_str() == "fl1",
            applied: self.shared.applied(),
            members: members.into_iter().map(status).collect(),
            ..v1::StatusReply::default()
        }))
    }

    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinReply>, Status> {
        self.begin(&request, 0)?;
        self.issuer()?;
        let ask = request.into_inner();
        let key = KeyRequest::parse(&ask.csr).map_err(|e| into_status(&e))?;
        let subject = Subject::User(alice());
        let certificate = self.authority.issue(&key, &subject, BootClock.date(), 3_600).unwrap();
        Ok(Response::new(v1::JoinReply {
            principal: b"alice".to_vec(),
            certificate: baton_security::write_certificate(&certificate).into_bytes(),
            authority: self.authority.anchor().to_pem().into_bytes(),
            addresses: vec![b"127.0.0.11".to_vec()],
            member: 0,
        }))
    }

    type BeatStream = ReceiverStream<Result<v1::BeatReply, Status>>;

    /// Remembers whom it heard, and answers each beat.
    async fn beat(
        &self,
        request: Request<tonic::Streaming<v1::BeatRequest>>,
    ) -> Result<Response<Self::BeatStream>, Status> {
        self.begin(&request, 0)?;
        let (send, answers) = mpsc::channel(16);
        let (shared, name) = (self.shared.clone(), self.name.clone());
        let mut beats = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(beat)) = beats.message().await {
                let sequence = beat.sequence;
                shared.beats.send_modify(|heard| heard.push((name.clone(), sequence)));
                if send.send(Ok(v1::BeatReply { sequence })).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn attest(&self, request: Request<v1::AttestRequest>) -> Result<Response<v1::AttestReply>, Status> {
        self.begin(&request, 0)?;
        self.shared.attested.lock().push(self.name.clone());
        Ok(Response::new(v1::AttestReply {}))
    }

    async fn report(&self, request: Request<v1::ReportRequest>) -> Result<Response<v1::ReportReply>, Status> {
        self.begin(&request, 0)?;
        let (name, is_good) = (self.name.clone(), request.get_ref().good);
        self.shared.reports.send_modify(|heard| heard.push((name, is_good)));
        Ok(Response::new(v1::ReportReply {}))
    }

    /// Whatever is to move is handed over to whom it is to go to.
    async fn plan(&self, request: Request<v1::PlanRequest>) -> Result<Response<v1::PlanReply>, Status> {
        self.begin(&request, request.get_ref().caller)?;
        let wish = request.into_inner().r#move.unwrap();
        let planned = |name: Vec<u8>| v1::PlannedMove {
            aggregate: vec![7; 16],
            name,
            epoch: 41,
            from: Vec::new(),
            step: Some(v1::planned_move::Step::HandOver(wish.to.clone())),
        };
        Ok(Response::new(v1::PlanReply {
            index: self.shared.applied(),
            moves: wish.aggregates.iter().cloned().map(planned).collect(),
        }))
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewReply>, Status> {
        self.issuer()?;
        let who = self.begin(&request, request.get_ref().caller)?.unwrap();
        let key = KeyRequest::parse(&request.get_ref().csr).map_err(|e| into_status(&e))?;
        let certificate = self.authority.issue(&key, &Subject::User(who), BootClock.date(), 7_200);
        let certificate = baton_security::write_certificate(&certificate.unwrap()).into_bytes();
        Ok(Response::new(v1::RenewReply { certificate }))
    }
}

impl Service {
    fn issuer(&self) -> Result<(), Status> {
        match self.script.lock().is_issuer {
            true => Ok(()),
            false => Err(into_status(
                &Error::new(Kind::Moved, "member").because("the key is at fl2"),
            )),
        }
    }
}
