//! Entries after what is on the disks, and without them: `syncfldb`, `delfldbentry`.
//!
//! An administrator says what a header says: name, place, quota. That a version is there only the owner of the
//! aggregate says (`ReportFileset`), so an entry is never moved from a disk that still has the fileset. Ids are never
//! used again: none is given out that a disk has, whether it has an entry or not.

use baton_types::change::{Change, FilesetRef};
use baton_types::record::{Fileset, Record, Site, VersionState};
use baton_types::{Error, FilesetId, Kind, Result};

use super::Fldb;
use super::draft::Draft;

impl Draft<'_> {
    /// An entry as the header on an aggregate says; said again, it changes nothing.
    pub(super) fn book_fileset(&mut self, change: &Change) -> Result<Record> {
        let Change::BookFileset {
            fileset: id,
            name,
            server,
            aggregate,
            quota_bytes,
            quota_files,
        } = change
        else {
            unreachable!("routed by Draft::run")
        };
        self.reserve(*id)?;
        self.state.apart(*id)?;
        if self.state.filesets.named(name).is_some_and(|other| other != *id) {
            self.free(name).map_err(|error| {
                error.remedy(format!(
                    "fts rename {name} OTHER gives that one another name; then do this again"
                ))
            })?;
        }
        let (entry, aggregate) = self.place(server, aggregate)?;
        let known = match self.state.filesets.get(*id) {
            Some(_) => Some(self.unlocked(&FilesetRef::Id(*id))?),
            None => None,
        };
        let mut fileset = known.clone().unwrap_or_else(|| Fileset {
            id: *id,
            name: name.clone(),
            rw: VersionState::Invalid,
            ro: VersionState::Invalid,
            backup: VersionState::Invalid,
            sites: Vec::new(),
            quota_bytes: *quota_bytes,
            quota_files: *quota_files,
            lock: None,
        });
        let rw = fileset.sites.iter().position(|site| site.versions & Site::RW != 0);
        match rw.map(|at| &fileset.sites[at]) {
            Some(site) if site.aggregate == aggregate.id => {}
            before => {
                if let Some(site) = before {
                    self.is_not_there(&fileset, site)?;
                }
                let site = Site {
                    entry,
                    aggregate: aggregate.id,
                    versions: Site::RW,
                };
                self.count_uses(entry, 1)?;
                match rw {
                    Some(at) => {
                        let before = std::mem::replace(&mut fileset.sites[at], site);
                        self.count_uses(before.entry, -i64::from(before.versions.count_ones()))?;
                    }
                    None => fileset.sites.push(site),
                }
            }
        }
        fileset.name = name.clone();
        (fileset.quota_bytes, fileset.quota_files) = (*quota_bytes, *quota_files);
        if known.as_ref() == Some(&fileset) {
            return Ok(Record::Fileset(fileset));
        }
        self.tell_detail(
            format!("fileset {name}"),
            &format!("{id} on aggregate {}", aggregate.name),
        );
        Ok(self.put_fileset(fileset))
    }

    /// No new fileset gets an id up to the three of `through`.
    pub(super) fn reserve_fileset_ids(&mut self, through: FilesetId) -> Result<()> {
        if self.reserve(through)? {
            self.tell(format!("ids to {}", through.backup()));
        }
        Ok(())
    }

    /// An entry goes, and nothing on a disk. Its ids stay used up.
    pub(super) fn forget_fileset(&mut self, fileset: &FilesetRef) -> Result<()> {
        let fileset = self.unlocked(fileset)?;
        for site in &fileset.sites {
            self.count_uses(site.entry, -i64::from(site.versions.count_ones()))?;
        }
        self.drop_fileset(&fileset);
        self.tell_detail(format!("fileset {}", fileset.name), &fileset.id.to_string());
        Ok(())
    }

    /// Takes the three ids that begin with `id` out of those that are left; true if one of them was left.
    fn reserve(&mut self, id: FilesetId) -> Result<bool> {
        let after =
            id.0.checked_add(FilesetId::STEP)
                .filter(|after| *after < FilesetId::END);
        let after = after.filter(|_| id.0 > 0);
        let after = after.ok_or_else(|| {
            Error::new(Kind::Invalid, format!("fileset id {}", id.0)).because("no fileset can have it")
        })?;
        let is_new = after > self.state.next.fileset;
        self.state.next.fileset = self.state.next.fileset.max(after);
        Ok(is_new)
    }

    /// Refuses to take an entry from a place where its fileset is, as far as is known.
    fn is_not_there(&self, fileset: &Fileset, site: &Site) -> Result<()> {
        if [fileset.rw, fileset.backup].contains(&VersionState::Valid) {
            let place = self.state.known_aggregate(site.aggregate);
            let place = place.map_or_else(|_| site.aggregate.to_string(), |known| known.name.to_string());
            return Err(Error::new(Kind::Busy, format!("fileset {}", fileset.name))
                .because(format!("its entry says that it is on aggregate {place}"))
                .remedy(format!(
                    "if it is not: fts syncfldb of the server that has aggregate {place}, then this again"
                )));
        }
        Ok(())
    }
}

impl Fldb {
    /// Refuses an id whose three another fileset has in part.
    fn apart(&self, id: FilesetId) -> Result<()> {
        let near = [id.0.saturating_sub(1), id.0 + FilesetId::STEP - 1];
        let near = near.map(|end| self.filesets.at_or_below(FilesetId(end)));
        let is_in_part = |other: &Fileset| other.id != id && other.id.0.abs_diff(id.0) < FilesetId::STEP;
        match near.into_iter().flatten().find(is_in_part) {
            None => Ok(()),
            Some(other) => Err(Error::new(Kind::Exists, format!("fileset id {id}"))
                .because(format!(
                    "fileset {} ({}) has some of the same three ids",
                    other.name, other.id
                ))
                .remedy("fts lsheader of both servers shows which is right; fts delfldbentry drops a wrong entry")),
        }
    }
}
