//! A watch: what changes, in order, without an end and without polling.
//!
//! When the connection breaks it goes on at another member, after the last index heard. That nobody answers is
//! told every so often, and is not the end of it: only what a member decided is.

use std::sync::Arc;

use baton_proto::v1;
use baton_types::limits::WATCH_CREDIT;
use baton_types::record::Table;
use baton_types::{Error, Kind, Result};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::Streaming;

use super::FldbClient;
use super::call::{Live, Share};
use super::trail::{Trail, is_transient};
use crate::follow::{Follower, News};

/// A watch, until it is dropped.
#[derive(Debug)]
pub struct Watch {
    news: mpsc::Receiver<Result<(u64, News)>>,
    task: JoinHandle<()>,
}

impl FldbClient {
    /// Watches `tables` for what changes after `after`; 0 begins with everything there is.
    /// Call it within a runtime.
    pub fn watch(&self, tables: &[Table], after: u64) -> Watch {
        let (send, news) = mpsc::channel(WATCH_CREDIT as usize);
        let tables = tables.iter().map(|table| v1::Table::from(*table) as i32).collect();
        let task = tokio::spawn(follow(self.clone(), tables, Follower::after(after), send));
        Watch { news, task }
    }
}

impl Watch {
    /// The next news, and the index up to which everything has now been heard. Nothing is lost when this is
    /// dropped half way.
    ///
    /// # Errors
    /// `Unreachable` each time that nobody answered for the client's patience; asking again waits on. Any other
    /// is a member's decision, and the last that comes.
    pub async fn next(&mut self) -> Result<(u64, News)> {
        let over = || Err(Error::new(Kind::SessionLost, "watch").because("it is over"));
        self.news.recv().await.unwrap_or_else(over)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes everything on until a member decides against it, or nobody listens any more.
async fn follow(client: FldbClient, tables: Vec<i32>, mut follower: Follower, send: mpsc::Sender<Result<(u64, News)>>) {
    let mut trail = Trail::default();
    loop {
        match open(&client, &mut trail, &tables, follower.index()).await {
            Ok((live, mut stream)) => {
                let Err(error) = pass_on(&mut stream, &mut follower, &send).await else {
                    return;
                };
                tracing::debug!(%error, member = %live.connection.member(), "watch broken");
                follower.broken();
                client.inner.leave(&live);
                // The others first: one that is behind would only break it again.
                trail = Trail::default();
                trail.reached(
                    live.connection.target().clone(),
                    Error {
                        kind: Kind::Unreachable,
                        ..error
                    },
                );
            }
            Err(error) => {
                let is_last = !is_transient(error.kind);
                if send.send(Err(error)).await.is_err() || is_last {
                    return;
                }
            }
        }
    }
}

async fn open(
    client: &FldbClient,
    trail: &mut Trail,
    tables: &[i32],
    after: u64,
) -> Result<(Arc<Live>, Streaming<v1::WatchReply>)> {
    client
        .call_on(trail, Share::Part, |live| {
            let request = v1::WatchRequest {
                caller: live.caller,
                tables: tables.to_vec(),
                after,
            };
            async move {
                let stream = live.connection.fldb().watch(request).await?.into_inner();
                Ok((live, stream))
            }
        })
        .await
}

/// Ends well only when nobody listens any more.
async fn pass_on(
    stream: &mut Streaming<v1::WatchReply>,
    follower: &mut Follower,
    send: &mpsc::Sender<Result<(u64, News)>>,
) -> Result<()> {
    loop {
        let reply = tokio::select! {
            reply = stream.message() => reply.map_err(|status| baton_proto::from_status(&status))?,
            () = send.closed() => return Ok(()),
        };
        let reply = reply.ok_or_else(|| Error::new(Kind::Unreachable, "watch").because("the member ended it"))?;
        for news in follower.take(reply)? {
            if send.send(Ok((follower.index(), news))).await.is_err() {
                return Ok(());
            }
        }
    }
}
