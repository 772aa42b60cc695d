//! The cell's authority: the one key that makes its machines and people known to one another.
//!
//! What a certificate says is what the authority was told by its own side; of a request only the key counts.
//! Path length 0: nobody whom the authority names can name others.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use baton_types::{CellId, CellName, EntryName, Error, Kind, PrincipalName, Result, ServerId, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, date_time_ymd,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls_pki_types::{CertificateDer, DnsName};

use crate::anchor::Anchor;
use crate::files::{self, Readers};
use crate::key::{Fingerprint, Key, Request};
use crate::names::uri;
use crate::pem;
use crate::validity::Validity;

/// How long an authority is good: ten years. Changing one means going to every machine.
const AUTHORITY_SECONDS: u64 = 3_652 * 86_400;
/// X.520 serialNumber, where a certificate holds the uuid of what it speaks of.
const SERIAL_NUMBER: [u64; 4] = [2, 5, 4, 5];

/// Whom a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A person, or a program that logs in as one.
    User(PrincipalName),
    /// A machine, known as `hosts/NAME`.
    Host {
        /// Its name in the cell.
        name: EntryName,
        /// Its lasting identity, if it is a server.
        server: Option<ServerId>,
    },
}

impl Subject {
    /// The principal that this names.
    pub fn principal(&self) -> PrincipalName {
        match self {
            Subject::User(principal) => principal.clone(),
            Subject::Host { name, .. } => PrincipalName::host(name),
        }
    }

    /// Refuses names that would be taken for something else.
    fn check(&self) -> Result<()> {
        match self {
            Subject::User(principal) if principal.as_str().split('/').next() == Some("hosts") => {
                Err(Error::new(Kind::Invalid, format!("user {principal}"))
                    .because("hosts/ is for machines")
                    .remedy("choose another name, or invite it as a machine"))
            }
            Subject::User(_) => Ok(()),
            Subject::Host { name, .. } => DnsName::try_from(name.as_str()).map(|_| ()).map_err(|_| {
                Error::new(Kind::Invalid, format!("machine {name}"))
                    .because("TLS can only check a name that DNS could hold")
                    .remedy("use letters, digits, '-' and single dots between them")
            }),
        }
    }
}

/// The authority with its key.
pub struct Authority {
    anchor: Anchor,
    key: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority for a new cell.
    ///
    /// # Errors
    /// `Io` when no key can be made.
    pub fn create(cell: &CellName, id: CellId, now: Timestamp) -> Result<Authority> {
        let key = Key::generate()?;
        let mut subject = DistinguishedName::new();
        subject.push(DnType::OrganizationName, cell.as_str());
        subject.push(DnType::CommonName, "Baton authority");
        subject.push(DnType::CustomDnType(SERIAL_NUMBER.to_vec()), id.to_string());
        let mut params = params(subject, Validity::starting(now, AUTHORITY_SECONDS))?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pair = key.into_pair();
        let certificate = params.self_signed(&pair).map_err(|e| failed(&e))?;
        Authority::new(Anchor::from_der(certificate.der())?, pair)
    }

    /// Writes `ca.key` and `ca.pem` into `directory`, which must not have them.
    ///
    /// # Errors
    /// `Exists`; whatever keeps the files from being written.
    pub fn save(&self, directory: &Path) -> Result<()> {
        files::make_directory(directory)?;
        let key = pem::write_key(self.key.key().serialized_der());
        files::create(&directory.join("ca.key"), key.as_bytes(), Readers::Owner)?;
        files::create(&directory.join("ca.pem"), self.anchor.to_pem().as_bytes(), Readers::All)
    }

    /// Reads what [`Authority::save`] wrote.
    ///
    /// # Errors
    /// `NotFound` where there is none; `Denied` when others may read the key; `Invalid` when the two do not belong together.
    pub fn load(directory: &Path) -> Result<Authority> {
        let path = directory.join("ca.key");
        let key = Key::from_pem(&path.display().to_string(), &files::read_secret(&path)?)?;
        Authority::new(Anchor::load(&directory.join("ca.pem"))?, key.into_pair()).map_err(|e| Error {
            on: path.display().to_string(),
            ..e
        })
    }

    fn new(anchor: Anchor, pair: KeyPair) -> Result<Authority> {
        if Fingerprint::of(&pair.subject_public_key_info()) != anchor.fingerprint() {
            return Err(Error::new(Kind::Invalid, "authority").because("the key is not the one in ca.pem"));
        }
        let key = Issuer::from_ca_cert_der(anchor.der(), pair).map_err(|e| failed(&e))?;
        Ok(Authority { anchor, key })
    }

    /// What everyone may know of it.
    pub fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    /// Makes a certificate for the key in `request`, for `subject`, good from now (and a little before) for
    /// `seconds`, but never longer than the authority itself.
    ///
    /// # Errors
    /// `Invalid` when a machine's name is no DNS name, or a user's looks like a machine's; `Expired` when the
    /// authority is.
    pub fn issue(
        &self,
        request: &Request,
        subject: &Subject,
        now: Timestamp,
        seconds: u64,
    ) -> Result<CertificateDer<'static>> {
        self.anchor.validity().check("the cell's authority", now)?;
        subject.check()?;
        let validity = Validity::starting(now, seconds).within(self.anchor.validity());
        let principal = subject.principal();
        let mut name = DistinguishedName::new();
        name.push(DnType::OrganizationName, self.anchor.cell().as_str());
        name.push(DnType::CommonName, principal.as_str());
        if let Subject::Host {
            server: Some(server), ..
        } = subject
        {
            name.push(DnType::CustomDnType(SERIAL_NUMBER.to_vec()), server.to_string());
        }
        let mut params = params(name, validity)?;
        params.use_authority_key_identifier_extension = true;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages(subject);
        params.subject_alt_names = alternative_names(self.anchor.cell(), subject)?;
        let certificate = params.signed_by(request, &self.key).map_err(|e| failed(&e))?;
        Ok(certificate.der().clone())
    }
}

#[cfg(test)]
impl Authority {
    /// Signs whatever is asked, as no authority would.
    pub(crate) fn sign_anything(
        &self,
        params: &CertificateParams,
        key: &impl PublicKeyData,
    ) -> CertificateDer<'static> {
        params.signed_by(key, &self.key).unwrap().der().clone()
    }
}

/// Never the key.
impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({:?})", self.anchor)
    }
}

/// A person's certificate serves no TLS, so that it cannot stand in for a server.
fn usages(subject: &Subject) -> Vec<ExtendedKeyUsagePurpose> {
    match subject {
        Subject::User(_) => vec![ExtendedKeyUsagePurpose::ClientAuth],
        Subject::Host { .. } => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
    }
}

fn alternative_names(cell: &CellName, subject: &Subject) -> Result<Vec<SanType>> {
    let text = |text: &str| text.try_into().map_err(|e| failed(&e));
    let mut names = vec![SanType::URI(text(&uri(cell, &subject.principal()))?)];
    if let Subject::Host { name, .. } = subject {
        names.push(SanType::DnsName(text(name.as_str())?));
    }
    Ok(names)
}

fn params(subject: DistinguishedName, validity: Validity) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    // The only way to the date type of the library without naming its crate; dates before 1970 are 1970.
    let calendar = |at: Timestamp| date_time_ymd(1970, 1, 1) + Duration::from_secs(at.seconds().max(0).unsigned_abs());
    params.not_before = calendar(validity.not_before);
    params.not_after = calendar(validity.not_after);
    params.serial_number = Some(random_serial()?);
    Ok(params)
}

/// Sixteen random bytes: a renewed certificate must not have the number of the old one.
fn random_serial() -> Result<SerialNumber> {
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Error::new(Kind::Io, "serial number").because("the machine has no randomness to give"))?;
    bytes[0] = bytes[0] & 0x7f | 0x40; // positive, and of full length
    Ok(SerialNumber::from_slice(&bytes))
}

fn failed(why: &rcgen::Error) -> Error {
    Error::new(Kind::Invalid, "certificate").because(why.to_string())
}

#[cfg(test)]
mod tests;
