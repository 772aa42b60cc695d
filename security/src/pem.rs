//! Keys and certificates as text files hold them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use baton_types::{Error, Kind, Result};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

/// Characters on one line (RFC 7468).
const LINE: usize = 64;

/// A certificate as PEM text.
pub fn write_certificate(der: &[u8]) -> String {
    write("CERTIFICATE", der).as_str().to_owned()
}

/// A PKCS #8 private key as PEM text.
pub fn write_key(pkcs8: &[u8]) -> Zeroizing<String> {
    write("PRIVATE KEY", pkcs8)
}

/// The first certificate of a PEM text found at `on`.
pub fn read_certificate(on: &str, text: &[u8]) -> Result<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(text).map_err(|e| bad(on, "certificate", &e))
}

/// The first private key of a PEM text found at `on`.
pub fn read_key(on: &str, text: &[u8]) -> Result<PrivatePkcs8KeyDer<'static>> {
    PrivatePkcs8KeyDer::from_pem_slice(text).map_err(|e| bad(on, "private key", &e))
}

fn bad(on: &str, what: &str, why: &rustls_pki_types::pem::Error) -> Error {
    Error::new(Kind::Invalid, on).because(format!("no {what} in PEM form ({why})"))
}

fn write(label: &str, der: &[u8]) -> Zeroizing<String> {
    let base64 = Zeroizing::new(STANDARD.encode(der));
    // Room for everything at once: a string that grows leaves copies of a secret behind.
    let mut text = Zeroizing::new(String::with_capacity(
        base64.len() + base64.len() / LINE + 2 * label.len() + 40,
    ));
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    #[test]
    fn what_is_written_is_read_back() {
        for len in [1, 47, 48, 49, 500] {
            let der: Vec<u8> = (0..len).map(|i| i as u8).collect();
            assert_eq!(
                read_certificate("x", write_certificate(&der).as_bytes())
                    .unwrap()
                    .as_ref(),
                der
            );
            assert_eq!(
                read_key("x", write_key(&der).as_bytes()).unwrap().secret_pkcs8_der(),
                der
            );
        }
    }

    #[test]
    fn a_key_is_no_certificate() {
        let error = read_certificate("ca.pem", write_key(b"xyz").as_bytes()).unwrap_err();
        assert!(
            error.to_string().starts_with("ca.pem: no certificate in PEM form"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn prop_any_text_is_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_certificate("x", &text);
            let _ = read_key("x", &text);
        }
    }
}
