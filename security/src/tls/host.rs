//! A machine's TLS: it answers and dials under one credential, and takes a newer one without a restart.
//!
//! A reload builds everything first and then changes one pointer. Connections live on under what they began
//! with; a file that is broken changes nothing.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use baton_types::{Clock, Error, Kind, Result};
use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;

use super::verify::Hosts;
use super::{ClientTls, Dates, Wire, provider};
use crate::credential::{Credential, Place};

/// A machine's TLS, both ends of it.
pub struct HostTls {
    place: Place,
    clock: Arc<dyn Clock>,
    current: ArcSwap<Current>,
}

/// All that follows from one credential.
struct Current {
    credential: Credential,
    control: Ends,
    files: Ends,
}

struct Ends {
    server: Arc<ServerConfig>,
    client: ClientTls,
}

impl HostTls {
    /// Reads the credential at `place`.
    ///
    /// # Errors
    /// Naming the file that is missing or no good.
    pub fn load(place: Place, clock: Arc<dyn Clock>) -> Result<HostTls> {
        let current = ArcSwap::from_pointee(Current::load(&place, &clock)?);
        Ok(HostTls { place, clock, current })
    }

    /// Reads it again, for connections from now on.
    ///
    /// # Errors
    /// As [`HostTls::load`]; then everything stays as it was, and the caller logs the error.
    pub fn reload(&self) -> Result<()> {
        self.current.store(Arc::new(Current::load(&self.place, &self.clock)?));
        Ok(())
    }

    /// How to answer on `wire`.
    pub fn server(&self, wire: Wire) -> Arc<ServerConfig> {
        self.current.load().ends(wire).server.clone()
    }

    /// How to dial on `wire`.
    pub fn client(&self, wire: Wire) -> ClientTls {
        self.current.load().ends(wire).client.clone()
    }

    /// Looks at the credential in use.
    pub fn with_credential<T>(&self, look: impl FnOnce(&Credential) -> T) -> T {
        look(&self.current.load().credential)
    }

    /// Where the credential lies.
    pub fn place(&self) -> &Place {
        &self.place
    }
}

impl fmt::Debug for HostTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostTls({})", self.current.load().credential.names())
    }
}

impl Current {
    fn load(place: &Place, clock: &Arc<dyn Clock>) -> Result<Current> {
        let credential = Credential::load(place)?;
        if credential.names().host().is_none() {
            return Err(Error::new(Kind::Invalid, place.certificate().display().to_string())
                .because(format!("it is {}'s, not a machine's", credential.names())));
        }
        let control = Ends::new(&credential, Wire::Control, clock)?;
        let files = Ends::new(&credential, Wire::Files, clock)?;
        Ok(Current {
            credential,
            control,
            files,
        })
    }

    fn ends(&self, wire: Wire) -> &Ends {
        match wire {
            Wire::Control => &self.control,
            Wire::Files => &self.files,
        }
    }
}

impl Ends {
    fn new(credential: &Credential, wire: Wire, clock: &Arc<dyn Clock>) -> Result<Ends> {
        let bad = |e: rustls::Error| Error::new(Kind::Invalid, "TLS").because(e.to_string());
        let chain = vec![credential.certificate().clone(), credential.anchor().der().clone()];
        let mut server = ServerConfig::builder_with_details(provider(), Arc::new(Dates(clock.clone())))
            .with_protocol_versions(&[&TLS13])
            .map_err(bad)?
            .with_client_cert_verifier(Arc::new(Hosts(credential.anchor().clone())))
            .with_single_cert(chain, credential.key().der().into())
            .map_err(bad)?;
        server.alpn_protocols = vec![wire.alpn().to_vec()];
        server.send_tls13_tickets = 0;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Ends {
            server: Arc::new(server),
            client: ClientTls::host(credential, wire, clock)?,
        })
    }
}
