//! Beats and attestations: each file server speaks for itself, by its machine's certificate.

use baton_proto::v1;
use baton_proto::{FromWire, into_status};
use baton_rpc::control::{Connection, House};
use baton_types::beat::Beat;
use baton_types::change::Who;
use baton_types::{Incarnation, Result, ServerId};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::Server;

/// Answers on their way to one server; one that reads none is not answered, and hears that way that something is wrong.
const ANSWERS: usize = 4;

impl Server {
    /// Hears the beats of one server until they end.
    pub(super) fn hear(
        &self,
        connection: &Connection,
        mut beats: Streaming<v1::BeatRequest>,
    ) -> Result<ReceiverStream<Result<v1::BeatReply, Status>>> {
        let who = self.who(connection, 0)?;
        let (send, answers) = mpsc::channel(ANSWERS);
        let bench = self.bench.clone();
        tokio::spawn(async move {
            while let Ok(Some(message)) = beats.message().await {
                let heard = Beat::try_from(message).and_then(|beat| own(&who, beat.server).map(|()| beat));
                let answer = heard.map(|beat| {
                    let sequence = beat.sequence;
                    bench.heard(beat);
                    v1::BeatReply { sequence }
                });
                let is_wrong = answer.is_err();
                drop(send.try_send(answer.map_err(|e| into_status(&e))));
                if is_wrong || send.is_closed() {
                    return;
                }
            }
        });
        Ok(ReceiverStream::new(answers))
    }

    /// A guard says that a run of its server has ended.
    pub(super) fn attested(&self, connection: &Connection, ask: &v1::AttestRequest) -> Result<()> {
        let server = ServerId::from_wire(&ask.server)?;
        own(&self.who(connection, 0)?, server)?;
        self.bench.attested(server, Incarnation::from_wire(&ask.incarnation)?);
        Ok(())
    }
    /// A client says how a server answers it: as the machine that it runs on, of which one word is as good as many.
    pub(super) fn reported(&self, connection: &Connection, ask: v1::ReportRequest) -> Result<()> {
        let who = self.who(connection, ask.caller)?;
        let Some(by) = who.principal() else {
            return Err(who.denied("only who is known here is believed about others"));
        };
        self.bench.reported(by.clone(), ask.try_into()?);
        Ok(())
    }
}

/// A machine speaks for the server in its own certificate, and for no other.
fn own(who: &Who, server: ServerId) -> Result<()> {
    match who {
        Who::Host { server: Some(own), .. } if *own == server => Ok(()),
        Who::Host { .. } | Who::Nobody | Who::Principal { .. } | Who::Database => {
            Err(who.denied(format!("only the machine of server {server} says this")))
        }
    }
}
