//! `mknod`: an empty file, a pipe, a socket's address, a device node.

use std::sync::Arc;

use baton_rpc::sessions::Who;
use baton_types::call::Request;
use baton_types::file::FileKind;

use super::{Entry, New};
use crate::mount::Mount;
use crate::waiting::Ask;

impl Mount {
    /// Makes something of `kind`.
    pub fn mknod(&self, who: &Arc<Who>, new: New, kind: FileKind, device: u64, ask: &Ask<Entry>) {
        self.make_entry(who, new, ask, move |place, newborn, time| match kind {
            FileKind::Regular => Request::Create { place, newborn, time },
            _ => Request::Mknod {
                place,
                newborn,
                kind,
                device,
                time,
            },
        });
    }
}
