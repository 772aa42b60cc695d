//! The dialling end: whom it believes, and what it shows.

use std::io;
use std::sync::Arc;

use baton_types::{Clock, EntryName, Error, Kind, Result};
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::verify::{Servers, any_machine};
use super::{Channel, ChannelBinding, Dates, Wire, explain_io, provider};
use crate::anchor::Anchor;
use crate::credential::Credential;
use crate::key::Fingerprint;
use crate::names::Names;

/// How to dial a machine of a cell. A cheap copy.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    servers: Arc<Servers>,
}

/// A connection that was dialled, and what was proved on the way.
#[derive(Debug)]
pub struct Dialled {
    /// The connection.
    pub stream: TlsStream<TcpStream>,
    /// Its binding, and the server it leads to.
    pub channel: Channel,
    /// The authority that the server lies under: news to one who had only its fingerprint.
    pub anchor: Anchor,
}

impl ClientTls {
    /// Dials as nobody: users log in inside the connection.
    ///
    /// # Errors
    /// `Invalid` when the TLS library does not take its own parameters.
    pub fn anonymous(anchor: &Anchor, wire: Wire, clock: &Arc<dyn Clock>) -> Result<ClientTls> {
        ClientTls::new(Servers::Known(anchor.clone()), None, wire, clock)
    }

    /// Dials as a machine, which shows its certificate.
    ///
    /// # Errors
    /// `Invalid` when the credential cannot be used.
    pub fn host(credential: &Credential, wire: Wire, clock: &Arc<dyn Clock>) -> Result<ClientTls> {
        ClientTls::new(
            Servers::Known(credential.anchor().clone()),
            Some(credential),
            wire,
            clock,
        )
    }

    /// Dials a cell of which only its authority's fingerprint is known: to join it.
    ///
    /// # Errors
    /// `Invalid` when the TLS library does not take its own parameters.
    pub fn pinned(pin: Fingerprint, wire: Wire, clock: &Arc<dyn Clock>) -> Result<ClientTls> {
        ClientTls::new(Servers::Pinned(pin), None, wire, clock)
    }

    fn new(servers: Servers, own: Option<&Credential>, wire: Wire, clock: &Arc<dyn Clock>) -> Result<ClientTls> {
        let bad = |e: rustls::Error| Error::new(Kind::Invalid, "TLS").because(e.to_string());
        let servers = Arc::new(servers);
        let verifier: Arc<dyn ServerCertVerifier> = servers.clone();
        let builder = ClientConfig::builder_with_details(provider(), Arc::new(Dates(clock.clone())))
            .with_protocol_versions(&[&TLS13])
            .map_err(bad)?
            .dangerous() // the verifier is our own: the library's, and the names besides
            .with_custom_certificate_verifier(verifier);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => builder
                .with_client_auth_cert(vec![own.certificate().clone()], own.key().der().into())
                .map_err(bad)?,
        };
        config.alpn_protocols = vec![wire.alpn().to_vec()];
        config.resumption = Resumption::disabled();
        Ok(ClientTls {
            config: Arc::new(config),
            servers,
        })
    }

    /// Shakes hands with the machine `name` at the other end of `tcp`. The caller sets the deadline.
    ///
    /// A server that refuses *this* machine's certificate says so only with its first answer: TLS 1.3 has the
    /// client finish first. [`explain_io`] makes sense of that.
    ///
    /// # Errors
    /// `Denied`, `Expired`, `Version` or `Unreachable`, in words that say whose fault it is.
    pub async fn connect(&self, tcp: TcpStream, name: &EntryName) -> Result<Dialled> {
        let connector = TlsConnector::from(self.config.clone());
        let stream = connector
            .connect(server_name(name)?, tcp)
            .await
            .map_err(|e| explain_io(&on(name), e))?;
        let (channel, anchor) = self.proved(stream.get_ref().1, name)?;
        Ok(Dialled {
            stream,
            channel,
            anchor,
        })
    }

    /// Shakes hands with whichever machine of the cell is at the other end of `tcp`: for one who knows only
    /// addresses. The certificate itself says which machine it is.
    ///
    /// # Errors
    /// As [`ClientTls::connect`].
    pub async fn connect_any(&self, tcp: TcpStream) -> Result<Dialled> {
        let on = tcp
            .peer_addr()
            .map_or_else(|_| "server".to_owned(), |address| address.to_string());
        let stream = TlsConnector::from(self.config.clone())
            .connect(any_machine(), tcp)
            .await
            .map_err(|e| explain_io(&on, e))?;
        let (channel, anchor) = self.proved_at(&on, stream.get_ref().1)?;
        Ok(Dialled {
            stream,
            channel,
            anchor,
        })
    }

    /// A connection to the machine `name`, for those who carry its bytes themselves.
    ///
    /// # Errors
    /// `Invalid` when no certificate could hold the name.
    pub fn connection(&self, name: &EntryName) -> Result<ClientConnection> {
        ClientConnection::new(self.config.clone(), server_name(name)?)
            .map_err(|e| explain_io(&on(name), io::Error::other(e)))
    }

    /// What the finished handshake of `connection` with the machine `name` proved.
    ///
    /// # Errors
    /// `Version` when the server named no protocol; `Invalid` before the handshake is over.
    pub fn proved(&self, connection: &ClientConnection, name: &EntryName) -> Result<(Channel, Anchor)> {
        self.proved_at(&on(name), connection)
    }

    fn proved_at(&self, on: &str, connection: &ClientConnection) -> Result<(Channel, Anchor)> {
        if connection.alpn_protocol().is_none() {
            return Err(Error::new(Kind::Version, on).because("it names no protocol"));
        }
        let chain = connection.peer_certificates().unwrap_or_default();
        let [leaf, chain @ ..]: &[CertificateDer<'_>] = chain else {
            return Err(Error::new(Kind::Invalid, on).because("the handshake is not over"));
        };
        let anchor = self.servers.anchor(chain).map_err(|e| super::explain(on, &e))?;
        let channel = Channel {
            binding: ChannelBinding::of(connection)?,
            host: Some(Names::of(leaf)?),
        };
        Ok((channel, anchor))
    }
}

fn on(name: &EntryName) -> String {
    format!("server {name}")
}

fn server_name(name: &EntryName) -> Result<ServerName<'static>> {
    match ServerName::try_from(name.as_str().to_owned()) {
        Ok(dns @ ServerName::DnsName(_)) => Ok(dns),
        _ => Err(Error::new(Kind::Invalid, on(name)).because("no certificate can hold that name")),
    }
}

#[cfg(test)]
impl ClientTls {
    pub(super) fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }
}
