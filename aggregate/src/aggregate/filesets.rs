//! Filesets by id, and changes to the system tree that lists them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use baton_types::{Error, FilesetId, Kind, Result};
use parking_lot::{Mutex, RwLock};

use super::Aggregate;
use super::fileset::{Done, Fileset, FilesetCell, Reserve, State};
use super::need::Need;
use crate::engine::{Engine, Patience, blank};
use crate::fileset::{Birth, Object, catalog, make_root};
use crate::format::{FilesetHeader, FilesetUsage, Key, Lsn, Pointer, RecordKind};
use crate::live::LiveTree;
use crate::snapshot::{self, Line, Snapshots};
use crate::transaction::{Operation, SessionId, Transaction, Usage};
use crate::tree::{Stop, View};

/// Filesets kept in memory though nobody uses them: opening one costs three lookups.
const IDLE_MAX: usize = 1_024;

/// Filesets in memory: those that somebody uses, those whose nodes do not say it all, and some that were used lately.
pub(crate) struct Cells {
    by_id: BTreeMap<FilesetId, Arc<FilesetCell>>,
    /// Up to so many stay though nobody uses them.
    idle_max: usize,
    /// With as many as this it is time to [let go](Cells::let_idle_go) of some.
    many: usize,
}

impl Default for Cells {
    fn default() -> Cells {
        Cells {
            by_id: BTreeMap::new(),
            idle_max: IDLE_MAX,
            many: IDLE_MAX,
        }
    }
}

impl Cells {
    fn get(&self, id: FilesetId) -> Option<&Arc<FilesetCell>> {
        self.by_id.get(&id)
    }

    /// The one that is there, or `state` as one.
    fn get_or_insert(&mut self, id: FilesetId, state: State) -> Arc<FilesetCell> {
        if self.by_id.len() >= self.many {
            self.let_idle_go();
        }
        let cell = self.by_id.entry(id).or_insert_with(|| {
            Arc::new(FilesetCell {
                id,
                state: Mutex::new(state),
                door: RwLock::new(()),
            })
        });
        cell.clone()
    }

    /// It does not exist any more.
    pub fn remove(&mut self, id: FilesetId) {
        self.by_id.remove(&id);
    }

    /// A checkpoint was made: what was changed before it may be idle now.
    pub fn note_checkpoint(&mut self) {
        if self.by_id.len() > self.idle_max {
            self.let_idle_go();
        }
    }

    /// Keeps those that are needed. The next time is when there are twice as many: looking at all of them for each one
    /// that comes would make the last of ten thousand dear.
    fn let_idle_go(&mut self) {
        self.by_id
            .retain(|_, cell| Arc::strong_count(cell) > 1 || cell.state.lock().is_needed());
        self.many = (2 * self.by_id.len()).max(self.idle_max);
    }
}

impl Aggregate {
    /// The fileset with this id.
    ///
    /// # Errors
    /// `NotFound`; damage.
    pub fn fileset(&self, id: FilesetId) -> Result<Fileset> {
        let cell = self.engine.fileset(id)?;
        cell.state.lock().check(id)?;
        Ok(Fileset::new(self.engine.clone(), cell))
    }

    /// The fileset with this id, if it was used lately: who may not wait asks so. What it is asked for then
    /// [never waits](Fileset::impatient).
    pub fn fileset_at_hand(&self, id: FilesetId) -> Option<Fileset> {
        let cell = self.engine.filesets.lock().get(id)?.clone();
        cell.state.lock().check(id).ok()?;
        Some(Fileset::new(self.engine.clone(), cell).impatient())
    }

    /// Makes a fileset with a root directory that `operation` names the owner and the time of. Asked again after it was
    /// cut short, it finishes what it began.
    ///
    /// # Errors
    /// `Exists` if there is a whole one with this id or name; `NoSpace`; damage.
    pub fn create_fileset(
        &self,
        id: FilesetId,
        header: &FilesetHeader,
        operation: &Operation,
        birth: Birth<'_>,
    ) -> Result<Done<Object>> {
        let made = self.change_system(RecordKind::Fileset, operation, |transaction| {
            match transaction.get(Key::fileset_header(id))? {
                // Without a root it was cut short, if it is the same.
                Some(there) if there == header.encode() => Ok(()),
                _ => catalog::create(transaction, id, header),
            }
        });
        made?;
        let fileset = self.fileset(id)?;
        let own = Operation {
            session: SessionId::default(),
            ..*operation
        };
        fileset.operate(&own, Need::GROWTH, |transaction, names| {
            make_root(transaction, names, id, birth)
        })
    }

    /// Changes what the list of filesets says of `id`.
    ///
    /// # Errors
    /// The change's own; damage.
    pub fn change_fileset(
        &self,
        id: FilesetId,
        operation: &Operation,
        change: impl FnMut(&mut Transaction<'_>) -> Result<(), Stop>,
    ) -> Result<Lsn> {
        let (lsn, ()) = self.change_system(RecordKind::Fileset, operation, change)?;
        self.refresh(id)?;
        // It may have been hidden, and is to be taken apart.
        self.engine.has_garbage.store(true, Ordering::Release);
        Ok(lsn)
    }

    /// Looks at the system tree.
    ///
    /// # Errors
    /// The look's own; damage.
    pub fn read_system<T>(&self, mut look: impl FnMut(&View<'_>) -> Result<T, Stop>) -> Result<T> {
        self.engine.retrying(|pinned| {
            let system = self.engine.system.lock();
            look(&system.view(&self.engine.nodes, pinned))
        })
    }

    /// Changes the system tree by a record of `kind`, the store's own.
    ///
    /// # Errors
    /// The change's own; `NoSpace`; damage.
    pub fn change_system<T>(
        &self,
        kind: RecordKind,
        operation: &Operation,
        mut make: impl FnMut(&mut Transaction<'_>) -> Result<T, Stop>,
    ) -> Result<(Lsn, T)> {
        self.engine.admit(Need::UPKEEP.purpose, 0, Patience::Wait)?;
        self.engine.retrying(|pinned| {
            let room = Reserve(&self.engine);
            let _history = self.engine.history.read();
            let mut system = self.engine.system.lock();
            let view = system.view(&self.engine.nodes, pinned);
            let mut transaction = Transaction::new(view, operation, Usage::default(), &room);
            let made = make(&mut transaction)?;
            let lsn = self
                .engine
                .append(blank(kind), transaction.finish(), &mut system, None)?;
            Ok((lsn, made))
        })
    }

    /// A fileset's header was changed by a record: those who use it see that.
    fn refresh(&self, id: FilesetId) -> Result<()> {
        let Some(cell) = self.engine.filesets.lock().get(id).cloned() else {
            return Ok(());
        };
        // Under the system tree's lock, so that of two who changed it the last one is seen.
        self.read_system(|view| {
            if let Some(header) = read_header(view, id)? {
                cell.state.lock().header = header;
            }
            Ok(())
        })
    }
}

/// For tests.
#[cfg(test)]
impl Aggregate {
    /// Keeps so many filesets that nobody uses.
    pub(super) fn keep_idle(&self, count: usize) {
        let mut filesets = self.engine.filesets.lock();
        (filesets.idle_max, filesets.many) = (count, count);
    }

    /// How many filesets are in memory.
    pub(super) fn filesets_in_memory(&self) -> usize {
        self.engine.filesets.lock().by_id.len()
    }
}

fn read_header(view: &View<'_>, id: FilesetId) -> Result<Option<FilesetHeader>, Stop> {
    match view.get(Key::fileset_header(id))? {
        Some(bytes) => Ok(Some(FilesetHeader::decode(&bytes)?)),
        None => Ok(None),
    }
}

impl Engine {
    /// The state of a fileset, read from the system tree unless it is in memory.
    pub(crate) fn fileset(&self, id: FilesetId) -> Result<Arc<FilesetCell>> {
        if let Some(cell) = self.filesets.lock().get(id) {
            return Ok(cell.clone());
        }
        let generation = self.generation.load(Ordering::Acquire);
        let read = self.retrying(|pinned| {
            let system = self.system.lock();
            let view = system.view(&self.nodes, pinned);
            let Some(header) = read_header(&view, id)? else {
                return Ok(None);
            };
            let (root, usage) = snapshot::beginning(&view, id)?;
            Ok(Some(state(header, root, usage, Line::read(&view, id)?)))
        })?;
        let Some(state) = read else {
            return Err(Error::new(Kind::NotFound, format!("fileset {id}")).because("it is not in this aggregate"));
        };
        let mut filesets = self.filesets.lock();
        if self.generation.load(Ordering::Acquire) != generation {
            // Somebody may have changed it, and let go of it, since it was read.
            drop(filesets);
            return self.fileset(id);
        }
        Ok(filesets.get_or_insert(id, state))
    }
}

fn state(header: FilesetHeader, root: Option<Pointer>, usage: FilesetUsage, line: Line) -> State {
    State {
        header,
        tree: LiveTree::at(root),
        snapshots: Snapshots {
            line,
            ..Snapshots::default()
        },
        usage: Usage {
            bytes: usage.bytes,
            files: usage.files,
            promised: usage.promised,
        },
        next_vnode: usage.next_vnode.max(FIRST_VNODE),
        is_changed: false,
        cuts: Vec::new(),
        is_gone: false,
        emptied: None,
    }
}

/// The first vnode that a session may be given: 1 is the root directory.
const FIRST_VNODE: u64 = 2;

impl State {
    /// True if its nodes do not say it all.
    fn is_needed(&self) -> bool {
        self.is_changed || !self.tree.is_clean() || self.emptied.is_some()
    }
}
