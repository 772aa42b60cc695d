//! The whole state as bytes: all of it, the same bytes each time, and nothing else is taken for it.

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};
use proptest::test_runner::Config;

use baton_types::record::ServerState;

use super::super::dump::checksum;
use super::*;

/// One of few names, so that changes meet.
fn some_name() -> impl Strategy<Value = String> {
    (0..6_u8).prop_map(|number| format!("n{number}"))
}

fn some_group() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("cell-admin"),
        Just("fldb-admin"),
        Just("fileset-admin"),
        Just("staff")
    ]
}

fn some_who() -> impl Strategy<Value = Who> {
    prop_oneof![
        6 => Just(person("alice")),
        2 => some_name().prop_map(|name| person(&name)),
        4 => (1..4_u128).prop_map(|number| host(&format!("fs{number}"), number)),
        1 => Just(host("fl1", 11)),
        1 => Just(Who::Nobody),
        1 => Just(Who::Database),
    ]
}

fn some_address() -> impl Strategy<Value = String> {
    (1..6_u8, any::<bool>()).prop_map(|(number, port)| match port {
        true => format!("fs{number}:7402"),
        false => format!("fs{number}"),
    })
}

fn some_fileset() -> impl Strategy<Value = FilesetRef> {
    prop_oneof![
        some_name().prop_map(|name| named(&name)),
        (1..30_u64).prop_map(numbered)
    ]
}

fn some_server_change() -> impl Strategy<Value = Change> {
    let number = || 1..4_u128;
    prop_oneof![
        (number(), prop::collection::vec(some_address(), 1..3), 0..2_u128).prop_map(|(number, at, run)| {
            let at: Vec<&str> = at.iter().map(String::as_str).collect();
            register(&format!("fs{number}"), number, &at, run)
        }),
        (number(), 0..3_u128).prop_map(|(number, agg)| report(number, agg, &format!("agg{agg}"))),
        (number(), 0..3_u128, 0..2_u128, 0..9_u64).prop_map(|(n, agg, run, disk)| claim(n, agg, run, Epoch(disk))),
        (number(), 0..3_u128, 0..12_u64).prop_map(|(number, agg, epoch)| Change::Detach {
            aggregate: aggregate_id(agg),
            server: server_id(number),
            epoch: Epoch(epoch),
        }),
        (number(), 0..3_u128, 0..12_u64).prop_map(|(number, agg, epoch)| Change::GiveUp {
            aggregate: aggregate_id(agg),
            server: server_id(number),
            epoch: Epoch(epoch),
            why: "its disk fails".to_owned(),
        }),
        (number(), 0..3_u128, 0..12_u64).prop_map(|(number, agg, epoch)| Change::Fail {
            aggregate: aggregate_id(agg),
            server: server_id(number),
            epoch: Epoch(epoch),
            why: "its log does not replay".to_owned(),
        }),
        (number(), 0..3_u128, 0..2_u128, 0..3_u16).prop_map(|(n, agg, run, era)| owners::adopt(
            (n, run),
            agg,
            Epoch::new(era, 4)
        )),
        (number(), number(), 0..3_u128, 0..12_u64)
            .prop_map(|(from, to, agg, epoch)| owners::judged((from, ServerState::Dead), &[(agg, Epoch(epoch), to)],)),
        (number(), 0..3_u128, 0..12_u64, 1..30_u64, any::<bool>()).prop_map(|(number, agg, epoch, fileset, valid)| {
            report_fileset((number, agg, Epoch(epoch)), fileset, valid)
        }),
    ]
}

fn some_fileset_change() -> impl Strategy<Value = Change> {
    let place = || (some_address(), (0..3_u8).prop_map(|agg| format!("agg{agg}")));
    prop_oneof![
        3 => (some_name(), place()).prop_map(|(name, (at, agg))| create(&name, &at, &agg)),
        1 => (some_name(), place()).prop_map(|(name, (at, agg))| delete(&name, &at, &agg)),
        1 => (some_fileset(), some_name()).prop_map(|(fileset, name)| Change::RenameFileset { fileset, name: of(&name) }),
        1 => (some_fileset(), any::<Option<u64>>(), any::<Option<u64>>())
            .prop_map(|(fileset, bytes, files)| Change::SetQuota { fileset, bytes, files }),
        1 => some_fileset().prop_map(|fileset| Change::LockFileset { fileset }),
        1 => some_fileset().prop_map(|fileset| Change::UnlockFileset { fileset }),
        1 => some_address().prop_map(|at| Change::DeleteServerEntry { address: of(&at) }),
        2 => (some_address(), some_address()).prop_map(|(at, new)| Change::EditServerEntry {
            address: of(&at),
            addresses: Some(baton_types::change::AddressEdit::ChangeTo(of(&new))),
            principal: Some(of("alice")),
            quota: Some(3),
            owner: Some(baton_types::change::OwnerEdit::Set(of("staff"))),
        }),
    ]
}

fn some_registry_change() -> impl Strategy<Value = Change> {
    let groups = || prop::collection::vec(some_group(), 0..3);
    prop_oneof![
        3 => (some_name(), prop::option::of(990..1_010_u32), groups()).prop_map(|(name, id, groups)| new_person(&name, id, &groups)),
        2 => (some_name(), groups(), any::<bool>()).prop_map(|(name, groups, off)| edit_person(&name, Some(&groups), Some(off))),
        2 => (0..4_u8, some_name(), groups()).prop_map(|(secret, name, groups)| Change::Invite {
            secret_hash: [secret; 32],
            kind: InvitationKind::User,
            principal: of(&name),
            id: None,
            groups: names(&groups),
        }),
        1 => (4..8_u8, 1..7_u8).prop_map(|(secret, number)| invite(secret, InvitationKind::Member, &format!("hosts/fl{number}"))),
        3 => (0..8_u8, 0..3_u8).prop_map(|(secret, key)| join(secret, key, &["fl"])),
        1 => (1..7_u8).prop_map(|number| Change::RemoveMember { name: of(&format!("fl{number}")) }),
        1 => "[a-zä ]{0,20}".prop_map(|value| Change::SetCell { key: "description".to_owned(), value }),
        1 => Just(genesis()),
    ]
}

fn some_change() -> impl Strategy<Value = Change> {
    prop_oneof![some_server_change(), some_fileset_change(), some_registry_change()]
}

/// Who, what, in which session, how many seconds after the last.
type Step = (Who, Change, u8, u64);

fn some_steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((some_who(), some_change(), 0..4_u8, 0..1_200_u64), 0..60)
}

/// What `steps` lead to; [`Db::step`] compares the state with its loaded dump after each.
fn after(steps: Vec<Step>) -> Fldb {
    let mut db = Db::with_servers();
    for (who, change, session, seconds) in steps {
        db.sequence += 1;
        db.date = db.date.plus_seconds(seconds);
        db.step(Proposal {
            session: ChangeSession([session; 16]),
            sequence: db.sequence,
            born: 0,
            date: db.date,
            who,
            change,
        });
    }
    db.state
}

/// `bytes` with a checksum that fits them.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    [bytes, &checksum(bytes)].concat()
}

fn refusal(bytes: &[u8]) -> String {
    says(&Fldb::load(bytes).unwrap_err())
}

proptest! {
    #![proptest_config(Config::with_cases(200))]

    #[test]
    fn prop_dump_is_all_of_the_state_and_always_the_same_bytes(steps in some_steps()) {
        let state = after(steps);
        let dump = state.dump();
        let loaded = Fldb::load(&dump).unwrap();
        assert_eq!(loaded, state);
        assert_eq!(loaded.dump(), dump);
    }

    #[test]
    fn prop_altered_dump_is_refused(steps in some_steps(), at in any::<prop::sample::Index>(), bit in 0..8) {
        let mut bytes = after(steps).dump();
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        assert!(Fldb::load(&bytes).is_err());
        assert!(Fldb::load(&bytes[..at]).is_err());
    }

    /// Damage that the checksum does not show: an error or some other state, never a panic.
    #[test]
    fn prop_altered_dump_with_a_good_checksum_never_panics(
        steps in some_steps(),
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let whole = after(steps).dump();
        let mut bytes = whole[..whole.len() - 16].to_vec();
        for (at, byte) in places {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
            if let Ok(state) = Fldb::load(&sealed(bytes)) {
                drop(state.dump());
            }
        }
    }

    #[test]
    fn prop_bytes_that_are_no_dump_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        assert!(Fldb::load(&bytes).is_err());
        drop(Fldb::load(&sealed(&[&b"BATONFLDB\n\x01\0\0\0"[..], &bytes].concat())));
    }
}

#[test]
fn what_is_no_dump_says_why() {
    let dump = Db::new().state.dump();
    let of_another_format = [&dump[..10], &[2, 0, 0, 0], &dump[14..]].concat();
    let mut altered = dump.clone();
    altered[20] ^= 1;
    for (bytes, why) in [
        (
            &b""[..],
            "Damaged: snapshot of the location database: it does not begin as one",
        ),
        (&dump[..12], "Damaged: snapshot of the location database: it ends early"),
        (&dump[..20], "Damaged: snapshot of the location database: it ends early"),
        (
            &altered,
            "Damaged: snapshot of the location database: its checksum is not that of its bytes",
        ),
        (
            &of_another_format,
            "Version: snapshot of the location database: format 2, this version reads 1; \
             start the version that wrote it",
        ),
    ] {
        assert_eq!(refusal(bytes), why);
    }
}

#[test]
fn records_of_a_dump_begin_with_the_counters_and_are_records() {
    let dump = Db::new().state.dump();
    let (head, counters) = (&dump[..14], &dump[14..14 + 1 + usize::from(dump[14])]);
    let empty = [head, counters].concat();
    assert_eq!(Fldb::load(&sealed(&empty)).unwrap().applied(), 1);
    let why = |bytes: &[u8]| refusal(&sealed(bytes));
    let event = [&[4, 0x4a, 2, 8, 1][..]].concat();
    assert_eq!(
        why(&[head, &event].concat()),
        "Damaged: snapshot of the location database: it does not begin with the counters"
    );
    assert_eq!(
        why(&[&empty, counters].concat()),
        "Damaged: snapshot of the location database: record: it belongs in snapshots only"
    );
    assert!(why(&[&empty[..], &[1, 0xff]].concat()).starts_with("Damaged: "));
    assert!(why(&[&empty[..], &[200]].concat()).starts_with("Damaged: "));
    assert!(why(head).starts_with("Damaged: "));
}
