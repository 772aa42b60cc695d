//! The mounts of a machine, each with a thread that stays with it until it is gone.
//!
//! | what happens to a mount | what is done |
//! |---|---|
//! | somebody unmounts it | what no server has yet is said; then the mount is gone here too |
//! | its connection is aborted (by the guard, because it could not prove what it caches) | it is mounted anew at once; the old one says what it has to say and goes |
//! | the daemon is to end | it is unmounted; where programs still use it, the guard cuts them off, or the end of the daemon when its guard is gone |
//!
//! Mounting waits for no server: all that is waited for is the kernel's first question.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use baton_rpc::sessions::Setup;
use baton_types::{CellName, Error, Kind, Result};
use parking_lot::{Condvar, Mutex};

use crate::attach::{self, Access, InUse, Options};
use crate::guard::Guardian;
use crate::proof::Proof;
use crate::served::Served;

/// How long a mount may take to say what it has to say before its daemon ends: less than the 90 s after which a
/// service manager kills it.
pub const STOP: Duration = Duration::from_secs(60);
/// The same for a mount that was replaced: no program waits for it, and its servers may be away for a night.
const STOP_REPLACED: Duration = Duration::from_secs(24 * 3_600);
/// Between two attempts to mount anew.
const RETRY: Duration = Duration::from_secs(1);

/// What to mount, where and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Which cell.
    pub cell: CellName,
    /// Where: absolute, links followed.
    pub directory: PathBuf,
    /// How.
    pub options: Options,
    /// Servers are dialled from this address.
    pub source: Option<IpAddr>,
}

/// What a mount is made of.
pub struct Parts {
    /// How to ask the servers of its cell.
    pub sessions: Setup,
    /// What programs may do.
    pub access: Access,
    /// Its word to the guard.
    pub proof: Arc<Proof>,
    /// Requests come from it; the first has not been answered.
    pub device: OwnedFd,
}

/// What answers the kernel for one mount.
pub struct Begun {
    /// What the daemon asks of it.
    pub served: Arc<dyn Served>,
    /// Answers until the connection is over.
    pub run: Box<dyn FnOnce() -> Result<()> + Send>,
}

/// Makes what answers the kernel, and answers its first question.
pub type Begin = Box<dyn Fn(&Plan, Arc<Proof>, OwnedFd) -> Result<Begun> + Send + Sync>;

/// All mounts of this daemon.
pub struct Mounts {
    begin: Begin,
    guardian: Guardian,
    live: Mutex<Vec<Arc<Live>>>,
    gone: Condvar,
    is_ending: AtomicBool,
}

/// One of them.
struct Live {
    plan: Plan,
    minor: AtomicU32,
    served: Mutex<Arc<dyn Served>>,
    /// Nobody cuts it off before this process ends, which does.
    ends_with_us: AtomicBool,
}

impl Mounts {
    /// None yet.
    pub fn new(guardian: Guardian, begin: Begin) -> Arc<Mounts> {
        Arc::new(Mounts {
            begin,
            guardian,
            live: Mutex::default(),
            gone: Condvar::new(),
            is_ending: AtomicBool::new(false),
        })
    }

    /// Mounts.
    ///
    /// # Errors
    /// `Busy` when something of ours is mounted there; what the system says.
    pub fn mount(self: &Arc<Self>, plan: Plan) -> Result<()> {
        let directory = plan.directory.clone();
        let mut live = self.live.lock();
        if self.is_ending.load(Ordering::SeqCst) {
            return Err(Error::new(Kind::Busy, "batond").because("it is just ending"));
        }
        check_free(&directory)?;
        let (minor, begun) = self.begin(&plan)?;
        let mount = Arc::new(Live {
            plan,
            minor: AtomicU32::new(minor),
            served: Mutex::new(begun.served),
            ends_with_us: AtomicBool::new(false),
        });
        let (mounts, own) = (self.clone(), mount.clone());
        std::thread::Builder::new()
            .name("mount".to_owned())
            .spawn(move || mounts.stay_with(&own, begun.run))
            .map_err(|e| Error::io("thread", e))?;
        tracing::info!(cell = %mount.plan.cell, directory = %directory.display(), "mounted");
        live.push(mount);
        Ok(())
    }

    /// Unmounts what is mounted at `directory`, and waits until it is gone here too.
    ///
    /// # Errors
    /// `NotFound` for what is not mounted by this daemon; `Busy`.
    pub fn unmount(&self, directory: &Path, in_use: InUse) -> Result<()> {
        let find = |live: &[Arc<Live>]| live.iter().rfind(|mount| mount.plan.directory == directory).cloned();
        let mount = find(&self.live.lock()).ok_or_else(|| {
            Error::new(Kind::NotFound, directory.display().to_string()).because("nothing of ours is mounted there")
        })?;
        attach::detach(directory, in_use)?;
        if in_use == InUse::Refuse {
            let is_there = |live: &mut Vec<Arc<Live>>| live.iter().any(|other| Arc::ptr_eq(other, &mount));
            self.gone.wait_while(&mut self.live.lock(), is_there);
        }
        Ok(())
    }

    /// What is mounted.
    pub fn list(&self) -> Vec<Plan> {
        self.live.lock().iter().map(|mount| mount.plan.clone()).collect()
    }

    /// The mount that files with this minor number in their `st_dev` are in, and its cell.
    pub fn find(&self, minor: u32) -> Option<(CellName, Arc<dyn Served>)> {
        let live = self.live.lock();
        let mount = live.iter().find(|mount| mount.minor.load(Ordering::SeqCst) == minor)?;
        Some((mount.plan.cell.clone(), mount.served.lock().clone()))
    }

    /// What each mount's daemon side is, with its cell.
    pub fn served(&self) -> Vec<(CellName, Arc<dyn Served>)> {
        let live = self.live.lock();
        live.iter()
            .map(|mount| (mount.plan.cell.clone(), mount.served.lock().clone()))
            .collect()
    }

    /// Unmounts everything: programs that still use a mount are cut off once all that they wrote is safe.
    pub fn end(&self) {
        self.is_ending.store(true, Ordering::SeqCst);
        let all = self.live.lock().clone();
        std::thread::scope(|scope| {
            for mount in &all {
                scope.spawn(|| self.end_one(mount));
            }
        });
        let is_waited_for = |mount: &Arc<Live>| !mount.ends_with_us.load(Ordering::SeqCst);
        self.gone
            .wait_while(&mut self.live.lock(), |live| live.iter().any(is_waited_for));
    }

    fn end_one(&self, mount: &Live) {
        let directory = &mount.plan.directory;
        if attach::detach(directory, InUse::Refuse).is_ok() {
            return;
        }
        tracing::warn!(directory = %directory.display(), "programs use it, and are cut off");
        mount.stop(STOP);
        let minor = mount.minor.load(Ordering::SeqCst);
        if let Err(error) = self.guardian.cut_off(minor) {
            tracing::warn!(%error, directory = %directory.display(), "its guard is gone: it ends with the daemon");
            mount.leave_to_the_end(minor);
            self.gone.notify_all();
        }
    }

    /// Answers the kernel until the mount is gone for good.
    fn stay_with(&self, mount: &Arc<Live>, run: Box<dyn FnOnce() -> Result<()> + Send>) {
        let directory = &mount.plan.directory;
        let mut run = run;
        loop {
            if let Err(error) = run() {
                tracing::error!(%error, directory = %directory.display(), "the kernel is not answered any more");
            }
            let minor = mount.minor.load(Ordering::SeqCst);
            let is_left_behind = attach::minor_of(directory) == Ok(minor);
            if is_left_behind && let Err(error) = attach::detach(directory, InUse::Detach) {
                tracing::error!(%error, "not unmounted");
            }
            if let Err(error) = self.guardian.release(minor) {
                tracing::error!(%error, "the guard does not answer");
            }
            if !is_left_behind || self.is_ending.load(Ordering::SeqCst) {
                break;
            }
            tracing::warn!(directory = %directory.display(), "the mount was cut off; it is mounted anew");
            match self.anew(mount) {
                Some(next) => run = next,
                None => break,
            }
        }
        mount.stop(STOP);
        self.live.lock().retain(|other| !Arc::ptr_eq(other, mount));
        self.gone.notify_all();
        tracing::info!(cell = %mount.plan.cell, directory = %directory.display(), "unmounted");
    }

    /// Mounts again where a mount was cut off, however long that takes; `None` when the daemon is ending.
    fn anew(&self, mount: &Arc<Live>) -> Option<Box<dyn FnOnce() -> Result<()> + Send>> {
        loop {
            if self.is_ending.load(Ordering::SeqCst) {
                return None;
            }
            match self.begin(&mount.plan) {
                Ok((minor, begun)) => {
                    mount.minor.store(minor, Ordering::SeqCst);
                    let old = std::mem::replace(&mut *mount.served.lock(), begun.served);
                    let stop = move || stop(&*old, STOP_REPLACED);
                    if let Err(error) = std::thread::Builder::new().name("replaced".to_owned()).spawn(stop) {
                        tracing::error!(%error, "what the mount had to say is lost");
                    }
                    return Some(begun.run);
                }
                Err(error) => tracing::warn!(%error, "not mounted anew yet"),
            }
            std::thread::sleep(RETRY);
        }
    }

    /// Mounts, under guard, and answers the kernel's first question.
    fn begin(&self, plan: &Plan) -> Result<(u32, Begun)> {
        let proof = Arc::new(Proof::new()?);
        let attached = attach::attach(plan.cell.as_str(), &plan.directory, plan.options)?;
        let minor = attached.minor;
        let begun = self
            .guardian
            .watch(&plan.directory, &attached, proof.table())
            .and_then(|()| (self.begin)(plan, proof, attached.device));
        match begun {
            Ok(begun) => {
                if let Err(error) = attach::read_ahead(minor) {
                    tracing::warn!(%error, "reading ahead stays as it is");
                }
                Ok((minor, begun))
            }
            Err(error) => {
                // What led here is what the caller is told.
                let _ = attach::detach(&plan.directory, InUse::Detach);
                let _ = self.guardian.release(minor);
                Err(error)
            }
        }
    }
}

impl Live {
    fn stop(&self, within: Duration) {
        let served = self.served.lock().clone();
        stop(&*served, within);
    }

    /// The kernel ends the connection when the last descriptor of it is closed: with this process. Not by its number,
    /// which may be another mount's by now. Nothing new comes into the kernel, as servers are asked no more.
    fn leave_to_the_end(&self, minor: u32) {
        self.served.lock().clone().forget();
        let directory = &self.plan.directory;
        let is_there = attach::minor_of(directory) == Ok(minor);
        if is_there && let Err(error) = attach::detach(directory, InUse::Detach) {
            tracing::error!(%error, "not unmounted");
        }
        self.ends_with_us.store(true, Ordering::SeqCst);
    }
}

fn stop(served: &dyn Served, within: Duration) {
    if let Err(error) = served.stop(within) {
        tracing::error!(%error, "a mount ended before it had said all");
    }
}

/// Takes a mount away whose daemon is gone; refuses a place where one is served.
fn check_free(directory: &Path) -> Result<()> {
    if !attach::mounted()?.iter().any(|other| other == directory) {
        return Ok(());
    }
    if attach::is_dead(directory) {
        tracing::warn!(directory = %directory.display(), "the daemon of the mount here is gone; it is taken away");
        return attach::detach(directory, InUse::Detach);
    }
    Err(Error::new(Kind::Busy, directory.display().to_string())
        .because("a cell is mounted there already")
        .remedy("unmount it first: umount DIRECTORY"))
}

/// Takes away what daemons left behind that are gone.
pub fn take_away_the_dead() {
    let mounted = attach::mounted().unwrap_or_else(|error| {
        tracing::warn!(%error, "whether old mounts were left behind is not known");
        Vec::new()
    });
    // Each look may take a second, at the mount of another daemon whose servers are away.
    std::thread::scope(|scope| {
        for directory in &mounted {
            scope.spawn(move || take_away_if_dead(directory));
        }
    });
}

fn take_away_if_dead(directory: &Path) {
    if !attach::is_dead(directory) {
        return;
    }
    match attach::detach(directory, InUse::Detach) {
        Ok(()) => tracing::info!(directory = %directory.display(), "a mount without a daemon is taken away"),
        Err(error) => tracing::warn!(%error, "a mount without a daemon is not taken away"),
    }
}
