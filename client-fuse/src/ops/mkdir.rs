//! `mkdir`: a directory.

use std::sync::Arc;

use baton_rpc::sessions::Who;
use baton_types::call::Request;

use super::{Entry, New};
use crate::mount::Mount;
use crate::waiting::Ask;

impl Mount {
    /// Makes a directory.
    pub fn mkdir(&self, who: &Arc<Who>, new: New, ask: &Ask<Entry>) {
        self.make_entry(who, new, ask, |place, newborn, time| Request::Mkdir {
            place,
            newborn,
            time,
        });
    }
}
