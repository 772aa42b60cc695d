//! Records: written in the order in which the state asked for them, reported when they may be told of.

use std::sync::Arc;

use baton_aggregate::format::{ClientState, Lsn};
use baton_aggregate::transaction::SessionId;
use baton_types::{ClientId, Result, Timestamp};

use super::{Driver, Job};
use crate::state::{Action, Event, Note, RecordId};

impl Driver {
    /// What the clerk does all the time.
    pub(super) fn write_records(self: &Arc<Self>) {
        while let Some(job) = self.next_record() {
            match job {
                Job::Act(Action::Record(id, note)) => self.write_record(id, note),
                Job::Forget(client, session) => self.forget(client, session),
                Job::Act(_) => unreachable!("only records are the clerk's"),
            }
            self.core.lock().is_draining = false;
            self.drain();
        }
    }

    /// Waits for it; `None` at the end.
    fn next_record(&self) -> Option<Job> {
        let mut core = self.core.lock();
        loop {
            if core.is_stopped {
                return None;
            }
            let is_due = matches!(core.queue.front(), Some(Job::Act(Action::Record(..)) | Job::Forget(..)));
            if is_due && !core.is_draining {
                core.is_draining = true;
                return core.queue.pop_front();
            }
            self.clerk.wait(&mut core);
        }
    }

    fn write_record(self: &Arc<Self>, id: RecordId, note: Note) {
        match self.note(note) {
            Ok(lsn) => {
                let driver = self.clone();
                let then = move |result: Result<()>| {
                    driver.step(match result {
                        Ok(()) => Event::Recorded(id),
                        Err(error) => Event::Unrecorded(id, error),
                    });
                };
                self.when_durable(lsn.0, Box::new(then));
            }
            Err(error) => {
                tracing::error!(aggregate = %self.export.name, %error, ?note, "not recorded");
                self.step(Event::Unrecorded(id, error));
            }
        }
    }

    fn note(&self, note: Note) -> Result<Lsn> {
        let _inside = self.door.enter();
        let aggregate = self.aggregate();
        match note {
            Note::Hold(fileset, client) => aggregate.record_hold(fileset, client),
            Note::Drop(fileset, client) => aggregate.drop_hold(fileset, client),
            Note::Client(client) => self.note_client(client, None),
            Note::Lapsed(client) => self.note_client(client, Some(self.house.clock.date())),
            Note::End(client) => self.note_end(client),
        }
    }

    fn note_client(&self, client: ClientId, lapsed: Option<Timestamp>) -> Result<Lsn> {
        let taken_up = self.core.lock().clients.get(&client).copied();
        let session = match taken_up {
            Some(session) => session,
            None => match self.aggregate().client(client)? {
                Some(state) => state.session,
                None => return Ok(self.aggregate().last()),
            },
        };
        let state = ClientState {
            session,
            time: self.house.clock.date(),
            lapsed,
        };
        self.aggregate().record_client(client, state)
    }

    /// Its session goes now; the client itself after its holds, whose records were asked for by now.
    fn note_end(&self, client: ClientId) -> Result<Lsn> {
        let session = self.core.lock().ending.get(&client).copied().flatten();
        let lsn = match session {
            Some(session) => self.aggregate().end_session(SessionId(session)),
            None => Ok(self.aggregate().last()),
        };
        self.core
            .lock()
            .queue
            .push_back(Job::Forget(client, session.unwrap_or(0)));
        lsn
    }

    fn forget(&self, client: ClientId, session: u64) {
        let _inside = self.door.enter();
        if let Err(error) = self.aggregate().forget_client(client, SessionId(session)) {
            tracing::warn!(aggregate = %self.export.name, %error, %client, "not forgotten");
        }
        self.core.lock().ending.remove(&client);
    }
}
