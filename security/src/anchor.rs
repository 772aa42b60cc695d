//! The cell's authority as everyone knows it: its certificate, and what can be proved with that.
//!
//! One authority for servers, machines and users. Its certificate says which cell it speaks for (the subject's
//! organisation is the cell's name, the serialNumber its id), so that an authority's file alone answers "whose?".

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use baton_types::{CellId, CellName, Error, Kind, Result, Timestamp};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, ServerName};
use x509_parser::certificate::X509Certificate;

use crate::key::{Fingerprint, p256_point};
use crate::names::{self, Names};
use crate::tls::{explain_certificate, provider, unix_time};
use crate::validity::Validity;
use crate::{files, pem};

/// The cell's authority, without its key. A cheap copy.
#[derive(Clone)]
pub struct Anchor(Arc<Inner>);

struct Inner {
    cell: CellName,
    id: CellId,
    validity: Validity,
    fingerprint: Fingerprint,
    der: CertificateDer<'static>,
    clients: Arc<dyn ClientCertVerifier>,
    servers: Arc<WebPkiServerVerifier>,
}

impl Anchor {
    /// Reads an authority's certificate in DER form.
    ///
    /// # Errors
    /// `Invalid` unless it is the certificate of a cell's authority.
    pub fn from_der(der: &[u8]) -> Result<Anchor> {
        let certificate = names::parse(der)?;
        check_is_authority(&certificate)?;
        let cell = CellName::parse(organisation(&certificate).ok_or_else(|| bad("it names no cell"))?)?;
        let id = names::serial_number(&certificate)?.ok_or_else(|| bad("it has no cell id"))?;
        let der = CertificateDer::from(der.to_vec());
        let mut roots = RootCertStore::empty();
        roots.add(der.clone()).map_err(|e| bad(&e.to_string()))?;
        let roots = Arc::new(roots);
        Ok(Anchor(Arc::new(Inner {
            cell,
            id,
            validity: names::validity(&certificate),
            fingerprint: Fingerprint::of(certificate.public_key().raw),
            clients: WebPkiClientVerifier::builder_with_provider(roots.clone(), provider())
                .allow_unauthenticated()
                .build()
                .map_err(|e| bad(&e.to_string()))?,
            servers: WebPkiServerVerifier::builder_with_provider(roots, provider())
                .build()
                .map_err(|e| bad(&e.to_string()))?,
            der,
        })))
    }

    /// Reads `ca.pem`.
    ///
    /// # Errors
    /// As [`Anchor::from_der`], and when the file cannot be read.
    pub fn load(path: &Path) -> Result<Anchor> {
        let on = path.display().to_string();
        let der = pem::read_certificate(&on, &files::read(path)?)?;
        Anchor::from_der(&der).map_err(|e| Error { on, ..e })
    }

    /// Reads an authority's certificate from PEM text found at `on`.
    ///
    /// # Errors
    /// As [`Anchor::from_der`].
    pub fn from_pem(on: &str, text: &str) -> Result<Anchor> {
        let der = pem::read_certificate(on, text.as_bytes())?;
        Anchor::from_der(&der).map_err(|e| Error { on: on.to_owned(), ..e })
    }

    /// Its certificate as a file holds it.
    pub fn to_pem(&self) -> String {
        pem::write_certificate(&self.0.der)
    }

    /// Its certificate in DER form.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.0.der
    }

    /// The cell it speaks for.
    pub fn cell(&self) -> &CellName {
        &self.0.cell
    }

    /// That cell's id.
    pub fn id(&self) -> CellId {
        self.0.id
    }

    /// Of its key: what an invitation pins.
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint
    }

    /// From when to when it may sign.
    pub fn validity(&self) -> Validity {
        self.0.validity
    }

    /// Who `certificate` speaks of, if this authority made it and it is good at `now`.
    ///
    /// # Errors
    /// `Denied`, `Expired` or `Invalid`, saying why it proves nothing.
    pub fn verify(&self, certificate: &CertificateDer<'_>, now: Timestamp) -> Result<Names> {
        let on = || match Names::of(certificate) {
            Ok(names) => format!("certificate of {names}"),
            Err(_) => "certificate".to_owned(),
        };
        self.verify_client(certificate, now).map_err(|e| match e {
            rustls::Error::InvalidCertificate(why) => explain_certificate(&on(), &why),
            other => Error::new(Kind::Invalid, on()).because(other.to_string()),
        })
    }

    /// As [`Anchor::verify`], in the words of the TLS library, which makes an alert of them.
    ///
    /// The chain is always the authority and the leaf: whatever else a peer sends is not looked at. (The library
    /// would follow it, and not mind that the authority's path length is 0: it takes no constraints from a root.)
    pub(crate) fn verify_client(&self, leaf: &CertificateDer<'_>, now: Timestamp) -> Result<Names, rustls::Error> {
        self.0.clients.verify_client_cert(leaf, &[], unix_time(now))?;
        self.names(leaf)
    }

    /// The same for a server, which must be the machine called `name`.
    pub(crate) fn verify_server(
        &self,
        leaf: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: Timestamp,
    ) -> Result<Names, rustls::Error> {
        let wrong = || match Names::of(leaf) {
            Ok(names) => denied(&format!("it names {names}, not the machine {}", name.to_str())),
            Err(e) => e,
        };
        let verified = self.0.servers.verify_server_cert(leaf, &[], name, &[], unix_time(now));
        verified.map_err(|e| if is_about_name(&e) { other(wrong()) } else { e })?;
        let names = self.names(leaf)?;
        // TLS compares names without regard to case; two machines of a cell may differ by that alone.
        if names.host() != Some(name.to_str().as_ref()) {
            return Err(other(wrong()));
        }
        Ok(names)
    }

    pub(crate) fn client_verifier(&self) -> &dyn ClientCertVerifier {
        self.0.clients.as_ref()
    }

    fn names(&self, leaf: &CertificateDer<'_>) -> Result<Names, rustls::Error> {
        let names = Names::of(leaf).map_err(other)?;
        if names.cell != self.0.cell {
            return Err(other(denied(&format!(
                "it is of the cell {}, and this is {}",
                names.cell, self.0.cell
            ))));
        }
        Ok(names)
    }
}

impl fmt::Debug for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Anchor({} {} key {})", self.0.cell, self.0.id, self.0.fingerprint)
    }
}

/// The same key for the same cell.
impl PartialEq for Anchor {
    fn eq(&self, other: &Anchor) -> bool {
        self.0.der == other.0.der
    }
}

/// An error of ours for the TLS library to carry; [`explain`] finds it again.
pub(crate) fn other(error: Error) -> rustls::Error {
    let error = rustls::OtherError(Arc::new(error));
    rustls::Error::InvalidCertificate(rustls::CertificateError::Other(error))
}

fn is_about_name(error: &rustls::Error) -> bool {
    use rustls::CertificateError::{NotValidForName, NotValidForNameContext};
    matches!(
        error,
        rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })
    )
}

fn check_is_authority(certificate: &X509Certificate<'_>) -> Result<()> {
    if !certificate.is_ca() {
        return Err(bad("it is not an authority's"));
    }
    if p256_point(certificate.public_key()).is_none() {
        return Err(bad("its key is not for ECDSA on P-256"));
    }
    certificate
        .verify_signature(None)
        .map_err(|_| bad("it is not signed with its own key"))
}

fn organisation<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a str> {
    certificate.subject().iter_organization().next()?.as_str().ok()
}

fn denied(why: &str) -> Error {
    Error::new(Kind::Denied, "certificate").because(why)
}

fn bad(why: &str) -> Error {
    Error::new(Kind::Invalid, "certificate").because(why)
}

#[cfg(test)]
mod tests;
