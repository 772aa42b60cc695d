//! One history: clients work, and things go wrong, until the seed is used up.

use std::collections::BTreeMap;

use baton_aggregate::aggregate::Census;
use baton_aggregate::create::{Overwrite, Plan, create};
use baton_aggregate::device::double::Disk;
use baton_aggregate::fileset::catalog;
use baton_aggregate::format::{BLOCK_BYTES, FilesetHeader, FilesetKind, Geometry, Lsn, RecordKind};
use baton_aggregate::transaction::Operation;
use baton_types::{
    AggregateId, AggregateName, ClientId, Epoch, Error, FilesetId, FilesetName, Kind, Result, Timestamp,
};
use uuid::Uuid;

use super::actions::{Action, SECRET};
use super::clients::{Sent, Session};
use super::files;
use super::model::{Answer, Model, Past, compared, difference, read};
use super::server::{Server, device, serve};
use crate::sim::{Seed, Trace, Violation};

/// The filesets.
pub const FILESETS: [FilesetId; 2] = [FilesetId(7), FilesetId(8)];
/// Things that happen in a history.
const STEPS: u64 = 140;
/// Every so manieth history has snapshots: the others stay what they were before there were any.
const WITH_SNAPSHOTS: u64 = 3;
/// And in every so manieth filesets go back to them and are cloned besides.
const WITH_BRANCHES: u64 = 6;
/// Of so many histories, two have files of bytes that share blocks and are promised room.
const WITH_FILES: u64 = 7;
/// Sessions at most.
const SESSIONS: usize = 3;
/// Segments of 64 KiB: each takeover shuts some away.
const SEGMENTS: u64 = 260;

/// Everything.
pub struct World {
    pub seed: Seed,
    trace: Trace,
    now: u64,
    pub disk: Disk,
    pub model: Model,
    pub owner: Server,
    /// Who still thinks it is owner, and where its history was cut.
    pub zombies: Vec<(Server, Lsn)>,
    pub sessions: Vec<Session>,
    /// The newest epoch that was granted.
    pub granted: Epoch,
    /// Told to be durable up to here.
    pub told: Lsn,
    /// The owner cannot go on.
    pub is_broken: bool,
    /// Snapshots are taken in this history.
    has_snapshots: bool,
    /// Filesets go on from snapshots in this history.
    pub has_branches: bool,
    /// There are files of bytes in this history.
    pub has_files: bool,
    /// Snapshots taken so far.
    pub taken: u64,
    /// Clones made so far.
    pub cloned: u64,
    /// Whatever was made in clones so far.
    pub born: u64,
}

/// What keeps a history from going on: what was broken, in a sentence.
pub type Step<T = ()> = Result<T, String>;

/// One history of the store.
///
/// # Errors
/// What the store broke.
pub fn history(number: u64) -> Result<Trace, Violation> {
    let trace = Trace::new(number);
    let mut world = match World::new(number) {
        Ok(world) => world,
        Err(error) => return Err(trace.violation(error.to_string())),
    };
    match world.run() {
        Ok(()) => Ok(world.trace),
        Err(what) => Err(world.trace.violation(what)),
    }
}

impl World {
    fn new(number: u64) -> Result<World> {
        let mut seed = Seed::new(number);
        let first = Geometry::HEADS_AT + Geometry::RING as u64 * Geometry::HEAD_BYTES;
        let bytes = first + SEGMENTS * (64 << 10) + BLOCK_BYTES as u64;
        let disk = Disk::new(bytes, seed.draw());
        let plan = Plan {
            id: AggregateId(Uuid::from_u128(9)),
            name: AggregateName::parse("agg1")?,
            geometry: Some(Geometry::new(bytes, 64 << 10, 8 << 10)?),
            overwrite: Overwrite::Refuse,
            created: Timestamp(1),
        };
        create(&disk.port(), &plan)?;
        let owner = serve(device(&disk), Epoch(1), || {})?;
        let mut world = World {
            seed,
            trace: Trace::new(number),
            now: 0,
            model: Model::new(device(&disk), &FILESETS),
            disk,
            owner,
            zombies: Vec::new(),
            sessions: Vec::new(),
            granted: Epoch(1),
            told: Lsn(0),
            is_broken: false,
            has_snapshots: number.is_multiple_of(WITH_SNAPSHOTS),
            has_branches: number.is_multiple_of(WITH_BRANCHES),
            has_files: number % WITH_FILES >= WITH_FILES - 2,
            taken: 0,
            cloned: 0,
            born: 0,
        };
        for (fileset, name) in FILESETS.into_iter().zip(["home", "work"]) {
            world.make_fileset(fileset, name)?;
        }
        let last = world.owner.aggregate.last();
        world.owner.aggregate.wait(last)?;
        world.told = last;
        Ok(world)
    }

    fn make_fileset(&mut self, id: FilesetId, name: &str) -> Result<()> {
        let header = header(name)?;
        let aggregate = &self.owner.aggregate;
        let nobody = Operation::default();
        aggregate.change_system(RecordKind::Fileset, &nobody, |transaction| {
            catalog::create(transaction, id, &header)
        })?;
        self.begin(id, nobody, Action::Root)?;
        let files = if self.has_files { files::FILES } else { 0 };
        for number in 0..files {
            let operation = Operation {
                vnode: Some(files::vnode(number)),
                unique: files::unique(number),
                ..nobody
            };
            self.begin(id, operation, Action::File { number })?;
        }
        Ok(())
    }

    /// Something that every fileset begins with.
    fn begin(&mut self, id: FilesetId, operation: Operation, action: Action) -> Result<()> {
        let fileset = self.owner.aggregate.fileset(id)?;
        let done = action.perform(&fileset, &operation)?;
        let past = Past {
            lsn: done.lsn,
            fileset: id,
            operation,
            action,
            answer: done.answer.map_err(|error| error.kind),
        };
        self.model
            .push(past)
            .map_err(|what| Error::new(Kind::Damaged, "model").because(what))
    }

    /// Writes down what happened.
    pub fn note(&mut self, who: &str, what: &str) {
        self.now += 1;
        self.trace.note(self.now, who, format_args!("{what}"));
    }

    fn run(&mut self) -> Step {
        for _ in 0..STEPS {
            if self.has_snapshots && self.seed.chance(160) {
                self.snapshot_step()?;
            }
            if self.has_branches && self.seed.chance(200) {
                self.branch_step()?;
            }
            if self.has_files && self.seed.chance(120) {
                self.fill_promise()?;
            }
            match self.seed.below(1_000) {
                0..600 => self.operate()?,
                600..660 => self.ask_again()?,
                660..780 => self.fsync(),
                780..840 => self.commit(),
                840..890 => self.checkpoint(),
                890..910 => self.beat(),
                910..920 => self.look_around()?,
                920..955 => self.stir_zombie()?,
                _ => self.go_wrong()?,
            }
            if self.is_broken {
                self.take_over()?;
            }
        }
        self.take_over()?;
        self.check()?;
        if self.has_files {
            // Nothing goes wrong any more: in a full aggregate each takeover without proof would shut some room away.
            self.crowd()?;
            self.check()?;
        }
        match (self.has_snapshots, self.has_branches) {
            (true, false) => self.delete_all(),
            (_, true) => self.delete_filesets(),
            (false, false) => Ok(()),
        }
    }

    fn operate(&mut self) -> Step {
        if self.sessions.len() < SESSIONS && self.seed.chance(100) || self.sessions.is_empty() {
            return self.open_session();
        }
        let index = self.seed.index(self.sessions.len());
        let id = *self.seed.pick(&FILESETS);
        let action = self.draw(id);
        let sent = self.sessions[index].next(&mut self.seed, self.told, (id, action));
        self.send(index, &sent)
    }

    /// Something to do in a fileset.
    pub fn draw(&mut self, id: FilesetId) -> Action {
        let olds = self.model.olds(id);
        Action::draw_with(&mut self.seed, self.has_files.then_some(&olds))
    }

    fn open_session(&mut self) -> Step {
        let client = ClientId(Uuid::from_u128(self.sessions.len() as u128));
        match self.begin_session(client) {
            Ok(session) => {
                self.note(
                    "client",
                    &format!("session {} begins at {}", session.id.0, session.opened),
                );
                self.sessions.push(session);
            }
            Err(error) => self.failed("session", &error)?,
        }
        Ok(())
    }

    /// A session with vnodes of every fileset, to name by them what it makes.
    fn begin_session(&self, client: ClientId) -> Result<Session> {
        let aggregate = &self.owner.aggregate;
        let (mut opened, id) = aggregate.open_session(client, Timestamp(2))?;
        let mut vnodes = BTreeMap::new();
        for fileset in FILESETS {
            let (lsn, range) = aggregate.grant_vnodes(id, fileset)?;
            opened = lsn;
            vnodes.insert(fileset, range);
        }
        Ok(Session::new(id, opened, vnodes))
    }

    fn ask_again(&mut self) -> Step {
        if self.sessions.is_empty() {
            return Ok(());
        }
        let index = self.seed.index(self.sessions.len());
        match self.sessions[index].earlier(&mut self.seed) {
            Some(sent) => self.send(index, &sent),
            None => Ok(()),
        }
    }

    /// Sends an operation, perhaps again, and holds the answer against the model.
    fn send(&mut self, index: usize, sent: &Sent) -> Step {
        let Sent {
            fileset: id,
            operation,
            action,
            ..
        } = sent;
        let place = format!("{}.{}.{}", operation.session.0, operation.stream, operation.sequence);
        let before = self.owner.aggregate.last();
        let served = self.owner.aggregate.fileset(*id);
        let done = served.and_then(|fileset| action.perform(&fileset, operation));
        let past = self.model.find(operation).cloned();
        if past.is_none() {
            self.check_room(*id, action, &done)?;
        }
        match (done, past) {
            (Ok(done), Some(past)) => {
                let answer: Answer = done.answer.map_err(|error| error.kind);
                self.note("client", &format!("{place} again: {answer:.20?}"));
                // A promise looks for room before it is known to be an old one; what it does twice, its file shows.
                let is_new = self.owner.aggregate.last() != before && !matches!(action, Action::Bytes(_));
                if answer != past.answer || is_new {
                    let answered = format!("answered {answer:?} at {}", done.lsn);
                    return Err(format!("{place} was not done once: {past:?}, then {answered}"));
                }
                self.sessions[index].answered(operation, past.lsn);
                Ok(())
            }
            (Ok(done), None) => {
                let answer: Answer = done.answer.map_err(|error| error.kind);
                self.note(
                    "client",
                    &format!("{place} {action} in {id}: {answer:.20?} at {}", done.lsn),
                );
                self.sessions[index].answered(operation, done.lsn);
                self.model.push(Past {
                    lsn: done.lsn,
                    fileset: *id,
                    operation: *operation,
                    action: action.clone(),
                    answer,
                })
            }
            (Err(error), past) => {
                if past.is_some() && error.kind == Kind::Invalid && self.sessions[index].is_seen(operation) {
                    return Ok(());
                }
                self.failed(&place, &error)
            }
        }
    }

    /// A call failed: that is right only if something is in its way.
    pub fn failed(&mut self, what: &str, error: &Error) -> Step {
        self.note("client", &format!("{what}: {:?}", error.kind));
        match error.kind {
            Kind::Io | Kind::WrongEpoch | Kind::Detached => {
                self.probe();
                Ok(())
            }
            Kind::NoSpace => Ok(()),
            _ => Err(format!("{what}: {error}")),
        }
    }

    /// Waits for all that was done; it may be told then.
    pub fn fsync(&mut self) {
        let last = self.owner.aggregate.last();
        match self.owner.aggregate.wait(last) {
            Ok(()) => {
                self.told = last;
                self.note("owner", &format!("durable up to {last}"));
            }
            Err(error) => {
                self.is_broken = true;
                self.note("owner", &format!("no fsync: {:?}", error.kind));
            }
        }
    }

    fn commit(&mut self) {
        match self.owner.aggregate.commit() {
            Ok(_) => self.told = self.told.max(self.owner.aggregate.durable()),
            Err(error) => {
                self.is_broken = true;
                self.note("owner", &format!("no commit: {:?}", error.kind));
            }
        }
    }

    pub fn checkpoint(&mut self) {
        let made = self.owner.aggregate.checkpoint();
        let generation = self.owner.aggregate.generation();
        self.note(
            "owner",
            &format!(
                "checkpoint {generation}: {:?}",
                made.as_ref().map_err(|error| error.kind)
            ),
        );
        self.told = self.told.max(self.owner.aggregate.durable());
        if made.is_err() {
            self.probe();
        }
    }

    /// A read may fail and the owner go on; after a write that failed it may not.
    fn probe(&mut self) {
        self.is_broken |= self.owner.aggregate.commit().is_err();
        self.told = self.told.max(self.owner.aggregate.durable());
    }

    fn beat(&mut self) {
        let beaten = self.owner.aggregate.beat(Timestamp(3));
        self.is_broken |= beaten.and_then(|()| self.owner.aggregate.look()).is_err();
    }

    /// The store holds what the model does, and every block is in one state; unless a read fails.
    fn look_around(&mut self) -> Step {
        for id in self.model.filesets() {
            let files = if self.has_files { &self.model.files(id)[..] } else { &[] };
            let found = self.owner.aggregate.fileset(id).and_then(|fileset| {
                read(&fileset)?;
                files::read(&fileset, files)
            });
            match found {
                Ok(None) => {}
                Ok(Some(number)) => return Err(format!("file {number} of {id} reads other bytes")),
                Err(error) => return self.failed("read", &error),
            }
        }
        match self.owner.aggregate.census() {
            Err(error) if error.kind == Kind::Io => self.failed("census", &error),
            _ => self.check().map(drop),
        }
    }

    /// The store holds what the model does, and every block is in one state.
    pub fn check(&mut self) -> Step<Census> {
        let last = self.owner.aggregate.last();
        let is_durable = self.owner.aggregate.durable() == last;
        for id in self.model.filesets() {
            let fileset = self.owner.aggregate.fileset(id).map_err(|error| error.to_string())?;
            let found = read(&fileset).map_err(|error| format!("fileset {id}: {error}"))?;
            files::compare(&found, self.model.files(id)).map_err(|what| format!("fileset {id}: {what}"))?;
            let found = compared(found, is_durable.then_some(&self.disk))?;
            if let Some(difference) = difference(&found, &self.model.items(id)) {
                return Err(format!("fileset {id}: {difference}"));
            }
            if fileset.usage() != self.model.usage(id) {
                return Err(format!(
                    "fileset {id} uses {:?}, not {:?}",
                    fileset.usage(),
                    self.model.usage(id)
                ));
            }
            self.check_snapshots(&fileset, is_durable.then_some(&self.disk))?;
        }
        let census = self.owner.aggregate.census().map_err(|error| error.to_string())?;
        self.note("census", &format!("{census:?}"));
        Ok(census)
    }

    /// The owner of the moment is `server`: what it found must hold all that was told, and all replies.
    pub fn adopt(&mut self, server: Server) -> Step {
        let found = server.found;
        self.note(
            "owner",
            &format!(
                "epoch {} serves from {found}, disk {:x}",
                server.epoch.0,
                self.disk.digest()
            ),
        );
        if found < self.told {
            return Err(format!(
                "told to be durable up to {}, and the next owner found {found}",
                self.told
            ));
        }
        self.owner = server;
        self.is_broken = false;
        self.model.cut(found)?;
        self.check()?;
        let told = std::mem::replace(&mut self.told, found);
        let mut sessions = std::mem::take(&mut self.sessions);
        sessions.retain(|session| session.opened <= found);
        self.sessions = sessions;
        for index in 0..self.sessions.len() {
            for sent in self.sessions[index].undurable(told, found) {
                self.send(index, &sent)?;
            }
        }
        self.check().map(drop)
    }
}

/// A fileset of this name.
///
/// # Errors
/// `Invalid` for a name that is none.
pub fn header(name: &str) -> Result<FilesetHeader> {
    Ok(FilesetHeader {
        kind: FilesetKind::ReadWrite,
        name: FilesetName::parse(name)?,
        hash_key: SECRET,
        created: Timestamp(1),
        quota_bytes: 0,
        quota_files: 0,
        newest_snapshot: Lsn(0),
        origin: 0,
        snapshots_taken: 0,
        version: 0,
    })
}
