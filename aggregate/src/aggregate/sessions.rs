//! Sessions, vnode ranges, clients and holds: records of the system tree, told only after their look (R3).

use baton_types::{ClientId, Error, FilesetId, Kind, Result, Timestamp, Vnode};

use super::Aggregate;
use crate::fileset::catalog;
use crate::format::{
    ClientState, Key, KeyKind, Lsn, RecordKind, SessionHeader, VnodeRange, decode_holders, encode_holders,
};
use crate::transaction::{Operation, SessionId, Transaction};
use crate::tree::Stop;

/// Vnodes that a session is given at once.
pub const RANGE_VNODES: u32 = 1_024;
/// Ranges of one fileset that a session keeps: it has used up what it was given before them.
const RANGES_KEPT: usize = 64;

/// A session, as far as it matters to the client that comes back to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionState {
    /// Whose it is.
    pub client: ClientId,
    /// The last sequence of each stream that ran.
    pub streams: Vec<(u16, u32)>,
}

impl Aggregate {
    /// Begins a session of `client`, and records the client with it. A session that it had is over.
    ///
    /// # Errors
    /// `NoSpace`; damage.
    pub fn open_session(&self, client: ClientId, time: Timestamp) -> Result<(Lsn, SessionId)> {
        let (lsn, (session, old)) = self.change_system(RecordKind::Session, &Operation::default(), |transaction| {
            let old = match transaction.get(Key::client(client))? {
                Some(bytes) => Some(SessionId(ClientState::decode(&bytes)?.session)),
                None => None,
            };
            if let Some(old) = old {
                forget(transaction, old)?;
            }
            // Whoever opens another one waits for the system tree, and finds the log longer.
            let session = SessionId::at(self.label().id, self.engine.log.last().next());
            let state = ClientState {
                session: session.0,
                time,
                lapsed: None,
            };
            transaction.put(Key::session(session.0), SessionHeader { client, opened: time }.encode());
            transaction.put(Key::client(client), state.encode());
            Ok((session, old))
        })?;
        if let Some(old) = old {
            self.engine.sessions.ended(old);
        }
        Ok((lsn, session))
    }

    /// A session that was opened and has not ended.
    ///
    /// # Errors
    /// `SessionLost` if there is none; damage.
    pub fn session(&self, session: SessionId) -> Result<SessionState> {
        let header = self.read_system(|view| match view.get(Key::session(session.0))? {
            Some(bytes) => Ok(Some(SessionHeader::decode(&bytes)?)),
            None => Ok(None),
        })?;
        let header = header.ok_or_else(|| lost(session))?;
        Ok(SessionState {
            client: header.client,
            streams: self.engine.sessions.last(&self.engine, session)?,
        })
    }

    /// Ends a session: its streams, replies and ranges are forgotten. Its client stays recorded until it holds nothing.
    ///
    /// # Errors
    /// Damage.
    pub fn end_session(&self, session: SessionId) -> Result<Lsn> {
        let ended = self.change_system(RecordKind::Session, &Operation::default(), |transaction| {
            forget(transaction, session)
        });
        self.engine.sessions.ended(session);
        ended.map(|(lsn, ())| lsn)
    }

    /// Forgets a client that holds nothing any more, unless it has come back with another session than `session`.
    ///
    /// # Errors
    /// Damage.
    pub fn forget_client(&self, client: ClientId, session: SessionId) -> Result<Lsn> {
        let forgotten = self.change_system(RecordKind::Client, &Operation::default(), |transaction| {
            if let Some(bytes) = transaction.get(Key::client(client))?
                && ClientState::decode(&bytes)?.session == session.0
            {
                transaction.delete(Key::client(client));
            }
            Ok(())
        });
        forgotten.map(|(lsn, ())| lsn)
    }

    /// Gives `session` vnodes of `fileset` to name what it makes.
    ///
    /// # Errors
    /// `SessionLost`, `NotFound`; `Limit` when a fileset has given out all it has.
    pub fn grant_vnodes(&self, session: SessionId, fileset: FilesetId) -> Result<(Lsn, VnodeRange)> {
        let cell = self.engine.fileset(fileset)?;
        let key = Key::vnode_range(session.0, fileset);
        self.change_system(RecordKind::Session, &Operation::default(), |transaction| {
            check_session(transaction, session)?;
            let mut ranges = match transaction.get(key)? {
                Some(bytes) => VnodeRange::decode_all(&bytes)?,
                None => Vec::new(),
            };
            // The system tree's lock is held: nobody else takes a range meanwhile.
            let mut state = cell.state.lock();
            let last = Vnode::new(state.next_vnode + u64::from(RANGE_VNODES) - 1);
            last.map_err(|error| Error::new(Kind::Limit, format!("fileset {fileset}")).because(error.reason))?;
            let range = VnodeRange {
                first: Vnode::new(state.next_vnode)?,
                count: RANGE_VNODES,
            };
            state.next_vnode += u64::from(RANGE_VNODES);
            self.engine.note_change(&cell, &mut state);
            ranges.push(range);
            ranges.drain(..ranges.len().saturating_sub(RANGES_KEPT));
            transaction.put(key, VnodeRange::encode_all(&ranges));
            Ok(range)
        })
    }

    /// Records a client, or what became of it.
    ///
    /// # Errors
    /// Damage.
    pub fn record_client(&self, client: ClientId, state: ClientState) -> Result<Lsn> {
        let recorded = self.change_system(RecordKind::Client, &Operation::default(), |transaction| {
            transaction.put(Key::client(client), state.encode());
            Ok(())
        });
        recorded.map(|(lsn, ())| lsn)
    }

    /// What is recorded of a client.
    ///
    /// # Errors
    /// Damage.
    pub fn client(&self, client: ClientId) -> Result<Option<ClientState>> {
        self.read_system(|view| match view.get(Key::client(client))? {
            Some(bytes) => Ok(Some(ClientState::decode(&bytes)?)),
            None => Ok(None),
        })
    }

    /// Records that `client` may hold something in `fileset`: before its first answer there (I4).
    ///
    /// # Errors
    /// `NotFound` for a fileset that is none, or is being taken apart; damage.
    pub fn record_hold(&self, fileset: FilesetId, client: ClientId) -> Result<Lsn> {
        self.change_hold(fileset, client, |transaction, holders| {
            catalog::shown(transaction, fileset)?;
            if !holders.contains(&client) {
                holders.push(client);
            }
            Ok(())
        })
    }

    /// Records that `client` holds nothing in `fileset` any more.
    ///
    /// # Errors
    /// Damage.
    pub fn drop_hold(&self, fileset: FilesetId, client: ClientId) -> Result<Lsn> {
        self.change_hold(fileset, client, |_, holders| {
            holders.retain(|holder| *holder != client);
            Ok(())
        })
    }

    fn change_hold(
        &self,
        fileset: FilesetId,
        client: ClientId,
        change: impl Fn(&Transaction<'_>, &mut Vec<ClientId>) -> Result<(), Stop>,
    ) -> Result<Lsn> {
        let key = Key::hold(fileset, client);
        let changed = self.change_system(RecordKind::Holds, &Operation::default(), |transaction| {
            let mut holders = match transaction.get(key)? {
                Some(bytes) => decode_holders(&bytes)?,
                None => Vec::new(),
            };
            change(transaction, &mut holders)?;
            match holders.as_slice() {
                [] => transaction.delete(key),
                holders => transaction.put(key, encode_holders(holders)),
            }
            Ok(())
        });
        changed.map(|(lsn, ())| lsn)
    }

    /// The clients that may hold something in `fileset`: whom a takeover waits for.
    ///
    /// # Errors
    /// Damage.
    pub fn holders(&self, fileset: FilesetId) -> Result<Vec<ClientId>> {
        self.read_system(|view| {
            let key = |sub| Key::new(fileset.0, KeyKind::Hold, sub);
            let mut holders = Vec::new();
            for item in view.scan(key(0), key(u64::MAX)) {
                holders.extend(decode_holders(&item?.1)?);
            }
            Ok(holders)
        })
    }
}

fn check_session(transaction: &Transaction<'_>, session: SessionId) -> Result<(), Stop> {
    match transaction.get(Key::session(session.0))? {
        Some(_) => Ok(()),
        None => Err(lost(session).into()),
    }
}

/// Deletes all that is kept for a session.
fn forget(transaction: &mut Transaction<'_>, session: SessionId) -> Result<(), Stop> {
    let first = Key::session(session.0);
    let last = Key::new(session.0, KeyKind::VnodeRange, u64::MAX);
    let keys: Vec<Key> = transaction
        .scan(first, last)
        .map(|item| Ok(item?.0))
        .collect::<Result<_, Stop>>()?;
    keys.into_iter().for_each(|key| transaction.delete(key));
    Ok(())
}

fn lost(session: SessionId) -> Error {
    Error::new(Kind::SessionLost, format!("session {}", session.0)).because("there is no such session")
}
