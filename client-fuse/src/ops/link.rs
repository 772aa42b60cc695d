//! `link`: another name for a file. Within its fileset only, and seen under one path of mount points.

use std::sync::Arc;

use baton_rpc::sessions::Who;
use baton_types::call::Request;
use bytes::Bytes;

use super::lookup::no_names;
use super::{Entry, Found, Keeps, New, apart, place};
use crate::mount::{Change, Mount};
use crate::waiting::Ask;

impl Mount {
    /// Gives the inode with this number the name `new`.
    pub fn link(&self, who: &Arc<Who>, number: u64, new: New, ask: &Ask<Entry>) {
        let file = match self.inodes.get(number) {
            Ok(file) => file,
            Err(error) => return ask.answer(Err(error)),
        };
        // The second time the file is kept: what is gone then is the directory.
        let is_kept = self.looks_again(who);
        let (who, asked) = (who.clone(), ask.clone());
        self.with(new.directory, ask, move |mount, directory, pass| {
            if directory.instance != file.instance {
                return asked.answer(Err(apart()));
            }
            let place = match place(&directory, &new.name) {
                Ok(place) => place,
                Err(error) => return asked.answer(Err(error)),
            };
            let name = place.name.clone();
            let change = Change {
                who,
                pass,
                about: Some(file.clone()),
                others: vec![directory.clone()],
                request: Request::Link {
                    fid: file.fid,
                    place,
                    time: mount.sessions().date(file.fid.fileset),
                },
                payload: Bytes::new(),
            };
            mount.change(change, move |mount, pass, object| {
                let object = match is_kept {
                    true => object.map_err(no_names),
                    false => object,
                };
                pass.answer(&asked, |belief| {
                    let found = mount.found(belief, &directory, Some(&name), &object?)?;
                    // Its attributes are taken in whatever was to be forgotten meanwhile.
                    Ok(Entry::Found(Found {
                        keeps: Keeps::Not,
                        ..found
                    }))
                });
            });
        });
    }
}
