//! What goes wrong, when its time has come, and how it ends.

use std::collections::BTreeSet;
use std::sync::Arc;

use baton_types::Kind;
use tokio::time::sleep_until;

use super::host::State;
use super::world::{Phase, Place, Shown, World};
use crate::sim::{Affliction, Fault, Network};

/// Syncs that still succeed on a failing disk.
const SYNCS_MAX: u64 = 4;

impl World {
    /// Lets everything befall the group that the plan has for it, counted from now.
    pub fn trouble(self: &Arc<World>) {
        let now = self.now();
        for Affliction { fault, begin, end } in self.plan.afflictions.clone() {
            let world = self.clone();
            tokio::spawn(async move {
                sleep_until(world.moment(now + begin)).await;
                world.note("world", format_args!("{fault:?} begins"));
                world.fault_begins(&fault, now + end);
                sleep_until(world.moment(now + end)).await;
                world.note("world", format_args!("{fault:?} ends"));
                world.fault_ends(&fault);
            });
        }
        for when in self.plan.hand_overs.clone() {
            let world = self.clone();
            tokio::spawn(async move {
                sleep_until(world.moment(now + when)).await;
                world.hand_over().await;
            });
        }
    }

    fn fault_begins(self: &Arc<World>, fault: &Fault, end: u64) {
        match fault {
            Fault::CutOneWay { from, to } => self.network(|network| network.cut(from + 1, to + 1)),
            Fault::Partition { side } => self.across(side, World::cut),
            Fault::Crash { node } => self.crash(number(*node), State::Down),
            // Nobody can stop a task as SIGSTOP stops a process; a disk that does not answer comes close, and
            // the date may be another one when all goes on.
            Fault::Stop { node } => {
                let mut hosts = self.hosts.lock();
                if let Some(host) = hosts.get_mut(&number(*node)) {
                    host.hung_until = end;
                    self.draw(|seed| host.set_date(seed));
                }
            }
            Fault::DiskError { node } => {
                let (syncs, kind) = self.draw(|seed| (seed.below(SYNCS_MAX), *seed.pick(&[Kind::Io, Kind::NoSpace])));
                let mut hosts = self.hosts.lock();
                if let Some(host) = hosts.get_mut(&number(*node)).filter(|host| host.state == State::Up) {
                    host.fail_after(syncs, kind);
                }
            }
        }
    }

    fn fault_ends(self: &Arc<World>, fault: &Fault) {
        match fault {
            Fault::CutOneWay { from, to } => self.network(|network| network.mend(from + 1, to + 1)),
            Fault::Partition { side } => self.across(side, World::mend),
            Fault::Crash { node } => self.restart(number(*node)),
            Fault::DiskError { node } => {
                self.crash(number(*node), State::Down);
                self.restart(number(*node));
            }
            Fault::Stop { .. } => {}
        }
    }

    /// Starts a member again that had been started before.
    fn restart(self: &Arc<World>, number: u64) {
        if self.hosts.lock().contains_key(&number) {
            self.begin(number);
        }
    }

    /// Does `change` to every member of `side` with every other.
    fn across(&self, side: &BTreeSet<usize>, change: fn(&World, Place, Place)) {
        let count = usize::try_from(self.plan.members).unwrap_or_default();
        for inner in side {
            for outer in (0..count).filter(|node| !side.contains(node)) {
                change(self, number(*inner), number(outer));
            }
        }
    }

    /// Whoever leads gives leadership to another.
    async fn hand_over(self: &Arc<World>) {
        if let Some((number, member)) = self.leader().and_then(|number| Some((number, self.running(number)?.1))) {
            self.note(Shown(number), format_args!("hands over"));
            member.hand_over().await;
        }
    }

    /// Everything works again, and who can start does.
    pub fn heal(self: &Arc<World>) {
        self.note("world", format_args!("is healed"));
        self.network(Network::heal);
        let numbers: Vec<u64> = self.hosts.lock().keys().copied().collect();
        for number in numbers {
            self.begin(number);
        }
        *self.phase.lock() = Phase::Healed;
    }
}

/// The member that a fault calls by its place.
fn number(node: usize) -> u64 {
    node as u64 + 1
}
