//! Within a life, what is applied only grows: entry after entry without a hole, or by a snapshot.

use std::collections::BTreeMap;

use super::Verdict;

/// How far each life of each member has come.
#[derive(Debug, Default)]
pub struct AppliedGrows {
    last: BTreeMap<(u64, u64), u64>,
}

impl AppliedGrows {
    /// `member`, in its life of this number, applied the entry at `index`.
    ///
    /// # Errors
    /// It is not the one after the last.
    pub fn applied(&mut self, member: u64, life: u64, index: u64) -> Verdict {
        let last = self.last.entry((member, life)).or_default();
        if index != *last + 1 {
            return Err(format!("member {member} applied index {index} after {last}"));
        }
        *last = index;
        Ok(())
    }

    /// It took a snapshot as of `index`.
    ///
    /// # Errors
    /// It had come further already.
    pub fn installed(&mut self, member: u64, life: u64, index: u64) -> Verdict {
        let last = self.last.entry((member, life)).or_default();
        if index < *last {
            return Err(format!("member {member} took a snapshot of index {index} after {last}"));
        }
        *last = index;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_back_and_leap_are_noticed() {
        let mut grows = AppliedGrows::default();
        grows.applied(1, 1, 1).unwrap();
        grows.applied(1, 1, 2).unwrap();
        assert!(grows.applied(1, 1, 2).is_err(), "twice");
        assert!(grows.applied(1, 1, 4).is_err(), "a hole");
        grows.installed(1, 1, 9).unwrap();
        assert!(grows.installed(1, 1, 8).is_err(), "an older snapshot");
        grows.applied(1, 1, 10).unwrap();
        grows.applied(1, 2, 1).unwrap();
    }
}
