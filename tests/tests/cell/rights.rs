//! Callers without the right to what they ask for, and rights that nobody may lose.

use anyhow::{Context, Result, ensure};
use baton_rpc::fldb::{Freshness, Query};
use baton_tests::cell::{As, Cell, Talk};
use baton_tests::load::creation;
use baton_types::change::{Change, Takeover};
use baton_types::record::{Aggregate, Record, Server, Table};
use baton_types::{AggregateId, EntryName, Epoch, Incarnation, Kind, ServerId};

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
async fn owners_of_entries_administrate_their_servers_and_no_others() -> Result<()> {
    let cell = Cell::builder().flservers(1).servers(2).aggregates(1).start().await?;
    cell.add_user("alice", &["east"])?;
    cell.add_user("carol", &["east", "west"])?;
    cell.add_user("dave", &["operator"])?;
    let alice = cell.seat("desk", "alice");
    let carol = cell.seat("desk", "carol");
    let [fs1, fs2] = ["fs1", "fs2"].map(|name| address(&cell, name));
    let (fs1, fs2) = (fs1?, fs2?);
    cell.fts(&["edserverentry", &fs1, "-owner", "east"])?.done()?;
    carol
        .fts(&["create", "home", "fs1", "lfs01"])?
        .refused(1, &["carol", "not in group fileset-admin or fldb-admin;"])?;
    cell.fts(&["edserverentry", &fs2, "-owner", "west"])?.done()?;

    // Both servers see the disk, so it is for who owns both.
    let both = ["alice", "nor in all of east and west"];
    alice.fts(&["create", "home", "fs1", "lfs01"])?.refused(1, &both)?;
    alice
        .fts(&["delete", "root.cell", "fs1", "lfs01"])?
        .refused(1, &["alice", "not in group"])?;
    alice
        .fts(&["failover", "-aggregate", "lfs01", "-to", "fs2"])?
        .refused(1, &both)?;
    alice
        .fts(&["drain", "-server", "fs2"])?
        .refused(1, &["fldb-admin or operator or west"])?;
    cell.wait("fs1 has heard who its owners are", async || {
        let said = carol.fts(&["create", "home", "fs1", "lfs01"]).ok()?;
        (said.code == 0).then_some(())
    })
    .await?;
    carol.fts(&["setquota", "-fileset", "home", "-size", "1GiB"])?.done()?;
    carol.fts(&["rename", "home", "house"])?.done()?;
    carol.fts(&["clone", "house"])?.done()?;
    carol.fts(&["syncfldb", "fs1"])?.done()?;
    carol.fts(&["syncserv", "fs1"])?.done()?;
    carol
        .fts(&["hold", "-aggregate", "lfs01", "-why", "looked at"])?
        .done()?;
    carol.fts(&["unhold", "-aggregate", "lfs01"])?.done()?;
    carol.fts(&["failover", "-aggregate", "lfs01", "-to", "fs2"])?.done()?;
    cell.wait("fs2 has heard who its owners are", async || {
        let said = carol.fts(&["delete", "house", "fs1", "lfs01"]).ok()?;
        (said.code == 0).then_some(())
    })
    .await?;

    // Addresses are theirs; a quota, another owner and the rest of the cell are not.
    carol.fts(&["edserverentry", &fs1, "-addaddr", "fs1.spare"])?.done()?;
    let fldb = ["carol", "not in group fldb-admin;"];
    carol.fts(&["edserverentry", &fs1, "-quota", "9"])?.refused(1, &fldb)?;
    carol
        .fts(&["edserverentry", &fs1, "-owner", "west"])?
        .refused(1, &fldb)?;
    carol.fts(&["crserverentry", "fs9", "hosts/fs1"])?.refused(1, &fldb)?;
    carol
        .fts(&["cell", "set", "description", "Carol's"])?
        .refused(1, &["not in group cell-admin"])?;

    // Who is called at night moves aggregates, and makes nothing.
    let dave = cell.seat("desk", "dave");
    dave.fts(&["failover", "-aggregate", "lfs01", "-to", "fs1"])?.done()?;
    dave.fts(&["create", "mine", "fs1", "lfs01"])?
        .refused(1, &["dave", "not in group"])?;
    cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_refused_with_what_to_do() -> Result<()> {
    let cell = Cell::builder().flservers(1).servers(2).aggregates(1).start().await?;
    cell.fts(&["create", "home", "fs1", "lfs01"])?.done()?;

    // An edit that would orphan a fileset.
    let at = address(&cell, "fs1")?;
    let list = format!("fts lsfldb -server {at} lists them");
    cell.fts(&["delserverentry", &at])?
        .refused(1, &["2 fileset versions refer to it", &list])?;
    let change = format!("fts edserverentry {at} -changeaddr OTHER");
    cell.fts(&["edserverentry", &at, "-rmaddr"])?
        .refused(1, &["this is its last address", &change])?;
    cell.fts(&["delete", "home", "fs2", "lfs01"])?
        .refused(1, &["home", "fts lsfldb -fileset home"])?;
    cell.fts(&["delfldbentry", "-fileset", "home"])?.refused(4, &["-yes"])?;

    // Words of a server that come too late, or are about what is not its own.
    let row = aggregate(&cell).await?;
    let (fs1, fs2) = (server(&cell, "fs1").await?, server(&cell, "fs2").await?);
    let talk = cell.talk("fl1", As::Machine("fs1")).await?;
    let detach = |epoch| Change::Detach {
        aggregate: row.id,
        server: fs1.id,
        epoch,
    };
    let error = talk
        .change(detach(Epoch::NONE))
        .await
        .expect_err("it is under another epoch");
    ensure!(
        error.kind == Kind::WrongEpoch && error.to_string().contains("fts history -aggregate lfs01"),
        "{error}"
    );
    let disk = AggregateId::random();
    let seen = Change::ReportAggregate {
        server: fs1.id,
        id: disk,
        name: "lfs99".parse()?,
    };
    talk.change(seen).await?;
    let claim = Change::Claim {
        aggregate: disk,
        server: fs2.id,
        incarnation: fs2.incarnation.expect("it runs"),
        disk_epoch: Epoch::NONE,
        takeover: Takeover::Forced,
    };
    let other = cell.talk("fl1", As::Machine("fs2")).await?;
    let error = other.change(claim).await.expect_err("it does not see that disk");
    ensure!(
        error.kind == Kind::Denied
            && error
                .to_string()
                .contains("let fs2 see the disk: 'devices' in its baton.toml"),
        "{error}"
    );

    // All is as it was, and the ways out lead there.
    ensure!(aggregate(&cell).await? == row, "the aggregate stays where it is");
    cell.fts(&["edserverentry", &at, "-addaddr", "fs1.spare"])?.done()?;
    cell.fts(&["edserverentry", "fs1.spare", "-rmaddr"])?.done()?;
    cell.fts(&["delete", "home", "fs1", "lfs01"])?.done()?;
    cell.down()
}

/// By which the entry of a server is found.
fn address(cell: &Cell, server: &str) -> Result<String> {
    Ok(cell.machine(server)?.address.to_string())
}

/// The record of the aggregate that the servers share.
async fn aggregate(cell: &Cell) -> Result<Aggregate> {
    let query = Query::tables(&[Table::Aggregate], Freshness::Linearizable);
    let records = cell.client(As::User("admin"))?.list(&query).await?.records;
    let found = records.into_iter().find_map(|record| match record {
        Record::Aggregate(aggregate) if aggregate.name.as_str() == "lfs01" => Some(aggregate),
        _ => None,
    });
    found.context("the aggregate is not known")
}

async fn server(cell: &Cell, name: &str) -> Result<Server> {
    let query = Query::tables(&[Table::Server], Freshness::Linearizable);
    let records = cell.client(As::User("admin"))?.list(&query).await?.records;
    let found = records.into_iter().find_map(|record| match record {
        Record::Server(server) if server.name.as_str() == name => Some(server),
        _ => None,
    });
    found.context("the server is not known")
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
    let last = [
        "member fl1",
        "it is the last one, and the cell would be gone",
        "baton cell invite HOST --member",
    ];
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
