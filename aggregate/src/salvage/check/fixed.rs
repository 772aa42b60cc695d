//! What lies in fixed places: labels, slots, roots.

use baton_types::{Epoch, Kind, Result};

use super::super::Patient;
use super::super::finding::{Fault, Findings};
use super::super::mend::Mend;
use crate::buffer::Buffer;
use crate::create::harmed_copies;
use crate::fence::{Seen, Slots, read_slots};
use crate::format::{Geometry, Root, RootName, RootPlace};

/// Both copies of the label.
pub(super) fn labels(patient: &Patient, findings: &mut Findings) -> Result<()> {
    for (copy, _, error) in harmed_copies(&*patient.device, &patient.label)? {
        findings.mendable(Fault::Label, copy, error.reason, Mend::Label);
    }
    Ok(())
}

/// All eight slots.
pub(super) fn slots(patient: &Patient, findings: &mut Findings) -> Result<Slots> {
    let slots = read_slots(&*patient.device, patient.label.id)?;
    for (place, seen) in slots.seen().iter().enumerate() {
        if *seen == Seen::Unreadable {
            let reason = "it does not verify, or stands in another's place";
            findings.mendable(Fault::Slot, format!("slot {place}"), reason, Mend::Epoch);
        }
    }
    Ok(slots)
}

/// All sixteen places of roots: what does not verify, stands where it may not, or is missing.
pub(super) fn roots(patient: &Patient, slots: &Slots, findings: &mut Findings) -> Result<()> {
    let mut bytes = Buffer::scratch(Geometry::ROOT_BYTES_MAX);
    let mut newest = RootName::default();
    for index in 0..Geometry::RING {
        for place in RootPlace::BOTH {
            let on = format!("root {place:?} of head {index}");
            patient.device.read(Geometry::root_offset(index, place), &mut bytes)?;
            if bytes.iter().all(|&byte| byte == 0) {
                continue;
            }
            match Root::decode(&bytes).and_then(|root| root.check(&patient.label.geometry).map(|_| root)) {
                Ok(root) if root.aggregate != patient.label.id => {
                    findings.notice(Fault::Root, on, "of an aggregate that this device held before");
                }
                Ok(root) if Geometry::ring_index(root.epoch) != index => {
                    let reason = format!("epoch {} has no place here", root.epoch);
                    findings.mendable(Fault::Root, on, reason, Mend::Leave);
                }
                Ok(root) => newest = newest.max(root.name()),
                // A crash may cut the write of a root short; the one before is in the other place.
                Err(error) if error.kind == Kind::Damaged => findings.notice(Fault::Root, on, error.reason),
                Err(error) => findings.fault(Fault::Root, on, error.to_string()),
            }
        }
    }
    let named = slots.named();
    if newest < named && named.epoch != Epoch::NONE {
        let reason = format!("it was looked at, and the newest is {newest}");
        findings.mendable(Fault::Root, named.to_string(), reason, Mend::Epoch);
    }
    Ok(())
}
