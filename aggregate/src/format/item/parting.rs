//! A piece of what an owner leaves to the next one: its epoch, how many pieces there are, bytes.

use baton_types::{Epoch, Result};

use crate::format::reader::Reader;

/// A piece of a hand-over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parting {
    /// Who left it.
    pub epoch: Epoch,
    /// How many pieces there are.
    pub count: u32,
    /// Its part of the whole.
    pub bytes: Vec<u8>,
}

impl Parting {
    /// Bytes in one: with its head and its key it fits an item.
    pub const BYTES_MAX: usize = 1_900;

    /// All pieces of `bytes`: one at least.
    pub fn cut(epoch: Epoch, bytes: &[u8]) -> Vec<Parting> {
        let pieces: Vec<&[u8]> = match bytes {
            [] => vec![bytes],
            bytes => bytes.chunks(Parting::BYTES_MAX).collect(),
        };
        let piece = |part: &&[u8]| Parting {
            epoch,
            count: pieces.len() as u32,
            bytes: part.to_vec(),
        };
        pieces.iter().map(piece).collect()
    }

    /// The whole that `epoch` left, if all of it is there and nothing else.
    pub fn join(epoch: Epoch, pieces: &[Parting]) -> Option<Vec<u8>> {
        let is_of_it = |piece: &Parting| piece.epoch == epoch && piece.count as usize == pieces.len();
        (!pieces.is_empty() && pieces.iter().all(is_of_it))
            .then(|| pieces.iter().flat_map(|piece| piece.bytes.iter().copied()).collect())
    }

    /// As it lies on the disk.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(12 + self.bytes.len());
        bytes.extend(self.epoch.0.to_le_bytes());
        bytes.extend(self.count.to_le_bytes());
        bytes.extend(&self.bytes);
        bytes
    }

    /// The piece in these bytes.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn decode(bytes: &[u8]) -> Result<Parting> {
        let mut reader = Reader::new("hand-over", bytes);
        let (epoch, count) = (Epoch(reader.u64()?), reader.u32()?);
        let bytes = reader.take(reader.len())?.to_vec();
        Ok(Parting { epoch, count, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_is_what_was_cut_and_nothing_less() {
        for len in [0, 1, Parting::BYTES_MAX, Parting::BYTES_MAX + 1, 10_000] {
            let bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let pieces = Parting::cut(Epoch(41), &bytes);
            let read: Vec<Parting> = pieces
                .iter()
                .map(|piece| Parting::decode(&piece.encode()).unwrap())
                .collect();
            assert_eq!(read, pieces);
            assert_eq!(Parting::join(Epoch(41), &pieces), Some(bytes));
            assert_eq!(Parting::join(Epoch(42), &pieces), None, "another one's");
            assert_eq!(Parting::join(Epoch(41), &pieces[1..]), None, "a piece is missing");
        }
        assert!(Parting::decode(&[0; 11]).is_err());
    }
}
