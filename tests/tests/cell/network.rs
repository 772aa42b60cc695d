//! Strangers on the port: each gets its own answer, or none, and the others go on being served.

use std::sync::Arc;

use anyhow::{Result, ensure};
use baton_proto::v1;
use baton_proto::v1::fldb_client::FldbClient;
use baton_proto::{failure_of, from_status};
use baton_security::auth::Initiator;
use baton_security::auth::cert::CertInitiator;
use baton_security::{Authority, ClientTls, Credential, Key, Place, Request, Subject, Wire, explain_io};
use baton_tests::cell::{As, Cell, Talk};
use baton_types::limits::FLDB_MESSAGE_BYTES_MAX;
use baton_types::{CellId, CellName, EntryName, Error, Kind, Timestamp};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use crate::wire::{self, PREFACE, frames, grpc, hello_of_tls12, say};

/// TLS: an alert that the protocol's version is not spoken (RFC 8446 §6).
const ALERT_PROTOCOL_VERSION: [u8; 7] = [21, 3, 3, 0, 2, 2, 70];
/// HTTP/2: the last frame of a connection that is given up (RFC 9113 §6.8).
const GOAWAY: u8 = 7;
/// HTTP/2: the code for a frame that is too long.
const FRAME_SIZE_ERROR: u8 = 6;

/// One who was there before, and must not notice anything.
struct Bystander {
    talk: Talk,
}

impl Bystander {
    async fn new(cell: &Cell) -> Result<Bystander> {
        Ok(Bystander {
            talk: cell.talk("fl1", As::User("admin")).await?,
        })
    }

    /// Its own connection works still, and newcomers are let in.
    async fn is_served(&self, cell: &Cell) -> Result<()> {
        for talk in [&self.talk, &cell.talk("fl1", As::User("admin")).await?] {
            let error = talk.lookup("nothing").await.expect_err("there is no such fileset");
            ensure!(error.kind == Kind::NotFound, "{error}");
        }
        Ok(())
    }
}

async fn logged(cell: &Cell, words: &[&str]) -> Result<()> {
    let what = format!("the log says {}", words.join(" and "));
    cell.wait(&what, async || {
        let lines = cell.log_end("fl1", 50);
        lines
            .iter()
            .any(|line| words.iter().all(|word| line.contains(word)))
            .then_some(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_turned_away_with_a_word_each() -> Result<()> {
    let cell = Cell::builder().flservers(1).start().await?;
    let bystander = Bystander::new(&cell).await?;

    let (plain, from) = wire::tcp(&cell, "fl1", 101).await?;
    say(plain, b"GET / HTTP/1.1\r\nHost: fl1\r\n\r\n").await;
    logged(
        &cell,
        &[
            &from.to_string(),
            "it does not speak TLS; check the address and the port",
        ],
    )
    .await?;
    bystander.is_served(&cell).await?;

    let (plain, from) = wire::tcp(&cell, "fl1", 102).await?;
    let heard = say(plain, PREFACE).await;
    ensure!(
        frames(&heard).iter().all(|(kind, _)| *kind != 4),
        "plain HTTP/2 was answered with settings: {heard:?}"
    );
    logged(
        &cell,
        &[
            &from.to_string(),
            "it does not speak TLS; check the address and the port",
        ],
    )
    .await?;
    bystander.is_served(&cell).await?;

    let (old, from) = wire::tcp(&cell, "fl1", 103).await?;
    let heard = say(old, &hello_of_tls12()).await;
    ensure!(heard == ALERT_PROTOCOL_VERSION, "{heard:?}");
    logged(&cell, &[&from.to_string(), "it does not speak TLS 1.3"]).await?;
    bystander.is_served(&cell).await?;

    let (garbage, from) = wire::tcp(&cell, "fl1", 104).await?;
    let bytes: Vec<u8> = (0..4096).map(|_| rand::random()).collect();
    say(garbage, &[&[22, 3, 1, 64, 1], bytes.as_slice()].concat()).await;
    logged(&cell, &[&from.to_string(), "connection refused"]).await?;
    bystander.is_served(&cell).await?;

    // Half a first message, and then nothing: the place is taken back.
    let (slow, from) = wire::tcp(&cell, "fl1", 105).await?;
    say(slow, &hello_of_tls12()[..20]).await;
    logged(&cell, &[&from.to_string(), "no TLS handshake within 5s"]).await?;
    bystander.is_served(&cell).await?;

    // TLS done, and then nothing: so is this one's.
    let silent = wire::tls(&cell, "fl1", &cell.tls(As::Nobody)?).await?;
    say(silent.stream, b"").await;
    bystander.is_served(&cell).await?;
    cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_within_tls_ends_only_its_own_connection() -> Result<()> {
    let cell = Cell::builder().flservers(1).start().await?;
    let bystander = Bystander::new(&cell).await?;
    let nobody = cell.tls(As::Nobody)?;

    let garbage: Vec<u8> = (0..4096).map(|_| rand::random()).collect();
    say(wire::tls(&cell, "fl1", &nobody).await?.stream, &garbage).await;
    bystander.is_served(&cell).await?;

    // A good beginning, then a frame that says it is 16 MiB long.
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let huge = [0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1];
    let heard = say(
        wire::tls(&cell, "fl1", &nobody).await?.stream,
        &[PREFACE, &settings, &huge].concat(),
    )
    .await;
    let last = frames(&heard).into_iter().find(|(kind, _)| *kind == GOAWAY);
    ensure!(
        last.is_some_and(|(_, payload)| payload.get(7) == Some(&FRAME_SIZE_ERROR)),
        "{:?}",
        frames(&heard)
    );
    bystander.is_served(&cell).await?;

    // Headers that do not decode.
    let headers = [&[0, 0, 4, 1, 4, 0, 0, 0, 1], [0xff; 4].as_slice()].concat();
    let heard = say(
        wire::tls(&cell, "fl1", &nobody).await?.stream,
        &[PREFACE, &settings, &headers].concat(),
    )
    .await;
    ensure!(
        frames(&heard).iter().any(|(kind, _)| *kind == GOAWAY),
        "{:?}",
        frames(&heard)
    );
    bystander.is_served(&cell).await?;

    // A connection that is dropped in the middle of a frame.
    let mut torn = wire::tls(&cell, "fl1", &nobody).await?.stream;
    torn.write_all(&[PREFACE, &settings, &[0, 64, 0, 0, 0]].concat())
        .await?;
    drop(torn);
    bystander.is_served(&cell).await?;
    cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_too_early_or_too_large_are_refused() -> Result<()> {
    let cell = Cell::builder().flservers(1).start().await?;
    let bystander = Bystander::new(&cell).await?;

    let mut early = FldbClient::new(grpc(&cell, "fl1").await?);
    let status = early
        .status(v1::StatusRequest { caller: 0 })
        .await
        .expect_err("nobody has greeted");
    let error = failure_of(&status).expect("the server says why");
    ensure!(
        error.kind == Kind::Version && error.reason == "every connection begins with Greet: versions and features",
        "{error:?}"
    );
    bystander.is_served(&cell).await?;

    // Unknown to each other: the answer names both ranges.
    let mut stranger = v1::session_client::SessionClient::new(grpc(&cell, "fl1").await?);
    let newer = v1::Hello {
        oldest: 1_000,
        newest: 1_001,
        features: 0,
    };
    let status = stranger.greet(newer).await.expect_err("no common version");
    let error = from_status(&status);
    ensure!(
        error.kind == Kind::Version && error.reason.contains("1000 to 1001"),
        "{error}"
    );

    let talk = cell.talk("fl1", As::User("admin")).await?;
    let name = vec![b'x'; 1 << 20];
    let mut large = FldbClient::new(talk.connection.grpc());
    let request = v1::LookupRequest {
        caller: talk.caller,
        what: Some(v1::lookup_request::What::Name(name)),
    };
    let status = large.lookup(request).await.expect_err("a megabyte of name");
    ensure!(
        status.code() == tonic::Code::OutOfRange && status.message().contains(&FLDB_MESSAGE_BYTES_MAX.to_string()),
        "{status:?}"
    );
    // The connection itself goes on, and so do the others.
    ensure!(
        talk.lookup("nothing")
            .await
            .is_err_and(|error| error.kind == Kind::NotFound)
    );
    bystander.is_served(&cell).await?;

    // Bytes that are no message.
    let mut raw = tonic::client::Grpc::new(talk.connection.grpc());
    raw.ready().await?;
    let codec = tonic_prost::ProstCodec::<v1::Change, v1::LookupReply>::default();
    let path = tonic::codegen::http::uri::PathAndQuery::from_static("/baton.v1.Fldb/Lookup");
    let body = v1::Change {
        change: Some(v1::change::Change::SetCell(v1::SetCell {
            key: "\u{7f}".repeat(99),
            value: String::new(),
        })),
    };
    let outcome = raw.unary(tonic::Request::new(body), path, codec).await;
    ensure!(outcome.is_err(), "another message's bytes were taken for a lookup");
    bystander.is_served(&cell).await?;
    cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn identities_of_other_cells_and_of_yesterday_prove_nothing() -> Result<()> {
    let cell = Cell::builder().flservers(1).start().await?;
    let bystander = Bystander::new(&cell).await?;
    let now = Cell::clock().date();
    let stranger = Authority::create(&CellName::parse(cell.name())?, CellId::random(), now)?;
    let here = Authority::load(&cell.places().root("fl1").join("etc/baton/pki"))?;
    // The authority itself begins five minutes before it was made; for a minute from then on is long over.
    let before = Timestamp(now.0 - 240 * 1_000_000_000);
    let host = Subject::Host {
        name: EntryName::parse("fl1")?,
        server: None,
    };
    let user = Subject::User("admin".parse()?);

    // A machine of a cell that has our name and another authority.
    let foreign = issue(&stranger, &host, now)?;
    refused_machine(
        &cell,
        &foreign,
        Kind::Denied,
        "it does not know the authority of this machine's certificate",
    )
    .await?;
    bystander.is_served(&cell).await?;

    // And the other way round: our server, to one who believes the other authority.
    let theirs = ClientTls::anonymous(stranger.anchor(), Wire::Control, &Cell::clock())?;
    let error = wire::tls(&cell, "fl1", &theirs).await.expect_err("another authority");
    let error = error.downcast_ref::<Error>().expect("one of ours");
    ensure!(
        error.kind == Kind::Denied && error.reason == "not made by this cell's authority",
        "{error}"
    );

    let expired = issue(&here, &host, before)?;
    refused_machine(
        &cell,
        &expired,
        Kind::Expired,
        "it says that this machine's certificate is over",
    )
    .await?;
    bystander.is_served(&cell).await?;

    let foreign = issue(&stranger, &user, now)?;
    let error = refused_login(&cell, foreign).await?;
    ensure!(
        error.kind == Kind::Denied && error.reason == "not made by this cell's authority",
        "{error:?}"
    );
    let expired = issue(&here, &user, before)?;
    let error = refused_login(&cell, expired).await?;
    ensure!(
        error.kind == Kind::Expired && error.reason.starts_with("expired at"),
        "{error:?}"
    );
    bystander.is_served(&cell).await?;

    // Commands say the same: a person's old certificate, and a file that leads to another cell.
    let seat = cell.seat("desk", "late");
    issue(&here, &Subject::User("late".parse()?), before)?.save(&Place::user(seat.user().join(cell.name())))?;
    seat.fts(&["lock", "nothing"])?.refused(1, &["certificate"])?;
    cell.down()
}

/// A credential of a minute, that begins at `from`.
fn issue(authority: &Authority, subject: &Subject, from: Timestamp) -> Result<Credential> {
    let key = Key::generate()?;
    let request = Request::parse(&key.request()?)?;
    let certificate = authority.issue(&request, subject, from, 60)?;
    Ok(Credential::new(authority.anchor().clone(), certificate, key)?)
}

/// The server refuses the machine with its first answer: in TLS 1.3 the client is done before.
async fn refused_machine(cell: &Cell, own: &Credential, kind: Kind, why: &str) -> Result<()> {
    let mut roots = RootCertStore::empty();
    roots.add(cell.file()?.anchor()?.der().clone())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13])?;
    let key = own.key().to_pem();
    let mut config = builder.with_root_certificates(roots).with_client_auth_cert(
        vec![own.certificate().clone()],
        PrivateKeyDer::from_pem_slice(key.as_bytes())?,
    )?;
    config.alpn_protocols = vec![Wire::Control.alpn().to_vec()];
    let (tcp, _) = wire::tcp(cell, "fl1", 111).await?;
    let mut stream = TlsConnector::from(Arc::new(config))
        .connect("fl1".try_into()?, tcp)
        .await?;
    let error = stream
        .read_to_end(&mut Vec::new())
        .await
        .expect_err("a certificate that proves nothing");
    let error = explain_io("fl1", error);
    ensure!(error.kind == kind && error.reason.starts_with(why), "{error:?}");
    Ok(())
}

async fn refused_login(cell: &Cell, own: Credential) -> Result<Error> {
    let talk = cell.talk("fl1", As::Nobody).await?;
    let initiator: Arc<dyn Initiator> = Arc::new(CertInitiator::new(Arc::new(own)));
    Ok(talk
        .connection
        .login(&initiator)
        .await
        .expect_err("a certificate that proves nothing"))
}
