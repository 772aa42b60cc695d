//! What no client of ours would say to a file server, said while others work with it: refused with a word about it in
//! its log, and nobody else notices.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use baton_proto::files::{decode_answer, encode_call, op_of};
use baton_rpc::Owner;
use baton_rpc::config::PORT_FILES;
use baton_rpc::fldb::{Freshness, Query};
use baton_rpc::session::frame::{Frame, Name};
use baton_rpc::wire::{Dial, Files, Wire as Line};
use baton_security::{ClientTls, Wire};
use baton_tests::cell::{As, Builder, Cell, Trust};
use baton_tests::suites::Stage;
use baton_types::call::{Answer, Coming, Request, Role};
use baton_types::file::Place;
use baton_types::record::{Aggregate, Fileset, Record, Table};
use baton_types::{Address, ClientId, EntryName, Fid, FileName, FilesetId, FrameKind, Kind, Vnode};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// Reads that are asked for and never taken: far more than a server would keep answers to.
const UNREAD: usize = 4_000;
const READ_BYTES: u32 = 1 << 20;
/// What a server may keep for one who does not read, and all else that it needs meanwhile.
const KEPT_BYTES_MAX: u64 = 256 << 20;

/// Where the stage's fileset is served, and under which number.
struct Served {
    owner: Owner,
    fileset: Fileset,
}

async fn served(cell: &Cell) -> Result<Served> {
    let query = Query::tables(&[Table::Aggregate, Table::Fileset], Freshness::Linearizable);
    let records = cell.client(As::Nobody)?.list(&query).await?.records;
    let (mut aggregate, mut fileset): (Option<Aggregate>, Option<Fileset>) = (None, None);
    for record in records {
        match record {
            Record::Aggregate(found) => aggregate = Some(found),
            Record::Fileset(found) if found.name.as_str() == "stage" => fileset = Some(found),
            _ => {}
        }
    }
    let aggregate = aggregate.context("an aggregate")?;
    let address = cell.machine("fs1")?.address;
    Ok(Served {
        owner: Owner {
            aggregate: aggregate.id,
            epoch: aggregate.epoch,
            server: EntryName::parse("fs1")?,
            addresses: vec![Address::parse(&format!("{address}:{PORT_FILES}"))?],
        },
        fileset: fileset.context("the stage's fileset")?,
    })
}

/// A client that is no machine of the cell, and may say anything.
struct Stranger {
    wire: Box<dyn Line>,
    session: u64,
}

impl Stranger {
    fn dial(tls: &ClientTls, owner: &Owner) -> Result<Stranger> {
        let tls = tls.clone();
        let files = Files {
            client: ClientId::random(),
            tls: Arc::new(move || tls.clone()),
            source: None,
            pool: Arc::default(),
        };
        let wire = files.dial(owner, Role::Call)?;
        Ok(Stranger { wire, session: 0 })
    }

    fn send(&mut self, request: &Request) -> Result<()> {
        let name = Name {
            session: self.session,
            op: op_of(request),
            stream: 9,
            ..Name::default()
        };
        let frame = Frame::new(name, FrameKind::Call, encode_call(request, 0), Bytes::new())?;
        Ok(self.wire.send(&[frame])?)
    }

    fn ask(&mut self, request: &Request) -> Result<baton_types::Result<Answer>> {
        self.send(request)?;
        let frame = self.wire.recv(PATIENCE)?.context("an answer in time")?;
        Ok(decode_answer(&frame.meta, request))
    }

    fn bind(&mut self, owner: &Owner) -> Result<()> {
        let (aggregate, epoch) = (owner.aggregate, owner.epoch);
        match self.ask(&Request::Bind {
            aggregate,
            epoch,
            round: 1,
        })? {
            Ok(Answer::Bound { session, .. }) => self.session = session,
            other => bail!("bound: {other:?}"),
        }
        Ok(())
    }
}

/// A file is made and read by both mounts.
fn works(stage: &Stage, name: &str) -> Result<()> {
    fs::write(stage.first().join(name), name)?;
    ensure!(fs::read(stage.last().join(name))? == name.as_bytes());
    Ok(())
}

/// Memory that a process has now.
fn resident(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes: u64 = line.context("a size")?.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes << 10)
}

/// The file server itself: it may have a guard.
fn server(stage: &Stage) -> Result<u32> {
    let pid = stage.cell.process("fs1").context("it runs")?.pid();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    match children.split_whitespace().next() {
        Some(child) => Ok(child.parse()?),
        None => Ok(pid),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_server_serves_on_whatever_strangers_say() -> Result<()> {
    let stage = Stage::set(Builder::default(), 2, Trust::UsersAndRoot).await?;
    works(&stage, "before")?;
    let pid = server(&stage)?;
    let served = served(&stage.cell).await?;
    let anchor = stage.cell.file()?.anchor()?;
    let tls = ClientTls::anonymous(&anchor, Wire::Files, &Cell::clock())?;

    no_frames(&stage, &tls).await?;
    works(&stage, "after garbage")?;
    let stage = tokio::task::spawn_blocking(move || -> Result<Stage> {
        forgeries(&served, &tls)?;
        works(&stage, "after forgeries")?;
        nothing_is_taken(&served, &tls, &stage, pid)?;
        Ok(stage)
    })
    .await??;
    works(&stage, "at last")?;
    ensure!(server(&stage)? == pid, "it is the same process");
    stage.cell.down()
}

/// No TLS; TLS and then no frames; the head of a frame that never ends; a frame before the first words.
async fn no_frames(stage: &Stage, tls: &ClientTls) -> Result<()> {
    let address = stage.cell.machine("fs1")?.address;
    let to = (address, PORT_FILES);
    let mut plain = TcpStream::connect(to).await?;
    plain.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut heard = Vec::new();
    let _ = plain.read_to_end(&mut heard).await; // a reset is an end like another
    let ends: [&[u8]; 3] = [&[0xff; 4096], &[0; 64], b"\0\0\0\0\0\0\0\0"];
    for bytes in ends {
        let mut line = tls.connect_any(TcpStream::connect(to).await?).await?.stream;
        line.write_all(bytes).await?;
        line.flush().await?;
        let mut heard = Vec::new();
        let closed = tokio::time::timeout(PATIENCE, line.read_to_end(&mut heard)).await;
        ensure!(closed.is_ok(), "{} bytes of nonsense keep a connection", bytes.len());
    }
    Ok(())
}

/// Another's session, files that are not there, a fileset that is nowhere.
fn forgeries(served: &Served, tls: &ClientTls) -> Result<()> {
    let mut stranger = Stranger::dial(tls, &served.owner)?;
    stranger.session = 1;
    let refused = stranger.ask(&Request::Renew)?;
    ensure!(refused.is_err(), "a session that is not its own: {refused:?}");
    stranger.session = 0;
    stranger.bind(&served.owner)?;
    let fileset = served.fileset.id;
    for (vnode, unique) in [(1, 12), (2, 77), (u64::from(u32::MAX), u64::MAX)] {
        let vnode = Vnode::new(vnode)?;
        let fid = Fid { fileset, vnode, unique };
        let refused = stranger.ask(&Request::Getattr { fid })?;
        ensure!(refused.is_err(), "{fid}: {refused:?}");
        let refused = stranger.ask(&Request::Read { fid, offset: 0, len: 1 })?;
        ensure!(refused.is_err(), "{fid}: {refused:?}");
    }
    let fileset = FilesetId(u64::MAX);
    let refused = stranger.ask(&Request::Statfs { fileset })?;
    let kind = refused.err().map(|error| error.kind);
    ensure!(matches!(kind, Some(Kind::NotFound | Kind::Moved)), "{kind:?}");
    Ok(())
}

/// It asks for much, and takes none of the answers.
fn nothing_is_taken(served: &Served, tls: &ClientTls, stage: &Stage, pid: u32) -> Result<()> {
    let bytes = vec![7; READ_BYTES as usize];
    fs::write(stage.first().join("long"), &bytes)?;
    let mut stranger = Stranger::dial(tls, &served.owner)?;
    stranger.bind(&served.owner)?;
    let (fileset, coming) = (served.fileset.id, Coming::Fresh);
    let joined = stranger.ask(&Request::Join { fileset, coming })?;
    let Ok(Answer::Joined { root, .. }) = joined else {
        bail!("joined: {joined:?}");
    };
    let name = FileName::parse(b"long")?;
    let place = Place {
        directory: root.fid,
        name,
    };
    let found = stranger.ask(&Request::Lookup { place })?;
    let Ok(Answer::Object(long)) = found else {
        bail!("found: {found:?}");
    };
    let (fid, offset, len) = (long.fid, 0, READ_BYTES);
    let read = stranger.ask(&Request::Read { fid, offset, len })?;
    ensure!(read.is_ok(), "{read:?}");
    let before = resident(pid)?;
    for _ in 0..UNREAD {
        if stranger.send(&Request::Read { fid, offset, len }).is_err() {
            break; // cut off, which is right, too
        }
    }
    works(stage, "while nothing is taken")?;
    let kept = resident(pid)?.saturating_sub(before);
    ensure!(kept <= KEPT_BYTES_MAX, "{kept} bytes more than before");
    Ok(())
}
