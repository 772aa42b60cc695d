//! Certificates: for whoever comes with an invitation, and again before they end.
//!
//! Only the member that holds the authority's key can do this; the others say who does. What a
//! certificate says comes from the registry, never from the request: of that only the key counts.

use std::collections::BTreeSet;
use std::sync::Arc;

use baton_proto::{FromWire, Record, v1};
use baton_rpc::control::{Connection, House};
use baton_security::invitation::Secret;
use baton_security::{Authority, Request, Subject};
use baton_types::change::{Change, ChangeSession, Proposal, Who};
use baton_types::limits::ADDRESSES_MAX;
use baton_types::record::Cell;
use baton_types::{Address, EntryName, Error, Kind, PrincipalName, Result, ServerId};

use super::{LEADER_DEADLINE, Server};

impl Server {
    /// Takes an invitation and a key, and certifies the key.
    pub(super) async fn admit(&self, ask: v1::JoinRequest) -> Result<v1::JoinReply> {
        let authority = self.authority()?;
        let request = Request::parse(&ask.csr)?;
        let secret_hash = Secret::from_slice(&ask.secret)?.hash();
        // A stranger's guesses must not fill the log: what no state knows goes no further.
        self.catch_up().await?;
        if !self.published().state().knows_invitation(&secret_hash) {
            return Err(Error::new(Kind::Denied, "token")
                .because("this cell gave out no such token, or it ended long ago")
                .remedy("ask for a new one: baton cell invite"));
        }
        let change = Change::UseInvitation {
            secret_hash,
            public_key_hash: *blake3::hash(request.public_key()).as_bytes(),
            addresses: Address::list(&ask.addresses, ADDRESSES_MAX, "addresses")?,
        };
        let reply = self.propose_for_nobody(change).await?;
        self.published().reached(reply.index).await?;
        let record = reply.record.map(Record::try_from).transpose()?;
        let (principal, member) = match record {
            Some(Record::Principal(principal)) => (principal.name, 0),
            Some(Record::Member(member)) => (PrincipalName::host(&member.name), member.number),
            _ => return Err(Error::new(Kind::Damaged, "token").because("it made nothing that joins")),
        };
        let certificate = self.certify(authority, &request, &principal, None)?;
        tracing::info!(%principal, "joined");
        let state = self.published().state();
        Ok(v1::JoinReply {
            principal: principal.to_string().into_bytes(),
            certificate,
            authority: authority.anchor().to_pem().into_bytes(),
            addresses: state
                .members()
                .flat_map(|m| &m.addresses)
                .map(|a| a.to_string().into_bytes())
                .collect(),
            member,
        })
    }

    /// A newer certificate for whom this connection or login has proved.
    pub(super) async fn renew_certificate(
        &self,
        connection: &Arc<Connection>,
        ask: &v1::RenewRequest,
    ) -> Result<v1::RenewReply> {
        let authority = self.authority()?;
        let (principal, server) = match self.who(connection, ask.caller)? {
            Who::Host { name, server } => (name, server),
            Who::Principal { name, mech } if mech == "cert" => (name, None),
            Who::Principal { .. } | Who::Nobody | Who::Database => {
                return Err(Error::new(Kind::Denied, "certificate")
                    .because("only its holder, by the certificate there is, gets a new one"));
            }
        };
        self.catch_up().await?;
        super::enabled(self.published(), &principal)?;
        let request = Request::parse(&ask.csr)?;
        let certificate = self.certify(authority, &request, &principal, server)?;
        tracing::info!(%principal, "certificate renewed");
        Ok(v1::RenewReply { certificate })
    }

    fn authority(&self) -> Result<&Authority> {
        self.authority.as_ref().ok_or_else(|| {
            let state = self.published().state();
            let issuers: BTreeSet<String> = state
                .members()
                .filter(|m| m.issuer)
                .map(|m| m.name.to_string())
                .collect();
            let issuers: Vec<String> = issuers.into_iter().collect();
            Error::new(Kind::Moved, format!("member {}", self.name))
                .because(format!("the authority's key is at {}", issuers.join(", ")))
        })
    }

    /// A machine that was a server before keeps its identity: a rebuilt one is the same server.
    fn certify(
        &self,
        authority: &Authority,
        request: &Request,
        principal: &PrincipalName,
        server: Option<ServerId>,
    ) -> Result<Vec<u8>> {
        let state = self.published().state();
        let cell: &Cell = state.cell().ok_or_else(|| Error::new(Kind::NotFound, "cell"))?;
        let (subject, seconds) = match principal.as_host() {
            Some(host) => {
                let known = server.or_else(|| state.server_named(host).map(|server| server.id));
                let subject = Subject::Host {
                    name: EntryName::parse(host)?,
                    server: known.or_else(|| Some(ServerId::random())),
                };
                (subject, cell.host_certificate_seconds)
            }
            None => (Subject::User(principal.clone()), cell.user_certificate_seconds),
        };
        let certificate = authority.issue(request, &subject, self.clock.date(), seconds)?;
        Ok(baton_security::write_certificate(&certificate).into_bytes())
    }

    async fn propose_for_nobody(&self, change: Change) -> Result<v1::ChangeReply> {
        let proposal = Proposal {
            session: ChangeSession(rand::random()),
            sequence: 1,
            born: self.published().state().applied(),
            date: self.clock.date(),
            who: Who::Nobody,
            change,
        };
        self.member.propose(proposal, LEADER_DEADLINE).await
    }
}
