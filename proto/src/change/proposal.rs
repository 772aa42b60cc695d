//! Proposals between their typed form and the wire: a change, who wants it, and the name under which it is done once.

use baton_types::change::{ChangeSession, Proposal, Who};
use baton_types::{Error, PrincipalName, Result, ServerId, Timestamp};

use crate::v1;
use crate::wire::{FromWire, bytes, free_text, missing};

const MECH_HOST: &str = "host";
const MECH_DATABASE: &str = "database";

impl From<Who> for v1::Who {
    fn from(who: Who) -> v1::Who {
        match who {
            Who::Nobody => v1::Who::default(),
            Who::Principal { name, mech } => v1::Who {
                principal: bytes(name),
                mech,
                server: Vec::new(),
            },
            Who::Host { name, server } => v1::Who {
                principal: bytes(name),
                mech: MECH_HOST.to_owned(),
                server: server.map(|id| id.0.as_bytes().to_vec()).unwrap_or_default(),
            },
            Who::Database => v1::Who {
                mech: MECH_DATABASE.to_owned(),
                ..v1::Who::default()
            },
        }
    }
}

impl TryFrom<v1::Who> for Who {
    type Error = Error;

    fn try_from(who: v1::Who) -> Result<Who> {
        Ok(match (PrincipalName::optional(&who.principal)?, who.mech.as_str()) {
            (None, MECH_DATABASE) => Who::Database,
            (None, _) => Who::Nobody,
            (Some(name), MECH_HOST) => Who::Host {
                name,
                server: ServerId::optional(&who.server)?,
            },
            (Some(name), _) => Who::Principal {
                name,
                mech: free_text(who.mech, "mechanism")?,
            },
        })
    }
}

impl From<Proposal> for v1::Proposal {
    fn from(p: Proposal) -> v1::Proposal {
        v1::Proposal {
            session: p.session.0.to_vec(),
            sequence: p.sequence,
            born: p.born,
            date: p.date.0,
            who: Some(p.who.into()),
            change: Some(p.change.into()),
        }
    }
}

impl TryFrom<v1::Proposal> for Proposal {
    type Error = Error;

    fn try_from(p: v1::Proposal) -> Result<Proposal> {
        Ok(Proposal {
            session: ChangeSession(FromWire::from_wire(&p.session)?),
            sequence: p.sequence,
            born: p.born,
            date: Timestamp(p.date),
            who: p.who.ok_or_else(|| missing("caller"))?.try_into()?,
            change: p.change.ok_or_else(|| missing("change"))?.try_into()?,
        })
    }
}
