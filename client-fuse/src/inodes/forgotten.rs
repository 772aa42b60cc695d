//! Which files the numbers meant that the kernel has given back: a handle of `open_by_handle_at` has the number alone.

use std::collections::{HashMap, VecDeque};

use baton_types::Fid;

/// So many are remembered: as many handles as a backup program or an NFS server may have in use.
const FORGOTTEN_MAX: usize = 65_536;

/// The latest of them.
#[derive(Default)]
pub(super) struct Forgotten {
    by_number: HashMap<u64, Fid>,
    order: VecDeque<u64>,
}

impl Forgotten {
    /// Which file a number meant.
    pub fn get(&self, number: u64) -> Option<Fid> {
        self.by_number.get(&number).copied()
    }

    /// The kernel has given a number back.
    pub fn keep(&mut self, number: u64, fid: Fid) {
        if self.by_number.insert(number, fid).is_none() {
            self.order.push_back(number);
        }
        while self.order.len() > FORGOTTEN_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.by_number.remove(&oldest);
            }
        }
    }
}
