//! A file server's control, called as whom the location database is called.

use std::path::Path;

use baton_proto::control::{ScrubPieces, wish_to_wire};
use baton_proto::v1;
use baton_proto::v1::fileserver_client::FileserverClient;
use baton_types::change::Takeover;
use baton_types::control::{
    AggregateReport, Carry, DetachReport, Difference, ExportReport, FilesetReport, Force, GrowthReport, Moment,
    RestoreReport, Restored, RollBackReport, ScrubReport, ScrubWish, SnapshotReport, VersionsReport, Work,
};
use baton_types::limits::FLDB_MESSAGE_BYTES_MAX;
use baton_types::record::Server;
use baton_types::{Address, AggregateName, Error, FileName, FilesetId, Kind, Result, Timestamp};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status, Streaming};

use super::FldbClient;
use crate::config::PORT_FILES_CONTROL;
use crate::dial::{Dialer, Target};

/// Owner and group of a new fileset's root directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What administrates one file server.
#[derive(Clone, Debug)]
pub struct ControlClient {
    client: FileserverClient<Channel>,
    caller: u32,
}

impl FldbClient {
    /// The control of `server`, by whichever of its addresses answers first.
    ///
    /// # Errors
    /// `Unreachable` when none does; `Denied` or `Expired` when this client cannot log in there.
    pub async fn control(&self, server: &Server) -> Result<ControlClient> {
        let deadline = Instant::now() + self.patience;
        let dialer = Dialer::new(self.inner.tls(), self.inner.source, PORT_FILES_CONTROL);
        // Its addresses are those of the file service; control is on the same machine, on a port of its own.
        let addresses = server.addresses.iter().map(|address| Address::parse(&bare(address)));
        let targets: Vec<Target> = addresses
            .map(|address| {
                Ok(Target {
                    name: Some(server.name.clone()),
                    address: address?,
                })
            })
            .collect::<Result<_>>()?;
        let connection = dialer.first(&targets, deadline).await.map_err(|failures| {
            let why: Vec<String> = failures.iter().map(|(_, error)| error.to_string()).collect();
            Error::new(Kind::Unreachable, format!("server {}", server.name)).because(why.join("; "))
        })?;
        let caller = self.inner.log_in(&connection, deadline).await?;
        Ok(ControlClient::over(connection.grpc(), caller))
    }
}

impl ControlClient {
    /// The control of the server of this machine, by its socket.
    ///
    /// # Errors
    /// `Unreachable` when no server listens there; `Denied`.
    pub async fn local(socket: &Path) -> Result<ControlClient> {
        let path = socket.to_owned();
        let on = || format!("file server of this machine ({})", socket.display());
        let connected = UnixStream::connect(&path).await;
        let stream = connected.map_err(|error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => Error::io(on(), error),
            _ => Error::new(Kind::Unreachable, on())
                .because("it does not run")
                .remedy("start it: fileserver; or name another one with -server"),
        })?;
        let only = parking_lot::Mutex::new(Some(TokioIo::new(stream)));
        let connector = tower::service_fn(move |_| {
            let stream = only.lock().take();
            async move { stream.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected)) }
        });
        let channel = Endpoint::from_static("http://baton.invalid")
            .connect_with_connector(connector)
            .await
            .map_err(|error| Error::new(Kind::Unreachable, on()).because(error.to_string()))?;
        Ok(ControlClient::over(channel, 0))
    }

    fn over(channel: Channel, caller: u32) -> ControlClient {
        let client = FileserverClient::new(channel)
            .max_decoding_message_size(FLDB_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(FLDB_MESSAGE_BYTES_MAX);
        ControlClient { client, caller }
    }

    /// Exports an aggregate there; `takeover` says whether a living owner keeps it.
    ///
    /// # Errors
    /// What the server says: `Exists` if it is exported already, `Busy` if another server owns it.
    pub async fn export(&self, aggregate: &AggregateName, takeover: Takeover) -> Result<ExportReport> {
        let request = v1::ExportRequest {
            caller: self.caller,
            aggregate: aggregate.to_string().into_bytes(),
            takeover: takeover == Takeover::Forced,
            seize: false,
        };
        answer(self.client.clone().export(request).await)?.try_into()
    }

    /// Exports an aggregate there although the location database cannot grant it; for root of that machine.
    ///
    /// # Errors
    /// As [`ControlClient::export`]; `Busy` while the location database answers.
    pub async fn seize(&self, aggregate: &AggregateName) -> Result<ExportReport> {
        let request = v1::ExportRequest {
            caller: self.caller,
            aggregate: aggregate.to_string().into_bytes(),
            takeover: true,
            seize: true,
        };
        answer(self.client.clone().export(request).await)?.try_into()
    }

    /// Detaches an aggregate from that server.
    ///
    /// # Errors
    /// What the server says.
    pub async fn detach(&self, aggregate: &AggregateName, force: Force) -> Result<DetachReport> {
        let request = v1::DetachRequest {
            force: force == Force::Yes,
            caller: self.caller,
            aggregate: aggregate.to_string().into_bytes(),
        };
        answer(self.client.clone().detach(request).await)?.try_into()
    }

    /// The aggregates whose labels it sees, by name.
    ///
    /// # Errors
    /// What the server says.
    pub async fn aggregates(&self) -> Result<Vec<AggregateReport>> {
        let request = v1::ListAggregatesRequest { caller: self.caller };
        let reply = answer(self.client.clone().list_aggregates(request).await)?;
        reply.aggregates.into_iter().map(AggregateReport::try_from).collect()
    }

    /// The filesets that it serves: all, those of an aggregate, or one.
    ///
    /// # Errors
    /// What the server says.
    pub async fn filesets(
        &self,
        aggregate: Option<&AggregateName>,
        fileset: Option<FilesetId>,
    ) -> Result<Vec<FilesetReport>> {
        let request = v1::ListFilesetsRequest {
            caller: self.caller,
            aggregate: aggregate.map(|name| name.to_string().into_bytes()).unwrap_or_default(),
            fileset: fileset.map_or(0, |id| id.0),
        };
        let mut pieces = answer(self.client.clone().list_filesets(request).await)?;
        let mut filesets = Vec::new();
        while let Some(piece) = pieces.message().await.map_err(|status| failed(&status))? {
            for report in piece.filesets {
                filesets.push(report.try_into()?);
            }
        }
        Ok(filesets)
    }

    /// Makes the fileset that has this entry in the location database.
    ///
    /// # Errors
    /// What the server says.
    pub async fn create_fileset(&self, fileset: FilesetId, owner: Option<Owner>) -> Result<()> {
        let request = v1::CreateFilesetRequest {
            caller: self.caller,
            fileset: fileset.0,
            owner: owner.map(|Owner { uid, gid }| v1::Owner { uid, gid }),
        };
        answer(self.client.clone().create_fileset(request).await).map(drop)
    }

    /// Deletes the files of a fileset.
    ///
    /// # Errors
    /// What the server says.
    pub async fn delete_fileset(&self, fileset: FilesetId) -> Result<()> {
        let request = v1::DeleteFilesetRequest {
            caller: self.caller,
            fileset: fileset.0,
        };
        answer(self.client.clone().delete_fileset(request).await).map(drop)
    }

    /// Gives a fileset the name of its entry in the location database.
    ///
    /// # Errors
    /// What the server says.
    pub async fn rename_fileset(&self, fileset: FilesetId) -> Result<()> {
        let request = v1::RenameFilesetRequest {
            caller: self.caller,
            fileset: fileset.0,
        };
        answer(self.client.clone().rename_fileset(request).await).map(drop)
    }

    /// Takes so many `bytes` of its device into an aggregate that is served there, or all of them.
    ///
    /// # Errors
    /// What the server says: `NotFound` if it is not served there, `Invalid` if it would not grow.
    pub async fn grow(&self, aggregate: &AggregateName, bytes: Option<u64>, carry: Carry) -> Result<GrowthReport> {
        let request = v1::GrowAggregateRequest {
            caller: self.caller,
            aggregate: aggregate.to_string().into_bytes(),
            bytes: bytes.unwrap_or(0),
            dry_run: carry == Carry::Nothing,
        };
        answer(self.client.clone().grow_aggregate(request).await).map(Into::into)
    }

    /// What is wished of the scrub of an aggregate that is served there; and how it goes.
    ///
    /// # Errors
    /// What the server says: `NotFound` if the aggregate is not served there, or no scrub goes on to be stopped; `Exists`
    /// if one goes on already.
    pub async fn scrub(&self, aggregate: &AggregateName, wish: ScrubWish) -> Result<ScrubReport> {
        let (wish, rate) = wish_to_wire(wish);
        let request = v1::ScrubRequest {
            caller: self.caller,
            aggregate: aggregate.to_string().into_bytes(),
            wish,
            rate,
        };
        let mut replies = answer(self.client.clone().scrub(request).await)?;
        let mut pieces = ScrubPieces::default();
        while let Some(piece) = replies.message().await.map_err(|status| failed(&status))? {
            pieces.add(piece);
        }
        pieces.report()
    }

    /// Gives a fileset the quota of its entry in the location database.
    ///
    /// # Errors
    /// What the server says.
    pub async fn set_quota(&self, fileset: FilesetId) -> Result<()> {
        let request = v1::SetQuotaRequest {
            caller: self.caller,
            fileset: fileset.0,
        };
        answer(self.client.clone().set_quota(request).await).map(drop)
    }

    /// Has a fileset's entry say which versions are on the aggregate that it is booked on.
    ///
    /// # Errors
    /// What the server says: `Moved` if it is booked on none that the server has.
    pub async fn check_fileset(&self, fileset: FilesetId) -> Result<VersionsReport> {
        let request = v1::CheckFilesetRequest {
            caller: self.caller,
            fileset: fileset.0,
        };
        let reply = answer(self.client.clone().check_fileset(request).await)?;
        Ok(VersionsReport {
            has_rw: reply.rw,
            has_backup: reply.backup,
        })
    }

    /// Takes a snapshot of a fileset.
    ///
    /// # Errors
    /// What the server says: `Exists` if there is one of the name.
    pub async fn take_snapshot(&self, fileset: FilesetId, name: &FileName) -> Result<SnapshotReport> {
        let request = v1::TakeSnapshotRequest {
            caller: self.caller,
            fileset: fileset.0,
            name: name.as_bytes().to_vec(),
        };
        report(answer(self.client.clone().take_snapshot(request).await)?.snapshot)
    }

    /// Makes a fileset's backup version, or puts a new one in its place.
    ///
    /// # Errors
    /// What the server says.
    pub async fn clone_fileset(&self, fileset: FilesetId) -> Result<SnapshotReport> {
        let request = v1::CloneFilesetRequest {
            caller: self.caller,
            fileset: fileset.0,
        };
        report(answer(self.client.clone().clone_fileset(request).await)?.snapshot)
    }

    /// The snapshots of a fileset, oldest first.
    ///
    /// # Errors
    /// What the server says.
    pub async fn snapshots(&self, fileset: FilesetId) -> Result<Vec<SnapshotReport>> {
        let request = v1::ListSnapshotsRequest {
            caller: self.caller,
            fileset: fileset.0,
        };
        let mut pieces = answer(self.client.clone().list_snapshots(request).await)?;
        let mut snapshots = Vec::new();
        while let Some(piece) = pieces.message().await.map_err(|status| failed(&status))? {
            for report in piece.snapshots {
                snapshots.push(report.try_into()?);
            }
        }
        Ok(snapshots)
    }

    /// Deletes a snapshot of a fileset.
    ///
    /// # Errors
    /// What the server says: `NotFound`.
    pub async fn delete_snapshot(&self, fileset: FilesetId, name: &FileName) -> Result<()> {
        let request = v1::DeleteSnapshotRequest {
            caller: self.caller,
            fileset: fileset.0,
            name: name.as_bytes().to_vec(),
        };
        answer(self.client.clone().delete_snapshot(request).await).map(drop)
    }

    /// Takes a fileset back to one of its snapshots.
    ///
    /// # Errors
    /// What the server says: `NotFound` without such a snapshot.
    pub async fn roll_back(&self, fileset: FilesetId, snapshot: &FileName, carry: Carry) -> Result<RollBackReport> {
        let request = v1::RollBackFilesetRequest {
            caller: self.caller,
            fileset: fileset.0,
            snapshot: snapshot.as_bytes().to_vec(),
            dry_run: carry == Carry::Nothing,
        };
        answer(self.client.clone().roll_back_fileset(request).await)?.try_into()
    }

    /// Makes the fileset `clone`, which has an entry in the location database, of a snapshot of another one.
    ///
    /// # Errors
    /// What the server says: `NotFound` without such a snapshot.
    pub async fn clone_snapshot(&self, clone: FilesetId, fileset: FilesetId, snapshot: &FileName) -> Result<()> {
        let request = v1::CloneSnapshotRequest {
            caller: self.caller,
            clone: clone.0,
            fileset: fileset.0,
            snapshot: snapshot.as_bytes().to_vec(),
        };
        answer(self.client.clone().clone_snapshot(request).await).map(drop)
    }

    /// Brings what is at `path` of a fileset back to what it was at a moment; an empty path is all of it.
    ///
    /// # Errors
    /// What the server says: `NotFound` without a snapshot of that moment, or without such a path in it.
    pub async fn restore_fileset(
        &self,
        fileset: FilesetId,
        moment: &Moment,
        path: &[u8],
        carry: Carry,
    ) -> Result<RestoreReport> {
        let request = v1::RestoreFilesetRequest {
            caller: self.caller,
            fileset: fileset.0,
            at: match moment {
                Moment::At(at) => Some(at.0),
                Moment::BeforeLast => None,
            },
            path: path.to_vec(),
            dry_run: carry == Carry::Nothing,
        };
        let mut pieces = answer(self.client.clone().restore_fileset(request).await)?;
        let mut report = RestoreReport::default();
        while let Some(piece) = pieces.message().await.map_err(|status| failed(&status))? {
            if !piece.from.is_empty() {
                (report.from, report.taken, report.before) = (piece.from, Timestamp(piece.taken), piece.before);
            }
            for file in piece.files {
                report.steps.push(Restored::try_from(file)?);
            }
        }
        Ok(report)
    }

    /// In what a fileset differs between a snapshot and another one, or now; below `path` alone, unless it is empty.
    ///
    /// # Errors
    /// What the server says, here or later.
    pub async fn diff_snapshots(
        &self,
        fileset: FilesetId,
        (from, to): (&FileName, Option<&FileName>),
        path: &[u8],
    ) -> Result<Differences> {
        let request = v1::DiffSnapshotsRequest {
            caller: self.caller,
            fileset: fileset.0,
            from: from.as_bytes().to_vec(),
            to: to.map(|to| to.as_bytes().to_vec()).unwrap_or_default(),
            path: path.to_vec(),
        };
        let pieces = answer(self.client.clone().diff_snapshots(request).await)?;
        Ok(Differences { pieces })
    }

    /// What the server is at work on for administrators.
    ///
    /// # Errors
    /// What the server says.
    pub async fn work(&self) -> Result<Vec<Work>> {
        let request = v1::ListWorkRequest { caller: self.caller };
        let reply = answer(self.client.clone().list_work(request).await)?;
        reply.work.into_iter().map(Work::try_from).collect()
    }
}

/// Differences as the server finds them: it waits for who does not take them.
pub struct Differences {
    pieces: Streaming<v1::DiffSnapshotsReply>,
}

impl Differences {
    /// Some more; `None` after all of them.
    ///
    /// # Errors
    /// What the server says: then there are more, which nobody knows.
    pub async fn next(&mut self) -> Result<Option<Vec<Difference>>> {
        let piece = self.pieces.message().await.map_err(|status| failed(&status))?;
        let differences = piece.map(|piece| piece.differences.into_iter().map(Difference::try_from).collect());
        differences.transpose()
    }
}

fn report(snapshot: Option<v1::SnapshotReport>) -> Result<SnapshotReport> {
    let nothing = || Error::new(Kind::Damaged, "snapshot").because("the file server says nothing of it");
    snapshot.ok_or_else(nothing)?.try_into()
}

fn answer<T>(reply: Result<Response<T>, Status>) -> Result<T> {
    reply.map(Response::into_inner).map_err(|status| failed(&status))
}

fn failed(status: &Status) -> Error {
    baton_proto::failure_of(status).unwrap_or_else(|| Error {
        on: "file server".to_owned(),
        ..baton_proto::from_status(status)
    })
}

/// An address without its port.
fn bare(address: &Address) -> String {
    address.host().to_owned()
}
