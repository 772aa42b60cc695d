//! `readlink`: where a symbolic link leads.

use std::sync::Arc;

use baton_rpc::sessions::Who;
use baton_types::call::Request;
use bytes::Bytes;

use crate::mount::Mount;
use crate::waiting::Ask;

impl Mount {
    /// The text of the symbolic link with this number.
    pub fn readlink(&self, who: &Arc<Who>, number: u64, ask: &Ask<Bytes>) {
        let (who, asked) = (who.clone(), ask.clone());
        self.with(number, ask, move |mount, inode, _| {
            let request = Request::Readlink { fid: inode.fid };
            mount.call(&who, request, Bytes::new(), move |answer| {
                asked.answer(answer.map(|(_, text)| text));
            });
        });
    }
}
