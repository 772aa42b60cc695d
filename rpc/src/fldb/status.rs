//! How the location database is, in the words of each member.

use std::time::Duration;

use baton_proto::{FromWire, v1};
use baton_types::record::Member;
use baton_types::{EntryName, Error, Kind, Result, ServerId};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::FldbClient;
use super::call::Share;
use crate::config::PORT_FLDB;
use crate::dial::{Dialer, Target};

/// What one member says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Who says it.
    pub member: EntryName,
    /// Whom it follows, or itself; `None` while it knows of none.
    pub leader: Option<EntryName>,
    /// Of that leader.
    pub term: u64,
    /// The last index known to be decided.
    pub committed: u64,
    /// The last index that it has applied.
    pub applied: u64,
    /// It is the leader, and heard from most members just now.
    pub has_quorum: bool,
    /// All members; what the leader knows of them, only the leader says.
    pub members: Vec<MemberStatus>,
    /// Filesets in the database.
    pub filesets: u64,
    /// Watches at this member.
    pub watchers: u64,
    /// File servers that it has heard of.
    pub silences: Vec<Silence>,
}

/// How long a member has not heard of a file server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Which.
    pub server: ServerId,
    /// Since its last beat.
    pub silent: Duration,
}

/// What a leader knows of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Which.
    pub member: Member,
    /// It counts for a quorum; one that is still learning does not.
    pub is_voter: bool,
    /// The last index that it holds.
    pub matched: Option<u64>,
    /// How long ago it answered.
    pub silent: Option<Duration>,
}

impl FldbClient {
    /// What the member says to whom this client is connected.
    ///
    /// # Errors
    /// `Unreachable` when nobody answers.
    pub async fn status(&self) -> Result<Status> {
        let reply = self
            .call(Share::Part, |live| {
                let request = v1::StatusRequest { caller: live.caller };
                async move { Ok(live.connection.fldb().status(request).await?.into_inner()) }
            })
            .await?;
        Status::try_from(reply)
    }

    /// What each member says, or why it says nothing; in the order of their numbers where these are known.
    /// Each is asked once, all at the same time.
    pub async fn status_of_all(&self) -> Vec<(Target, Result<Status>)> {
        let deadline = Instant::now() + self.patience;
        // Once somebody was reached, the members are known; if nobody can be, the addresses are.
        let reached = self.status().await;
        let targets = match &reached {
            Ok(status) => status.targets(),
            Err(_) => self
                .inner
                .known
                .lock()
                .all()
                .into_iter()
                .map(|target| vec![target])
                .collect(),
        };
        let mut asked = JoinSet::new();
        for (index, targets) in targets.iter().cloned().enumerate() {
            let client = self.clone();
            asked.spawn(async move { (index, client.status_at(&targets, deadline).await) });
        }
        let mut answers = asked.join_all().await;
        answers.sort_by_key(|(index, _)| *index);
        let name = |index: usize| targets[index].first().cloned();
        answers
            .into_iter()
            .filter_map(|(index, answer)| Some((name(index)?, answer)))
            .collect()
    }

    /// What the member with these addresses says.
    async fn status_at(&self, targets: &[Target], deadline: Instant) -> Result<Status> {
        let dialer = Dialer::new(self.inner.tls(), self.inner.source, PORT_FLDB);
        let connection = dialer.first(targets, deadline).await.map_err(|failures| {
            let last = failures.into_iter().map(|(_, error)| error).next_back();
            last.unwrap_or_else(|| Error::new(Kind::Unreachable, "member").because("it has no address"))
        })?;
        let on = connection.target().to_string();
        let live = self.inner.enter(connection, deadline).await?;
        let request = v1::StatusRequest { caller: live.caller };
        let mut fldb = live.connection.fldb();
        let late = |_| Error::new(Kind::TimedOut, on).because("it did not answer in time");
        let reply = timeout_at(deadline, fldb.status(request)).await.map_err(late)?;
        Status::try_from(reply.map_err(|status| baton_proto::from_status(&status))?.into_inner())
    }
}

impl Status {
    /// The addresses of each member.
    fn targets(&self) -> Vec<Vec<Target>> {
        let mut members: Vec<_> = self.members.iter().map(|m| &m.member).collect();
        members.sort_by_key(|member| member.number);
        let target = |member: &Member| {
            let name = Some(member.name.clone());
            let addresses = member.addresses.iter().cloned();
            addresses
                .map(|address| Target {
                    name: name.clone(),
                    address,
                })
                .collect()
        };
        members.into_iter().map(target).collect()
    }
}

impl TryFrom<v1::StatusReply> for Status {
    type Error = Error;

    fn try_from(s: v1::StatusReply) -> Result<Status> {
        Ok(Status {
            member: EntryName::from_wire(&s.member)?,
            leader: EntryName::optional(&s.leader)?,
            term: s.term,
            committed: s.committed,
            applied: s.applied,
            has_quorum: s.quorum,
            members: s.members.into_iter().map(TryInto::try_into).collect::<Result<_>>()?,
            filesets: s.filesets,
            watchers: s.watchers,
            silences: s.silences.into_iter().map(TryInto::try_into).collect::<Result<_>>()?,
        })
    }
}

impl TryFrom<v1::Silence> for Silence {
    type Error = Error;

    fn try_from(s: v1::Silence) -> Result<Silence> {
        Ok(Silence {
            server: ServerId::from_wire(&s.server)?,
            silent: Duration::from_micros(s.micros),
        })
    }
}

impl TryFrom<v1::MemberStatus> for MemberStatus {
    type Error = Error;

    fn try_from(m: v1::MemberStatus) -> Result<MemberStatus> {
        let member = m
            .member
            .ok_or_else(|| Error::new(Kind::Invalid, "message").because("no member in it"))?;
        Ok(MemberStatus {
            member: member.try_into()?,
            is_voter: m.voter,
            matched: (m.matched > 0).then_some(m.matched),
            silent: u64::try_from(m.silent_micros).ok().map(Duration::from_micros),
        })
    }
}
