//! How a mount begins, and what its daemon asks of it besides what the kernel asks.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use baton_rpc::Locator;
use baton_rpc::sessions::Who;
use baton_types::call::{Answer, Newborn, Request};
use baton_types::file::{FileKind, MountPoint, Place};
use baton_types::{Error, FileName, FilesetId, Kind, Result, Timestamp, Vnode};
use bytes::Bytes;

use crate::fuse::Fuse;
use crate::inodes::Inode;
use crate::kernel::{self, Kernel};
use crate::mount::{Mount, unexpected};
use crate::mounts::{Begun, Parts};
use crate::queued::Which;
use crate::served::Served;

/// Threads that answer the kernel, for each processor: one of them waits at most 2 ms for a server, and then there is
/// another one to take what comes.
const THREADS_PER_CPU: usize = 2;
/// Each takes 16 MiB of addresses, and what requests need of that.
const THREADS_MAX: usize = 16;
/// What a mount point's own bits are: nobody sees them, as what is behind it is shown.
const MOUNT_POINT_MODE: u32 = 0o755;

/// Begins to answer the kernel for one mount.
///
/// # Errors
/// What the system or the kernel says.
pub fn begin(parts: Parts) -> Result<Begun> {
    let mount = Mount::start(parts.sessions, parts.proof)?;
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = (cpus * THREADS_PER_CPU).min(THREADS_MAX);
    let session = kernel::begin(parts.device, Fuse(mount.clone()), threads)?;
    mount.attached(Kernel::over(&session)?);
    Ok(Begun {
        served: mount,
        run: Box::new(move || kernel::serve(session)),
    })
}

impl Mount {
    fn directory(&self, who: &Arc<Who>, number: u64, name: &FileName) -> Result<(Arc<Inode>, Place, Option<FileKind>)> {
        let inode = self.inodes.get(number)?;
        // What programs were told is there is there before anything else.
        self.wait_for(&self.filesets.get(inode.fid.fileset), Which::All);
        let place = Place {
            directory: inode.fid,
            name: name.clone(),
        };
        let found = self
            .sessions()
            .ask(who, Request::Lookup { place: place.clone() }, Bytes::new());
        let kind = match found {
            Ok((Answer::Object(object), _)) => Some(object.attributes.kind),
            Ok((other, _)) => return Err(unexpected(&other)),
            Err(error) if error.kind == Kind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok((inode, place, kind))
    }

    /// Asks for a change and has the kernel forget what it makes untrue.
    fn change_mount_point(&self, who: &Arc<Who>, inode: &Arc<Inode>, request: Request) -> Result<()> {
        inode.outdate();
        inode.begin();
        self.whole.changing(&request);
        let answer = self.sessions().ask(who, request, Bytes::new());
        inode.end(None, None);
        match answer? {
            (Answer::Changed { lsn, .. }, _) => self.filesets.get(inode.fid.fileset).changed(lsn),
            (other, _) => return Err(unexpected(&other)),
        }
        if let Some(kernel) = self.kernel() {
            kernel.forget_names()?;
            kernel.forget_inode(inode.number)?;
        }
        Ok(())
    }

    fn newborn(&self, fileset: FilesetId) -> Result<(Newborn, Timestamp)> {
        let (send, hear) = std::sync::mpsc::sync_channel(1);
        let named = move |newborn| drop(send.send(newborn));
        self.sessions().newborn(fileset, MOUNT_POINT_MODE, Box::new(named));
        let ended = || Err(Error::new(Kind::SessionLost, "mount").because("it is ending"));
        Ok((hear.recv().unwrap_or_else(|_| ended())?, self.sessions().date(fileset)))
    }
}

impl Served for Mount {
    fn fileset_of(&self, node: u64) -> Result<FilesetId> {
        self.inodes.get(node).map(|inode| inode.fid.fileset)
    }

    fn flush(&self, node: u64) -> Result<()> {
        let inode = self.inodes.get(node)?;
        let inodes = match inode.fid.vnode {
            Vnode::ROOT => self.inodes.of(inode.fid.fileset),
            _ => vec![inode],
        };
        let Some(kernel) = self.kernel() else {
            return Ok(());
        };
        kernel.forget_names()?;
        for inode in inodes {
            inode.outdate();
            kernel.forget_inode(inode.number)?;
        }
        Ok(())
    }

    fn mount_point(&self, who: &Arc<Who>, directory: u64, name: &FileName) -> Result<Option<MountPoint>> {
        let directory = self.inodes.get(directory)?.fid;
        let place = Place {
            directory,
            name: name.clone(),
        };
        let fid = match self.sessions().ask(who, Request::Lookup { place }, Bytes::new())? {
            (Answer::Object(object), _) if object.attributes.kind == FileKind::MountPoint => object.fid,
            (Answer::Object(_), _) => return Ok(None),
            (other, _) => return Err(unexpected(&other)),
        };
        match self
            .sessions()
            .ask(who, Request::ReadMountPoint { fid }, Bytes::new())?
        {
            (Answer::MountPoint(leads_to), _) => Ok(Some(leads_to)),
            (other, _) => Err(unexpected(&other)),
        }
    }

    fn create_mount_point(&self, who: &Arc<Who>, directory: u64, name: &FileName, leads_to: MountPoint) -> Result<()> {
        let (inode, place, there) = self.directory(who, directory, name)?;
        if there.is_some() {
            return Err(Error::new(Kind::Exists, name.as_bytes().escape_ascii().to_string()));
        }
        let (newborn, time) = self.newborn(inode.fid.fileset)?;
        let request = Request::CreateMountPoint {
            place,
            newborn,
            leads_to,
            time,
        };
        self.change_mount_point(who, &inode, request)
    }

    fn remove_mount_point(&self, who: &Arc<Who>, directory: u64, name: &FileName) -> Result<()> {
        let (inode, place, there) = self.directory(who, directory, name)?;
        let on = || name.as_bytes().escape_ascii().to_string();
        match there {
            Some(FileKind::MountPoint) => {}
            Some(_) => return Err(Error::new(Kind::Invalid, on()).because("it is no mount point")),
            None => return Err(Error::new(Kind::NotFound, on())),
        }
        let time = self.sessions().date(inode.fid.fileset);
        self.change_mount_point(who, &inode, Request::RemoveMountPoint { place, time })?;
        self.inodes.unname(inode.number, name);
        Ok(())
    }

    fn locator(&self) -> &Arc<Locator> {
        self.sessions().locator()
    }

    fn log_out(&self, uid: u32) {
        self.sessions().log_out(uid);
    }

    fn silent(&self) -> Vec<String> {
        let now = self.clock.now();
        let filesets = self.filesets.all();
        let silent = filesets
            .iter()
            .filter(|fileset| fileset.is_wanted() && self.sessions().alive_until(fileset.id) < now);
        let locator = self.locator();
        let owners = silent.filter_map(|fileset| locator.owner(locator.aggregate_of(fileset.id)?).ok());
        let mut names: Vec<String> = owners.map(|owner| owner.server.to_string()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn forget(&self) {
        let forgotten = |outcome: Result<()>| {
            if let Err(error) = outcome {
                tracing::error!(%error, "the kernel does not forget all that it holds");
            }
        };
        let Some(kernel) = self.kernel() else {
            return;
        };
        forgotten(kernel.forget_names());
        for inode in self.inodes.all() {
            forgotten(kernel.forget_inode(inode.number).map(drop));
        }
    }

    fn stop(&self, within: Duration) -> Result<()> {
        if self.is_stopped.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        match self.sessions().stop(within) {
            true => Ok(()),
            false => Err(Error::new(Kind::TimedOut, "mount")
                .because("its servers did not take in time what programs wrote last: that is lost")),
        }
    }
}
