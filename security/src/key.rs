//! Keys: ECDSA on P-256, no other, so that there is nothing to choose and nothing to choose wrongly.
//!
//! A private key is made where it is used and never leaves there; only its public half travels, in a request
//! that proves possession.

use std::fmt;
use std::str::FromStr;

use baton_types::{Error, Kind, Result};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SigningKey};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls_pki_types::PrivatePkcs8KeyDer;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;
use zeroize::Zeroizing;

use crate::pem;

/// SHA-256 of a public key as certificates write it (SubjectPublicKeyInfo): what a pin holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of a SubjectPublicKeyInfo.
    pub(crate) fn of(spki: &[u8]) -> Fingerprint {
        let digest = ring::digest::digest(&ring::digest::SHA256, spki);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Fingerprint(bytes)
    }
}

/// 64 hex digits.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Fingerprint> {
        let bad =
            || Error::new(Kind::Invalid, format!("fingerprint '{}'", text.escape_debug())).because("not 64 hex digits");
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| bad())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
        }
        Ok(Fingerprint(bytes))
    }
}

/// A private key.
pub struct Key(KeyPair);

impl Key {
    /// A new one, from the machine's own randomness.
    ///
    /// # Errors
    /// `Io` when the machine has none to give.
    pub fn generate() -> Result<Key> {
        KeyPair::generate()
            .map(Key)
            .map_err(|e| Error::new(Kind::Io, "new key").because(e.to_string()))
    }

    /// The key in this PEM text, read from `on`.
    ///
    /// # Errors
    /// `Invalid` unless it is a P-256 key.
    pub fn from_pem(on: &str, text: &[u8]) -> Result<Key> {
        let der = pem::read_key(on, text)?;
        KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256)
            .map(Key)
            .map_err(|_| Error::new(Kind::Invalid, on).because("not a private key for ECDSA on P-256"))
    }

    /// The key as a file holds it.
    pub fn to_pem(&self) -> Zeroizing<String> {
        pem::write_key(self.0.serialized_der())
    }

    /// A request (PKCS #10, in DER form) for a certificate for this key. It names nobody: the authority does.
    ///
    /// # Errors
    /// `Io` when signing fails.
    pub fn request(&self) -> Result<Vec<u8>> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&self.0).map_err(|e| failed(&e))?;
        Ok(request.der().to_vec())
    }

    /// An ECDSA signature with SHA-256, in DER form.
    ///
    /// # Errors
    /// `Io` when signing fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        self.0.sign(message).map_err(|e| failed(&e))
    }

    /// Of its public half.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.0.subject_public_key_info())
    }

    pub(crate) fn der(&self) -> PrivatePkcs8KeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.0.serialized_der().to_vec())
    }

    pub(crate) fn into_pair(self) -> KeyPair {
        self.0
    }
}

/// Never the key itself.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key(public half {})", self.fingerprint())
    }
}

/// The public half of a key that somebody asks a certificate for, and has shown to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request(Vec<u8>);

impl Request {
    /// Reads a PKCS #10 request in DER form. Whatever it asks for besides its key is not even looked at.
    ///
    /// # Errors
    /// `Invalid` unless it is a request for a P-256 key, signed with that key.
    pub fn parse(der: &[u8]) -> Result<Request> {
        let bad = |why: &str| Error::new(Kind::Invalid, "certificate request").because(why);
        let Ok(([], request)) = X509CertificationRequest::from_der(der) else {
            return Err(bad("not a PKCS #10 request"));
        };
        let spki = &request.certification_request_info.subject_pki;
        let point = p256_point(spki).ok_or_else(|| bad("its key is not for ECDSA on P-256"))?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
            .verify(request.certification_request_info.raw, &request.signature_value.data)
            .map_err(|_| bad("it is not signed with the key it asks for"))?;
        Ok(Request(point.to_vec()))
    }

    /// The public half itself: a point on the curve. Two requests for one key have the same.
    pub fn public_key(&self) -> &[u8] {
        &self.0
    }
}

impl PublicKeyData for Request {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// True if `signature` is by the key in `spki` over `message`.
pub(crate) fn is_signed(spki: &SubjectPublicKeyInfo<'_>, message: &[u8], signature: &[u8]) -> bool {
    p256_point(spki).is_some_and(|point| {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
            .verify(message, signature)
            .is_ok()
    })
}

/// The point of a P-256 public key; `None` for a key of any other kind.
pub(crate) fn p256_point<'a>(spki: &'a SubjectPublicKeyInfo<'_>) -> Option<&'a [u8]> {
    let curve = spki.algorithm.parameters.as_ref()?.as_oid().ok()?;
    let is_p256 = spki.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY && curve == OID_EC_P256;
    is_p256.then_some(&spki.subject_public_key.data)
}

fn failed(why: &rcgen::Error) -> Error {
    Error::new(Kind::Io, "private key").because(why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    #[test]
    fn request_carries_the_key_and_proves_it() {
        let key = Key::generate().unwrap();
        let request = Request::parse(&key.request().unwrap()).unwrap();
        assert_eq!(Fingerprint::of(&request.subject_public_key_info()), key.fingerprint());
    }

    #[test]
    fn request_for_a_key_of_another_is_refused() {
        let mut der = Key::generate().unwrap().request().unwrap();
        *der.last_mut().unwrap() ^= 1; // the end of the signature
        let error = Request::parse(&der).unwrap_err();
        assert!(error.to_string().contains("not signed with the key"), "{error}");
    }

    #[test]
    fn request_for_another_kind_of_key_is_refused() {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let der = CertificateParams::default()
            .serialize_request(&key)
            .unwrap()
            .der()
            .to_vec();
        let error = Request::parse(&der).unwrap_err();
        assert!(error.to_string().contains("not for ECDSA on P-256"), "{error}");
        let error = Key::from_pem("user.key", key.serialize_pem().as_bytes()).unwrap_err();
        assert!(
            error.to_string().contains("user.key: not a private key for ECDSA"),
            "{error}"
        );
    }

    #[test]
    fn key_survives_its_file_and_is_never_printed() {
        let key = Key::generate().unwrap();
        let copy = Key::from_pem("host.key", key.to_pem().as_bytes()).unwrap();
        assert_eq!(copy.fingerprint(), key.fingerprint());
        assert_eq!(format!("{key:?}"), format!("Key(public half {})", key.fingerprint()));
    }

    #[test]
    fn fingerprints_are_read_as_printed() {
        let fingerprint = Key::generate().unwrap().fingerprint();
        assert_eq!(fingerprint.to_string().parse::<Fingerprint>().unwrap(), fingerprint);
        for bad in ["", "ab", &"g".repeat(64), &"é".repeat(32)] {
            assert!(bad.parse::<Fingerprint>().is_err());
        }
    }

    proptest! {
        #[test]
        fn prop_any_bytes_are_a_request_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Request::parse(&bytes);
        }
    }
}
