//! TLS failures in words that say whose fault it is and what to do.

use std::io;

use baton_types::{Error, Kind};
use rustls::{AlertDescription, CertificateError, PeerIncompatible};

use super::timestamp;
use crate::validity::{expired, not_yet};

/// What a failed TLS operation with the peer `on` means.
pub fn explain(on: &str, error: &rustls::Error) -> Error {
    use rustls::Error as Tls;
    let because = |kind, why: &str| Error::new(kind, on).because(why);
    match error {
        Tls::InvalidCertificate(why) => explain_certificate(&format!("certificate of {on}"), why),
        Tls::AlertReceived(alert) => refused(on, *alert),
        Tls::InvalidMessage(_) => {
            because(Kind::Invalid, "it does not speak TLS").remedy("check the address and the port")
        }
        Tls::PeerIncompatible(
            PeerIncompatible::Tls12NotOfferedOrEnabled | PeerIncompatible::SupportedVersionsExtensionRequired,
        ) => because(Kind::Version, "it does not speak TLS 1.3"),
        Tls::PeerIncompatible(why) => because(Kind::Version, &format!("no common TLS parameters ({why:?})")),
        Tls::NoApplicationProtocol => because(Kind::Version, "it does not speak the protocol of this port")
            .remedy("check the address and the port"),
        Tls::NoCertificatesPresented => because(Kind::Denied, "it showed no certificate"),
        other => because(Kind::Io, &other.to_string()),
    }
}

/// The same for an I/O error, beneath which a TLS error may lie.
pub fn explain_io(on: &str, error: io::Error) -> Error {
    let tls = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()).cloned();
    match (tls, error.kind()) {
        (Some(tls), _) => explain(on, &tls).from_source(error),
        (None, io::ErrorKind::UnexpectedEof) => Error::new(Kind::Unreachable, on)
            .because("it closed the connection")
            .from_source(error),
        (None, io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted) => {
            Error::new(Kind::Unreachable, on)
                .because("it cut the connection")
                .from_source(error)
        }
        (None, _) => Error::io(on, error),
    }
}

/// The TLS error somewhere beneath `error`, in the same words; `None` if there is none.
pub fn explain_source(on: &str, error: &(dyn std::error::Error + 'static)) -> Option<Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(|e| e.get_ref());
        let tls = inner.and_then(|e| e.downcast_ref::<rustls::Error>());
        if let Some(tls) = tls.or_else(|| error.downcast_ref()) {
            return Some(explain(on, tls));
        }
        next = error.source();
    }
    None
}

/// Why the certificate that `on` names is refused.
pub(crate) fn explain_certificate(on: &str, why: &CertificateError) -> Error {
    let denied = |why: &str| Error::new(Kind::Denied, on).because(why);
    match why {
        CertificateError::ExpiredContext { time, not_after } => expired(on, timestamp(*time), timestamp(*not_after)),
        CertificateError::NotValidYetContext { time, not_before } => {
            not_yet(on, timestamp(*time), timestamp(*not_before))
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => denied("not made by this cell's authority")
            .remedy("its holder belongs to another cell, or the cell was made anew: join again"),
        CertificateError::InvalidPurposeContext { .. } => denied("not made for this end of a connection"),
        CertificateError::Other(other) => match other.0.downcast_ref::<Error>() {
            Some(ours) => Error {
                on: on.to_owned(),
                ..ours.clone()
            },
            None => denied(&format!("no good ({other})")),
        },
        other => denied(&format!("no good ({other:?})")),
    }
}

/// What the other end's last word means here.
fn refused(on: &str, alert: AlertDescription) -> Error {
    let because = |kind, why: &str| Error::new(kind, on).because(why);
    match alert {
        AlertDescription::UnknownCA | AlertDescription::DecryptError => because(
            Kind::Denied,
            "it does not know the authority of this machine's certificate",
        )
        .remedy("this machine belongs to another cell, or the cell was made anew; join it again"),
        AlertDescription::CertificateExpired => because(
            Kind::Expired,
            "it says that this machine's certificate is over, or not good yet",
        )
        .remedy("renew it, and set the clocks of both machines"),
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::AccessDenied => because(Kind::Denied, "it refuses this machine's certificate"),
        AlertDescription::ProtocolVersion => because(Kind::Version, "it does not speak TLS 1.3"),
        AlertDescription::NoApplicationProtocol => {
            because(Kind::Version, "it does not speak this protocol on this port")
                .remedy("check the address and the port")
        }
        other => because(Kind::Io, &format!("it ended the handshake ({other:?})")),
    }
}
