//! Real sockets on loopback. Nothing is timed: each test waits for what the listener must do.

use std::io;
use std::sync::Arc;

use baton_types::{EntryName, Kind};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsConnector, client};

use super::*;
use crate::auth::Initiator;
use crate::auth::cert::{CertAcceptor, CertInitiator};
use crate::callers::{Answer, Callers, Gate};
use crate::testing::{Cell, after, host, name, user};
use crate::{ClientTls, Credential, Dialled, Request};

type ClientStream = client::TlsStream<TcpStream>;

/// The machine fs1 of a cell, listening.
struct Port {
    cell: Cell,
    fs1: Arc<HostTls>,
    address: SocketAddr,
    accepted: mpsc::Receiver<Accepted>,
    listener: Listener,
    _directory: tempfile::TempDir,
}

async fn listen(limits: ListenLimits) -> Port {
    let cell = Cell::example();
    let directory = tempfile::tempdir().unwrap();
    let fs1 = cell.host_tls(directory.path(), "fs1");
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (listener, accepted) = Listener::start(socket, fs1.clone(), Wire::Control, limits, cell.clock());
    Port {
        cell,
        fs1,
        address,
        accepted,
        listener,
        _directory: directory,
    }
}

impl Port {
    async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn dial(&self, client: &ClientTls) -> Result<Dialled> {
        client.connect(self.tcp().await, &name("fs1")).await
    }

    fn anonymous(&self) -> ClientTls {
        ClientTls::anonymous(self.cell.authority.anchor(), Wire::Control, &self.cell.clock()).unwrap()
    }

    fn as_host(&self, credential: &Credential) -> ClientTls {
        ClientTls::host(credential, Wire::Control, &self.cell.clock()).unwrap()
    }

    /// Both ends of a new connection.
    async fn connect(&mut self, client: &ClientTls) -> (Dialled, Accepted) {
        let dialled = self.dial(client).await.unwrap();
        (dialled, self.accepted.recv().await.unwrap())
    }

    /// After whatever was done to it, the port serves the next.
    async fn still_serves(&mut self) {
        let anonymous = self.anonymous();
        let (dialled, accepted) = self.connect(&anonymous).await;
        assert_eq!(dialled.channel.binding, accepted.peer.channel.binding);
        assert!(self.accepted.try_recv().is_err(), "and nobody else came through");
    }

    /// Sends `bytes` and returns all that comes back until the port closes the connection.
    async fn answer_to(&self, bytes: &[u8]) -> Vec<u8> {
        let mut tcp = self.tcp().await;
        tcp.write_all(bytes).await.unwrap();
        read_all(&mut tcp).await
    }

    /// What a machine whose certificate the port refuses gets to read: TLS 1.3 lets it finish first.
    async fn refusal(&mut self, client: &ClientTls) -> Error {
        let mut stream = self.dial(client).await.unwrap().stream;
        self.closed(&mut stream).await
    }

    /// Why the port closes `stream`, which it must not let in.
    async fn closed(&mut self, stream: &mut ClientStream) -> Error {
        tokio::select! {
            byte = stream.read_u8() => explain_io("server fs1", byte.unwrap_err()),
            Some(accepted) = self.accepted.recv() => panic!("let in: {accepted:?}"),
        }
    }
}

async fn read_all(tcp: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    match tcp.read_to_end(&mut answer).await {
        Ok(_) => answer,
        Err(e) if e.kind() == io::ErrorKind::ConnectionReset => answer,
        Err(e) => panic!("{e}"),
    }
}

/// A TLS 1.2 ClientHello: no `supported_versions`, the cipher suites of its day.
fn tls12_hello() -> Vec<u8> {
    let mut body = vec![3, 3]; // TLS 1.2
    body.extend([0x42; 32]); // random
    body.push(0); // no session
    body.extend([0, 4, 0xc0, 0x2b, 0xc0, 0x2f]); // two suites of ECDHE with AES-128-GCM
    body.extend([1, 0]); // no compression
    let extensions = [
        &[0, 10, 0, 4, 0, 2, 0, 23][..],  // groups: P-256
        &[0, 11, 0, 2, 1, 0],             // point formats: uncompressed
        &[0, 13, 0, 6, 0, 4, 4, 3, 8, 4], // signatures: ECDSA and RSA-PSS with SHA-256
    ]
    .concat();
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let mut handshake = vec![1, 0];
    handshake.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    handshake.extend(body);
    let mut record = vec![22, 3, 1];
    record.extend(u16::try_from(handshake.len()).unwrap().to_be_bytes());
    record.extend(handshake);
    record
}

#[tokio::test]
async fn user_logs_in_over_a_real_connection() {
    let mut port = listen(ListenLimits::default()).await;
    let anonymous = port.anonymous();
    let (dialled, accepted) = port.connect(&anonymous).await;
    assert_eq!(accepted.peer.channel.host, None);
    assert_eq!(accepted.peer.address.ip(), port.address.ip());

    let acceptor = CertAcceptor::new(port.cell.authority.anchor().clone(), name("fs1"), port.cell.clock());
    let gate = Arc::new(Gate::new(
        vec![Arc::new(acceptor)],
        Box::new(|_| Ok(())),
        port.cell.clock(),
    ));
    let callers = Callers::new(gate.clone(), accepted.peer.channel.clone());
    let alice = CertInitiator::new(Arc::new(port.cell.credential(&user("alice"))));
    let token = alice.start(&name("fs1")).step(&dialled.channel, &[]).unwrap();
    let Answer::Done { caller, .. } = callers.login("cert", 0, &token).unwrap() else {
        panic!("one token is enough")
    };
    assert_eq!(callers.identity(caller).unwrap().to_string(), "alice@example.org");

    // The same bytes on another connection are worth nothing.
    let (_other, accepted) = port.connect(&anonymous).await;
    let callers = Callers::new(gate, accepted.peer.channel.clone());
    assert_eq!(callers.login("cert", 0, &token).unwrap_err().kind, Kind::Denied);
}

#[tokio::test]
async fn machine_is_known_by_its_certificate_and_bytes_flow() {
    let mut port = listen(ListenLimits::default()).await;
    let client1 = port.as_host(&port.cell.credential(&host("client1")));
    let (mut dialled, mut accepted) = port.connect(&client1).await;
    assert_eq!(accepted.peer.channel.host.as_ref().unwrap().host(), Some("client1"));
    dialled.stream.write_all(b"ping").await.unwrap();
    let mut bytes = [0; 4];
    accepted.stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"ping");
}

#[tokio::test]
async fn tls12_is_told_so_and_closed() {
    let mut port = listen(ListenLimits::default()).await;
    let answer = port.answer_to(&tls12_hello()).await;
    assert_eq!(answer, [21, 3, 3, 0, 2, 2, 70], "alert, fatal, protocol_version");
    port.still_serves().await;
}

#[tokio::test]
async fn plaintext_is_closed() {
    let mut port = listen(ListenLimits::default()).await;
    for plaintext in [
        &b"GET / HTTP/1.1\r\nHost: fs1\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0; 64],
        &[0xff; 64],
    ] {
        let answer = port.answer_to(plaintext).await;
        assert!(answer.is_empty() || answer[0] == 21, "an alert or nothing: {answer:?}");
        port.still_serves().await;
    }
}

#[tokio::test]
async fn half_a_hello_and_silence_is_closed_at_the_deadline() {
    let limits = ListenLimits {
        handshake: Duration::from_millis(50),
        ..ListenLimits::default()
    };
    let mut port = listen(limits).await;
    let hello = tls12_hello();
    assert_eq!(port.answer_to(&hello[..hello.len() / 2]).await, []);
    assert_eq!(port.answer_to(&[]).await, []);
    port.still_serves().await;
}

#[tokio::test]
async fn silent_ones_hold_up_others_for_a_deadline_and_no_longer() {
    let limits = ListenLimits {
        handshakes: 1,
        handshake: Duration::from_millis(200),
        ..ListenLimits::default()
    };
    let port = listen(limits).await;
    let mut silent = port.tcp().await;
    let anonymous = port.anonymous();
    tokio::select! {
        biased;
        bytes = read_all(&mut silent) => assert_eq!(bytes, []),
        _ = port.dial(&anonymous) => panic!("served while all handshakes were taken"),
    }
    port.dial(&anonymous).await.unwrap();
}

#[tokio::test]
async fn client_without_a_protocol_is_closed() {
    let mut port = listen(ListenLimits::default()).await;
    let mut roots = RootCertStore::empty();
    roots.add(port.cell.authority.anchor().der().clone()).unwrap();
    let dates = Arc::new(crate::tls::Dates(port.cell.clock()));
    let config = ClientConfig::builder_with_details(crate::tls::provider(), dates)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector
        .connect("fs1".try_into().unwrap(), port.tcp().await)
        .await
        .unwrap();
    port.closed(&mut stream).await;
    port.still_serves().await;
}

#[tokio::test]
async fn other_protocol_is_refused() {
    let mut port = listen(ListenLimits::default()).await;
    let files = ClientTls::anonymous(port.cell.authority.anchor(), Wire::Files, &port.cell.clock()).unwrap();
    let error = port.dial(&files).await.unwrap_err();
    assert_eq!(error.kind, Kind::Version);
    assert!(
        error.to_string().contains("does not speak this protocol on this port"),
        "{error}"
    );
    port.still_serves().await;
}

#[tokio::test]
async fn wrong_server_name_is_refused_by_the_client() {
    let mut port = listen(ListenLimits::default()).await;
    let error = port
        .anonymous()
        .connect(port.tcp().await, &EntryName::parse("fs2").unwrap())
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::Denied);
    assert!(
        error
            .to_string()
            .starts_with("certificate of server fs2: it names hosts/fs1@"),
        "{error}"
    );
    port.still_serves().await;
}

#[tokio::test]
async fn machine_of_another_cell_is_refused() {
    let mut port = listen(ListenLimits::default()).await;
    for other in [Cell::new("other.org"), Cell::example()] {
        let stranger = other.credential(&host("client1")).under(port.cell.authority.anchor());
        let error = port.refusal(&port.as_host(&stranger)).await;
        assert_eq!(error.kind, Kind::Denied);
        assert!(
            error
                .to_string()
                .contains("does not know the authority of this machine's certificate"),
            "{error}"
        );
    }
    port.still_serves().await;
}

#[tokio::test]
async fn user_does_not_show_his_certificate_in_the_handshake() {
    let mut port = listen(ListenLimits::default()).await;
    let alice = port.as_host(&port.cell.credential(&user("alice")));
    let error = port.refusal(&alice).await;
    assert!(
        error.to_string().contains("refuses this machine's certificate"),
        "{error}"
    );
    port.still_serves().await;
}

#[tokio::test]
async fn machine_whose_certificate_is_over_is_refused() {
    let mut port = listen(ListenLimits::default()).await;
    let client1 = port.cell.credential(&host("client1"));
    let request = Request::parse(&client1.key().request().unwrap()).unwrap();
    let old = port
        .cell
        .authority
        .issue(&request, &host("client1"), port.cell.clock.date(), 999)
        .unwrap();
    let key = crate::Key::from_pem("key", client1.key().to_pem().as_bytes()).unwrap();
    let client1 = Credential::new(port.cell.authority.anchor().clone(), old, key).unwrap();
    port.cell.clock.set_date(after(1_000));
    let error = port.refusal(&port.as_host(&client1)).await;
    assert_eq!(error.kind, Kind::Expired);
    port.still_serves().await;
}

#[tokio::test]
async fn new_certificate_is_served_without_cutting_anybody_off() {
    let mut port = listen(ListenLimits::default()).await;
    let anonymous = port.anonymous();
    let (mut old, mut old_end) = port.connect(&anonymous).await;
    let before = old.stream.get_ref().1.peer_certificates().unwrap()[0].clone();

    let place = port.fs1.place().clone();
    let good = std::fs::read(place.certificate()).unwrap();
    std::fs::write(place.certificate(), b"broken").unwrap();
    port.fs1.reload().unwrap_err();
    let (dialled, _end) = port.connect(&anonymous).await;
    assert_eq!(
        dialled.stream.get_ref().1.peer_certificates().unwrap()[0],
        before,
        "the old one is served on"
    );

    std::fs::write(place.certificate(), good).unwrap();
    let request = port
        .fs1
        .with_credential(|credential| credential.key().request())
        .unwrap();
    let request = Request::parse(&request).unwrap();
    let newer = port
        .cell
        .authority
        .issue(&request, &host("fs1"), port.cell.clock.date(), 5_000)
        .unwrap();
    port.fs1
        .with_credential(|credential| credential.renew(&place, &newer))
        .unwrap();
    port.fs1.reload().unwrap();
    let (dialled, _end) = port.connect(&anonymous).await;
    assert_eq!(dialled.stream.get_ref().1.peer_certificates().unwrap()[0], newer);

    old_end.stream.write_all(b"still here").await.unwrap();
    let mut bytes = [0; 10];
    old.stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"still here");
}

#[tokio::test]
async fn connection_counts_until_its_peer_is_forgotten() {
    let admission = AdmissionLimits {
        connections: 2,
        ..AdmissionLimits::default()
    };
    let mut port = listen(ListenLimits {
        admission,
        ..ListenLimits::default()
    })
    .await;
    let anonymous = port.anonymous();
    let first = port.connect(&anonymous).await;
    let _second = port.connect(&anonymous).await;
    let error = port.dial(&anonymous).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable, "the third is closed before TLS");
    drop(first);
    port.connect(&anonymous).await;
}

#[tokio::test]
async fn address_that_comes_too_often_is_let_in_again_later() {
    let admission = AdmissionLimits {
        connects_per_minute: 3,
        deny_seconds: 60,
        ..AdmissionLimits::default()
    };
    let mut port = listen(ListenLimits {
        admission,
        ..ListenLimits::default()
    })
    .await;
    let anonymous = port.anonymous();
    for _ in 0..3 {
        port.connect(&anonymous).await;
    }
    for _ in 0..5 {
        let error = port.dial(&anonymous).await.unwrap_err();
        assert_eq!(error.kind, Kind::Unreachable);
    }
    port.cell.clock.advance(60_000_000);
    port.still_serves().await;
}

#[tokio::test]
async fn listener_that_is_dropped_closes_its_port() {
    let mut port = listen(ListenLimits::default()).await;
    let anonymous = port.anonymous();
    let (mut dialled, mut accepted) = port.connect(&anonymous).await;
    drop(port.listener);
    assert!(port.accepted.recv().await.is_none());
    TcpStream::connect(port.address).await.unwrap_err();
    accepted.stream.write_all(b"x").await.unwrap();
    assert_eq!(dialled.stream.read_u8().await.unwrap(), b'x');
}

#[tokio::test]
async fn server_that_takes_nothing_more_ends_its_listener() {
    let mut port = listen(ListenLimits::default()).await;
    port.accepted.close();
    drop(port.accepted);
    let task = &mut port.listener.task;
    task.await.unwrap();
}

#[tokio::test]
async fn one_line_in_the_log_however_many_come() {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber); // the test's runtime has this thread only
    let mut port = listen(ListenLimits::default()).await;
    for _ in 0..5 {
        port.answer_to(&tls12_hello()).await;
    }
    port.cell.clock.advance(60_000_000);
    port.answer_to(b"GET / HTTP/1.1\r\n\r\n").await;
    port.still_serves().await;

    let text = String::from_utf8(log.0.lock().clone()).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(
        lines[0].contains("it does not speak TLS 1.3") && lines[0].contains("suppressed=0"),
        "{text}"
    );
    assert!(
        lines[1].contains("it does not speak TLS; check") && lines[1].contains("suppressed=4"),
        "{text}"
    );
}
