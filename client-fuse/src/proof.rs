//! The daemon's word to its guard: until when all that the kernel holds is true, and what that is.
//!
//! The kernel keeps pages, attributes and names without a time limit, and goes on showing them when the daemon is
//! stopped, and even when its connection is aborted. So each mount has a table that its guard sees: a date by which
//! the guard ends the mount unless the daemon sets a later one (I4), and the inodes that the guard then makes the
//! kernel forget, one by one.

use baton_types::{Error, Kind, Result, Time};
use parking_lot::Mutex;

use crate::table::{NODES_MAX, Table};

/// The guard ends a mount so long before its proof runs out, in microseconds: it looks four times a second, and
/// the kernel forgets a million inodes in about as long.
pub const GUARD_LEAD: Time = 750_000;

/// One mount's word to the guard.
#[derive(Debug)]
pub struct Proof {
    table: Table,
    free: Mutex<Free>,
}

/// Where the next node may stand.
#[derive(Debug, Default)]
struct Free {
    /// Indexes that are used no more.
    returned: Vec<u32>,
    /// From here on none was ever used.
    next: u32,
}

/// A node's place in the table.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the guard remembers the node until its place is given back"]
pub struct Seat(u32);

impl Proof {
    /// Of a mount that the kernel knows nothing of yet.
    ///
    /// # Errors
    /// When the system has no memory for it.
    pub fn new() -> Result<Proof> {
        Ok(Proof {
            table: Table::create()?,
            free: Mutex::default(),
        })
    }

    /// What the kernel holds of this mount is true until `until`. The guard ends the mount [`GUARD_LEAD`] before
    /// that, unless a later date is set; the daemon has to be done before, by invalidating what it cannot renew.
    pub fn extend(&self, until: Time) {
        self.table.extend(until);
    }

    /// The kernel holds nothing that could become untrue.
    pub fn nothing_cached(&self) {
        self.table.extend(Time::MAX);
    }

    /// To be called before the first answer that tells the kernel of `node`.
    ///
    /// # Errors
    /// `Limit` when the kernel knows [`NODES_MAX`] inodes of this mount.
    pub fn remember(&self, node: u64) -> Result<Seat> {
        let mut free = self.free.lock();
        let index = match free.returned.pop() {
            Some(index) => index,
            None if free.next < NODES_MAX => {
                free.next += 1;
                free.next - 1
            }
            None => {
                return Err(Error::new(Kind::Limit, "inodes").because(format!("the kernel knows {NODES_MAX} of them")));
            }
        };
        self.table.put(index, node);
        Ok(Seat(index))
    }

    /// The kernel has forgotten the node that has this seat.
    pub fn forget(&self, seat: Seat) {
        let mut free = self.free.lock();
        self.table.take(seat.0);
        free.returned.push(seat.0);
    }

    /// What the guard is given.
    pub fn table(&self) -> &Table {
        &self.table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_used_again_and_only_the_living_are_told() {
        let proof = Proof::new().unwrap();
        let first = proof.remember(1).unwrap();
        let second = proof.remember(7).unwrap();
        assert_ne!(first, second);
        proof.forget(first);
        assert_eq!(proof.table().nodes().collect::<Vec<_>>(), [7]);
        let third = proof.remember(8).unwrap();
        assert_eq!(proof.table().nodes().collect::<Vec<_>>(), [8, 7]);
        proof.forget(second);
        proof.forget(third);
        assert_eq!(proof.table().nodes().count(), 0);
    }

    #[test]
    fn a_mount_without_caches_needs_no_proof() {
        let proof = Proof::new().unwrap();
        assert_eq!(proof.table().until(), Time::MAX);
        proof.extend(5);
        assert_eq!(proof.table().until(), 5);
        proof.nothing_cached();
        assert_eq!(proof.table().until(), Time::MAX);
    }
}
