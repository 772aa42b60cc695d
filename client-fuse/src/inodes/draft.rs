//! What a file will be when all that was asked for is done, as far as that is certain; and what failed of that.

use std::sync::Arc;

use baton_rpc::sessions::Who;
use baton_types::call::{At, Request};
use baton_types::file::{Attributes, FileKind, SetAttributes, SetTime};
use baton_types::{Error, Timestamp};

use super::Inode;
use crate::mount::Heard;
use crate::whole::SET_IDS;

/// A file or directory that was made, and changed since, by a client that is alone.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) stay: u64,
    /// Who made it here, if it was made here.
    maker: Option<Arc<Who>>,
    pub(super) attributes: Attributes,
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
            _ => return Foreseen::No,
        }
        match self.mode & SET_IDS {
            0 => Foreseen::Yes,
            _ => Foreseen::No, // the server judges these
        }
    }
}

/// What is made adds a name to its directory: with how many links to that, and when.
fn more_names(request: &Request) -> Option<(u32, Timestamp)> {
    match request {
        Request::Create { time, .. } => Some((0, *time)),
        Request::Mkdir { time, .. } => Some((1, *time)),
        _ => None,
    }
}

impl Inode {
    /// `maker` made it during `stay`, and it is so.
    pub fn begin_draft(&self, stay: u64, maker: Arc<Who>, attributes: Attributes) {
        self.state.lock().draft = Some(Draft {
            stay,
            maker: Some(maker),
            attributes,
        });
    }

    /// A change of it is asked for: what it will be after that.
    pub(crate) fn foresee(&self, request: &Request, payload: u64, heard: Heard) {
        let mut state = self.state.lock();
        let Some(draft) = &mut state.draft else { return };
        let after = match (heard, request) {
            (Heard::Late, Request::Rename { .. }) if self.kind != FileKind::Directory => Foreseen::Yes,
            (Heard::Late, _) => Foreseen::No, // it may be refused
            (Heard::Ahead, _) => draft.attributes.foresee(request, payload),
        };
        if after == Foreseen::No {
            state.draft = None;
        }
    }

    /// A change of a name in it is asked for: what the directory will be after that. To be followed by
    /// [`Inode::asked`] when the change is in its place among all others.
    pub(crate) fn foresee_name(&self, request: &Request, heard: Heard, stay: Option<u64>) {
        if self.kind != FileKind::Directory {
            return;
        }
        let mut state = self.state.lock();
        state.asking += 1;
        let (is_alone, more) = (state.asking == 1, more_names(request));
        let known = stay.and_then(|stay| state.known(stay).map(|attributes| (stay, attributes)));
        let before = state.draft.take();
        // Of two at once nobody knows yet which comes last, and dates the directory.
        if let (Heard::Ahead, Some((links, time)), Some((stay, mut attributes)), true) = (heard, more, known, is_alone)
        {
            attributes.size += 1;
            attributes.links += links;
            attributes.data_version = attributes.data_version.wrapping_add(1);
            (attributes.modified, attributes.changed) = (time, time);
            state.draft = Some(Draft {
                stay,
                maker: before.and_then(|before| before.maker),
                attributes,
            });
        }
    }

    /// A change of a name in it has its place.
    pub fn asked(&self) {
        let mut state = self.state.lock();
        state.asking = state.asking.saturating_sub(1);
    }

    /// Whether it is certain that `who` may set this, and what the file will be like.
    pub fn may_surely_set(&self, stay: u64, who: &Who, set: &SetAttributes) -> bool {
        let state = self.state.lock();
        let Some(draft) = state.draft.as_ref().filter(|draft| draft.stay == stay) else {
            return false;
        };
        let is_maker = |maker: &Arc<Who>| (maker.uid, maker.gid, &maker.groups) == (who.uid, who.gid, &who.groups);
        let is_same = |set: Option<u32>, now| set.is_none_or(|set| set == now);
        draft.maker.as_ref().is_some_and(is_maker)
            && set.size.is_none()
            && set.mode.is_none_or(|mode| mode & SET_IDS == 0)
            && is_same(set.uid, draft.attributes.uid)
            && is_same(set.gid, draft.attributes.gid)
    }

    /// What a directory will be when all that was asked for is done, if that is certain in `stay`.
    pub fn foreseen_directory(&self, stay: u64) -> Option<Attributes> {
        let state = self.state.lock();
        let is_it = |draft: &&Draft| draft.stay == stay && self.kind == FileKind::Directory;
        let draft = state.draft.as_ref().filter(is_it)?;
        Some(draft.attributes)
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
