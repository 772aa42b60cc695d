//! Certificates: the first, for an invitation, and the next, before the last one ends.
//!
//! The key is made here and stays here. Only a member with the authority's key can sign: others say `Moved`,
//! and the next one is asked.

use std::sync::Arc;

use baton_proto::{FromWire, v1};
use baton_security::invitation::InvitationCode;
use baton_security::{Anchor, ClientTls, Credential, Key, Wire};
use baton_types::limits::{ADDRESSES_MAX, MEMBERS_MAX};
use baton_types::{Address, Clock, Error, Kind, Result};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::call::Share;
use super::members::Known;
use super::{FldbClient, Identity};
use crate::dial::Target;

/// What joining made.
#[derive(Debug)]
pub struct Joined {
    /// The newcomer's.
    pub credential: Credential,
    /// Where the members answer.
    pub members: Vec<Address>,
    /// A new member's number.
    pub number: Option<u64>,
}

impl FldbClient {
    /// For one who has nothing but an invitation.
    ///
    /// # Errors
    /// `Invalid` when the TLS library does not take its own parameters.
    pub fn invited(code: &InvitationCode, clock: &Arc<dyn Clock>) -> Result<FldbClient> {
        let tls = ClientTls::pinned(code.pin, Wire::Control, clock)?;
        let targets = code.members.iter().flat_map(|member| {
            let name = Some(member.name.clone());
            let addresses = member.addresses.iter().cloned();
            addresses.map(move |address| Target {
                name: name.clone(),
                address,
            })
        });
        let known = Known::targets(targets.collect());
        Ok(FldbClient::with(code.cell.clone(), Identity::Nobody, tls, known))
    }

    /// Shows the invitation, and has `key` certified. A member to be says where it will listen.
    ///
    /// May be said again with the same key when its outcome was lost.
    ///
    /// # Errors
    /// `Denied` when the invitation is used up, over or unknown; `Unreachable` when nobody answers who could sign.
    pub async fn join(&self, code: &InvitationCode, key: Key, addresses: &[Address]) -> Result<Joined> {
        let request = v1::JoinRequest {
            secret: code.secret.as_bytes().to_vec(),
            csr: key.request()?,
            addresses: addresses
                .iter()
                .map(|address| address.to_string().into_bytes())
                .collect(),
        };
        let (anchor, reply) = self
            .call(Share::Part, |live| {
                let request = request.clone();
                async move {
                    let reply = live.connection.fldb().join(request).await?.into_inner();
                    Ok((live.connection.anchor().clone(), reply))
                }
            })
            .await?;
        check(&anchor, code)?;
        let credential = Credential::new(anchor, certificate(&reply.certificate)?, key)?;
        if credential.names().principal != code.principal {
            return Err(Error::new(Kind::Damaged, "certificate").because(format!(
                "it is for {}, and the invitation is for {}",
                credential.names(),
                code.principal
            )));
        }
        Ok(Joined {
            credential,
            members: Address::list(&reply.addresses, ADDRESSES_MAX * MEMBERS_MAX, "addresses")?,
            number: (reply.member > 0).then_some(reply.member),
        })
    }

    /// A newer certificate for `key`, for whom this client is.
    ///
    /// # Errors
    /// `Denied` when it is disabled or gone from the registry; `Unreachable` when nobody answers who could sign.
    pub async fn renew(&self, key: &Key) -> Result<CertificateDer<'static>> {
        self.renew_by(key.request()?).await
    }

    /// The same for a request that was made elsewhere.
    pub(crate) async fn renew_by(&self, csr: Vec<u8>) -> Result<CertificateDer<'static>> {
        let reply = self
            .call(Share::Part, |live| {
                let request = v1::RenewRequest {
                    caller: live.caller,
                    csr: csr.clone(),
                };
                async move { Ok(live.connection.fldb().renew(request).await?.into_inner()) }
            })
            .await?;
        certificate(&reply.certificate)
    }
}

/// The pin proved the key; the names must be those that were told with it.
fn check(anchor: &Anchor, code: &InvitationCode) -> Result<()> {
    if *anchor.cell() == code.cell && anchor.id() == code.id {
        return Ok(());
    }
    Err(Error::new(Kind::Denied, format!("cell {}", code.cell)).because(format!(
        "its authority says that it is {} with id {}",
        anchor.cell(),
        anchor.id()
    )))
}

fn certificate(pem: &[u8]) -> Result<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(pem)
        .map_err(|e| Error::new(Kind::Damaged, "certificate").because(format!("not in PEM form ({e})")))
}
