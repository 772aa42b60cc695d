//! What was told to whom, and what must hold of it, whoever stopped, died or woke up in between.

use std::collections::BTreeMap;
use std::fmt;

use baton_aggregate::format::Block;
use baton_types::{Epoch, Error, Incarnation, Kind};

use super::ledger::Entry;
use super::life::name;
use crate::sim::{Trace, Violation};

/// What a history came across: a fault that never happens tests nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub granted: u64,
    pub served: u64,
    pub told: u64,
    pub fenced: u64,
    pub crashed: u64,
    pub rotted: u64,
    pub torn: u64,
    pub held: u64,
    pub older_base: u64,
    pub thawed: u64,
    pub eras: u64,
    pub wrapped: u64,
}

#[cfg(test)]
impl Seen {
    /// What both came across.
    pub fn and(self, other: Seen) -> Seen {
        Seen {
            granted: self.granted + other.granted,
            served: self.served + other.served,
            told: self.told + other.told,
            fenced: self.fenced + other.fenced,
            crashed: self.crashed + other.crashed,
            rotted: self.rotted + other.rotted,
            torn: self.torn + other.torn,
            held: self.held + other.held,
            older_base: self.older_base + other.older_base,
            thawed: self.thawed + other.thawed,
            eras: self.eras + other.eras,
            wrapped: self.wrapped + other.wrapped,
        }
    }
}

/// The history as it is told, and its oracles. One thread runs at a time, so that its lock is never waited for.
pub(super) struct World {
    trace: Trace,
    pub now: u64,
    pub seen: Seen,
    /// Whoever serves a fileset takes it back to snapshots, in every third history.
    pub goes_back: bool,
    numbers: u32,
    /// What was acknowledged, and by whom.
    told: BTreeMap<u32, (Epoch, Block)>,
    /// What each epoch found on the disk.
    found: BTreeMap<Epoch, Vec<Entry>>,
    served: BTreeMap<Epoch, Incarnation>,
    /// Who found no root to begin with.
    held: Option<Epoch>,
    broken: Option<String>,
}

impl World {
    pub fn new(seed: u64) -> World {
        World {
            trace: Trace::new(seed),
            now: 0,
            seen: Seen::default(),
            goes_back: seed.is_multiple_of(3),
            numbers: 0,
            told: BTreeMap::new(),
            found: BTreeMap::new(),
            served: BTreeMap::new(),
            held: None,
            broken: None,
        }
    }

    /// A number that nobody has written.
    pub fn number(&mut self) -> u32 {
        self.numbers += 1;
        self.numbers
    }

    pub fn note(&mut self, who: impl fmt::Display, what: fmt::Arguments<'_>) {
        if self.broken.is_none() {
            self.trace.note(self.now, who, what);
        }
    }

    /// `epoch` read the disk and goes on from this.
    pub fn found(&mut self, epoch: Epoch, entries: &[Entry]) {
        self.found.insert(epoch, entries.to_vec());
        self.check_histories();
    }

    /// `epoch` serves.
    pub fn serves(&mut self, epoch: Epoch, incarnation: Incarnation) {
        self.seen.served += 1;
        if let Some(other) = self.served.insert(epoch, incarnation) {
            self.broken(format!("epoch {epoch} is served by {incarnation} and was by {other}"));
        }
        self.check_histories();
    }

    /// `epoch` told somebody that `number` is written.
    pub fn told(&mut self, epoch: Epoch, number: u32, block: Block) {
        self.seen.told += 1;
        self.told.insert(number, (epoch, block));
        self.check_histories();
    }

    /// A look of `epoch` passed; `verified` says whether every slot that it read did.
    pub fn looked(&mut self, epoch: Epoch, verified: bool) {
        if !verified {
            self.broken(format!("epoch {epoch} passed a look at a slot that does not verify"));
        }
    }

    /// The run that was granted `epoch` is over.
    pub fn ended(&mut self, epoch: Epoch, end: Result<(), Error>) {
        match end {
            Ok(()) => self.note(name(epoch), format_args!("is done")),
            Err(error) => {
                self.seen.fenced += u64::from(error.kind == Kind::WrongEpoch);
                self.note(name(epoch), format_args!("ends: {error}"));
            }
        }
    }

    /// `epoch` finds no root that it may begin with.
    pub fn held(&mut self, epoch: Epoch) {
        self.seen.held += 1;
        self.held = Some(epoch);
    }

    /// Who found none since this was last asked.
    pub fn take_held(&mut self) -> Option<Epoch> {
        self.held.take()
    }

    pub fn broken(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    pub fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// What was told, and where it must be.
    pub fn all_told(&self) -> impl Iterator<Item = (u32, Epoch, Block)> + '_ {
        self.told
            .iter()
            .map(|(number, (epoch, block))| (*number, *epoch, *block))
    }

    /// The end of the history.
    pub fn end(self) -> Result<(Trace, Seen), Violation> {
        match self.broken {
            Some(what) => Err(self.trace.violation(what)),
            None => Ok((self.trace, self.seen)),
        }
    }

    fn check_histories(&mut self) {
        if let Err(what) = self.nothing_is_lost().and_then(|()| self.nothing_comes_back()) {
            self.broken(what);
        }
    }

    /// What an epoch told, every later one finds.
    fn nothing_is_lost(&self) -> Result<(), String> {
        for (epoch, entries) in &self.found {
            for (number, (by, _)) in self.told.iter().filter(|(_, (by, _))| by < epoch) {
                if !entries.iter().any(|entry| entry.number == *number) {
                    return Err(format!("{number}, which epoch {by} told, is missing in epoch {epoch}"));
                }
            }
        }
        Ok(())
    }

    /// What an epoch that served left out, no later one finds.
    fn nothing_comes_back(&self) -> Result<(), String> {
        for epoch in self.served.keys() {
            let Some(entries) = self.found.get(epoch) else { continue };
            for (later, found) in self.found.range(epoch..).skip(1) {
                let back = found
                    .iter()
                    .find(|entry| entry.author < *epoch && !entries.contains(entry));
                if let Some(Entry { number, author, .. }) = back {
                    return Err(format!(
                        "{number} of epoch {author}, which epoch {epoch} served without, comes back in epoch {later}"
                    ));
                }
            }
        }
        Ok(())
    }
}
