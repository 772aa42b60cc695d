//! What an owner hands to the next one in a planned move, so that no client is waited for (I7).
//!
//! Who takes part in a fileset, and every session, is in the log already. What is not: which files each client holds
//! open, and its locks. They are written as the requests by which the client would say them again, each with its client
//! before it:
//!
//! ```text
//! client 16 · op u16 · meta_len u16 · meta
//! ```

use baton_proto::files::{decode_call, encode_call, op_of};
use baton_types::call::{Lock, Patience, Request};
use baton_types::{ClientId, Error, Fid, Kind, Result};

const HEAD_BYTES: usize = 20;

/// What clients hold besides their part in filesets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handed {
    /// Files that are held open.
    pub opens: Vec<(ClientId, Fid)>,
    /// Locks that are held.
    pub locks: Vec<(ClientId, Fid, Lock)>,
}

impl Handed {
    /// As it is left to the next owner.
    pub fn encode(&self) -> Vec<u8> {
        let opens = self
            .opens
            .iter()
            .map(|(client, fid)| (client, Request::Open { fid: *fid }));
        let patience = Patience::None;
        let locks = self.locks.iter().map(|(client, fid, lock)| {
            let (fid, lock) = (*fid, *lock);
            (client, Request::Lock { fid, lock, patience })
        });
        let mut bytes = Vec::new();
        for (client, request) in opens.chain(locks) {
            let meta = encode_call(&request, 0);
            bytes.extend(client.0.as_bytes());
            bytes.extend(op_of(&request).to_le_bytes());
            bytes.extend((meta.len() as u16).to_le_bytes());
            bytes.extend(meta);
        }
        bytes
    }

    /// What the last owner left in these bytes.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn decode(mut bytes: &[u8]) -> Result<Handed> {
        let mut handed = Handed::default();
        while !bytes.is_empty() {
            let (client, request, rest) = next(bytes)?;
            match request {
                Request::Open { fid } => handed.opens.push((client, fid)),
                Request::Lock { fid, lock, .. } => handed.locks.push((client, fid, lock)),
                _ => return Err(damaged("a request that holds nothing")),
            }
            bytes = rest;
        }
        Ok(handed)
    }
}

fn next(bytes: &[u8]) -> Result<(ClientId, Request, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or_else(cut_short)?;
    let [client @ .., op_low, op_high, len_low, len_high] = head;
    let len = usize::from(u16::from_le_bytes([*len_low, *len_high]));
    let (meta, rest) = rest.split_at_checked(len).ok_or_else(cut_short)?;
    let (request, _) =
        decode_call(u16::from_le_bytes([*op_low, *op_high]), meta).map_err(|error| damaged(error.to_string()))?;
    Ok((ClientId::from_slice(client)?, request, rest))
}

fn cut_short() -> Error {
    damaged("cut short")
}

fn damaged(reason: impl Into<String>) -> Error {
    Error::new(Kind::Damaged, "hand-over").because(reason)
}

#[cfg(test)]
mod tests {
    use baton_types::call::LockKind;
    use baton_types::{FilesetId, Vnode};

    use super::*;

    #[test]
    fn what_is_left_is_what_is_found() {
        let (one, other) = (ClientId::random(), ClientId::random());
        let fid = |vnode| Fid {
            fileset: FilesetId(4),
            vnode: Vnode::new(vnode).unwrap(),
            unique: vnode * 3,
        };
        let lock = Lock {
            owner: 77,
            first: 0,
            last: u64::MAX,
            kind: LockKind::Write,
            pid: 1,
        };
        let handed = Handed {
            opens: vec![(one, fid(7)), (other, fid(7)), (other, fid(8))],
            locks: vec![(other, fid(8), lock)],
        };
        let bytes = handed.encode();
        assert_eq!(Handed::decode(&bytes), Ok(handed));
        assert_eq!(Handed::decode(&[]), Ok(Handed::default()));
        for len in 1..HEAD_BYTES {
            assert_eq!(Handed::decode(&bytes[..len]).unwrap_err().kind, Kind::Damaged);
        }
        assert_eq!(
            Handed::decode(&bytes[..bytes.len() - 1]).unwrap_err().kind,
            Kind::Damaged
        );
    }
}
