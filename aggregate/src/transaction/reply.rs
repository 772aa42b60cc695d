//! The reply of a changing operation: kept in its record, and given again to whoever asks again (I6).

use baton_types::{Error, Kind, Result};
use bytes::{Buf, BufMut, Bytes};

/// Most bytes of an answer: what the file service tells of a file, with room to spare.
pub const ANSWER_BYTES_MAX: usize = 158;

/// What became of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It was done; the bytes are the operation's own.
    Done(Bytes),
    /// It was refused, and changed nothing.
    Refused(Kind),
}

impl Reply {
    /// Done, with nothing to say.
    pub fn done() -> Reply {
        Reply::Done(Bytes::new())
    }

    /// As it lies in a record: the number of the kind, 0 for none, then the answer.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Reply::Done(answer) => {
                assert!(answer.len() <= ANSWER_BYTES_MAX, "an answer of {} bytes", answer.len());
                bytes.put_u16_le(0);
                bytes.put_slice(answer);
            }
            Reply::Refused(kind) => bytes.put_u16_le(*kind as u16),
        }
        bytes
    }

    /// The same from a record.
    ///
    /// # Errors
    /// `Damaged` for what no encoder wrote.
    pub fn decode(mut bytes: Bytes) -> Result<Reply> {
        let damaged = |why: String| Error::new(Kind::Damaged, "reply in a record").because(why);
        if bytes.len() < 2 {
            return Err(damaged(format!("{} bytes", bytes.len())));
        }
        match bytes.get_u16_le() {
            0 if bytes.len() <= ANSWER_BYTES_MAX => Ok(Reply::Done(bytes)),
            0 => Err(damaged(format!("an answer of {} bytes", bytes.len()))),
            number => match Kind::from_number(number.into()) {
                Some(kind) if bytes.is_empty() => Ok(Reply::Refused(kind)),
                _ => Err(damaged(format!("refused as number {number}"))),
            },
        }
    }

    /// The answer.
    ///
    /// # Errors
    /// What it was refused with; `on` names the thing.
    pub fn into_result(self, on: &str) -> Result<Bytes> {
        match self {
            Reply::Done(answer) => Ok(answer),
            Reply::Refused(kind) => Err(Error::new(kind, on)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for reply in [
            Reply::done(),
            Reply::Done(Bytes::from_static(&[7; ANSWER_BYTES_MAX])),
            Reply::Refused(Kind::Exists),
        ] {
            assert_eq!(Reply::decode(reply.encode().into()).unwrap(), reply);
        }
    }

    #[test]
    fn what_no_encoder_wrote_is_refused() {
        for bytes in [&[][..], &[1], &[255, 255], &[1, 0, 0], &[0; ANSWER_BYTES_MAX + 3]] {
            assert!(Reply::decode(Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
        }
    }
}
