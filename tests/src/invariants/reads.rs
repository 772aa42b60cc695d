//! A linearizable read sees all that was acknowledged before it began.

use super::Verdict;

/// How far acknowledgements have come.
#[derive(Debug, Default)]
pub struct Reads {
    acknowledged: u64,
}

impl Reads {
    /// A change was acknowledged as done at `index`.
    pub fn acknowledged(&mut self, index: u64) {
        self.acknowledged = self.acknowledged.max(index);
    }

    /// A read begins now: it has to see this index.
    pub fn begin(&self) -> u64 {
        self.acknowledged
    }

    /// A read that had to see `wanted` waited for `read` and saw the state as of `seen`.
    ///
    /// # Errors
    /// It did not.
    pub fn seen(&self, wanted: u64, read: u64, seen: u64) -> Verdict {
        if read < wanted {
            return Err(format!(
                "index {wanted} was acknowledged before a read that took {read} for the latest"
            ));
        }
        if seen < read {
            return Err(format!("a read that waited for index {read} saw only {seen}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_read_is_noticed() {
        let mut reads = Reads::default();
        reads.acknowledged(7);
        reads.acknowledged(5);
        let wanted = reads.begin();
        reads.acknowledged(9);
        assert_eq!(reads.seen(wanted, 7, 8), Ok(()));
        assert!(reads.seen(wanted, 6, 9).is_err());
        assert!(reads.seen(wanted, 8, 7).is_err());
    }
}
