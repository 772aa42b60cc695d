//! The frame header of the file-service wire: 32 bytes, little-endian, the same both ways.
//!
//! ```text
//! 0         4            8          16   18    19     20       24      26        28         32
//! ┌─────────┬────────────┬──────────┬────┬─────┬──────┬────────┬───────┬─────────┬──────────┐
//! │meta_len │payload_len │ session  │ op │kind │flags │ caller │stream │ 0       │ sequence │
//! └─────────┴────────────┴──────────┴────┴─────┴──────┴────────┴───────┴─────────┴──────────┘
//! ```
//! (session, stream, sequence) names a call. Both lengths are checked against `limits.rs` here, before
//! anybody allocates for them.

use crate::limits::{FRAME_META_BYTES_MAX, FRAME_PAYLOAD_BYTES_MAX};
use crate::{Error, Kind, Result};

/// Bytes of an encoded [`FrameHeader`].
pub const FRAME_HEADER_BYTES: usize = 32;

/// What a frame is to its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Asks for something.
    Call = 1,
    /// Answers a call.
    Reply = 2,
    /// Tells something nobody asked for just now.
    Push = 3,
}

/// The first 32 bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes of prost-encoded metadata that follow.
    pub meta_len: u32,
    /// Bytes of raw payload after the metadata.
    pub payload_len: u32,
    /// Whose call this is; 0 before there is a session.
    pub session: u64,
    /// Which operation.
    pub op: u16,
    /// Call, reply or push.
    pub kind: FrameKind,
    /// Per-operation flags.
    pub flags: u8,
    /// On whose behalf, by a handle valid on this connection only.
    pub caller: u32,
    /// Which stream of the session; 0 is the ordered one.
    pub stream: u16,
    /// Counts the calls of a stream.
    pub sequence: u32,
}

impl FrameHeader {
    /// The bytes of this header.
    pub fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        bytes[0..4].copy_from_slice(&self.meta_len.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.payload_len.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.session.to_le_bytes());
        bytes[16..18].copy_from_slice(&self.op.to_le_bytes());
        bytes[18] = self.kind as u8;
        bytes[19] = self.flags;
        bytes[20..24].copy_from_slice(&self.caller.to_le_bytes());
        bytes[24..26].copy_from_slice(&self.stream.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.sequence.to_le_bytes());
        bytes
    }

    /// Reads a header from untrusted bytes.
    ///
    /// # Errors
    /// `Limit` when a length is over its bound; `Invalid` for an unknown kind or a reserved field in use.
    pub fn decode(bytes: &[u8; FRAME_HEADER_BYTES]) -> Result<FrameHeader> {
        let u16_at = |i: usize| u16::from_le_bytes([bytes[i], bytes[i + 1]]);
        let u32_at = |i: usize| u32::from_le_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
        let (meta_len, payload_len) = (u32_at(0), u32_at(4));
        for (what, len, max) in [
            ("metadata", meta_len, FRAME_META_BYTES_MAX),
            ("payload", payload_len, FRAME_PAYLOAD_BYTES_MAX),
        ] {
            if len > max {
                return Err(Error::new(Kind::Limit, "frame").because(format!("{what} of {len} bytes, {max} at most")));
            }
        }
        let kind = match bytes[18] {
            1 => FrameKind::Call,
            2 => FrameKind::Reply,
            3 => FrameKind::Push,
            other => return Err(Error::new(Kind::Invalid, "frame").because(format!("kind {other} is unknown"))),
        };
        if u16_at(26) != 0 {
            return Err(Error::new(Kind::Invalid, "frame").because("the reserved field is in use"));
        }
        Ok(FrameHeader {
            meta_len,
            payload_len,
            session: u64::from(u32_at(8)) | u64::from(u32_at(12)) << 32,
            op: u16_at(16),
            kind,
            flags: bytes[19],
            caller: u32_at(20),
            stream: u16_at(24),
            sequence: u32_at(28),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: FrameHeader = FrameHeader {
        meta_len: 17,
        payload_len: 4_096,
        session: 0x0102_0304_0506_0708,
        op: 9,
        kind: FrameKind::Reply,
        flags: 3,
        caller: 77,
        stream: 5,
        sequence: 1_000_000,
    };

    #[test]
    fn header_survives_the_wire() {
        assert_eq!(FrameHeader::decode(&SAMPLE.encode()).unwrap(), SAMPLE);
    }

    #[test]
    fn oversized_lengths_are_refused_before_allocation() {
        let big = FrameHeader {
            payload_len: FRAME_PAYLOAD_BYTES_MAX + 1,
            ..SAMPLE
        };
        assert_eq!(FrameHeader::decode(&big.encode()).unwrap_err().kind, Kind::Limit);
        let big = FrameHeader {
            meta_len: u32::MAX,
            ..SAMPLE
        };
        assert_eq!(FrameHeader::decode(&big.encode()).unwrap_err().kind, Kind::Limit);
    }

    #[test]
    fn unknown_kind_and_used_reserve_are_refused() {
        let mut bytes = SAMPLE.encode();
        bytes[18] = 9;
        assert_eq!(FrameHeader::decode(&bytes).unwrap_err().kind, Kind::Invalid);
        let mut bytes = SAMPLE.encode();
        bytes[27] = 1;
        assert_eq!(FrameHeader::decode(&bytes).unwrap_err().kind, Kind::Invalid);
    }
}
