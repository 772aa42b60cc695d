//! Who a certificate speaks of.
//!
//! The name is one URI, `baton://CELL/PRINCIPAL`. Two of them would let the reader choose, so two are refused.
//! Machines have a DNS name besides, because that is what TLS compares; it says nothing that the URI does not.

use std::fmt;

use baton_types::{CellName, Error, Kind, PrincipalName, Result, ServerId, Timestamp};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::validity::Validity;

/// What the URI begins with.
const SCHEME: &str = "baton://";

/// What a certificate of a cell says of its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The holder's cell.
    pub cell: CellName,
    /// The holder.
    pub principal: PrincipalName,
    /// A server's lasting identity.
    pub server: Option<ServerId>,
    /// From when to when the certificate says so.
    pub validity: Validity,
}

impl Names {
    /// Reads them from a certificate in DER form. Reading proves nothing: [`crate::Anchor`] does.
    ///
    /// # Errors
    /// `Invalid`, saying what is missing or too much.
    pub fn of(der: &[u8]) -> Result<Names> {
        let certificate = parse(der)?;
        let (cell, principal) = split_uri(only_uri(&certificate)?)?;
        Ok(Names {
            cell,
            principal,
            server: serial_number(&certificate)?,
            validity: validity(&certificate),
        })
    }

    /// The machine's name, if the holder is a machine.
    pub fn host(&self) -> Option<&str> {
        self.principal.as_host()
    }
}

/// `alice@example.org`.
impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.principal, self.cell)
    }
}

/// The URI that names `principal` of `cell`. Neither has a character that a URI would have to escape.
pub(crate) fn uri(cell: &CellName, principal: &PrincipalName) -> String {
    format!("{SCHEME}{cell}/{principal}")
}

/// A certificate in DER form, with nothing after it.
pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(bad("there is something after its end")),
        Err(_) => Err(bad("not an X.509 certificate")),
    }
}

pub(crate) fn validity(certificate: &X509Certificate<'_>) -> Validity {
    let at = |seconds: i64| Timestamp(seconds.saturating_mul(1_000_000_000));
    let validity = certificate.validity();
    Validity {
        not_before: at(validity.not_before.timestamp()),
        not_after: at(validity.not_after.timestamp()),
    }
}

/// The uuid in the subject's serialNumber.
pub(crate) fn serial_number<T: std::str::FromStr<Err = Error>>(certificate: &X509Certificate<'_>) -> Result<Option<T>> {
    let mut found = certificate
        .subject()
        .iter_by_oid(&x509_parser::oid_registry::OID_X509_SERIALNUMBER);
    match (found.next(), found.next()) {
        (None, _) => Ok(None),
        (Some(one), None) => one
            .as_str()
            .map_err(|_| bad("its subject's serialNumber is not text"))?
            .parse()
            .map(Some),
        (Some(_), Some(_)) => Err(bad("its subject has two serialNumbers")),
    }
}

fn only_uri<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| bad("its alternative names cannot be read"))?;
    let mut uris = names
        .iter()
        .flat_map(|names| &names.value.general_names)
        .filter_map(|name| match name {
            GeneralName::URI(uri) if uri.starts_with(SCHEME) => Some(*uri),
            _ => None,
        });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => Ok(uri),
        (None, _) => Err(bad("it names nobody of a Baton cell (no baton:// URI)")),
        (Some(_), Some(_)) => Err(bad("it names more than one (two baton:// URIs)")),
    }
}

fn split_uri(uri: &str) -> Result<(CellName, PrincipalName)> {
    let rest = uri.strip_prefix(SCHEME).unwrap_or(uri);
    let (cell, principal) = rest.split_once('/').ok_or_else(|| bad("its URI has no principal"))?;
    let cell = CellName::parse(cell).map_err(|e| bad_name(&e))?;
    let principal = PrincipalName::parse(principal).map_err(|e| bad_name(&e))?;
    Ok((cell, principal))
}

fn bad_name(error: &Error) -> Error {
    bad(&format!("{}: {}", error.on, error.reason))
}

fn bad(why: &str) -> Error {
    Error::new(Kind::Invalid, "certificate").because(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    #[test]
    fn uri_carries_cell_and_principal() {
        let cell = CellName::parse("example.org").unwrap();
        for text in ["alice", "alice/admin", "hosts/fs1"] {
            let principal = PrincipalName::parse(text).unwrap();
            assert_eq!(split_uri(&uri(&cell, &principal)).unwrap(), (cell.clone(), principal));
        }
    }

    #[test]
    fn uri_with_a_bad_name_is_refused() {
        let long = format!("baton://example.org/{}", "x".repeat(257));
        for bad in [
            "baton://example.org",
            "baton:///alice",
            "baton://example.org/",
            "baton://example.org//alice",
            "baton://example.org/al\0ice",
            "baton://example.org/alice@other",
            "baton://exa mple.org/alice",
            "baton://example.org:7401/alice",
            "baton://example.org/alice?x",
            &long,
        ] {
            assert!(split_uri(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn prop_any_bytes_are_names_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Names::of(&bytes);
        }

        #[test]
        fn prop_any_uri_is_split_or_refused(text in "\\PC{0,80}") {
            let _ = split_uri(&text);
        }
    }
}
