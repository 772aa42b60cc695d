//! `getattr`: from memory while alone in the fileset, else from the server.

use std::sync::Arc;

use baton_rpc::sessions::Who;
use baton_types::call::Request;
use bytes::Bytes;

use super::lookup::object;
use super::{Keeps, Stat};
use crate::filesets::Pass;
use crate::inodes::Inode;
use crate::mount::{Mount, ROOT};
use crate::pages::Reading;
use crate::waiting::Ask;

impl Mount {
    /// The attributes of the inode with this number. With a handle the kernel asks before it reads by that through
    /// its pages, or looks for the file's end.
    pub fn getattr(&self, who: &Arc<Who>, number: u64, handle: Option<u64>, ask: &Ask<Stat>) {
        let (who, asked) = (who.clone(), ask.clone());
        self.with(number, ask, move |mount, inode, pass| {
            if remembered(&inode, &pass, &asked) {
                return;
            }
            let handle = handle.and_then(|handle| mount.handles.get(handle).ok());
            match handle.filter(|handle| handle.keeps == Keeps::On && !pass.is_alone()) {
                Some(handle) => mount.make_good(Reading {
                    handle,
                    pass,
                    ask: asked,
                }),
                None => mount.ask_attributes(&who, inode, pass, asked),
            }
        });
        if number == ROOT {
            self.answer_root_late(ask);
        }
    }

    fn ask_attributes(&self, who: &Arc<Who>, inode: Arc<Inode>, pass: Pass, ask: Ask<Stat>) {
        let look = inode.look();
        self.call(who, Request::Getattr { fid: inode.fid }, Bytes::new(), move |answer| {
            let object = match object(answer) {
                Ok(object) => object,
                Err(error) => return ask.answer(Err(error)),
            };
            pass.answer(&ask, |belief| {
                let belief = belief.of(inode.fid);
                if let Some(stay) = belief.stay() {
                    inode.learn(look, stay, &object.attributes);
                }
                Ok(Stat {
                    number: inode.number,
                    attributes: object.attributes,
                    keeps: Keeps::of(belief),
                })
            });
        });
    }
}

/// Answers from memory, if it can.
fn remembered(inode: &Inode, pass: &Pass, ask: &Ask<Stat>) -> bool {
    pass.believe(|belief| {
        let Some(stay) = belief.stay() else { return false };
        // With each name that is made the kernel forgets what the directory is like, and asks before the next.
        let Some(attributes) = inode.believed(stay).or_else(|| inode.foreseen_directory(stay)) else {
            return false;
        };
        ask.answer(Ok(Stat {
            number: inode.number,
            attributes,
            keeps: Keeps::On,
        }));
        true
    })
}
