//! `copy_file_range`: bytes from file to file, piece by piece. Within a fileset, and from its snapshots, the server lets
//! the files share whole blocks, and no byte moves; the rest goes through this client.

use std::sync::Arc;

use baton_types::Kind;
use baton_types::call::{At, Request};
use baton_types::limits::{COPY_BYTES_MAX, FRAME_PAYLOAD_BYTES_MAX};
use bytes::Bytes;

use super::lookup::object;
use crate::filesets::Pass;
use crate::handles::Handle;
use crate::mount::{Change, Mount};
use crate::waiting::Ask;

/// A call may copy less than it was asked to; so this one does, and others get their turn.
const PIECES_MAX: u64 = 16;
const PIECE: u64 = FRAME_PAYLOAD_BYTES_MAX as u64;
/// What the store shares is made of these.
const BLOCK: u64 = 4 << 10;
/// The same of pieces that are shared: each is a round trip, and nothing else.
const SHARED_MAX: u64 = 128;

/// A place in an open file.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// By which handle.
    pub handle: u64,
    /// From here on.
    pub offset: u64,
}

/// What is to be copied, and how far that is.
struct Copy {
    source: Arc<Handle>,
    from: u64,
    target: Arc<Handle>,
    to: u64,
    done: u64,
    len: u64,
    pass: Pass,
    ask: Ask<u32>,
}

/// Less than that is copied sooner than it is asked how long the file is.
const SHARED_MIN: u64 = 64 << 10;

impl Mount {
    /// Copies up to `len` bytes; the answer says how many.
    pub fn copy_file_range(&self, source: Piece, target: Piece, len: u64, ask: &Ask<u32>) {
        let usable = |piece: Piece| {
            self.handles
                .get(piece.handle)
                .and_then(|handle| handle.usable().map(|()| handle))
        };
        let handles = usable(source).and_then(|from| Ok((from, usable(target)?)));
        let (from, to) = match handles {
            Ok(handles) => handles,
            Err(error) => return ask.answer(Err(error)),
        };
        let asked = ask.clone();
        let filesets = [from.inode.fid.fileset, to.inode.fid.fileset];
        self.enter(filesets[0], move |mount, entered| {
            if let Err(error) = entered {
                return asked.answer(Err(error));
            }
            mount.enter(filesets[1], move |mount, pass| match pass {
                Ok(pass) => mount.begin_copy(Copy {
                    source: from,
                    from: source.offset,
                    target: to,
                    to: target.offset,
                    done: 0,
                    len,
                    pass,
                    ask: asked,
                }),
                Err(error) => asked.answer(Err(error)),
            });
        });
    }

    /// Shares what can be shared, if that is worth a question.
    fn begin_copy(&self, mut copy: Copy) {
        let [from, to] = [&copy.source, &copy.target].map(|handle| handle.inode.fid.fileset);
        let is_aligned = copy.from.is_multiple_of(BLOCK) && copy.to.is_multiple_of(BLOCK);
        if from.live() != to || !is_aligned || copy.len < SHARED_MIN {
            copy.len = copy.len.min(PIECES_MAX * PIECE);
            return self.copy_on(copy);
        }
        let mount = self.this();
        let request = Request::Getattr {
            fid: copy.source.inode.fid,
        };
        self.call(
            &copy.source.who.clone(),
            request,
            Bytes::new(),
            move |answer| match object(answer) {
                Ok(object) => {
                    copy.len = copy.len.min(object.attributes.size.saturating_sub(copy.from));
                    mount.share_on(copy);
                }
                Err(error) => copy.stop(error),
            },
        );
    }

    fn share_on(&self, mut copy: Copy) {
        let left = copy.len - copy.done;
        if left == 0 || copy.ask.is_over() || copy.done >= SHARED_MAX * COPY_BYTES_MAX {
            return copy.ask.answer(Ok(copy.done as u32));
        }
        let fid = copy.target.inode.fid;
        let len = left.min(COPY_BYTES_MAX);
        let change = Change {
            who: copy.target.who.clone(),
            pass: copy.pass.clone(),
            about: Some(copy.target.inode.clone()),
            others: Vec::new(),
            request: Request::Copy {
                source: copy.source.inode.fid,
                from: copy.from + copy.done,
                fid,
                to: copy.to + copy.done,
                len,
                time: self.sessions().date(fid.fileset),
            },
            payload: Bytes::new(),
        };
        self.change(change, move |mount, _, object| match object {
            Ok(_) => {
                copy.done += len;
                mount.share_on(copy);
            }
            // It got shorter meanwhile, or lies inline, or has more to keep of a block than a copy may.
            Err(error) if matches!(error.kind, Kind::Unsupported | Kind::Invalid) => {
                copy.len = copy.len.min(copy.done + PIECES_MAX * PIECE);
                mount.copy_on(copy);
            }
            Err(error) => copy.stop(error),
        });
    }

    fn copy_on(&self, copy: Copy) {
        let left = copy.len - copy.done;
        if left == 0 || copy.ask.is_over() {
            return copy.ask.answer(Ok(copy.done as u32));
        }
        let request = Request::Read {
            fid: copy.source.inode.fid,
            offset: copy.from + copy.done,
            len: left.min(PIECE) as u32,
        };
        let mount = self.this();
        self.call(
            &copy.source.who.clone(),
            request,
            Bytes::new(),
            move |answer| match answer {
                Ok((_, bytes)) if bytes.is_empty() => copy.ask.answer(Ok(copy.done as u32)),
                Ok((_, bytes)) => mount.copy_piece(copy, bytes),
                Err(error) => copy.stop(error),
            },
        );
    }

    fn copy_piece(&self, mut copy: Copy, bytes: Bytes) {
        let fid = copy.target.inode.fid;
        let len = bytes.len() as u64;
        let change = Change {
            who: copy.target.who.clone(),
            pass: copy.pass.clone(),
            about: Some(copy.target.inode.clone()),
            others: Vec::new(),
            request: Request::Write {
                fid,
                at: At::Offset(copy.to + copy.done),
                time: self.sessions().date(fid.fileset),
            },
            payload: bytes,
        };
        self.change(change, move |mount, _, object| match object {
            Ok(_) => {
                copy.done += len;
                mount.copy_on(copy);
            }
            Err(error) => copy.stop(error),
        });
    }
}

impl Copy {
    /// What was copied before a failure counts; the failure comes with the next call.
    fn stop(self, error: baton_types::Error) {
        match self.done {
            0 => self.ask.answer(Err(error)),
            done => self.ask.answer(Ok(done as u32)),
        }
    }
}
