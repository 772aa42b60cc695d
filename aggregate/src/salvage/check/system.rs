//! The system tree: which filesets there are, and whether all else that it holds belongs to something.

use std::collections::{BTreeMap, BTreeSet};

use baton_types::{ClientId, FilesetId, Result};
use bytes::Bytes;

use super::super::finding::Fault;
use super::super::items::{self, ALL};
use super::{Check, Whole};
use crate::format::{
    Base, ClientState, DeadChunk, FilesetEntry, FilesetHeader, FilesetKind, FilesetUsage, Held, Key, KeyKind, Lsn,
    Parting, Pointer, SessionHeader, Snapshot, VnodeRange, Walk, decode_holders,
};
use crate::snapshot::{Line, Span};
use crate::transaction::{Reply, SessionId};

/// What the system tree says of one fileset.
#[derive(Default)]
pub(super) struct FilesetItems {
    pub header: Option<FilesetHeader>,
    pub tree: Option<Pointer>,
    /// Its snapshots, deleted ones among them, and the trees of those that have one.
    pub snapshots: BTreeMap<Lsn, Snapshot>,
    pub snapshot_trees: BTreeMap<Lsn, Pointer>,
    /// Blocks that only snapshots have.
    pub dead: Vec<(Span, DeadChunk)>,
    /// What it goes on from, and who goes on from its snapshots, by the record that says so.
    pub bases: BTreeMap<Lsn, Base>,
    held: BTreeMap<Lsn, Held>,
    /// What merges saw of it; none yet, if it just went on from something.
    pub usage: Option<FilesetUsage>,
    /// Names under which the list has it.
    entries: Vec<FilesetEntry>,
    /// Vnodes that sessions were given.
    ranges: Vec<(u64, VnodeRange)>,
}

impl FilesetItems {
    /// As people call it.
    pub fn name(&self, id: FilesetId) -> String {
        match &self.header {
            Some(header) => format!("fileset {}", header.name),
            None => format!("fileset {id}"),
        }
    }

    pub fn is_hidden(&self) -> bool {
        let kind = self.header.as_ref().map(|header| header.kind);
        kind == Some(FilesetKind::Deleting)
    }

    /// Its snapshots that are kept, and what it went on from.
    pub fn line(&self) -> Line {
        let mut line = Line::default();
        for (record, base) in &self.bases {
            line.go_on(*record, *base);
        }
        for (record, held) in &self.held {
            line.hold(*record, held.snapshot);
        }
        for (at, snapshot) in &self.snapshots {
            if snapshot.is_kept() || line.is_held(*at) {
                line.insert(*at, snapshot.clone());
            }
        }
        line
    }
}

/// The filesets, each after those that it went on from.
pub(super) fn oldest_first(filesets: &BTreeMap<FilesetId, FilesetItems>) -> Vec<FilesetId> {
    let began = |id: &FilesetId| {
        let bases = filesets[id].bases.iter();
        let cloned = bases.clone().find(|(_, base)| base.origin != *id);
        cloned.map_or(Lsn(0), |(record, _)| *record)
    };
    let mut ids: Vec<FilesetId> = filesets.keys().copied().collect();
    ids.sort_by_key(|id| (began(id), *id));
    ids
}

/// What the items of the system tree name, and what they are of.
#[derive(Default)]
struct System {
    filesets: BTreeMap<FilesetId, FilesetItems>,
    sessions: BTreeSet<u64>,
    clients: BTreeMap<Key, ClientState>,
    /// Sessions that items belong to.
    of_sessions: BTreeSet<u64>,
    holders: Vec<(FilesetId, ClientId)>,
    /// Blocks by the last snapshot that had them.
    dead: BTreeMap<Lsn, Vec<(Span, DeadChunk)>>,
    /// Filesets that have space to give back.
    cursors: Vec<FilesetId>,
    /// Snapshots whose trees are being taken apart.
    walks: Vec<Lsn>,
}

/// Checks the system tree; gives the filesets.
pub(super) fn check(check: &mut Check<'_>, whole: &Whole, last: Lsn) -> Result<BTreeMap<FilesetId, FilesetItems>> {
    let mut system = System::default();
    let (findings, nodes) = (&mut check.findings, &check.patient.nodes);
    let read = items::each(&whole.replayed.system, nodes, ALL, |key, value| {
        if let Err(error) = system.item(key, &value) {
            findings.fault(
                Fault::Item,
                format!("system tree, {:?} of {}", key.kind, key.object),
                error.to_string(),
            );
        }
        Ok(())
    });
    if let Err(error) = read {
        // Said of its node already.
        check.is_whole = false;
        findings.notice(
            Fault::Node,
            "system tree",
            format!("what follows is not known: {}", error.reason),
        );
    }
    deal_dead(check, &mut system);
    for (id, fileset) in &system.filesets {
        catalog(check, *id, fileset);
        ranges(check, *id, fileset);
        line(check, *id, fileset);
        bases(check, *id, &system);
    }
    walks(check, &system);
    sessions(check, &system, last);
    check.held = system.holders.iter().map(|(fileset, _)| *fileset).collect();
    Ok(system.filesets)
}

impl System {
    fn item(&mut self, key: Key, value: &Bytes) -> Result<()> {
        let id = FilesetId(key.object);
        match key.kind {
            KeyKind::FilesetHeader => {
                self.filesets.entry(id).or_default().header = Some(FilesetHeader::decode(value)?);
            }
            KeyKind::FilesetName => {
                for entry in FilesetEntry::decode_all(value)? {
                    self.filesets.entry(entry.fileset).or_default().entries.push(entry);
                }
            }
            KeyKind::FilesetTree if key.sub != 0 => {
                let fileset = self.filesets.entry(id).or_default();
                fileset.snapshot_trees.insert(Lsn(key.sub), Pointer::decode(value)?);
            }
            KeyKind::Snapshot => {
                let fileset = self.filesets.entry(id).or_default();
                fileset.snapshots.insert(Lsn(key.sub), Snapshot::decode(value)?);
            }
            KeyKind::DeadChunk => {
                let (last, first) = (Lsn(key.object), (key.sub >> 32) as u32);
                let chunk = DeadChunk::decode(value)?;
                self.dead.entry(last).or_default().push((Span { last, first }, chunk));
            }
            KeyKind::Base => {
                let fileset = self.filesets.entry(id).or_default();
                fileset.bases.insert(Lsn(key.sub), Base::decode(value)?);
            }
            KeyKind::Held => {
                let fileset = self.filesets.entry(id).or_default();
                fileset.held.insert(Lsn(key.sub), Held::decode(value)?);
            }
            KeyKind::Walk => {
                Walk::decode(value)?;
                self.walks.push(Lsn(key.object));
            }
            KeyKind::Cursor => self.cursors.push(FilesetId(key.sub)),
            KeyKind::FilesetTree => self.filesets.entry(id).or_default().tree = Some(Pointer::decode(value)?),
            KeyKind::FilesetUsage => self.filesets.entry(id).or_default().usage = Some(FilesetUsage::decode(value)?),
            KeyKind::SessionHeader => {
                SessionHeader::decode(value)?;
                self.sessions.insert(key.object);
            }
            KeyKind::Stream => {
                self.of_sessions.insert(key.object);
            }
            KeyKind::Reply => {
                Reply::decode(value.clone())?;
                self.of_sessions.insert(key.object);
            }
            KeyKind::VnodeRange => {
                self.of_sessions.insert(key.object);
                let fileset = self.filesets.entry(FilesetId(key.sub)).or_default();
                let ranges = VnodeRange::decode_all(value)?.into_iter();
                fileset.ranges.extend(ranges.map(|range| (key.object, range)));
            }
            KeyKind::Client => {
                self.clients.insert(key, ClientState::decode(value)?);
            }
            KeyKind::Hold => {
                let holders = decode_holders(value)?.into_iter();
                self.holders.extend(holders.map(|client| (id, client)));
            }
            KeyKind::Parting => drop(Parting::decode(value)?),
            kind => {
                let error = baton_types::Error::new(baton_types::Kind::Damaged, "system tree");
                return Err(error.because(format!("an item of kind {kind:?} has no place here")));
            }
        }
        Ok(())
    }
}

/// Lists of dead blocks belong to the filesets of their snapshots.
fn deal_dead(check: &mut Check<'_>, system: &mut System) {
    for fileset in system.filesets.values_mut() {
        for at in fileset.snapshots.keys() {
            fileset.dead.append(&mut system.dead.remove(at).unwrap_or_default());
        }
    }
    for last in system.dead.keys() {
        let on = format!("snapshot {last}");
        check
            .findings
            .fault(Fault::Snapshot, on, "a list of blocks names it, and it does not exist");
    }
    for id in &system.cursors {
        if system.filesets.get(id).is_none_or(|fileset| fileset.header.is_none()) {
            let on = format!("fileset {id}");
            check
                .findings
                .fault(Fault::Snapshot, on, "it has space to give back, and does not exist");
        }
    }
}

/// The snapshots of a fileset have names and numbers of their own, and its header knows of them.
fn line(check: &mut Check<'_>, id: FilesetId, fileset: &FilesetItems) {
    let (name, mut wrong) = (fileset.name(id), Vec::new());
    let (mut serial, mut names, mut newest) = (0, BTreeSet::new(), Lsn(0));
    for (at, snapshot) in &fileset.snapshots {
        if snapshot.serial <= serial {
            wrong.push(format!(
                "snapshot {at} has the number {}, after {serial}",
                snapshot.serial
            ));
        }
        serial = snapshot.serial;
        if snapshot.is_kept() {
            newest = *at;
            if !names.insert(snapshot.name.as_bytes()) {
                wrong.push(format!("two snapshots have the name '{}'", snapshot.name));
            }
        }
    }
    for at in fileset
        .snapshot_trees
        .keys()
        .filter(|at| !fileset.snapshots.contains_key(at))
    {
        wrong.push(format!("it has the tree of a snapshot {at}, which does not exist"));
    }
    if let Some(header) = &fileset.header
        && (header.newest_snapshot != newest || header.snapshots_taken < u64::from(serial))
    {
        let (said, taken) = (header.newest_snapshot, header.snapshots_taken);
        wrong.push(format!(
            "its header says {taken} snapshots up to {said}, and there are {serial} up to {newest}"
        ));
    }
    for reason in wrong {
        check.findings.fault(Fault::Snapshot, &name, reason);
    }
}

/// A snapshot that a fileset goes on from exists, and knows of that; who is said to go on from one does.
fn bases(check: &mut Check<'_>, id: FilesetId, system: &System) {
    let (fileset, mut wrong) = (&system.filesets[&id], Vec::new());
    for (record, base) in &fileset.bases {
        let origin = system.filesets.get(&base.origin);
        let snapshot = origin.and_then(|origin| origin.snapshots.get(&base.snapshot));
        let held = origin.and_then(|origin| origin.held.get(record));
        let is_known = held.is_some_and(|held| held.fileset == id && held.snapshot == base.snapshot);
        let is_older = base.snapshot < *record;
        // What is being taken apart may need it no more.
        let is_missed = !fileset.is_hidden() && (snapshot.is_none() || !is_known);
        if is_missed || !is_older {
            let (snapshot, origin) = (base.snapshot, base.origin);
            wrong.push(format!(
                "it goes on from snapshot {snapshot} of fileset {origin}, which does not exist, does not say so or came later"
            ));
        }
    }
    for (record, held) in &fileset.held {
        let other = system.filesets.get(&held.fileset);
        let base = other.and_then(|other| other.bases.get(record));
        if base.is_none_or(|base| base.origin != id || base.snapshot != held.snapshot) {
            let (other, snapshot) = (held.fileset, held.snapshot);
            wrong.push(format!(
                "fileset {other} is said to go on from its snapshot {snapshot}, and does not"
            ));
        }
    }
    for reason in wrong {
        check.findings.fault(Fault::Snapshot, fileset.name(id), reason);
    }
}

/// Only of snapshots that were deleted the trees are taken apart.
fn walks(check: &mut Check<'_>, system: &System) {
    for at in &system.walks {
        let found = system.filesets.values().find_map(|fileset| fileset.snapshots.get(at));
        if found.is_none_or(Snapshot::is_kept) {
            let on = format!("snapshot {at}");
            check.findings.fault(
                Fault::Snapshot,
                on,
                "its tree is being taken apart, and it was not deleted",
            );
        }
    }
}

/// A fileset and its names lead to each other.
fn catalog(check: &mut Check<'_>, id: FilesetId, fileset: &FilesetItems) {
    let (on, findings) = (fileset.name(id), &mut check.findings);
    let Some(header) = &fileset.header else {
        if !fileset.entries.is_empty() || fileset.tree.is_some() {
            findings.fault(Fault::Catalog, on, "it has names or files, and no header");
        }
        return;
    };
    let is_listed = fileset.entries.iter().filter(|entry| entry.name == header.name).count();
    if is_listed != 1 || fileset.entries.len() != 1 {
        let reason = format!(
            "the list has it {} times, {is_listed} under its name",
            fileset.entries.len()
        );
        findings.fault(Fault::Catalog, &on, reason);
    }
    if header.kind == FilesetKind::Replica {
        findings.notice(Fault::Catalog, on, "a replica: this version does not make any");
    }
}

/// No vnode was given to two sessions, and none from beyond what was ever given.
fn ranges(check: &mut Check<'_>, id: FilesetId, fileset: &FilesetItems) {
    let mut ranges: Vec<_> = fileset
        .ranges
        .iter()
        .map(|(session, range)| (range.first.number(), range, session))
        .collect();
    ranges.sort_by_key(|(first, ..)| *first);
    let mut end = 0;
    for (first, range, session) in ranges {
        if first < end {
            let reason = format!("session {session} was given vnodes from {first} on, which another one has");
            check.findings.fault(Fault::Vnode, fileset.name(id), reason);
        }
        end = end.max(first + u64::from(range.count));
    }
}

/// Whatever is kept for a session or a client belongs to one that exists.
fn sessions(check: &mut Check<'_>, system: &System, last: Lsn) {
    let aggregate = check.patient.label.id;
    let findings = &mut check.findings;
    for session in system.of_sessions.difference(&system.sessions) {
        findings.fault(
            Fault::Session,
            format!("session {session}"),
            "it has replies or vnodes, and does not exist",
        );
    }
    for session in &system.sessions {
        if SessionId(*session).opened_by(aggregate) > last {
            findings.fault(
                Fault::Session,
                format!("session {session}"),
                "its number comes from beyond the log's end",
            );
        }
    }
    for (fileset, client) in &system.holders {
        if !system.clients.contains_key(&Key::client(*client)) {
            let reason = format!("client {client} holds something in it, and is not recorded");
            findings.fault(Fault::Session, format!("fileset {fileset}"), reason);
        }
        if !system.filesets.contains_key(fileset) {
            let reason = format!("client {client} holds something in it, and it does not exist");
            findings.fault(Fault::Session, format!("fileset {fileset}"), reason);
        }
    }
}
