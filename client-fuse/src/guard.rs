//! The guard: a small parent of the daemon, which ends a mount whose daemon cannot.
//!
//! A daemon that is stopped or stuck invalidates nothing, and the kernel goes on to show what it holds: pages,
//! attributes, names, also names that do not exist; even after the connection is aborted or the daemon is gone, to
//! whoever has a file open or mapped. So the guard has a copy of each mount's FUSE device, and sees its proof. When
//! that runs out (I4), or the daemon dies:
//!
//! 1. it aborts the connection: what waits in it fails, and nothing new comes into the kernel;
//! 2. it makes a new epoch of names; the daemon lets no kernel keep names that does not know epochs;
//! 3. it invalidates every inode that the daemon said the kernel knows. These notices pass an aborted connection,
//!    for as long as somebody has the device open, which is the guard's copy.
//!
//! What is left refuses everything (ENOTCONN) and hides nothing behind it. The daemon mounts anew when it goes on;
//! when it is dead, its mounts are unmounted.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use baton_proto::v1::{self, guard_note};
use baton_rpc::daemon::until_it_ends;
use baton_rpc::local::Line;
use baton_types::{BootClock, Clock, Error, Kind, Result};
use parking_lot::Mutex;
use tokio::process::Command;
use tokio::time::interval;

use crate::attach::{self, InUse};
use crate::kernel::{Forgotten, Kernel};
use crate::proof::GUARD_LEAD;
use crate::table::Table;

/// Between two looks at the proofs: a third of [`GUARD_LEAD`].
const LOOK: Duration = Duration::from_millis(250);

/// The mounts under guard.
type Watched = Arc<Mutex<Vec<Watch>>>;

/// One of them.
#[derive(Debug)]
struct Watch {
    minor: u32,
    directory: PathBuf,
    kernel: Kernel,
    table: Table,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Served,
    Ended,
}

/// Starts `daemon`, whose standard input is its line to the guard, and guards its mounts until it ends. Signals
/// that come here go on to it.
///
/// # Errors
/// Whatever keeps the daemon from being started or its mounts from being guarded.
pub async fn run(mut daemon: Command) -> Result<ExitStatus> {
    attach::list_connections()?;
    let (ours, theirs) = UnixStream::pair().map_err(|e| Error::io("socket", e))?;
    let on = format!("{:?}", daemon.as_std().get_program());
    let mut child = daemon
        .stdin(OwnedFd::from(theirs))
        .spawn()
        .map_err(|e| Error::io(on, e))?;
    drop(daemon); // and with it the daemon's end of the line
    let watched = Watched::default();
    let heard = watched.clone();
    std::thread::Builder::new()
        .name("guard-line".to_owned())
        .spawn(move || listen(Line::new(ours), &heard))
        .map_err(|e| Error::io("thread", e))?;
    let status = tokio::select! {
        status = until_it_ends(&mut child) => status?,
        never = look_at_proofs(&watched) => match never {},
    };
    let mut left = watched.lock();
    if !left.is_empty() {
        tracing::error!(%status, mounts = left.len(), "the daemon ended and left mounts behind; they are unmounted");
    }
    left.iter_mut().for_each(Watch::abort);
    for watch in left.drain(..) {
        watch.forget();
        watch.unmount();
    }
    Ok(status)
}

/// Looks at the proofs, for ever.
async fn look_at_proofs(watched: &Watched) -> Infallible {
    let mut look = interval(LOOK);
    loop {
        look.tick().await;
        end_unproven(&mut watched.lock());
    }
}

/// Ends the mounts whose proof has run out. All connections first: that is quick.
fn end_unproven(watched: &mut [Watch]) {
    let due = BootClock.now() + GUARD_LEAD;
    let is_due = |watch: &&mut Watch| watch.state == State::Served && watch.table.until() <= due;
    let mut ended: Vec<&mut Watch> = watched.iter_mut().filter(is_due).collect();
    ended.iter_mut().for_each(|watch| watch.abort());
    for watch in ended {
        let nodes = watch.forget();
        tracing::error!(
            directory = %watch.directory.display(),
            nodes,
            "the daemon has not proved that what it caches is true: the mount is cut off until it goes on"
        );
    }
}

impl Watch {
    fn of(note: v1::GuardWatch, descriptors: Vec<OwnedFd>) -> Result<Watch> {
        let [device, memory] = <[OwnedFd; 2]>::try_from(descriptors)
            .map_err(|some| Error::new(Kind::Invalid, "note").because(format!("{} descriptors, not 2", some.len())))?;
        Ok(Watch {
            minor: note.minor,
            directory: std::ffi::OsString::from_vec(note.directory).into(),
            kernel: Kernel::over(device)?,
            table: Table::open(memory)?,
            state: State::Served,
        })
    }

    fn abort(&mut self) {
        self.state = State::Ended;
        if let Err(error) = attach::abort(self.minor) {
            tracing::error!(%error, "a connection is not aborted");
        }
    }

    /// Makes the kernel forget all that it holds of this mount; says of how many inodes.
    fn forget(&self) -> usize {
        if let Err(error) = self.kernel.forget_names() {
            tracing::error!(%error, "the kernel does not forget names");
        }
        let mut count = 0;
        for node in self.table.nodes() {
            match self.kernel.forget_inode(node) {
                Ok(Forgotten::Yes) => count += 1,
                Ok(Forgotten::Unknown) => {} // forgotten already, or not learned yet: there is no answer any more
                Err(error) => tracing::error!(%error, node, "the kernel does not forget an inode"),
            }
        }
        count
    }

    /// Takes it out of the tree, if it is there still.
    fn unmount(&self) {
        if attach::minor_of(&self.directory) != Ok(self.minor) {
            return;
        }
        if let Err(error) = attach::detach(&self.directory, InUse::Detach) {
            tracing::error!(%error, "not unmounted");
        }
    }
}

/// Hears which mounts there are, until the daemon is gone.
fn listen(mut line: Line, watched: &Watched) {
    loop {
        let heard = line.receive::<v1::GuardNote>().and_then(|note| match note {
            Some((note, descriptors)) => take(note, descriptors, watched).map(Some),
            None => Ok(None),
        });
        let failure = match heard {
            Ok(Some(())) => None,
            Ok(None) => return,
            Err(error) => Some(v1::Failure::from(&error)),
        };
        if line.send(&v1::ClientReply { failure, what: None }, &[]).is_err() {
            return; // the daemon is gone: whoever waits for it sees that too
        }
    }
}

fn take(note: v1::GuardNote, descriptors: Vec<OwnedFd>, watched: &Watched) -> Result<()> {
    match note.what {
        Some(guard_note::What::Watch(note)) => watched.lock().push(Watch::of(note, descriptors)?),
        Some(guard_note::What::Release(note)) => watched.lock().retain(|watch| watch.minor != note.minor),
        Some(guard_note::What::CutOff(note)) => cut_off(&mut watched.lock(), note.minor),
        None => return Err(Error::new(Kind::Invalid, "note").because("empty")),
    }
    Ok(())
}

/// Ends a mount because its daemon says so.
fn cut_off(watched: &mut [Watch], minor: u32) {
    let is_meant = |watch: &&mut Watch| watch.minor == minor && watch.state == State::Served;
    if let Some(watch) = watched.iter_mut().find(is_meant) {
        watch.abort();
        watch.forget();
        watch.unmount();
    }
}

/// The daemon's end of the line.
#[derive(Debug)]
pub struct Guardian(Mutex<Line>);

impl Guardian {
    /// The one that this process was started by.
    ///
    /// # Errors
    /// `Invalid` when standard input is no such line.
    pub fn of_this_process() -> Result<Guardian> {
        let line = io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|e| Error::io("standard input", e))?;
        let is_socket = rustix::net::sockopt::socket_type(&line).is_ok();
        if !is_socket {
            return Err(Error::new(Kind::Invalid, "batond")
                .because("its standard input is no line to a guard")
                .remedy("start it without --daemon"));
        }
        Ok(Guardian(Mutex::new(Line::new(line.into()))))
    }

    /// Puts a mount under guard.
    ///
    /// # Errors
    /// What the guard says; `Unreachable` when it is gone.
    pub fn watch(&self, directory: &std::path::Path, attached: &attach::Attached, proof: &Table) -> Result<()> {
        let note = guard_note::What::Watch(v1::GuardWatch {
            minor: attached.minor,
            directory: directory.as_os_str().to_owned().into_vec(),
        });
        self.tell(note, &[attached.device.as_fd(), proof.as_fd()])
    }

    /// Takes a mount that is gone from its guard.
    ///
    /// # Errors
    /// As for [`Guardian::watch`].
    pub fn release(&self, minor: u32) -> Result<()> {
        self.tell(guard_note::What::Release(v1::GuardRelease { minor }), &[])
    }

    /// Ends a mount now: what programs have open in it fails, and shows nothing any more.
    ///
    /// # Errors
    /// As for [`Guardian::watch`].
    pub fn cut_off(&self, minor: u32) -> Result<()> {
        self.tell(guard_note::What::CutOff(v1::GuardCutOff { minor }), &[])
    }

    fn tell(&self, what: guard_note::What, descriptors: &[std::os::fd::BorrowedFd<'_>]) -> Result<()> {
        let mut line = self.0.lock();
        line.send(&v1::GuardNote { what: Some(what) }, descriptors)?;
        match line.receive::<v1::ClientReply>()? {
            Some((reply, _)) => reply.failure.map_or(Ok(()), |failure| Err(failure.into())),
            None => Err(Error::new(Kind::Unreachable, "guard").because("it is gone")),
        }
    }
}
