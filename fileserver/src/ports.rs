//! Ports: how the slots of each aggregate look through this server's own port, whoever owns it.
//!
//! They are read again and again, those of each disk by a thread of its own: a port that hangs holds up no other one.
//! What was seen goes out with the beats of this server: that an owner's sign of life on the disk goes on, and that
//! this server could read the disk if it were to be the next owner.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use baton_aggregate::device::{Access, FileDevice};
use baton_aggregate::fence::{Slots, read_slots};
use baton_types::beat::{Port, PortState};
use baton_types::limits::PORT_LOOK_MICROS;
use baton_types::{AggregateId, Clock, Epoch, Error, Kind, Result, Time};
use parking_lot::Mutex;

use crate::devices::Found;

/// Between two reads: twice in the time between two beats of an owner.
const LOOK_EVERY: Duration = Duration::from_micros(PORT_LOOK_MICROS);
/// A read that takes so long will not come back soon: the port is stalled (HA T_io).
const STALL: Time = 2_000_000;

/// All ports of this server.
pub struct Ports {
    clock: Arc<dyn Clock>,
    watches: Mutex<BTreeMap<AggregateId, Arc<Watch>>>,
}

struct Watch {
    found: Found,
    clock: Arc<dyn Clock>,
    seen: Mutex<Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Above what the next grant must be, and the count in the newest slot; `None` before the first read.
    newest: Option<(Epoch, u64)>,
    /// When the last read that ended well did, or when the watch began.
    good_at: Time,
    state: PortState,
}

impl Ports {
    /// None yet.
    pub fn new(clock: Arc<dyn Clock>) -> Ports {
        Ports {
            clock,
            watches: Mutex::default(),
        }
    }

    /// From now on these are watched, and no others.
    ///
    /// # Errors
    /// A thread that the system refuses.
    pub fn watch(&self, found: &[Found]) -> Result<()> {
        let mut watches = self.watches.lock();
        watches.retain(|_, watch| found.contains(&watch.found));
        for found in found
            .iter()
            .filter(|found| !watches.contains_key(&found.id))
            .collect::<Vec<_>>()
        {
            let watch = Arc::new(Watch {
                found: found.clone(),
                clock: self.clock.clone(),
                seen: Mutex::new(Seen {
                    newest: None,
                    good_at: self.clock.now(),
                    state: PortState::Good,
                }),
            });
            let weak = Arc::downgrade(&watch);
            let thread = std::thread::Builder::new().name(format!("port {}", found.name));
            thread.spawn(move || look(&weak)).map_err(|e| Error::io("thread", e))?;
            watches.insert(found.id, watch);
        }
        Ok(())
    }

    /// What was seen last, of every aggregate that was seen at all.
    pub fn seen(&self) -> Vec<Port> {
        let now = self.clock.now();
        let watches = self.watches.lock();
        watches.values().filter_map(|watch| watch.port(now)).collect()
    }
}

impl Watch {
    fn port(&self, now: Time) -> Option<Port> {
        let seen = *self.seen.lock();
        let (newest, disk_beat) = seen.newest?;
        let is_late = seen.state == PortState::Good && now.saturating_sub(seen.good_at) > STALL;
        Some(Port {
            aggregate: self.found.id,
            newest,
            disk_beat,
            state: if is_late { PortState::Stalled } else { seen.state },
        })
    }

    /// Reads the slots once, by a device that was opened before or is now.
    fn read(&self, device: &mut Option<FileDevice>) -> Result<Option<(Epoch, u64)>> {
        let open = match device.take() {
            Some(open) => open,
            None => FileDevice::open(&self.found.path, Access::Read)?,
        };
        let slots = read_slots(&open, self.found.id)?;
        *device = Some(open);
        Ok(newest(&slots))
    }
}

/// Above what the next grant must be, and the count in the newest slot.
fn newest(slots: &Slots) -> Option<(Epoch, u64)> {
    let next = slots.next(Epoch::NONE)?;
    Some((Epoch(next.0.saturating_sub(1)), slots.newest()?.beat))
}

/// What the thread of a port does, until nobody wants it any more.
fn look(watch: &Weak<Watch>) {
    let mut device = None;
    while let Some(watch) = watch.upgrade() {
        let read = watch.read(&mut device);
        let mut seen = watch.seen.lock();
        match read {
            Ok(newest) => {
                *seen = Seen {
                    newest: newest.or(seen.newest),
                    good_at: watch.clock.now(),
                    state: match newest {
                        Some(_) => PortState::Good,
                        None => PortState::Unreadable,
                    },
                };
            }
            Err(error) => {
                if seen.state == PortState::Good {
                    tracing::warn!(%error, aggregate = %watch.found.name, "its slots cannot be read by this port");
                }
                seen.state = match error.kind {
                    Kind::Io => PortState::Stalled,
                    _ => PortState::Unreadable,
                };
            }
        }
        drop(seen);
        drop(watch);
        std::thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;

    use baton_aggregate::create::{Overwrite, Plan, create};
    use baton_types::{BootClock, Timestamp};

    use super::*;

    fn make(path: &Path) -> Found {
        File::create(path).unwrap().set_len(132 << 20).unwrap();
        let (id, name) = (AggregateId::random(), "agg1".parse().unwrap());
        let plan = Plan {
            id,
            name,
            geometry: None,
            overwrite: Overwrite::Refuse,
            created: Timestamp(1),
        };
        create(&FileDevice::open(path, Access::Write).unwrap(), &plan).unwrap();
        Found {
            id,
            name: plan.name,
            path: path.to_owned(),
            bytes: 132 << 20,
        }
    }

    /// The port of the only aggregate, once it is as `wanted`.
    fn until(ports: &Ports, wanted: impl Fn(PortState) -> bool) -> Port {
        loop {
            match ports.seen()[..] {
                [port] if wanted(port.state) => return port,
                _ => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    #[test]
    fn a_port_is_good_until_its_slots_cannot_be_read() {
        let directory = tempfile::tempdir().unwrap();
        let found = make(&directory.path().join("disk"));
        let ports = Ports::new(Arc::new(BootClock));
        assert_eq!(ports.seen(), []);
        ports.watch(std::slice::from_ref(&found)).unwrap();
        assert_eq!(until(&ports, |state| state == PortState::Good).aggregate, found.id);
        File::options()
            .write(true)
            .open(&found.path)
            .unwrap()
            .set_len(0)
            .unwrap();
        until(&ports, |state| state != PortState::Good);
        ports.watch(&[]).unwrap();
        assert_eq!(ports.seen(), []);
    }
}
