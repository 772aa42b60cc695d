//! Owners: what a move would come to, and that a file server has ended.

use baton_proto::v1;
use baton_types::change::Move;
use baton_types::plan::PlannedMove;
use baton_types::{Error, Incarnation, Kind, Result, ServerId};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::FldbClient;
use super::call::Share;
use crate::config::PORT_FLDB;
use crate::dial::{Dialer, Target};

impl FldbClient {
    /// What `wish` would come to now, aggregate by aggregate; nothing is done.
    ///
    /// # Errors
    /// `NotFound` for what is not there, and for a server that owns nothing; `Unreachable` when no quorum answers.
    pub async fn plan(&self, wish: &Move) -> Result<Vec<PlannedMove>> {
        let wish = v1::Move::from(wish.clone());
        let reply = self
            .call(Share::Part, |live| {
                let request = v1::PlanRequest {
                    caller: live.caller,
                    r#move: Some(wish.clone()),
                };
                async move { Ok(live.connection.fldb().plan(request).await?.into_inner()) }
            })
            .await?;
        reply.moves.into_iter().map(TryInto::try_into).collect()
    }

    /// Tells every member that this run of a server has ended; by its guard, on its machine. Returns when all have
    /// answered or the client's patience is over, and says how many heard it: whoever leads must be among them.
    ///
    /// # Errors
    /// What the last said, when none heard it.
    pub async fn attest(&self, server: ServerId, incarnation: Incarnation) -> Result<usize> {
        let deadline = Instant::now() + self.patience;
        let mut telling = JoinSet::new();
        for targets in self.inner.everyone() {
            let client = self.clone();
            telling.spawn(async move { client.attest_to(&targets, server, incarnation, deadline).await });
        }
        let (mut count, mut last) = (
            0,
            Error::new(Kind::Unreachable, "location database").because("no member is known"),
        );
        for told in telling.join_all().await {
            match told {
                Ok(()) => count += 1,
                Err(error) => last = error,
            }
        }
        if count > 0 { Ok(count) } else { Err(last) }
    }

    async fn attest_to(
        &self,
        targets: &[Target],
        server: ServerId,
        incarnation: Incarnation,
        deadline: Instant,
    ) -> Result<()> {
        let dialer = Dialer::new(self.inner.tls(), self.inner.source, PORT_FLDB);
        let connection = dialer.first(targets, deadline).await.map_err(|failures| {
            let last = failures.into_iter().map(|(_, error)| error).next_back();
            last.unwrap_or_else(|| Error::new(Kind::Unreachable, "member").because("it has no address"))
        })?;
        let on = connection.target().to_string();
        let request = v1::AttestRequest {
            server: server.0.as_bytes().to_vec(),
            incarnation: incarnation.0.as_bytes().to_vec(),
        };
        let mut fldb = connection.fldb();
        let late = |_| Error::new(Kind::TimedOut, on).because("it did not answer in time");
        let reply = timeout_at(deadline, fldb.attest(request)).await.map_err(late)?;
        reply.map(drop).map_err(|status| baton_proto::from_status(&status))
    }
}
