//! Mechanism `cert`: the caller signs this channel with the key of a certificate of the cell's authority.
//!
//! ```text
//! u32 length, big-endian │ certificate, DER │ ECDSA-P256 signature, DER, over
//!                                             "baton-auth-cert-v1\0" │ channel binding, 32 bytes │ server's name
//! ```
//! No nonce: the binding is new with every connection. One token, no answer. The certificate's chain is the
//! authority and nothing between.

use std::sync::Arc;

use baton_types::{Clock, EntryName, Error, Kind, Result};
use rustls_pki_types::CertificateDer;

use super::{Acceptor, Exchange, Identity, InitExchange, Initiator, Step};
use crate::anchor::Anchor;
use crate::credential::Credential;
use crate::key::{is_signed, p256_point};
use crate::names;
use crate::tls::{Channel, ChannelBinding};

/// Its name on the wire.
pub const MECH: &str = "cert";
/// What is signed begins with this, so that no signature made for another purpose is a login.
const CONTEXT: &[u8] = b"baton-auth-cert-v1\0";

/// The server's half.
pub struct CertAcceptor(Arc<Judge>);

struct Judge {
    anchor: Anchor,
    server: EntryName,
    clock: Arc<dyn Clock>,
}

impl CertAcceptor {
    /// For logins at the machine `server`, by certificates under `anchor`.
    pub fn new(anchor: Anchor, server: EntryName, clock: Arc<dyn Clock>) -> CertAcceptor {
        CertAcceptor(Arc::new(Judge { anchor, server, clock }))
    }
}

impl Acceptor for CertAcceptor {
    fn name(&self) -> &'static str {
        MECH
    }

    fn start(&self) -> Box<dyn Exchange> {
        Box::new(CertExchange(self.0.clone()))
    }
}

struct CertExchange(Arc<Judge>);

impl Exchange for CertExchange {
    fn step(&mut self, channel: &Channel, token: &[u8]) -> Result<Step> {
        self.0
            .judge(channel, token)
            .map(|identity| Step::Done(Vec::new(), identity))
    }
}

impl Judge {
    fn judge(&self, channel: &Channel, token: &[u8]) -> Result<Identity> {
        let (der, signature) = split(token)?;
        let certificate = names::parse(der)?;
        let spki = certificate.public_key();
        if p256_point(spki).is_none() {
            return Err(Error::new(Kind::Invalid, "certificate").because("its key is not for ECDSA on P-256"));
        }
        let names = self.anchor.verify(&CertificateDer::from(der), self.clock.date())?;
        if !is_signed(spki, &signed(&channel.binding, &self.server), signature) {
            return Err(Error::new(Kind::Denied, format!("login of {names}"))
                .because(format!("not signed by its key for this connection to {}", self.server))
                .remedy("log in on the connection itself, to the server by its own name"));
        }
        Ok(Identity {
            expires: names.validity.not_after,
            principal: names.principal,
            cell: names.cell,
            mech: MECH,
            host: None,
            unix: None,
        })
    }
}

/// The client's half, for the holder of one credential.
pub struct CertInitiator(Arc<Credential>);

impl CertInitiator {
    /// Logs in with `credential`.
    pub fn new(credential: Arc<Credential>) -> CertInitiator {
        CertInitiator(credential)
    }
}

impl Initiator for CertInitiator {
    fn name(&self) -> &'static str {
        MECH
    }

    fn start(&self, server: &EntryName) -> Box<dyn InitExchange> {
        Box::new(CertInitExchange {
            credential: self.0.clone(),
            server: server.clone(),
        })
    }
}

struct CertInitExchange {
    credential: Arc<Credential>,
    server: EntryName,
}

impl InitExchange for CertInitExchange {
    fn step(&mut self, channel: &Channel, answer: &[u8]) -> Result<Vec<u8>> {
        self.finish(channel, answer)?;
        let signature = self.credential.key().sign(&signed(&channel.binding, &self.server))?;
        Ok(join(self.credential.certificate(), &signature))
    }

    fn finish(&mut self, _channel: &Channel, answer: &[u8]) -> Result<()> {
        // TLS proved the server already; there is nothing for it to add.
        if answer.is_empty() {
            return Ok(());
        }
        Err(Error::new(Kind::Invalid, format!("login at {}", self.server)).because("an answer where none belongs"))
    }
}

fn signed(binding: &ChannelBinding, server: &EntryName) -> Vec<u8> {
    [CONTEXT, &binding.0, server.as_str().as_bytes()].concat()
}

fn join(certificate: &[u8], signature: &[u8]) -> Vec<u8> {
    // A certificate of ours is under 2 KiB: its length fits.
    let len = u32::try_from(certificate.len()).unwrap_or(u32::MAX);
    [&len.to_be_bytes(), certificate, signature].concat()
}

/// Certificate and signature of a token.
fn split(token: &[u8]) -> Result<(&[u8], &[u8])> {
    let bad = |why: &str| Error::new(Kind::Invalid, "login token").because(why);
    if token.is_empty() {
        return Err(bad("empty"));
    }
    let (len, rest) = token.split_first_chunk().ok_or_else(|| bad("too short for a length"))?;
    let len = u32::from_be_bytes(*len) as usize;
    let (certificate, signature) = rest.split_at_checked(len).ok_or_else(|| bad("shorter than it says"))?;
    if signature.is_empty() {
        return Err(bad("no signature"));
    }
    Ok((certificate, signature))
}

#[cfg(test)]
mod tests;
