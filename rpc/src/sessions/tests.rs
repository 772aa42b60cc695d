//! The driver over a wire of its own: what it does when connections and servers come and go.

use std::collections::{BTreeMap, BTreeSet};

use baton_security::Channel;
use baton_security::auth::{InitExchange, Initiator};
use baton_types::call::{Coming, Keep};
use baton_types::file::Place;
use baton_types::record::{Aggregate, AggregateState, Fileset, Record, Server, Site, VersionState};
use baton_types::{Address, BootClock, EntryName, Epoch, FileName, ServerId, Vnode};
use uuid::Uuid;

use super::double::{Done as Change, Double};
use super::*;
use crate::News;
use crate::testing::{Cell, vacant};

const FILESET: FilesetId = FilesetId(4);
const AGGREGATE: AggregateId = AggregateId(Uuid::from_u128(9));
const SERVER: ServerId = ServerId(Uuid::from_u128(3));

/// A mount that has nothing to lose.
struct Quiet;

impl Events for Quiet {
    fn revoked(&self, _: FilesetId, _: u64) {}
    fn reclaim(&self, _: FilesetId) -> Reclaim {
        Reclaim::default()
    }
    fn rejoined(&self, _: FilesetId, _: Hold, _: u64) {}
    fn lapsed(&self, _: AggregateId, _: &[FilesetId]) {}
    fn lost(&self, _: AggregateId, _: &[FilesetId]) {}
    fn dropped(&self, _: &Request, _: &Error) {}
    fn alive(&self, _: AggregateId, _: Time) {}
}

/// Everybody proves to be whoever this says.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<Option<&'static str>>>);

struct Word(&'static str);

impl Logins for Names {
    fn initiator(&self, _: &Who) -> Result<Option<Arc<dyn Initiator>>> {
        let word = self.0.lock().map(Word);
        Ok(word.map(|word| Arc::new(word) as Arc<dyn Initiator>))
    }
}

impl Initiator for Word {
    fn name(&self) -> &'static str {
        "word"
    }

    fn start(&self, _: &EntryName) -> Box<dyn InitExchange> {
        Box::new(Word(self.0))
    }
}

impl InitExchange for Word {
    fn step(&mut self, _: &Channel, _: &[u8]) -> Result<Vec<u8>> {
        Ok(self.0.as_bytes().to_vec())
    }

    fn finish(&mut self, _: &Channel, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

struct Rig {
    sessions: Arc<Sessions>,
    double: Arc<Double>,
    names: Names,
    _runtime: tokio::runtime::Runtime,
}

fn aggregate(epoch: Epoch) -> Record {
    Record::Aggregate(Aggregate {
        attached: vec![SERVER],
        owner: Some(SERVER),
        epoch,
        state: AggregateState::Exported,
        ..Aggregate::new(AGGREGATE, "lfs01".parse().unwrap(), 1)
    })
}

fn rig(seed: Option<u64>) -> Rig {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cell = Cell::new();
    let names = Names::default();
    let clock: Arc<dyn Clock> = Arc::new(BootClock);
    let fldb = {
        let _inside = runtime.enter();
        cell.client_at(cell.alice(), vec![vacant()])
    };
    let setup = Setup {
        client: ClientId::random(),
        fldb,
        tls: Arc::new(|| unreachable!("nothing is dialled over a network")),
        source: None,
        logins: Arc::new(names.clone()),
        clock,
        runtime: runtime.handle().clone(),
    };
    let double = Double::new(Epoch(1), seed);
    let sessions = Sessions::start_with(setup, Arc::new(Quiet), Box::new(double.clone())).unwrap();
    let server = Server {
        addresses: vec![Address::parse("127.0.0.1").unwrap()],
        ..Server::new(SERVER, EntryName::parse("fs1").unwrap())
    };
    let fileset = Fileset {
        id: FILESET,
        name: "home".parse().unwrap(),
        rw: VersionState::Valid,
        ro: VersionState::Invalid,
        backup: VersionState::Invalid,
        sites: vec![Site {
            entry: 1,
            aggregate: AGGREGATE,
            versions: Site::RW,
        }],
        quota_bytes: 0,
        quota_files: 0,
        lock: None,
    };
    let records = vec![Record::Server(server), Record::Fileset(fileset), aggregate(Epoch(1))];
    sessions.locator.hear(News::Put(records));
    Rig {
        sessions,
        double,
        names,
        _runtime: runtime,
    }
}

fn who() -> Arc<Who> {
    Arc::new(Who {
        uid: 1_001,
        ..Who::default()
    })
}

fn unlink(name: &str) -> Request {
    Request::Unlink {
        place: Place {
            directory: Fid {
                fileset: FILESET,
                vnode: Vnode::ROOT,
                unique: 1,
            },
            name: FileName::parse(name.as_bytes()).unwrap(),
        },
        keep: Keep::Closed,
        time: Timestamp(1),
    }
}

fn name_of(change: &Change) -> String {
    match &change.request {
        Request::Unlink { place, .. } => place.name.as_bytes().escape_ascii().to_string(),
        other => panic!("{other:?}"),
    }
}

impl Rig {
    fn join(&self) {
        let (fileset, coming) = (FILESET, Coming::Fresh);
        self.sessions
            .ask(&who(), Request::Join { fileset, coming }, Bytes::new())
            .unwrap();
    }

    fn unlink(&self, name: &str) {
        self.sessions.ask(&who(), unlink(name), Bytes::new()).unwrap();
    }

    fn restart(&self) {
        let epoch = self.double.restart();
        self.sessions.locator.hear(News::Put(vec![aggregate(epoch)]));
    }
}

/// What programs asked one after the other is done once and in that order, by whichever servers.
fn history(seed: u64) {
    const PROGRAMS: usize = 3;
    const CHANGES: usize = 40;
    let rig = rig(Some(seed));
    rig.join();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let programs: Vec<_> = (0..PROGRAMS)
            .map(|program| {
                let rig = &rig;
                scope.spawn(move || (0..CHANGES).for_each(|number| rig.unlink(&format!("{program}.{number:03}"))))
            })
            .collect();
        scope.spawn(|| {
            for round in 0_u64.. {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(7));
                rig.double.flush();
                if round % 4 == seed % 4 {
                    rig.restart();
                }
            }
        });
        programs.into_iter().for_each(|program| program.join().unwrap());
        is_over.store(true, Ordering::Relaxed);
    });
    let (send, synced) = std::sync::mpsc::channel();
    rig.sessions
        .sync(FILESET, Box::new(move |result| drop(send.send(result))));
    synced.recv().unwrap().unwrap();
    let mut by_program: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in rig.double.log().iter().map(name_of) {
        let (program, _) = name.split_once('.').unwrap();
        by_program.entry(program.to_owned()).or_default().push(name.clone());
    }
    assert_eq!(by_program.len(), PROGRAMS, "seed {seed}");
    for names in by_program.values() {
        let once: BTreeSet<&String> = names.iter().collect();
        assert_eq!((names.len(), once.len()), (CHANGES, CHANGES), "seed {seed}: {names:?}");
        assert!(names.is_sorted(), "seed {seed}: {names:?}");
    }
}

#[test]
fn changes_are_done_once_and_in_order_whatever_becomes_of_connections_and_servers() {
    (0..8).for_each(history);
}

#[test]
fn who_logs_out_is_somebody_else_on_connections_that_are_open() {
    let rig = rig(None);
    *rig.names.0.lock() = Some("alice");
    rig.join();
    rig.unlink("a");
    *rig.names.0.lock() = Some("bob");
    rig.unlink("b");
    rig.sessions.log_out(7);
    rig.unlink("c");
    rig.sessions.log_out(who().uid);
    rig.unlink("d");
    let done: Vec<_> = rig
        .double
        .log()
        .iter()
        .map(|done| (name_of(done), done.who.clone()))
        .collect();
    let expected = [("a", "alice"), ("b", "alice"), ("c", "alice"), ("d", "bob")];
    let expected = expected.map(|(name, who)| (name.to_owned(), Bytes::from_static(who.as_bytes())));
    assert_eq!(done, expected);
    assert_eq!(rig.double.given_up(), 0, "on the connections that were open");
}
