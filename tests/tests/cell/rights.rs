//! Callers without the right to what they ask for, and rights that nobody may lose.

use anyhow::{Result, ensure};
use baton_rpc::fldb::{Freshness, Query};
use baton_tests::cell::{As, Cell, Talk};
use baton_tests::load::creation;
use baton_types::change::Change;
use baton_types::record::Table;
use baton_types::{EntryName, Incarnation, Kind, ServerId};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_come_from_groups_and_are_taken_away_at_once() -> Result<()> {
    let cell = Cell::builder().flservers(1).servers(1).aggregates(1).start().await?;
    cell.add_user("alice", &[])?;
    cell.add_user("bob", &["fileset-admin"])?;
    let alice = cell.seat("desk", "alice");
    let bob = cell.seat("desk", "bob");

    alice
        .fts(&["create", "of.alice", "fs1", "lfs01"])?
        .refused(1, &["alice", "not in group fileset-admin or fldb-admin"])?;
    bob.fts(&["create", "of.bob", "fs1", "lfs01"])?.done()?;
    bob.fts(&["crserverentry", "fs9", "hosts/fs1"])?
        .refused(1, &["bob", "not in group fldb-admin"])?;
    bob.fts(&["cell", "set", "description", "Bob's"])?
        .refused(1, &["bob", "not in group cell-admin"])?;
    bob.baton(&["cell", "invite", "fs9"])?
        .refused(1, &["not in group cell-admin"])?;

    // Nobody may look, and change nothing.
    let listed = alice.fts(&["lsfldb", "of.bob", "-noauth"])?.done()?;
    ensure!(listed.contains("of.bob"), "{listed}");
    bob.fts(&["create", "of.nobody", "fs1", "lfs01", "-noauth"])?
        .refused(1, &["not logged in", "baton login"])?;

    // The file server's machine is somebody, and no administrator; its files are root's.
    let machine = cell.seat("fs1", "nobody.here");
    machine
        .fts(&["delete", "of.bob", "fs1", "lfs01", "-localauth"])?
        .refused(1, &["hosts/fs1", "not in group"])?;
    machine
        .fts(&["create", "x", "fs1", "lfs01"])?
        .refused(1, &["baton login"])?;

    cell.baton(&["cell", "principal", "bob", "--groups"])?.done()?;
    bob.fts(&["lock", "of.bob"])?.refused(1, &["bob", "not in group"])?;
    cell.baton(&["cell", "principal", "bob", "--disabled", "on"])?.done()?;
    bob.baton(&["whoami"])?.refused(1, &["bob", "disabled"])?;
    cell.fts(&["lock", "of.bob"])?.done()?;
    cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn last_administrator_and_last_member_stay() -> Result<()> {
    let cell = Cell::builder().flservers(1).start().await?;
    let last = [
        "group cell-admin",
        "this would remove its last member",
        "make somebody else an administrator first",
    ];
    cell.baton(&["cell", "principal", "admin", "--groups", "fldb-admin"])?
        .refused(1, &last)?;
    cell.baton(&["cell", "principal", "admin", "--disabled", "on"])?
        .refused(1, &last)?;
    let last = ["member fl1", "it is the last one, and the cell would be gone"];
    cell.baton(&["cell", "remove", "fl1"])?.refused(1, &last)?;
    cell.baton(&["cell", "remove", "fl9"])?
        .refused(1, &["member fl9", "no such thing"])?;
    cell.baton(&["cell", "principal", "admin"])?.done()?;
    cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machines_speak_for_themselves_only() -> Result<()> {
    let cell = Cell::builder().flservers(1).servers(2).start().await?;
    let fs1 = cell.talk("fl1", As::Machine("fs1")).await?;
    let own = |machine: &str| -> Result<Option<ServerId>> {
        Ok(cell
            .host(machine)?
            .with_credential(|credential| credential.names().server))
    };
    let fs2 = own("fs2")?.expect("a server's certificate names it");
    refused(&fs1, registration(fs2, "fs2")?, "only server").await?;
    refused(&fs1, registration(ServerId::random(), "fs1")?, "only server").await?;
    let fs1_id = own("fs1")?.expect("a server's certificate names it");
    refused(
        &fs1,
        registration(fs1_id, "fs2")?,
        "its certificate is of another machine",
    )
    .await?;
    let person = cell.talk("fl1", As::User("admin")).await?;
    refused(&person, registration(fs1_id, "fs1")?, "only server").await?;
    let nobody = cell.talk("fl1", As::Nobody).await?;
    refused(&nobody, creation("of.nobody"), "not logged in").await?;

    // Invitations are secrets in the making: a machine does not see who is expected.
    let query = Query::tables(&[Table::Invitation], Freshness::Local);
    let error = cell
        .client(As::Machine("fs1"))?
        .list(&query)
        .await
        .expect_err("invitations");
    ensure!(
        error.kind == Kind::Denied && error.reason == "they are for administrators of the cell",
        "{error}"
    );
    cell.client(As::User("admin"))?.list(&query).await?;
    cell.down()
}

fn registration(id: ServerId, name: &str) -> Result<Change> {
    Ok(Change::RegisterServer {
        id,
        name: EntryName::parse(name)?,
        addresses: vec![name.parse()?],
        incarnation: Incarnation::random(),
        beats: false,
    })
}

async fn refused(talk: &Talk, change: Change, why: &str) -> Result<()> {
    let error = talk.change(change).await.expect_err("no right to this");
    ensure!(error.kind == Kind::Denied && error.reason.starts_with(why), "{error:?}");
    Ok(())
}
