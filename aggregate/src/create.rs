//! A new aggregate, and the label that says what a device is.
//!
//! Everything but the label is written and flushed first, so that a device with a label has all that a label
//! promises: eight slots that nobody holds, and a seal from which the first epoch can begin. Segments are not
//! touched: what they held is not referred to any more.

mod signatures;

use baton_types::{AggregateId, AggregateName, Epoch, Error, Kind, Result, Timestamp};

pub use signatures::Found;

use crate::buffer::Buffer;
use crate::device::{Device, Write};
use crate::format::{BLOCK_BYTES, Features, Geometry, Label, Lsn, Root, RootKind, RootPlace, Slot};

/// What the new aggregate is to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its identity.
    pub id: AggregateId,
    /// Its name.
    pub name: AggregateName,
    /// Where things lie; `None` for what is usual on a device of that size.
    pub geometry: Option<Geometry>,
    /// What to do if the device holds something.
    pub overwrite: Overwrite,
    /// Now.
    pub created: Timestamp,
}

/// What to do with what a device holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// Keep it, and refuse.
    Refuse,
    /// Lose it.
    Insist,
}

/// What [`create`] would write, once everything that can be refused was.
///
/// # Errors
/// `NoSpace` if the device is too small, `Exists` if it holds something that is not to be lost.
pub fn check(device: &dyn Device, plan: &Plan) -> Result<Label> {
    let geometry = match plan.geometry {
        Some(geometry) if geometry.device_bytes > device.len() => {
            return Err(Error::new(Kind::NoSpace, "device").because(format!(
                "it has {} bytes, and the geometry asks for {}",
                device.len(),
                geometry.device_bytes
            )));
        }
        Some(geometry) => geometry,
        None => Geometry::usual(device.len())?,
    };
    match (plan.overwrite, signatures::find(device)?) {
        (Overwrite::Refuse, Some(found)) => Err(Error::new(Kind::Exists, "device")
            .because(format!("it holds {found}"))
            .remedy("to lose all that is on it: newaggr -overwrite")),
        (Overwrite::Refuse, None) | (Overwrite::Insist, _) => Ok(Label {
            id: plan.id,
            name: plan.name.clone(),
            geometry,
            created: plan.created,
            features: Features::KNOWN,
        }),
    }
}

/// Makes an aggregate of the device.
///
/// # Errors
/// As [`check`]; what the device says.
pub fn create(device: &dyn Device, plan: &Plan) -> Result<Label> {
    let label = check(device, plan)?;
    let geometry = label.geometry;

    // The first copy of the label with all before the segments, and the last one: zeros until the rest is durable.
    let mut fixed = Buffer::zeroed(geometry.segment_offset(geometry.first_segment()) as usize);
    let slot = Slot::at_birth(label.id, label.created).encode()?;
    for index in 0..Geometry::RING {
        put(&mut fixed, Geometry::slot_offset(index), &slot);
    }
    let seal = first_seal(&label).encode()?;
    for place in RootPlace::BOTH {
        put(
            &mut fixed,
            Geometry::root_offset(Geometry::ring_index(Epoch::NONE), place),
            &seal,
        );
    }
    let zeros = Buffer::zeroed(BLOCK_BYTES);
    let [first, last] = geometry.label_offsets();
    device.submit(&[
        Write {
            offset: 0,
            bytes: &fixed,
        },
        Write {
            offset: last,
            bytes: &zeros,
        },
    ])?;
    device.flush()?;

    let copy = Buffer::padded(&label.encode());
    device.submit(&[first, last].map(|offset| Write { offset, bytes: &copy }))?;
    device.flush()?;
    Ok(label)
}

fn put(fixed: &mut [u8], offset: u64, bytes: &[u8]) {
    fixed[offset as usize..][..bytes.len()].copy_from_slice(bytes);
}

/// The seal of epoch 0: nothing was ever written.
fn first_seal(label: &Label) -> Root {
    Root {
        aggregate: label.id,
        epoch: Epoch::NONE,
        seq: 0,
        generation: 0,
        lsn: Lsn(0),
        kind: RootKind::Seal,
        device_bytes: label.geometry.device_bytes,
        high_water: label.geometry.first_segment(),
        system: None,
        space: None,
        residue: None,
        pending: [None, None],
        chain: Vec::new(),
        open: Vec::new(),
        log_reserve: Vec::new(),
        inherited: Vec::new(),
        quarantine: Vec::new(),
        history: Vec::new(),
    }
}

/// The label of the aggregate on this device.
///
/// # Errors
/// `NotFound` if it holds none, `Damaged` if both copies are or if they differ, `Version` if it takes a newer
/// Baton, `Invalid` if the device has shrunk.
pub fn read_label(device: &dyn Device) -> Result<Label> {
    let [first, last] = read_copies(device)?;
    let label = Label::of_copies(&first, &last)?;
    must_hold(device, &label, label.geometry.device_bytes)?;
    Ok(label)
}

/// Refuses a device that is smaller than the aggregate on it.
pub(crate) fn must_hold(device: &dyn Device, label: &Label, bytes: u64) -> Result<()> {
    if bytes <= device.len() {
        return Ok(());
    }
    let reason = format!("the device has {} bytes, and the aggregate takes {bytes}", device.len());
    Err(Error::new(Kind::Invalid, format!("aggregate {}", label.name))
        .because(reason)
        .remedy("give the device its size back"))
}

/// The copies of the label that are not as `label`, by their places, and why.
///
/// # Errors
/// What the device says.
pub(crate) fn harmed_copies(device: &dyn Device, label: &Label) -> Result<Vec<(&'static str, u64, Error)>> {
    let names = ["first copy of the label", "second copy of the label"];
    let mut harmed = Vec::new();
    for (name, offset) in names.into_iter().zip(label.geometry.label_offsets()) {
        let mut copy = Buffer::zeroed(BLOCK_BYTES);
        device.read(offset, &mut copy)?;
        let another = || Error::new(Kind::Damaged, "label").because("it is another one's");
        let checked = Label::decode(&copy).and_then(|found| (found == *label).then_some(()).ok_or_else(another));
        harmed.extend(checked.err().map(|error| (name, offset, error)));
    }
    Ok(harmed)
}

/// Writes the copies at these places anew. An owner does: a label never changes, whoever else may write it by now.
///
/// # Errors
/// What the device says.
pub(crate) fn mend_copies(device: &dyn Device, label: &Label, places: &[u64]) -> Result<()> {
    let copy = Buffer::padded(&label.encode());
    let writes: Vec<Write<'_>> = places.iter().map(|&offset| Write { offset, bytes: &copy }).collect();
    device.submit(&writes)?;
    device.flush()
}

/// Both copies of the label, as they lie there. A device that has grown has the second where it ended at birth,
/// which the first one tells.
fn read_copies(device: &dyn Device) -> Result<[Buffer; 2]> {
    let end = device.len() / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
    if end < 2 * BLOCK_BYTES as u64 {
        return Err(Error::new(Kind::NotFound, "label").because("the device is too small to hold an aggregate"));
    }
    let block = |offset| -> Result<Buffer> {
        let mut buffer = Buffer::zeroed(BLOCK_BYTES);
        device.read(offset, &mut buffer)?;
        Ok(buffer)
    };
    let first = block(0)?;
    let [_, at_birth] = match Label::decode(&first) {
        Ok(label) if label.geometry.device_bytes <= end => label.geometry.label_offsets(),
        _ => [0, end - BLOCK_BYTES as u64],
    };
    Ok([first, block(at_birth)?])
}

#[cfg(test)]
mod tests;
