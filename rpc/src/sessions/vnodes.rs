//! Vnodes that a session owns: names for what it makes, so that a replay makes the same (I6).
//!
//! Two ranges for each fileset: the next one is asked for when half of the first is used.

use std::collections::HashMap;

use baton_types::call::Newborn;
use baton_types::{FilesetId, Vnode};
use parking_lot::Mutex;

use super::Named;

/// Of one session.
#[derive(Default)]
pub(super) struct Vnodes {
    table: Mutex<HashMap<FilesetId, Ranges>>,
}

#[derive(Default)]
struct Ranges {
    /// First and end of what is left, and half of what there was.
    now: (u64, u64, u64),
    next: Option<(u64, u64)>,
    is_asked: bool,
    waiting: Vec<(u32, Named)>,
}

impl Ranges {
    fn take(&mut self) -> Option<Vnode> {
        if self.now.0 == self.now.1 {
            let (first, end) = self.next.take()?;
            self.now = (first, end, (end - first) / 2);
        }
        let vnode = Vnode::new(self.now.0).ok()?;
        self.now.0 += 1;
        Some(vnode)
    }

    fn is_low(&self) -> bool {
        self.next.is_none() && self.now.1 - self.now.0 <= self.now.2
    }
}

impl Vnodes {
    /// Names a file, now or when there is a range. Returns whether a range is to be asked for.
    pub(super) fn take(&self, fileset: FilesetId, mode: u32, named: Named) -> bool {
        let mut table = self.table.lock();
        let ranges = table.entry(fileset).or_default();
        let vnode = ranges.take();
        let is_to_ask = ranges.is_low() && !ranges.is_asked;
        ranges.is_asked |= is_to_ask;
        match vnode {
            Some(vnode) => {
                drop(table);
                named(Ok(newborn(vnode, mode)));
            }
            None => ranges.waiting.push((mode, named)),
        }
        is_to_ask
    }

    /// A range was given.
    pub(super) fn put(&self, fileset: FilesetId, first: Vnode, count: u32) {
        let mut table = self.table.lock();
        let ranges = table.entry(fileset).or_default();
        ranges.is_asked = false;
        ranges.next = Some((first.number(), first.number() + u64::from(count)));
        let waiting = std::mem::take(&mut ranges.waiting);
        let mut named = Vec::new();
        for (mode, then) in waiting {
            match ranges.take() {
                Some(vnode) => named.push((then, newborn(vnode, mode))),
                None => ranges.waiting.push((mode, then)),
            }
        }
        drop(table);
        named.into_iter().for_each(|(then, newborn)| then(Ok(newborn)));
    }

    /// None was given: those who wait are told why.
    pub(super) fn refused(&self, fileset: FilesetId, error: &baton_types::Error) {
        let waiting = match self.table.lock().get_mut(&fileset) {
            Some(ranges) => {
                ranges.is_asked = false;
                std::mem::take(&mut ranges.waiting)
            }
            None => Vec::new(),
        };
        waiting.into_iter().for_each(|(_, named)| named(Err(error.clone())));
    }

    /// The session is over: its ranges are somebody else's.
    pub(super) fn clear(&self) {
        self.table.lock().values_mut().for_each(|ranges| {
            (ranges.now, ranges.next) = ((0, 0, 0), None);
        });
    }
}

fn newborn(vnode: Vnode, mode: u32) -> Newborn {
    let unique = rand::random();
    Newborn { vnode, unique, mode }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const FILESET: FilesetId = FilesetId(4);

    fn taker(into: &Arc<Mutex<Vec<u64>>>) -> Named {
        let into = into.clone();
        Box::new(move |newborn| into.lock().push(newborn.map_or(0, |n| n.vnode.number())))
    }

    #[test]
    fn every_name_is_given_once_and_the_next_range_is_asked_for_in_time() {
        let (vnodes, taken) = (Vnodes::default(), Arc::new(Mutex::new(Vec::new())));
        assert!(vnodes.take(FILESET, 0, taker(&taken)), "there is none yet");
        assert!(!vnodes.take(FILESET, 0, taker(&taken)), "it was asked for");
        vnodes.put(FILESET, Vnode::new(100).unwrap(), 8);
        assert_eq!(*taken.lock(), [100, 101]);
        let asked: Vec<bool> = (0..4).map(|_| vnodes.take(FILESET, 0, taker(&taken))).collect();
        assert_eq!(asked, [false, true, false, false], "at the half");
        vnodes.put(FILESET, Vnode::new(200).unwrap(), 8);
        let asked = (0..4).filter(|_| vnodes.take(FILESET, 0, taker(&taken))).count();
        assert_eq!(asked, 0);
        assert_eq!(*taken.lock(), [100, 101, 102, 103, 104, 105, 106, 107, 200, 201]);
    }

    #[test]
    fn who_waits_is_told_why_there_is_none_and_nothing_outlives_the_session() {
        let (vnodes, taken) = (Vnodes::default(), Arc::new(Mutex::new(Vec::new())));
        vnodes.take(FILESET, 0, taker(&taken));
        let error = baton_types::Error::new(baton_types::Kind::Limit, "fileset");
        vnodes.refused(FILESET, &error);
        assert_eq!(*taken.lock(), [0]);
        vnodes.put(FILESET, Vnode::new(100).unwrap(), 8);
        vnodes.clear();
        assert!(vnodes.take(FILESET, 0, taker(&taken)));
        assert_eq!(*taken.lock(), [0]);
    }
}
