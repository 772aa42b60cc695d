//! TLS 1.3 between all parts of a cell, and nothing else.
//!
//! One provider, named wherever it is used, so that no dependency can bring in another behind our back. No
//! resumption and no early data: a ticket would carry an identity past its end, and let data be replayed.
//! Servers send their authority's certificate too, because one who joins knows only its fingerprint.

mod client;
mod explain;
mod host;
mod verify;

use std::fmt;
use std::sync::Arc;

use baton_types::{Clock, Error, Kind, Result, Timestamp};
use rustls::ConnectionCommon;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;

use crate::names::Names;

pub use client::{ClientTls, Dialled};
pub(crate) use explain::explain_certificate;
pub use explain::{explain, explain_io, explain_source};
pub use host::HostTls;

/// What is spoken inside: the protocol that both sides name in the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// gRPC: the location database, control.
    Control,
    /// The file service.
    Files,
}

impl Wire {
    /// Its name in the handshake (ALPN).
    pub fn alpn(self) -> &'static [u8] {
        match self {
            Wire::Control => b"h2",
            Wire::Files => b"baton-fs/1",
        }
    }
}

/// 32 bytes that only the two ends of one TLS connection know (`tls-exporter` of RFC 9266). Whoever signs them
/// speaks on this connection, and on no other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ChannelBinding(pub [u8; 32]);

impl ChannelBinding {
    /// The binding of an established connection, either end of it.
    ///
    /// # Errors
    /// `Invalid` before the handshake is over.
    pub fn of<Side>(connection: &ConnectionCommon<Side>) -> Result<ChannelBinding> {
        connection
            .export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b""))
            .map(ChannelBinding)
            .map_err(|e| Error::new(Kind::Invalid, "channel binding").because(e.to_string()))
    }
}

/// Never the bytes.
impl fmt::Debug for ChannelBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChannelBinding")
    }
}

/// What TLS proved of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// What logins on this connection are bound to.
    pub binding: ChannelBinding,
    /// The machine at the other end, if it showed a certificate.
    pub host: Option<Names>,
}

/// ring, AES-128-GCM first: it is the fastest here, and nobody breaks 128 bits.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        ..default_provider()
    })
}

pub(crate) fn unix_time(at: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(at.seconds().max(0).unsigned_abs()))
}

pub(crate) fn timestamp(at: UnixTime) -> Timestamp {
    Timestamp(
        i64::try_from(at.as_secs())
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000_000_000),
    )
}

/// Our clock, for the TLS library.
pub(crate) struct Dates(pub(crate) Arc<dyn Clock>);

impl TimeProvider for Dates {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(self.0.date()))
    }
}

impl fmt::Debug for Dates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dates")
    }
}

#[cfg(test)]
mod tests;
