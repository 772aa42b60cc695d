//! Salvage: what is wrong with an aggregate, and its files without a cell.
//!
//! Both only read. The log is replayed in memory as a takeover would, so what is looked at is what the next owner
//! would serve. Of an aggregate that is being served at the time, the findings mean little: it changes meanwhile.

mod blocks;
mod check;
mod cut;
mod extract;
mod finding;
mod items;
mod mend;
mod repair;
mod walk;

use std::sync::Arc;

use baton_types::{Epoch, Error, Kind, Result};

pub use check::{Data, Report, Unreadable, check, plan};
pub use extract::{Extracted, Skipped, extract};
pub use finding::{Fault, Finding, Gravity};
pub use repair::{Repaired, repair};

use crate::create::{must_hold, read_label};
use crate::device::Device;
use crate::fence::{Found, read_roots, read_slots};
use crate::format::{Geometry, Label, Root, Slot};
use crate::nodes::Nodes;
use crate::recover::{Chain, Replayed, recover};

/// An aggregate that is only read.
struct Patient {
    device: Arc<dyn Device>,
    nodes: Nodes,
    label: Label,
    /// As its newest root has it.
    geometry: Geometry,
}

/// One of its roots, with the log that leads on from it replayed.
struct Whole {
    root: Root,
    chain: Chain,
    replayed: Replayed,
    /// What it was replayed without.
    lost: Option<Lost>,
}

/// What of a root recovery can do without, to be made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The space tree.
    Space,
    /// The lists of pending frees.
    Frees,
}

impl Lost {
    /// The same root without it.
    pub fn left_out(self, root: &Root) -> Root {
        match self {
            Lost::Space => Root {
                space: None,
                ..root.clone()
            },
            Lost::Frees => Root {
                pending: [None, None],
                ..root.clone()
            },
        }
    }
}

impl Patient {
    fn open(device: Arc<dyn Device>, nodes: Nodes) -> Result<Patient> {
        let label = read_label(&*device)?;
        let geometry = label.geometry;
        let mut patient = Patient {
            device,
            nodes,
            label,
            geometry,
        };
        if let Some(newest) = patient.roots()?.first() {
            patient.geometry = newest.check(&geometry)?;
        }
        must_hold(&*patient.device, &patient.label, patient.geometry.device_bytes)?;
        Ok(patient)
    }

    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The roots that stand where they may, newest first. A seal stands in two places.
    fn roots(&self) -> Result<Vec<Root>> {
        let found = read_roots(&*self.device, self.label.id)?.into_iter();
        let at_home = found.filter(is_at_home).map(|found| found.root);
        let is_sound = |root: &Root| root.check(&self.label.geometry).is_ok();
        let mut roots: Vec<_> = at_home.filter(is_sound).collect();
        roots.sort_by_key(|root| std::cmp::Reverse(root.name()));
        roots.dedup_by_key(|root| root.name());
        Ok(roots)
    }

    /// What `root` and its log come to.
    fn whole(&self, root: &Root) -> Result<Whole> {
        let (chain, replayed) = recover(&*self.device, &self.label, &self.nodes, root)?;
        Ok(Whole {
            root: root.clone(),
            chain,
            replayed,
            lost: None,
        })
    }

    /// The same, without the one part of it that can be made anew, if that cannot be read.
    fn whole_but_space(&self, root: &Root) -> Result<Whole> {
        let whole = self.whole(root);
        whole.or_else(|error| {
            let mut parts = [Lost::Space, Lost::Frees].into_iter();
            let without = parts.find_map(|lost| {
                let whole = self.whole(&lost.left_out(root)).ok()?;
                Some(Whole {
                    root: root.clone(),
                    lost: Some(lost),
                    ..whole
                })
            });
            without.ok_or(error)
        })
    }
}

fn is_at_home(found: &Found) -> bool {
    Geometry::ring_index(found.root.epoch) == found.place.0
}

/// Who serves the aggregate on `device`, as far as two looks at its slots can tell: somebody whose beat went on
/// between them. `wait` is to last longer than a beat takes.
///
/// # Errors
/// What the device says; as [`read_label`].
pub fn served_by(device: &dyn Device, wait: impl FnOnce()) -> Result<Option<Slot>> {
    let label = read_label(device)?;
    let before = read_slots(device, label.id)?;
    wait();
    let after = read_slots(device, label.id)?;
    let beats = |slot: &&Slot| {
        let old = before.sound().find(|old| old.epoch == slot.epoch);
        slot.epoch != Epoch::NONE && old.is_none_or(|old| old.beat != slot.beat || old.state != slot.state)
    };
    Ok(after.sound().find(beats).cloned())
}

fn no_root(label: &Label) -> Error {
    Error::new(Kind::Damaged, format!("aggregate {}", label.name))
        .because("no root verifies: what its trees hold cannot be found")
        .remedy("read the device by another path; if that fails too, restore its filesets from a replica or a dump")
}

#[cfg(test)]
pub(crate) mod tests;
