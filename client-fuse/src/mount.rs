//! `Mount`: one mounted cell, between the kernel's requests and the sessions with its servers.
//!
//! An operation (`ops/`) finds its inode, enters that one's fileset, asks the server, and answers the kernel under the
//! pass it was given. None of that waits: what cannot go on is kept with what is to be done then.

mod changes;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, Weak};

use baton_rpc::sessions::{Order, Sessions, Setup, Who};
use baton_types::call::{Answer, Request};
use baton_types::change::FilesetRef;
use baton_types::file::{MountPoint, Object};
use baton_types::{Clock, Error, Fid, FilesetId, FilesetName, Kind, Result, Vnode};
use bytes::Bytes;
use parking_lot::Mutex;

use crate::filesets::{Fileset, Filesets, Pass};
use crate::gone::Gone;
use crate::handles::Handles;
use crate::inodes::{Inode, Inodes};
use crate::kernel::Kernel;
use crate::opens::Opens;
use crate::pages::Rounds;
use crate::points::Points;
use crate::proof::Proof;
use crate::queued::{After, Which};
use crate::resolve::{Instance, Instances, Target, Version};
use crate::told::Told;
use crate::waiting::{Ask, Waiting};
use crate::who::Threads;
use crate::whole::Whole;
pub(crate) use changes::{Change, Heard, read_only};

/// Where a cell begins.
const FIRST_FILESET: &str = "root.cell";
/// The kernel's number for the root of a mount.
pub const ROOT: u64 = 1;

/// One mounted cell.
pub struct Mount {
    /// The kernel's numbers.
    pub inodes: Inodes,
    /// What programs have open, by number.
    pub handles: Handles,
    /// What programs have open, by file.
    pub opens: Opens,
    /// Where programs work.
    pub filesets: Filesets,
    /// Programs that wait.
    pub waiting: Arc<Waiting>,
    /// Who they are.
    pub threads: Threads,
    pub(crate) points: Points,
    pub(crate) rounds: Rounds,
    /// Programs that came to files that were gone.
    pub(crate) gone: Arc<Gone>,
    pub(crate) whole: Whole,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) proof: Arc<Proof>,
    pub(crate) proving: Mutex<()>,
    /// It has said, or tried to say, all that it had to.
    pub(crate) is_stopped: AtomicBool,
    instances: Mutex<Option<Instances>>,
    sessions: OnceLock<Arc<Sessions>>,
    kernel: OnceLock<Kernel>,
    /// For what is asked for the mount's own sake.
    pub(crate) own: Arc<Who>,
    this: Weak<Mount>,
}

impl Mount {
    /// Begins to follow the cell. Nothing is asked of a file server before the kernel asks something.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(setup: Setup, proof: Arc<Proof>) -> Result<Arc<Mount>> {
        let clock = setup.clock.clone();
        let own = Who {
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            pid: std::process::id(),
        };
        let mount = Arc::new_cyclic(|this| Mount {
            inodes: Inodes::new(proof.clone()),
            handles: Handles::default(),
            opens: Opens::default(),
            filesets: Filesets::default(),
            waiting: Arc::new(Waiting::new(clock.clone())),
            threads: Threads::default(),
            points: Points::default(),
            rounds: Rounds::default(),
            gone: Arc::new(Gone::new(clock.clone())),
            whole: Whole::default(),
            clock,
            proof,
            proving: Mutex::new(()),
            is_stopped: AtomicBool::new(false),
            instances: Mutex::new(None),
            sessions: OnceLock::new(),
            kernel: OnceLock::new(),
            own: Arc::new(own),
            this: this.clone(),
        });
        let sessions = Sessions::start(setup, Arc::new(Told::of(&mount)))?;
        let is_first = mount.sessions.set(sessions).is_ok();
        assert!(is_first, "a mount has one set of sessions");
        crate::told::keep_time(&mount)?;
        Ok(mount)
    }

    /// The kernel is there, and may be told to forget.
    pub fn attached(&self, kernel: Kernel) {
        let is_first = self.kernel.set(kernel).is_ok();
        assert!(is_first, "a mount has one kernel");
    }

    /// The way to the servers.
    pub fn sessions(&self) -> &Arc<Sessions> {
        self.sessions.get().expect("set before anybody has the mount")
    }

    /// What can be told to forget; `None` before the kernel has asked anything.
    pub fn kernel(&self) -> Option<&Kernel> {
        self.kernel.get()
    }

    /// Itself, for what outlives a request.
    pub(crate) fn this(&self) -> Arc<Mount> {
        self.this.upgrade().expect("somebody who has the mount asks")
    }

    /// Asks `request`, which changes nothing, for `who`: after what is queued of the files that it names.
    pub(crate) fn call(
        &self,
        who: &Arc<Who>,
        request: Request,
        payload: Bytes,
        done: impl FnOnce(Result<(Answer, Bytes)>) + Send + 'static,
    ) {
        let named: Vec<Fid> = request.files().into_iter().flatten().collect();
        let queued = named.first().map(|fid| self.filesets.get(fid.fileset));
        let busy = queued.filter(|fileset| fileset.queued.touches(&named));
        let (Some(fileset), Some(fid)) = (busy, named.first()) else {
            self.sessions().call(who, Order::Free, request, payload, Box::new(done));
            return;
        };
        let (mount, who) = (self.this(), who.clone());
        self.after(&fileset, Which::File(*fid), move || {
            mount
                .sessions()
                .call(&who, Order::Free, request, payload, Box::new(done));
        });
    }

    /// Does `then` when what is queued is done, and sees to it that it is sent.
    pub(crate) fn after(&self, fileset: &Fileset, of: Which, then: impl FnOnce() + Send + 'static) {
        if fileset.queued.after(of, then) == After::Waits {
            self.sessions().press(fileset.id);
        }
    }

    /// Waits for that: on a thread of its own, or one that serves nobody else.
    pub(crate) fn wait_for(&self, fileset: &Fileset, of: Which) {
        let (send, hear) = std::sync::mpsc::sync_channel(1);
        self.after(fileset, of, move || send.send(()).unwrap_or_default());
        hear.recv().unwrap_or_default(); // or the mount has ended
    }

    /// Goes into a fileset: at once, or when its server lets us in.
    pub(crate) fn enter(&self, fileset: FilesetId, then: impl FnOnce(&Arc<Mount>, Result<Pass>) + Send + 'static) {
        let mount = self.this();
        let fileset = self.filesets.get(fileset);
        fileset.enter(self.clock.now(), self, Box::new(move |pass| then(&mount, pass)));
    }

    /// Finds the inode that a request is about and enters its fileset.
    pub(crate) fn with<T: Send + 'static>(
        &self,
        number: u64,
        ask: &Ask<T>,
        then: impl FnOnce(&Arc<Mount>, Arc<Inode>, Pass) + Send + 'static,
    ) {
        let ask = ask.clone();
        match self.inodes.get(number) {
            Ok(inode) => self.enter(inode.fid.fileset, move |mount, pass| match pass {
                Ok(pass) => then(mount, inode, pass),
                Err(error) => ask.answer(Err(error)),
            }),
            Err(_) if number == ROOT => self.begin(move |mount, begun| match begun {
                Ok((inode, pass)) => then(mount, inode, pass),
                Err(error) => ask.answer(Err(error)),
            }),
            Err(error) => ask.answer(Err(error)),
        }
    }

    /// Finds where the cell begins: when the kernel first asks for its root.
    fn begin(&self, then: impl FnOnce(&Arc<Mount>, Result<(Arc<Inode>, Pass)>) + Send + 'static) {
        let mount = self.this();
        let name = match FilesetName::parse(FIRST_FILESET) {
            Ok(name) => name,
            Err(error) => return then(&mount, Err(error)),
        };
        let located = move |mount: &Arc<Mount>, record: Result<_>| {
            let target = record.and_then(|record| Target::start(&record));
            let target = match target {
                Ok(target) => target,
                Err(error) => return then(mount, Err(error)),
            };
            let fileset = mount.first(target).fileset;
            mount.enter(fileset, move |mount, pass| {
                let begun = pass.and_then(|pass| Ok((mount.root_inode(&pass)?, pass)));
                then(mount, begun);
            });
        };
        let locator = self.sessions().locator();
        match locator.named(&name) {
            Some(record) => located(&mount, Ok(record)),
            None => locator.look_up_then(FilesetRef::Name(name), move |record| located(&mount, record)),
        }
    }

    /// Where the mount starts; the first who finds out says it for all.
    fn first(&self, target: Target) -> Target {
        let mut instances = self.instances.lock();
        let first = instances
            .get_or_insert_with(|| Instances::new(target))
            .get(Instance::ROOT);
        first.map_or(target, |seen| seen.target)
    }

    /// The kernel knows the root without being told.
    fn root_inode(&self, pass: &Pass) -> Result<Arc<Inode>> {
        if let Ok(inode) = self.inodes.get(ROOT) {
            return Ok(inode);
        }
        let root = pass.fileset.root()?;
        let inode = self.inodes.tell(Instance::ROOT, &root, None)?;
        pass.fileset
            .view(self.clock.now(), self, Instance::ROOT, Box::new(|| {}));
        Ok(inode)
    }

    /// Where the mount point `point`, seen in `above`, leads: the instance, which is pinned, and its fileset.
    pub(crate) fn cross(
        &self,
        above: Instance,
        point: Fid,
        leads_to: MountPoint,
        then: impl FnOnce(&Arc<Mount>, Result<(Instance, FilesetId)>) + Send + 'static,
    ) {
        let (MountPoint::Regular(id) | MountPoint::ReadWrite(id)) = leads_to;
        let mount = self.this();
        let located = move |mount: &Arc<Mount>, record: Result<_>| {
            let entered = record.and_then(|record| {
                let mut instances = mount.instances.lock();
                let instances = instances
                    .as_mut()
                    .ok_or_else(|| Error::new(Kind::Stale, "mount point"))?;
                let gone = || Error::new(Kind::Stale, "mount point");
                let version = instances.get(above).ok_or_else(gone)?.target.version;
                let target = Target::enter(version, leads_to, &record)?;
                let instance = instances.enter(above, point, target)?;
                mount.inodes.pin(instance);
                Ok((instance, target.fileset))
            });
            match entered {
                Ok((instance, id)) => {
                    let fileset = mount.filesets.get(id);
                    let seen = mount.clone();
                    let then = move || then(&seen, Ok((instance, id)));
                    fileset.view(mount.clock.now(), &**mount, instance, Box::new(then));
                }
                Err(error) => then(mount, Err(error)),
            }
        };
        let locator = self.sessions().locator();
        match locator.fileset(id) {
            Some(record) => located(&mount, Ok(record)),
            None => locator.look_up_then(FilesetRef::Id(id), move |record| located(&mount, record)),
        }
    }

    /// The instance of a snapshot, found in the directory of snapshots that is seen in `above`: pinned, and told to
    /// `then` when nothing is kept any more that this makes wrong.
    pub(crate) fn enter_snapshot(
        &self,
        above: Instance,
        found: FoundSnapshot,
        then: impl FnOnce(&Arc<Mount>, Result<Instance>) + Send + 'static,
    ) {
        let mount = self.this();
        let entered = self.instances.lock().as_mut().map(|instances| {
            let instance = instances.enter(above, found.point, Target::snapshot(found.snapshot))?;
            self.inodes.pin(instance);
            Ok(instance)
        });
        match entered.unwrap_or_else(|| Err(Error::new(Kind::Stale, "snapshot"))) {
            Ok(instance) => {
                let (fileset, seen) = (self.filesets.get(found.snapshot), mount);
                let then = move || then(&seen, Ok(instance));
                fileset.view(self.clock.now(), self, instance, Box::new(then));
            }
            Err(error) => then(&mount, Err(error)),
        }
    }

    /// Whether nobody changes anything where an inode is seen: in a snapshot, a backup, a replica.
    pub(crate) fn never_changes(&self, inode: &Inode) -> bool {
        let instances = self.instances.lock();
        let seen = instances.as_ref().and_then(|instances| instances.get(inode.instance));
        inode.fid.vnode == Vnode::SNAPSHOTS || seen.is_some_and(|seen| seen.target.version != Version::ReadWrite)
    }

    /// The mount point that leads to an instance, and the instance it is in; `None` for the first.
    pub(crate) fn through(&self, instance: Instance) -> Option<(Instance, Fid)> {
        self.instances.lock().as_ref()?.get(instance)?.through
    }

    /// The kernel gives back that it was told of an inode so often.
    pub fn forget(&self, number: u64, count: u64) {
        if number == ROOT {
            return; // it is never told of the root, and never forgets it
        }
        if let Some(instance) = self.inodes.forget(number, count) {
            self.leave_instance(instance);
        }
    }

    /// Whether the thread that asks met a file just now that was gone.
    pub(crate) fn looks_again(&self, who: &Who) -> bool {
        self.gone.looks_again(who.pid)
    }

    /// Gives back what [`Mount::cross`] pinned.
    pub(crate) fn unpin(&self, instance: Instance) {
        if self.inodes.unpin(instance) {
            self.leave_instance(instance);
        }
    }

    fn leave_instance(&self, instance: Instance) {
        let mut instances = self.instances.lock();
        let seen = instances.as_ref().and_then(|all| all.get(instance)).copied();
        // It may have been entered again meanwhile.
        let (Some(seen), false) = (seen, self.inodes.is_known(instance) || instance == Instance::ROOT) else {
            return;
        };
        instances.as_mut().into_iter().for_each(|all| all.leave(instance));
        drop(instances);
        let fileset = self.filesets.get(seen.target.fileset);
        fileset.unview(self.clock.now(), self, instance);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.waiting.close();
    }
}

/// A snapshot in the directory of snapshots.
pub(crate) struct FoundSnapshot {
    /// Its id.
    pub snapshot: FilesetId,
    /// The directory, marked by when the snapshot was taken: numbers come again after years, moments do not.
    pub point: Fid,
}

impl Fileset {
    /// Its root directory.
    ///
    /// # Errors
    /// `Io` when its server has not said.
    pub fn root(&self) -> Result<Object> {
        let unknown = || Error::new(Kind::Io, format!("fileset {}", self.id)).because("its root is not known");
        (*self.root.lock()).ok_or_else(unknown)
    }
}

/// A server that answers something else than was asked is broken.
pub(crate) fn unexpected(answer: &Answer) -> Error {
    tracing::error!(?answer, "a server's answer does not go with the question");
    Error::new(Kind::Io, "answer").because("the server answered something else than was asked")
}
