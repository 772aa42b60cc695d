//! A credential: a key, the certificate for it, and the authority that made it, as files of one directory.
//!
//! The certificate is written last, so a directory without one is a join that did not finish and may be
//! tried again. Renewal keeps the key: one file changes, and a crash leaves a pair that fits.

use std::path::{Path, PathBuf};

use baton_types::{Error, Kind, Result, Timestamp};
use rustls_pki_types::CertificateDer;

use crate::anchor::Anchor;
use crate::files::{self, Readers};
use crate::key::{Fingerprint, Key};
use crate::names::{self, Names};
use crate::pem;

/// Where a credential lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    directory: PathBuf,
    stem: &'static str,
}

impl Place {
    /// A machine's: `ca.pem`, `host.pem` and `host.key` in `directory` (`/etc/baton/pki`).
    pub fn host(directory: impl Into<PathBuf>) -> Place {
        Place {
            directory: directory.into(),
            stem: "host",
        }
    }

    /// A user's: `ca.pem`, `user.pem` and `user.key` in `directory` (`~/.config/baton/CELL`).
    pub fn user(directory: impl Into<PathBuf>) -> Place {
        Place {
            directory: directory.into(),
            stem: "user",
        }
    }

    /// The authority's certificate.
    pub fn authority(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// The holder's certificate.
    pub fn certificate(&self) -> PathBuf {
        self.directory.join(format!("{}.pem", self.stem))
    }

    /// The holder's key.
    pub fn key(&self) -> PathBuf {
        self.directory.join(format!("{}.key", self.stem))
    }

    /// The directory they lie in.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Refuses to go on where a credential lies already: it is never overwritten.
    ///
    /// # Errors
    /// `Exists`, naming the certificate.
    pub fn check_free(&self) -> Result<()> {
        let certificate = self.certificate();
        match certificate.try_exists() {
            Ok(false) => Ok(()),
            Ok(true) => Err(Error::new(Kind::Exists, certificate.display().to_string())
                .because("there is a certificate already")
                .remedy("move it away to join anew")),
            Err(e) => Err(Error::io(certificate.display().to_string(), e)),
        }
    }
}

/// A key, its certificate, and the authority that made it.
#[derive(Debug)]
pub struct Credential {
    anchor: Anchor,
    certificate: CertificateDer<'static>,
    names: Names,
    key: Key,
}

impl Credential {
    /// Puts together what belongs together. Whether the certificate is good *now* is for those who are shown it.
    ///
    /// # Errors
    /// `Invalid` or `Denied` when it is for another key or by another authority.
    pub fn new(anchor: Anchor, certificate: CertificateDer<'static>, key: Key) -> Result<Credential> {
        check_key(&certificate, &key)?;
        let not_before = Names::of(&certificate)?.validity.not_before;
        let names = anchor.verify(&certificate, not_before)?;
        Ok(Credential {
            anchor,
            certificate,
            names,
            key,
        })
    }

    /// Writes it to a place where none lies.
    ///
    /// # Errors
    /// `Exists`; whatever keeps the files from being written.
    pub fn save(&self, place: &Place) -> Result<()> {
        place.check_free()?;
        files::make_directory(place.directory())?;
        files::replace(&place.key(), self.key.to_pem().as_bytes(), Readers::Owner)?;
        files::replace(&place.authority(), self.anchor.to_pem().as_bytes(), Readers::All)?;
        files::create(
            &place.certificate(),
            pem::write_certificate(&self.certificate).as_bytes(),
            Readers::All,
        )
    }

    /// Reads it.
    ///
    /// # Errors
    /// Naming the file that is missing, unreadable, or does not belong to the others.
    pub fn load(place: &Place) -> Result<Credential> {
        let certificate = place.certificate().display().to_string();
        let der = pem::read_certificate(&certificate, &files::read(&place.certificate())?)?;
        let key = place.key();
        let key = Key::from_pem(&key.display().to_string(), &files::read_secret(&key)?)?;
        let anchor = Anchor::load(&place.authority())?;
        Credential::new(anchor, der, key).map_err(|e| Error { on: certificate, ..e })
    }

    /// Puts a newer certificate for the same key and the same holder in the place of the old one on disk.
    ///
    /// # Errors
    /// `Invalid` or `Denied` for a certificate that is not that; whatever keeps the file from being written.
    pub fn renew(&self, place: &Place, certificate: &CertificateDer<'_>) -> Result<()> {
        check_key(certificate, &self.key)?;
        let names = self
            .anchor
            .verify(certificate, Names::of(certificate)?.validity.not_before)?;
        if names.principal != self.names.principal || names.server != self.names.server {
            return Err(Error::new(Kind::Invalid, format!("certificate of {names}"))
                .because(format!("it is no renewal of the one of {}", self.names)));
        }
        files::replace(
            &place.certificate(),
            pem::write_certificate(certificate).as_bytes(),
            Readers::All,
        )
    }

    /// True from two thirds of the certificate's lifetime on.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.names.validity.is_due(now)
    }

    /// Who it says its holder is.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The authority that made it.
    pub fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    /// The certificate, in DER form.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The key.
    pub fn key(&self) -> &Key {
        &self.key
    }
}

fn check_key(certificate: &CertificateDer<'_>, key: &Key) -> Result<()> {
    if Fingerprint::of(names::parse(certificate)?.public_key().raw) == key.fingerprint() {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, "certificate").because("it is for another key"))
}

#[cfg(test)]
impl Credential {
    /// As one who dials a cell with what another cell gave him.
    pub(crate) fn under(self, anchor: &Anchor) -> Credential {
        Credential {
            anchor: anchor.clone(),
            ..self
        }
    }
}

#[cfg(test)]
mod tests;
