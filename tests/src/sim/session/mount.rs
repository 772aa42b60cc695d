//! A mount: the client's core under test, and a program that asks it for things.

use std::collections::{BTreeMap, BTreeSet};

use baton_rpc::session::client::{Client, Order};
use baton_types::call::{At, Coming, Request};
use baton_types::{AggregateId, Fid, FilesetId, Time, Timestamp, Vnode};
use uuid::Uuid;

use crate::invariants::i06_once_in_order::Change;
use crate::sim::{NodeClock, Seed};

/// Things that a program asks for before it ends.
const ASKED: u64 = 40;
/// Calls that it has open at once.
const OPEN_MAX: usize = 6;
/// The one fileset.
pub const FILESET: FilesetId = FilesetId(4);

/// What a call was for.
#[derive(Clone, Debug)]
pub enum Purpose {
    /// To take part.
    Join,
    /// A change.
    Change(Change),
    /// A read, and what it must show.
    Read(BTreeSet<Change>),
    /// Durability, and of what.
    Sync(BTreeSet<Change>),
}

/// One client.
pub struct Mount {
    /// What is tested.
    pub core: Client,
    /// Its own time.
    pub clock: NodeClock,
    /// It stands still until then.
    pub asleep_until: Time,
    /// When it will be woken, by virtual time.
    pub wake_at: Time,
    /// Calls that were not answered.
    pub open: BTreeMap<u64, Purpose>,
    /// Changes of its own that it was shown.
    pub seen: BTreeSet<Change>,
    /// It takes part.
    pub is_joined: bool,
    /// What is left to ask for.
    pub left: u64,
    /// It has asked for everything, and all of that is durable.
    pub is_synced: bool,
    calls: u64,
    changes: u64,
}

/// What the program does next.
pub enum Wish {
    /// A request and its order; what it is for is known by the call's number.
    Ask(u64, Request, Order),
    /// Durability.
    Sync(u64),
    /// It waits no longer.
    Cancel(u64),
    /// Nothing now.
    Wait,
}

impl Mount {
    /// A mount that asked for nothing yet.
    pub fn new(seed: &mut Seed) -> Mount {
        Mount {
            core: Client::new(AggregateId(Uuid::nil())),
            clock: NodeClock::drawn(seed),
            asleep_until: 0,
            wake_at: Time::MAX,
            open: BTreeMap::new(),
            seen: BTreeSet::new(),
            is_joined: false,
            left: ASKED,
            is_synced: false,
            calls: 0,
            changes: 0,
        }
    }

    /// It has asked for everything and was answered.
    pub fn is_done(&self) -> bool {
        self.is_synced && self.open.is_empty()
    }

    /// The next thing to do. `expected` is what a read must show, and a sync make durable.
    pub fn wish(&mut self, own: usize, seed: &mut Seed, shown: BTreeSet<Change>, synced: BTreeSet<Change>) -> Wish {
        let is_last = self.left == 0 && self.open.is_empty() && !self.is_synced;
        if !is_last && (self.left == 0 || self.open.len() >= OPEN_MAX) {
            return Wish::Wait;
        }
        self.calls += 1;
        let call = self.calls;
        if is_last {
            self.open.insert(call, Purpose::Sync(synced));
            return Wish::Sync(call);
        }
        if !self.is_joined {
            if self.open.values().any(|purpose| matches!(purpose, Purpose::Join)) {
                return Wish::Wait;
            }
            let (fileset, coming) = (FILESET, Coming::Fresh);
            self.open.insert(call, Purpose::Join);
            return Wish::Ask(call, Request::Join { fileset, coming }, Order::Free);
        }
        self.left -= 1;
        match seed.below(100) {
            0..3 if !self.open.is_empty() => {
                let index = seed.index(self.open.len());
                let (call, _) = self.open.iter().nth(index).expect("an index below the length");
                Wish::Cancel(*call)
            }
            0..20 => {
                self.open.insert(call, Purpose::Read(shown));
                Wish::Ask(call, Request::Getattr { fid: fid(own) }, Order::Free)
            }
            20..35 => {
                self.open.insert(call, Purpose::Sync(synced));
                Wish::Sync(call)
            }
            drawn => {
                self.changes += 1;
                let number = self.changes;
                self.open.insert(call, Purpose::Change(Change { client: own, number }));
                let request = Request::Write {
                    fid: fid(own),
                    at: At::Offset(number),
                    time: Timestamp(1),
                };
                let order = if drawn < 65 { Order::Queued } else { Order::Free };
                Wish::Ask(call, request, order)
            }
        }
    }
}

/// Which change a request asks for.
pub fn change_of(own: usize, request: &Request) -> Option<Change> {
    match request {
        Request::Write {
            at: At::Offset(number), ..
        } => Some(Change {
            client: own,
            number: *number,
        }),
        _ => None,
    }
}

fn fid(own: usize) -> Fid {
    Fid {
        fileset: FILESET,
        vnode: Vnode::new(own as u64 + 2).expect("small numbers are vnodes"),
        unique: 9,
    }
}
