//! Verifiers: what the TLS library knows, and then the names.

use std::net::{IpAddr, Ipv4Addr};

use baton_types::{Error, Kind};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, PeerIncompatible, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::timestamp;
use crate::anchor::{Anchor, other};
use crate::key::Fingerprint;
use crate::names::Names;

/// A machine's certificate if one is shown, else nobody; never a user's, who logs in inside the connection.
#[derive(Debug)]
pub(super) struct Hosts(pub(super) Anchor);

impl ClientCertVerifier for Hosts {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.client_verifier().root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let names = self.0.verify_client(leaf, timestamp(now))?;
        match names.host() {
            Some(_) => Ok(ClientCertVerified::assertion()),
            None => Err(other(Error::new(Kind::Denied, "certificate").because(format!(
                "it is {names}'s, and only machines show theirs in the handshake"
            )))),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signed, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

/// How a client knows the authority.
#[derive(Debug)]
pub(super) enum Servers {
    /// It has its certificate.
    Known(Anchor),
    /// It has only the fingerprint that came with an invitation.
    Pinned(Fingerprint),
}

impl Servers {
    /// The authority under which the server's `chain` must lie.
    pub(super) fn anchor(&self, chain: &[CertificateDer<'_>]) -> Result<Anchor, rustls::Error> {
        match self {
            Servers::Known(anchor) => Ok(anchor.clone()),
            Servers::Pinned(pin) => chain
                .iter()
                .filter_map(|der| Anchor::from_der(der).ok())
                .find(|anchor| anchor.fingerprint() == *pin)
                .ok_or_else(|| {
                    other(
                        Error::new(Kind::Denied, "certificate")
                            .because("its authority is not the one that the invitation names")
                            .remedy("ask for a new invitation; if that fails too, somebody is in between"),
                    )
                }),
        }
    }
}

/// Asks for no machine by name: no machine of a cell is named by an IP address, and none is sent to the server.
pub(super) fn any_machine() -> ServerName<'static> {
    ServerName::from(IpAddr::from(Ipv4Addr::UNSPECIFIED))
}

/// The machine that a certificate says it is of.
fn own_name(leaf: &CertificateDer<'_>) -> Result<ServerName<'static>, rustls::Error> {
    let names = Names::of(leaf).map_err(other)?;
    let host = names.host().and_then(|host| ServerName::try_from(host.to_owned()).ok());
    host.ok_or_else(|| {
        let why = format!("it names {names}, which is no machine");
        other(Error::new(Kind::Denied, "certificate").because(why))
    })
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let anchor = self.anchor(chain)?;
        let own = match name {
            ServerName::IpAddress(_) => Some(own_name(leaf)?),
            _ => None,
        };
        anchor
            .verify_server(leaf, own.as_ref().unwrap_or(name), timestamp(now))
            .map(|_| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signed, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    rustls::crypto::ring::default_provider().signature_verification_algorithms
}

fn no_tls12() -> rustls::Error {
    rustls::Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered)
}
