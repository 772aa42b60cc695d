//! One incarnation of a server, and what may happen in the middle of its operations.

use std::fmt;
use std::sync::Arc;

use baton_aggregate::aggregate::{Aggregate, Opened};
use baton_aggregate::device::double::{Disk, Port};
use baton_aggregate::device::{Device, Write};
use baton_aggregate::fence::{Grant, Ring};
use baton_aggregate::format::Lsn;
use baton_aggregate::nodes::Nodes;
use baton_types::{Epoch, Incarnation, Result, ServerId, Timestamp};
use parking_lot::Mutex;
use uuid::Uuid;

/// Something that happens between two operations of a device.
pub type Event = Box<dyn FnOnce() + Send>;

/// A port that lets something else happen before one of its operations: another server runs, to the end of what it
/// does, in the middle of what this one does.
pub struct Tapped {
    port: Port,
    tap: Mutex<Option<(u64, Event)>>,
}

impl Tapped {
    /// Lets `event` happen before the `nth` operation from now.
    pub fn tap(&self, nth: u64, event: Event) {
        *self.tap.lock() = Some((nth, event));
    }

    /// It will not happen any more.
    pub fn untap(&self) -> Option<Event> {
        self.tap.lock().take().map(|(_, event)| event)
    }

    /// Its port.
    pub fn port(&self) -> &Port {
        &self.port
    }

    fn pass(&self) {
        let mut tap = self.tap.lock();
        let due = match &mut *tap {
            Some((0 | 1, _)) => tap.take(),
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        };
        drop(tap);
        if let Some((_, event)) = due {
            event();
        }
    }
}

impl fmt::Display for Tapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.port.fmt(f)
    }
}

impl Device for Tapped {
    fn len(&self) -> u64 {
        self.port.len()
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        self.pass();
        self.port.read(offset, into)
    }

    fn submit(&self, writes: &[Write<'_>]) -> Result<()> {
        self.pass();
        self.port.submit(writes)
    }

    fn flush(&self) -> Result<()> {
        self.pass();
        self.port.flush()
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.pass();
        self.port.discard(offset, len)
    }
}

/// A server that owns the aggregate, or thinks so.
#[derive(Clone)]
pub struct Server {
    /// Its epoch.
    pub epoch: Epoch,
    /// Its way to the disk.
    pub device: Arc<Tapped>,
    /// What it serves.
    pub aggregate: Aggregate,
    /// The last record that it found.
    pub found: Lsn,
}

/// A way to `disk` for a new incarnation.
pub fn device(disk: &Disk) -> Arc<Tapped> {
    Arc::new(Tapped {
        port: disk.port(),
        tap: Mutex::new(None),
    })
}

/// Leave to own the aggregate under `epoch`.
pub fn grant(epoch: Epoch) -> Grant {
    Grant {
        epoch,
        server: ServerId(Uuid::from_u128(u128::from(epoch.0 % 2))),
        incarnation: Incarnation(Uuid::from_u128(epoch.0.into())),
        boot: Uuid::from_u128(77),
        principal: "fs".into(),
        ring: Ring::Vouched,
    }
}

/// Claims, recovers and seals; `between` is called after the first two.
///
/// # Errors
/// What keeps it from serving.
pub fn serve(device: Arc<Tapped>, epoch: Epoch, mut between: impl FnMut()) -> Result<Server> {
    let opened = Opened::open(device.clone(), Nodes::new(device.clone()))?;
    let claimed = opened.claim(grant(epoch), Timestamp(1))?;
    between();
    let recovered = claimed.recover()?;
    let found = recovered.last();
    between();
    Ok(Server {
        epoch,
        aggregate: recovered.seal()?,
        device,
        found,
    })
}
