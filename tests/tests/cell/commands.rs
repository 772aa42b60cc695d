//! Words that make no sense, typed at the commands and, past them, sent to a member.

use anyhow::{Result, ensure};
use baton_proto::{from_status, v1};
use baton_tests::cell::{As, Cell, Talk};
use baton_types::change::ChangeSession;
use baton_types::{Error, Kind};
use v1::change::Change as Wire;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_say_what_is_wrong_and_change_nothing() -> Result<()> {
    let cell = Cell::builder().flservers(1).servers(1).aggregates(1).start().await?;
    cell.fts(&["create", "user.ito", "fs1", "lfs01"])?.done()?;
    let before = cell.fts(&["lsfldb"])?.done()?;

    let refused = |code: i32, line: &str, words: &[&str]| -> Result<()> {
        let typed: Vec<&str> = line.split(' ').collect();
        cell.fts(&typed)?.refused(code, words).map(drop)
    };
    refused(
        1,
        "lsfldb -cell nowhere.example",
        &[
            "cell nowhere.example",
            "this machine knows cell.example",
            "baton join TOKEN",
        ],
    )?;
    let long = "x".repeat(103);
    refused(2, &format!("create {long} fs1 lfs01"), &["103 bytes, 102 at most"])?;
    refused(2, "create user/ito fs1 lfs01", &["user/ito"])?;
    refused(2, "create user.backup fs1 lfs01", &["user.backup"])?;
    refused(
        2,
        "crserverentry bad/host hosts/fs1",
        &["not a host name or IP address"],
    )?;
    refused(2, "frobnicate", &["frobnicate"])?;

    refused(
        1,
        "create user.ito fs1 lfs01",
        &["fileset user.ito", "it is fileset 0,,"],
    )?;
    refused(1, "create user.abe fs9 lfs01", &["fs9"])?;
    refused(1, "create user.abe fs1 lfs99", &["aggregate lfs99"])?;
    refused(1, "delete 0,,999999 fs1 lfs01", &["fileset 0,,999999"])?;
    refused(1, "rename nothing something", &["fileset nothing"])?;
    refused(1, "lock nothing", &["fileset nothing"])?;
    refused(1, "unlock user.ito", &["fileset user.ito", "not locked"])?;
    refused(1, "lsserverentry fs9", &["fs9"])?;
    refused(
        1,
        "crserverentry fs8 hosts/fs8",
        &["principal hosts/fs8", "the registry does not know it"],
    )?;
    refused(
        1,
        "cell set colour blue",
        &["setting 'colour'", "there are: description"],
    )?;
    refused(1, "cell set lock-lifetime 1s", &["outside"])?;

    let entry = ["crserverentry", "fs7", "hosts/fs1"];
    cell.fts(&entry)?.done()?;
    cell.fts(&entry)?
        .refused(1, &["address fs7", "it belongs to server entry fs7"])?;
    cell.fts(&["delserverentry", "fs7"])?.done()?;
    ensure!(
        cell.fts(&["lsfldb"])?.done()? == before,
        "a refused command changed something"
    );
    cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_judge_for_themselves_what_they_are_sent() -> Result<()> {
    let cell = Cell::builder().flservers(1).servers(1).aggregates(1).start().await?;
    let talk = cell.talk("fl1", As::User("admin")).await?;
    let create = |name: &[u8]| {
        Wire::CreateFileset(v1::CreateFileset {
            name: name.to_vec(),
            server: b"fs1".to_vec(),
            aggregate: b"lfs01".to_vec(),
            quota_bytes: 0,
        })
    };
    for (name, kind) in [
        (&b""[..], Kind::Invalid),
        (b"user/ito", Kind::Invalid),
        (b"user ito", Kind::Invalid),
        (b"user\nito", Kind::Invalid),
        (b"user\0ito", Kind::Invalid),
        (b"\xc6\xfc\xcb\xdc", Kind::Invalid),
        (b"12.34", Kind::Invalid),
        (b"user.readonly", Kind::Invalid),
        (&[b'x'; 103], Kind::NameTooLong),
    ] {
        let error = change(&talk, Some(create(name))).await.expect_err("no name");
        ensure!(error.kind == kind, "{}: {error}", name.escape_ascii());
    }
    let error = change(&talk, None).await.expect_err("no change");
    ensure!(error.reason == "no change in it", "{error}");
    let ids = Wire::LockFileset(v1::LockFileset {
        fileset: b"0,,0".to_vec(),
    });
    let error = change(&talk, Some(ids)).await.expect_err("no fileset has it");
    ensure!(
        error.kind == Kind::Invalid && error.reason == "no fileset has the id 0",
        "{error}"
    );
    let own_call = Wire::UseInvitation(v1::UseInvitation {
        secret_hash: vec![0; 32],
        public_key_hash: vec![0; 32],
        addresses: Vec::new(),
    });
    let error = change(&talk, Some(own_call)).await.expect_err("not by this call");
    ensure!(error.reason == "nobody asks for this change by this call", "{error}");

    // A session must be one, and its changes count up.
    for (session, sequence, kind) in [(vec![0; 15], 1, Kind::Invalid), (vec![0; 16], 0, Kind::SessionLost)] {
        let error = change_in(&talk, session, sequence, Some(create(b"user.ito")))
            .await
            .expect_err("no session");
        ensure!(error.kind == kind, "{error}");
    }
    let unknown = talk.lookup("user.ito").await.expect_err("nothing of all this was done");
    ensure!(unknown.kind == Kind::NotFound, "{unknown}");
    let session = ChangeSession(rand::random()).0.to_vec();
    let first = change_in(&talk, session.clone(), 1, Some(create(b"user.ito"))).await?;
    let again = change_in(&talk, session.clone(), 1, Some(create(b"user.ito"))).await?;
    ensure!(first == again, "sent twice, it is answered twice and done once");
    change_in(&talk, session.clone(), 2, Some(create(b"user.abe"))).await?;
    let late = change_in(&talk, session, 1, Some(create(b"user.ito")))
        .await
        .expect_err("its answer is forgotten");
    ensure!(late.kind == Kind::SessionLost, "{late}");
    cell.down()
}

async fn change(talk: &Talk, change: Option<Wire>) -> Result<v1::ChangeReply, Error> {
    change_in(talk, ChangeSession(rand::random()).0.to_vec(), 1, change).await
}

async fn change_in(
    talk: &Talk,
    session: Vec<u8>,
    sequence: u32,
    change: Option<Wire>,
) -> Result<v1::ChangeReply, Error> {
    let request = v1::ChangeRequest {
        caller: talk.caller,
        session,
        sequence,
        born: talk.connection.applied(),
        change: Some(v1::Change { change }),
    };
    let request = match request.change {
        Some(v1::Change { change: None }) => v1::ChangeRequest {
            change: None,
            ..request
        },
        Some(_) | None => request,
    };
    let reply = talk.connection.fldb().change(request).await;
    reply
        .map(tonic::Response::into_inner)
        .map_err(|status| from_status(&status))
}
