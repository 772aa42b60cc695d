//! Frames: a header, a little metadata, and a payload that is copied once.
//!
//! [`Assembly`] puts frames together from a byte stream: it says where the next bytes go, so that a payload is read
//! straight to where it stays. Its room is bounded before it is made: the header's lengths are checked. Buffers of
//! payloads come from a [`Pool`] and go back to it when the last who reads them is done.

use std::sync::{Arc, Weak};

use baton_types::limits::FRAME_PAYLOAD_BYTES_MAX;
use baton_types::{Error, FRAME_HEADER_BYTES, FrameHeader, FrameKind, Kind, Result};
use bytes::Bytes;
use parking_lot::Mutex;

/// Payloads below this are not worth a pooled buffer.
const POOLED_BYTES_MIN: usize = 64 << 10;
/// Buffers that a pool keeps: what four readers of 1 MiB with four calls each take.
const POOLED_MAX: usize = 16;

/// One message.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Its lengths are those of the parts below.
    pub header: FrameHeader,
    /// Names and attributes.
    pub meta: Bytes,
    /// Bulk bytes.
    pub payload: Bytes,
}

impl Frame {
    /// A frame named `name`, with the lengths set.
    ///
    /// # Errors
    /// `Limit` if a part is longer than a frame may carry.
    pub fn new(name: Name, kind: FrameKind, meta: Vec<u8>, payload: Bytes) -> Result<Frame> {
        let length = |len: usize| u32::try_from(len).map_err(|_| Error::new(Kind::Limit, "frame"));
        let header = FrameHeader {
            meta_len: length(meta.len())?,
            payload_len: length(payload.len())?,
            session: name.session,
            op: name.op,
            kind,
            flags: 0,
            caller: name.caller,
            stream: name.stream,
            sequence: name.sequence,
        };
        // What this side would refuse to read it does not send.
        FrameHeader::decode(&header.encode())?;
        let meta = meta.into();
        Ok(Frame { header, meta, payload })
    }

    /// Bytes on the wire.
    pub fn len(&self) -> usize {
        FRAME_HEADER_BYTES + self.meta.len() + self.payload.len()
    }

    /// Never: there is a header.
    pub fn is_empty(&self) -> bool {
        false
    }
}

/// What names a frame: its header but for lengths and kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Name {
    /// Whose call; 0 before there is a session.
    pub session: u64,
    /// Which operation.
    pub op: u16,
    /// For whom.
    pub caller: u32,
    /// Of a change its stream; else a number that tells the calls of a connection apart.
    pub stream: u16,
    /// Of a change; else 0.
    pub sequence: u32,
}

/// Buffers for large payloads.
#[derive(Debug, Default)]
pub struct Pool {
    free: Mutex<Vec<Vec<u8>>>,
}

/// A buffer that goes back to its pool.
struct Pooled {
    buffer: Vec<u8>,
    len: usize,
    pool: Weak<Pool>,
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            let mut free = pool.free.lock();
            if free.len() < POOLED_MAX {
                free.push(std::mem::take(&mut self.buffer));
            }
        }
    }
}

impl Pool {
    /// A buffer of at least `len` bytes; what is in it does not matter.
    fn take(&self, len: usize) -> Vec<u8> {
        if len < POOLED_BYTES_MIN {
            return vec![0; len];
        }
        let mut buffer = self.free.lock().pop().unwrap_or_default();
        if buffer.len() < len {
            // One size that fits all: a buffer that is too small now would be so again.
            buffer.resize(FRAME_PAYLOAD_BYTES_MAX as usize, 0);
        }
        buffer
    }

    fn seal(self: &Arc<Self>, buffer: Vec<u8>, len: usize) -> Bytes {
        if len < POOLED_BYTES_MIN {
            return buffer.into();
        }
        let pool = Arc::downgrade(self);
        Bytes::from_owner(Pooled { buffer, len, pool })
    }
}

/// A frame on its way in.
#[derive(Debug)]
pub struct Assembly {
    pool: Arc<Pool>,
    stage: Stage,
    filled: usize,
}

#[derive(Debug)]
enum Stage {
    Header([u8; FRAME_HEADER_BYTES]),
    Meta(FrameHeader, Vec<u8>),
    Payload(FrameHeader, Bytes, Vec<u8>),
}

impl Assembly {
    /// Between two frames.
    pub fn new(pool: Arc<Pool>) -> Assembly {
        Assembly {
            pool,
            stage: Stage::Header([0; FRAME_HEADER_BYTES]),
            filled: 0,
        }
    }

    /// Where the next bytes of the stream go: never empty.
    pub fn room(&mut self) -> &mut [u8] {
        let filled = self.filled;
        match &mut self.stage {
            Stage::Header(bytes) => &mut bytes[filled..],
            Stage::Meta(_, meta) => &mut meta[filled..],
            Stage::Payload(header, _, payload) => &mut payload[filled..header.payload_len as usize],
        }
    }

    /// `count` bytes were put there. Returns the frame that they complete.
    ///
    /// # Errors
    /// A header that cannot be: the stream is of no use after it.
    pub fn filled(&mut self, count: usize) -> Result<Option<Frame>> {
        self.filled += count;
        loop {
            let needed = match &self.stage {
                Stage::Header(_) => FRAME_HEADER_BYTES,
                Stage::Meta(header, _) => header.meta_len as usize,
                Stage::Payload(header, ..) => header.payload_len as usize,
            };
            if self.filled < needed {
                return Ok(None);
            }
            self.filled = 0;
            let begin = Stage::Header([0; FRAME_HEADER_BYTES]);
            match std::mem::replace(&mut self.stage, begin) {
                Stage::Header(bytes) => {
                    let header = FrameHeader::decode(&bytes)?;
                    self.stage = Stage::Meta(header, vec![0; header.meta_len as usize]);
                }
                Stage::Meta(header, meta) => {
                    let payload = self.pool.take(header.payload_len as usize);
                    self.stage = Stage::Payload(header, meta.into(), payload);
                }
                Stage::Payload(header, meta, payload) => {
                    let payload = self.pool.seal(payload, header.payload_len as usize);
                    return Ok(Some(Frame { header, meta, payload }));
                }
            }
        }
    }

    /// True in the middle of a frame: a stream that ends here was cut off.
    pub fn is_within(&self) -> bool {
        self.filled > 0 || !matches!(self.stage, Stage::Header(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(meta: usize, payload: usize) -> Frame {
        let name = Name {
            session: 7,
            op: 43,
            caller: 1,
            stream: 3,
            sequence: 9,
        };
        let payload: Vec<u8> = (0..payload).map(|i| (i % 251) as u8).collect();
        Frame::new(name, FrameKind::Call, vec![5; meta], payload.into()).unwrap()
    }

    fn bytes(frame: &Frame) -> Vec<u8> {
        [&frame.header.encode()[..], &frame.meta, &frame.payload].concat()
    }

    /// Feeds `stream` in pieces of at most `piece` bytes.
    fn assembled(stream: &[u8], piece: usize) -> (Vec<Frame>, Assembly) {
        let (mut assembly, mut frames, mut rest) = (Assembly::new(Arc::default()), Vec::new(), stream);
        while !rest.is_empty() {
            let room = assembly.room();
            assert!(!room.is_empty());
            let count = room.len().min(piece).min(rest.len());
            room[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            frames.extend(assembly.filled(count).unwrap());
        }
        (frames, assembly)
    }

    #[test]
    fn frames_survive_any_cut_of_the_stream() {
        let sent = [
            frame(0, 0),
            frame(17, 0),
            frame(0, 100_000),
            frame(300, 70_000),
            frame(1, 1),
        ];
        let stream = sent.iter().flat_map(bytes).collect::<Vec<u8>>();
        for piece in [1, 7, 31, 32, 33, 4_096, usize::MAX] {
            let (frames, assembly) = assembled(&stream, piece);
            assert!(!assembly.is_within());
            assert_eq!(frames.len(), sent.len());
            for (one, other) in frames.iter().zip(&sent) {
                assert_eq!(
                    (one.header, &one.meta, &one.payload),
                    (other.header, &other.meta, &other.payload)
                );
            }
        }
    }

    #[test]
    fn half_a_frame_is_seen_to_be_one_and_a_bad_header_ends_the_stream() {
        let stream = bytes(&frame(10, 10));
        assert!(assembled(&stream[..40], 40).1.is_within());
        let mut assembly = Assembly::new(Arc::default());
        assembly.room().fill(0xff);
        assert!(assembly.filled(FRAME_HEADER_BYTES).is_err());
    }

    #[test]
    fn large_buffers_are_used_again_and_never_shared() {
        let pool = Arc::new(Pool::default());
        let first = pool.seal(pool.take(100_000), 100_000);
        let second = pool.seal(pool.take(200_000), 200_000);
        assert_ne!(first.as_ptr(), second.as_ptr());
        let at = first.as_ptr();
        drop(first);
        let third = pool.seal(pool.take(900_000), 900_000);
        assert_eq!((third.as_ptr(), third.len()), (at, 900_000));
        assert_eq!(pool.take(10).len(), 10);
    }

    #[test]
    fn what_no_frame_may_carry_is_not_sent() {
        let payload = vec![0; FRAME_PAYLOAD_BYTES_MAX as usize + 1];
        let refused = Frame::new(Name::default(), FrameKind::Call, Vec::new(), payload.into());
        assert_eq!(refused.unwrap_err().kind, Kind::Limit);
    }
}
