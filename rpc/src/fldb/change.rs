//! Changes, each done once: sent again after any doubt, under the same name.
//!
//! A run of changes is a session and a count. A change whose caller went away, or that stayed in doubt, has used
//! up its number all the same: if it is still on its way somewhere, it is refused behind the next one.

use baton_proto::v1;
use baton_types::change::{Change, ChangeSession};
use baton_types::record::Record;
use baton_types::{Error, Kind, Result};
use tokio::time::timeout;

use super::FldbClient;
use super::call::Share;
use super::trail::Trail;

/// A session of changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    session: ChangeSession,
    /// Used last.
    sequence: u32,
    born: u64,
}

/// A change that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Under this index.
    pub index: u64,
    /// The record it was about, as it stands after it; `None` if it is gone.
    pub record: Option<Record>,
}

impl FldbClient {
    /// Makes one change, and returns when it is made.
    ///
    /// # Errors
    /// What the database decided; `Unreachable` when it could not be asked, saying so if it may have been done;
    /// `SessionLost` when it cannot be told any more whether it was.
    pub async fn change(&self, change: Change) -> Result<Done> {
        let busy = |_| Error::new(Kind::TimedOut, "change").because("the changes before it take too long");
        let mut run = timeout(self.patience, self.inner.run.lock()).await.map_err(busy)?;
        let change = v1::Change::from(change);
        // A session that was forgotten while nothing was in doubt costs nothing but a new one; the greeting of a
        // new connection says what to count it from.
        for _ in 0..2 {
            let mut trail = Trail::default();
            match self.change_in(&mut run, &mut trail, &change).await {
                Err(e) if e.kind == Kind::SessionLost && !trail.is_doubtful => {
                    *run = None;
                    self.inner.live.lock().take();
                }
                Err(e) if trail.is_doubtful && matches!(e.kind, Kind::SessionLost | Kind::Unreachable) => {
                    return Err(e.remedy("it may have been done: look before you do it again"));
                }
                result => return result,
            }
        }
        Err(Error::new(Kind::SessionLost, "change").because("a new session is refused as an old one"))
    }

    async fn change_in(&self, run: &mut Option<Run>, trail: &mut Trail, change: &v1::Change) -> Result<Done> {
        let run = match run {
            Some(run) if run.sequence < u32::MAX => run,
            _ => run.insert(Run {
                session: ChangeSession(rand::random()),
                sequence: 0,
                // Something seen before the session's first change.
                born: self
                    .call(Share::Part, |live| async move { Ok(live.connection.applied()) })
                    .await?,
            }),
        };
        run.sequence += 1;
        let request = v1::ChangeRequest {
            caller: 0,
            session: run.session.0.to_vec(),
            sequence: run.sequence,
            born: run.born,
            change: Some(change.clone()),
        };
        let reply = self
            .call_on(trail, Share::Part, |live| {
                let mut request = request.clone();
                request.caller = live.caller;
                async move { Ok(live.connection.fldb().change(request).await?.into_inner()) }
            })
            .await?;
        Ok(Done {
            index: reply.index,
            record: reply.record.map(Record::try_from).transpose()?,
        })
    }
}
