//! The library's state machine, over [`Fldb`]: decode, step, publish.
//!
//! The state lives in memory; what makes it durable is the log, and from time to time a snapshot. An
//! entry that this build cannot read ends the process: to leave it out would make this member's state
//! another one than its fellows' (I10).

use std::io;
use std::sync::Arc;

use baton_proto::v1;
use baton_types::change::Proposal;
use baton_types::{Core, Error, Kind, Result};
use futures::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use prost::Message;

use super::probe::Probe;
use super::snapshots::Snapshots;
use super::types::{Answer, Command, Config, LogId, Peer, Snapshot, SnapshotMeta, StoredMembership, io as to_io};
use crate::publish::Published;
use crate::state::{Action, Committed, Fldb};

/// The state machine of one member.
pub struct Machine {
    state: Fldb,
    last: Option<LogId>,
    membership: StoredMembership,
    published: Arc<Published>,
    snapshots: Snapshots,
    probe: Probe,
}

/// A copy of the state that is being written down.
pub struct Builder {
    state: Fldb,
    meta: SnapshotMeta,
    snapshots: Snapshots,
}

impl Machine {
    pub(super) fn new(published: Arc<Published>, snapshots: Snapshots, probe: Probe) -> Machine {
        Machine {
            state: Fldb::default(),
            last: None,
            membership: StoredMembership::default(),
            published,
            snapshots,
            probe,
        }
    }

    fn apply_one(&mut self, log_id: LogId, payload: EntryPayload<Command, u64, Peer>) -> io::Result<Answer> {
        self.last = Some(log_id);
        let committed = match payload {
            EntryPayload::Blank => Committed::Nothing(log_id.index),
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(log_id), membership);
                Committed::Nothing(log_id.index)
            }
            EntryPayload::Normal(command) => Committed::Change(log_id.index, Box::new(read(&command).map_err(to_io)?)),
        };
        if log_id.index == 0 {
            return Ok(Answer::Nothing); // the first membership; the database's indexes begin after it
        }
        self.probe.applied(log_id, &committed);
        let mut answer = Answer::Nothing;
        for action in self.state.step(0, committed) {
            match action {
                Action::Answer { index, outcome, .. } => answer = told(index, outcome),
                Action::Changed(changed) => self.published.applied(changed, self.state.clone()),
            }
        }
        Ok(answer)
    }
}

/// A proposal out of the log.
///
/// # Errors
/// `Version` for an entry of another version's; `Damaged` for one that says what no change may say.
pub(super) fn read(command: &Command) -> Result<Proposal> {
    if command.format != Command::FORMAT {
        return Err(Error::new(Kind::Version, "log")
            .because(format!(
                "an entry of format {}, this version reads {}",
                command.format,
                Command::FORMAT
            ))
            .remedy("start the newer version on this member"));
    }
    let damaged = |why: String| Error::new(Kind::Damaged, "log").because(why);
    let wire = v1::Proposal::decode(command.body.as_slice()).map_err(|e| damaged(e.to_string()))?;
    Proposal::try_from(wire).map_err(|e| damaged(e.to_string()))
}

fn told(index: u64, outcome: crate::state::Outcome) -> Answer {
    match outcome {
        Ok(record) => Answer::Done(
            v1::ChangeReply {
                index,
                record: record.map(Into::into),
            }
            .encode_to_vec(),
        ),
        Err(error) => Answer::Refused(v1::Failure::from(&error).encode_to_vec()),
    }
}

impl RaftStateMachine<Config> for Machine {
    type SnapshotData = Vec<u8>;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.last, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Config>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let answer = self.apply_one(entry.log_id, entry.payload)?;
            if let Some(responder) = responder {
                responder.send(answer);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let meta = SnapshotMeta {
            last_log_id: self.last,
            last_membership: self.membership.clone(),
        };
        Builder {
            state: self.state.clone(),
            meta,
            snapshots: self.snapshots.clone(),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Vec<u8>) -> io::Result<()> {
        let (state, snapshot) = self.snapshots.read(snapshot).await?;
        self.snapshots.save(meta, move || snapshot).await?;
        self.state = state;
        self.last = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.probe.installed(self.state.applied());
        self.published.installed(self.state.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        self.snapshots.load().await
    }
}

impl RaftSnapshotBuilder<Config> for Builder {
    type SnapshotData = Vec<u8>;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let state = self.state.clone();
        self.snapshots.save(&self.meta, move || state.dump()).await
    }
}
