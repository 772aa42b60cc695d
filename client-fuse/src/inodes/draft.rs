//! What a file will be when all that was asked for is done, as far as that is certain; and what failed of that.

use std::sync::Arc;

use baton_rpc::sessions::Who;
use baton_types::Error;
use baton_types::call::{At, Request};
use baton_types::file::{Attributes, SetAttributes, SetTime};

use super::Inode;
use crate::whole::SET_IDS;

/// A file that was made, and changed since, by a client that is alone.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    stay: u64,
    maker: Arc<Who>,
    attributes: Attributes,
}

/// Whether it is certain what a file is like after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Foreseen {
    Yes,
    No,
}

trait Foresee {
    fn foresee(&mut self, request: &Request, payload: u64) -> Foreseen;
}

impl Foresee for Attributes {
    /// What the server will make of it. Its own answer counts when it is there.
    fn foresee(&mut self, request: &Request, payload: u64) -> Foreseen {
        match request {
            Request::Write { at, time, .. } => {
                let end = match at {
                    At::Offset(offset) => offset + payload,
                    At::End => self.size + payload,
                };
                self.size = self.size.max(end);
                (self.modified, self.changed) = (*time, *time);
            }
            Request::Setattr { set, time, .. } if set.size.is_none() => {
                let moment = |to: SetTime| match to {
                    SetTime::Now => *time,
                    SetTime::To(moment) => moment,
                };
                self.mode = set.mode.unwrap_or(self.mode);
                self.uid = set.uid.unwrap_or(self.uid);
                self.gid = set.gid.unwrap_or(self.gid);
                self.accessed = set.accessed.map_or(self.accessed, moment);
                self.modified = set.modified.map_or(self.modified, moment);
                self.changed = *time;
            }
            Request::Rename { .. } => {}
            _ => return Foreseen::No,
        }
        match self.mode & SET_IDS {
            0 => Foreseen::Yes,
            _ => Foreseen::No, // the server judges these
        }
    }
}

impl Inode {
    /// `maker` made it during `stay`, and it is so.
    pub fn begin_draft(&self, stay: u64, maker: Arc<Who>, attributes: Attributes) {
        self.state.lock().draft = Some(Draft {
            stay,
            maker,
            attributes,
        });
    }

    /// A change of it is asked for: what it will be after that.
    pub fn foresee(&self, request: &Request, payload: u64) {
        let mut state = self.state.lock();
        let after = state
            .draft
            .as_mut()
            .map(|draft| draft.attributes.foresee(request, payload));
        if after == Some(Foreseen::No) {
            state.draft = None;
        }
    }

    /// Whether it is certain that `who` may set this, and what the file will be like.
    pub fn may_surely_set(&self, stay: u64, who: &Who, set: &SetAttributes) -> bool {
        let state = self.state.lock();
        let Some(draft) = state.draft.as_ref().filter(|draft| draft.stay == stay) else {
            return false;
        };
        let is_maker = (draft.maker.uid, draft.maker.gid, &draft.maker.groups) == (who.uid, who.gid, &who.groups);
        let is_same = |set: Option<u32>, now| set.is_none_or(|set| set == now);
        is_maker
            && set.size.is_none()
            && set.mode.is_none_or(|mode| mode & SET_IDS == 0)
            && is_same(set.uid, draft.attributes.uid)
            && is_same(set.gid, draft.attributes.gid)
    }

    /// What it will be, if that is certain.
    pub fn foreseen(&self) -> Option<Attributes> {
        self.state.lock().draft.as_ref().map(|draft| draft.attributes)
    }

    /// A change of it failed that a program was told is done.
    pub fn fail(&self, error: Error) {
        let mut state = self.state.lock();
        state.draft = None;
        state.failures = (state.failures.0 + 1, Some(error));
    }

    /// How often that was, and the last failure if it was since `seen`.
    pub fn failed_since(&self, seen: u64) -> (u64, Option<Error>) {
        let state = self.state.lock();
        let (count, last) = &state.failures;
        (*count, last.clone().filter(|_| *count > seen))
    }
}
