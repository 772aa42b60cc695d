//! The locks that programs have, as their server knows them: for the next owner, and for when a file is closed.

use std::collections::HashMap;

use baton_types::Fid;
use baton_types::call::{Lock, LockKind};

/// Of one fileset.
#[derive(Debug, Default)]
pub struct Locks {
    files: HashMap<Fid, Vec<Lock>>,
}

impl Locks {
    /// The server has set `lock`, or taken its range away.
    pub fn set(&mut self, fid: Fid, lock: Lock) {
        let held = self.files.entry(fid).or_default();
        let mut after = Vec::with_capacity(held.len() + 2);
        for old in held.drain(..) {
            if old.owner != lock.owner || old.last < lock.first || lock.last < old.first {
                after.push(old);
                continue;
            }
            if old.first < lock.first {
                after.push(Lock {
                    last: lock.first - 1,
                    ..old
                });
            }
            if old.last > lock.last {
                after.push(Lock {
                    first: lock.last + 1,
                    ..old
                });
            }
        }
        if lock.kind != LockKind::Unlock {
            after.push(lock);
        }
        *held = after;
        if held.is_empty() {
            self.files.remove(&fid);
        }
    }

    /// Whether `owner` has a lock on `fid`.
    pub fn has(&self, fid: Fid, owner: u64) -> bool {
        self.files
            .get(&fid)
            .is_some_and(|held| held.iter().any(|lock| lock.owner == owner))
    }

    /// All of them.
    pub fn all(&self) -> Vec<(Fid, Lock)> {
        let files = self.files.iter();
        files
            .flat_map(|(fid, held)| held.iter().map(|lock| (*fid, *lock)))
            .collect()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The server has forgotten all of them. Names the files that programs had locked.
    pub fn lost(&mut self) -> Vec<Fid> {
        self.files.drain().map(|(fid, _)| fid).collect()
    }
}

#[cfg(test)]
mod tests {
    use baton_types::{FilesetId, Vnode};

    use super::*;

    const FILE: Fid = Fid {
        fileset: FilesetId(12),
        vnode: Vnode::ROOT,
        unique: 3,
    };

    fn lock(owner: u64, first: u64, last: u64, kind: LockKind) -> Lock {
        Lock {
            owner,
            first,
            last,
            kind,
            pid: 1,
        }
    }

    fn ranges(locks: &Locks) -> Vec<(u64, u64, u64, LockKind)> {
        let mut all: Vec<_> = locks
            .all()
            .iter()
            .map(|(_, l)| (l.owner, l.first, l.last, l.kind))
            .collect();
        all.sort_by_key(|(owner, first, ..)| (*owner, *first));
        all
    }

    #[test]
    fn a_new_lock_replaces_what_it_covers_of_its_owner_alone() {
        let mut locks = Locks::default();
        locks.set(FILE, lock(1, 0, 99, LockKind::Read));
        locks.set(FILE, lock(2, 0, 99, LockKind::Read));
        locks.set(FILE, lock(1, 40, 59, LockKind::Write));
        let expected = [
            (1, 0, 39, LockKind::Read),
            (1, 40, 59, LockKind::Write),
            (1, 60, 99, LockKind::Read),
            (2, 0, 99, LockKind::Read),
        ];
        assert_eq!(ranges(&locks), expected);
    }

    #[test]
    fn unlocking_all_leaves_nothing_of_the_owner() {
        let mut locks = Locks::default();
        locks.set(FILE, lock(1, 5, u64::MAX, LockKind::Write));
        assert!(locks.has(FILE, 1) && !locks.has(FILE, 2));
        locks.set(FILE, lock(1, 0, u64::MAX, LockKind::Unlock));
        assert!(locks.is_empty());
    }
}
