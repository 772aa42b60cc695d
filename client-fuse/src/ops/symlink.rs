//! `symlink`: a symbolic link.

use std::sync::Arc;

use baton_rpc::sessions::Who;
use baton_types::call::Request;

use super::{Entry, New};
use crate::mount::Mount;
use crate::waiting::Ask;

/// Nobody checks the bits of a symbolic link; this is what `ls` shows everywhere.
pub const MODE: u32 = 0o777;

impl Mount {
    /// Makes a symbolic link that says `target`.
    pub fn symlink(&self, who: &Arc<Who>, new: New, target: Vec<u8>, ask: &Ask<Entry>) {
        self.make_entry(who, new, ask, |place, newborn, time| Request::Symlink {
            place,
            newborn,
            target,
            time,
        });
    }
}
