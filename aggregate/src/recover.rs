//! Recovery: one root and a bounded log become layers (I12).
//!
//! Nothing is written here. The chain of the base root is read to its end, and every record after the root's lsn is
//! applied: items to layers, frees to the pending lists, extents to the bitmaps of the segments they were taken in,
//! replies to their sessions. What comes out is what the old owner had in memory, as far as it had told anyone, and
//! perhaps a little further; the seal then fixes it.

pub mod chain;
mod replay;

use baton_types::Result;

use crate::create::must_hold;
use crate::device::Device;
use crate::format::{Label, Root};
use crate::nodes::Nodes;
pub use chain::Chain;
pub(crate) use replay::{Changed, Replayed, Reply, retrying};

/// Reads the log that `root` leads to, and applies it.
///
/// # Errors
/// `Damaged` for a log that rotted; `Version` for records that only a newer Baton knows; `Invalid` if the device is
/// smaller than the root says; `Io`.
pub(crate) fn recover(device: &dyn Device, label: &Label, nodes: &Nodes, root: &Root) -> Result<(Chain, Replayed)> {
    let geometry = root.check(&label.geometry)?;
    // Another owner may have made it larger since it was opened here.
    device.measure()?;
    must_hold(device, label, geometry.device_bytes)?;
    let chain = Chain::read(device, label.id, &geometry, root)?;
    let replayed = Replayed::of(&chain, &geometry, nodes, root)?;
    Ok((chain, replayed))
}
