//! Quota: what a fileset may hold, in bytes and in files.
//!
//! A change is held against what the fileset would hold after it, under the same lock that makes it: the limit is exact,
//! and what frees room makes room at once. Only growth is refused: a fileset whose quota was lowered under what it holds
//! can be read, overwritten and emptied. Two kinds of changes are never refused: the store's own, and what was accepted
//! once and is said again after a takeover (I5), for the clients say it again in another order than the first time.

use baton_types::{Error, Kind, Result};

use super::fileset::{Standing, State};
use crate::format::BLOCK_BYTES;
use crate::transaction::{Operation, SessionId, Usage};

impl State {
    /// Whether `operation` may leave the fileset with `after`.
    ///
    /// # Errors
    /// `Quota` if that is more than before, and more than it may hold.
    pub(super) fn allow(&self, standing: Standing, operation: &Operation, after: Usage) -> Result<()> {
        if standing == Standing::Accepted || operation.session == SessionId::default() {
            return Ok(());
        }
        let (header, before) = (&self.header, self.usage);
        let is_over = |limit, before, after| limit > 0 && after > limit && after > before;
        let refuse = |limit: String| {
            Err(Error::new(Kind::Quota, format!("fileset {}", header.name))
                .because(format!("its quota of {limit} is used up"))
                .remedy("delete something, or have the quota raised: fts setquota"))
        };
        // What was promised counts as if it were there.
        let [before_bytes, after_bytes] =
            [before, after].map(|usage| usage.bytes + usage.promised * BLOCK_BYTES as u64);
        if is_over(header.quota_bytes, before_bytes, after_bytes) {
            return refuse(format!("{} bytes", header.quota_bytes));
        }
        if is_over(header.quota_files, before.files, after.files) {
            return refuse(format!("{} files", header.quota_files));
        }
        Ok(())
    }
}
