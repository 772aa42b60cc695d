//! Ranges of one file: what an owner holds once it has set a lock or taken it away.

use baton_types::ClientId;
use baton_types::call::{Lock, LockKind};

/// A lock that somebody holds or wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub client: ClientId,
    pub lock: Lock,
}

impl Held {
    /// Whose it is.
    pub fn owner(&self) -> (ClientId, u64) {
        (self.client, self.lock.owner)
    }
}

/// Whether two ranges have a byte in common.
pub(super) fn overlap(one: &Lock, other: &Lock) -> bool {
    one.first <= other.last && other.first <= one.last
}

/// The locks of a file after `wanted` replaced what its owner held of that range, by their first bytes. Neighbours of
/// one kind and owner have become one.
pub(super) fn changed(held: &[Held], wanted: &Held) -> Vec<Held> {
    let mut after = Vec::with_capacity(held.len() + 2);
    let mut new = *wanted;
    for old in held {
        if old.owner() != wanted.owner() {
            after.push(*old);
        } else if old.lock.kind == wanted.lock.kind && touch(&old.lock, &wanted.lock) {
            new.lock.first = new.lock.first.min(old.lock.first);
            new.lock.last = new.lock.last.max(old.lock.last);
        } else if overlap(&old.lock, &wanted.lock) {
            after.extend(before(old, wanted.lock.first));
            after.extend(behind(old, wanted.lock.last));
        } else {
            after.push(*old);
        }
    }
    if new.lock.kind != LockKind::Unlock {
        after.push(new);
    }
    after.sort_by_key(|held| (held.lock.first, held.client, held.lock.owner));
    after
}

/// Whether nothing is between two ranges.
fn touch(one: &Lock, other: &Lock) -> bool {
    one.first <= other.last.saturating_add(1) && other.first <= one.last.saturating_add(1)
}

/// The part of `held` before the byte `end`.
fn before(held: &Held, end: u64) -> Option<Held> {
    let mut part = *held;
    part.lock.last = end.checked_sub(1)?;
    (part.lock.first <= part.lock.last).then_some(part)
}

/// The part of `held` behind the byte `last`.
fn behind(held: &Held, last: u64) -> Option<Held> {
    let mut part = *held;
    part.lock.first = last.checked_add(1)?;
    (part.lock.first <= part.lock.last).then_some(part)
}
