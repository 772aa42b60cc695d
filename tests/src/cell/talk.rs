//! Talking to a cell without a command: by the client library, or to one member and no other.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use baton_proto::{from_status, v1};
use baton_rpc::config::{CellFile, PORT_FLDB, Paths};
use baton_rpc::fldb::{MemberStatus, Status};
use baton_rpc::{Connection, Dialer, FldbClient, Identity, Target};
use baton_security::auth::Initiator;
use baton_security::auth::cert::CertInitiator;
use baton_security::{ClientTls, Credential, HostTls, Place, Wire};
use baton_types::change::{Change, ChangeSession};
use baton_types::{Address, BootClock, CellName, Clock, EntryName, Error};
use tokio::time::{Instant, timeout};

use super::{Cell, builder};

/// How long a member that is meant to answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// On whose behalf to talk.
#[derive(Clone, Copy, Debug)]
pub enum As<'a> {
    /// Not logged in.
    Nobody,
    /// A person, by the certificate among the cell's users.
    User(&'a str),
    /// A machine, by its own certificate.
    Machine(&'a str),
}

/// A connection to one member, with its caller's handle.
#[derive(Clone, Debug)]
pub struct Talk {
    /// It was greeted on.
    pub connection: Connection,
    /// 0 for nobody and for machines.
    pub caller: u32,
}

impl Talk {
    /// Makes a change in a session of its own: once, at this member, without asking again.
    ///
    /// # Errors
    /// What the member says.
    pub async fn change(&self, change: Change) -> Result<v1::ChangeReply, Error> {
        let request = v1::ChangeRequest {
            caller: self.caller,
            session: ChangeSession(rand::random()).0.to_vec(),
            sequence: 1,
            born: self.connection.applied(),
            change: Some(change.into()),
        };
        let reply = self.connection.fldb().change(request).await;
        reply
            .map(tonic::Response::into_inner)
            .map_err(|status| from_status(&status))
    }

    /// Looks a fileset up.
    ///
    /// # Errors
    /// What the member says.
    pub async fn lookup(&self, fileset: &str) -> Result<v1::LookupReply, Error> {
        let request = v1::LookupRequest {
            caller: self.caller,
            what: Some(v1::lookup_request::What::Name(fileset.as_bytes().to_vec())),
        };
        let reply = self.connection.fldb().lookup(request).await;
        reply
            .map(tonic::Response::into_inner)
            .map_err(|status| from_status(&status))
    }
}

impl Cell {
    /// The clock that certificates are judged by.
    pub fn clock() -> Arc<dyn Clock> {
        Arc::new(BootClock)
    }

    /// What people's machine knows of the cell; before it has joined, what the first member knows.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn file(&self) -> Result<CellFile> {
        let machine = if self.has_joined(builder::DESK) {
            builder::DESK
        } else {
            "fl1"
        };
        Ok(CellFile::load(
            &Paths::under(self.places().root(machine)),
            &self.cell_name()?,
        )?)
    }

    /// True if a machine knows the cell.
    pub fn has_joined(&self, machine: &str) -> bool {
        let file = self
            .cell_name()
            .map(|cell| Paths::under(self.places().root(machine)).cell(&cell));
        file.is_ok_and(|file| file.exists())
    }

    /// The cell's name, as others write it.
    ///
    /// # Errors
    /// When it is none.
    pub fn cell_name(&self) -> Result<CellName> {
        Ok(CellName::parse(self.name())?)
    }

    /// A client of the location database, which dials from the address of people's machine: commands dial from
    /// 127.0.0.1, and a test can cut the one without the other.
    ///
    /// # Errors
    /// When `who` has no credential.
    pub fn client(&self, who: As<'_>) -> Result<FldbClient> {
        let identity = match who {
            As::Nobody => Identity::Nobody,
            As::User(name) => Identity::User(Arc::new(self.credential(name)?)),
            As::Machine(name) => Identity::Host(Arc::new(self.host(name)?)),
        };
        Ok(FldbClient::new(&self.file()?, identity, &Cell::clock())?.from_source(self.source()))
    }

    fn source(&self) -> Option<IpAddr> {
        let desk = self.machine(builder::DESK).ok()?;
        desk.others.is_empty().then_some(desk.address)
    }

    /// A person's credential.
    ///
    /// # Errors
    /// When there is none.
    pub fn credential(&self, user: &str) -> Result<Credential> {
        let place = Place::user(self.places().user(user).join(self.name()));
        Credential::load(&place).with_context(|| format!("identity of {user}"))
    }

    /// A machine's credential, ready for connections.
    ///
    /// # Errors
    /// When there is none.
    pub fn host(&self, machine: &str) -> Result<HostTls> {
        let place = Place::host(Paths::under(self.places().root(machine)).pki());
        HostTls::load(place, Cell::clock()).with_context(|| format!("identity of {machine}"))
    }

    /// How to dial, on whose behalf.
    ///
    /// # Errors
    /// When `who` has no credential.
    pub fn tls(&self, who: As<'_>) -> Result<ClientTls> {
        match who {
            As::Nobody | As::User(_) => {
                let anchor = self.file()?.anchor()?;
                Ok(ClientTls::anonymous(&anchor, Wire::Control, &Cell::clock())?)
            }
            As::Machine(name) => Ok(self.host(name)?.client(Wire::Control)),
        }
    }

    /// A connection to the member called `member`, and to no other.
    ///
    /// # Errors
    /// When it does not answer, or refuses `who`.
    pub async fn talk(&self, member: &str, who: As<'_>) -> Result<Talk> {
        let address = self.machine(member)?.address.to_string();
        let target = Target {
            name: Some(EntryName::parse(member)?),
            address: Address::parse(&address)?,
        };
        let dialer = Dialer::new(self.tls(who)?, self.source(), PORT_FLDB);
        let connection = dialer.connect(&target, Instant::now() + ANSWER_MAX).await?;
        let caller = match who {
            As::Nobody | As::Machine(_) => 0,
            As::User(name) => {
                let initiator: Arc<dyn Initiator> = Arc::new(CertInitiator::new(Arc::new(self.credential(name)?)));
                connection.login(&initiator).await?.handle
            }
        };
        Ok(Talk { connection, caller })
    }

    /// How the member called `member` sees the group.
    ///
    /// It is asked on one connection as long as that holds: a member turns away who connects all the time.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn status(&self, member: &str) -> Result<Status> {
        let kept = self.connections.lock().get(member).cloned();
        let connection = match kept {
            Some(connection) => connection,
            None => self.talk(member, As::Nobody).await?.connection,
        };
        let asked = timeout(ANSWER_MAX, connection.fldb().status(v1::StatusRequest { caller: 0 })).await;
        let status = asked
            .context("it does not answer")
            .and_then(|reply| Ok(reply.map_err(|status| from_status(&status))?));
        let mut connections = self.connections.lock();
        match status {
            Ok(status) => {
                connections.insert(member.to_owned(), connection);
                Ok(status.into_inner().try_into()?)
            }
            Err(error) => {
                connections.remove(member);
                Err(error)
            }
        }
    }

    /// The leader, if a member of whom a quorum was heard says who it is.
    pub async fn leader(&self) -> Option<String> {
        for member in self.members_that_run() {
            if let Ok(status) = self.status(&member).await
                && status.has_quorum
            {
                return Some(member);
            }
        }
        None
    }

    /// Waits until there is a leader, and says which.
    ///
    /// # Errors
    /// When there never is one.
    pub async fn wait_for_leader(&self) -> Result<String> {
        self.wait("a leader with a quorum", async || self.leader().await).await
    }

    /// Waits until a member answers.
    ///
    /// # Errors
    /// When it never does.
    pub async fn wait_for_answer(&self, member: &str) -> Result<()> {
        let what = format!("{member} answers");
        self.wait(&what, async || self.status(member).await.ok())
            .await
            .map(drop)
    }

    /// Waits until every member that runs has applied what the leader has committed, and has a vote.
    ///
    /// # Errors
    /// When one never does.
    pub async fn wait_for_all(&self) -> Result<()> {
        let members = self.members_that_run();
        let leader = self.wait_for_leader().await?;
        let committed = self.status(&leader).await?.committed;
        for member in &members {
            let what = format!("{member} has a vote, and what was committed up to {committed}");
            self.wait(&what, async || {
                let of_leader = self.status(&self.leader().await?).await.ok()?;
                let is_voter = |m: &MemberStatus| m.is_voter && m.member.name.as_str() == member;
                let own = self.status(member).await.ok()?;
                (of_leader.members.iter().any(is_voter) && own.applied >= committed).then_some(())
            })
            .await?;
        }
        Ok(())
    }

    /// The members whose daemons are meant to run.
    pub fn members_that_run(&self) -> Vec<String> {
        let members = self.named(super::Role::Flserver).into_iter();
        members.filter(|name| self.process(name).is_some()).collect()
    }
}
