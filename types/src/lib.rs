//! The nouns of Baton: ids, names, epochs, records of the location database, errors, limits, clock.
//!
//! No I/O, no async, no wire. Everything that arrives as text or bytes is parsed into one of these
//! types once, at the edge, and travels typed from there.

mod address;
pub mod beat;
pub mod call;
pub mod change;
mod clock;
pub mod control;
mod core;
mod epoch;
mod error;
pub mod file;
mod frame;
mod id;
pub mod limits;
mod name;
pub mod plan;
pub mod record;
pub mod timers;
pub mod units;
mod version;

pub use address::Address;
pub use clock::{BootClock, Clock, ManualClock, Time, Timestamp};
pub use core::Core;
pub use epoch::{Epoch, Mark};
pub use error::{Error, Kind, Result};
pub use frame::{FRAME_HEADER_BYTES, FrameHeader, FrameKind};
pub use id::{AggregateId, CellId, ClientId, Fid, FilesetId, Incarnation, ServerId, Vnode};
pub use name::{AggregateName, CellName, EntryName, FileName, FilesetName, GroupName, PrincipalName};
pub use version::{Features, Hello, PROTOCOL_VERSION, PROTOCOL_VERSION_OLDEST};
