//! `batond` itself, in a cell of which nobody answers: it mounts, tells, and ends. Needs root and /dev/fuse.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use baton_client_fuse::attach;
use baton_proto::v1::client_request::What;
use baton_proto::v1::{self, client_reply};
use baton_rpc::config::{CellFile, Daemon, Paths};
use baton_rpc::local::Line;
use baton_security::{Authority, Credential, Key, Place, Request, Subject, write_certificate};
use baton_types::{Address, BootClock, CellId, CellName, Clock, EntryName, Kind, PrincipalName, Result};
use rustix::process::{Pid, Signal, kill_process};

/// A machine of a cell whose servers are all away.
struct Machine {
    home: tempfile::TempDir,
    paths: Paths,
    authority: Authority,
}

impl Machine {
    fn new() -> Machine {
        let home = tempfile::tempdir().expect("a directory");
        fs::create_dir(home.path().join("cell")).expect("a directory");
        let name = CellName::parse("example.org").expect("a name");
        let authority = Authority::create(&name, CellId::random(), BootClock.date()).expect("an authority");
        let machine = Machine {
            paths: Paths::under(home.path()),
            home,
            authority,
        };
        let host = Subject::Host {
            name: EntryName::parse("client1").expect("a name"),
            server: None,
        };
        let saved = machine.credential(&host).save(&Place::host(machine.paths.pki()));
        saved.expect("a certificate");
        let nobody = Address::parse("127.0.0.1:1").expect("an address");
        let cell = CellFile::new(machine.authority.anchor(), vec![nobody]);
        cell.save(&machine.paths).expect("a file");
        machine
    }

    fn credential(&self, subject: &Subject) -> Credential {
        let key = Key::generate().expect("a key");
        let request = Request::parse(&key.request().expect("a request")).expect("a request");
        let certificate = self.authority.issue(&request, subject, BootClock.date(), 3_600);
        Credential::new(
            self.authority.anchor().clone(),
            certificate.expect("a certificate"),
            key,
        )
        .expect("they fit")
    }

    fn start(&self) -> Running<'_> {
        let guard = Command::new(env!("CARGO_BIN_EXE_batond"))
            .env("BATON_ROOT", self.home.path())
            .spawn()
            .expect("batond starts");
        let mut running = Running { machine: self, guard };
        while running.ask(What::Mounts(v1::ClientMounts {})).is_err() {
            let ended = running.guard.try_wait().expect("a status");
            assert_eq!(ended, None, "root and /dev/fuse are needed");
            std::thread::sleep(Duration::from_millis(20));
        }
        running
    }

    fn directory(&self) -> PathBuf {
        self.home.path().join("cell")
    }

    fn is_mounted(&self) -> bool {
        attach::mounted()
            .expect("a table of mounts")
            .contains(&self.directory())
    }
}

/// Its batond.
struct Running<'a> {
    machine: &'a Machine,
    guard: Child,
}

impl Running<'_> {
    fn ask(&self, what: What) -> Result<Option<client_reply::What>> {
        let mut line = Line::connect(&self.machine.paths.socket(Daemon::Batond))?;
        line.send(&v1::ClientRequest { what: Some(what) }, &[])?;
        let (reply, _) = line.receive::<v1::ClientReply>()?.expect("an answer");
        reply.failure.map_or(Ok(reply.what), |failure| Err(failure.into()))
    }

    fn mount(&self) -> Result<()> {
        let directory = self.machine.directory().into_os_string().into_encoded_bytes();
        let mount = v1::ClientMount {
            cell: b"example.org".to_vec(),
            directory,
            ..Default::default()
        };
        self.ask(What::Mount(mount)).map(drop)
    }

    fn who(&self, question: What) -> (String, String) {
        match self.ask(question).expect("an answer") {
            Some(client_reply::What::Identity(identity)) => (
                String::from_utf8_lossy(&identity.principal).into_owned(),
                String::from_utf8_lossy(&identity.mech).into_owned(),
            ),
            other => panic!("{other:?}"),
        }
    }

    fn guard(&self) -> Pid {
        Pid::from_raw(self.guard.id().cast_signed()).expect("a process")
    }

    fn daemon(&self) -> Pid {
        let lock = self.machine.paths.state(Daemon::Batond).join("lock");
        let text = fs::read_to_string(lock).expect("its number");
        text.trim().parse().ok().and_then(Pid::from_raw).expect("its number")
    }

    fn end(mut self, process: Pid, signal: Signal) -> ExitStatus {
        kill_process(process, signal).expect("it lives");
        self.guard.wait().expect("a status")
    }
}

#[test]
fn a_cell_is_mounted_whose_servers_are_all_away() {
    let machine = Machine::new();
    let running = machine.start();
    running.mount().unwrap();
    assert!(machine.is_mounted());
    assert_eq!(running.mount().unwrap_err().kind, Kind::Busy);
    let guard = running.guard();
    assert_eq!(running.end(guard, Signal::TERM).code(), Some(0));
    assert!(!machine.is_mounted());
}

#[test]
fn users_are_who_they_show_that_they_are() {
    let machine = Machine::new();
    let running = machine.start();
    let by_machine = ("root@example.org".to_owned(), "host-trust".to_owned());
    assert_eq!(running.who(What::WhoAmI(v1::ClientWhoAmI {})), by_machine);
    let alice = machine.credential(&Subject::User(PrincipalName::parse("alice").unwrap()));
    let login = v1::ClientLogin {
        authority: alice.anchor().to_pem().into_bytes(),
        certificate: write_certificate(alice.certificate()).into_bytes(),
        key: alice.key().to_pem().as_bytes().to_vec(),
    };
    let by_certificate = ("alice@example.org".to_owned(), "cert".to_owned());
    assert_eq!(running.who(What::Login(login)), by_certificate);
    assert_eq!(running.who(What::Logout(v1::ClientLogout {})), by_machine);
    let guard = running.guard();
    assert!(running.end(guard, Signal::INT).success());
}

#[test]
fn one_runs_under_one_root() {
    let machine = Machine::new();
    let running = machine.start();
    let second = Command::new(env!("CARGO_BIN_EXE_batond"))
        .env("BATON_ROOT", machine.home.path())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("another process holds it"), "{said}");
    running.mount().unwrap();
    let guard = running.guard();
    assert!(running.end(guard, Signal::TERM).success());
}

#[test]
fn a_daemon_that_dies_leaves_no_mount_and_its_status() {
    let machine = Machine::new();
    let running = machine.start();
    running.mount().unwrap();
    let daemon = running.daemon();
    assert_eq!(running.end(daemon, Signal::KILL).code(), Some(128 + 9));
    assert!(!machine.is_mounted());
}

#[test]
fn a_daemon_without_its_guard_ends_in_order() {
    let machine = Machine::new();
    let running = machine.start();
    running.mount().unwrap();
    let (guard, lock) = (running.guard(), machine.paths.state(Daemon::Batond).join("lock"));
    assert_eq!(running.end(guard, Signal::KILL).signal(), Some(9));
    // Held for the life of the daemon.
    File::open(lock).unwrap().lock().unwrap();
    assert!(!machine.is_mounted());
}

#[test]
fn what_both_left_behind_is_taken_away_at_the_next_start() {
    let machine = Machine::new();
    let running = machine.start();
    running.mount().unwrap();
    let (guard, daemon) = (running.guard(), running.daemon());
    kill_process(daemon, Signal::STOP).unwrap();
    kill_process(guard, Signal::KILL).unwrap();
    running.end(daemon, Signal::KILL);
    let next = machine.start();
    assert!(!machine.is_mounted());
    next.mount().unwrap();
    let guard = next.guard();
    assert!(next.end(guard, Signal::TERM).success());
}
