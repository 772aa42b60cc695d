//! A batch: the records of one group commit, and its link to the batch before.
//!
//! Header, records one after the other, zeros up to a whole block. Whether it is the *next* batch of a log (its
//! epoch, its first record, the checksum before it) is for the reader of the log to say.

use baton_types::{AggregateId, Epoch, Error, Kind, Result};
use bytes::Bytes;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::reader::{Reader, newer, zeros};
use crate::format::{BLOCK_BYTES, Checksum, Lsn, Record};

const WHAT: &str = "batch";
const MAGIC: [u8; 4] = *b"BTNb";
const VERSION: u16 = 1;
const CHECKSUM_AT: usize = 72;

/// The first 128 bytes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Whose log it is.
    pub aggregate: AggregateId,
    /// The epoch that wrote it.
    pub epoch: Epoch,
    /// Its first record.
    pub first: Lsn,
    /// Records up to this one, with their data, were flushed when the batch was built.
    pub settled: Lsn,
    /// How many records follow.
    pub count: u32,
    /// Its length in whole blocks, header and padding included.
    pub bytes: u32,
    /// The checksum of the batch before.
    pub previous: Checksum,
    /// The checksum of this one, in which it counts as zero itself.
    pub checksum: Checksum,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Layout {
    magic: [u8; 4],
    version: U16,
    flags: U16,
    aggregate: [u8; 16],
    epoch: U64,
    first: U64,
    settled: U64,
    count: U32,
    bytes: U32,
    previous: [u8; 16],
    checksum: [u8; 16],
    zero: [u8; 40],
}

const _: () = assert!(std::mem::offset_of!(Layout, checksum) == CHECKSUM_AT);

impl BatchHeader {
    /// What every batch begins with.
    pub const BYTES: usize = size_of::<Layout>();

    /// Ends the batch in `bytes`, which begins with room for the header, by padding and checksum; gives the header
    /// as it was written. Its `bytes` and `checksum` need not be filled in.
    ///
    /// # Panics
    /// If there is no room for the header, or 4 GiB of records.
    pub fn seal(mut self, bytes: &mut Vec<u8>) -> BatchHeader {
        bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
        self.bytes = u32::try_from(bytes.len()).expect("a batch is checked against its limit as it grows");
        self.checksum = Checksum::default();
        bytes[..Self::BYTES].copy_from_slice(self.layout().as_bytes());
        self.checksum = Checksum::around(bytes, CHECKSUM_AT);
        bytes[CHECKSUM_AT..][..16].copy_from_slice(&self.checksum.0);
        self
    }

    fn layout(&self) -> Layout {
        Layout {
            magic: MAGIC,
            version: U16::new(VERSION),
            flags: U16::new(0),
            aggregate: self.aggregate.0.into_bytes(),
            epoch: U64::new(self.epoch.0),
            first: U64::new(self.first.0),
            settled: U64::new(self.settled.0),
            count: U32::new(self.count),
            bytes: U32::new(self.bytes),
            previous: self.previous.0,
            checksum: self.checksum.0,
            zero: [0; 40],
        }
    }

    /// The header at the start of these bytes, as it says: nothing is checked against its checksum. It tells how
    /// much must be here, and, beyond a damaged batch, that the log went on.
    ///
    /// # Errors
    /// `Damaged` if it is none of `aggregate`, or claims more than `bytes_max`.
    pub fn peek(bytes: &[u8], aggregate: AggregateId, bytes_max: usize) -> Result<BatchHeader> {
        let mut reader = Reader::new(WHAT, bytes);
        let layout: &Layout = reader.layout()?;
        if layout.magic != MAGIC || layout.aggregate != aggregate.0.into_bytes() {
            return Err(reader.damaged("there is none"));
        }
        let len = layout.bytes.get() as usize;
        if len == 0 || !len.is_multiple_of(BLOCK_BYTES) || len > bytes_max {
            return Err(reader.damaged(format!("it cannot be {len} bytes long")));
        }
        Ok(BatchHeader {
            aggregate,
            epoch: Epoch(layout.epoch.get()),
            first: Lsn(layout.first.get()),
            settled: Lsn(layout.settled.get()),
            count: layout.count.get(),
            bytes: layout.bytes.get(),
            previous: Checksum(layout.previous),
            checksum: Checksum(layout.checksum),
        })
    }

    /// Its last record; the one before its first if it has none.
    pub fn last(&self) -> Lsn {
        Lsn(self.first.0.saturating_add(u64::from(self.count)).saturating_sub(1))
    }
}

/// A batch whose checksum is right.
#[derive(Clone, Debug)]
pub struct Batch {
    /// What it says of itself.
    pub header: BatchHeader,
    bytes: Bytes,
}

impl Batch {
    /// The batch at the start of these bytes, which may go on after it.
    ///
    /// # Errors
    /// `Damaged` if it is no whole batch of `aggregate`; `Version` if a newer Baton wrote it.
    pub fn decode(bytes: &Bytes, aggregate: AggregateId, bytes_max: usize) -> Result<Batch> {
        let header = BatchHeader::peek(bytes, aggregate, bytes_max)?;
        let whole = Reader::new(WHAT, bytes).take(header.bytes as usize)?;
        let mut reader = Reader::new(WHAT, whole);
        let layout: &Layout = reader.layout()?;
        if Checksum::around(whole, CHECKSUM_AT) != header.checksum {
            return Err(reader.damaged("its checksum is wrong"));
        }
        if layout.version.get() != VERSION || layout.flags.get() != 0 {
            return Err(newer(
                WHAT,
                format!("its version is {}, its flags {:#x}", layout.version, layout.flags),
            ));
        }
        zeros(WHAT, &layout.zero)?;
        if header.first == Lsn(0)
            || header.settled >= header.first
            || header.first.0.checked_add(u64::from(header.count)).is_none()
        {
            return Err(reader.damaged("its numbers contradict each other"));
        }
        // Every record has its place before one of them is believed.
        for _ in 0..header.count {
            let len = reader.clone().u32()? as usize;
            if len < Record::HEADER_BYTES {
                return Err(reader.damaged(format!("a record of {len} bytes")));
            }
            reader.take(len)?;
        }
        if reader.len() >= BLOCK_BYTES {
            return Err(reader.damaged("it is longer than its records"));
        }
        reader.only_zeros()?;
        Ok(Batch {
            header,
            bytes: bytes.slice(..header.bytes as usize),
        })
    }

    /// Its records in order, with their numbers; values are slices of the batch's bytes.
    pub fn records(&self) -> impl Iterator<Item = Result<(Lsn, Record)>> + '_ {
        let mut left = self.bytes.slice(BatchHeader::BYTES..);
        (0..u64::from(self.header.count)).map(move |index| {
            let len = Reader::new(WHAT, &left).u32()? as usize;
            Reader::new(WHAT, &left).take(len)?;
            let record = Record::decode(&left.split_to(len))?;
            Ok((Lsn(self.header.first.0 + index), record))
        })
    }

    /// A batch of these records, and its bytes.
    ///
    /// # Errors
    /// `Limit` if one of them, or all together, is too much.
    pub fn encode(header: BatchHeader, records: &[Record], bytes_max: usize) -> Result<(BatchHeader, Vec<u8>)> {
        let mut bytes = vec![0; BatchHeader::BYTES];
        records.iter().try_for_each(|record| record.encode(&mut bytes))?;
        if bytes.len() > bytes_max {
            return Err(Error::new(Kind::Limit, WHAT).because(format!("{} bytes of records", bytes.len())));
        }
        let count = records.len() as u32;
        let header = BatchHeader { count, ..header }.seal(&mut bytes);
        Ok((header, bytes))
    }
}
