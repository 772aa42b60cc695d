//! Why an owner stops. For its epoch that is the end: it drops what it knows and answers nobody any more.

use std::fmt;

use baton_types::{AggregateName, Epoch, Error, Kind, ServerId};

use crate::format::RootName;

/// Who stands where one would like to stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Under which epoch.
    pub epoch: Epoch,
    /// Which server; unknown where only its root was found.
    pub server: Option<ServerId>,
    /// Its name to people.
    pub principal: String,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.principal.as_str() {
            "" => write!(f, "epoch {}", self.epoch),
            principal => write!(f, "epoch {} of {principal}", self.epoch),
        }
    }
}

/// Why an owner stopped, or never became one.
#[derive(Clone, Debug, PartialEq)]
pub enum Stop {
    /// A newer epoch stands on the disk.
    Newer {
        /// Whose.
        owner: Owner,
    },
    /// A slot does not verify, and so may hold a newer epoch.
    Unreadable {
        /// In which place of the ring.
        place: usize,
    },
    /// The own slot holds something else.
    Replaced {
        /// Whose it is now.
        owner: Owner,
    },
    /// The epoch was used before.
    Used {
        /// By whom.
        owner: Owner,
    },
    /// Who held the epoch's place in the ring, or the next, may still have writes in flight (R7).
    Ring {
        /// Which place.
        place: usize,
        /// Who, if that can be read.
        holder: Option<Owner>,
    },
    /// No root is as new as the slots demand.
    Held {
        /// The newest that a slot names.
        named: RootName,
        /// The newest that verifies.
        found: Option<RootName>,
    },
    /// The device failed.
    Failed(Error),
}

impl Stop {
    /// Who owns the aggregate now, where that is why.
    pub fn newer(&self) -> Option<&Owner> {
        match self {
            Stop::Newer { owner } | Stop::Replaced { owner } => Some(owner),
            Stop::Unreadable { .. } | Stop::Used { .. } | Stop::Ring { .. } | Stop::Held { .. } | Stop::Failed(_) => {
                None
            }
        }
    }

    /// What `name`'s owner of `epoch`, which stopped for this, answers from now on.
    pub fn error(&self, name: &AggregateName, epoch: Epoch) -> Error {
        let error = |kind, reason: String| Error::new(kind, format!("aggregate {name}")).because(reason);
        match self {
            Stop::Newer { owner } => error(
                Kind::WrongEpoch,
                format!("owned under {owner}, no longer under {epoch}"),
            )
            .remedy("ask the location database who owns it"),
            Stop::Replaced { owner } => error(Kind::WrongEpoch, format!("the slot of epoch {epoch} holds {owner}"))
                .remedy("ask the location database for a new epoch"),
            Stop::Used { owner } => error(Kind::WrongEpoch, format!("{owner} was used before"))
                .remedy("ask the location database for a new epoch"),
            Stop::Unreadable { place } => {
                let reason = format!("slot {place} does not verify and may hold a newer epoch than {epoch}");
                error(Kind::WrongEpoch, reason).remedy(format!("an epoch that falls on slot {place} heals it"))
            }
            Stop::Ring { place, holder } => {
                let who = holder.as_ref().map_or("who last held it".to_owned(), Owner::to_string);
                let reason = format!("epoch {epoch} needs slot {place}, and {who} is not proven gone");
                error(Kind::Busy, reason).remedy("wait for its end, or for the word of who saw it")
            }
            Stop::Held { named, found } => {
                let found = found.map_or("none verifies".to_owned(), |root| {
                    format!("the newest that verifies is {root}")
                });
                error(Kind::Damaged, format!("held: a slot names {named}, and {found}")).remedy("salvage it")
            }
            Stop::Failed(failure) => failure.clone(),
        }
    }
}
