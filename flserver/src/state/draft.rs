//! A change under way: the copy it works on, and a list of what it has touched.
//!
//! All writing goes through `put_*` and `drop_*`, which keep the indexes by name, number and address in
//! step with the records, and note each touched record for the watchers.

use std::collections::BTreeSet;

use baton_types::change::{Change, Proposal, Who};
use baton_types::limits::{TENURES_MAX, TEXT_BYTES_MAX};
use baton_types::record::{
    Aggregate, Cell, Changed, Event, Fileset, Group, Invitation, Key, Member, Principal, Record, Server, ServerEntry,
    Tenure,
};
use baton_types::{Epoch, GroupName, PrincipalName, Result, Timestamp};

use super::{Fldb, Moment};

/// A copy of the state that becomes the state if the change succeeds.
pub(super) struct Draft<'a> {
    pub(super) state: Fldb,
    pub(super) index: u64,
    pub(super) date: Timestamp,
    pub(super) who: &'a Who,
    changed: Changed,
    /// The keys in it.
    noted: BTreeSet<Key>,
    /// What to write into the events; set by the change, none if it did nothing worth telling.
    event: Option<Telling>,
}

/// What becomes an event.
struct Telling {
    on: String,
    /// If not the caller.
    by: Option<PrincipalName>,
    detail: String,
}

impl<'a> Draft<'a> {
    pub(super) fn new(state: Fldb, index: u64, proposal: &'a Proposal) -> Draft<'a> {
        Draft {
            state,
            index,
            date: proposal.date,
            who: &proposal.who,
            changed: Changed {
                index,
                ..Changed::default()
            },
            noted: BTreeSet::new(),
            event: None,
        }
    }

    /// Does `change`, and says what its record looks like after it; none if it is gone.
    #[expect(clippy::too_many_lines, reason = "one arm for each change, and nothing else")]
    pub(super) fn run(&mut self, change: &Change) -> Result<Option<Record>> {
        let record = match change {
            Change::CreateServerEntry {
                address,
                principal,
                quota,
                owner,
            } => self.create_entry(address, principal, *quota, owner.as_ref())?,
            Change::EditServerEntry { .. } => self.edit_entry(change)?,
            Change::DeleteServerEntry { address } => return self.delete_entry(address).map(|()| None),
            Change::CreateFileset {
                name,
                server,
                aggregate,
                quota_bytes,
            } => self.create_fileset(name, server, aggregate, *quota_bytes)?,
            Change::DeleteFileset {
                fileset,
                server,
                aggregate,
            } => {
                return self.delete_fileset(fileset, server, aggregate).map(|()| None);
            }
            Change::RenameFileset { fileset, name } => self.rename_fileset(fileset, name)?,
            Change::SetQuota { fileset, bytes, files } => self.set_quota(fileset, *bytes, *files)?,
            Change::LockFileset { fileset } => self.lock_fileset(fileset)?,
            Change::UnlockFileset { fileset } => self.unlock_fileset(fileset)?,
            Change::BookFileset { .. } => self.book_fileset(change)?,
            Change::ReserveFilesetIds { through } => return self.reserve_fileset_ids(*through).map(|()| None),
            Change::ForgetFileset { fileset } => return self.forget_fileset(fileset).map(|()| None),
            Change::RegisterServer { .. } => self.register(change)?,
            Change::ReportAggregate { server, id, name } => self.report(*server, *id, name)?,
            Change::Claim { .. } => self.claim(change)?,
            Change::Detach {
                aggregate,
                server,
                epoch,
            } => self.detach(*aggregate, *server, *epoch)?,
            Change::GiveUp {
                aggregate,
                server,
                epoch,
                why,
            } => self.give_up(*aggregate, *server, *epoch, why)?,
            Change::Fail { .. } => self.fail(change)?,
            Change::Adopt { .. } => self.adopt(change)?,
            Change::SetHeld { aggregate, why } => self.set_held(aggregate, why.as_deref())?,
            Change::Judge { .. } => self.judge(change)?,
            Change::Move(wish) => self.move_aggregates(wish)?,
            Change::HandOver { server, rows } => self.hand_over(*server, rows)?,
            Change::AbandonMove { server, rows, why } => self.abandon_move(*server, rows, why)?,
            Change::SetDrained { .. } | Change::SetDomain { .. } | Change::Prefer { .. } => self.whereabouts(change)?,
            Change::ReportTakeover { .. } => self.report_takeover(change)?,
            Change::ReportFileset { .. } => self.report_fileset(change)?,
            Change::EditPrincipal { .. } => self.edit_principal(change)?,
            Change::EditGroup { name, id } => return self.edit_group(name, *id),
            Change::Import(import) => return self.import(import).map(|()| None),
            Change::Invite { .. } => self.invite(change)?,
            Change::UseInvitation {
                secret_hash,
                public_key_hash,
                addresses,
            } => self.use_invitation(*secret_hash, *public_key_hash, addresses)?,
            Change::SetCell { key, value } => self.set_cell(key, value)?,
            Change::AnnounceMember {
                name,
                addresses,
                issuer,
            } => self.announce_member(name, addresses, *issuer)?,
            Change::RemoveMember { name } => return self.remove_member(name).map(|()| None),
            Change::Genesis { .. } => self.genesis(change)?,
        };
        Ok(Some(record))
    }

    /// The new state, and what watchers are to be told.
    pub(super) fn finish(mut self, change: &Change) -> (Fldb, Changed) {
        if let Some(Telling { on, by, detail }) = self.event.take() {
            let nobody = || PrincipalName::parse("nobody").ok();
            let Some(by) = by.or_else(|| self.who.principal().cloned()).or_else(nobody) else {
                return (self.state, self.changed);
            };
            let event = Event {
                index: self.index,
                date: self.date,
                by,
                what: verb(change).to_owned(),
                on,
                detail,
            };
            self.state.events.insert_mut(event.index, event.clone());
            self.changed.put.push(Record::Event(event));
            while self.state.events.size() > self.state.kept.events {
                let Some((&oldest, _)) = self.state.events.iter().next() else {
                    break;
                };
                self.state.events.remove_mut(&oldest);
                self.changed.gone.push(Key::Event(oldest));
            }
        }
        (self.state, self.changed)
    }

    /// Notes that the change is worth an event on the thing called `on`.
    pub(super) fn tell(&mut self, on: impl Into<String>) {
        self.tell_detail(on, "");
    }

    /// The same, with the evidence or the result.
    pub(super) fn tell_detail(&mut self, on: impl Into<String>, detail: &str) {
        self.event = Some(Telling {
            on: one_line(on.into()),
            by: None,
            detail: one_line(detail.to_owned()),
        });
    }

    /// The same for a change whose caller is not logged in.
    pub(super) fn tell_for(&mut self, by: PrincipalName, on: impl Into<String>) {
        self.event = Some(Telling {
            on: one_line(on.into()),
            by: Some(by),
            detail: String::new(),
        });
    }

    pub(super) fn put_cell(&mut self, cell: Cell) -> Record {
        self.state.cell = Some(cell.clone());
        self.note(Record::Cell(cell))
    }

    pub(super) fn put_member(&mut self, member: Member) -> Record {
        self.state.members.insert_mut(member.number, member.clone());
        self.note(Record::Member(member))
    }

    pub(super) fn drop_member(&mut self, number: u64) {
        self.state.members.remove_mut(&number);
        self.note_gone(Key::Member(number));
    }

    pub(super) fn put_server(&mut self, server: Server) -> Record {
        let server = Server {
            evidence: one_line(server.evidence),
            ..server
        };
        if let Some(before) = self.state.servers.get(&server.id).map(|s| s.name.clone()) {
            self.state.server_names.remove_mut(&before);
        }
        self.state.owners_changed = Moment(self.index);
        self.state.server_names.insert_mut(server.name.clone(), server.id);
        self.state.servers.insert_mut(server.id, server.clone());
        self.note(Record::Server(server))
    }

    pub(super) fn put_entry(&mut self, entry: ServerEntry) -> Record {
        self.forget_addresses(entry.number);
        for address in &entry.addresses {
            self.state.entry_addresses.insert_mut(address.clone(), entry.number);
        }
        self.state.entries.insert_mut(entry.number, entry.clone());
        self.note(Record::Entry(entry))
    }

    pub(super) fn drop_entry(&mut self, number: u32) {
        self.forget_addresses(number);
        self.state.entries.remove_mut(&number);
        self.note_gone(Key::Entry(number));
    }

    fn forget_addresses(&mut self, number: u32) {
        if let Some(before) = self.state.entries.get(&number).cloned() {
            for address in &before.addresses {
                self.state.entry_addresses.remove_mut(address);
            }
        }
    }

    pub(super) fn put_aggregate(&mut self, aggregate: Aggregate) -> Record {
        let aggregate = Aggregate {
            reason: one_line(aggregate.reason),
            held: aggregate.held.map(one_line),
            ..aggregate
        };
        if let Some(before) = self.state.aggregates.get(&aggregate.id)
            && let Some(owner) = before.owner
        {
            let place = (owner, before.number);
            self.state.owned.remove_mut(&place);
        }
        self.state.owners_changed = Moment(self.index);
        self.state.enter_aggregate(aggregate.clone());
        self.note(Record::Aggregate(aggregate))
    }

    /// Of each aggregate the last owners are remembered.
    pub(super) fn put_tenure(&mut self, tenure: Tenure) -> Record {
        let tenure = Tenure {
            reason: one_line(tenure.reason),
            ..tenure
        };
        let id = tenure.aggregate;
        self.state.tenures.insert_mut((id, tenure.epoch), tenure.clone());
        let own = |state: &Fldb| -> Vec<Epoch> {
            let own = state.tenures.range((id, Epoch::NONE)..=(id, Epoch(u64::MAX)));
            own.map(|((_, epoch), _)| *epoch).collect()
        };
        let known = own(&self.state);
        for epoch in known.iter().take(known.len().saturating_sub(TENURES_MAX)) {
            self.state.tenures.remove_mut(&(id, *epoch));
            self.note_gone(Key::Tenure(id, *epoch));
        }
        self.note(Record::Tenure(tenure))
    }

    pub(super) fn put_fileset(&mut self, fileset: Fileset) -> Record {
        self.state.filesets.put(&fileset);
        self.note(Record::Fileset(fileset))
    }

    pub(super) fn drop_fileset(&mut self, fileset: &Fileset) {
        self.state.filesets.remove(fileset);
        self.note_gone(Key::Fileset(fileset.id));
    }

    pub(super) fn put_principal(&mut self, principal: Principal) -> Record {
        if let Some(id) = principal.id {
            self.state.principal_ids.insert_mut(id, principal.name.clone());
        }
        self.state
            .principals
            .insert_mut(principal.name.clone(), principal.clone());
        self.note(Record::Principal(principal))
    }

    pub(super) fn put_group(&mut self, group: Group) -> Record {
        self.drop_group_id(&group.name);
        self.state.group_ids.insert_mut(group.id, group.name.clone());
        self.state.groups.insert_mut(group.name.clone(), group.clone());
        self.note(Record::Group(group))
    }

    pub(super) fn drop_group(&mut self, name: &GroupName) {
        self.drop_group_id(name);
        self.state.groups.remove_mut(name);
        self.note_gone(Key::Group(name.clone()));
    }

    fn drop_group_id(&mut self, name: &GroupName) {
        if let Some(before) = self.state.groups.get(name).map(|group| group.id) {
            self.state.group_ids.remove_mut(&before);
        }
    }

    pub(super) fn put_invitation(&mut self, invitation: Invitation) -> Record {
        self.state
            .invitations
            .insert_mut(invitation.secret_hash, invitation.clone());
        self.note(Record::Invitation(invitation))
    }

    pub(super) fn drop_invitation(&mut self, secret_hash: [u8; 32]) {
        self.state.invitations.remove_mut(&secret_hash);
        self.note_gone(Key::Invitation(secret_hash));
    }

    /// Watchers hear of each key once: how it stands after the change.
    fn note(&mut self, record: Record) -> Record {
        self.forget_note(&record.key());
        self.changed.put.push(record.clone());
        record
    }

    fn note_gone(&mut self, key: Key) {
        self.forget_note(&key);
        self.changed.gone.push(key);
    }

    /// Only what was noted before is looked for: a decision may touch two thousand records.
    fn forget_note(&mut self, key: &Key) {
        if self.noted.insert(key.clone()) {
            return;
        }
        self.changed.put.retain(|record| record.key() != *key);
        self.changed.gone.retain(|gone| gone != key);
    }
}

/// As much of `text` as a record may hold: what is put together of several texts may be longer than each of them was
/// allowed to be, and a record that is too long for the wire could not be read back.
pub(crate) fn one_line(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

/// What an event calls a change.
fn verb(change: &Change) -> &'static str {
    match change {
        Change::CreateServerEntry { .. } => "create server entry",
        Change::EditServerEntry { .. } => "edit server entry",
        Change::DeleteServerEntry { .. } => "delete server entry",
        Change::CreateFileset { .. } => "create fileset",
        Change::DeleteFileset { .. } => "delete fileset",
        Change::RenameFileset { .. } => "rename fileset",
        Change::SetQuota { .. } => "set quota",
        Change::LockFileset { .. } => "lock fileset",
        Change::UnlockFileset { .. } => "unlock fileset",
        Change::BookFileset { .. } => "book fileset",
        Change::ReserveFilesetIds { .. } => "reserve fileset",
        Change::ForgetFileset { .. } => "delete fldb entry",
        Change::RegisterServer { .. } => "register server",
        Change::ReportAggregate { .. } => "attach aggregate",
        Change::Claim { .. } => "claim aggregate",
        Change::Detach { .. } => "detach aggregate",
        Change::GiveUp { .. } => "give up aggregate",
        Change::Fail { .. } => "fail on aggregate",
        Change::Adopt { .. } => "seize aggregate",
        Change::SetHeld { why: Some(_), .. } => "hold aggregate",
        Change::SetHeld { why: None, .. } => "unhold aggregate",
        Change::Judge { .. } => "judge",
        Change::Move(_) => "move",
        Change::HandOver { .. } => "hand over",
        Change::AbandonMove { .. } => "abandon move",
        Change::SetDrained { drained: true, .. } => "drain",
        Change::SetDrained { drained: false, .. } => "undrain",
        Change::SetDomain { .. } => "set domain",
        Change::Prefer { .. } => "prefer",
        Change::ReportTakeover { .. } => "serve",
        Change::ReportFileset { .. } => "report fileset",
        Change::SetCell { .. } => "set",
        Change::EditPrincipal { .. } => "edit principal",
        Change::EditGroup { .. } => "edit group",
        Change::Import(_) => "import",
        Change::Invite { .. } => "invite",
        Change::UseInvitation { .. } => "join",
        Change::AnnounceMember { .. } => "announce member",
        Change::RemoveMember { .. } => "remove member",
        Change::Genesis { .. } => "create cell",
    }
}
