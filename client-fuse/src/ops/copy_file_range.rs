//! `copy_file_range`: bytes from file to file, through this client, piece by piece.

use std::sync::Arc;

use baton_types::call::{At, Request};
use baton_types::limits::FRAME_PAYLOAD_BYTES_MAX;
use bytes::Bytes;

use crate::filesets::Pass;
use crate::handles::Handle;
use crate::mount::{Change, Mount};
use crate::waiting::Ask;

/// A call may copy less than it was asked to; so this one does, and others get their turn.
const PIECES_MAX: u64 = 16;
const PIECE: u64 = FRAME_PAYLOAD_BYTES_MAX as u64;

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
                Ok(pass) => mount.copy_on(Copy {
                    source: from,
                    from: source.offset,
                    target: to,
                    to: target.offset,
                    done: 0,
                    len: len.min(PIECES_MAX * PIECE),
                    pass,
                    ask: asked,
                }),
                Err(error) => asked.answer(Err(error)),
            });
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
