//! Opens: who holds which file open, and which files without a name wait for their last holder.
//!
//! Clients count their own programs and say the first open and the last close of each file; while a client is alone
//! in a fileset it says neither, only that it holds what loses its name (`Keep`). A file without a name is taken apart
//! when nobody holds it any more, and never while a client in grace may still say that it does. From the moment that it
//! is to be taken apart nobody gets it: whoever found it by its name before that comes too late.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use baton_types::limits::OPENS_PER_CLIENT_MAX;
use baton_types::{ClientId, Error, Fid, FilesetId, Kind, Result, Vnode};

use crate::tokens::too_many;

/// The open files of one aggregate.
#[derive(Debug, Default)]
pub struct Opens {
    clients: BTreeMap<ClientId, BTreeSet<Fid>>,
    files: BTreeMap<Fid, File>,
}

#[derive(Debug, Default)]
struct File {
    holders: BTreeSet<ClientId>,
    fate: Fate,
}

/// What becomes of a file when nobody holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fate {
    /// It stays: it has a name.
    #[default]
    Stays,
    /// It goes.
    Goes,
    /// It is just being taken apart.
    Going,
}

impl Opens {
    /// `client` holds `fid` open; once or twice is the same.
    ///
    /// # Errors
    /// `Limit` if it holds too many; `Stale` if the file is being taken apart.
    pub fn open(&mut self, client: ClientId, fid: Fid) -> Result<()> {
        if self.files.get(&fid).is_some_and(|file| file.fate == Fate::Going) {
            return Err(
                Error::new(Kind::Stale, format!("file {fid}")).because("it lost its last name and its last holder")
            );
        }
        let files = self.clients.entry(client).or_default();
        if !files.contains(&fid) && files.len() >= OPENS_PER_CLIENT_MAX {
            return Err(too_many("files that one client holds open"));
        }
        files.insert(fid);
        self.files.entry(fid).or_default().holders.insert(client);
        Ok(())
    }

    /// `client` holds `fid` open no more. Names the file if it is to be taken apart now.
    pub fn close(&mut self, client: ClientId, fid: Fid) -> Option<Fid> {
        if let Some(files) = self.clients.get_mut(&client) {
            files.remove(&fid);
            if files.is_empty() {
                self.clients.remove(&client);
            }
        }
        let file = self.files.get_mut(&fid)?;
        file.holders.remove(&client);
        self.settle(fid)
    }

    /// `fid` has no name any more. Names it if it is to be taken apart now.
    pub fn orphaned(&mut self, fid: Fid) -> Option<Fid> {
        let file = self.files.entry(fid).or_default();
        if file.fate == Fate::Stays {
            file.fate = Fate::Goes;
        }
        self.settle(fid)
    }

    /// `fid` was taken apart, or could not be.
    pub fn removed(&mut self, fid: Fid) {
        if self.files.get(&fid).is_some_and(|file| file.fate == Fate::Going) {
            self.files.remove(&fid);
        }
    }

    /// `client` holds nothing open in `fileset` any more. Names the files that are to be taken apart now.
    pub fn leave(&mut self, client: ClientId, fileset: FilesetId) -> Vec<Fid> {
        let files: Vec<Fid> = self.of_client(client, fileset).collect();
        files.into_iter().filter_map(|fid| self.close(client, fid)).collect()
    }

    /// Who holds what open.
    pub fn all(&self) -> impl Iterator<Item = (ClientId, Fid)> {
        let clients = self.clients.iter();
        clients.flat_map(|(client, files)| files.iter().map(|fid| (*client, *fid)))
    }

    /// Whether anybody is known to hold `fid` open.
    pub fn is_open(&self, fid: Fid) -> bool {
        self.files.get(&fid).is_some_and(|file| !file.holders.is_empty())
    }

    /// Whether `client` is known to hold anything open in `fileset`.
    pub fn has_any(&self, client: ClientId, fileset: FilesetId) -> bool {
        self.of_client(client, fileset).next().is_some()
    }

    fn of_client(&self, client: ClientId, fileset: FilesetId) -> impl Iterator<Item = Fid> {
        let files = self.clients.get(&client).into_iter();
        let from = files.flat_map(move |files| files.range(first_of(fileset)..).copied());
        from.take_while(move |fid| fid.fileset == fileset)
    }

    /// Nobody holds it: forgotten, and if it has no name it goes.
    fn settle(&mut self, fid: Fid) -> Option<Fid> {
        let file = self.files.get_mut(&fid)?;
        match (file.holders.is_empty(), file.fate) {
            (false, _) | (true, Fate::Going) => None,
            (true, Fate::Stays) => {
                self.files.remove(&fid);
                None
            }
            (true, Fate::Goes) => {
                file.fate = Fate::Going;
                Some(fid)
            }
        }
    }
}

/// Before all files of a fileset.
pub(crate) fn first_of(fileset: FilesetId) -> Fid {
    Fid {
        fileset,
        vnode: Vnode::ROOT,
        unique: 0,
    }
}
