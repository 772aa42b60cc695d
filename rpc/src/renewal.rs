//! A daemon's certificate, renewed while the old one still proves who asks.

use std::sync::Arc;
use std::time::Duration;

use baton_security::HostTls;
use baton_types::{Clock, Result};
use tokio::time::interval;

use crate::fldb::FldbClient;

/// Between two looks at the certificate: many fit into the last third of the shortest lifetime, an hour.
const LOOK: Duration = Duration::from_secs(120);

/// Renews the certificate of `tls` whenever two thirds of its time are over. Never returns.
///
/// `client` calls as this machine.
pub async fn keep(client: &FldbClient, tls: &HostTls, clock: &Arc<dyn Clock>) {
    let mut look = interval(LOOK);
    loop {
        look.tick().await;
        if !tls.with_credential(|credential| credential.is_due(clock.date())) {
            continue;
        }
        match renew(client, tls).await {
            Ok(()) => tracing::info!("this machine's certificate is renewed"),
            // The old one is good for a third of its time yet.
            Err(error) => tracing::warn!(%error, "this machine's certificate is not renewed yet"),
        }
    }
}

async fn renew(client: &FldbClient, tls: &HostTls) -> Result<()> {
    let request = tls.with_credential(|credential| credential.key().request())?;
    let certificate = client.renew_by(request).await?;
    tls.with_credential(|credential| credential.renew(tls.place(), &certificate))?;
    tls.reload()
}
