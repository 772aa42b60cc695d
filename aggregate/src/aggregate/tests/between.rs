//! A port on which something else happens before a chosen operation of its owner: another thread of his, or the next
//! owner, runs to its end in the middle of what he does.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Deref;

use baton_types::Result;
use parking_lot::Mutex;

use crate::device::double::{Port, Step};
use crate::device::{Device, Write};
use crate::format::Geometry;

/// What happens.
pub type Event = Box<dyn FnOnce() + Send>;

/// Which operation it happens before.
pub type Moment = fn(Step) -> bool;

/// One event after the other, each at the first such moment after the one before.
pub struct Between {
    port: Port,
    events: Mutex<VecDeque<(Moment, Event)>>,
}

/// A write into a head: of a root.
pub fn root(step: Step) -> bool {
    let heads = Geometry::HEADS_AT..Geometry::HEADS_AT + Geometry::RING as u64 * Geometry::HEAD_BYTES;
    matches!(step, Step::Write { offset, .. } if heads.contains(&offset))
}

/// A read of the slots.
pub fn look(step: Step) -> bool {
    matches!(step, Step::Read { offset, .. } if offset == Geometry::SLOTS_AT)
}

impl Between {
    /// Nothing happens yet.
    pub fn new(port: Port) -> Between {
        Between {
            port,
            events: Mutex::default(),
        }
    }

    /// Lets `event` happen before the first such `moment` after all the other events.
    pub fn then(&self, moment: Moment, event: impl FnOnce() + Send + 'static) {
        self.events.lock().push_back((moment, Box::new(event)));
    }

    /// True if nothing is to happen any more.
    pub fn is_over(&self) -> bool {
        self.events.lock().is_empty()
    }

    fn pass(&self, step: Step) {
        let due = self.events.lock().pop_front_if(|(moment, _)| moment(step));
        if let Some((_, event)) = due {
            event();
        }
    }
}

impl Deref for Between {
    type Target = Port;

    fn deref(&self) -> &Port {
        &self.port
    }
}

impl fmt::Display for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.port.fmt(f)
    }
}

impl Device for Between {
    fn len(&self) -> u64 {
        self.port.len()
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        let len = into.len();
        self.pass(Step::Read { offset, len });
        self.port.read(offset, into)
    }

    fn submit(&self, writes: &[Write<'_>]) -> Result<()> {
        for write in writes {
            let (offset, len) = (write.offset, write.bytes.len());
            self.pass(Step::Write { offset, len });
        }
        self.port.submit(writes)
    }

    fn flush(&self) -> Result<()> {
        self.pass(Step::Flush);
        self.port.flush()
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.pass(Step::Discard { offset, len });
        self.port.discard(offset, len)
    }
}
