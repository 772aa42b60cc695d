//! What the mount is told unasked, what it does for its holds, and time.
//!
//! Giving a hold back: answers are not kept from the moment of [`Action::Doubt`] on. Then, on a thread of its own for
//! each fileset, since each of these may wait for a request under way:
//!
//! 1. all names are asked for again, those on their way to the kernel among them (a new epoch);
//! 2. each inode of the fileset: attributes and pages. One that the kernel does not know yet is just being taken out
//!    of an answer of ours: it is tried again until the kernel knows it or gives it back;
//! 3. changes that were begun alone are answered;
//! 4. the server hears of every file that is open.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use baton_rpc::sessions::{Events, Reclaim};
use baton_types::call::{Answer, Coming, Hold, Request};
use baton_types::{AggregateId, Error, FilesetId, Kind, Result, Time};
use bytes::Bytes;

use crate::filesets::{Carry, Fileset, Lives};
use crate::holds::{Action, Event, Use};
use crate::inodes::Inode;
use crate::kernel::{Forgotten, Kernel};
use crate::mount::{Mount, unexpected};
use crate::opens::{Next, Outcome};
use crate::proof::GUARD_LEAD;

/// Between two looks at the clock.
const TICK: Duration = Duration::from_millis(250);
/// What is believed is forgotten so long before its lifetime ends, in microseconds: the guard's own margin, a tick,
/// and a second for the kernel to forget a million inodes.
const LAPSE_LEAD: Time = GUARD_LEAD + 1_250_000;
/// A fileset is in use for so long after a call, in microseconds.
const IN_USE: Time = 5_000_000;
/// Between two tries to make the kernel forget an inode that it is just learning of.
const LEARNING: Duration = Duration::from_millis(1);
/// After so many tries it never learned of it: the answer did not arrive.
const TRIES_MAX: u32 = 2_000;

/// The mount's ear.
pub struct Told(Weak<Mount>);

impl Told {
    /// Tells `mount` for as long as it is there.
    pub fn of(mount: &Arc<Mount>) -> Told {
        Told(Arc::downgrade(mount))
    }

    fn step(&self, fileset: FilesetId, event: Event) {
        if let Some(mount) = self.0.upgrade() {
            let now = mount.clock.now();
            mount.filesets.get(fileset).step(now, &*mount, event);
        }
    }
}

impl Events for Told {
    fn revoked(&self, fileset: FilesetId, serial: u64) {
        self.step(fileset, Event::Revoked(serial));
    }

    fn reclaim(&self, fileset: FilesetId) -> Reclaim {
        self.step(fileset, Event::Returning);
        self.0.upgrade().map_or_else(Reclaim::default, |mount| Reclaim {
            opens: mount.opens.known(fileset),
            locks: mount.filesets.get(fileset).locked(),
        })
    }

    fn rejoined(&self, fileset: FilesetId, hold: Hold, serial: u64) {
        self.step(fileset, Event::Rejoined(hold, serial));
    }

    fn lapsed(&self, aggregate: AggregateId, filesets: &[FilesetId]) {
        tracing::warn!(%aggregate, ?filesets, "the server was silent for a lifetime: nothing of before counts");
        for id in filesets {
            self.step(*id, Event::Lapsed);
        }
    }

    fn lost(&self, aggregate: AggregateId, filesets: &[FilesetId]) {
        tracing::error!(%aggregate, ?filesets, "the session is lost: locks are gone, and what was not yet durable");
        let Some(mount) = self.0.upgrade() else {
            return;
        };
        for id in filesets {
            let fileset = mount.filesets.get(*id);
            let locked: HashSet<_> = fileset.locks.lock().lost().into_iter().collect();
            mount.handles.lose(&locked);
            mount.opens.lost(*id);
            self.step(*id, Event::Lost);
        }
    }

    fn dropped(&self, request: &Request, error: &Error) {
        let Some(mount) = self.0.upgrade() else {
            return;
        };
        for fid in request.files().into_iter().flatten() {
            let seen = mount.inodes.seen(fid);
            seen.iter().for_each(|inode| inode.fail(error.clone()));
        }
    }

    fn alive(&self, _: AggregateId, _: Time) {
        if let Some(mount) = self.0.upgrade() {
            mount.prove();
        }
    }
}

/// Starts the threads that look at the clock and after those who wait; they end with the mount.
///
/// # Errors
/// When there are no more threads.
pub fn keep_time(mount: &Arc<Mount>) -> Result<()> {
    let no_thread = |e| Error::io("thread", e);
    let waiting = mount.waiting.clone();
    std::thread::Builder::new()
        .name("waiting".to_owned())
        .spawn(move || waiting.run())
        .map_err(no_thread)?;
    let weak = Arc::downgrade(mount);
    std::thread::Builder::new()
        .name("clock".to_owned())
        .spawn(move || {
            while let Some(mount) = weak.upgrade() {
                mount.tick();
                drop(mount);
                std::thread::sleep(TICK);
            }
        })
        .map_err(no_thread)?;
    Ok(())
}

impl Mount {
    fn tick(&self) {
        let now = self.clock.now();
        for fileset in self.filesets.all() {
            let is_silent = fileset.is_believed() && !self.lives(&fileset);
            if is_silent {
                tracing::warn!(fileset = %fileset.id, "its server is silent: nothing of it is cached any more");
            }
            if is_silent || fileset.is_alone_in_vain() {
                fileset.step(now, self, Event::Lapsed);
            }
            let is_busy =
                fileset.used() + IN_USE > now || self.opens.any(fileset.id) || !fileset.locks.lock().is_empty();
            fileset.step(now, self, Event::Tick(if is_busy { Use::Busy } else { Use::Idle }));
        }
        self.prove();
    }

    /// Whether there is time to forget what is believed of a fileset before its lifetime ends.
    fn lives(&self, fileset: &Fileset) -> bool {
        self.sessions().alive_until(fileset.id) >= self.clock.now() + LAPSE_LEAD
    }

    /// Tells the guard until when all that the kernel holds is true. One at a time: the last word is the newest.
    fn prove(&self) {
        let _turn = self.proving.lock();
        let held = self.filesets.all().into_iter().filter(|fileset| fileset.is_held());
        let dates = held.map(|fileset| fileset.true_until(self.sessions().alive_until(fileset.id)));
        match dates.min() {
            Some(until) => self.proof.extend(until),
            None => self.proof.nothing_cached(),
        }
    }

    fn join(&self, fileset: &Arc<Fileset>, coming: Coming) {
        let (mount, fileset) = (self.this(), fileset.clone());
        let request = Request::Join {
            fileset: fileset.id,
            coming,
        };
        self.call(&self.own, request, Bytes::new(), move |answer| {
            let event = match answer {
                Ok((Answer::Joined { hold, serial, root }, _)) => {
                    *fileset.root.lock() = Some(root);
                    Event::Joined(hold, serial)
                }
                Ok((other, _)) => {
                    unexpected(&other);
                    Event::Refused
                }
                Err(error) => {
                    tracing::warn!(%error, fileset = %fileset.id, "not let in");
                    Event::Refused
                }
            };
            fileset.step(mount.clock.now(), &*mount, event);
        });
    }

    fn leave(&self, fileset: &Arc<Fileset>) {
        let (mount, fileset) = (self.this(), fileset.clone());
        let request = Request::Leave { fileset: fileset.id };
        self.call(&self.own, request, Bytes::new(), move |answer| {
            if let Err(error) = answer {
                tracing::warn!(%error, fileset = %fileset.id, "not left");
            }
            fileset.step(mount.clock.now(), &*mount, Event::Left);
        });
    }

    fn give_back(&self, fileset: &Arc<Fileset>, serial: u64) {
        let id = fileset.id;
        let request = Request::Return { fileset: id, serial };
        self.call(&self.own, request, Bytes::new(), move |answer| {
            if let Err(error) = answer {
                tracing::warn!(%error, fileset = %id, serial, "a hold is not given back");
            }
        });
    }

    /// On a thread of its own: it waits.
    fn settle(&self, fileset: &Arc<Fileset>, run: u64, words: Words) {
        let (mount, settled) = (self.this(), fileset.clone());
        let thread = std::thread::Builder::new().name("settle".to_owned()).spawn(move || {
            mount.forget_all(&settled);
            if words == Words::Open {
                settled.wait_for_changes();
                mount.tell_opens(settled.id);
            }
            settled.step(mount.clock.now(), &*mount, Event::Settled(run));
        });
        if let Err(error) = thread {
            // The guard ends a mount that cannot forget: its proof is not extended for a fileset in doubt.
            tracing::error!(%error, fileset = %fileset.id, "no thread to make the kernel forget");
        }
    }

    /// As that, for pages alone: names and attributes are asked for each time.
    fn clear(&self, fileset: &Arc<Fileset>, run: u64) {
        let (mount, cleared) = (self.this(), fileset.clone());
        let thread = std::thread::Builder::new().name("clear".to_owned()).spawn(move || {
            if mount.forget_pages(cleared.id).is_ok() {
                cleared.step(mount.clock.now(), &*mount, Event::Settled(run));
            }
        });
        if let Err(error) = thread {
            tracing::error!(%error, fileset = %fileset.id, "no thread to make the kernel forget pages");
        }
    }

    fn forget_pages(&self, id: FilesetId) -> Result<()> {
        let Some(kernel) = self.kernel() else {
            return Ok(());
        };
        for inode in self.inodes.of(id).into_iter().filter(|inode| inode.forgetting()) {
            if let Err(error) = kernel.forget_inode(inode.number) {
                tracing::error!(%error, number = inode.number, "the kernel does not forget pages: nothing is cached");
                return Err(error);
            }
        }
        Ok(())
    }

    fn forget_all(&self, fileset: &Fileset) {
        let Some(kernel) = self.kernel() else {
            return fileset.forgotten();
        };
        if let Err(error) = kernel.forget_names() {
            tracing::error!(%error, "the kernel does not forget names");
        }
        let inodes = self.inodes.of(fileset.id);
        // Attributes first, all of them: that waits for nobody, and no page is shown without them.
        let mut learning: Vec<_> = inodes
            .iter()
            .filter(|inode| !forget_attributes(kernel, inode))
            .collect();
        for _ in 0..TRIES_MAX {
            if learning.is_empty() {
                break;
            }
            std::thread::sleep(LEARNING);
            learning.retain(|inode| self.inodes.get(inode.number).is_ok() && !forget_attributes(kernel, inode));
        }
        fileset.forgotten();
        for inode in &inodes {
            if let Err(error) = kernel.forget_inode(inode.number) {
                tracing::error!(%error, number = inode.number, "the kernel does not forget pages");
            }
        }
    }

    fn tell_opens(&self, id: FilesetId) {
        for fid in self.opens.to_tell(id) {
            let answer = self.sessions().ask(&self.own, Request::Open { fid }, Bytes::new());
            self.opened_at_server(fid, answer.map(|_| ()));
        }
        self.opens.wait_until_told(id);
    }

    /// The server was told that a file is open.
    pub(crate) fn opened_at_server(&self, fid: baton_types::Fid, answer: Result<()>) {
        let outcome = match answer {
            Ok(()) => Outcome::Known,
            Err(error) => {
                tracing::debug!(%error, %fid, "the server does not know what is open");
                Outcome::Unknown
            }
        };
        if self.opens.told(fid, outcome) == Next::Tell {
            self.close_at_server(fid);
        }
    }

    /// Tells the server that a file is open no more.
    pub(crate) fn close_at_server(&self, fid: baton_types::Fid) {
        let mount = self.this();
        self.call(&self.own, Request::Close { fid }, Bytes::new(), move |answer| {
            if let Err(error) = answer.as_ref()
                && error.kind != Kind::NotFound
            {
                tracing::debug!(%error, %fid, "not closed");
            }
            mount.opens.told(fid, Outcome::Unknown);
        });
    }
}

/// Whether the server is told what is open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Words {
    /// Of open files.
    Open,
    /// Of nothing: it is silent, or nobody else is there.
    Nothing,
}

/// Says whether the kernel knew it.
fn forget_attributes(kernel: &Kernel, inode: &Inode) -> bool {
    match kernel.forget_attributes(inode.number) {
        Ok(forgotten) => forgotten == Forgotten::Yes,
        Err(error) => {
            tracing::error!(%error, number = inode.number, "the kernel does not forget attributes");
            true
        }
    }
}

impl Carry for Mount {
    fn carry(&self, fileset: &Arc<Fileset>, action: Action) {
        match action {
            Action::Join(coming) => self.join(fileset, coming),
            Action::Forget(run) => self.settle(fileset, run, Words::Nothing),
            Action::Clear(run) => self.clear(fileset, run),
            Action::Settle(run) => self.settle(fileset, run, Words::Open),
            Action::Return(serial) => self.give_back(fileset, serial),
            Action::Leave => self.leave(fileset),
            Action::Admit | Action::Refuse | Action::Believe | Action::Doubt => {
                unreachable!("the fileset does these itself")
            }
        }
    }

    fn believing(&self, fileset: &Arc<Fileset>) -> Lives {
        if !self.lives(fileset) {
            return Lives::No;
        }
        self.prove();
        Lives::Yes
    }
}
