//! The bytes of a file as they were: its blocks of then where the store can, and else a copy.

use baton_types::call::{At, Request};
use baton_types::file::{Object, SetAttributes};
use baton_types::limits::COPY_BYTES_MAX;
use baton_types::{Error, Fid, Kind, Result};
use bytes::Bytes;

use super::walk::Walk;

/// Bytes copied at once: a frame's payload.
const COPY_BYTES: u64 = 1 << 20;
/// Smaller files are copied: most of them lie inline, or in few blocks.
const SHARED_MIN: u64 = 64 << 10;

impl Walk<'_> {
    /// All bytes of a file as they were; what was zero takes no room.
    pub(super) fn copy(&self, then: Object, now: Fid) -> Result<()> {
        let size = then.attributes.size;
        if size >= SHARED_MIN && self.share(then, now)? {
            return Ok(());
        }
        for size in [0, size] {
            let set = SetAttributes {
                size: Some(size),
                ..SetAttributes::default()
            };
            self.setattr(now, set)?;
        }
        let mut offset = 0;
        while offset < size {
            let len = COPY_BYTES.min(size - offset) as u32;
            let (_, bytes) = self.inside.ask(Request::Read {
                fid: then.fid,
                offset,
                len,
            })?;
            if bytes.is_empty() {
                let short = Error::new(Kind::Damaged, format!("file {}", then.fid));
                return Err(short.because(format!("it ends at {offset}, and says {size}")));
            }
            let next = offset + bytes.len() as u64;
            if bytes.iter().any(|byte| *byte != 0) {
                let write = Request::Write {
                    fid: now,
                    at: At::Offset(offset),
                    time: self.inside.date(),
                };
                self.inside.change(write, bytes)?;
            }
            offset = next;
        }
        Ok(())
    }

    /// The file takes back its blocks of then, and keeps those that it has still: false if some have to be copied.
    fn share(&self, then: Object, now: Fid) -> Result<bool> {
        let size = then.attributes.size;
        let set = SetAttributes {
            size: Some(size),
            ..SetAttributes::default()
        };
        self.setattr(now, set)?;
        let mut offset = 0;
        while offset < size {
            let len = COPY_BYTES_MAX.min(size - offset);
            let copy = Request::Copy {
                source: then.fid,
                from: offset,
                fid: now,
                to: offset,
                len,
                time: self.inside.date(),
            };
            match self.inside.change(copy, Bytes::new()) {
                Ok(_) => offset += len,
                Err(error) if error.kind == Kind::Unsupported => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
