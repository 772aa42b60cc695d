//! What the store must be equal to: every operation of the history, applied to a map in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use baton_aggregate::aggregate::Fileset;
use baton_aggregate::device::Device;
use baton_aggregate::device::double::Disk;
use baton_aggregate::format::{BLOCK_BYTES, Checksum, Extent, Key, KeyKind, Lsn};
use baton_aggregate::nodes::Nodes;
use baton_aggregate::transaction::scratch::Scratch;
use baton_aggregate::transaction::{Operation, Transaction, Usage};
use baton_aggregate::tree::{Layer, Stop};
use baton_types::{FilesetId, Kind, Result};
use bytes::Bytes;

use super::actions::Action;
use super::files::{self, Act, Files, Old};

/// What an operation was answered: its bytes, or what it was refused with.
pub type Answer = Result<Bytes, Kind>;

/// An operation in its place.
#[derive(Clone, Debug)]
pub struct Past {
    /// Its place.
    pub lsn: Lsn,
    /// Where.
    pub fileset: FilesetId,
    /// Whose.
    pub operation: Operation,
    /// What.
    pub action: Action,
    /// What it was answered.
    pub answer: Answer,
}

/// Something that happened to the snapshots of a fileset.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Its place.
    pub lsn: Lsn,
    /// Which fileset's.
    pub fileset: FilesetId,
    /// The snapshot.
    pub id: Lsn,
    /// What was there when it was taken; `None`: it was deleted.
    pub kept: Option<Kept>,
}

/// What a snapshot has.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its items.
    pub items: Items,
    /// What they take.
    pub usage: Usage,
    /// All of it but files of bytes, to go on from; and what that takes.
    layer: Layer,
    own: Usage,
    files: Files,
}

impl Kept {
    /// Its files of bytes.
    pub fn files(&self) -> &Files {
        &self.files
    }
}

/// A fileset began, or went back, or went.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Its place.
    pub lsn: Lsn,
    /// Which fileset.
    pub fileset: FilesetId,
    /// What it goes on from; `None`: it was deleted.
    pub from: Option<Kept>,
    /// Its own snapshot that this was.
    pub back_to: Option<Lsn>,
}

/// The history, and what it comes to.
pub struct Model {
    /// Every operation that has a place, in order.
    pub history: Vec<Past>,
    filesets: BTreeMap<FilesetId, Scratch>,
    /// The files of bytes of each.
    files: BTreeMap<FilesetId, Files>,
    /// Snapshots taken and deleted, in order.
    moments: Vec<Moment>,
    /// Clones made, and filesets gone back and deleted, in order.
    turns: Vec<Turn>,
    /// The filesets that were there from the start.
    first: Vec<FilesetId>,
    device: Arc<dyn Device>,
}

/// The items of a fileset, without what depends on where the room was found.
pub type Items = BTreeMap<Key, Item>;

/// What an item says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Its value.
    Value(Bytes),
    /// Of an extent, what its block holds.
    Block(Vec<Checksum>),
}

impl Model {
    /// Nothing happened. No tree is ever read from `device`.
    pub fn new(device: Arc<dyn Device>, filesets: &[FilesetId]) -> Model {
        let mut model = Model {
            history: Vec::new(),
            filesets: BTreeMap::new(),
            files: BTreeMap::new(),
            moments: Vec::new(),
            turns: Vec::new(),
            first: filesets.to_vec(),
            device,
        };
        model.reset();
        model
    }

    fn reset(&mut self) {
        self.filesets = self.first.iter().map(|id| (*id, self.empty())).collect();
        self.files = self.first.iter().map(|id| (*id, files::none())).collect();
    }

    fn empty(&self) -> Scratch {
        Scratch::new(Nodes::new(self.device.clone()))
    }

    /// The filesets that there are.
    pub fn filesets(&self) -> Vec<FilesetId> {
        self.filesets.keys().copied().collect()
    }

    /// A fileset goes on from something, or is deleted.
    pub fn turn(&mut self, turn: Turn) {
        self.take_turn(&turn);
        self.turns.push(turn);
    }

    fn take_turn(&mut self, turn: &Turn) {
        let Turn { lsn, fileset, from, .. } = turn;
        match from {
            Some(kept) => {
                let mut scratch = self.empty();
                scratch.go_on(kept.layer.clone(), kept.own, *lsn);
                self.filesets.insert(*fileset, scratch);
                self.files.insert(*fileset, files::go_on(&kept.files));
            }
            None => {
                self.filesets.remove(fileset);
                self.files.remove(fileset);
            }
        }
    }

    /// An operation found its place; what it was answered must be what the map says.
    ///
    /// # Errors
    /// The two answers.
    pub fn push(&mut self, past: Past) -> Result<(), String> {
        if self.history.last().is_some_and(|last| last.lsn >= past.lsn) {
            return Err(format!("{} comes after {:?}", past.lsn, self.history.last()));
        }
        self.apply(&past)?;
        self.history.push(past);
        Ok(())
    }

    fn apply(&mut self, past: &Past) -> Result<(), String> {
        // Whether there is room is the store's to say.
        if past.answer == Err(Kind::NoSpace) {
            return Ok(());
        }
        if let Action::Bytes(act) = past.action {
            if let Err(kind) = past.answer
                && self.may_not_know(past.fileset, act, kind, past.lsn)
            {
                return Ok(());
            }
            let kept = act.past().and_then(|at| self.kept(past.fileset, at, past.lsn));
            let kept = kept.map(|kept| kept.files.clone());
            let files = self.files.get_mut(&past.fileset);
            let files = files.expect("nobody asks for a fileset that is not there");
            let applied = files::apply(files, kept.as_ref(), (act, past.lsn), &past.answer);
            return applied.map_err(|what| format!("{past:?}: {what}"));
        }
        let scratch = self
            .filesets
            .get_mut(&past.fileset)
            .expect("nobody asks for a fileset that is not there");
        let run = |transaction: &mut Transaction<'_>| past.action.run(past.fileset, transaction);
        let answer = match scratch.change(&past.operation, run) {
            Ok(reply) => reply.into_result("").map_err(|error| error.kind),
            Err(Stop::Failed(error)) => Err(error.kind),
            Err(stop) => return Err(format!("the model stopped: {stop:?}")),
        };
        if answer != past.answer {
            return Err(format!("{past:?}: the model answers {answer:?}"));
        }
        Ok(())
    }

    /// What came after `last` never happened.
    ///
    /// # Errors
    /// As [`Model::push`].
    pub fn cut(&mut self, last: Lsn) -> Result<(), String> {
        self.reset();
        self.history.retain(|past| past.lsn <= last);
        self.moments.retain(|moment| moment.lsn <= last);
        self.turns.retain(|turn| turn.lsn <= last);
        let (history, turns) = (std::mem::take(&mut self.history), self.turns.clone());
        let mut next = turns.iter().peekable();
        let applied = history.iter().try_for_each(|past| {
            while let Some(turn) = next.next_if(|turn| turn.lsn < past.lsn) {
                self.take_turn(turn);
            }
            self.apply(past)
        });
        next.for_each(|turn| self.take_turn(turn));
        self.history = history;
        applied
    }

    /// What an operation was answered, if it has a place.
    pub fn find(&self, operation: &Operation) -> Option<&Past> {
        let same = |past: &&Past| {
            (past.operation.session, past.operation.stream, past.operation.sequence)
                == (operation.session, operation.stream, operation.sequence)
        };
        self.history.iter().find(same)
    }

    /// What a fileset must hold.
    pub fn items(&self, fileset: FilesetId) -> Items {
        let scratch = &self.filesets[&fileset];
        let items = scratch.layer.range(Key::FIRST, Key::LAST);
        let items = items.filter(|(key, _)| !files::has(**key));
        let items = items.filter_map(|(key, value)| Some((*key, item(*key, value.clone()?))));
        items.collect()
    }

    /// A snapshot of a fileset was taken.
    pub fn take(&mut self, fileset: FilesetId, (lsn, id): (Lsn, Lsn)) {
        let kept = Some(Kept {
            items: self.items(fileset),
            // What is promised is no snapshot's.
            usage: Usage {
                promised: 0,
                ..self.usage(fileset)
            },
            layer: self.filesets[&fileset].layer.clone(),
            own: self.filesets[&fileset].usage,
            files: self.files[&fileset].clone(),
        });
        self.moments.push(Moment { lsn, fileset, id, kept });
    }

    /// One was deleted.
    pub fn delete(&mut self, fileset: FilesetId, (lsn, id): (Lsn, Lsn)) {
        let kept = None;
        self.moments.push(Moment { lsn, fileset, id, kept });
    }

    /// The snapshots that a fileset must have.
    pub fn snapshots(&self, fileset: FilesetId) -> BTreeMap<Lsn, &Kept> {
        let mut snapshots = BTreeMap::new();
        for moment in self.moments.iter().filter(|moment| moment.fileset == fileset) {
            match &moment.kept {
                Some(kept) => snapshots.insert(moment.id, kept),
                None => snapshots.remove(&moment.id),
            };
        }
        snapshots
    }

    /// The files with bytes in them in its snapshots.
    pub fn olds(&self, fileset: FilesetId) -> Vec<Old> {
        let snapshots = self.snapshots(fileset).into_iter();
        snapshots.flat_map(|(at, kept)| files::olds(at, &kept.files)).collect()
    }

    /// What a snapshot of a fileset had, if it was there when the record `now` was made.
    fn kept(&self, fileset: FilesetId, snapshot: Lsn, now: Lsn) -> Option<&Kept> {
        let of_it = |moment: &&Moment| (moment.fileset, moment.id) == (fileset, snapshot) && moment.lsn < now;
        self.moments.iter().rev().find(of_it)?.kept.as_ref()
    }

    /// Whether a fileset, as it was when the record `now` was made, came by another way than through this snapshot of it.
    fn has_left(&self, fileset: FilesetId, snapshot: Lsn, now: Lsn) -> bool {
        // Through which it came, at the moment and when each was taken.
        let (mut behind, mut when) = (BTreeSet::new(), BTreeMap::new());
        let taken = self.moments.iter().filter(|moment| moment.kept.is_some());
        let mut taken = taken.filter(|moment| moment.fileset == fileset).peekable();
        let turns = self.turns.iter().filter(|turn| turn.fileset == fileset);
        for turn in turns.map(Some).chain([None]) {
            let until = turn.map_or(now, |turn| turn.lsn.min(now));
            while let Some(moment) = taken.next_if(|moment| moment.lsn < until) {
                behind.insert(moment.id);
                when.insert(moment.id, behind.clone());
            }
            if turn.is_some_and(|turn| turn.lsn < now) {
                let back_to = turn.and_then(|turn| turn.back_to);
                behind = back_to.and_then(|at| when.get(&at).cloned()).unwrap_or_default();
            }
        }
        !behind.contains(&snapshot)
    }

    /// What the store refused to do for nobody is refused by right.
    ///
    /// # Errors
    /// It had to be done.
    pub fn refused(&self, fileset: FilesetId, act: Act, kind: Kind) -> Result<(), String> {
        let now = Lsn(u64::MAX);
        let is_by_right = kind == Kind::NoSpace || self.may_not_know(fileset, act, kind, now);
        if is_by_right {
            return Ok(());
        }
        let mut files = self.files[&fileset].clone();
        let kept = act.past().and_then(|at| self.kept(fileset, at, now));
        let kept = kept.map(|kept| &kept.files);
        files::apply(&mut files, kept, (act, now), &Err(kind)).map_err(|what| format!("in {fileset}: {what}"))
    }

    /// Shared where the fileset went back from: it may not be known here whose it is.
    fn may_not_know(&self, fileset: FilesetId, act: Act, kind: Kind, now: Lsn) -> bool {
        kind == Kind::Unsupported && act.past().is_some_and(|at| self.has_left(fileset, at, now))
    }

    /// Blocks of data that filesets and their snapshots have, if each takes its own: what is not shared.
    pub fn blocks(&self) -> usize {
        let filesets = self.filesets.keys().map(|fileset| self.items(*fileset));
        let is_block = |item: &&Item| matches!(item, Item::Block(_));
        let own: usize = filesets.map(|items| items.values().filter(is_block).count()).sum();
        own + self.files.values().map(files::blocks).sum::<usize>()
    }

    /// What its files of bytes must be.
    pub fn files(&self, fileset: FilesetId) -> &Files {
        &self.files[&fileset]
    }

    /// What it must use.
    pub fn usage(&self, fileset: FilesetId) -> Usage {
        let own = self.filesets[&fileset].usage;
        let (bytes, promised) = files::usage(&self.files[&fileset]);
        Usage {
            bytes: own.bytes + bytes,
            promised: own.promised + promised,
            ..own
        }
    }
}

fn item(key: Key, value: Bytes) -> Item {
    match key.kind {
        KeyKind::Extent => Item::Block(Extent::decode(&value).expect("an extent").checksums),
        _ => Item::Value(value),
    }
}

/// What a fileset holds.
///
/// # Errors
/// The store's own.
pub fn read(fileset: &Fileset) -> Result<Vec<(Key, Bytes)>> {
    fileset.read(|view| view.scan(Key::FIRST, Key::LAST).collect::<Result<Vec<_>, Stop>>())
}

/// The same without what depends on where the room was found; `disk` must hold what extents say.
///
/// # Errors
/// The block that does not.
pub fn compared(items: Vec<(Key, Bytes)>, disk: Option<&Disk>) -> Result<Items, String> {
    if let Some(disk) = disk {
        for (key, value) in items.iter().filter(|(key, _)| key.kind == KeyKind::Extent) {
            let extent = Extent::decode(value).map_err(|error| error.to_string())?;
            let bytes = disk.peek(extent.block.offset(), extent.checksums.len() * BLOCK_BYTES);
            let checksums = bytes.chunks(BLOCK_BYTES).map(Checksum::of);
            if !checksums.eq(extent.checksums.iter().copied()) {
                return Err(format!("block {} does not hold what {key:?} says", extent.block));
            }
        }
    }
    let items = items.into_iter().filter(|(key, _)| !files::has(*key));
    Ok(items.map(|(key, value)| (key, item(key, value))).collect())
}

/// Where two differ first.
pub fn difference(found: &Items, expected: &Items) -> Option<String> {
    let keys = found.keys().chain(expected.keys());
    let key = keys.filter(|key| found.get(key) != expected.get(key)).min()?;
    let shown = |items: &Items| {
        items
            .get(key)
            .map_or("nothing".to_owned(), |item| format!("{item:.80?}"))
    };
    Some(format!("{key:?} is {}, and must be {}", shown(found), shown(expected)))
}
