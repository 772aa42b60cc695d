//! Handshakes over real sockets: the right one, and each wrong one.

use std::sync::Arc;

use baton_types::ServerId;
use rustls::{
    CipherSuite, ClientConnection, ConnectionCommon, ProtocolVersion, ServerConfig, ServerConnection, SideData,
};

use super::*;
use crate::testing::{Cell, after, host, name, server, user};
use crate::{Credential, Fingerprint, Place};

/// Carries what one end has to say to the other.
fn carry<A: SideData, B: SideData>(
    from: &mut ConnectionCommon<A>,
    to: &mut ConnectionCommon<B>,
) -> Result<(), rustls::Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}

/// A handshake in memory; the errors are of the end that found them first.
fn shake(client: &mut ClientConnection, server: &mut ServerConnection) -> Result<(), rustls::Error> {
    while client.is_handshaking() || server.is_handshaking() || client.wants_write() || server.wants_write() {
        carry(client, server)?;
        carry(server, client)?;
    }
    Ok(())
}

fn answers(config: Arc<ServerConfig>) -> ServerConnection {
    ServerConnection::new(config).unwrap()
}

/// What a server shows that makes its own rules.
fn crooked_server(chain: Vec<rustls_pki_types::CertificateDer<'static>>, key: &crate::Key) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key.der().into())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

struct Pair {
    cell: Cell,
    fs1: Arc<HostTls>,
    _directory: tempfile::TempDir,
}

fn pair() -> Pair {
    let cell = Cell::example();
    let directory = tempfile::tempdir().unwrap();
    let fs1 = cell.host_tls(directory.path(), "fs1");
    Pair {
        cell,
        fs1,
        _directory: directory,
    }
}

impl Pair {
    fn anonymous(&self) -> ClientTls {
        ClientTls::anonymous(self.cell.authority.anchor(), Wire::Control, &self.cell.clock()).unwrap()
    }

    /// Why `client` does not believe `config` to be `fs1`.
    fn refusal(&self, client: &ClientTls, config: Arc<ServerConfig>) -> Error {
        let mut connection = client.connection(&name("fs1")).unwrap();
        explain("server fs1", &shake(&mut connection, &mut answers(config)).unwrap_err())
    }
}

#[test]
fn both_ends_know_one_secret_and_no_other_connection_does() {
    let pair = pair();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mut client = pair.anonymous().connection(&name("fs1")).unwrap();
        let mut server = answers(pair.fs1.server(Wire::Control));
        assert!(ChannelBinding::of(&client).is_err(), "before the handshake");
        shake(&mut client, &mut server).unwrap();
        let binding = ChannelBinding::of(&client).unwrap();
        assert_eq!(ChannelBinding::of(&server).unwrap(), binding);
        assert!(!seen.contains(&binding));
        seen.push(binding);
    }
}

#[test]
fn tls13_with_aes128_and_without_tickets() {
    let pair = pair();
    let mut client = pair.anonymous().connection(&name("fs1")).unwrap();
    let mut server = answers(pair.fs1.server(Wire::Control));
    shake(&mut client, &mut server).unwrap();
    assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(
        client.negotiated_cipher_suite().unwrap().suite(),
        CipherSuite::TLS13_AES_128_GCM_SHA256
    );
    assert_eq!(client.tls13_tickets_received(), 0);
    for config in [pair.fs1.server(Wire::Control), pair.fs1.server(Wire::Files)] {
        assert_eq!((config.send_tls13_tickets, config.max_early_data_size), (0, 0));
        assert!(!config.session_storage.can_cache() && !config.ticketer.enabled());
    }
}

#[test]
fn dialling_machine_is_known_by_its_certificate() {
    let cell = Cell::example();
    let directory = tempfile::tempdir().unwrap();
    let fs1 = cell.host_tls(directory.path(), "fs1");
    let id = ServerId::random();
    let fs2 = ClientTls::host(&cell.credential(&server("fs2", id)), Wire::Files, &cell.clock()).unwrap();
    let mut client = fs2.connection(&name("fs1")).unwrap();
    let mut server = answers(fs1.server(Wire::Files));
    shake(&mut client, &mut server).unwrap();
    let names = Names::of(&server.peer_certificates().unwrap()[0]).unwrap();
    assert_eq!((names.host(), names.server), (Some("fs2"), Some(id)));
    let (channel, anchor) = fs2.proved(&client, &name("fs1")).unwrap();
    assert_eq!(channel.host.unwrap().host(), Some("fs1"));
    assert_eq!(anchor, *cell.authority.anchor());
}

#[test]
fn server_of_another_name_is_refused() {
    let pair = pair();
    let mut connection = pair.anonymous().connection(&name("fs2")).unwrap();
    let error = shake(&mut connection, &mut answers(pair.fs1.server(Wire::Control))).unwrap_err();
    let error = explain("server fs2", &error);
    assert_eq!(error.kind, Kind::Denied);
    assert_eq!(
        error.to_string(),
        "certificate of server fs2: it names hosts/fs1@example.org, not the machine fs2"
    );
}

#[test]
fn server_of_another_cell_is_refused() {
    let pair = pair();
    let directory = tempfile::tempdir().unwrap();
    for other in [Cell::new("other.org"), Cell::example()] {
        let impostor = other.host_tls(&directory.path().join(other.authority.anchor().id().to_string()), "fs1");
        let error = pair.refusal(&pair.anonymous(), impostor.server(Wire::Control));
        assert_eq!(error.kind, Kind::Denied);
        assert!(
            error.to_string().contains("not made by this cell's authority"),
            "{error}"
        );
    }
}

#[test]
fn server_whose_certificate_is_over_or_to_come_is_refused_with_both_times() {
    let pair = pair();
    pair.cell.clock.set_date(after(30 * 86_400 + 1));
    let error = pair.refusal(&pair.anonymous(), pair.fs1.server(Wire::Control));
    assert_eq!(error.kind, Kind::Expired);
    assert!(
        error
            .to_string()
            .contains("expired at 2027-02-14T08:00:00Z, and it is 2027-02-14T08:00:01Z"),
        "{error}"
    );
    pair.cell.clock.set_date(after(-301));
    let error = pair.refusal(&pair.anonymous(), pair.fs1.server(Wire::Control));
    assert!(
        error
            .to_string()
            .contains("before 2027-01-15T07:55:00Z, and it is 2027-01-15T07:54:59Z"),
        "{error}"
    );
}

#[test]
fn user_cannot_stand_in_for_a_server() {
    let pair = pair();
    let alice = pair.cell.credential(&user("alice"));
    let config = crooked_server(vec![alice.certificate().clone()], alice.key());
    let error = pair.refusal(&pair.anonymous(), config);
    assert_eq!(error.kind, Kind::Denied);

    // Nor with a certificate that would pass for the machine's but for what it is made for.
    let uris = ["baton://example.org/hosts/fs1"];
    let (certificate, key) = pair.cell.crooked(&uris, |params| {
        params
            .subject_alt_names
            .push(rcgen::SanType::DnsName("fs1".try_into().unwrap()));
    });
    let error = pair.refusal(&pair.anonymous(), crooked_server(vec![certificate], &key));
    assert!(
        error.to_string().contains("not made for this end of a connection"),
        "{error}"
    );
}

#[test]
fn pin_is_all_that_a_newcomer_needs() {
    let pair = pair();
    let anchor = pair.cell.authority.anchor();
    let newcomer = ClientTls::pinned(anchor.fingerprint(), Wire::Control, &pair.cell.clock()).unwrap();
    let mut client = newcomer.connection(&name("fs1")).unwrap();
    shake(&mut client, &mut answers(pair.fs1.server(Wire::Control))).unwrap();
    let (_, learnt) = newcomer.proved(&client, &name("fs1")).unwrap();
    assert_eq!(learnt, *anchor);
}

#[test]
fn pin_of_another_authority_is_refused() {
    let pair = pair();
    for pin in [Fingerprint([0; 32]), Cell::example().authority.anchor().fingerprint()] {
        let newcomer = ClientTls::pinned(pin, Wire::Control, &pair.cell.clock()).unwrap();
        let error = pair.refusal(&newcomer, pair.fs1.server(Wire::Control));
        assert_eq!(error.kind, Kind::Denied);
        assert!(
            error.to_string().contains("not the one that the invitation names"),
            "{error}"
        );
    }
}

/// The authority's certificate is no secret: showing it proves nothing, if it did not make the server's.
#[test]
fn shown_authority_must_have_made_the_servers_certificate() {
    let pair = pair();
    let evil = Cell::example().credential(&host("fs1"));
    let chain = vec![evil.certificate().clone(), pair.cell.authority.anchor().der().clone()];
    let pin = pair.cell.authority.anchor().fingerprint();
    let newcomer = ClientTls::pinned(pin, Wire::Control, &pair.cell.clock()).unwrap();
    let error = pair.refusal(&newcomer, crooked_server(chain, evil.key()));
    assert!(
        error.to_string().contains("not made by this cell's authority"),
        "{error}"
    );
}

#[test]
fn newcomer_is_not_led_to_another_machine_of_the_cell() {
    let pair = pair();
    let directory = tempfile::tempdir().unwrap();
    let client1 = pair.cell.host_tls(directory.path(), "client1");
    let pin = pair.cell.authority.anchor().fingerprint();
    let newcomer = ClientTls::pinned(pin, Wire::Control, &pair.cell.clock()).unwrap();
    let error = pair.refusal(&newcomer, client1.server(Wire::Control));
    assert!(
        error
            .to_string()
            .contains("names hosts/client1@example.org, not the machine fs1"),
        "{error}"
    );
}

#[test]
fn one_who_knows_only_an_address_learns_the_machine() {
    let pair = pair();
    let shake_any = |config| {
        let mut client = ClientConnection::new(pair.anonymous().config(), verify::any_machine()).unwrap();
        shake(&mut client, &mut answers(config)).map(|()| client)
    };
    let client = shake_any(pair.fs1.server(Wire::Control)).unwrap();
    assert_eq!(
        Names::of(&client.peer_certificates().unwrap()[0]).unwrap().host(),
        Some("fs1")
    );

    let refusal = |config| explain("192.0.2.7:7401", &shake_any(config).unwrap_err()).to_string();
    let directory = tempfile::tempdir().unwrap();
    let stranger = Cell::new("other.org").host_tls(directory.path(), "fs1");
    assert!(refusal(stranger.server(Wire::Control)).contains("not made by this cell's authority"));
    let alice = pair.cell.credential(&user("alice"));
    let config = crooked_server(vec![alice.certificate().clone()], alice.key());
    assert!(refusal(config).contains("it names alice@example.org, which is no machine"));
    // A machine's name in the URI is not enough: TLS's own name must be there too.
    let uris = ["baton://example.org/hosts/fs1"];
    let (certificate, key) = pair.cell.crooked(&uris, |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    let config = crooked_server(vec![certificate], &key);
    assert!(refusal(config).starts_with("certificate of 192.0.2.7:7401: it names"));
}

#[test]
fn tls_errors_are_found_beneath_others() {
    let tls = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
    let io = std::io::Error::other(tls);
    let ours = Error::new(Kind::Unreachable, "fs1").from_source(io);
    let found = explain_source("server fs1", &ours).unwrap();
    assert_eq!(found.kind, Kind::Denied);
    assert!(
        found
            .to_string()
            .starts_with("certificate of server fs1: not made by this cell's authority"),
        "{found}"
    );
    assert!(explain_source("server fs1", &Error::new(Kind::Io, "disk")).is_none());
}

#[test]
fn alerts_are_explained() {
    use rustls::AlertDescription as Alert;
    for (alert, kind, why) in [
        (
            Alert::UnknownCA,
            Kind::Denied,
            "does not know the authority of this machine's certificate",
        ),
        (
            Alert::CertificateExpired,
            Kind::Expired,
            "this machine's certificate is over",
        ),
        (
            Alert::CertificateUnknown,
            Kind::Denied,
            "refuses this machine's certificate",
        ),
        (Alert::ProtocolVersion, Kind::Version, "does not speak TLS 1.3"),
        (
            Alert::NoApplicationProtocol,
            Kind::Version,
            "does not speak this protocol on this port",
        ),
        (Alert::InternalError, Kind::Io, "ended the handshake (InternalError)"),
    ] {
        let error = explain("server fs1", &rustls::Error::AlertReceived(alert));
        assert_eq!(error.kind, kind);
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn other_protocol_on_the_port_is_refused() {
    let pair = pair();
    let error = pair.refusal(&pair.anonymous(), pair.fs1.server(Wire::Files));
    assert_eq!(error.kind, Kind::Version);
    assert!(error.to_string().contains("check the address and the port"), "{error}");
}

#[test]
fn only_machines_answer() {
    let cell = Cell::example();
    let directory = tempfile::tempdir().unwrap();
    let place = Place::host(directory.path());
    cell.credential(&user("alice")).save(&place).unwrap();
    let error = HostTls::load(place, cell.clock()).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("host.pem: it is alice@example.org's, not a machine's"),
        "{error}"
    );
}

#[test]
fn reload_takes_a_good_file_and_only_a_good_file() {
    let pair = pair();
    let place = pair.fs1.place().clone();
    let serving = || pair.fs1.with_credential(|credential| credential.certificate().clone());
    let before = serving();

    std::fs::write(
        place.certificate(),
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let error = pair.fs1.reload().unwrap_err();
    assert!(error.on.ends_with("host.pem"), "{error}");
    assert_eq!(serving(), before);

    std::fs::remove_file(place.certificate()).unwrap();
    assert_eq!(pair.fs1.reload().unwrap_err().kind, Kind::NotFound);
    assert_eq!(serving(), before);

    let request = pair
        .fs1
        .with_credential(|credential| credential.key().request())
        .unwrap();
    let request = crate::Request::parse(&request).unwrap();
    let newer = pair
        .cell
        .authority
        .issue(&request, &host("fs1"), after(100), 1_000)
        .unwrap();
    pair.fs1
        .with_credential(|credential| credential.renew(&place, &newer))
        .unwrap();
    pair.fs1.reload().unwrap();
    assert_eq!(serving(), newer);
    assert_eq!(Credential::load(&place).unwrap().certificate(), &newer);
}

#[test]
fn names_that_no_certificate_can_hold_are_not_dialled() {
    let pair = pair();
    for bad in ["127.0.0.1", "fs..1"] {
        let error = pair.anonymous().connection(&name(bad)).unwrap_err();
        assert!(
            error.to_string().contains("no certificate can hold that name"),
            "{error}"
        );
    }
}
