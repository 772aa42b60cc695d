//! Sessions and clients: who may come back after a takeover, and what he may then use.

use baton_types::{ClientId, Result, Timestamp, Vnode};
use uuid::Uuid;
use zerocopy::little_endian::{I64, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::name::all;
use crate::format::reader::{Reader, zeros};

/// A session: one client's state at this aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionHeader {
    /// Whose it is.
    pub client: ClientId,
    /// When it began.
    pub opened: Timestamp,
}

/// A client that this aggregate knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientState {
    /// Its session.
    pub session: u64,
    /// When it was recorded, or marked.
    pub time: Timestamp,
    /// Since when its lifetime is over: a takeover need not wait for it.
    pub lapsed: Option<Timestamp>,
}

/// Vnode numbers that a session may give to what it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VnodeRange {
    /// The first.
    pub first: Vnode,
    /// How many.
    pub count: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct HeaderLayout {
    client: [u8; 16],
    opened: I64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ClientLayout {
    session: U64,
    time: I64,
    lapsed: I64,
    is_lapsed: u8,
    zero: [u8; 7],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RangeLayout {
    first: U64,
    count: U32,
}

impl SessionHeader {
    /// As it lies on the disk.
    pub fn encode(&self) -> Vec<u8> {
        let layout = HeaderLayout {
            client: self.client.0.into_bytes(),
            opened: I64::new(self.opened.0),
        };
        layout.as_bytes().to_vec()
    }

    /// The session in these bytes.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn decode(bytes: &[u8]) -> Result<SessionHeader> {
        let mut reader = Reader::new("session", bytes);
        let layout: &HeaderLayout = reader.layout()?;
        reader.end()?;
        Ok(SessionHeader {
            client: ClientId(Uuid::from_bytes(layout.client)),
            opened: Timestamp(layout.opened.get()),
        })
    }
}

impl ClientState {
    /// As it lies on the disk.
    pub fn encode(&self) -> Vec<u8> {
        let layout = ClientLayout {
            session: U64::new(self.session),
            time: I64::new(self.time.0),
            lapsed: I64::new(self.lapsed.map_or(0, |time| time.0)),
            is_lapsed: u8::from(self.lapsed.is_some()),
            zero: [0; 7],
        };
        layout.as_bytes().to_vec()
    }

    /// The client in these bytes.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn decode(bytes: &[u8]) -> Result<ClientState> {
        let mut reader = Reader::new("client", bytes);
        let layout: &ClientLayout = reader.layout()?;
        zeros("client", &layout.zero)?;
        let lapsed = match (layout.is_lapsed, layout.lapsed.get()) {
            (0, 0) => None,
            (1, time) => Some(Timestamp(time)),
            _ => return Err(reader.damaged("it says both that it lapsed and that it did not")),
        };
        reader.end()?;
        Ok(ClientState {
            session: layout.session.get(),
            time: Timestamp(layout.time.get()),
            lapsed,
        })
    }
}

impl VnodeRange {
    /// The value of an item with these ranges.
    pub fn encode_all(ranges: &[VnodeRange]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for range in ranges {
            let layout = RangeLayout {
                first: U64::new(range.first.number()),
                count: U32::new(range.count),
            };
            bytes.extend(layout.as_bytes());
        }
        bytes
    }

    /// The ranges in this value: one or more.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn decode_all(bytes: &[u8]) -> Result<Vec<VnodeRange>> {
        all("vnode range", bytes, |reader| {
            let layout: &RangeLayout = reader.layout()?;
            Ok(VnodeRange {
                first: Vnode::new(layout.first.get()).map_err(|error| reader.damaged(error.to_string()))?,
                count: layout.count.get(),
            })
        })
    }

    /// True if it has this number.
    pub fn contains(&self, vnode: Vnode) -> bool {
        vnode
            .number()
            .checked_sub(self.first.number())
            .is_some_and(|index| index < u64::from(self.count))
    }
}

/// The value of a `Hold` item: the clients that hold something in its fileset.
pub fn encode_holders(holders: &[ClientId]) -> Vec<u8> {
    holders.iter().flat_map(|client| client.0.into_bytes()).collect()
}

/// The clients in the value of a `Hold` item: one or more.
///
/// # Errors
/// `Damaged`.
pub fn decode_holders(bytes: &[u8]) -> Result<Vec<ClientId>> {
    all("holders", bytes, |reader| {
        Ok(ClientId(Uuid::from_bytes(reader.array()?)))
    })
}
