//! Control: what administrators ask of this server, over its socket or its control port.
//!
//! | comes by | is |
//! |---|---|
//! | the socket | a process of this machine, with the uid that the kernel says; 0 and this server's own may everything |
//! | the control port | a caller of the cell, as the location database would know it, by its groups |
//!
//! Whoever is logged in may look; on the socket, anyone.

mod house;
mod pieces;
mod wishes;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use baton_proto::{FromWire, into_status, v1};
use baton_rpc::control::{self, Connection, House};
use baton_rpc::fldb::Owner;
use baton_security::auth::Identity;
use baton_security::callers::Gate;
use baton_security::files::make_directory;
use baton_security::listen::Accepted;
use baton_security::{Anchor, HostTls};
use baton_types::change::{Takeover, Who};
use baton_types::control::{FilesetReport, Force};
use baton_types::limits::{FLDB_MESSAGE_BYTES_MAX, SNAPSHOTS_PIECE};
use baton_types::record::groups::{FILESET_ADMIN, FLDB_ADMIN};
use baton_types::{AggregateName, Error, FileName, FilesetId, GroupName, Kind, Result};
use parking_lot::Mutex;
use rustix::process::geteuid;
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::transport::server::UdsConnectInfo;
use tonic::{Request, Response, Status, async_trait};
use v1::fileserver_server::{Fileserver, FileserverServer};

use crate::claims::{Claims, blocking};
use crate::follow::Heard;
use crate::pulse::Vitals;
use crate::who::NOBODY;
use crate::{branches, filesets, growth, restore, scrub, snapshots};
use pieces::in_pieces;

/// Filesets in one piece of a list: some 100 bytes each, well below what a message may have.
const PIECE: usize = 500;

/// The control of this server.
pub struct Control {
    claims: Arc<Claims>,
    heard: Arc<Heard>,
    vitals: Arc<Vitals>,
    anchor: Anchor,
    gate: Arc<Gate>,
    /// What the gate offers.
    offered: Mutex<Vec<String>>,
}

/// Who asks.
enum Asker {
    /// A process of this machine, with this uid.
    Local(u32),
    /// Somebody of the cell.
    Cell(Who),
}

impl Control {
    /// Of the server that claims by `claims`.
    pub fn new(claims: Arc<Claims>, heard: Arc<Heard>, vitals: Arc<Vitals>, tls: &HostTls) -> Arc<Control> {
        let registry = heard.registry().clone();
        let admit = Box::new(move |identity: &Identity| registry.admit(identity));
        Arc::new(Control {
            gate: Arc::new(Gate::new(Vec::new(), admit, claims.clock.clone())),
            anchor: tls.with_credential(|credential| credential.anchor().clone()),
            offered: Mutex::default(),
            claims,
            heard,
            vitals,
        })
    }

    /// Serves what comes through a listener, until that ends.
    ///
    /// # Errors
    /// `Io` if the server itself fails.
    pub async fn serve(self: Arc<Control>, accepted: mpsc::Receiver<Accepted>) -> Result<()> {
        let incoming = control::incoming(accepted, self.gate.clone());
        let served = control::server(self.clone())
            .add_service(self.service())
            .serve_with_incoming(incoming)
            .await;
        served.map_err(|error| Error::new(Kind::Io, "control port").because(error.to_string()))
    }

    /// Serves the processes of this machine, by the socket at `path`.
    ///
    /// # Errors
    /// When there cannot be a socket; `Io` if the server itself fails.
    pub async fn serve_locally(self: Arc<Control>, path: &Path) -> Result<()> {
        let on = || path.display().to_string();
        if let Some(directory) = path.parent() {
            make_directory(directory)?;
            // Anyone may look; who may more is asked of the kernel.
            std::fs::set_permissions(directory, Permissions::from_mode(0o755)).map_err(|e| Error::io(on(), e))?;
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(Error::io(on(), error)),
            Ok(()) | Err(_) => {} // of a run before this one: the daemon's lock says that it has ended
        }
        let listener = UnixListener::bind(path).map_err(|e| Error::io(on(), e))?;
        std::fs::set_permissions(path, Permissions::from_mode(0o666)).map_err(|e| Error::io(on(), e))?;
        let served = tonic::transport::Server::builder()
            .add_service(self.service())
            .serve_with_incoming(UnixListenerStream::new(listener))
            .await;
        served.map_err(|error| Error::new(Kind::Io, on()).because(error.to_string()))
    }

    fn service(self: Arc<Control>) -> FileserverServer<Control> {
        FileserverServer::from_arc(self)
            .max_decoding_message_size(FLDB_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(FLDB_MESSAGE_BYTES_MAX)
    }

    fn asker<T>(&self, request: &Request<T>, caller: u32) -> Result<Asker> {
        if let Some(local) = request.extensions().get::<UdsConnectInfo>() {
            let uid = local.peer_cred.map(|peer| peer.uid());
            let uid = uid.ok_or_else(|| Error::new(Kind::Denied, "caller").because("the kernel does not say who"))?;
            return Ok(Asker::Local(uid));
        }
        self.who(&*Connection::of(request)?, caller).map(Asker::Cell)
    }

    /// Anyone of this machine, and whoever is logged in.
    fn may_look<T>(&self, request: &Request<T>, caller: u32) -> Result<()> {
        match self.asker(request, caller)? {
            Asker::Local(_) => Ok(()),
            Asker::Cell(Who::Nobody) => Err(Who::Nobody.denied("not logged in").remedy("log in first: baton login")),
            Asker::Cell(_) => Ok(()),
        }
    }

    /// Root of this machine, administrators of filesets, and who administrates this server.
    fn may_administrate<T>(&self, request: &Request<T>, caller: u32) -> Result<Asker> {
        self.administrator(request, caller, &self.heard.owners(&self.claims.me))
    }

    /// Those of them who may take from another server what that one has.
    fn may_take_over<T>(&self, request: &Request<T>, caller: u32) -> Result<Asker> {
        self.administrator(request, caller, &[])
    }

    fn administrator<T>(&self, request: &Request<T>, caller: u32, owners: &[GroupName]) -> Result<Asker> {
        let asker = self.asker(request, caller)?;
        match &asker {
            Asker::Local(uid) if *uid == 0 || *uid == geteuid().as_raw() => {}
            Asker::Local(uid) => {
                return Err(Error::new(Kind::Denied, format!("uid {uid}"))
                    .because("only root of this machine does this")
                    .remedy("over the network administrators may: -server"));
            }
            Asker::Cell(who) => {
                let record = who.principal().and_then(|name| self.heard.registry().find(name));
                who.must_be_in(record.as_ref(), &[FILESET_ADMIN, FLDB_ADMIN], owners)?;
            }
        }
        Ok(asker)
    }

    /// Whoever makes a fileset without saying for whom owns it; a machine's root is uid 0.
    fn owner(&self, asker: &Asker) -> Owner {
        let root = Owner { uid: 0, gid: 0 };
        let who = match asker {
            Asker::Cell(who) => who.principal(),
            Asker::Local(_) => None,
        };
        let cred = who.map(|name| self.heard.registry().person(name));
        cred.filter(|cred| cred.uid != NOBODY).map_or(root, |cred| Owner {
            uid: cred.uid,
            gid: cred.gid,
        })
    }

    async fn reports(&self, ask: &v1::ListFilesetsRequest) -> Result<Vec<FilesetReport>> {
        let only = (ask.fileset > 0).then_some(FilesetId(ask.fileset));
        let exports = match AggregateName::optional(&ask.aggregate)? {
            Some(name) => vec![self.claims.exports.named(&name)?],
            None => self.claims.exports.list(),
        };
        let list = move || {
            let lists: Vec<Vec<FilesetReport>> = exports
                .iter()
                .map(|export| filesets::list(export, only))
                .collect::<Result<_>>()?;
            Ok(lists.concat())
        };
        blocking(list).await
    }

    async fn create(&self, request: Request<v1::CreateFilesetRequest>) -> Result<()> {
        let asker = self.may_administrate(&request, request.get_ref().caller)?;
        let ask = request.into_inner();
        let owner = match ask.owner {
            Some(v1::Owner { uid, gid }) => Owner { uid, gid },
            None => self.owner(&asker),
        };
        let (claims, id) = (self.claims.clone(), FilesetId(ask.fileset));
        to_its_end(async move { filesets::create(&claims, id, owner).await }).await
    }
}

#[async_trait]
impl Fileserver for Control {
    /// Whoever has a certificate of the cell may know that this server lives.
    async fn probe(&self, _: Request<v1::ProbeRequest>) -> Result<Response<v1::ProbeReply>, Status> {
        Ok(Response::new((self.claims.me.id, self.vitals.sign()).into()))
    }

    async fn export(&self, request: Request<v1::ExportRequest>) -> Result<Response<v1::ExportReply>, Status> {
        let export = async {
            let asker = match request.get_ref().takeover {
                true => self.may_take_over(&request, request.get_ref().caller)?,
                false => self.may_administrate(&request, request.get_ref().caller)?,
            };
            let name = AggregateName::from_wire(&request.get_ref().aggregate)?;
            if request.get_ref().seize {
                if let Asker::Cell(who) = asker {
                    return Err(who.denied("only root of a machine seizes, on that machine"));
                }
                let claims = self.claims.clone();
                return to_its_end(async move { claims.seize(&name).await }).await;
            }
            let takeover = match request.get_ref().takeover {
                true => Takeover::Forced,
                false => Takeover::Planned,
            };
            let claims = self.claims.clone();
            to_its_end(async move { claims.export(&name, takeover).await }).await
        };
        answer(export.await.map(Into::into))
    }

    async fn detach(&self, request: Request<v1::DetachRequest>) -> Result<Response<v1::DetachReply>, Status> {
        let detach = async {
            self.may_administrate(&request, request.get_ref().caller)?;
            let name = AggregateName::from_wire(&request.get_ref().aggregate)?;
            let force = match request.get_ref().force {
                true => Force::Yes,
                false => Force::No,
            };
            let claims = self.claims.clone();
            to_its_end(async move { claims.detach(&name, force).await }).await
        };
        answer(detach.await.map(Into::into))
    }

    async fn list_aggregates(
        &self,
        request: Request<v1::ListAggregatesRequest>,
    ) -> Result<Response<v1::ListAggregatesReply>, Status> {
        let list = async {
            self.may_look(&request, request.get_ref().caller)?;
            let claims = self.claims.clone();
            blocking(move || claims.list()).await
        };
        answer(list.await.map(|list| v1::ListAggregatesReply {
            aggregates: list.into_iter().map(Into::into).collect(),
        }))
    }

    async fn grow_aggregate(
        &self,
        request: Request<v1::GrowAggregateRequest>,
    ) -> Result<Response<v1::GrowAggregateReply>, Status> {
        let grow = async {
            self.may_administrate(&request, request.get_ref().caller)?;
            let (claims, wish) = (self.claims.clone(), wishes::growth(&request.into_inner())?);
            to_its_end(async move { growth::grow(&claims, wish).await }).await
        };
        answer(grow.await.map(Into::into))
    }

    type ScrubStream = ReceiverStream<Result<v1::ScrubReply, Status>>;

    async fn scrub(&self, request: Request<v1::ScrubRequest>) -> Result<Response<Self::ScrubStream>, Status> {
        let report = self
            .may_administrate(&request, request.get_ref().caller)
            .and_then(|_| scrub::ask(&self.claims, &wishes::scrub(request.get_ref())?));
        let report = report.map_err(|error| into_status(&error))?;
        Ok(pieces::of_scrub(&report))
    }

    type ListFilesetsStream = ReceiverStream<Result<v1::ListFilesetsReply, Status>>;

    async fn list_filesets(
        &self,
        request: Request<v1::ListFilesetsRequest>,
    ) -> Result<Response<Self::ListFilesetsStream>, Status> {
        let list = async {
            self.may_look(&request, request.get_ref().caller)?;
            self.reports(request.get_ref()).await
        };
        let reports = list.await.map_err(|error| into_status(&error))?;
        Ok(in_pieces(reports, PIECE, |piece| v1::ListFilesetsReply {
            filesets: piece.into_iter().map(Into::into).collect(),
        }))
    }

    async fn create_fileset(
        &self,
        request: Request<v1::CreateFilesetRequest>,
    ) -> Result<Response<v1::CreateFilesetReply>, Status> {
        answer(self.create(request).await.map(|()| v1::CreateFilesetReply {}))
    }

    async fn delete_fileset(
        &self,
        request: Request<v1::DeleteFilesetRequest>,
    ) -> Result<Response<v1::DeleteFilesetReply>, Status> {
        let delete = async {
            self.may_administrate(&request, request.get_ref().caller)?;
            let (claims, id) = (self.claims.clone(), FilesetId(request.get_ref().fileset));
            to_its_end(async move { filesets::delete(&claims, id).await }).await
        };
        answer(delete.await.map(|()| v1::DeleteFilesetReply {}))
    }

    async fn rename_fileset(
        &self,
        request: Request<v1::RenameFilesetRequest>,
    ) -> Result<Response<v1::RenameFilesetReply>, Status> {
        let rename = async {
            self.may_administrate(&request, request.get_ref().caller)?;
            let (claims, id) = (self.claims.clone(), FilesetId(request.get_ref().fileset));
            to_its_end(async move { filesets::rename(&claims, id).await }).await
        };
        answer(rename.await.map(|()| v1::RenameFilesetReply {}))
    }

    async fn set_quota(&self, request: Request<v1::SetQuotaRequest>) -> Result<Response<v1::SetQuotaReply>, Status> {
        let set = async {
            self.may_administrate(&request, request.get_ref().caller)?;
            let (claims, id) = (self.claims.clone(), FilesetId(request.get_ref().fileset));
            to_its_end(async move { filesets::set_quota(&claims, id).await }).await
        };
        answer(set.await.map(|()| v1::SetQuotaReply {}))
    }

    async fn check_fileset(
        &self,
        request: Request<v1::CheckFilesetRequest>,
    ) -> Result<Response<v1::CheckFilesetReply>, Status> {
        let check = async {
            self.may_administrate(&request, request.get_ref().caller)?;
            let (claims, id) = (self.claims.clone(), FilesetId(request.get_ref().fileset));
            to_its_end(async move { filesets::check(&claims, id).await }).await
        };
        answer(check.await.map(|versions| v1::CheckFilesetReply {
            rw: versions.has_rw,
            backup: versions.has_backup,
        }))
    }

    async fn take_snapshot(
        &self,
        request: Request<v1::TakeSnapshotRequest>,
    ) -> Result<Response<v1::TakeSnapshotReply>, Status> {
        let take = async {
            self.may_administrate(&request, request.get_ref().caller)?;
            let ask = request.into_inner();
            let (claims, id, name) = (self.claims.clone(), FilesetId(ask.fileset), FileName::parse(&ask.name)?);
            to_its_end(async move { snapshots::take(&claims, id, name).await }).await
        };
        answer(take.await.map(|snapshot| v1::TakeSnapshotReply {
            snapshot: Some(snapshot.into()),
        }))
    }

    async fn clone_fileset(
        &self,
        request: Request<v1::CloneFilesetRequest>,
    ) -> Result<Response<v1::CloneFilesetReply>, Status> {
        let clone = async {
            self.may_administrate(&request, request.get_ref().caller)?;
            let (claims, id) = (self.claims.clone(), FilesetId(request.get_ref().fileset));
            to_its_end(async move { snapshots::clone(&claims, id).await }).await
        };
        answer(clone.await.map(|snapshot| v1::CloneFilesetReply {
            snapshot: Some(snapshot.into()),
        }))
    }

    type ListSnapshotsStream = ReceiverStream<Result<v1::ListSnapshotsReply, Status>>;

    async fn list_snapshots(
        &self,
        request: Request<v1::ListSnapshotsRequest>,
    ) -> Result<Response<Self::ListSnapshotsStream>, Status> {
        let list = async {
            self.may_look(&request, request.get_ref().caller)?;
            snapshots::list(&self.claims, FilesetId(request.get_ref().fileset)).await
        };
        let reports = list.await.map_err(|error| into_status(&error))?;
        Ok(in_pieces(reports, SNAPSHOTS_PIECE, |piece| v1::ListSnapshotsReply {
            snapshots: piece.into_iter().map(Into::into).collect(),
        }))
    }

    async fn delete_snapshot(
        &self,
        request: Request<v1::DeleteSnapshotRequest>,
    ) -> Result<Response<v1::DeleteSnapshotReply>, Status> {
        let delete = async {
            self.may_administrate(&request, request.get_ref().caller)?;
            let ask = request.into_inner();
            let (claims, id, name) = (self.claims.clone(), FilesetId(ask.fileset), FileName::parse(&ask.name)?);
            to_its_end(async move { snapshots::delete(&claims, id, name).await }).await
        };
        answer(delete.await.map(|()| v1::DeleteSnapshotReply {}))
    }

    type RestoreFilesetStream = ReceiverStream<Result<v1::RestoreFilesetReply, Status>>;

    async fn restore_fileset(
        &self,
        request: Request<v1::RestoreFilesetRequest>,
    ) -> Result<Response<Self::RestoreFilesetStream>, Status> {
        let restore = async {
            self.may_administrate(&request, request.get_ref().caller)?;
            let (claims, wish) = (self.claims.clone(), wishes::restore(request.into_inner()));
            to_its_end(async move { restore::restore(&claims, wish).await }).await
        };
        let report = restore.await.map_err(|error| into_status(&error))?;
        Ok(pieces::of_restore(report))
    }

    async fn roll_back_fileset(
        &self,
        request: Request<v1::RollBackFilesetRequest>,
    ) -> Result<Response<v1::RollBackFilesetReply>, Status> {
        let back = async {
            self.may_administrate(&request, request.get_ref().caller)?;
            let (claims, wish) = (self.claims.clone(), wishes::roll_back(&request.into_inner())?);
            to_its_end(async move { branches::roll_back(&claims, wish).await }).await
        };
        answer(back.await.map(Into::into))
    }

    async fn clone_snapshot(
        &self,
        request: Request<v1::CloneSnapshotRequest>,
    ) -> Result<Response<v1::CloneSnapshotReply>, Status> {
        let clone = async {
            self.may_administrate(&request, request.get_ref().caller)?;
            let (claims, wish) = (self.claims.clone(), wishes::clone(&request.into_inner())?);
            to_its_end(async move { branches::clone(&claims, wish).await }).await
        };
        answer(clone.await.map(|()| v1::CloneSnapshotReply {}))
    }

    type DiffSnapshotsStream = ReceiverStream<Result<v1::DiffSnapshotsReply, Status>>;

    async fn diff_snapshots(
        &self,
        request: Request<v1::DiffSnapshotsRequest>,
    ) -> Result<Response<Self::DiffSnapshotsStream>, Status> {
        let wish = self
            .may_administrate(&request, request.get_ref().caller)
            .and_then(|_| wishes::difference(request.into_inner()));
        let wish = wish.map_err(|error| into_status(&error))?;
        Ok(pieces::of_difference(self.claims.clone(), wish))
    }

    async fn list_work(&self, request: Request<v1::ListWorkRequest>) -> Result<Response<v1::ListWorkReply>, Status> {
        let list = self
            .may_look(&request, request.get_ref().caller)
            .map(|()| self.claims.works.list());
        answer(list.map(|list| v1::ListWorkReply {
            work: list.into_iter().map(Into::into).collect(),
        }))
    }
}

/// Goes on though whoever asked is gone: nothing here may stop half way.
async fn to_its_end<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|error| Err(Error::new(Kind::Io, "file server").because(error.to_string())))
}

fn answer<T>(result: Result<T>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(|error| into_status(&error))
}
