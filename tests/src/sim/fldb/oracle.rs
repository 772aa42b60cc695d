//! `Oracle`: all that must hold of a Raft group, asked at each step.

use baton_flserver::raft::Heard;
use baton_flserver::state::{Committed, Fldb};
use baton_proto::v1;
use baton_types::Result;
use baton_types::change::Proposal;
use baton_types::record::Record;

use super::world::Shown;
use crate::invariants::Verdict;
use crate::invariants::agreed::Agreed;
use crate::invariants::applied_grows::AppliedGrows;
use crate::invariants::i01_one_owner::OneOwner;
use crate::invariants::i06_done_once::DoneOnce;
use crate::invariants::one_leader::OneLeader;
use crate::invariants::reads::Reads;

/// What is known from outside.
#[derive(Default)]
pub(super) struct Oracle {
    pub agreed: Agreed,
    grows: AppliedGrows,
    owners: OneOwner,
    once: DoneOnce,
    pub leaders: OneLeader,
    pub reads: Reads,
}

impl Oracle {
    /// Something reached the state of a member in one of its lives.
    pub fn heard(&mut self, member: u64, life: u64, heard: Heard<'_>) -> Verdict {
        match heard {
            Heard::Installed(index) => {
                if self.agreed.state(index).is_none() {
                    return Err(format!(
                        "{} took a snapshot of index {index}, which nobody applied",
                        Shown(member)
                    ));
                }
                self.grows.installed(member, life, index)
            }
            Heard::Applied(term, committed) => {
                let (Committed::Change(index, _) | Committed::Nothing(index)) = committed;
                self.grows.applied(member, life, *index)?;
                let Some(step) = self.agreed.applied(&Shown(member).to_string(), term, committed)? else {
                    return Ok(());
                };
                self.owners.applied(step)?;
                self.once.applied(step)
            }
        }
    }

    /// A client was told what became of its change.
    pub fn acknowledged(&mut self, proposal: &Proposal, told: &Result<v1::ChangeReply>) -> Verdict {
        let told = match told {
            Ok(reply) => {
                let record = reply.record.clone().map(Record::try_from).transpose();
                Ok((reply.index, record.map_err(|e| e.to_string())?))
            }
            Err(error) => Err(error.clone()),
        };
        if let Ok((index, _)) = &told {
            self.reads.acknowledged(*index);
        }
        self.once.acknowledged(proposal, &told)
    }

    /// The newest state of all.
    pub fn newest(&self) -> Fldb {
        self.agreed.state(self.agreed.head()).cloned().unwrap_or_default()
    }
}
