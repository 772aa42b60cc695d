//! The state of one aggregate's clients: tokens, opens, locks and grace, behind one call.
//!
//! [`State`] decides and does nothing: a driver hands it what happened and carries out what it says. It stands behind
//! one mutex, held for a step and never over I/O (HOUSE §3). What the driver must do:
//!
//! - **In order.** Actions are carried out in the order given, those of one step before those of the next: take them
//!   out under the mutex into one queue. Records are *submitted* to the store in that order, so that it is their order
//!   in the log; they need not be waited for one by one. [`Event::Recorded`] is reported when the record is durable
//!   *and* a look submitted after that has passed (I3), in their order. A `Hold` or `Client` for which there is no room
//!   is [`Event::Unrecorded`]; the other notes give something back, and their failure is the aggregate's (I10).
//!   Notes: `Hold` and `Drop` are the store's holds, `Client` and `Lapsed` its client states (with the session, without
//!   and with the date of the lapse), `End` ends the session: at once in the driver's own table, so that no call of it
//!   passes any more, then in the store.
//! - **Binding.** The session is found or opened first, then [`Call::Bind`]; the answer goes out when the ticket is
//!   answered *and* a look passed that was submitted after the call arrived (theorem 3: it counts as a renewal). So does
//!   [`Call::Renew`]. A client that asks for a new session while it has an old one: end the old one before.
//! - **Calls.** Every other call is of a session that the driver knows. One that is about a fileset and is no [`Call`]
//!   first asks [`State::admit`]: `Now`: go on; `Later`: keep the call, and begin it anew when its ticket is named by
//!   [`Action::Resume`]; refused: answer that. A [`Call`] may be told to begin anew, too: hand it in again.
//!   [`Errand::Change`] is what has a sequence; all else is a look.
//! - **Sharing (I5).** Where a client's [`State::hold`] is not `Alone`, an answer that shows what others may have
//!   changed goes out when the log is durable up to there. A hold is granted after the record that followed the return
//!   of the one before, so nothing more is needed for those who are alone.
//! - **Opens.** [`Call::Open`] first, then see in the store that the file is still there; if not, [`Call::Close`].
//!   Whatever may take a file's last name asks [`State::keeps`] inside its transaction, after all that may refuse it,
//!   and reports [`Event::Orphaned`] when it is done and the file stayed. [`Action::Remove`]: take the file apart, step
//!   by step, then [`Event::Removed`]. [`Action::Sweep`]: report every orphan of that fileset as `Orphaned`.
//! - **Time.** [`Event::Wake`] at [`State::wake_at`], asked again after each step.
//!
//! What clients must do for this to hold: a client relies on a hold, a lock, an answer while its lifetime runs *under
//! the epoch that granted it*. When that is over it forgets its holds and drops the answers to what it asked before;
//! its opens, locks and changes stay its own until it hears `SessionLost`, and wait for its next lifetime. It answers
//! each revocation, known hold or not, once every change of its own is answered and its opens and locks are registered.
//! A grant with a lower serial than a revocation it has seen of that fileset and epoch is `Shared`. Of `Join` and
//! `Leave` it has one under way in a fileset at a time; it takes part from the answer of the one to that of the other.
//! After a takeover it says `Join` (`Back`) wherever it takes part, then its opens and locks (without patience), then
//! its changes, then `Reclaimed`; looks and waiting locks come only after that. What it gave up waiting for, because
//! a connection was lost, must not be done after what it asks next: the connections it gave up are closed first.

mod event;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod transcript;

use baton_aggregate::aggregate::Standing;
use baton_types::call::{Coming, Hold, Keep, Lock, LockKind, Patience, Push};
use baton_types::{ClientId, Core, Error, Fid, FilesetId, Kind, Result, Time};

use crate::grace::{Gate, Grace, Over};
use crate::handed::Handed;
use crate::locks::{Locks, Outcome};
use crate::opens::Opens;
use crate::tokens::{self, Tokens, not_joined};

pub use self::event::{Action, Admission, Call, Event, Told};
pub use crate::grace::Errand;
pub use crate::tokens::{Note, RecordId, Session, Ticket};

/// What the log of the last owner says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// All filesets of the aggregate.
    pub filesets: Vec<FilesetId>,
    /// Who may hold something, and where.
    pub holders: Vec<(FilesetId, ClientId)>,
    /// Those among them who had lapsed before: nobody waits for them.
    pub lapsed: Vec<ClientId>,
    /// What they hold besides, if that owner handed it over: then nobody is waited for.
    pub handed: Option<Handed>,
}

/// The state of one aggregate's clients.
#[derive(Debug)]
pub struct State {
    tokens: Tokens,
    opens: Opens,
    locks: Locks,
    grace: Grace,
    /// Calls that need not wait for a lock, only for the log to know that who has it is at an end.
    deferred: Vec<Ticket>,
    actions: Vec<Action>,
}

impl Core for State {
    type Event = Event;
    type Action = Action;

    fn step(&mut self, now: Time, event: Event) -> Vec<Action> {
        self.tokens(now, tokens::Event::Wake);
        for client in self.grace.overdue(now) {
            self.end(now, client);
        }
        match event {
            Event::Call(client, ticket, call) => self.call(now, client, ticket, call),
            // Somebody may yet say that he holds it: the sweep at the end of grace finds it.
            Event::Orphaned(fid) if self.grace.covers(fid.fileset) => {}
            Event::Orphaned(fid) => {
                let removed = self.opens.orphaned(fid);
                self.actions.extend(removed.map(Action::Remove));
            }
            Event::Removed(fid) => self.opens.removed(fid),
            Event::Cancel(client, fid, lock) => {
                // More than once, if it was asked for again on another connection.
                while let Some(ticket) = self.locks.cancel(client, fid, lock) {
                    self.refuse([ticket], "the program waits no more");
                }
            }
            Event::Recorded(id) => self.tokens(now, tokens::Event::Recorded(id)),
            Event::Unrecorded(id, error) => self.tokens(now, tokens::Event::Unrecorded(id, error)),
            Event::Recall => self.tokens(now, tokens::Event::Recall),
            Event::Relent => self.tokens(now, tokens::Event::Relent),
            Event::Wake => {}
        }
        std::mem::take(&mut self.actions)
    }
}

impl State {
    /// After a claim at `claimed_at` by this machine's clock: the moment the slot was written. The lifetimes of all
    /// whom the log knows count from there.
    pub fn new(claimed_at: Time, recovered: &Recovered) -> (State, Vec<Action>) {
        let missing = match recovered.handed {
            Some(_) => &[],
            None => recovered.holders.as_slice(),
        };
        let mut state = State {
            tokens: Tokens::new(claimed_at, &recovered.holders),
            opens: Opens::default(),
            locks: Locks::default(),
            grace: Grace::new(claimed_at, missing),
            deferred: Vec::new(),
            actions: Vec::new(),
        };
        let at_peace = recovered
            .filesets
            .iter()
            .filter(|fileset| !state.grace.covers(**fileset));
        let sweeps: Vec<Action> = at_peace.map(|fileset| Action::Sweep(*fileset)).collect();
        state.actions.extend(sweeps);
        match &recovered.handed {
            Some(handed) => state.take_over(handed),
            None => recovered
                .lapsed
                .iter()
                .for_each(|client| state.end(claimed_at, *client)),
        }
        let actions = std::mem::take(&mut state.actions);
        (state, actions)
    }

    /// Holds what clients held with the last owner. Its own limits let it, and so do these.
    fn take_over(&mut self, handed: &Handed) {
        for &(client, fid) in &handed.opens {
            if self.hold(client, fid.fileset).is_some() {
                drop(self.opens.open(client, fid));
            }
        }
        for &(client, fid, lock) in &handed.locks {
            if self.hold(client, fid.fileset).is_some() {
                drop(self.locks.set(client, fid, lock, Patience::None, Ticket(0)));
            }
        }
    }

    /// What clients hold, for the next owner; `None` while some of the last owner's have not said it all again.
    pub fn handed(&self) -> Option<Handed> {
        (!self.is_in_grace()).then(|| Handed {
            opens: self.opens.all().collect(),
            locks: self.locks.all().collect(),
        })
    }

    /// What `client` may rely on in `fileset`; `None`: it takes no part there.
    pub fn hold(&self, client: ClientId, fileset: FilesetId) -> Option<Hold> {
        self.tokens.hold(client, fileset)
    }

    /// What a change in `fileset` is: where clients of the last owner are waited for, what they say again; elsewhere
    /// meanwhile, something new, that leaves the last room on the aggregate to them (I5).
    pub fn standing(&self, fileset: FilesetId) -> Standing {
        match (self.grace.covers(fileset), self.grace.is_on()) {
            (true, _) => Standing::Accepted,
            (false, true) => Standing::Yielding,
            (false, false) => Standing::Fresh,
        }
    }

    /// Whether a fileset waits for clients of the last owner.
    pub fn awaits(&self, fileset: FilesetId) -> bool {
        self.grace.covers(fileset)
    }

    /// Whether any fileset waits for clients of the last owner.
    pub fn is_in_grace(&self) -> bool {
        self.grace.is_on()
    }

    /// When something happens though nobody says anything.
    pub fn wake_at(&self) -> Option<Time> {
        self.tokens.wake_at().into_iter().chain(self.grace.until()).min()
    }

    /// Whether a call that has no event of its own may go on.
    ///
    /// # Errors
    /// `NotJoined` if the client takes no part in the fileset; `Limit` if too many of its calls wait.
    pub fn admit(&mut self, client: ClientId, fileset: FilesetId, errand: Errand, ticket: Ticket) -> Result<Admission> {
        if self.tokens.hold(client, fileset).is_none() {
            return Err(not_joined(client, fileset));
        }
        Ok(match self.grace.gate(client, fileset, errand, ticket)? {
            Gate::Open => Admission::Now,
            Gate::Parked => Admission::Later,
        })
    }

    /// Whether `fid`, which is about to lose its last name, must stay without one. If `client` keeps it, that counts as
    /// an open, to be closed by it. In grace it stays: who holds it open may not have said so again yet.
    ///
    /// # Errors
    /// `Limit` if the client holds too many files open.
    pub fn keeps(&mut self, client: ClientId, fid: Fid, keep: Keep) -> Result<Keep> {
        if keep == Keep::Open {
            self.opens.open(client, fid)?;
        }
        Ok(if self.opens.is_open(fid) || self.grace.covers(fid.fileset) {
            Keep::Open
        } else {
            Keep::Closed
        })
    }

    /// The lock that keeps `client` from setting `lock`; the call was admitted as a look.
    pub fn test_lock(&self, client: ClientId, fid: Fid, lock: Lock) -> Option<Lock> {
        self.locks.test(client, fid, lock)
    }

    /// What clients hold, fileset by fileset.
    pub fn holds(&self) -> Vec<(ClientId, Hold)> {
        self.tokens.holds()
    }

    /// Whether `client` was heard of too long ago to rely on anything.
    pub fn is_silent(&self, client: ClientId) -> bool {
        self.tokens.is_silent(client)
    }

    /// Whether `client` has set `lock`, all of it.
    pub fn holds_lock(&self, client: ClientId, fid: Fid, lock: Lock) -> bool {
        self.locks.holds(client, fid, lock)
    }

    fn call(&mut self, now: Time, client: ClientId, ticket: Ticket, call: Call) {
        use tokens::Event as Token;
        match call {
            Call::Bind(session) => self.tokens(now, Token::Bound(client, session, ticket)),
            Call::Renew => self.tokens(now, Token::Renewed(client, ticket)),
            Call::Unbind => self.tokens(now, Token::End(client, Some(ticket))),
            Call::Join(fileset, coming) => self.join(now, client, fileset, coming, ticket),
            Call::Reclaimed(fileset) => {
                self.reclaimed(client, fileset);
                self.answer(ticket, Ok(Told::Done));
            }
            Call::Return(fileset, serial) => {
                self.tokens(now, Token::Return(client, fileset, serial));
                self.answer(ticket, Ok(Told::Done));
            }
            Call::Leave(fileset) => self.tokens(now, Token::Leave(client, fileset, ticket)),
            Call::Open(fid) => self.open(client, fid, ticket),
            Call::Close(fid) => {
                let removed = self.opens.close(client, fid);
                self.actions.extend(removed.map(Action::Remove));
                self.answer(ticket, Ok(Told::Done));
            }
            Call::Lock(fid, lock, patience) => self.lock(now, (client, fid, ticket), lock, patience),
        }
    }

    fn join(&mut self, now: Time, client: ClientId, fileset: FilesetId, coming: Coming, ticket: Ticket) {
        if self.tokens.is_silent(client) {
            return self.answer(ticket, Err(not_joined(client, fileset)));
        }
        let is_back = coming == Coming::Back && self.grace.back(client, fileset);
        if !is_back {
            // Who begins afresh has nothing to say again, though the log knows it here: it had never been answered.
            self.reclaimed(client, fileset);
            match self.grace.gate(client, fileset, Errand::Look, ticket) {
                Ok(Gate::Open) => {}
                Ok(Gate::Parked) => return,
                Err(error) => return self.answer(ticket, Err(error)),
            }
        }
        self.tokens(now, tokens::Event::Join(client, fileset, ticket));
    }

    fn open(&mut self, client: ClientId, fid: Fid, ticket: Ticket) {
        match self.admit(client, fid.fileset, Errand::Change, ticket) {
            Ok(Admission::Now) => {
                let opened = self.opens.open(client, fid).map(|()| Told::Done);
                self.answer(ticket, opened);
            }
            Ok(Admission::Later) => {}
            Err(error) => self.answer(ticket, Err(error)),
        }
    }

    fn lock(&mut self, now: Time, call: (ClientId, Fid, Ticket), lock: Lock, patience: Patience) {
        let (client, fid, ticket) = call;
        // Nobody need wait to give something back; and who waits for a lock did not hold it before the takeover.
        let admission = match (lock.kind, patience) {
            (LockKind::Unlock, _) => Ok(Admission::Now),
            (LockKind::Read | LockKind::Write, Patience::None) => {
                self.admit(client, fid.fileset, Errand::Change, ticket)
            }
            (LockKind::Read | LockKind::Write, Patience::Wait) => self.admit(client, fid.fileset, Errand::Look, ticket),
        };
        match admission {
            Ok(Admission::Now) => {}
            Ok(Admission::Later) => return,
            Err(error) => return self.answer(ticket, Err(error)),
        }
        let others = self.locks.in_the_way(client, fid, lock);
        let silent: Vec<ClientId> = others
            .into_iter()
            .filter(|other| self.tokens.is_silent(*other))
            .collect();
        for other in &silent {
            self.end(now, *other);
        }
        if patience == Patience::None && !silent.is_empty() {
            return self.deferred.push(ticket);
        }
        match self.locks.set(client, fid, lock, patience, ticket) {
            Ok(Outcome::Done(granted)) => {
                self.answer(ticket, Ok(Told::Done));
                self.granted(granted);
            }
            Ok(Outcome::InTheWay(other)) => self.answer(ticket, Ok(Told::InTheWay(other))),
            Ok(Outcome::Parked) => {}
            Err(error) => self.answer(ticket, Err(error)),
        }
    }

    /// Hands `event` to the tokens and does what follows from it.
    fn tokens(&mut self, now: Time, event: tokens::Event) {
        let mut silent = Vec::new();
        for action in self.tokens.step(now, event) {
            match action {
                tokens::Action::Record(id, note) => self.actions.push(Action::Record(id, note)),
                tokens::Action::Revoke(client, fileset, serial) => self
                    .actions
                    .push(Action::Push(client, Push::Revoke { fileset, serial })),
                tokens::Action::Done(ticket) => self.answer(ticket, Ok(Told::Done)),
                tokens::Action::Joined(ticket, hold, serial) => {
                    self.answer(ticket, Ok(Told::Joined { hold, serial }));
                }
                tokens::Action::Refused(ticket, error) => self.answer(ticket, Err(error)),
                tokens::Action::Lapsed(client) => silent.push(client),
                tokens::Action::Left(client, fileset) => self.left(client, fileset),
            }
        }
        // Only now: what it asks for of the tokens comes after all that they asked for so far.
        silent.into_iter().for_each(|client| self.lapsed(now, client));
    }

    /// Somebody needs what a silent client has. It is free when the log knows that its session is over.
    fn end(&mut self, now: Time, client: ClientId) {
        if !self.tokens.knows(client) {
            return; // it has ended, and the log is about to know
        }
        self.tokens(now, tokens::Event::End(client, None));
    }

    /// A client fell silent. Nobody waits for its return from before the takeover any more, nor for its locks; where it
    /// only shared a fileset and holds nothing, it is forgotten, so that another one may be alone there.
    fn lapsed(&mut self, now: Time, client: ClientId) {
        let filesets = self.tokens.filesets_of(client);
        let is_missing = filesets.iter().any(|fileset| self.grace.waits_for(client, *fileset));
        if is_missing || self.locks.is_waited_for(client) {
            return self.end(now, client);
        }
        let refused = self.locks.stop_waiting(client);
        self.refuse(refused, "the client was silent for too long");
        for fileset in filesets {
            let is_idle = !self.opens.has_any(client, fileset) && !self.locks.has_any(client, fileset);
            if is_idle && self.tokens.hold(client, fileset) == Some(Hold::Shared) {
                self.tokens(now, tokens::Event::Drop(client, fileset));
            }
        }
    }

    /// A client has no part in a fileset any more: what it had there goes.
    fn left(&mut self, client: ClientId, fileset: FilesetId) {
        let removed = self.opens.leave(client, fileset);
        self.actions.extend(removed.into_iter().map(Action::Remove));
        let dropped = self.locks.leave(client, fileset);
        self.refuse(dropped.refused, "the client left the fileset");
        self.granted(dropped.granted);
        self.reclaimed(client, fileset);
        self.actions.extend(self.deferred.drain(..).map(Action::Resume));
    }

    /// Nobody waits for a client in a fileset any more.
    fn reclaimed(&mut self, client: ClientId, fileset: FilesetId) {
        if let Some(Over { fileset, parked }) = self.grace.done(client, fileset) {
            self.actions.push(Action::Sweep(fileset));
            self.actions.extend(parked.into_iter().map(Action::Resume));
        }
    }

    fn granted(&mut self, tickets: Vec<Ticket>) {
        tickets
            .into_iter()
            .for_each(|ticket| self.answer(ticket, Ok(Told::Done)));
    }

    fn refuse(&mut self, tickets: impl IntoIterator<Item = Ticket>, why: &'static str) {
        for ticket in tickets {
            self.answer(ticket, Err(Error::new(Kind::TimedOut, "lock").because(why)));
        }
    }

    fn answer(&mut self, ticket: Ticket, told: Result<Told>) {
        self.actions.push(Action::Answer(ticket, told));
    }
}
