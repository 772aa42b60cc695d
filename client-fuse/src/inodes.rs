//! Inodes: what the kernel knows by number, and what we know of it.
//!
//! The kernel counts how often it was told of an inode and gives the count back when it forgets it; until then its
//! number means one FID. Some that it forgot are remembered for a while: a handle of `open_by_handle_at` has the
//! number alone.
//!
//! Attributes are believed only while the client is alone in the fileset, and only from an answer that no change of
//! ours crossed on its way: [`Inode::look`] before the question, [`Inode::learn`] with the answer.
//!
//! Lock order: the table before an inode. An inode's lock is never held over a call or an answer to the kernel.

mod draft;
mod forgotten;

use std::collections::HashMap;
use std::sync::Arc;

use baton_types::file::{Attributes, FileKind, Object};
use baton_types::{Error, Fid, FileName, FilesetId, Kind, Result};
use parking_lot::{Mutex, RwLock};

use crate::proof::{Proof, Seat};
use crate::resolve::Instance;
use draft::Draft;
use forgotten::Forgotten;

/// All inodes of one mount.
pub struct Inodes {
    proof: Arc<Proof>,
    table: RwLock<Table>,
    forgotten: Mutex<Forgotten>,
}

#[derive(Default)]
struct Table {
    inodes: HashMap<u64, Arc<Inode>>,
    /// What the kernel was told by which name.
    names: HashMap<(u64, FileName), Fid>,
    /// How many inodes of an instance the kernel knows, and who keeps it known.
    instances: HashMap<Instance, usize>,
}

/// One file, as seen in one instance.
#[derive(Debug)]
pub struct Inode {
    /// The kernel's number for it.
    pub number: u64,
    /// Where it is seen.
    pub instance: Instance,
    /// Which file it is.
    pub fid: Fid,
    /// What it is.
    pub kind: FileKind,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How often the kernel was told of it.
    lookups: u64,
    seat: Option<Seat>,
    names: Vec<(u64, FileName)>,
    /// Changes of ours that are under way.
    changing: u32,
    /// Counts the beginnings and ends of changes.
    moments: u64,
    believed: Option<Believed>,
    /// What the kernel was last told when it looked it up.
    told: Option<Attributes>,
    /// Programs' opens.
    open: u32,
    held: Held,
    /// What it will be when all that was asked for is done, as far as that is certain.
    draft: Option<Draft>,
    /// Changes of its names that are asked for just now, and have no place yet.
    asking: u32,
    /// How often a change failed that a program was told is done, and how the last time.
    failures: (u64, Option<Error>),
}

#[derive(Clone, Copy, Debug)]
struct Believed {
    /// The stay alone in the fileset that it is true in.
    stay: u64,
    /// Of the change it comes from; 0 if it was looked up.
    lsn: u64,
    attributes: Attributes,
}

/// The pages that the kernel may hold of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Held {
    /// None: nobody opened it since they were last forgotten.
    #[default]
    Nothing,
    /// Of some version.
    Unsure,
    /// Of this version or a later one; nothing of ours was written since.
    Since(u64),
}

impl State {
    fn believed(&self, stay: u64) -> Option<Attributes> {
        let believed = self
            .believed
            .filter(|believed| believed.stay == stay && self.changing == 0);
        believed.map(|believed| believed.attributes)
    }

    /// What it is like, or will be.
    fn known(&self, stay: u64) -> Option<Attributes> {
        let draft = self.draft.as_ref().filter(|draft| draft.stay == stay);
        draft.map(|draft| draft.attributes).or_else(|| self.believed(stay))
    }
}

impl Held {
    /// Something of ours changes the file: its pages may be of that before the server has taken it, and after it
    /// was overwritten.
    fn doubt(&mut self) {
        if *self != Held::Nothing {
            *self = Held::Unsure;
        }
    }
}

/// A moment in the life of an inode.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    moment: u64,
    is_quiet: bool,
}

impl Inodes {
    /// The kernel knows nothing yet.
    pub fn new(proof: Arc<Proof>) -> Inodes {
        Inodes {
            proof,
            table: RwLock::default(),
            forgotten: Mutex::default(),
        }
    }

    /// What a number of the kernel's means.
    ///
    /// # Errors
    /// `Stale` for one that it was not told, or has given back.
    pub fn get(&self, number: u64) -> Result<Arc<Inode>> {
        let found = self.table.read().inodes.get(&number).cloned();
        found.ok_or_else(|| Error::new(Kind::Stale, format!("inode {number}")))
    }

    /// What a number means that the kernel may have given back.
    ///
    /// # Errors
    /// `Stale` when nobody remembers.
    pub fn remember(&self, number: u64) -> Result<(Fid, Instance)> {
        if let Ok(inode) = self.get(number) {
            return Ok((inode.fid, inode.instance));
        }
        let (instance, _) = Instance::of_node(number)?;
        let fid = self.forgotten.lock().get(number);
        let stale = || Error::new(Kind::Stale, format!("inode {number}")).because("it was forgotten long ago");
        Ok((fid.ok_or_else(stale)?, instance))
    }

    /// The inode of `object` as seen in `instance`, which the kernel is about to be told of.
    ///
    /// # Errors
    /// `Limit` when it knows too many.
    pub fn tell(&self, instance: Instance, object: &Object, name: Option<(u64, &FileName)>) -> Result<Arc<Inode>> {
        let number = instance.node(object.fid.vnode);
        let mut table = self.table.write();
        let inode = match table.inodes.get(&number) {
            Some(inode) if inode.fid == object.fid => inode.clone(),
            Some(_) => return Err(Error::new(Kind::Stale, format!("inode {number}")).because("it was another file")),
            None => {
                let seat = self.proof.remember(number)?;
                *table.instances.entry(instance).or_default() += 1;
                let inode = Arc::new(Inode::new(number, instance, object, seat));
                table.inodes.insert(number, inode.clone());
                inode
            }
        };
        {
            let mut state = inode.state.lock();
            state.lookups += 1;
            state.told = Some(object.attributes);
        }
        if let Some((directory, name)) = name {
            table.name(&inode, directory, name);
        }
        Ok(inode)
    }

    /// The directory that the kernel was told a name leads to, if it knows that still: it is about to be told of it once
    /// more, as it was then.
    pub fn tell_again(&self, directory: u64, name: &FileName) -> Option<(Arc<Inode>, Attributes)> {
        let table = self.table.write();
        let key = (directory, name.clone());
        let fid = table.names.get(&key)?;
        let numbers = table.instances.keys().map(|instance| instance.node(fid.vnode));
        let mut inodes = numbers.filter_map(|number| table.inodes.get(&number));
        let inode = inodes.find(|inode| inode.fid == *fid && inode.state.lock().names.contains(&key))?;
        if inode.kind != FileKind::Directory {
            return None; // the kernel would believe the size, for a moment
        }
        let mut state = inode.state.lock();
        let attributes = state.told?;
        state.lookups += 1;
        drop(state);
        Some((inode.clone(), attributes))
    }

    /// The kernel gives `count` back. Says whether it knows nothing of the instance any more.
    pub fn forget(&self, number: u64, count: u64) -> Option<Instance> {
        let mut table = self.table.write();
        let inode = table.inodes.get(&number)?.clone();
        let (seat, names) = {
            let mut state = inode.state.lock();
            state.lookups = state.lookups.saturating_sub(count);
            if state.lookups > 0 {
                return None;
            }
            (state.seat.take(), std::mem::take(&mut state.names))
        };
        table.inodes.remove(&number);
        for key in names {
            table.names.remove(&key);
        }
        self.forgotten.lock().keep(number, inode.fid);
        if let Some(seat) = seat {
            self.proof.forget(seat);
        }
        table.unpin(inode.instance).then_some(inode.instance)
    }

    /// Keeps an instance known while the kernel is about to be told of its first inode.
    pub fn pin(&self, instance: Instance) {
        *self.table.write().instances.entry(instance).or_default() += 1;
    }

    /// Gives [`Inodes::pin`] back. Says whether the kernel knows nothing of the instance.
    pub fn unpin(&self, instance: Instance) -> bool {
        self.table.write().unpin(instance)
    }

    /// Whether the kernel knows something of an instance, or is about to.
    pub fn is_known(&self, instance: Instance) -> bool {
        self.table.read().instances.contains_key(&instance)
    }

    /// All inodes of a fileset, in whichever instance.
    pub fn of(&self, fileset: FilesetId) -> Vec<Arc<Inode>> {
        let table = self.table.read();
        let inodes = table.inodes.values().filter(|inode| inode.fid.fileset == fileset);
        inodes.cloned().collect()
    }

    /// A file, in each instance that the kernel sees it in.
    pub fn seen(&self, fid: Fid) -> Vec<Arc<Inode>> {
        let table = self.table.read();
        let numbers = table.instances.keys().map(|instance| instance.node(fid.vnode));
        let inodes = numbers.filter_map(|number| table.inodes.get(&number));
        inodes.filter(|inode| inode.fid == fid).cloned().collect()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Inode>> {
        self.table.read().inodes.values().cloned().collect()
    }

    /// What the kernel was told that a name leads to.
    pub fn named(&self, directory: u64, name: &FileName) -> Option<Fid> {
        self.table.read().names.get(&(directory, name.clone())).copied()
    }

    /// A name leads nowhere any more.
    pub fn unname(&self, directory: u64, name: &FileName) {
        let mut table = self.table.write();
        let key = (directory, name.clone());
        if let Some(fid) = table.names.remove(&key) {
            table.drop_name(fid, &key);
        }
    }

    /// A name was moved, or two were exchanged.
    pub fn rename(&self, source: (u64, &FileName), target: (u64, &FileName), exchange: Exchange) {
        let mut table = self.table.write();
        let keys = [source, target].map(|(directory, name)| (directory, name.clone()));
        let [from, onto] = keys.each_ref().map(|key| table.names.remove(key));
        for (key, fid) in keys.iter().zip([from, onto]) {
            if let Some(fid) = fid {
                table.drop_name(fid, key);
            }
        }
        let [source, target] = keys;
        if let Some(fid) = from {
            table.add_name(fid, target);
        }
        if let (Some(fid), Exchange::Yes) = (onto, exchange) {
            table.add_name(fid, source);
        }
    }
}

/// Whether a rename gave the old place to what stood at the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// It did.
    Yes,
    /// It did not.
    No,
}

impl Table {
    fn unpin(&mut self, instance: Instance) -> bool {
        let Some(count) = self.instances.get_mut(&instance) else {
            return false;
        };
        *count -= 1;
        let is_last = *count == 0;
        if is_last {
            self.instances.remove(&instance);
        }
        is_last
    }

    fn name(&mut self, inode: &Arc<Inode>, directory: u64, name: &FileName) {
        let key = (directory, name.clone());
        match self.names.insert(key.clone(), inode.fid) {
            Some(fid) if fid == inode.fid => return,
            Some(fid) => self.drop_name(fid, &key),
            None => {}
        }
        inode.state.lock().names.push(key);
    }

    /// The inode in the instance of `directory`: a name and what it leads to are seen in one, but for mount points.
    fn beside(&self, fid: Fid, directory: u64) -> Option<&Arc<Inode>> {
        let (instance, _) = Instance::of_node(directory).ok()?;
        self.inodes
            .get(&instance.node(fid.vnode))
            .filter(|inode| inode.fid == fid)
    }

    fn drop_name(&self, fid: Fid, key: &(u64, FileName)) {
        if let Some(inode) = self.beside(fid, key.0) {
            inode.state.lock().names.retain(|name| name != key);
        }
    }

    fn add_name(&mut self, fid: Fid, key: (u64, FileName)) {
        if let Some(inode) = self.beside(fid, key.0) {
            inode.state.lock().names.push(key.clone());
            self.names.insert(key, fid);
        }
    }
}

impl Inode {
    fn new(number: u64, instance: Instance, object: &Object, seat: Seat) -> Inode {
        Inode {
            number,
            instance,
            fid: object.fid,
            kind: object.attributes.kind,
            state: Mutex::new(State {
                seat: Some(seat),
                ..State::default()
            }),
        }
    }

    /// A moment to compare with, before something is asked.
    pub fn look(&self) -> Look {
        let state = self.state.lock();
        Look {
            moment: state.moments,
            is_quiet: state.changing == 0,
        }
    }

    /// Whether nothing of ours changed it since.
    pub fn is_as_at(&self, look: Look) -> bool {
        look.is_quiet && self.state.lock().moments == look.moment
    }

    /// What was asked at `look` is known during `stay`.
    pub fn learn(&self, look: Look, stay: u64, attributes: &Attributes) {
        let mut state = self.state.lock();
        if look.is_quiet && state.moments == look.moment {
            let attributes = *attributes;
            state.believed = Some(Believed {
                stay,
                lsn: 0,
                attributes,
            });
        }
    }

    /// A change of ours begins.
    pub fn begin(&self) {
        let mut state = self.state.lock();
        state.changing += 1;
        state.moments += 1;
        state.held.doubt();
        if state.changing == 1 {
            state.believed = None;
        }
    }

    /// A change of ours ended; after it the file was so, if it is known, and known during `stay`.
    pub fn end(&self, outcome: Option<(u64, Attributes)>, stay: Option<u64>) {
        let mut state = self.state.lock();
        state.changing = state.changing.saturating_sub(1);
        state.moments += 1;
        state.held.doubt();
        let later = |lsn: u64| state.believed.is_none_or(|believed| believed.lsn < lsn);
        match (outcome, stay) {
            (Some((lsn, attributes)), Some(stay)) if later(lsn) => {
                state.believed = Some(Believed { stay, lsn, attributes });
            }
            (Some(_), Some(_)) => {}
            _ => state.believed = None,
        }
    }

    /// Something about it changed that nobody told: the entries of a directory, the links of a file.
    pub fn outdate(&self) {
        let mut state = self.state.lock();
        state.moments += 1;
        (state.believed, state.draft) = (None, None);
    }

    /// Its attributes, as far as they are known during `stay` and nothing of ours is changing them.
    pub fn believed(&self, stay: u64) -> Option<Attributes> {
        self.state.lock().believed(stay)
    }

    /// A program opened it: the kernel may hold pages of it from now on.
    pub fn opened(&self) {
        let mut state = self.state.lock();
        state.open += 1;
        if state.held == Held::Nothing {
            state.held = Held::Unsure;
        }
    }

    /// A program closed it. The kernel keeps the pages.
    pub fn closed(&self) {
        let mut state = self.state.lock();
        state.open = state.open.saturating_sub(1);
    }

    /// The kernel is about to be told to forget all pages. Says whether it may hold any.
    pub fn forgetting(&self) -> bool {
        let mut state = self.state.lock();
        let next = match state.open {
            0 => Held::Nothing,
            _ => Held::Unsure,
        };
        std::mem::replace(&mut state.held, next) != Held::Nothing
    }

    /// Whether all pages that the kernel holds are of `version`, which the file had when it was asked for at `look`,
    /// or of a later one.
    pub fn holds_good(&self, look: Look, version: u64) -> bool {
        let state = self.state.lock();
        let is_quiet = look.is_quiet && state.moments == look.moment;
        match state.held {
            Held::Nothing => true,
            Held::Unsure => false,
            Held::Since(dropped) => is_quiet && dropped == version,
        }
    }

    /// The kernel has forgotten all pages after the answer to what was asked at `look` said `version`.
    pub fn dropped(&self, look: Look, version: u64) {
        let mut state = self.state.lock();
        if look.is_quiet && state.moments == look.moment {
            state.held = Held::Since(version);
        }
    }
}

#[cfg(test)]
mod tests;
