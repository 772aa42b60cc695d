//! A group: the records that are being gathered for one batch, and the data that goes beside them.

use baton_types::{AggregateId, Epoch, Error, Kind, Result};
use bytes::Bytes;

use super::Limits;
use crate::buffer::Buffer;
use crate::format::{BLOCK_BYTES, BatchHeader, Block, Checksum, Lsn, Record};

/// Records for one batch.
pub(crate) struct Group {
    first: Lsn,
    count: u32,
    /// The batch: room for its header, then the records.
    bytes: Vec<u8>,
    data: Vec<(Block, Bytes)>,
    data_bytes: usize,
    /// It takes no more: a checkpoint begins behind it.
    is_ended: bool,
}

impl Group {
    /// No records yet; the first one will be `first`.
    pub fn begin(first: Lsn) -> Group {
        Group {
            first,
            count: 0,
            bytes: vec![0; BatchHeader::BYTES],
            data: Vec::new(),
            data_bytes: 0,
            is_ended: false,
        }
    }

    /// True if `record` with `data_bytes` beside it may be added.
    pub fn has_room(&self, record: &Record, data_bytes: usize, limits: Limits) -> bool {
        let fits = self.bytes.len() + record.encoded_len() <= limits.batch_bytes;
        fits && !self.is_ended && (self.count == 0 || self.data_bytes + data_bytes <= limits.data_bytes)
    }

    /// Adds a record.
    ///
    /// # Errors
    /// `TooBig` if no batch can hold it.
    pub fn add(&mut self, record: &Record, data: Vec<(Block, Bytes)>, limits: Limits) -> Result<()> {
        let bytes = BatchHeader::BYTES + record.encoded_len();
        if bytes > limits.batch_bytes {
            let reason = format!("{bytes} bytes, more than the {} of a batch", limits.batch_bytes);
            return Err(Error::new(Kind::TooBig, "record").because(reason));
        }
        record.encode(&mut self.bytes)?;
        self.count += 1;
        self.data_bytes += data.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        self.data.extend(data);
        Ok(())
    }

    /// Takes no more.
    pub fn end(&mut self) {
        self.is_ended = true;
    }

    /// What has gathered.
    pub fn gathered(&self) -> usize {
        self.bytes.len() + self.data_bytes
    }

    /// True without a record.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The first record.
    pub fn first(&self) -> Lsn {
        self.first
    }

    /// The last record.
    pub fn last(&self) -> Lsn {
        Lsn(self.first.0 + u64::from(self.count) - 1)
    }

    /// Whole blocks of the batch.
    pub fn block_count(&self) -> u32 {
        self.bytes.len().div_ceil(BLOCK_BYTES) as u32
    }

    /// The batch as it lies on the disk, linked to the one before, its checksum, and what goes to its own blocks.
    pub fn batch(
        mut self,
        (aggregate, epoch): (AggregateId, Epoch),
        settled: Lsn,
        previous: Checksum,
    ) -> (Buffer, Checksum, Vec<(Block, Bytes)>) {
        let header = BatchHeader {
            aggregate,
            epoch,
            first: self.first,
            settled,
            count: self.count,
            bytes: 0,
            previous,
            checksum: Checksum::default(),
        };
        let header = header.seal(&mut self.bytes);
        (Buffer::padded(&self.bytes), header.checksum, self.data)
    }
}
