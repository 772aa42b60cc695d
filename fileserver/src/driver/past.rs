//! Calls about what does not change: snapshots of filesets, and their backup versions.
//!
//! Nobody has to be asked to give anything back, and nothing is said again after a takeover: clients hold nothing here
//! that a log must know.
//!
//! | asked for | a snapshot | a backup |
//! |---|---|---|
//! | a share | alone, whoever else is there: what it shows stays true for as long as it is kept | with others: a new one takes its place |
//! | a look | the same as of the fileset, at that moment | the same |
//! | an open, a lock | granted to all: they guard nothing | the same |
//! | a change | `ReadOnly` | the same |

use std::cell::Cell;
use std::sync::Arc;

use baton_aggregate::aggregate::Fileset;
use baton_aggregate::fileset as store;
use baton_types::call::{Answer, Hold, Request};
use baton_types::control::BACKUP;
use baton_types::{Error, FilesetId, Kind, Result};
use bytes::Bytes;

use super::Driver;
use super::calls::Patience;
use crate::ops;
use crate::service::{Call, Reply};
use crate::shape;

/// A version of a fileset that does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    /// Of which fileset.
    pub of: FilesetId,
    /// Which.
    pub which: Which,
}

/// Which of a fileset's snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one with this number.
    Number(u16),
    /// The one that is its backup version.
    Backup,
}

impl Driver {
    /// Sees to a call about `past`; `reply` hears of it, here or later.
    pub fn dispatch_past(self: &Arc<Self>, past: Past, call: Call, reply: Reply) {
        let answer = match &call.request {
            Request::Reclaimed { .. } | Request::Return { .. } | Request::Leave { .. } | Request::Close { .. } => {
                Answer::Done
            }
            Request::Lock { .. } | Request::TestLock { .. } | Request::CancelLock { .. } => Answer::InTheWay(None),
            request if request.is_change() || matches!(request, Request::Vnodes { .. }) => {
                let error = Error::new(Kind::ReadOnly, format!("fileset {}", past.of));
                return reply(Err(error.because("no snapshot or backup of it is changed").into()));
            }
            _ => return self.look_back(past, call, reply, Patience::None),
        };
        reply(Ok((answer, Bytes::new())));
    }

    fn look_back(self: &Arc<Self>, past: Past, call: Call, reply: Reply, patience: Patience) {
        let shown = self
            .past(past, patience)
            .and_then(|fileset| self.shown(past, &fileset, &call));
        match shown {
            Err(error) if error.kind == Kind::Wait && patience == Patience::None => {
                self.later(move |driver| driver.look_back(past, call, reply, Patience::Wait));
            }
            shown => reply(shown.map_err(Into::into)),
        }
    }

    fn past(&self, past: Past, patience: Patience) -> Result<Fileset> {
        let fileset = self.fileset(past.of, patience)?;
        let snapshot = match past.which {
            Which::Number(number) => fileset.snapshot_numbered(number),
            Which::Backup => fileset.snapshot_named(BACKUP.as_bytes()),
        };
        let gone = || Error::new(Kind::Stale, format!("fileset {}", past.of)).because("this snapshot of it is no more");
        let id = snapshot.map(|snapshot| snapshot.id);
        fileset.until_snapshots_last(id)?;
        fileset.at(id.ok_or_else(gone)?).map_err(|error| match error.kind {
            // It was deleted meanwhile.
            Kind::NotFound => gone(),
            _ => error,
        })
    }

    fn shown(&self, past: Past, fileset: &Fileset, call: &Call) -> Result<(Answer, Bytes)> {
        let answer = match &call.request {
            Request::Join { fileset: id, .. } => {
                let root = fileset.read(|view| store::root(view, *id))?;
                let hold = match past.which {
                    Which::Number(_) => Hold::Alone,
                    Which::Backup => Hold::Shared,
                };
                let (serial, root) = (1, shape::object(&root)?);
                shape::in_branch(Answer::Joined { hold, serial, root }, fileset.began())
            }
            Request::Open { fid } => {
                fileset.read(|view| store::getattr(view, *fid))?;
                Answer::Done
            }
            request => {
                let lost = Cell::new(None);
                return ops::look(&self.cx(call, fileset, &lost, &|_, keep| Ok(keep)), request);
            }
        };
        Ok((answer, Bytes::new()))
    }
}
