//! Questions about a file: it comes as a descriptor that the caller opened himself.

use std::fs;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use baton_proto::v1::{self, client_reply};
use baton_rpc::Locator;
use baton_rpc::local::Peer;
use baton_rpc::sessions::Who;
use baton_types::change::FilesetRef;
use baton_types::file::MountPoint;
use baton_types::record::Fileset;
use baton_types::{CellName, Error, FileName, FilesetId, Kind, Result};
use rustix::fs::{AtFlags, StatxFlags, statx};

use super::{Control, Told};
use crate::resolve::{Named, Version};
use crate::served::Served;

/// A file of one of our mounts.
pub(super) struct At {
    cell: CellName,
    served: Arc<dyn Served>,
    node: u64,
}

impl Control {
    /// Which file of which mount a descriptor is of.
    pub(super) fn at(&self, descriptor: Option<OwnedFd>) -> Result<At> {
        let descriptor =
            descriptor.ok_or_else(|| Error::new(Kind::Invalid, "question").because("no file came with it"))?;
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let found = statx(&descriptor, "", flags, StatxFlags::empty()).map_err(|e| Error::io("file", e.into()))?;
        let mount = match found.stx_dev_major {
            0 => self.mounts.find(found.stx_dev_minor),
            _ => None,
        };
        let (cell, served) =
            mount.ok_or_else(|| Error::new(Kind::NotFound, "").because("it is not in a cell that is mounted here"))?;
        Ok(At {
            cell,
            served,
            node: found.stx_ino,
        })
    }
}

impl At {
    pub(super) fn where_is(&self) -> Told {
        let locator = self.served.locator();
        let id = self.served.fileset_of(self.node)?;
        let record = record(locator, &FilesetRef::Id(id))?;
        let aggregate = locator.aggregate_of(id);
        let owner = aggregate.and_then(|aggregate| locator.owner(aggregate).ok());
        let name = aggregate.and_then(|aggregate| locator.aggregate(aggregate));
        let suffix = Version::of(&record, id).map(Version::suffix).unwrap_or_default();
        Ok(Some(client_reply::What::Place(v1::ClientPlace {
            cell: self.cell.to_string().into_bytes(),
            fileset: id.0,
            name: format!("{}{suffix}", record.name).into_bytes(),
            aggregate: name
                .map(|record| record.name.to_string().into_bytes())
                .unwrap_or_default(),
            server: owner
                .as_ref()
                .map(|owner| owner.server.to_string().into_bytes())
                .unwrap_or_default(),
            addresses: owner
                .map(|owner| {
                    owner
                        .addresses
                        .iter()
                        .map(|address| address.to_string().into_bytes())
                        .collect()
                })
                .unwrap_or_default(),
        })))
    }

    pub(super) fn flush(&self) -> Told {
        self.served.flush(self.node)?;
        Ok(None)
    }

    pub(super) fn ls_mount(&self, peer: Peer, question: &v1::ClientLsMount) -> Told {
        let (name, who) = (FileName::parse(&question.name)?, who(peer)?);
        let found = self.served.mount_point(&who, self.node, &name)?;
        let told = match found {
            None => v1::ClientMountPoint::default(),
            Some(point) => self.described(point, None),
        };
        Ok(Some(client_reply::What::MountPoint(told)))
    }

    pub(super) fn cr_mount(&self, peer: Peer, question: &v1::ClientCrMount) -> Told {
        let (name, who) = (FileName::parse(&question.name)?, who(peer)?);
        let text = String::from_utf8_lossy(&question.fileset);
        let named = Named::parse(&text)?;
        if question.read_write && named.version.is_some() {
            return Err(Error::new(Kind::Invalid, format!("fileset {text}"))
                .because("a read-write mount point leads to no other version"));
        }
        let (id, record) = self.sought(&named, question.unseen)?;
        let point = match question.read_write {
            true => MountPoint::ReadWrite(id),
            false => MountPoint::Regular(id),
        };
        self.served.create_mount_point(&who, self.node, &name, point)?;
        Ok(Some(client_reply::What::MountPoint(self.described(point, record))))
    }

    pub(super) fn del_mount(&self, peer: Peer, question: &v1::ClientDelMount) -> Told {
        let (name, who) = (FileName::parse(&question.name)?, who(peer)?);
        self.served.remove_mount_point(&who, self.node, &name)?;
        Ok(None)
    }

    /// The id that a mount point shall hold. An id need not be one of a fileset, a name must.
    fn sought(&self, named: &Named, is_unseen: bool) -> Result<(FilesetId, Option<Fileset>)> {
        let found = match (&named.fileset, is_unseen) {
            (FilesetRef::Id(id), true) => return Ok((*id, None)),
            _ => record(self.served.locator(), &named.fileset),
        };
        match (&named.fileset, found) {
            (FilesetRef::Id(id), Err(e)) if e.kind == Kind::NotFound => Ok((*id, None)),
            (_, Err(error)) => Err(error),
            (_, Ok(record)) => Ok((named.id(&record), Some(record))),
        }
    }

    fn described(&self, point: MountPoint, known: Option<Fileset>) -> v1::ClientMountPoint {
        let (id, read_write) = match point {
            MountPoint::Regular(id) => (id, false),
            MountPoint::ReadWrite(id) => (id, true),
        };
        let known = known.or_else(|| record(self.served.locator(), &FilesetRef::Id(id)).ok());
        let name = known.map(|record| {
            let suffix = Version::of(&record, id).map(Version::suffix).unwrap_or_default();
            format!("{}{suffix}", record.name)
        });
        v1::ClientMountPoint {
            fileset: id.0,
            name: name.unwrap_or_default().into_bytes(),
            read_write,
        }
    }
}

/// What the location database has of a fileset: as it was heard, else asked now.
fn record(locator: &Arc<Locator>, fileset: &FilesetRef) -> Result<Fileset> {
    let heard = match fileset {
        FilesetRef::Id(id) => locator.fileset(*id),
        FilesetRef::Name(name) => locator.named(name),
    };
    heard.map_or_else(|| locator.look_up(fileset), Ok)
}

/// The caller, with the groups that its process has just now.
fn who(peer: Peer) -> Result<Arc<Who>> {
    let path = format!("/proc/{}/status", peer.pid);
    let text = fs::read_to_string(&path).map_err(|e| Error::io(path, e))?;
    let groups = groups_of(&text, peer.uid)
        .ok_or_else(|| Error::new(Kind::Denied, "caller").because("its process is not there any more"))?;
    Ok(Arc::new(Who {
        uid: peer.uid,
        gid: peer.gid,
        groups,
        pid: peer.pid,
    }))
}

/// The groups in a `/proc/PID/status` of a process of `uid`; `None` when it is somebody else's by now.
pub(super) fn groups_of(status: &str, uid: u32) -> Option<Vec<u32>> {
    let numbers = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        line.split_whitespace()
            .map(|number| number.parse().ok())
            .collect::<Option<Vec<u32>>>()
    };
    let effective = *numbers("Uid:")?.get(1)?;
    let mut groups = numbers("Groups:")?;
    groups.sort_unstable();
    (effective == uid).then_some(groups)
}
