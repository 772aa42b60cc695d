//! Bad input: what would orphan a fileset, come too late, take what is another's, or leave nobody in charge. Each is refused
//! whole (`Db::step` compares), and says what to do.

use baton_types::change::AddressEdit;

use super::*;

/// fs1 owns agg1 under epoch 2, and has home there; it owned it under epoch 1 before. agg2 is attached to fs1 alone.
fn cell() -> Db {
    let mut db = Db::with_servers();
    let fs1 = host("fs1", 1);
    db.by(&fs1, report(1, 2, "agg2")).unwrap();
    for epoch in 0..2 {
        db.by(&fs1, claim(1, 1, 1, Epoch(epoch))).unwrap();
    }
    db.done(create("home", "fs1", "agg1"));
    db.by(&fs1, report_fileset((1, 1, Epoch(2)), 1, true)).unwrap();
    db
}

fn address_edit(at: &str, edit: AddressEdit) -> Change {
    Change::EditServerEntry {
        address: of(at),
        addresses: Some(edit),
        principal: None,
        quota: None,
        owner: None,
    }
}

fn book(id: u64, name: &str, aggregate: &str) -> Change {
    Change::BookFileset {
        fileset: FilesetId(id),
        name: of(name),
        server: of("fs1"),
        aggregate: on(aggregate),
        quota_bytes: 0,
        quota_files: 0,
    }
}

fn detach(number: u128, epoch: u64) -> Change {
    Change::Detach {
        aggregate: aggregate_id(1),
        server: server_id(number),
        epoch: Epoch(epoch),
    }
}

fn give_up(epoch: u64) -> Change {
    Change::GiveUp {
        aggregate: aggregate_id(1),
        server: server_id(1),
        epoch: Epoch(epoch),
        why: "its port is dead".to_owned(),
    }
}

fn fail(epoch: u64) -> Change {
    Change::Fail {
        aggregate: aggregate_id(1),
        server: server_id(2),
        epoch: Epoch(epoch),
        why: "its log cannot be read".to_owned(),
    }
}

fn adopt(epoch: Epoch) -> Change {
    Change::Adopt {
        aggregate: aggregate_id(1),
        server: server_id(2),
        incarnation: run(2),
        epoch,
    }
}

#[test]
fn edit_that_would_orphan_a_fileset_is_refused_with_what_to_do() {
    let mut db = cell();
    db.done(create("other", "fs1", "agg2"));
    for (change, refusal) in [
        (
            Change::DeleteServerEntry { address: of("fs1") },
            "Busy: server entry fs1: 2 fileset versions refer to it; move or delete them first; fts lsfldb -server fs1 \
             lists them",
        ),
        (
            address_edit("fs1", AddressEdit::Remove),
            "Invalid: server entry fs1: this is its last address, and nothing else finds it; give it another instead: fts \
             edserverentry fs1 -changeaddr OTHER; or take the entry away: fts delserverentry fs1",
        ),
        (
            address_edit("fs1", AddressEdit::ChangeTo(of("fs2"))),
            "Exists: address fs2: it belongs to server entry fs2 (hosts/fs2); give that entry another address first: fts \
             edserverentry ADDRESS -changeaddr OTHER",
        ),
        (
            delete("home", "fs1", "agg1"),
            "Busy: fileset home: a server has made it, and must delete its files first; fts delete home fs1 agg1 does both; \
             if its disk is lost: fts delfldbentry -fileset home",
        ),
        (
            delete("home", "fs1", "agg2"),
            "NotFound: fileset home: its RW version is not on aggregate agg2 of fs1; fts lsfldb -fileset home says where it \
             is",
        ),
        (
            book(1, "home", "agg2"),
            "Busy: fileset home: its entry says that it is on aggregate agg1; if it is not: fts syncfldb of the server that \
             has aggregate agg1, then this again",
        ),
        (
            book(9, "home", "agg1"),
            "Exists: fileset home: it is fileset 0,,1; fts rename home OTHER gives that one another name; then do this again",
        ),
        (
            create("new", "fs2", "agg2"),
            "Invalid: aggregate agg2: fs2 is not attached to it; attached are: fs1",
        ),
    ] {
        assert_eq!(db.refused(change), refusal);
    }
    assert_eq!((db.fileset("home").sites.len(), db.entry("fs1").uses), (1, 2));
}

#[test]
fn word_under_a_stale_epoch_is_refused_with_who_knows_better() {
    let mut db = cell();
    let way_out = "who owns it, and since when: fts history -aggregate agg1";
    let stale = format!("WrongEpoch: aggregate agg1: it is under epoch 2 now; {way_out}");
    let (fs1, fs2) = (host("fs1", 1), host("fs2", 2));
    for (who, change) in [
        (&fs1, detach(1, 1)),
        (&fs1, detach(1, 3)),
        (&fs2, detach(2, 2)),
        (&fs1, give_up(1)),
        (&fs1, report_fileset((1, 1, Epoch(1)), 1, false)),
    ] {
        assert_eq!(db.refused_by(who, change), stale);
    }
    assert_eq!(
        db.refused_by(&fs2, fail(2)),
        format!("WrongEpoch: aggregate agg1: fs2 did not own it under epoch 2; {way_out}")
    );
    assert_eq!(
        db.refused_by(&fs2, adopt(Epoch(7))),
        "WrongEpoch: aggregate agg1: epoch 7 is of no later era than 2, under which it was granted; to whom, and when: fts \
         history -aggregate agg1"
    );
    assert_eq!(db.owner("agg1"), (Some(of("fs1")), Epoch(2)));
}

#[test]
fn claim_of_what_is_not_ones_own_is_refused_with_what_to_do() {
    let mut db = cell();
    let (fs1, fs2) = (host("fs1", 1), host("fs2", 2));
    for (who, change, refusal) in [
        (
            &fs2,
            claim(2, 2, 2, Epoch::NONE),
            "Denied: aggregate agg2: fs2 has not reported its label; let fs2 see the disk: 'devices' in its baton.toml says \
             where it looks",
        ),
        (
            &fs2,
            claim(2, 1, 2, Epoch::NONE),
            "Busy: aggregate agg1: exported by fs1 under epoch 2; planned: fts failover -aggregate agg1 -to fs2 (or on fs1: \
             dfsexport -aggregate agg1 -detach); if fs1 must be stopped: add -takeover, it is fenced by the next epoch",
        ),
        (
            &fs2,
            claim(1, 1, 1, Epoch::NONE),
            "Denied: hosts/fs2: only server 00000000-0000-0000-0000-000000000001 itself says this, under its own certificate",
        ),
        (
            &fs1,
            claim(1, 1, 9, Epoch::NONE),
            "Stale: aggregate agg1: fs1 runs again since: register first",
        ),
    ] {
        assert_eq!(db.refused_by(who, change), refusal);
    }
}

#[test]
fn last_administrator_and_last_member_stay_and_the_way_out_works() {
    let mut db = cell();
    let last =
        "Invalid: group cell-admin: this would remove its last member; make somebody else an administrator first";
    assert_eq!(db.refused(edit_person("alice", Some(&["fldb-admin"]), None)), last);
    assert_eq!(db.refused(edit_person("alice", None, Some(true))), last);
    let remove = || Change::RemoveMember { name: of("fl1") };
    assert_eq!(
        db.refused(remove()),
        "Invalid: member fl1: it is the last one, and the cell would be gone; let another one join first: baton cell invite \
         HOST --member"
    );
    db.done(invite(1, InvitationKind::Member, "hosts/fl2"));
    db.by(&Who::Nobody, join(1, 1, &["fl2"])).unwrap();
    assert_eq!(
        db.refused(remove()),
        "Invalid: member fl1: it alone holds the authority's key; copy ca.key into another member's pki directory and \
         restart that member first"
    );
    let announce = Change::AnnounceMember {
        name: of("fl2"),
        addresses: names(&["fl2"]),
        issuer: true,
    };
    db.by(&host("fl2", 12), announce).unwrap();
    db.done(remove());
    db.done(new_person("bob", None, &["cell-admin"]));
    db.done(edit_person("alice", None, Some(true)));
}
