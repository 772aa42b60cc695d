//! One group commit: take what has gathered, write it, flush, look, tell (I3).

use baton_types::Result;
use bytes::Bytes;

use super::Engine;
use crate::device::Write;
use crate::format::Block;
use crate::log::{Group, Writer};

impl Engine {
    /// Writes the oldest group, if there is one; true if there was.
    ///
    /// # Errors
    /// What failed, now or before: then nothing is durable any more until the aggregate is opened again.
    pub fn commit(&self) -> Result<bool> {
        self.log.check()?;
        let mut writer = self.writer.lock();
        self.provide_log(&mut writer)?;
        let Some(group) = self.log.take() else {
            return Ok(false);
        };
        let last = group.last();
        let data = self
            .write(&mut writer, group)
            .inspect_err(|error| self.log.fail(error))?;
        let log = self.space.lock().looked(last);
        if !log.is_empty() {
            writer.extend(log);
        }
        self.log.tell(last);
        drop(writer);
        self.nodes.unpin(data.iter().map(|(block, _)| *block));
        Ok(true)
    }

    fn write(&self, writer: &mut Writer, group: Group) -> Result<Vec<(Block, Bytes)>> {
        let place = writer.advance(group.first(), group.block_count())?;
        let at = self.geometry.first_block(place.segment).0 + u64::from(place.offset);
        let settled = self.log.durable();
        let (batch, checksum, data) = group.batch((self.label.id, self.epoch), settled, writer.previous);
        let batch = Write {
            offset: Block(at).offset(),
            bytes: &batch,
        };
        let data_writes = data.iter().map(|(block, bytes)| Write {
            offset: block.offset(),
            bytes,
        });
        let writes: Vec<_> = std::iter::once(batch).chain(data_writes).collect();
        self.device.submit(&writes)?;
        self.device.flush()?;
        self.fence.look()?;
        writer.previous = checksum;
        Ok(data)
    }
}
