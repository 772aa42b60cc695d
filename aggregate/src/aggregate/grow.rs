//! Growth: a device that became larger, taken in while it is served.
//!
//! The size that counts is the root's, not the device's. So a crash before the first root that has the new one leaves
//! the old, and after it whoever recovers has the new. Nothing beyond the old end is written before two roots say so,
//! as with frees: if the newer one rots, recovery begins with the older, and its log must lie where that one knows
//! segments to be. The label stays as it was written; the segment of its second copy is left out for ever.

use baton_types::{Error, Kind, Result};

use super::Aggregate;
use crate::format::{BLOCK_BYTES, Geometry};

/// Between which sizes an aggregate may be taken, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// What it has now.
    pub now: u64,
    /// With less than this there is no room more than now.
    pub least: u64,
    /// What its device has.
    pub most: u64,
}

impl Growth {
    /// The size to take: `wanted`, or all there is.
    ///
    /// # Errors
    /// `Invalid` if it were smaller than now, or not larger; `NoSpace` if the device is too small for it.
    fn choose(&self, wanted: Option<u64>) -> Result<u64> {
        let Growth { now, least, most } = *self;
        let bytes = wanted.unwrap_or(most) / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
        let refused = |kind, reason: String| Err(Error::new(kind, "size").because(reason));
        if bytes < now {
            return refused(
                Kind::Invalid,
                format!("{bytes} bytes are less than the {now} it has, and no aggregate shrinks"),
            );
        }
        if bytes > most {
            return refused(
                Kind::NoSpace,
                format!("{bytes} bytes are more than the {most} of its device"),
            )
            .map_err(|error| error.remedy("make the device larger first"));
        }
        if bytes < least {
            return refused(
                Kind::Invalid,
                format!("{bytes} bytes give no room more than the {now} it has"),
            )
            .map_err(|error| error.remedy(format!("make it {least} bytes or more, and its device before it")));
        }
        Ok(bytes)
    }
}

impl Aggregate {
    /// What its device allows, looked at now.
    ///
    /// # Errors
    /// `Io` if the device does not say.
    pub fn growth(&self) -> Result<Growth> {
        let most = self.engine.device.measure()? / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
        let geometry = *self.engine.space.lock().geometry();
        Ok(Growth {
            now: geometry.device_bytes,
            least: geometry.next_larger(),
            most,
        })
    }

    /// The size that [`Aggregate::grow`] would make it.
    ///
    /// # Errors
    /// `Invalid` if it were smaller than now, or not larger; `NoSpace` if the device is too small for it; `Io`.
    pub fn may_grow(&self, wanted: Option<u64>) -> Result<u64> {
        let bytes = self.growth()?.choose(wanted)?;
        Ok(self.grown(bytes)?.device_bytes)
    }

    /// Takes as much of its device as `wanted`, or all of it; how much that is. Nobody is kept waiting.
    ///
    /// # Errors
    /// As [`Aggregate::may_grow`] and [`Aggregate::checkpoint`]; after the latter it may have grown or not, and to ask
    /// again does no harm.
    pub fn grow(&self, wanted: Option<u64>) -> Result<u64> {
        let bytes = self.may_grow(wanted)?;
        let bytes = {
            // A checkpoint that is being made now ends first.
            let mut checkpoints = self.engine.checkpoints.lock();
            checkpoints.device_bytes = checkpoints.device_bytes.max(bytes);
            checkpoints.device_bytes
        };
        let geometry = self.grown(bytes)?;
        self.engine.checkpoint()?;
        self.engine.checkpoint()?;
        self.engine.space.lock().grow(geometry);
        self.engine.recount();
        tracing::info!(aggregate = %self.label().name, bytes, "it has grown");
        Ok(bytes)
    }

    fn grown(&self, bytes: u64) -> Result<Geometry> {
        self.label().geometry.on(bytes)
    }
}
