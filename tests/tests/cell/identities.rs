//! Tokens and logins that are no good, people out of a machine's files, and a machine that speaks for its people.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use baton_rpc::fldb::{Freshness, Query};
use baton_security::auth::host_trust::HostTrustInitiator;
use baton_security::auth::{Initiator, UnixIds};
use baton_tests::cell::{As, Cell, Talk};
use baton_tests::load::creation;
use baton_types::record::{Record, Table};
use baton_types::{Kind, Result as Answer};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_is_good_once_and_for_its_own_cell() -> Result<()> {
    let cell = Cell::builder().flservers(1).start().await?;
    let token = cell.invite(&["--user", "alice"])?;
    cell.seat("desk", "alice")
        .baton(&["login", "--invite", &token])?
        .done()?;
    // Somebody else with the same token, and the same person again.
    let used = ["it is used up: a token is good for one key", "baton cell invite"];
    cell.seat("desk", "mallory")
        .baton(&["login", "--invite", &token])?
        .refused(1, &used)?;
    let again = cell.invite(&["--user", "alice"])?;
    cell.seat("desk", "alice")
        .baton(&["login", "--invite", &again])?
        .refused(1, &["there is a certificate already"])?;

    // One letter changed, and a word that is no token.
    let other = if token.ends_with('a') { 'b' } else { 'a' };
    let changed: String = token.chars().take(token.chars().count() - 1).chain([other]).collect();
    let mallory = cell.seat("desk", "mallory");
    mallory
        .baton(&["login", "--invite", &changed])?
        .refused(1, &["invitation", "copied wrongly"])?;
    mallory
        .baton(&["login", "--invite", "please"])?
        .refused(1, &["invitation"])?;

    // Another cell of the same name at the same addresses would have another key: the token pins it.
    let stranger = Cell::builder().flservers(1).start().await?;
    let token = stranger.invite(&["--user", "alice"])?;
    stranger.down()?;
    mallory
        .baton(&["login", "--invite", &token])?
        .refused(5, &["nobody answers"])?;
    cell.seat("desk", "alice").baton(&["whoami"])?.done()?;
    cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machine_speaks_for_its_people_only_where_it_is_marked() -> Result<()> {
    let cell = Cell::builder().flservers(1).servers(1).aggregates(1).start().await?;
    cell.add_user("alice", &["fileset-admin"])?;

    let error = assert(&cell, As::Machine("fs1"), "alice")
        .await
        .expect_err("not on offer in this cell");
    ensure!(
        error.on.contains("host-trust") && error.to_string().contains("it offers cert"),
        "{error}"
    );
    cell.fts(&["cell", "set", "auth", "cert,host-trust"])?.done()?;

    let unmarked = "hosts/fs1 is not marked";
    let error = cell
        .wait("host-trust is on offer", async || {
            let error = assert(&cell, As::Machine("fs1"), "alice")
                .await
                .expect_err("not marked");
            (!error.to_string().contains("it offers cert")).then_some(error)
        })
        .await?;
    ensure!(error.kind == Kind::Denied, "{unmarked}: {error:?}");
    cell.baton(&["cell", "principal", "hosts/fs1", "--may-assert-users", "on"])?
        .done()?;

    let alice = assert(&cell, As::Machine("fs1"), "alice").await?;
    let found = alice.lookup("nothing").await.expect_err("there is no such fileset");
    ensure!(found.kind == Kind::NotFound, "{found}");
    // Alice may by her certificate, and not by a machine's word; nor may the administrator.
    for person in ["alice", "admin"] {
        let talk = assert(&cell, As::Machine("fs1"), person).await?;
        let error = talk
            .change(creation("by.word"))
            .await
            .expect_err("no administration by a machine's word");
        ensure!(
            error.kind == Kind::Denied && error.reason == "a login by host-trust does not administrate",
            "{error:?}"
        );
    }
    cell.seat("desk", "alice")
        .fts(&["create", "by.certificate", "fs1", "lfs01"])?
        .done()?;

    // Without a machine's certificate there is no word to be taken, and root needs a mark of its own.
    let error = assert(&cell, As::Nobody, "alice").await.expect_err("no machine");
    ensure!(error.kind == Kind::Denied, "{error:?}");
    let talk = cell.talk("fl1", As::Machine("fs1")).await?;
    let root: Arc<dyn Initiator> = Arc::new(HostTrustInitiator::new("root".parse()?, ids(0)));
    let error = talk.connection.login(&root).await.expect_err("root is not marked");
    ensure!(error.kind == Kind::Denied, "{error:?}");
    cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_and_groups_come_from_the_files_of_a_machine() -> Result<()> {
    let cell = Cell::builder().flservers(1).start().await?;
    let directory = cell.places().directory().to_path_buf();
    let (passwd, group) = (directory.join("passwd"), directory.join("group"));
    let file = |path: &Path| path.to_str().expect("its name is text").to_owned();
    let words = ["cell", "import", "-passwd", &file(&passwd), "-group", &file(&group)];
    let import = |more: &[&str]| cell.baton(&[&words[..], more].concat());
    // More than two changes hold, as a name service would write them, and what else is in such files.
    let many: String = (0..600)
        .map(|n| format!("user{n}:x:{}:50:,,,:/home:/bin/sh\n", 5_000 + n))
        .collect();
    let base = "root:x:0:0:root:/root:/bin/sh\nalice:x:4000:50::/:/bin/sh\r\n+::::::\n";
    std::fs::write(&passwd, format!("{base}{many}"))?;
    std::fs::write(&group, "staff:x:50:\ndev:x:2000:alice,user7\noperator:x:37:root")?;

    let would = import(&["-noaction"])?.done()?;
    ensure!(
        would.contains("Would make principal alice: uid 4000, groups dev, staff (primary)\n"),
        "{would}"
    );
    ensure!(would.contains("601 principals and 2 groups to be made"), "{would}");
    cell.baton(&["cell", "principal", "alice"])?.refused(1, &["alice"])?;

    let made = import(&[])?.done()?;
    ensure!(
        made.contains("601 principals and 2 groups made, 0 added to groups, 0 unchanged, 0 conflicts"),
        "{made}"
    );
    ensure!(imports(&cell).await? == 4, "one change of groups, three of people");
    let again = import(&[])?.done()?;
    ensure!(
        again.starts_with("0 principals and 0 groups made, 0 added to groups, 603 unchanged, 0 conflicts"),
        "{again}"
    );
    ensure!(imports(&cell).await? == 4, "nothing was changed");

    // One line more, one that cannot be, and one that would make an administrator.
    std::fs::write(
        &passwd,
        format!("{base}{many}mallory:x:4000:50:::\nbob:x:4001:50:::\ngarbage\n"),
    )?;
    std::fs::write(&group, "staff:x:50:\ndev:x:2000:bob\noperator:x:1037:bob")?;
    let partly = import(&["--json"])?;
    ensure!(partly.code == 3, "{partly}");
    let json: serde_json::Value = serde_json::from_str(&partly.stdout)?;
    let lines: Vec<_> = json["conflicts"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|c| c["line"].as_u64())
        .collect();
    ensure!(lines == [Some(604), Some(606), Some(3)], "{json}");
    ensure!(
        json["principals"][0]["name"] == "bob" && json["principals"][1].is_null(),
        "{json}"
    );

    // Who was imported is invited by name alone, and is who the file said.
    let token = cell.invite(&["--user", "bob"])?;
    cell.seat("desk", "bob").baton(&["login", "--invite", &token])?.done()?;
    let bob = cell.baton(&["cell", "principal", "bob"])?.done()?;
    ensure!(
        bob.contains("uid      4001\n  groups   dev staff\n  primary  staff\n"),
        "{bob}"
    );
    std::fs::write(&passwd, "carol:x:4002:50:::\n")?;
    cell.seat("desk", "bob")
        .baton(&words)?
        .refused(1, &["bob", "not in group cell-admin"])?;
    let groups = cell.baton(&["cell", "groups"])?.done()?;
    ensure!(groups.contains("staff          50    602\n"), "{groups}");
    cell.baton(&["cell", "group", "dev", "--id", "50"])?
        .refused(1, &["id 50", "it is group staff's"])?;
    cell.baton(&["cell", "group", "dev", "--no-id"])?.done()?;
    cell.down()
}

/// How many changes imports were.
async fn imports(cell: &Cell) -> Result<usize> {
    let query = Query::tables(&[Table::Event], Freshness::Linearizable);
    let events = cell.client(As::User("admin"))?.list(&query).await?.records;
    let is_import = |record: &&Record| matches!(record, Record::Event(event) if event.what == "import");
    Ok(events.iter().filter(is_import).count())
}

/// Logs `person` in by the word of `machine`.
async fn assert(cell: &Cell, machine: As<'_>, person: &str) -> Answer<Talk> {
    let talk = cell.talk("fl1", machine).await.expect("the connection itself is good");
    let initiator: Arc<dyn Initiator> = Arc::new(HostTrustInitiator::new(person.parse()?, ids(1_000)));
    let caller = talk.connection.login(&initiator).await?.handle;
    Ok(Talk { caller, ..talk })
}

fn ids(uid: u32) -> UnixIds {
    UnixIds {
        uid,
        gid: uid,
        groups: Vec::new(),
    }
}
