use std::time::Duration;

use baton_rpc::fldb::MemberStatus;
use baton_types::record::Member;
use baton_types::{AggregateId, AggregateName, EntryName, Epoch, Error, PrincipalName, Timestamp};
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

/// A cell whose members answer or do not; the first leads if there is a quorum.
pub fn view(is_answering: &[bool], has_quorum: bool) -> View {
    let members: Vec<Member> = (0..is_answering.len()).map(member).collect();
    let all: Vec<MemberStatus> = members
        .iter()
        .map(|member| MemberStatus {
            member: member.clone(),
            is_voter: true,
            matched: Some(120),
            silent: Some(Duration::from_millis(3)),
        })
        .collect();
    let answer = |(member, is_answering): (&Member, &bool)| {
        let target = Target {
            name: Some(member.name.clone()),
            address: member.addresses[0].clone(),
        };
        let is_leader = member.number == 1 && has_quorum;
        let status = Status {
            member: member.name.clone(),
            leader: has_quorum.then(|| members[0].name.clone()),
            term: 4,
            committed: 120,
            applied: 120,
            has_quorum: is_leader,
            members: all.clone(),
            filesets: 2,
            watchers: 1,
        };
        let refused = Error::new(Kind::Unreachable, target.to_string()).because("connection refused");
        (target, if *is_answering { Ok(status) } else { Err(refused) })
    };
    let mut view = View {
        cell: CellName::parse("example.org").unwrap(),
        members: members.iter().zip(is_answering).map(answer).collect(),
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

#[test]
fn the_cell_fits_one_screen() {
    let output = output(&view(&[true, true, false], true), Colour::Off);
    assert_eq!(
        output.text,
        "Cell example.org\n\
         \n\
         FLDB: leader fl1, term 4; 2 of 3 members answer; 2 filesets\n\
         \x20 fl1              127.0.0.11               ok      index 120, leader\n\
         \x20 fl2              127.0.0.12               ok      index 120\n\
         \x20 fl3              127.0.0.13               silent  connection refused\n\
         Servers: 1\n\
         \x20 mlserva          mlserva.example          registered 2027-01-15T08:00:00Z\n\
         Aggregates: 1\n\
         \x20 lfs03            exported by mlserva under epoch 41; attached to mlserva\n\
         \n\
         Start flserver on fl3; one failure more would stop all changes.\n"
    );
    assert_eq!(output.exit, 0, "a warning is no failure of the command");
}

#[test]
fn advice_is_for_what_is_worst() {
    let advice = |view: &View| {
        let (health, text) = view.advice();
        (health, text)
    };
    let said = |answering: &[bool], has_quorum| advice(&view(answering, has_quorum));
    assert_eq!(
        said(&[true, true, true], true),
        (Health::Well, "All is well.".to_owned())
    );
    assert_eq!(said(&[true; 3], false).0, Health::Critical);
    assert!(said(&[true; 3], false).1.contains("an election is under way"));
    let (health, text) = said(&[true, false, false], false);
    assert_eq!(health, Health::Critical);
    assert!(text.ends_with("start flserver on fl2 or fl3."), "{text}");
    let (health, text) = said(&[true, true, true, true, false], true);
    assert_eq!((health, text.as_str()), (Health::Warning, "Start flserver on fl5."));
    assert!(said(&[true], true).1.starts_with("One disk holds"));
    assert!(said(&[true; 2], true).1.starts_with("Two members stop"));

    let mut learning = view(&[true; 3], true);
    if let Ok(leader) = &mut learning.members[0].1 {
        leader.members[2].is_voter = false;
    }
    assert_eq!(
        advice(&learning),
        (Health::Warning, "Wait for fl3 to catch up.".to_owned())
    );
    let mut bare = view(&[true; 3], true);
    bare.servers.clear();
    assert!(advice(&bare).1.starts_with("No file server"));
}

#[test]
fn status_in_json_has_its_fields() {
    let json = output(&view(&[true, false, true], true), Colour::On).json;
    assert_eq!(
        (&json["health"], &json["leader"], &json["term"]),
        (&json!("warning"), &json!("fl1"), &json!(4))
    );
    assert_eq!(
        json["members"][1],
        json!({
            "name": "fl2", "address": "127.0.0.12", "is_answering": false, "is_leader": false, "index": null,
            "watchers": null, "error": "fl2 (127.0.0.12): connection refused", "is_unreachable": true,
        })
    );
    assert_eq!(json["servers"][0]["name"], "mlserva");
    assert_eq!(
        json["aggregates"][0],
        json!({
            "id": "00000000-0000-0000-0000-000000000008", "name": "lfs03", "number": 13, "state": "exported",
            "owner": "mlserva", "epoch": 41, "attached": ["mlserva"],
        })
    );
}

#[test]
fn an_aggregate_without_an_owner_is_detached() {
    let mut view = view(&[true; 3], true);
    view.aggregates = vec![Aggregate {
        id: AggregateId(Uuid::from_u128(9)),
        name: AggregateName::parse("lfs04").unwrap(),
        number: 14,
        attached: vec![ServerId(Uuid::from_u128(7)), ServerId(Uuid::from_u128(5))],
        owner: None,
        epoch: Epoch(3),
        state: AggregateState::Detached,
    }];
    view.servers[0].principal = PrincipalName::parse("hosts/mlserva").unwrap();
    view.servers[0].registered = Timestamp(0);
    assert_eq!(
        aggregates(&view),
        "Aggregates: 1\n  lfs04            detached; attached to mlserva 00000000-0000-0000-0000-000000000005\n"
    );
}
