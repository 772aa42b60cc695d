//! Filesets: the database's half. A new one is *invalid* until a server has made it.

use baton_types::change::Change;
use baton_types::change::{AggregateRef, FilesetRef};
use baton_types::record::{Aggregate, EntryLock, Fileset, Record, Server, ServerEntry, Site, VersionState};
use baton_types::{Address, Error, FilesetId, FilesetName, Kind, Result};

use super::Fldb;
use super::draft::Draft;

impl Draft<'_> {
    pub(super) fn rename_fileset(&mut self, fileset: &FilesetRef, name: &FilesetName) -> Result<Record> {
        let mut fileset = self.unlocked(fileset)?;
        if fileset.name == *name {
            return Ok(Record::Fileset(fileset)); // a rename that was cut short is given again for the disk's sake
        }
        self.free(name)?;
        self.tell(format!("fileset {} to {name}", fileset.name));
        fileset.name = name.clone();
        Ok(self.put_fileset(fileset))
    }

    pub(super) fn set_quota(&mut self, fileset: &FilesetRef, bytes: Option<u64>, files: Option<u64>) -> Result<Record> {
        let mut fileset = self.unlocked(fileset)?;
        if let Some(bytes) = bytes {
            fileset.quota_bytes = bytes;
        }
        if let Some(files) = files {
            fileset.quota_files = files;
        }
        let (bytes, files) = (fileset.quota_bytes, fileset.quota_files);
        self.tell(format!("fileset {}: {bytes} bytes, {files} files", fileset.name));
        Ok(self.put_fileset(fileset))
    }

    pub(super) fn unlock_fileset(&mut self, fileset: &FilesetRef) -> Result<Record> {
        let mut fileset = self.state.fileset(fileset)?;
        if fileset.lock.take().is_none() {
            return Err(Error::new(Kind::Invalid, format!("fileset {}", fileset.name)).because("not locked"));
        }
        self.tell(format!("fileset {}", fileset.name));
        Ok(self.put_fileset(fileset))
    }

    pub(super) fn create_fileset(
        &mut self,
        name: &FilesetName,
        server: &Address,
        on: &AggregateRef,
        quota: u64,
    ) -> Result<Record> {
        self.free(name)?;
        let (entry, aggregate) = self.place(server, on)?;
        let id = FilesetId(self.state.next.fileset);
        self.state.next.fileset =
            id.0.checked_add(FilesetId::STEP)
                .filter(|next| *next < FilesetId::END)
                .ok_or_else(|| Error::new(Kind::Limit, "fileset ids").because("all 48 bits are used up"))?;
        self.count_uses(entry, 1)?;
        self.tell(format!("fileset {name}"));
        Ok(self.put_fileset(Fileset {
            id,
            name: name.clone(),
            rw: VersionState::Invalid,
            ro: VersionState::Invalid,
            backup: VersionState::Invalid,
            sites: vec![Site {
                entry,
                aggregate: aggregate.id,
                versions: Site::RW,
            }],
            quota_bytes: quota,
            quota_files: 0,
            lock: None,
        }))
    }

    pub(super) fn delete_fileset(&mut self, fileset: &FilesetRef, server: &Address, on: &AggregateRef) -> Result<()> {
        let fileset = self.unlocked(fileset)?;
        let name = format!("fileset {}", fileset.name);
        let entry = self.state.entry_of(server)?;
        let aggregate = self.state.aggregate(on)?;
        let here = |s: &Site| s.entry == entry.number && s.aggregate == aggregate.id && s.versions & Site::RW != 0;
        if !fileset.sites.iter().any(here) {
            return Err(Error::new(Kind::NotFound, name)
                .because(format!(
                    "its RW version is not on aggregate {} of {server}",
                    aggregate.name
                ))
                .remedy(format!("fts lsfldb -fileset {} says where it is", fileset.name)));
        }
        if [fileset.rw, fileset.ro, fileset.backup].contains(&VersionState::Valid) {
            return Err(Error::new(Kind::Busy, name)
                .because("a server has made it, and must delete its files first")
                .remedy(format!(
                    "fts delete {} {server} {} does both; if its disk is lost: fts delfldbentry -fileset {}",
                    fileset.name, aggregate.name, fileset.name
                )));
        }
        for site in &fileset.sites {
            self.count_uses(site.entry, -i64::from(site.versions.count_ones()))?;
        }
        self.drop_fileset(&fileset);
        self.tell(name);
        Ok(())
    }

    /// The owner of the aggregate says whether it has the RW version, or a backup of it. Said again, it changes nothing.
    pub(super) fn report_fileset(&mut self, change: &Change) -> Result<Record> {
        let &Change::ReportFileset {
            server,
            aggregate,
            epoch,
            fileset: version,
            state,
        } = change
        else {
            unreachable!("routed by Draft::run")
        };
        let aggregate = self.held(aggregate, server, epoch)?;
        let mut fileset = self.state.fileset(&FilesetRef::Id(version))?;
        let here = |site: &&mut Site| site.aggregate == aggregate.id && site.versions & Site::RW != 0;
        let Some(site) = fileset.sites.iter_mut().find(here) else {
            return Err(Error::new(Kind::NotFound, format!("fileset {}", fileset.name))
                .because(format!("its RW version is not booked on aggregate {}", aggregate.name)));
        };
        let is_backup = version == fileset.id.backup();
        let known = match is_backup {
            true => &mut fileset.backup,
            false => &mut fileset.rw,
        };
        if *known == state {
            return Ok(Record::Fileset(fileset));
        }
        *known = state;
        if is_backup {
            site.versions ^= Site::BACKUP;
            let entry = site.entry;
            self.count_uses(entry, if state == VersionState::Valid { 1 } else { -1 })?;
        }
        self.tell(format!("fileset {}", fileset.name));
        Ok(self.put_fileset(fileset))
    }

    pub(super) fn lock_fileset(&mut self, fileset: &FilesetRef) -> Result<Record> {
        let mut fileset = self.unlocked(fileset)?;
        let nobody = || Error::new(Kind::Denied, "nobody").because("not logged in");
        let holder = self.who.principal().cloned().ok_or_else(nobody)?;
        let seconds = self.state.cell.as_ref().map_or(0, |cell| cell.entry_lock_seconds);
        fileset.lock = Some(EntryLock {
            holder,
            since: self.date,
            until: self.date.plus_seconds(seconds),
        });
        self.tell(format!("fileset {}", fileset.name));
        Ok(self.put_fileset(fileset))
    }

    /// The fileset, unless an administrator's lock on it still holds. Locks end by themselves.
    pub(super) fn unlocked(&self, fileset: &FilesetRef) -> Result<Fileset> {
        let fileset = self.state.fileset(fileset)?;
        match &fileset.lock {
            Some(lock) if lock.until > self.date => Err(Error::new(Kind::Busy, format!("fileset {}", fileset.name))
                .because(format!("its entry is locked by {}", lock.holder))
                .remedy(format!("when that work is done: fts unlock -fileset {}", fileset.name))),
            Some(_) | None => Ok(fileset),
        }
    }

    pub(super) fn free(&self, name: &FilesetName) -> Result<()> {
        match self.state.filesets.named(name) {
            None => Ok(()),
            Some(id) => Err(Error::new(Kind::Exists, format!("fileset {name}")).because(format!("it is fileset {id}"))),
        }
    }

    /// Where to put a fileset: an entry with room, and an aggregate that a server under it is attached to.
    pub(super) fn place(&self, server: &Address, on: &AggregateRef) -> Result<(u32, Aggregate)> {
        let entry = self.state.entry_of(server)?;
        let aggregate = self.state.aggregate(on)?;
        let name = |id| self.state.servers.get(id).map(|s| s.name.to_string());
        let is_there = aggregate.attached.iter().filter_map(|id| self.state.servers.get(id));
        if !is_there
            .into_iter()
            .any(|s| s.addresses.iter().any(|a| entry.addresses.contains(a)))
        {
            let attached: Vec<String> = aggregate.attached.iter().filter_map(name).collect();
            return Err(Error::new(Kind::Invalid, format!("aggregate {}", aggregate.name))
                .because(format!("{server} is not attached to it"))
                .remedy(format!("attached are: {}", attached.join(", "))));
        }
        Ok((entry.number, aggregate))
    }

    /// Keeps the entry's count of versions, and holds creation to its quota.
    pub(super) fn count_uses(&mut self, number: u32, by: i64) -> Result<()> {
        let Some(mut entry) = self.state.entries.get(&number).cloned() else {
            return Err(Error::new(Kind::NotFound, format!("server entry {number}")));
        };
        let uses = i64::from(entry.uses) + by;
        if by > 0 && entry.quota > 0 && uses > i64::from(entry.quota) {
            return Err(Error::new(Kind::Quota, format!("server entry {}", entry.name))
                .because(format!("its quota of {} fileset versions is used up", entry.quota))
                .remedy("fts edserverentry ADDRESS -quota N raises it"));
        }
        entry.uses = u32::try_from(uses).map_err(|_| {
            Error::new(Kind::Damaged, format!("server entry {}", entry.name)).because("its count of uses went below 0")
        })?;
        self.put_entry(entry);
        Ok(())
    }
}

impl Fldb {
    /// The entry that a person means by `server`: by address first, as DFS does, else by a server's name.
    pub(super) fn entry_of(&self, server: &Address) -> Result<ServerEntry> {
        if let Ok(entry) = self.entry(server) {
            return Ok(entry);
        }
        // An address is kept in lower case, a server's name as it is.
        let is_meant = |s: &&Server| s.name.as_str().eq_ignore_ascii_case(server.host());
        let named = self.servers.values().find(is_meant);
        let address = named.and_then(|s| s.addresses.iter().find(|a| self.entry_addresses.contains_key(*a)));
        address.map_or_else(|| self.entry(server), |address| self.entry(address))
    }
}
