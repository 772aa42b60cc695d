//! The whole state as bytes, for Raft's snapshots and for a member that has to start from nothing.
//!
//! ```text
//! ┌──────────────┬───────────┬─────────────────────────────────────────────┬─────────────────────────┐
//! │ "BATONFLDB\n"│ format u32│ records, each a varint length and a message │ blake3 of it all, 16 B. │
//! └──────────────┴───────────┴─────────────────────────────────────────────┴─────────────────────────┘
//! ```
//! The first record is the counters, and tells at which index the state is. Indexes by name, number and
//! address are made anew from the records, so they cannot disagree with them. The checksum is what tells
//! a dump that ends between two records from a whole one.

use baton_proto::v1;
use baton_types::change::ChangeSession;
use baton_types::record::{Record, Table};
use baton_types::{Error, Kind, Result};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};

use super::table::Loading;
use super::{Answered, Counters, Filter, Fldb, Moment};

const MAGIC: &[u8; 10] = b"BATONFLDB\n";
const FORMAT: u32 = 1;
const CHECKSUM_BYTES: usize = 16;
/// Of a fileset among the kinds of records.
const FILESET_TAG: u32 = 6;
const SNAPSHOT: &str = "snapshot of the location database";

impl Fldb {
    /// All of it.
    pub fn dump(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 << 16);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        push(&mut bytes, v1::record::Record::Counters(self.counters()));
        let everything = Filter::default();
        for table in Table::ALL {
            if table == Table::Fileset {
                self.filesets
                    .messages()
                    .for_each(|message| push_fileset(&mut bytes, message));
                continue;
            }
            // Only a filter can make a list fail, and there is none.
            for record in self.list(table, &everything).into_iter().flatten() {
                let record = v1::Record::from(record);
                bytes.reserve(record.encoded_len() + 8);
                record
                    .encode_length_delimited(&mut bytes)
                    .unwrap_or_else(|_| unreachable!("a Vec grows"));
            }
        }
        for (session, answered) in self.sessions.iter() {
            push(
                &mut bytes,
                v1::record::Record::Session(Box::new(session_record(session, answered))),
            );
        }
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        bytes
    }

    /// The state in `bytes`.
    ///
    /// # Errors
    /// `Version` for another format; `Damaged` for anything that is no dump.
    pub fn load(bytes: &[u8]) -> Result<Fldb> {
        let mut records = checked(bytes)?;
        let mut state = Fldb::default();
        state.take_counters(&next(&mut records)?)?;
        let mut filesets = Loading::default();
        while !records.is_empty() {
            let record = next(&mut records)?;
            let taken = match record.record {
                Some(v1::record::Record::Fileset(fileset)) => fileset.try_into().map(|fileset| filesets.push(fileset)),
                _ => state.take(record),
            };
            taken.map_err(|e| damaged(e.to_string()))?;
        }
        state.filesets = filesets.finish();
        state.owners_changed = Moment(state.applied);
        Ok(state)
    }

    fn counters(&self) -> v1::Counters {
        v1::Counters {
            next_fileset: self.next.fileset,
            next_entry: self.next.entry,
            next_aggregate: self.next.aggregate,
            next_member: self.next.member,
            next_principal: self.next.principal,
            horizon: self.horizon,
            applied: self.applied,
        }
    }

    fn take_counters(&mut self, record: &v1::Record) -> Result<()> {
        let Some(v1::record::Record::Counters(c)) = &record.record else {
            return Err(damaged("it does not begin with the counters"));
        };
        self.next = Counters {
            fileset: c.next_fileset,
            entry: c.next_entry,
            aggregate: c.next_aggregate,
            member: c.next_member,
            principal: c.next_principal,
        };
        self.horizon = c.horizon;
        self.applied = c.applied;
        Ok(())
    }

    fn take(&mut self, record: v1::Record) -> Result<()> {
        match record.record {
            Some(v1::record::Record::Session(session)) => self.take_session(*session)?,
            Some(_) | None => self.take_record(record.try_into()?),
        }
        Ok(())
    }

    fn take_record(&mut self, record: Record) {
        match record {
            Record::Cell(cell) => self.cell = Some(cell),
            Record::Member(member) => self.members.insert_mut(member.number, member),
            Record::Server(server) => {
                self.server_names.insert_mut(server.name.clone(), server.id);
                self.servers.insert_mut(server.id, server);
            }
            Record::Entry(entry) => {
                for address in &entry.addresses {
                    self.entry_addresses.insert_mut(address.clone(), entry.number);
                }
                self.entries.insert_mut(entry.number, entry);
            }
            Record::Aggregate(aggregate) => self.enter_aggregate(aggregate),
            Record::Fileset(fileset) => self.filesets.put(&fileset),
            Record::Principal(principal) => {
                if let Some(id) = principal.id {
                    self.principal_ids.insert_mut(id, principal.name.clone());
                }
                self.principals.insert_mut(principal.name.clone(), principal);
            }
            Record::Invitation(invitation) => self.invitations.insert_mut(invitation.secret_hash, invitation),
            Record::Event(event) => self.events.insert_mut(event.index, event),
            Record::Group(group) => {
                self.group_ids.insert_mut(group.id, group.name.clone());
                self.groups.insert_mut(group.name.clone(), group);
            }
            Record::Tenure(tenure) => self.tenures.insert_mut((tenure.aggregate, tenure.epoch), tenure),
        }
    }

    fn take_session(&mut self, wire: v1::ChangeSession) -> Result<()> {
        let bad = |_| Error::new(Kind::Damaged, "session");
        let session = ChangeSession(wire.session.as_slice().try_into().map_err(bad)?);
        let outcome = if wire.failure.is_empty() {
            Ok(wire.record.map(|record| (*record).try_into()).transpose()?)
        } else {
            let failure = v1::Failure::decode(wire.failure.as_slice());
            Err(failure.map_err(|_| Error::new(Kind::Damaged, "session"))?.into())
        };
        self.session_order.insert_mut(wire.index, session);
        self.sessions.insert_mut(
            session,
            Answered {
                sequence: wire.sequence,
                index: wire.index,
                outcome,
            },
        );
        Ok(())
    }
}

fn session_record(session: &ChangeSession, answered: &Answered) -> v1::ChangeSession {
    let (record, failure) = match &answered.outcome {
        Ok(record) => (record.clone().map(|record| Box::new(record.into())), Vec::new()),
        Err(error) => (None, v1::Failure::from(error).encode_to_vec()),
    };
    v1::ChangeSession {
        session: session.0.to_vec(),
        sequence: answered.sequence,
        index: answered.index,
        record,
        failure,
    }
}

/// The records in `bytes`, if these are a whole dump.
fn checked(bytes: &[u8]) -> Result<&[u8]> {
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or_else(|| damaged("it does not begin as one"))?;
    let (format, rest) = rest.split_first_chunk().ok_or_else(|| damaged("it ends early"))?;
    let format = u32::from_le_bytes(*format);
    if format != FORMAT {
        return Err(Error::new(Kind::Version, SNAPSHOT)
            .because(format!("format {format}, this version reads {FORMAT}"))
            .remedy("start the version that wrote it"));
    }
    let (records, sum) = rest.split_last_chunk().ok_or_else(|| damaged("it ends early"))?;
    if checksum(&bytes[..bytes.len() - CHECKSUM_BYTES]) != *sum {
        return Err(damaged("its checksum is not that of its bytes"));
    }
    Ok(records)
}

/// The next record of `records`.
fn next(records: &mut &[u8]) -> Result<v1::Record> {
    v1::Record::decode_length_delimited(records).map_err(|e| damaged(e.to_string()))
}

fn damaged(why: impl Into<String>) -> Error {
    Error::new(Kind::Damaged, SNAPSHOT).because(why)
}

pub(super) fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut sum = [0; CHECKSUM_BYTES];
    sum.copy_from_slice(&blake3::hash(bytes).as_bytes()[..CHECKSUM_BYTES]);
    sum
}

/// A record of a fileset around its message, which is kept as it goes out.
fn push_fileset(bytes: &mut Vec<u8>, message: &[u8]) {
    let mut head = Vec::with_capacity(8);
    encode_key(FILESET_TAG, WireType::LengthDelimited, &mut head);
    encode_varint(message.len() as u64, &mut head);
    encode_varint((head.len() + message.len()) as u64, bytes);
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(message);
}

fn push(bytes: &mut Vec<u8>, record: v1::record::Record) {
    let record = v1::Record { record: Some(record) };
    record
        .encode_length_delimited(bytes)
        .unwrap_or_else(|_| unreachable!("a Vec grows"));
}
