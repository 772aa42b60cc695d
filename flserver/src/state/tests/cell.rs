//! The first change, and the settings with their ranges.

use super::*;

fn set(key: &str, value: &str) -> Change {
    Change::SetCell {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

#[test]
fn first_change_makes_cell_administrator_and_member() {
    let db = Db::new();
    let cell = db.state.cell().unwrap();
    assert_eq!(
        (cell.name.as_str(), &*cell.auth),
        ("example.org", &["cert".to_owned()][..])
    );
    assert_eq!((cell.invitation_seconds, cell.entry_lock_seconds), (15 * 60, 8 * 3_600));
    assert_eq!(
        (cell.host_certificate_seconds, cell.user_certificate_seconds),
        (30 * 86_400, 30 * 86_400)
    );
    assert_eq!(db.principal("alice").id, Some(1_000));
    assert_eq!(
        db.groups("alice"),
        names(&["cell-admin", "fileset-admin", "fldb-admin"])
    );
    assert_eq!(db.principal("hosts/fl1").id, None);
    let member = db.member("fl1").unwrap();
    assert_eq!(
        (member.number, member.issuer, member.addresses),
        (1, true, names(&["fl1"]))
    );
    assert_eq!(db.events(), ["alice create cell cell example.org"]);
}

#[test]
fn cell_is_made_once_by_the_database_for_a_person() {
    let mut db = Db::new();
    assert_eq!(
        db.refused_by(&Who::Database, genesis()),
        "Exists: cell example.org: exists already"
    );
    assert_eq!(db.refused(genesis()), "Denied: alice: only a new cell does this");
    let with = |who: &str, id: u32| {
        let Change::Genesis {
            cell_id,
            cell,
            member,
            addresses,
            ..
        } = genesis()
        else {
            unreachable!("it is one")
        };
        Change::Genesis {
            cell_id,
            cell,
            administrator: of(who),
            administrator_id: id,
            member,
            addresses,
        }
    };
    for (who, id, refusal) in [
        (
            "hosts/fl1",
            1,
            "Invalid: principal hosts/fl1: the first administrator is a person, \
             and names under hosts/ are machines'",
        ),
        ("alice", 0, "Invalid: id 0: 0 and 65534 are nobody's"),
        ("alice", 65_534, "Invalid: id 65534: 0 and 65534 are nobody's"),
    ] {
        assert_eq!(Db::empty().refused_by(&Who::Database, with(who, id)), refusal);
    }
}

#[test]
fn nothing_is_set_before_there_is_a_cell() {
    assert_eq!(
        Db::empty().refused_by(&person("alice"), set("description", "x")),
        "Denied: alice: not in group cell-admin; \
         an administrator of the cell can add you: baton cell principal NAME --groups ..."
    );
}

#[test]
fn settings_are_read_as_people_write_them() {
    let mut db = Db::new();
    for (key, value) in [
        ("description", "the first floor"),
        ("auth", "host-trust, cert cert"),
        ("invitation-lifetime", "1h30m"),
        ("host-certificate-lifetime", "7d"),
        ("user-certificate-lifetime", "10h"),
        ("lock-lifetime", "90s"),
    ] {
        db.done(set(key, value));
        assert_eq!(db.events().last().unwrap(), &format!("alice set {key} = {value}"));
    }
    let cell = db.state.cell().unwrap();
    assert_eq!(cell.description, "the first floor");
    assert_eq!(cell.auth, ["host-trust", "cert"]);
    assert_eq!((cell.invitation_seconds, cell.entry_lock_seconds), (5_400, 90));
    assert_eq!(
        (cell.host_certificate_seconds, cell.user_certificate_seconds),
        (7 * 86_400, 36_000)
    );
}

#[test]
fn durations_have_ranges() {
    let mut db = Db::new();
    for (key, least, most, range) in [
        ("invitation-lifetime", "1m", "7d", "1m to 7d"),
        ("host-certificate-lifetime", "1h", "366d", "1h to 366d"),
        ("user-certificate-lifetime", "1h", "366d", "1h to 366d"),
        ("lock-lifetime", "1m", "7d", "1m to 7d"),
    ] {
        db.done(set(key, least));
        db.done(set(key, most));
        for outside in ["0s", "59s", "367d"] {
            assert_eq!(
                db.refused(set(key, outside)),
                format!("Range: {key} {outside}: outside {range}")
            );
        }
    }
    assert_eq!(
        db.refused(set("lock-lifetime", "8")),
        "Invalid: duration '8': not numbers with units; write for example 250ms, 30s, 15m, 8h or 1d12h"
    );
}

#[test]
fn mechanisms_are_known_ones_and_cert_among_them() {
    let mut db = Db::new();
    assert_eq!(
        db.refused(set("auth", "cert,kerberos")),
        "Invalid: auth 'cert,kerberos': 'kerberos' is no mechanism; give a list of: cert, host-trust"
    );
    for without in ["", "host-trust"] {
        assert_eq!(
            db.refused(set("auth", without)),
            format!(
                "Invalid: auth '{without}': without cert nobody could administrate the cell; \
                 give a list of: cert, host-trust"
            )
        );
    }
}

#[test]
fn silence_is_borne_in_order_suspected_before_judged() {
    let mut db = Db::new();
    db.done(set("isolated-after", "4s"));
    db.done(set("dead-after", "3s"));
    db.done(set("suspect-after", "2500ms"));
    let patience = db.state.cell().unwrap().patience;
    assert_eq!(
        (patience.suspect_millis, patience.dead_millis, patience.isolated_millis),
        (2_500, 3_000, 4_000)
    );
    assert_eq!(
        db.refused(set("dead-after", "2s")),
        "Range: dead-after: suspect-after must be less than dead-after, and that no more than isolated-after; \
         set the others first"
    );
    assert_eq!(
        db.refused(set("suspect-after", "100ms")),
        "Range: suspect-after 100ms: outside 400ms to 5m"
    );
}

#[test]
fn unknown_setting_is_answered_with_those_there_are() {
    assert_eq!(
        Db::new().refused(set("lock", "1h")),
        "NotFound: setting 'lock': no such thing; there are: description, auth, invitation-lifetime, \
         host-certificate-lifetime, user-certificate-lifetime, lock-lifetime, suspect-after, \
         dead-after, isolated-after, fail-back, fail-back-after, fail-back-window"
    );
}

#[test]
fn longest_description_leaves_a_state_that_can_be_read_back() {
    let mut db = Db::new();
    let longest = "ä".repeat(512);
    db.done(set("description", &longest));
    assert_eq!(db.state.cell().unwrap().description, longest);
    let told = db.events().pop().unwrap();
    assert!(told.starts_with("alice set description = ää"), "{told}");
}
