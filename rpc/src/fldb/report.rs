//! Reports of a client about file servers, to every member: whoever leads must be among them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use baton_proto::v1;
use baton_types::beat::Report;
use baton_types::record::Server;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::probe::Probe;
use super::{FldbClient, Inner};
use crate::config::PORT_FLDB;
use crate::dial::{Connection, Dialer};

/// For a report to be heard: the next one says the same or better.
const HEARD: Duration = Duration::from_secs(1);

/// Connections to the members, kept while there is anything to report.
pub(crate) struct Reporters {
    inner: Arc<Inner>,
    live: Arc<Mutex<BTreeMap<String, Connection>>>,
    /// One report to each member at a time.
    under_way: Vec<JoinHandle<()>>,
}

impl FldbClient {
    /// To report by.
    pub(crate) fn reporters(&self) -> Reporters {
        Reporters {
            inner: self.inner.clone(),
            live: Arc::default(),
            under_way: Vec::new(),
        }
    }
}

impl Reporters {
    /// To look at `server` by.
    pub(crate) fn probes(&self, server: &Server) -> Vec<Probe> {
        Probe::all(&self.inner, server)
    }

    /// Nothing is to be reported any more.
    pub(crate) fn rest(&mut self) {
        self.live.lock().clear();
    }

    /// Tells every member, without waiting for any.
    pub(crate) fn report(&mut self, report: Report) {
        self.under_way.retain(|task| !task.is_finished());
        for targets in self.inner.everyone() {
            let name: String = targets.iter().map(|target| format!("{target} ")).collect();
            let (inner, live) = (self.inner.clone(), self.live.clone());
            self.under_way.push(tokio::spawn(async move {
                let telling = async {
                    let known = live.lock().get(&name).cloned();
                    let connection = match known {
                        Some(connection) => connection,
                        None => {
                            let dialer = Dialer::new(inner.tls(), inner.source, PORT_FLDB);
                            dialer.first(&targets, Instant::now() + HEARD).await.ok()?
                        }
                    };
                    let request = v1::ReportRequest::from(report);
                    connection.fldb().report(request).await.ok()?;
                    live.lock().insert(name.clone(), connection);
                    Some(())
                };
                if !matches!(timeout(HEARD, telling).await, Ok(Some(()))) {
                    live.lock().remove(&name);
                    tracing::trace!(member = %name, "a report is not heard");
                }
            }));
        }
    }
}

impl Drop for Reporters {
    fn drop(&mut self) {
        self.under_way.iter().for_each(JoinHandle::abort);
    }
}
