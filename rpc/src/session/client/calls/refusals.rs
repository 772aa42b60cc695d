//! Refusals: which of them the mount sees, and which are only a reason to ask again.

use baton_types::call::Request;
use baton_types::{Error, Kind, Time};

use super::Purpose;
use crate::session::client::{AGAIN_MICROS, Action, Client, ConnectionId, LOGINS_MAX, Refusal};

impl Client {
    /// The server did not do it: the call waits, is asked again, or has that for its answer.
    pub(super) fn refused(
        &mut self,
        now: Time,
        id: u64,
        connection: ConnectionId,
        Refusal { error, lsn }: Refusal,
        actions: &mut Vec<Action>,
    ) {
        let Some(ongoing) = self.ongoing.get_mut(&id) else {
            return;
        };
        let purpose = ongoing.purpose;
        match error.kind {
            Kind::SessionLost => self.lose(now, &error, actions),
            Kind::WrongEpoch | Kind::Detached => {
                self.wait(id);
                self.moved(now, actions);
            }
            Kind::Moved if ongoing.request.fileset().is_none() => {
                self.wait(id);
                self.moved(now, actions);
            }
            Kind::Expired if ongoing.logins < LOGINS_MAX && ongoing.caller != 0 => {
                ongoing.logins += 1;
                let caller = ongoing.caller;
                actions.push(Action::Forget { connection, caller });
                self.put(now, id, connection, actions);
            }
            // A limit that the operation itself met is its answer, the same however often it is asked again.
            Kind::Moved | Kind::Recovering | Kind::Grace | Kind::Wait | Kind::Limit
                if error.kind != Kind::Limit || lsn == 0 =>
            {
                if error.kind == Kind::Moved {
                    actions.push(Action::Locate(ongoing.request.fileset()));
                }
                self.later(now, id, connection, actions);
            }
            // It came before the renewal that makes the server hear of us again.
            Kind::NotJoined if matches!(ongoing.request, Request::Join { .. }) => {
                self.later(now, id, connection, actions);
            }
            _ => match purpose {
                // Nothing of it is said again: what is not there needs no place in the next owner's history.
                Purpose::Mount(_) => {
                    if lsn == 0 {
                        self.pass_by(id);
                    }
                    self.done(id, Err(shown(error)), actions);
                }
                // A connection that cannot be bound, or on which nobody may renew, is of no use.
                Purpose::Session => {
                    self.ongoing.remove(&id);
                    actions.push(Action::Close(connection));
                    self.failed(now, connection, actions);
                }
                Purpose::Return => self.not_returned(id, error, actions),
                Purpose::Replay => self.not_replayed(id, error, actions),
            },
        }
    }

    /// The server is not ready for it: it is asked again a little later.
    fn later(&mut self, now: Time, id: u64, connection: ConnectionId, actions: &mut Vec<Action>) {
        let Some(ongoing) = self.ongoing.get(&id) else { return };
        match ongoing.purpose {
            Purpose::Mount(_) if ongoing.call.is_none() && ongoing.name.is_none() => drop(self.ongoing.remove(&id)),
            Purpose::Mount(_) => drop(self.delayed.insert((now + AGAIN_MICROS, id))),
            Purpose::Session | Purpose::Return | Purpose::Replay => {
                self.ongoing.remove(&id);
                actions.push(Action::Close(connection));
                self.failed(now, connection, actions);
            }
        }
    }
}

/// What the mount may see of a refusal.
fn shown(error: Error) -> Error {
    if error.kind.is_internal() {
        let kind = if error.kind == Kind::Expired {
            Kind::Denied
        } else {
            Kind::Io
        };
        return Error { kind, ..error };
    }
    error
}
