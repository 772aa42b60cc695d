//! Views of a cell in all its states, on a screen, in JSON and in one sentence.

use std::time::Duration;

use baton_rpc::fldb::{MemberStatus, Silence};
use baton_types::record::Member;
use baton_types::{AggregateId, AggregateName, CellName, EntryName, Epoch, Error};
use uuid::Uuid;

use super::super::entry;
use super::*;

fn member(index: usize) -> Member {
    Member {
        number: index as u64 + 1,
        name: EntryName::parse(&format!("fl{}", index + 1)).unwrap(),
        addresses: vec![Address::parse(&format!("127.0.0.{}", index + 11)).unwrap()],
        issuer: index == 0,
    }
}

/// A cell whose members answer or do not; the first that does leads if there is a quorum.
pub fn view(is_answering: &[bool], has_quorum: bool) -> View {
    let members: Vec<Member> = (0..is_answering.len()).map(member).collect();
    let leader = is_answering.iter().position(|answers| *answers && has_quorum);
    let all = |is_leader: bool| -> Vec<MemberStatus> {
        let seen = |(member, is_answering): (&Member, &bool)| MemberStatus {
            member: member.clone(),
            is_voter: true,
            matched: is_leader.then_some(120),
            silent: is_leader.then(|| Duration::from_micros(if *is_answering { 3_000 } else { 192_400_000 })),
        };
        members.iter().zip(is_answering).map(seen).collect()
    };
    let answer = |(index, (member, is_answering)): (usize, (&Member, &bool))| {
        let target = Target {
            name: Some(member.name.clone()),
            address: member.addresses[0].clone(),
        };
        let status = Status {
            member: member.name.clone(),
            leader: leader.map(|leader| members[leader].name.clone()),
            term: 4,
            committed: 120,
            applied: 118 + index as u64,
            has_quorum,
            members: all(leader == Some(index)),
            filesets: 2,
            watchers: 1,
            silences: Vec::new(),
        };
        let refused = Error::new(Kind::Unreachable, target.to_string()).because("connection refused");
        (target, if *is_answering { Ok(status) } else { Err(refused) })
    };
    let no_quorum = Error::new(Kind::Unreachable, "location database of example.org").because("no quorum");
    let mut view = View {
        cell: CellName::parse("example.org").unwrap(),
        no_quorum: (!has_quorum).then_some(no_quorum),
        members: members.iter().zip(is_answering).enumerate().map(answer).collect(),
        servers: Vec::new(),
        aggregates: Vec::new(),
    };
    for record in entry::tests::records() {
        match record {
            Record::Server(server) => view.servers.push(server),
            Record::Aggregate(aggregate) => view.aggregates.push(aggregate),
            _ => {}
        }
    }
    view
}

/// Changes what the leader, the first member, says of another.
fn as_leader_sees(view: &mut View, index: usize, change: fn(&mut MemberStatus)) {
    if let Ok(leader) = &mut view.members[0].1 {
        change(&mut leader.members[index]);
    }
}

#[test]
fn the_cell_fits_one_screen() {
    let output = output(&view(&[true, true, false], true), Colour::Off);
    assert_eq!(
        output.text,
        "FLDB   leader fl1 (term 4)   members fl1 ok, fl2 ok, fl3 silent 3m12s   commit 120   filesets 2\n\
         SERVER   STATE  BEAT  AGGR(OWNED/ATTACHED)  ADDRESSES        SINCE\n\
         mlserva  alive  -     1/1                   mlserva.example  2027-01-15T08:00:00Z\n\
         AGGR   ID  OWNER    EPOCH  STATE     ATTACHED  SINCE                 WHY\n\
         lfs03  13  mlserva  41     exported  mlserva   2027-01-15T08:00:00Z  claimed by mlserva\n\
         ! fl3 (127.0.0.13): connection refused\n\
         Start flserver on fl3; one failure more would stop all changes.\n"
    );
    assert_eq!(output.exit, 0, "a warning is no failure of the command");
}

#[test]
fn without_a_quorum_it_says_so_and_shows_what_it_has() {
    let output = output(&view(&[false, true, false], false), Colour::On);
    let head =
        "FLDB   \u{1b}[31mno quorum\u{1b}[0m   members fl1 \u{1b}[31msilent\u{1b}[0m, fl2 \u{1b}[32mok\u{1b}[0m, ";
    assert!(output.text.starts_with(head), "{}", output.text);
    assert!(output.text.contains("\nlfs03  13"), "{}", output.text);
    let advice = "No quorum, so nothing can be changed: start flserver on fl1 or fl3.\n";
    assert!(output.text.ends_with(advice), "{}", output.text);
    assert_eq!(output.json["has_quorum"], false);
    assert_eq!(output.json["leader"], Value::Null);
}

#[test]
fn advice_is_for_what_is_worst() {
    let said = |answering: &[bool], has_quorum| view(answering, has_quorum).advice();
    assert_eq!(said(&[true; 3], true), (Health::Well, "All is well.".to_owned()));
    let (health, text) = said(&[true; 3], false);
    assert_eq!(health, Health::Critical);
    assert!(text.ends_with("look at the network between them."), "{text}");
    let (health, text) = said(&[true, false, false], false);
    assert_eq!(health, Health::Critical);
    assert!(text.ends_with("start flserver on fl2 or fl3."), "{text}");
    let (health, text) = said(&[false, true, true, true, true], true);
    assert_eq!((health, text.as_str()), (Health::Warning, "Start flserver on fl1."));
    assert!(said(&[true], true).1.starts_with("One disk holds"));
    assert!(said(&[true; 2], true).1.starts_with("Two members stop"));
    let mut bare = view(&[true; 3], true);
    bare.servers.clear();
    assert!(bare.advice().1.starts_with("No file server"));
}

#[test]
fn the_leader_knows_who_learns_and_who_is_cut_off() {
    let mut view = view(&[true; 3], true);
    as_leader_sees(&mut view, 2, |member| member.is_voter = false);
    let wait = "Wait for fl3 to catch up.".to_owned();
    assert_eq!(view.advice(), (Health::Warning, wait));
    as_leader_sees(&mut view, 1, |member| member.silent = Some(Duration::from_secs(61)));
    let look = "Look at the network between fl1 and fl2.".to_owned();
    assert_eq!(view.advice(), (Health::Warning, look));
    let text = members(&view, Colour::Off);
    assert!(
        text.contains("members fl1 ok, fl2 cut off 1m1s, fl3 learning   commit"),
        "{text}"
    );
}

#[test]
fn status_in_json_has_its_fields() {
    let json = output(&view(&[true, false, true], true), Colour::On).json;
    assert_eq!(
        (&json["health"], &json["leader"], &json["term"], &json["filesets"]),
        (&json!("warning"), &json!("fl1"), &json!(4), &json!(2))
    );
    assert_eq!(
        json["members"][1],
        json!({
            "name": "fl2", "address": "127.0.0.12", "condition": "silent", "silent_micros": 192_400_000,
            "is_leader": false, "is_voter": true, "applied": null, "watchers": null,
            "error": "fl2 (127.0.0.12): connection refused",
        })
    );
    assert_eq!(
        json["servers"][0],
        json!({
            "id": "00000000-0000-0000-0000-000000000007", "name": "mlserva", "principal": "hosts/mlserva",
            "addresses": ["mlserva.example"], "registered": "2027-01-15T08:00:00Z",
            "aggregates_owned": 1, "aggregates_attached": 1,
            "state": "alive", "since": "2027-01-15T08:00:00Z", "evidence": "", "drained": false, "domain": null,
            "beat_micros": null,
        })
    );
    assert_eq!(
        json["aggregates"][0],
        json!({
            "id": "00000000-0000-0000-0000-000000000008", "name": "lfs03", "number": 13, "owner": "mlserva",
            "epoch": 41, "state": "exported", "attached": ["mlserva"], "target": null,
            "since": "2027-01-15T08:00:00Z", "reason": "claimed by mlserva",
            "held": null,
        })
    );
}

#[test]
fn states_of_servers_and_aggregates_are_shown_with_their_evidence_and_lead_to_advice() {
    let mut view = view(&[true; 3], true);
    if let Ok(leader) = &mut view.members[0].1 {
        leader.silences = vec![Silence {
            server: view.servers[0].id,
            silent: Duration::from_millis(4_120),
        }];
    }
    let (server, aggregate) = (&mut view.servers[0], &mut view.aggregates[0]);
    (server.state, server.drained) = (ServerState::Pending, true);
    server.evidence = "beat 0.7 s late".to_owned();
    (aggregate.state, aggregate.target) = (AggregateState::Draining, Some(server.id));
    assert!(
        servers(&view).contains("mlserva  pending (beat 0.7 s late), drained  4.1s  1/1"),
        "{}",
        servers(&view)
    );
    assert!(
        aggregates(&view).contains("draining to mlserva"),
        "{}",
        aggregates(&view)
    );
    let (health, advice) = view.advice();
    assert_eq!(health, Health::Warning);
    assert!(advice.starts_with("Wait: mlserva is late"), "{advice}");
    view.servers[0].state = ServerState::Alive;
    let (health, advice) = view.advice();
    assert_eq!(health, Health::Well);
    assert!(advice.ends_with("fts failover -aggregate lfs03 -takeover."), "{advice}");
    view.servers[0].state = ServerState::Dead;
    assert!(view.advice().1.starts_with("Start fileserver on mlserva: others serve"));
    view.aggregates[0].state = AggregateState::Unserved;
    let nobody = "Nobody serves lfs03: start fileserver on mlserva.".to_owned();
    assert_eq!(view.advice(), (Health::Critical, nobody));
}

#[test]
fn an_aggregate_without_an_owner_is_detached() {
    let mut view = view(&[true; 3], true);
    view.aggregates = vec![Aggregate {
        attached: vec![ServerId(Uuid::from_u128(7)), ServerId(Uuid::from_u128(5))],
        epoch: Epoch(3),
        ..Aggregate::new(
            AggregateId(Uuid::from_u128(9)),
            AggregateName::parse("lfs04").unwrap(),
            14,
        )
    }];
    assert_eq!(
        aggregates(&view),
        "AGGR   ID  OWNER  EPOCH  STATE     ATTACHED                                      SINCE                 WHY\n\
         lfs04  14  -      3      detached  mlserva 00000000-0000-0000-0000-000000000005  1970-01-01T00:00:00Z\n"
    );
}
