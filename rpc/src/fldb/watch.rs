//! A watch: what changes, in order, without an end and without polling.
//!
//! When the connection breaks it goes on at another member, after the last index heard. That nobody answers is
//! told every so often, and is not the end of it: only what a member decided is.
//!
//! Whatever is watched, the members are too: whoever listens for months outlives every member that it was once told of,
//! and beats go to all there are.

use std::sync::Arc;

use baton_proto::v1;
use baton_types::limits::WATCH_CREDIT;
use baton_types::record::{Key, Member, Record, Table};
use baton_types::{Error, Kind, Result};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::Streaming;

use super::FldbClient;
use super::call::{Live, Share};
use super::members::Known;
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
        self.watch_beside(tables, &[], after)
    }

    /// The same, and of `changes_only` nothing that there is, only what changes after this watch begins, or begins anew:
    /// [`News::Forget`] says that some of it may have been missed. A member of an older version sends all of it.
    pub fn watch_beside(&self, tables: &[Table], changes_only: &[Table], after: u64) -> Watch {
        let (send, news) = mpsc::channel(WATCH_CREDIT as usize);
        let number = |table: &Table| v1::Table::from(*table) as i32;
        let aside = Aside {
            is_asked_for: tables.contains(&Table::Member),
            whole: Vec::new(),
        };
        let others = (!aside.is_asked_for).then_some(&Table::Member);
        let wish = v1::WatchRequest {
            tables: tables.iter().chain(changes_only).chain(others).map(number).collect(),
            changes_only: changes_only.iter().map(number).collect(),
            ..v1::WatchRequest::default()
        };
        let task = tokio::spawn(follow(self.clone(), (wish, aside), Follower::after(after), send));
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
async fn follow(
    client: FldbClient,
    (wish, mut aside): (v1::WatchRequest, Aside),
    mut follower: Follower,
    send: mpsc::Sender<Result<(u64, News)>>,
) {
    let mut trail = Trail::default();
    loop {
        match open(&client, &mut trail, &wish, follower.index()).await {
            Ok((live, mut stream)) => {
                let aside = |news| aside.take(&mut client.inner.known.lock(), news);
                let Err(error) = pass_on(&mut stream, (&mut follower, aside), &send).await else {
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
    wish: &v1::WatchRequest,
    after: u64,
) -> Result<(Arc<Live>, Streaming<v1::WatchReply>)> {
    client
        .call_on(trail, Share::Part, |live| {
            let request = v1::WatchRequest {
                caller: live.caller,
                after,
                ..wish.clone()
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
    (follower, mut aside): (&mut Follower, impl FnMut(News) -> News),
    send: &mpsc::Sender<Result<(u64, News)>>,
) -> Result<()> {
    loop {
        let reply = tokio::select! {
            reply = stream.message() => reply.map_err(|status| baton_proto::from_status(&status))?,
            () = send.closed() => return Ok(()),
        };
        let reply = reply.ok_or_else(|| Error::new(Kind::Unreachable, "watch").because("the member ended it"))?;
        for news in follower.take(reply)?.into_iter().map(&mut aside) {
            if send.send(Ok((follower.index(), news))).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// What is heard of the members, besides what was asked for.
#[derive(Debug)]
struct Aside {
    is_asked_for: bool,
    /// Of a whole that is not complete.
    whole: Vec<Member>,
}

impl Aside {
    /// What there is to pass on of `news`, when `known` has learned from it.
    fn take(&mut self, known: &mut Known, news: News) -> News {
        let is_ours = |record: &Record| !self.is_asked_for && matches!(record, Record::Member(_));
        match news {
            News::Forget => {
                self.whole.clear();
                News::Forget
            }
            News::Put(mut records) => {
                self.whole.extend(members_of(&records));
                records.retain(|record| !is_ours(record));
                News::Put(records)
            }
            News::Complete(index) => {
                known.learn(std::mem::take(&mut self.whole));
                News::Complete(index)
            }
            News::Changed(mut changed) => {
                let put = members_of(&changed.put);
                let is_gone = |key: &Key| matches!(key, Key::Member(_));
                if !put.is_empty() || changed.gone.iter().any(is_gone) {
                    let mut members = known.records().to_vec();
                    members.retain(|old| {
                        let is_new = put.iter().any(|new| new.number == old.number);
                        !is_new && !changed.gone.contains(&Key::Member(old.number))
                    });
                    members.extend(put);
                    known.learn(members);
                }
                changed.put.retain(|record| !is_ours(record));
                changed.gone.retain(|key| self.is_asked_for || !is_gone(key));
                match changed.put.is_empty() && changed.gone.is_empty() {
                    true => News::Reached(changed.index),
                    false => News::Changed(changed),
                }
            }
            News::Reached(index) => News::Reached(index),
        }
    }
}

fn members_of(records: &[Record]) -> Vec<Member> {
    let member = |record: &Record| match record {
        Record::Member(member) => Some(member.clone()),
        _ => None,
    };
    records.iter().filter_map(member).collect()
}

#[cfg(test)]
mod tests {
    use baton_types::record::{Changed, Event};
    use baton_types::{Address, EntryName, PrincipalName, Timestamp};

    use super::*;

    fn member(number: u64) -> Record {
        Record::Member(Member {
            number,
            name: EntryName::parse(&format!("fl{number}")).unwrap(),
            addresses: vec![Address::parse(&format!("10.0.0.{number}")).unwrap()],
            issuer: false,
        })
    }

    fn event(index: u64) -> Record {
        Record::Event(Event {
            index,
            date: Timestamp(0),
            by: PrincipalName::parse("alice").unwrap(),
            what: "nothing".to_owned(),
            on: String::new(),
            detail: String::new(),
        })
    }

    fn changed(index: u64, put: Vec<Record>, gone: Vec<Key>) -> News {
        News::Changed(Changed { index, put, gone })
    }

    fn numbers(known: &Known) -> Vec<u64> {
        known.records().iter().map(|member| member.number).collect()
    }

    #[test]
    fn members_are_learned_by_whoever_watches_something_else() {
        let mut known = Known::addresses(vec![Address::parse("10.0.0.1").unwrap()]);
        let mut aside = Aside {
            is_asked_for: false,
            whole: Vec::new(),
        };
        let mut take = |known: &mut Known, news| aside.take(known, news);
        assert_eq!(take(&mut known, News::Forget), News::Forget);
        let piece = News::Put(vec![member(1), event(1), member(2)]);
        assert_eq!(take(&mut known, piece), News::Put(vec![event(1)]));
        assert!(numbers(&known).is_empty(), "half a whole is none");
        assert_eq!(take(&mut known, News::Complete(3)), News::Complete(3));
        assert_eq!(numbers(&known), [1, 2]);
        let news = changed(4, vec![member(3), event(4)], vec![Key::Member(1)]);
        assert_eq!(take(&mut known, news), changed(4, vec![event(4)], Vec::new()));
        assert_eq!(numbers(&known), [2, 3]);
        let news = changed(5, Vec::new(), vec![Key::Member(2)]);
        assert_eq!(take(&mut known, news), News::Reached(5));
        assert_eq!(numbers(&known), [3]);
    }

    #[test]
    fn whoever_watches_the_members_hears_of_them() {
        let mut known = Known::addresses(Vec::new());
        let mut aside = Aside {
            is_asked_for: true,
            whole: Vec::new(),
        };
        let news = changed(4, vec![member(3)], vec![Key::Member(1)]);
        assert_eq!(aside.take(&mut known, news.clone()), news);
        assert_eq!(numbers(&known), [3]);
    }
}
