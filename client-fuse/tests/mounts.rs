//! Mounts and their guard, with real processes and a real kernel: needs root and /dev/fuse.
//!
//! The test's own program, started again, is the daemon: it serves one file that the kernel may keep for ever.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use baton_client_fuse::attach::{self, InUse, Options};
use baton_client_fuse::control::Control;
use baton_client_fuse::guard::{self, Guardian};
use baton_client_fuse::kernel::Kernel;
use baton_client_fuse::mounts::{Begun, Mounts, Plan};
use baton_client_fuse::proof::Proof;
use baton_client_fuse::served::Served;
use baton_proto::v1::client_request::What;
use baton_proto::v1::{self, client_reply};
use baton_rpc::Locator;
use baton_rpc::config::Paths;
use baton_rpc::local::Line;
use baton_rpc::sessions::Who;
use baton_types::file::MountPoint;
use baton_types::{BootClock, CellName, Clock, Error, FileName, FilesetId, Kind, Result, Time};
use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags,
    ReplyAttr, ReplyData, ReplyEntry, ReplyOpen, Request, Session, SessionACL,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

/// Where the daemon mounts; set for the daemon alone.
const DIRECTORY: &str = "BATON_TEST_DIRECTORY";
/// So long that only a daemon which is stopped lets it pass, and not one whose machine is busy with other things.
const LIFETIME: Time = 8_000_000;
const FOR_EVER: Duration = Duration::from_secs(1 << 30);
const FILE: INodeNo = INodeNo(7 << 40 | 2);
const PAGE: usize = 4_096;

/// One file, `file`, of which everything may be kept; no other name is there, which may be kept too.
struct OneFile(Arc<Proof>);

fn attributes(ino: INodeNo) -> FileAttr {
    let is_file = ino == FILE;
    FileAttr {
        ino,
        size: if is_file { PAGE as u64 } else { 0 },
        blocks: 8,
        atime: SystemTime::UNIX_EPOCH,
        mtime: SystemTime::UNIX_EPOCH,
        ctime: SystemTime::UNIX_EPOCH,
        crtime: SystemTime::UNIX_EPOCH,
        kind: if is_file {
            FileType::RegularFile
        } else {
            FileType::Directory
        },
        perm: 0o755,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4_096,
        flags: 0,
    }
}

impl Filesystem for OneFile {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let ino = if name == "file" { FILE } else { INodeNo(0) };
        if ino == FILE {
            drop(self.0.remember(ino.0).expect("room for one inode"));
        }
        reply.entry(&FOR_EVER, &attributes(ino), Generation(0));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOR_EVER, &attributes(ino));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: u64,
        _: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match ino {
            FILE => reply.data(&[b'x'; PAGE]),
            _ => reply.error(Errno::EISDIR),
        }
    }
}

/// What the daemon would ask of a mount that has servers.
struct NoServers(Kernel);

impl Served for NoServers {
    fn fileset_of(&self, node: u64) -> Result<FilesetId> {
        Err(Error::new(Kind::Stale, format!("inode {node}")))
    }

    fn flush(&self, node: u64) -> Result<()> {
        match node {
            _ if node == FILE.0 => Ok(()),
            _ => self.fileset_of(node).map(drop),
        }
    }

    fn mount_point(&self, who: &Arc<Who>, directory: u64, _: &FileName) -> Result<Option<MountPoint>> {
        assert_eq!(
            (who.uid, directory),
            (0, 1),
            "the caller and the directory that he opened"
        );
        Ok(None)
    }

    fn create_mount_point(&self, _: &Arc<Who>, directory: u64, _: &FileName, _: MountPoint) -> Result<()> {
        self.fileset_of(directory).map(drop)
    }

    fn remove_mount_point(&self, _: &Arc<Who>, directory: u64, _: &FileName) -> Result<()> {
        self.fileset_of(directory).map(drop)
    }

    fn locator(&self) -> &Arc<Locator> {
        unreachable!("nobody asks where things are")
    }

    fn log_out(&self, _: u32) {}

    fn silent(&self) -> Vec<String> {
        Vec::new()
    }

    fn forget(&self) {
        self.0.forget_names().unwrap();
        self.0.forget_inode(FILE.0).unwrap();
    }

    fn stop(&self, _: Duration) -> Result<()> {
        Ok(())
    }
}

fn begin(_: &Plan, proof: Arc<Proof>, device: OwnedFd) -> Result<Begun> {
    let root = proof.remember(1)?;
    let prover = Arc::downgrade(&proof);
    std::thread::spawn(move || {
        while let Some(proof) = prover.upgrade() {
            proof.extend(BootClock.now() + LIFETIME);
            drop(proof);
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    let mut config = Config::default();
    config.n_threads = Some(2);
    config.clone_fd = true;
    let session =
        Session::from_fd(OneFile(proof.clone()), device, SessionACL::All, config).map_err(|e| Error::io("FUSE", e))?;
    let kernel = Kernel::over(&session)?;
    let run = move || {
        session.run().map_err(|e| Error::io("FUSE", e))?;
        proof.forget(root);
        Ok(())
    };
    Ok(Begun {
        served: Arc::new(NoServers(kernel)),
        run: Box::new(run),
    })
}

/// Not a test: the daemon of the tests below.
#[tokio::test]
async fn daemon() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else {
        return;
    };
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    let mounts = Mounts::new(Guardian::of_this_process().unwrap(), Box::new(begin));
    let plan = Plan {
        cell: CellName::parse("test.example").unwrap(),
        directory: directory.clone(),
        options: Options::default(),
        source: None,
    };
    let control = Control {
        mounts: mounts.clone(),
        registered: Arc::default(),
        paths: Paths::under(directory.with_extension("root")),
        identity: Box::new(|uid| Ok(Some((format!("uid{uid}@test.example"), "host-trust")))),
    };
    control.listen(&directory.with_extension("sock")).unwrap();
    mounts.mount(plan.clone()).unwrap();
    assert_eq!(mounts.mount(plan).unwrap_err().kind, Kind::Busy);
    fs::write(directory.with_extension("pid"), std::process::id().to_string()).unwrap();
    terminate.recv().await;
    mounts.end();
}

/// A guard with its daemon, and a mount of it.
struct Guarded {
    home: tempfile::TempDir,
    guard: JoinHandle<ExitStatus>,
    daemon: Pid,
}

impl Guarded {
    async fn start() -> Guarded {
        let home = tempfile::tempdir().expect("a directory");
        let directory = home.path().join("mount");
        fs::create_dir(&directory).expect("a directory");
        let mut daemon = Command::new(std::env::current_exe().expect("this program"));
        daemon
            .args(["--exact", "daemon", "--nocapture"])
            .env(DIRECTORY, &directory);
        let guard = tokio::spawn(async { guard::run(daemon).await.expect("root and /dev/fuse") });
        let pid = loop {
            let text = fs::read_to_string(home.path().join("mount.pid")).unwrap_or_default();
            match text.parse().ok().and_then(Pid::from_raw) {
                Some(pid) => break pid,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
            assert!(!guard.is_finished(), "root and /dev/fuse are needed");
        };
        Guarded {
            home,
            guard,
            daemon: pid,
        }
    }

    fn directory(&self) -> PathBuf {
        self.home.path().join("mount")
    }

    /// Ends the daemon, and waits for its guard.
    async fn end(self) -> tempfile::TempDir {
        kill_process(self.daemon, Signal::TERM).expect("the daemon lives");
        assert!(self.guard.await.expect("a status").success());
        assert!(
            !attach::mounted()
                .expect("a table of mounts")
                .contains(&self.home.path().join("mount"))
        );
        self.home
    }

    /// Asks the daemon, as a program of this machine.
    fn ask(&self, what: What, about: &[&File]) -> Result<Option<client_reply::What>> {
        let mut line = Line::connect(&self.home.path().join("mount.sock"))?;
        let descriptors: Vec<_> = about.iter().map(|file| file.as_fd()).collect();
        line.send(&v1::ClientRequest { what: Some(what) }, &descriptors)?;
        let (reply, _) = line.receive::<v1::ClientReply>()?.expect("an answer");
        reply.failure.map_or(Ok(reply.what), |failure| Err(failure.into()))
    }

    fn is_mounted(&self) -> bool {
        attach::mounted()
            .expect("a table of mounts")
            .contains(&self.directory())
    }
}

/// What a program can see of the mount: of an open file, of the file's name, of a name that is not there.
fn sees(open: &File, directory: &Path) -> [Result<(), Option<i32>>; 3] {
    let error = |e: std::io::Error| e.raw_os_error();
    let bytes = open.read_exact_at(&mut [0; PAGE], 0).map_err(error);
    let name = fs::metadata(directory.join("file")).map(drop).map_err(error);
    let nothing = fs::metadata(directory.join("nothing")).map(drop).map_err(error);
    [bytes, name, nothing]
}

const NO_FILE: Result<(), Option<i32>> = Err(Some(2));
const CUT_OFF: Result<(), Option<i32>> = Err(Some(107));

async fn until_cut_off(open: &File) {
    while open.read_at(&mut [0], 0).is_ok() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_daemon_leaves_no_old_byte_behind() {
    let guarded = Guarded::start().await;
    let directory = guarded.directory();
    let open = File::open(directory.join("file")).unwrap();
    assert_eq!(sees(&open, &directory), [Ok(()), Ok(()), NO_FILE]);
    // A daemon that goes on proving is left alone, however long its first proof is over.
    let first = BootClock.now() + LIFETIME;
    while BootClock.now() < first {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(sees(&open, &directory), [Ok(()), Ok(()), NO_FILE]);
    }
    kill_process(guarded.daemon, Signal::STOP).unwrap();
    until_cut_off(&open).await;
    while sees(&open, &directory) != [CUT_OFF; 3] {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(guarded.is_mounted(), "what is under the mount must not be seen");
    // It goes on, and mounts anew.
    kill_process(guarded.daemon, Signal::CONT).unwrap();
    while File::open(directory.join("file")).is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        sees(&open, &directory),
        [CUT_OFF, Ok(()), NO_FILE],
        "what was open before stays cut off"
    );
    guarded.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_daemon_leaves_nothing_to_those_who_still_use_its_mount() {
    let guarded = Guarded::start().await;
    let directory = guarded.directory();
    let open = File::open(directory.join("file")).unwrap();
    assert_eq!(sees(&open, &directory), [Ok(()), Ok(()), NO_FILE]);
    let _home = guarded.end().await;
    assert_eq!(sees(&open, &directory), [CUT_OFF, NO_FILE, NO_FILE]);
}

fn opened(path: &Path) -> File {
    let flags = rustix::fs::OFlags::PATH.bits().cast_signed();
    File::options()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .expect("it is there")
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_ask_about_files_that_they_have_come_to() {
    let guarded = Guarded::start().await;
    let directory = guarded.directory();
    let flush = || What::Flush(v1::ClientFlush {});
    let file = opened(&directory.join("file"));
    assert_eq!(guarded.ask(flush(), &[&file]).unwrap(), None);
    let root = opened(&directory);
    assert_eq!(guarded.ask(flush(), &[&root]).unwrap_err().kind, Kind::Stale);
    let elsewhere = opened(guarded.home.path());
    let error = guarded.ask(flush(), &[&elsewhere]).unwrap_err();
    assert!(
        error.to_string().contains("not in a cell that is mounted here"),
        "{error}"
    );
    assert_eq!(guarded.ask(flush(), &[]).unwrap_err().kind, Kind::Invalid);
    let name = |name: &[u8]| What::LsMount(v1::ClientLsMount { name: name.to_vec() });
    match guarded.ask(name(b"file"), &[&root]).unwrap() {
        Some(client_reply::What::MountPoint(point)) => assert_eq!(point.fileset, 0),
        other => panic!("{other:?}"),
    }
    assert_eq!(guarded.ask(name(b"a/b"), &[&root]).unwrap_err().kind, Kind::Invalid);
    drop((file, root));
    guarded.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_are_told_what_is_mounted_and_may_unmount_it() {
    let guarded = Guarded::start().await;
    let mounts = || match guarded.ask(What::Mounts(v1::ClientMounts {}), &[]).unwrap() {
        Some(client_reply::What::Mounts(list)) => list.mounts,
        other => panic!("{other:?}"),
    };
    let directory = guarded.directory().into_os_string().into_vec();
    let expected = v1::ClientMount {
        cell: b"test.example".to_vec(),
        directory: directory.clone(),
        ..Default::default()
    };
    assert_eq!(mounts(), std::slice::from_ref(&expected));
    // A cell that this machine does not know is refused at once.
    let error = guarded.ask(What::Mount(expected), &[]).unwrap_err();
    assert!(error.to_string().contains("this machine knows none"), "{error}");
    let unmount = || {
        What::Unmount(v1::ClientUnmount {
            directory: directory.clone(),
            force: false,
        })
    };
    let open = File::open(guarded.directory().join("file")).unwrap();
    assert_eq!(guarded.ask(unmount(), &[]).unwrap_err().kind, Kind::Busy);
    drop(open);
    assert_eq!(guarded.ask(unmount(), &[]).unwrap(), None);
    assert!(!guarded.is_mounted() && mounts().is_empty());
    assert_eq!(guarded.ask(unmount(), &[]).unwrap_err().kind, Kind::NotFound);
    match guarded.ask(What::WhoAmI(v1::ClientWhoAmI {}), &[]).unwrap() {
        Some(client_reply::What::Identity(identity)) => assert_eq!(identity.principal, b"uid0@test.example"),
        other => panic!("{other:?}"),
    }
    guarded.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unmounting_by_hand_ends_the_mount_and_not_the_daemon() {
    let guarded = Guarded::start().await;
    attach::detach(&guarded.directory(), InUse::Refuse).unwrap();
    assert!(!guarded.is_mounted());
    guarded.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_daemon_leaves_neither_bytes_nor_mounts() {
    let guarded = Guarded::start().await;
    let directory = guarded.directory();
    let open = File::open(directory.join("file")).unwrap();
    assert_eq!(sees(&open, &directory), [Ok(()), Ok(()), NO_FILE]);
    kill_process(guarded.daemon, Signal::KILL).unwrap();
    let status = guarded.guard.await.unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    assert!(!attach::mounted().unwrap().contains(&directory));
    assert_eq!(sees(&open, &directory), [CUT_OFF, NO_FILE, NO_FILE]);
}

/// Says yes to what the daemon says first, and is gone.
fn guard_that_dies(ours: std::os::unix::net::UnixStream) {
    let mut line = Line::new(ours);
    let (note, descriptors) = line.receive::<v1::GuardNote>().unwrap().expect("a mount to watch");
    assert!(note.what.is_some() && descriptors.len() == 2);
    line.send(&v1::ClientReply::default(), &[]).unwrap();
}

#[tokio::test]
async fn daemon_whose_guard_is_gone_cuts_off_those_who_use_its_mount_and_ends() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("mount");
    fs::create_dir(&directory).unwrap();
    attach::list_connections().unwrap();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "daemon", "--nocapture"]);
    command.env(DIRECTORY, &directory).stdin(OwnedFd::from(theirs));
    let mut daemon = command.spawn().unwrap();
    drop(command);
    tokio::task::spawn_blocking(move || guard_that_dies(ours))
        .await
        .unwrap();
    while !home.path().join("mount.pid").exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let open = File::open(directory.join("file")).unwrap();
    assert_eq!(sees(&open, &directory), [Ok(()), Ok(()), NO_FILE]);
    let pid = Pid::from_raw(daemon.id().unwrap().cast_signed()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert!(daemon.wait().await.unwrap().success());
    assert!(!attach::mounted().unwrap().contains(&directory));
    assert_eq!(sees(&open, &directory), [CUT_OFF, NO_FILE, NO_FILE]);
}

#[test]
fn a_mount_that_nobody_serves_is_dead_and_can_be_taken_away() {
    let home = tempfile::tempdir().unwrap();
    let attached = attach::attach("test.example", home.path(), Options::default()).unwrap();
    assert_eq!(attach::minor_of(home.path()).unwrap(), attached.minor);
    assert!(attach::mounted().unwrap().iter().any(|path| path == home.path()));
    drop(attached);
    assert!(attach::is_dead(home.path()));
    attach::detach(home.path(), InUse::Refuse).unwrap();
    assert!(!attach::is_dead(home.path()));
    assert!(!attach::mounted().unwrap().iter().any(|path| path == home.path()));
}
