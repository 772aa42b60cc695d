//! The client against scripted members over real TLS.

use std::collections::BTreeSet;
use std::time::Duration;

use baton_security::Key;
use baton_types::beat::Beat;
use baton_types::change::{AggregateRef, Change, FilesetRef, Move, Moving, Takeover};
use baton_types::plan::Step;
use baton_types::record::{Record, Server, ServerState, Table};
use baton_types::{Address, EntryName, Error, FilesetId, Hello, Incarnation, Kind, ServerId};
use tokio::time::Instant;

use super::{Freshness, Identity, Query, Sought};
use crate::News;
use crate::dial::{Dialer, Target};
use crate::doubt::{Doubt, Looks};
use crate::testing::{Cell, Fake, Script, alice, clock, name, vacant};

/// Long enough for a busy machine, where failing soon is not the point.
const LONG: Duration = Duration::from_secs(60);
/// Short, where nobody will answer.
const SHORT: Duration = Duration::from_secs(2);

fn lock() -> Change {
    Change::LockFileset {
        fileset: FilesetRef::Id(FilesetId(1)),
    }
}

fn no_quorum() -> Script {
    Script {
        refuses: Some(Error::new(Kind::Unreachable, "location database").because("no leader")),
        ..Script::default()
    }
}

fn both(cell: &Cell) -> (Fake, Fake) {
    (
        cell.start("fl1", Script::default()),
        cell.start("fl2", Script::default()),
    )
}

#[tokio::test]
async fn a_change_whose_answer_was_lost_is_sent_again_and_done_once() {
    let cell = Cell::new();
    let (mut one, mut two) = both(&cell);
    for fake in [&one, &two] {
        fake.script.lock().is_mute = true;
    }
    let client = cell.client(cell.alice(), &[&one, &two]).within(LONG);
    let change = tokio::spawn(async move { client.change(lock()).await });
    // Whoever is asked first makes the change and dies before it answers.
    let first = tokio::select! {
        _ = one.asked.changed() => &mut one,
        _ = two.asked.changed() => &mut two,
    };
    first.kill();
    for fake in [&one, &two] {
        fake.script.lock().is_mute = false;
    }
    let done = change.await.unwrap().unwrap();
    assert_eq!((done.index, cell.shared.made()), (1, 1));
    assert_eq!(*one.asked.borrow() + *two.asked.borrow(), 2, "it was sent to both");
}

#[tokio::test]
async fn changes_of_a_client_are_made_one_after_another() {
    let cell = Cell::new();
    let one = cell.start("fl1", Script::default());
    let client = cell.client(cell.host("fs1"), &[&one]).within(LONG);
    let changes: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.change(lock()).await.unwrap().index })
        })
        .collect();
    let mut indexes = Vec::new();
    for change in changes {
        indexes.push(change.await.unwrap());
    }
    indexes.sort_unstable();
    assert_eq!(indexes, (1..=8).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_forgotten_session_is_replaced_unless_something_is_in_doubt() {
    let cell = Cell::new();
    let one = cell.start("fl1", Script::default());
    let client = cell.client(cell.alice(), &[&one]).within(LONG);
    client.change(lock()).await.unwrap();
    cell.shared.forget();
    client.change(lock()).await.unwrap();
    let made = cell.shared.made();

    // Made, forgotten and never answered: it cannot be told any more.
    one.script.lock().is_mute = true;
    let mut asked = one.asked.clone();
    asked.mark_unchanged();
    let doubtful = client.within(SHORT);
    let change = tokio::spawn(async move { doubtful.change(lock()).await });
    asked.changed().await.unwrap();
    cell.shared.forget();
    one.script.lock().refuses = no_quorum().refuses;
    let error = change.await.unwrap().unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable);
    assert!(error.remedy.contains("may have been done"), "{error}");
    assert_eq!(cell.shared.made(), made + 2, "once, and what forgetting made");
}

#[tokio::test]
async fn the_next_member_is_asked_when_one_is_down_or_has_no_quorum() {
    let cell = Cell::new();
    let one = cell.start("fl1", no_quorum());
    let two = cell.start("fl2", Script::default());
    let addresses = vec![vacant(), one.address.clone(), two.address.clone()];
    let client = cell.client_at(Identity::Nobody, addresses).within(LONG);
    let error = client
        .lookup(&Sought::Fileset(FilesetRef::Id(FilesetId(1))))
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::NotFound, "a decision is not asked for twice: {error}");
}

#[tokio::test]
async fn no_quorum_is_told_apart_from_nobody() {
    let cell = Cell::new();
    let one = cell.start("fl1", no_quorum());
    let client = cell.client_at(Identity::Nobody, vec![one.address.clone(), vacant()]);
    let error = client.within(SHORT).who().await.unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable);
    let text = error.to_string();
    assert!(text.contains("example.org: no quorum ("), "{text}");
    assert!(text.contains(&format!("fl1 ({}): no leader", one.address)), "{text}");
    assert!(text.contains("connection refused"), "{text}");

    let client = cell.client_at(Identity::Nobody, vec![vacant(), vacant()]);
    let text = client.within(SHORT).who().await.unwrap_err().to_string();
    assert!(text.contains("example.org: nobody answers ("), "{text}");
}

#[tokio::test]
async fn a_member_that_says_nothing_does_not_hold_up_the_others() {
    let cell = Cell::new();
    let one = cell.start("fl1", Script::default());
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = Address::parse(&silent.local_addr().unwrap().to_string()).unwrap();
    for _ in 0..4 {
        let client = cell.client_at(cell.alice(), vec![silent.clone(), one.address.clone()]);
        assert_eq!(client.within(LONG).who().await.unwrap().principal, Some(alice()));
    }
}

#[tokio::test]
async fn another_authority_is_refused_at_once() {
    let cell = Cell::new();
    let one = cell.start("fl1", Script::default());
    let other = Cell::new();
    let client = other.client(Identity::Nobody, &[&one]).within(LONG);
    let error = client.who().await.unwrap_err();
    assert_eq!(error.kind, Kind::Denied, "{error}");
    assert!(
        error.to_string().contains("not made by this cell's authority"),
        "{error}"
    );
    assert!(error.to_string().contains(&one.address.to_string()), "{error}");

    // And the other way round: the server refuses this machine's certificate.
    let file = crate::config::CellFile::new(cell.authority.anchor(), vec![one.address.clone()]);
    let client = super::FldbClient::new(&file, other.host("fs1"), &clock()).unwrap();
    assert_eq!(client.who().await.unwrap_err().kind, Kind::Denied);
}

#[tokio::test]
async fn versions_that_do_not_fit_are_told() {
    let cell = Cell::new();
    let hello = Hello {
        oldest: 7,
        newest: 9,
        ..Hello::OURS
    };
    let one = cell.start(
        "fl1",
        Script {
            hello,
            ..Script::default()
        },
    );
    let error = cell.client(Identity::Nobody, &[&one]).who().await.unwrap_err();
    assert_eq!(error.kind, Kind::Version);
    assert!(error.to_string().contains("the other 7 to 9"), "{error}");
}

#[tokio::test]
async fn a_member_under_a_wrong_name_is_refused() {
    let cell = Cell::new();
    let script = Script {
        says: Some("fl9"),
        ..Script::default()
    };
    let one = cell.start("fl1", script);
    let error = cell.client(Identity::Nobody, &[&one]).who().await.unwrap_err();
    assert_eq!(error.kind, Kind::Denied);
    assert!(
        error
            .to_string()
            .contains("it says that it is fl9, and its certificate says fl1"),
        "{error}"
    );

    one.script.lock().says = None;
    let tls = baton_security::ClientTls::anonymous(cell.authority.anchor(), baton_security::Wire::Control, &clock());
    let dialer = Dialer::new(tls.unwrap(), None, 1);
    let target = |text: &str| Target {
        name: Some(name(text)),
        address: one.address.clone(),
    };
    let deadline = Instant::now() + LONG;
    assert_eq!(
        dialer.connect(&target("fl1"), deadline).await.unwrap().member(),
        &one.name
    );
    assert_eq!(
        dialer.connect(&target("fl2"), deadline).await.unwrap_err().kind,
        Kind::Denied
    );
}

#[tokio::test]
async fn members_are_learned_from_whoever_answers() {
    let cell = Cell::new();
    let (mut one, two) = both(&cell);
    cell.shared.set_members(&[&one, &two]);
    let client = cell.client(cell.alice(), &[&one]).within(LONG);
    client.who().await.unwrap();
    assert_eq!(client.members().len(), 2);
    one.kill();
    assert_eq!(
        client.who().await.unwrap().principal,
        Some(alice()),
        "by the one it was told of"
    );
}

#[tokio::test]
async fn each_identity_is_known_as_itself() {
    let cell = Cell::new();
    let one = cell.start("fl1", Script::default());
    let who = async |identity: Identity| {
        let who = cell.client(identity, &[&one]).who().await.unwrap();
        who.principal.map(|name| name.to_string())
    };
    assert_eq!(who(Identity::Nobody).await, None);
    assert_eq!(who(cell.alice()).await.as_deref(), Some("alice"));
    assert_eq!(who(cell.host("fs1")).await.as_deref(), Some("hosts/fs1"));
}

#[tokio::test]
async fn a_handle_that_is_over_is_made_anew() {
    let cell = Cell::new();
    let one = cell.start("fl1", Script::default());
    let client = cell.client(cell.alice(), &[&one]);
    client.who().await.unwrap();
    let live = client.inner.live.lock().clone().unwrap();
    let caller = live.caller;
    live.connection
        .session()
        .logout(baton_proto::v1::LogoutRequest { caller })
        .await
        .unwrap();
    assert_eq!(client.who().await.unwrap().principal, Some(alice()));
}

#[tokio::test]
async fn a_list_comes_whole() {
    let cell = Cell::new();
    let one = cell.start("fl1", Script::default());
    for _ in 0..5 {
        cell.shared.make("thing");
    }
    let client = cell.client(cell.alice(), &[&one]);
    let query = Query::tables(&[Table::Event], Freshness::Linearizable);
    let listing = client.list(&query).await.unwrap();
    assert_eq!((listing.index, listing.records.len()), (5, 5));
}

#[tokio::test]
async fn a_watch_goes_on_where_it_was_at_another_member() {
    let cell = Cell::new();
    let (mut one, mut two) = both(&cell);
    cell.shared.make("before");
    let client = cell.client(cell.alice(), &[&one, &two]).within(LONG);
    let mut watch = client.watch(&[Table::Event], 0);
    assert_eq!(watch.next().await.unwrap(), (0, News::Forget));
    assert_eq!(watch.next().await.unwrap(), (0, News::Put(Vec::new())));
    assert_eq!(watch.next().await.unwrap(), (1, News::Complete(1)));
    cell.shared.make("first");
    let mut heard = async || match watch.next().await.unwrap() {
        (index, News::Changed(changed)) => match changed.put.as_slice() {
            [Record::Event(event)] => (index, event.what.clone()),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    assert_eq!(heard().await, (2, "first".to_owned()));

    let at = client.inner.live.lock().clone().unwrap().connection.member().clone();
    match at == one.name {
        true => one.kill(),
        false => two.kill(),
    }
    cell.shared.make("second");
    cell.shared.make("third");
    assert_eq!(
        heard().await,
        (3, "second".to_owned()),
        "nothing twice, nothing left out"
    );
    assert_eq!(heard().await, (4, "third".to_owned()));
}

#[tokio::test]
async fn a_watch_says_that_nobody_answers_and_waits_on() {
    let cell = Cell::new();
    let mut one = cell.start("fl1", Script::default());
    let two = cell.start("fl2", no_quorum());
    let client = cell.client(cell.alice(), &[&one, &two]).within(SHORT);
    let mut watch = client.watch(&[Table::Event], 7);
    one.kill();
    assert_eq!(watch.next().await.unwrap_err().kind, Kind::Unreachable);
    two.script.lock().refuses = None;
    for _ in 0..7 {
        cell.shared.make("missed");
    }
    cell.shared.make("next");
    let news = loop {
        match watch.next().await {
            Err(error) => assert_eq!(error.kind, Kind::Unreachable),
            Ok(news) => break news,
        }
    };
    assert_eq!(news.0, 8);

    two.script.lock().refuses = Some(Error::new(Kind::Denied, "watch"));
    let mut watch = client.watch(&[Table::Event], 0);
    assert_eq!(watch.next().await.unwrap_err().kind, Kind::Denied);
    assert_eq!(
        watch.next().await.unwrap_err().kind,
        Kind::SessionLost,
        "a decision ends it"
    );
}

#[tokio::test]
async fn each_member_is_asked_how_it_is() {
    let cell = Cell::new();
    let (one, mut two) = both(&cell);
    cell.shared.set_members(&[&one, &two]);
    two.kill();
    let client = cell.client(cell.alice(), &[&one, &two]).within(Duration::from_secs(5));
    let answers = client.status_of_all().await;
    let names: Vec<_> = answers.iter().map(|(target, _)| target.name.clone().unwrap()).collect();
    assert_eq!(names, [name("fl1"), name("fl2")]);
    let first = answers[0].1.as_ref().unwrap();
    assert_eq!((first.term, first.has_quorum, first.members.len()), (3, true, 2));
    assert_eq!((first.members[0].matched, first.members[0].silent), (Some(5), None));
    assert_eq!(answers[1].1.as_ref().unwrap_err().kind, Kind::Unreachable);
}

#[tokio::test]
async fn certificates_come_from_the_member_with_the_key() {
    let cell = Cell::new();
    let (one, two) = both(&cell);
    one.script.lock().is_issuer = false;
    let code = cell.invitation("alice", &[&one, &two]);
    let client = super::FldbClient::invited(&code, &clock()).unwrap().within(LONG);
    let joined = client.join(&code, Key::generate().unwrap(), &[]).await.unwrap();
    assert_eq!(joined.credential.names().principal, alice());
    assert_eq!(joined.members, [Address::parse("127.0.0.11").unwrap()]);
    assert_eq!(joined.number, None);

    let before = joined.credential.names().validity.not_after;
    let identity = Identity::User(std::sync::Arc::new(joined.credential));
    let Identity::User(credential) = &identity else {
        unreachable!()
    };
    let client = cell.client(identity.clone(), &[&one, &two]).within(LONG);
    let renewed = client.renew(credential.key()).await.unwrap();
    assert!(baton_security::Names::of(&renewed).unwrap().validity.not_after > before);

    two.script.lock().is_issuer = false;
    let error = client.within(SHORT).renew(credential.key()).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable);
    assert!(
        error
            .to_string()
            .contains("nobody who answers holds the authority's key"),
        "{error}"
    );
}

#[tokio::test]
async fn an_invitation_of_another_authority_or_for_another_person_joins_nothing() {
    let cell = Cell::new();
    let one = cell.start("fl1", Script::default());
    let mut code = cell.invitation("alice", &[&one]);
    code.pin = Cell::new().authority.anchor().fingerprint();
    let client = super::FldbClient::invited(&code, &clock()).unwrap();
    let error = client.join(&code, Key::generate().unwrap(), &[]).await.unwrap_err();
    assert_eq!(error.kind, Kind::Denied);
    assert!(
        error.to_string().contains("not the one that the invitation names"),
        "{error}"
    );

    let code = cell.invitation("bob", &[&one]);
    let client = super::FldbClient::invited(&code, &clock()).unwrap();
    let error = client.join(&code, Key::generate().unwrap(), &[]).await.unwrap_err();
    assert!(error.to_string().contains("the invitation is for bob"), "{error}");
}

fn beating() -> impl FnMut() -> Beat + Send + 'static {
    let (server, incarnation, mut sequence) = (ServerId::random(), Incarnation::random(), 0);
    move || {
        sequence += 1;
        Beat {
            server,
            incarnation,
            sequence,
            gate_micros: 0,
            ports: Vec::new(),
            clients: 0,
            buddies: Vec::new(),
        }
    }
}

#[tokio::test]
async fn beats_reach_every_member_and_one_that_ends_keeps_them_from_nobody_else() {
    let cell = Cell::new();
    let (one, mut two) = both(&cell);
    let client = cell.client(cell.host("fs1"), &[&one, &two]);
    let mut heard = cell.shared.beats.subscribe();
    let beats = client.beat(beating()).unwrap();
    let by = |heard: &Vec<_>, member: &str| heard.iter().filter(|(m, _)| *m == name(member)).count();
    heard
        .wait_for(|heard| by(heard, "fl1") > 0 && by(heard, "fl2") > 0)
        .await
        .unwrap();
    two.kill();
    cell.shared.beats.send_modify(Vec::clear);
    heard.wait_for(|heard| by(heard, "fl1") > 3).await.unwrap();
    drop(beats);
    let sequences: Vec<u64> = heard
        .borrow()
        .iter()
        .filter(|(m, _)| *m == name("fl1"))
        .map(|(_, s)| *s)
        .collect();
    assert!(sequences.is_sorted(), "{sequences:?}");
}

#[tokio::test]
async fn attestation_is_told_to_all_and_is_an_error_only_if_nobody_heard() {
    let cell = Cell::new();
    let (one, mut two) = both(&cell);
    let client = cell.client(cell.host("fs1"), &[&one, &two]).within(SHORT);
    let (server, run) = (ServerId::random(), Incarnation::random());
    assert_eq!(client.attest(server, run).await.unwrap(), 2);
    assert_eq!(cell.shared.attested.lock().len(), 2);
    two.kill();
    assert_eq!(client.attest(server, run).await.unwrap(), 1);
    one.script.lock().refuses = no_quorum().refuses;
    assert_eq!(client.attest(server, run).await.unwrap_err().kind, Kind::Unreachable);
}

#[tokio::test]
async fn a_plan_is_asked_for_and_read() {
    let cell = Cell::new();
    let one = cell.start("fl1", Script::default());
    let client = cell.client(cell.alice(), &[&one]).within(LONG);
    let to = ServerId::random();
    let wish = Move {
        what: Moving::Aggregates(vec![AggregateRef::Name("lfs03".parse().unwrap())]),
        to: Some(to),
        takeover: Takeover::Planned,
    };
    let plan = client.plan(&wish).await.unwrap();
    assert_eq!((plan.len(), plan[0].name.as_str(), plan[0].epoch.0), (1, "lfs03", 41));
    assert_eq!(plan[0].step, Step::HandOver { to });
}

#[tokio::test]
async fn a_server_in_doubt_is_looked_at_and_every_member_told() {
    let cell = Cell::new();
    let (one, two) = both(&cell);
    let client = cell.client(cell.host("client1"), &[&one, &two]).within(SHORT);
    let server = Server {
        addresses: vec!["127.0.0.250".parse().unwrap()], // nobody listens there
        ..Server::new(ServerId::random(), "fs1".parse().unwrap())
    };
    let (doubt, mut looks) = (Doubt::default(), Looks::new(&client));
    doubt.uses(server.id);
    looks.look(&doubt, std::slice::from_ref(&server)).await;
    assert!(cell.shared.reports.borrow().is_empty(), "nothing is wrong with it");

    let mut heard = cell.shared.reports.subscribe();
    doubt.doubts(server.id);
    looks.look(&doubt, std::slice::from_ref(&server)).await;
    let told = |heard: &Vec<(EntryName, bool)>| {
        let names: BTreeSet<&EntryName> = heard.iter().map(|(name, _)| name).collect();
        names.len() == 2
    };
    heard.wait_for(told).await.unwrap();
    assert!(cell.shared.reports.borrow().iter().all(|(_, is_good)| !is_good));

    cell.shared.reports.send_modify(Vec::clear);
    let late = Server {
        state: ServerState::Pending,
        ..server.clone()
    };
    let (calm, mut looks) = (Doubt::default(), Looks::new(&client));
    looks.look(&calm, std::slice::from_ref(&late)).await;
    assert!(
        cell.shared.reports.borrow().is_empty(),
        "it is late, and not used by this client"
    );
    calm.uses(late.id);
    looks.look(&calm, std::slice::from_ref(&late)).await;
    heard.wait_for(told).await.unwrap();
}
