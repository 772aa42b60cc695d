//! `repair`: what a check finds is put right, by an owner, through records and checkpoints as any other change.
//!
//! Nothing is written over. The aggregate is claimed under an epoch of its own (R1, R2), so that who serves it after all
//! is fenced, and loses nothing that anybody was told. The record of space is made anew before anything is taken of it,
//! and the seal still names the old one: until the first checkpoint counts, the aggregate is as it was. All else are
//! records. So wherever this is cut short, the aggregate is as before or further along, and the next repair goes on.
//!
//! Nodes of filesets that do not verify are cut out first, if it is told to: they hide all else. The trees of the next root
//! are without them; nothing says so before.
//!
//! It goes in rounds, each from what a check of the disk finds: first what leads where, then what is counted of it. What
//! a check cannot say what is right of is left, and named; what contradicts what a repair would have to rest on makes
//! it refuse before anything is written.

mod filesets;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use baton_types::{Error, FilesetId, Kind, Result, Timestamp};

use super::check::{Data, Ledger, Orphans, Report, Unreadable, check, examine, plan};
use super::finding::Finding;
use super::mend::{Change, Field, Mend};
use crate::aggregate::{Aggregate, Opened, Recovered};
use crate::device::Device;
use crate::fence::{Grant, Ring};
use crate::nodes::Nodes;
use crate::space::Facts;
use crate::tree::Cut;

/// Rounds at most. Three are the rule: what leads where, the counts, and one that finds nothing.
const ROUNDS_MAX: usize = 16;

/// What a repair did.
#[derive(Clone, Debug)]
pub struct Repaired {
    /// What was found, and what became of it.
    pub done: Vec<(Finding, String)>,
    /// What is still wrong.
    pub left: Report,
}

/// A repair under way.
struct Repair {
    device: Arc<dyn Device>,
    aggregate: Aggregate,
    time: Timestamp,
    unreadable: Unreadable,
    done: Vec<(Finding, String)>,
    /// What could not be done: on what, and why it was to be.
    failed: BTreeSet<(String, String)>,
}

/// Repairs the aggregate on `device`, which nobody serves, under `grant` at `time`. With `data`, the bytes of files are
/// compared at the end, too. Nodes of filesets that do not verify stay, or are cut out, as `unreadable` says. It is
/// detached afterwards.
///
/// # Errors
/// `Damaged` if it is beyond repair, and then nothing was written; as [`Opened::claim`]; `Busy` if somebody writes to it,
/// or may; `NoSpace`; `Io`.
pub fn repair(
    device: Arc<dyn Device>,
    grant: Grant,
    time: Timestamp,
    data: Data,
    unreadable: Unreadable,
) -> Result<Repaired> {
    let nodes = || Nodes::new(device.clone());
    let before = check(device.clone(), nodes(), Data::Skip)?;
    may_be_repaired(&before)?;
    let is_vouched = grant.ring == Ring::Vouched;
    let claimed = Opened::open(device.clone(), nodes())?.claim(grant, time)?;
    // From here on nobody else is told anything; what is found now counts.
    let (found, ledger) = examine(device.clone(), nodes(), (Data::Skip, Orphans::Name, unreadable))?;
    may_be_repaired(&found)?;
    let mut recovered = claimed.recover_without(ledger.lost)?;
    if (recovered.root(), recovered.last()) != (found.root, found.last) {
        return Err(Error::new(Kind::Busy, format!("aggregate {}", found.name))
            .because("somebody writes to it")
            .remedy("end the server that does, then try again"));
    }
    let mut done = Vec::new();
    if found.findings.iter().any(|finding| finding.mend == Mend::Space) {
        if !is_vouched {
            may_be_rebuilt(&found, &ledger, &recovered)?;
        }
        recovered.rebuild_space(&facts(&ledger));
    }
    // The claim was the mend of some already.
    let at_once = |finding: &&Finding| matches!(finding.mend, Mend::Space | Mend::Epoch | Mend::Label);
    for finding in before.findings.iter().filter(at_once) {
        done.push((finding.clone(), finding.becomes()));
    }
    let aggregate = recovered.seal()?;
    aggregate.mend_label()?;
    let mut repair = Repair {
        device: device.clone(),
        aggregate,
        time,
        unreadable,
        done,
        failed: BTreeSet::new(),
    };
    repair.rounds()?;
    // Detaching makes one more: whichever of the newest two roots rots, the other one knows nothing of the damage.
    repair.aggregate.checkpoint()?;
    repair.aggregate.detach(time)?;
    Ok(Repaired {
        done: repair.done,
        left: check(device.clone(), nodes(), data)?,
    })
}

/// Refuses where nobody knows what is right.
///
/// # Errors
/// `Damaged`.
fn may_be_repaired(found: &Report) -> Result<()> {
    let Some(beyond) = &found.beyond else { return Ok(()) };
    Err(Error::new(Kind::Damaged, format!("aggregate {}", found.name))
        .because(format!("{beyond}: what is right cannot be told, so nothing is changed"))
        .remedy("salvage -extract gives the files back"))
}

/// Of segments that only a lost space tree knows, those who were not proven gone may have some.
///
/// # Errors
/// `Damaged`; `Busy`.
fn may_be_rebuilt(found: &Report, ledger: &Ledger, recovered: &Recovered) -> Result<()> {
    let on = format!("aggregate {}", found.name);
    if ledger.said.is_some() {
        return Ok(());
    }
    if !ledger.is_whole {
        return Err(Error::new(Kind::Damaged, on)
            .because("neither the space tree nor all trees of filesets can be read: what is free cannot be told")
            .remedy("salvage -extract gives the files back"));
    }
    match &recovered.not_gone()[..] {
        [] => Ok(()),
        [epoch, ..] => Err(Error::new(Kind::Busy, on)
            .because(format!(
                "its space tree is lost, and the owner of epoch {epoch} is not proven gone: it may have writes in flight"
            ))
            .remedy("switch off every server that had it, then say so: salvage -repair DEVICE -force")),
    }
}

fn facts(ledger: &Ledger) -> Facts<'_> {
    let used = ledger.used.iter();
    Facts {
        reached: used.clone().map(|(segment, used)| (*segment, &used.reached)).collect(),
        pending: used.clone().map(|(segment, used)| (*segment, &used.pending)).collect(),
        dead: used.map(|(segment, used)| (*segment, &used.dead)).collect(),
        further: &ledger.further,
        said: ledger.said.as_ref(),
        nodes: &ledger.space_nodes,
    }
}

impl Repair {
    fn rounds(&mut self) -> Result<()> {
        let mut rounds = 0;
        while rounds < ROUNDS_MAX {
            // What the last round did is in trees, space among it, and the check begins there.
            self.aggregate.checkpoint()?;
            let nodes = Nodes::new(self.device.clone());
            let found = plan(self.device.clone(), nodes, Data::Skip, self.unreadable)?;
            // There is more to do than was told.
            rounds += usize::from(found.more == 0);
            // A contradiction that nobody saw before is left to the last check to tell.
            if found.beyond.is_some() {
                return Ok(());
            }
            let mut now = self.of_this_round(found.findings);
            if now.is_empty() {
                return Ok(());
            }
            now.sort_by_key(|finding| rank(&finding.mend));
            if rank(&now[0].mend) == Rank::Cut {
                self.cut(now)?;
                continue;
            }
            for finding in now {
                self.mend(finding)?;
            }
        }
        Ok(())
    }

    /// What is to be done first: what leads where; then what is counted of it.
    fn of_this_round(&self, found: Vec<Finding>) -> Vec<Finding> {
        let is_new = |finding: &Finding| !self.failed.contains(&(finding.on.clone(), finding.reason.clone()));
        let is_record = |finding: &Finding| {
            matches!(
                finding.mend,
                Mend::Cut(..) | Mend::Fileset(..) | Mend::Snapshot(..) | Mend::Leak(_)
            )
        };
        let mut now: Vec<Finding> = found
            .into_iter()
            .filter(|finding| is_record(finding) && is_new(finding))
            .collect();
        let first = now.iter().map(|finding| rank(&finding.mend)).min();
        match first {
            // What else is wrong shows when these are there.
            Some(rank @ (Rank::Cut | Rank::Root)) => now.retain(|finding| self::rank(&finding.mend) == rank),
            _ if now.iter().any(|finding| rank(&finding.mend) == Rank::Structure) => {
                now.retain(|finding| rank(&finding.mend) < Rank::Counts);
            }
            _ => {}
        }
        now
    }

    /// Cuts out what cannot be read.
    fn cut(&mut self, found: Vec<Finding>) -> Result<()> {
        let mut cuts: BTreeMap<FilesetId, Vec<Cut>> = BTreeMap::new();
        let mut done = Vec::new();
        for finding in found {
            let Mend::Cut(id, out) = &finding.mend else { continue };
            let prepared = out
                .before
                .iter()
                .try_for_each(|change| self.change(*id, change).map(drop));
            match prepared {
                Ok(()) => {
                    cuts.entry(*id).or_default().push(out.cut);
                    done.push(finding);
                }
                Err(error) => self.refused(finding, error)?,
            }
        }
        self.aggregate.cut(cuts)?;
        let done = done.into_iter().map(|finding| {
            let became = finding.becomes();
            (finding, became)
        });
        self.done.extend(done);
        Ok(())
    }

    /// Something cannot be done. It is told, and the rest goes on.
    fn refused(&mut self, finding: Finding, error: Error) -> Result<()> {
        if matches!(error.kind, Kind::Io | Kind::WrongEpoch | Kind::Detached) {
            return Err(error);
        }
        self.failed.insert((finding.on.clone(), finding.reason.clone()));
        self.done.push((finding, format!("left: {error}")));
        Ok(())
    }

    /// Does one thing. What it is refused with is told, and the rest goes on.
    fn mend(&mut self, finding: Finding) -> Result<()> {
        let mended = match &finding.mend {
            Mend::Fileset(id, change) => self.change(*id, change),
            Mend::Snapshot(id, at, usage) => self.aggregate.set_snapshot_usage(*id, *at, *usage).map(|()| None),
            Mend::Leak(runs) => self.aggregate.give_back(runs).map(|()| None),
            Mend::Refuse | Mend::Leave | Mend::Uncut | Mend::Cut(..) | Mend::Label | Mend::Epoch | Mend::Space => {
                Ok(None)
            }
        };
        match mended {
            Ok(became) => {
                let became = became.unwrap_or_else(|| finding.becomes());
                self.done.push((finding, became));
                Ok(())
            }
            Err(error) => self.refused(finding, error),
        }
    }
}

/// In which order things are done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// What cannot be read hides all else.
    Cut,
    /// A root directory: what has lost its name comes to be below it.
    Root,
    /// Whatever is done needs these.
    First,
    /// What leads where.
    Structure,
    /// What is counted of it.
    Counts,
}

fn rank(mend: &Mend) -> Rank {
    match mend {
        Mend::Cut(..) => Rank::Cut,
        Mend::Fileset(_, Change::Root) => Rank::Root,
        // What gives up a shared block asks in how many places it is.
        Mend::Fileset(_, Change::NextVnode(_) | Change::Places(..)) => Rank::First,
        Mend::Fileset(_, Change::Set(vnode, Field::Links(_))) if *vnode == baton_types::Vnode::ROOT => Rank::First,
        Mend::Fileset(_, Change::Set(..) | Change::Usage(..) | Change::Promised(_) | Change::Dead(_))
        | Mend::Snapshot(..)
        | Mend::Leak(_) => Rank::Counts,
        Mend::Fileset(
            _,
            Change::Entry(..)
            | Change::Unname(..)
            | Change::Item(_)
            | Change::Stray(_)
            | Change::NoOrphan(_)
            | Change::Orphan(_),
        ) => Rank::Structure,
        Mend::Refuse | Mend::Leave | Mend::Uncut | Mend::Label | Mend::Epoch | Mend::Space => Rank::First,
    }
}
