//! What a host knows of the epochs that ran on it.

use baton_types::{Epoch, Error, Kind, Result, ServerId};
use uuid::Uuid;

use super::Slots;
use crate::device::FileDevice;
use crate::format::SlotState;

/// Which boot of this machine it is.
///
/// # Errors
/// `Io`; `Invalid` if the kernel says something else.
pub fn boot_id() -> Result<Uuid> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, error))?;
    Uuid::parse_str(text.trim()).map_err(|error| Error::new(Kind::Invalid, path).because(error.to_string()))
}

/// Epochs that ran on this host since its boot `boot`, and whose I/O has ended: nobody holds their locks. On device
/// nodes only those of `server` itself are believed: another one's may have come by a node of its own.
///
/// # Errors
/// `Io`.
pub fn ended(device: &FileDevice, slots: &Slots, (server, boot): (ServerId, Uuid)) -> Result<Vec<Epoch>> {
    let mut ended = Vec::new();
    for slot in slots.sound() {
        let is_ours = slot.boot == boot && (device.is_file() || slot.server == server);
        if is_ours && slot.state != SlotState::Detached && !device.is_held(slot.epoch)? {
            ended.push(slot.epoch);
        }
    }
    Ok(ended)
}
