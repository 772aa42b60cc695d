//! The file service: frames' metadata between its typed form and the wire. Every value is checked here, once.

mod answer;
mod call;
mod choices;
mod op;
mod shapes;

use baton_types::call::{Push, Role};
use baton_types::{AggregateId, CellId, ClientId, EntryName, Error, FilesetId, Hello, Kind, Result};
use prost::Message;

use crate::v1;
use crate::wire::{FromWire, missing};

pub use answer::{decode_answer, decode_outcome, encode_answer, encode_failure};
pub use call::{decode_call, encode_call};
pub use op::op_of;

/// The first frame of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// Versions and features.
    pub hello: Hello,
    /// Which mount.
    pub client: ClientId,
    /// What the connection is for.
    pub role: Role,
}

/// The first frame of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerHello {
    /// Versions and features.
    pub hello: Hello,
    /// Its name, as in its certificate.
    pub server: EntryName,
    /// Its cell.
    pub cell: CellId,
}

impl ClientHello {
    /// As metadata.
    pub fn encode(&self) -> Vec<u8> {
        v1::FileHello {
            hello: Some(self.hello.into()),
            client: self.client.0.as_bytes().to_vec(),
            role: match self.role {
                Role::Call => v1::Role::Call,
                Role::Push => v1::Role::Push,
            }
            .into(),
            ..v1::FileHello::default()
        }
        .encode_to_vec()
    }

    /// Out of metadata.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn decode(meta: &[u8]) -> Result<ClientHello> {
        let wire = message::<v1::FileHello>(meta)?;
        Ok(ClientHello {
            hello: wire.hello.ok_or_else(|| missing("hello"))?.into(),
            client: ClientId::from_wire(&wire.client)?,
            role: match v1::Role::try_from(wire.role) {
                Ok(v1::Role::Call) => Role::Call,
                Ok(v1::Role::Push) => Role::Push,
                Ok(v1::Role::Unspecified) | Err(_) => return Err(shapes::bad("role", wire.role)),
            },
        })
    }
}

impl ServerHello {
    /// As metadata.
    pub fn encode(&self) -> Vec<u8> {
        v1::FileHello {
            hello: Some(self.hello.into()),
            server: self.server.as_str().as_bytes().to_vec(),
            cell_id: self.cell.0.as_bytes().to_vec(),
            ..v1::FileHello::default()
        }
        .encode_to_vec()
    }

    /// Out of metadata.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn decode(meta: &[u8]) -> Result<ServerHello> {
        let wire = message::<v1::FileHello>(meta)?;
        Ok(ServerHello {
            hello: wire.hello.ok_or_else(|| missing("hello"))?.into(),
            server: EntryName::from_wire(&wire.server)?,
            cell: CellId::from_wire(&wire.cell_id)?,
        })
    }
}

/// A push as (op, metadata).
pub fn encode_push(push: &Push) -> (u16, Vec<u8>) {
    use v1::file_push::Push as Wire;
    let id = |aggregate: &AggregateId| aggregate.0.as_bytes().to_vec();
    let (op, wire) = match push {
        Push::Revoke { fileset, serial } => {
            let (fileset, serial) = (fileset.0, *serial);
            (1, Wire::Revoke(v1::RevokePush { fileset, serial }))
        }
        Push::Durable { aggregate, durable } => {
            let (aggregate, durable) = (id(aggregate), *durable);
            (2, Wire::Durable(v1::DurablePush { aggregate, durable }))
        }
        Push::Moved { aggregate } => (
            3,
            Wire::Moved(v1::MovedPush {
                aggregate: id(aggregate),
            }),
        ),
    };
    (op, v1::FilePush { push: Some(wire) }.encode_to_vec())
}

/// A push out of metadata; `None` for one that this build does not know, which is passed over.
///
/// # Errors
/// `Invalid`.
pub fn decode_push(meta: &[u8]) -> Result<Option<Push>> {
    use v1::file_push::Push as Wire;
    let Some(push) = message::<v1::FilePush>(meta)?.push else {
        return Ok(None);
    };
    Ok(Some(match push {
        Wire::Revoke(v1::RevokePush { fileset, serial }) => Push::Revoke {
            fileset: FilesetId(fileset),
            serial,
        },
        Wire::Durable(v1::DurablePush { aggregate, durable }) => Push::Durable {
            aggregate: AggregateId::from_wire(&aggregate)?,
            durable,
        },
        Wire::Moved(v1::MovedPush { aggregate }) => Push::Moved {
            aggregate: AggregateId::from_wire(&aggregate)?,
        },
    }))
}

fn message<M: Message + Default>(meta: &[u8]) -> Result<M> {
    M::decode(meta).map_err(|e| Error::new(Kind::Invalid, "frame").because(format!("its metadata: {e}")))
}

#[cfg(test)]
mod tests;
