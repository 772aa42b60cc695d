//! `mkdir`: a directory, whose names are known from its beginning.

use std::sync::Arc;

use baton_rpc::sessions::Who;
use baton_types::call::Request;

use super::{Entry, New};
use crate::mount::Mount;
use crate::waiting::Ask;

impl Mount {
    /// Makes a directory.
    pub fn mkdir(&self, who: &Arc<Who>, new: New, ask: &Ask<Entry>) {
        let (maker, asked) = (who.clone(), ask.clone());
        let request = |place, newborn, time| Request::Mkdir { place, newborn, time };
        self.make(who, new, ask, request, move |mount, pass, directory, name, object| {
            pass.answer(&asked, |belief| {
                let object = object?;
                let found = mount.found(belief, &directory, Some(&name), &object)?;
                if let Some(stay) = belief.stay() {
                    mount.whole.made(object.fid, stay, &maker, object.attributes);
                    mount.inodes.get(found.number)?.begin_names(stay, object.attributes);
                }
                Ok(Entry::Found(found))
            });
        });
    }
}
