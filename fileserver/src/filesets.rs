//! Filesets: the server's half of making, deleting and renaming them.
//!
//! The location database decides names, ids and places; the disk follows. Each step is done again without harm, so
//! that a command which was cut short is simply given once more:
//!
//! | command | first | then | last |
//! |---|---|---|---|
//! | create | entry, *invalid* | on the disk, durable | *valid* |
//! | delete | hidden on the disk, durable | *invalid* | entry gone |
//! | rename, quota | entry | on the disk | |

use std::sync::Arc;

use baton_aggregate::aggregate::{self, Need};
use baton_aggregate::fileset::{Birth, Place, catalog, create_mount_point};
use baton_aggregate::format::{Attributes, FilesetHeader, FilesetKind, HashKey, Key, Lsn, MountPoint};
use baton_aggregate::transaction::Operation;
use baton_rpc::fldb::{Freshness, Owner, Query, Sought};
use baton_types::change::{AggregateRef, Change, FilesetRef};
use baton_types::control::{BACKUP, FilesetReport, VersionsReport};
use baton_types::record::groups::CELL_ADMIN;
use baton_types::record::{Fileset, Record, Site, Table, VersionState};
use baton_types::{Address, ClientId, Error, Fid, FileName, FilesetId, FilesetName, Kind, Result, Vnode};
use rand::random;

use crate::claims::{Claims, blocking};
use crate::exports::Export;
use crate::who::NOBODY;

/// Of the root directory of a new fileset.
const ROOT_MODE: u32 = 0o755;
/// Where in `root.cell` the way to every fileset's read-write version begins.
const READ_WRITE: &[u8] = b".rw";

/// Makes the fileset that has this entry, if it is booked on an aggregate that is exported here.
///
/// # Errors
/// `NotFound` without an entry; `Moved` if it is booked elsewhere; `Exists`, `NoSpace`; damage.
pub async fn create(claims: &Claims, id: FilesetId, owner: Owner) -> Result<()> {
    let (fileset, export) = booked(claims, id).await?;
    let _turn = claims.works.begin("create fileset", &export.name)?;
    make(claims, &export, &fileset, owner).await
}

/// Hides a fileset and its files for ever.
///
/// # Errors
/// `NotFound` without an entry; `Moved` if it is booked elsewhere; damage.
pub async fn delete(claims: &Claims, id: FilesetId) -> Result<()> {
    let (fileset, export) = booked(claims, id).await?;
    let _turn = claims.works.begin("delete fileset", &export.name)?;
    let (id, hiding) = (fileset.id, export.clone());
    let hidden = blocking(move || {
        let hide = hiding
            .aggregate()
            .change_fileset(id, &Operation::default(), |transaction| catalog::hide(transaction, id));
        hide.and_then(|lsn| hiding.aggregate().wait(lsn))
    });
    match hidden.await {
        // Done before, and cut short then.
        Err(error) if error.kind == Kind::NotFound => {}
        hidden => hidden?,
    }
    claims.exports.remove_fileset(id);
    if fileset.backup == VersionState::Valid {
        report(claims, &export, id.backup(), VersionState::Invalid).await?;
    }
    report(claims, &export, id, VersionState::Invalid).await?;
    tracing::info!(fileset = %id, name = %fileset.name, aggregate = %export.name, "fileset deleted");
    Ok(())
}

/// Gives a fileset the name of its entry.
///
/// # Errors
/// `NotFound` without an entry; `Moved` if it is booked elsewhere; damage.
pub async fn rename(claims: &Claims, id: FilesetId) -> Result<()> {
    let (fileset, export) = booked(claims, id).await?;
    let _turn = claims.works.begin("rename fileset", &export.name)?;
    blocking(move || {
        let aggregate = export.aggregate();
        let lsn = aggregate.change_fileset(fileset.id, &Operation::default(), |transaction| {
            catalog::rename(transaction, fileset.id, &fileset.name)
        })?;
        aggregate.wait(lsn)
    })
    .await
}

/// Gives a fileset the quota of its entry: the next change that asks for more room is held against it.
///
/// # Errors
/// `NotFound` without an entry; `Moved` if it is booked elsewhere; damage.
pub async fn set_quota(claims: &Claims, id: FilesetId) -> Result<()> {
    let (fileset, export) = booked(claims, id).await?;
    let _turn = claims.works.begin("set quota", &export.name)?;
    blocking(move || {
        let aggregate = export.aggregate();
        let (bytes, files) = (fileset.quota_bytes, fileset.quota_files);
        let lsn = aggregate.change_fileset(fileset.id, &Operation::default(), |transaction| {
            catalog::set_quota(transaction, fileset.id, bytes, files)
        })?;
        aggregate.wait(lsn)
    })
    .await
}

/// Tells the location database which versions of a fileset are on the aggregate that it is booked on, and whoever asks.
///
/// # Errors
/// `NotFound` without an entry; `Moved` if it is booked on no aggregate that is exported here; damage.
pub async fn check(claims: &Claims, id: FilesetId) -> Result<VersionsReport> {
    let (fileset, export) = booked(claims, id).await?;
    // Nobody makes or deletes it between the look and the word.
    let _turn = claims.works.begin("check fileset", &export.name)?;
    let (id, looking) = (fileset.id, export.clone());
    let versions = blocking(move || match looking.aggregate().fileset(id) {
        Err(error) if error.kind == Kind::NotFound => Ok(VersionsReport::default()),
        there => {
            let there = there?;
            // One whose making was cut short has a header and no root: nobody could use it.
            root_of(&there)?;
            Ok(VersionsReport {
                has_rw: true,
                has_backup: has_backup(&there),
            })
        }
    })
    .await?;
    for (version, is_there) in [(id, versions.has_rw), (id.backup(), versions.has_backup)] {
        let state = match is_there {
            true => VersionState::Valid,
            false => VersionState::Invalid,
        };
        report(claims, &export, version, state).await?;
    }
    Ok(versions)
}

fn has_backup(fileset: &aggregate::Fileset) -> bool {
    fileset.snapshot_named(BACKUP.as_bytes()).is_some()
}

/// What the disk says of the filesets of `export`, by name; of one of them, if one is named. Reads disks.
///
/// # Errors
/// Damage.
pub fn list(export: &Export, only: Option<FilesetId>) -> Result<Vec<FilesetReport>> {
    let mut reports = Vec::new();
    for id in export.filesets()? {
        if only.is_some_and(|only| only != id) {
            continue;
        }
        let fileset = match export.aggregate().fileset(id) {
            Err(error) if error.kind == Kind::NotFound => continue, // deleted since it was listed
            fileset => fileset?,
        };
        let (header, usage) = (fileset.header(), fileset.usage());
        reports.push(FilesetReport {
            id,
            name: header.name,
            aggregate: export.name.clone(),
            used_bytes: usage.bytes,
            used_files: usage.files,
            quota_bytes: header.quota_bytes,
            quota_files: header.quota_files,
            created: header.created,
            version: header.version,
            is_online: export.accepting(),
            has_backup: has_backup(&fileset),
        });
    }
    reports.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(reports)
}

/// The first aggregate that is exported in a cell without a root gets it; one that was cut short is finished. That it
/// cannot be made now is no failure of the export: the next one tries again.
pub async fn make_root_cell(claims: &Claims, export: &Arc<Export>) {
    match try_make_root_cell(claims, export).await {
        Ok(()) => {}
        // Another server was first.
        Err(error) if error.kind == Kind::Exists => {}
        Err(error) => tracing::warn!(%error, "the root of the cell is not made"),
    }
}

async fn try_make_root_cell(claims: &Claims, export: &Arc<Export>) -> Result<()> {
    let sought = Sought::Fileset(FilesetRef::Name(FilesetName::root_cell()));
    let fileset = match claims.client.lookup(&sought).await {
        Ok(location) => location.fileset,
        Err(error) if error.kind == Kind::NotFound => None,
        Err(error) => return Err(error),
    };
    let fileset = match fileset {
        Some(fileset) if fileset.rw == VersionState::Valid || !is_on(&fileset, export) => return Ok(()),
        Some(fileset) => fileset,
        None => {
            let change = Change::CreateFileset {
                name: FilesetName::root_cell(),
                server: Address::parse(claims.me.name.as_str())?,
                aggregate: AggregateRef::Name(export.name.clone()),
                quota_bytes: 0,
            };
            match claims.client.change(change).await?.record {
                Some(Record::Fileset(fileset)) => fileset,
                _ => return Err(Error::new(Kind::Damaged, "root.cell").because("the answer is of something else")),
            }
        }
    };
    make(claims, export, &fileset, first_administrator(claims).await?).await?;
    tracing::info!(aggregate = %export.name, "the cell has its root");
    Ok(())
}

/// Who owns the root of the cell: of its administrators the one with the lowest id, which the first one has.
async fn first_administrator(claims: &Claims) -> Result<Owner> {
    let query = Query::tables(&[Table::Principal], Freshness::Local);
    let listing = claims.client.list(&query).await?;
    let ids = listing.records.into_iter().filter_map(|record| match record {
        Record::Principal(principal) => {
            let is_one = principal.groups.iter().any(|group| group.as_str() == CELL_ADMIN);
            principal.id.filter(|_| is_one)
        }
        _ => None,
    });
    let id = ids.min().unwrap_or(NOBODY);
    Ok(Owner { uid: id, gid: id })
}

/// The entry of a fileset, and the aggregate that its RW version is booked on.
pub(crate) async fn booked(claims: &Claims, id: FilesetId) -> Result<(Fileset, Arc<Export>)> {
    let query = Query {
        fileset: Some(FilesetRef::Id(id)),
        ..Query::tables(&[Table::Fileset], Freshness::Linearizable)
    };
    // Who asks may just have made the entry, and not every member has heard of it.
    let records = claims.client.list(&query).await?.records;
    let fileset = records.into_iter().find_map(|record| match record {
        Record::Fileset(fileset) => Some(fileset),
        _ => None,
    });
    let fileset = fileset.ok_or_else(|| Error::new(Kind::NotFound, format!("fileset {id}")))?;
    let export = claims.exports.list().into_iter().find(|export| is_on(&fileset, export));
    let export = export.ok_or_else(|| {
        Error::new(Kind::Moved, format!("fileset {}", fileset.name))
            .because(format!("{} exports no aggregate that it is booked on", claims.me.name))
            .remedy(format!("fts lsft -fileset {} says who does", fileset.name))
    })?;
    if !export.accepting() {
        return Err(Error::new(Kind::Detached, format!("aggregate {}", export.name)).because("it is being detached"));
    }
    Ok((fileset, export))
}

fn is_on(fileset: &Fileset, export: &Export) -> bool {
    let here = |site: &Site| site.aggregate == export.id && site.versions & Site::RW != 0;
    fileset.sites.iter().any(here)
}

/// Makes a fileset on the disk, serves it, and says so.
async fn make(claims: &Claims, export: &Arc<Export>, fileset: &Fileset, owner: Owner) -> Result<()> {
    let (making, entry, date) = (export.clone(), fileset.clone(), claims.clock.date());
    let server = ClientId(claims.me.id.0);
    blocking(move || {
        let operation = Operation {
            unique: random(),
            time: date,
            uid: owner.uid,
            gid: owner.gid,
            ..Operation::default()
        };
        make_on_disk(&making, &entry, &operation)?;
        match entry.name.is_root_cell() {
            true => make_read_write(&making, entry.id, (server, &operation)),
            false => Ok(()),
        }
    })
    .await?;
    claims.exports.add_fileset(export, fileset.id);
    report(claims, export, fileset.id, VersionState::Valid).await?;
    tracing::info!(fileset = %fileset.id, name = %fileset.name, aggregate = %export.name, "fileset made");
    Ok(())
}

/// A fileset with a root directory; one that was made before is as good.
fn make_on_disk(export: &Export, entry: &Fileset, operation: &Operation) -> Result<()> {
    let aggregate = export.aggregate();
    let there = match aggregate.read_system(|system| catalog::header(system, entry.id)) {
        Err(error) if error.kind == Kind::NotFound => None,
        there => Some(there?),
    };
    // With the same header the store finishes what was cut short between header and root.
    let header = there.unwrap_or_else(|| FilesetHeader {
        kind: FilesetKind::ReadWrite,
        name: entry.name.clone(),
        hash_key: HashKey(random()),
        created: operation.time,
        quota_bytes: entry.quota_bytes,
        quota_files: entry.quota_files,
        newest_snapshot: Lsn(0),
        origin: 0,
        snapshots_taken: 0,
        version: 0,
    });
    if header.kind != FilesetKind::ReadWrite {
        return Err(Error::new(Kind::Busy, format!("fileset {}", entry.name)).because("it is being taken apart"));
    }
    let birth = Birth {
        mode: ROOT_MODE,
        acl: &[],
    };
    let done = aggregate.create_fileset(entry.id, &header, operation, birth)?;
    match done.answer {
        Ok(_) => {}
        Err(error) if error.kind == Kind::Exists => {}
        Err(error) => return Err(error),
    }
    aggregate.wait(done.lsn)
}

/// `.rw` in the root of the cell, in a session of the server's own, so that no client is given its vnode.
fn make_read_write(export: &Export, id: FilesetId, (server, operation): (ClientId, &Operation)) -> Result<()> {
    let aggregate = export.aggregate();
    let fileset = aggregate.fileset(id)?;
    let directory = root_of(&fileset)?;
    let name = FileName::parse(READ_WRITE)?;
    let (_, session) = aggregate.open_session(server, operation.time)?;
    let (lsn, vnodes) = aggregate.grant_vnodes(session, id)?;
    aggregate.wait(lsn)?;
    let operation = Operation {
        session,
        stream: 1,
        sequence: 1,
        vnode: Some(vnodes.first),
        ..*operation
    };
    let birth = Birth {
        mode: ROOT_MODE,
        acl: &[],
    };
    let place = Place { directory, name: &name };
    let done = fileset.operate(&operation, Need::GROWTH, |transaction, names| {
        create_mount_point(transaction, names, place, birth, MountPoint::ReadWrite(id))
    })?;
    match done.answer {
        Err(error) if error.kind != Kind::Exists => return Err(error),
        Ok(_) | Err(_) => {}
    }
    let lsn = aggregate.end_session(session)?;
    aggregate.wait(lsn)
}

/// The root directory's own name for ever.
fn root_of(fileset: &aggregate::Fileset) -> Result<Fid> {
    let missing = || Error::new(Kind::Damaged, format!("fileset {}", fileset.id())).because("it has no root directory");
    let attributes = fileset.read(|tree| tree.get(Key::attributes(Vnode::ROOT)))?;
    let attributes = Attributes::decode(&attributes.ok_or_else(missing)?)?;
    Ok(Fid {
        fileset: fileset.id(),
        vnode: Vnode::ROOT,
        unique: attributes.unique,
    })
}

pub(crate) async fn report(claims: &Claims, export: &Export, fileset: FilesetId, state: VersionState) -> Result<()> {
    let change = Change::ReportFileset {
        server: claims.me.id,
        aggregate: export.id,
        epoch: export.epoch,
        fileset,
        state,
    };
    claims.client.change(change).await.map(drop)
}
