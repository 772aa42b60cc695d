//! Probes: asking a file server, at one of its addresses, whether it lives.
//!
//! A host that refuses, one that says nothing and one that answers late are three different things: on the first
//! nobody listens, of the second nothing is known, the third is busy.

use std::sync::Arc;
use std::time::Duration;

use baton_proto::v1;
use baton_proto::v1::fileserver_client::FileserverClient;
use baton_types::beat::{Found, Sign};
use baton_types::limits::BEAT_MICROS;
use baton_types::record::Server;
use baton_types::{Address, ServerId};
use tokio::time::{Instant, timeout};

use super::Inner;
use crate::config::PORT_FILES_CONTROL;
use crate::dial::{Connection, Dialer, Target};

/// An answer that takes longer is a late one: as long as a server's own beats may be late.
const IN_TIME: Duration = Duration::from_micros(3 * BEAT_MICROS);
/// No answer is waited for longer.
const AT_ALL: Duration = Duration::from_secs(2);
/// For a host to refuse once more: it did a moment ago.
const REFUSES: Duration = Duration::from_millis(100);

/// Asks one server at one address, again and again, by one connection while it lasts.
pub(crate) struct Probe {
    inner: Arc<Inner>,
    server: ServerId,
    target: Target,
    connection: Option<Connection>,
}

/// What came of it.
pub(crate) type Outcome = (Found, Option<Sign>);

impl Probe {
    /// Of each address of `server` one; control is on the same machine as the file service, on a port of its own.
    pub(super) fn all(inner: &Arc<Inner>, server: &Server) -> Vec<Probe> {
        let control = |address: &Address| Address::parse(address.host()).ok();
        let probe = |address| Probe {
            inner: inner.clone(),
            server: server.id,
            target: Target {
                name: Some(server.name.clone()),
                address,
            },
            connection: None,
        };
        server.addresses.iter().filter_map(control).map(probe).collect()
    }

    /// Whom it asks.
    pub(crate) fn server(&self) -> ServerId {
        self.server
    }

    /// Where.
    pub(crate) fn address(&self) -> String {
        self.target.address.to_string()
    }

    /// Asks once. `late` is told as soon as the answer is not in time any more, and before it comes, if it does.
    pub(crate) async fn ask(&mut self, late: impl FnOnce()) -> Outcome {
        let begun = Instant::now();
        let answer = {
            let asking = timeout(AT_ALL, self.answer());
            tokio::pin!(asking);
            tokio::select! {
                answer = &mut asking => answer,
                () = tokio::time::sleep(IN_TIME) => {
                    late();
                    asking.await
                }
            }
        };
        match answer {
            Ok(Ok(sign)) if begun.elapsed() <= IN_TIME => (Found::Answers, Some(sign)),
            Ok(Ok(sign)) => (Found::Slow, Some(sign)),
            Ok(Err(())) if self.is_refused().await => (Found::Refused, None),
            Ok(Err(())) => (Found::Silent, None),
            Err(_) => {
                self.connection = None;
                (Found::Silent, None)
            }
        }
    }

    /// Asks once, and takes no late answer.
    pub(crate) async fn answers(&mut self) -> bool {
        let answered = timeout(IN_TIME, self.answer()).await;
        if answered.is_err() {
            self.connection = None;
        }
        matches!(answered, Ok(Ok(_)))
    }

    /// By the connection there is, or a new one if that is broken.
    async fn answer(&mut self) -> Result<Sign, ()> {
        if let Some(connection) = &self.connection
            && let Some(sign) = asked(connection, self.server).await
        {
            return Ok(sign);
        }
        self.connection = None;
        let dialer = Dialer::new(self.inner.tls(), self.inner.source, PORT_FILES_CONTROL);
        let dialled = dialer.connect(&self.target, Instant::now() + AT_ALL).await;
        let connection = dialled.map_err(|error| tracing::trace!(%error, "not probed"))?;
        let sign = asked(&connection, self.server).await.ok_or(())?;
        self.connection = Some(connection);
        Ok(sign)
    }

    /// Whether the host says that nobody listens there.
    async fn is_refused(&self) -> bool {
        let dialer = Dialer::new(self.inner.tls(), self.inner.source, PORT_FILES_CONTROL);
        timeout(REFUSES, dialer.is_refused(&self.target)).await.unwrap_or(false)
    }
}

/// What `server` says of itself; `None` if the connection is broken, or it is another one.
async fn asked(connection: &Connection, server: ServerId) -> Option<Sign> {
    let mut client = FileserverClient::new(connection.grpc());
    let reply = client.probe(v1::ProbeRequest {}).await.ok()?.into_inner();
    let (who, sign) = reply.try_into().ok()?;
    (who == server).then_some(sign)
}
