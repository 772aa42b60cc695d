//! The state out of a file, made so that nothing that was given out since it was written is given out again.
//!
//! | what | becomes |
//! |---|---|
//! | counters of ids | greater by a random multiple of 2^20: also one file that is restored twice gives no id twice |
//! | the index | the microseconds since 1970, if that is more: who followed a database that was restored before does not see it go back |
//! | file servers | not running, as far as is known: who runs registers anew, and says where it is and what it serves |
//! | aggregates | served by nobody, in the next era: whoever owns one has a smaller epoch, and claims it anew or loses it to another |
//! | members | the one that begins; the others join it anew |
//! | sessions of changes, invitations | none: what became of them since is not known |
//! | the rest | as it was |
//!
//! What was made since is on the disks alone: `fts syncfldb` of each server makes its entries.

use baton_types::record::{AggregateState, Event, Member};
use baton_types::{Address, EntryName, Epoch, Error, FilesetId, Incarnation, Kind, PrincipalName, Result, Timestamp};
use rpds::RedBlackTreeMapSync as Map;
use uuid::Uuid;

use super::Fldb;

/// What ids jump by, at the least: more than are given out between a backup and the loss of a cell.
const JUMP: u64 = 1 << 20;
/// Jumps of counters of 32 bits at the most: sixty restores of one file after the other leave some of them.
const NARROW_JUMPS_MAX: u64 = 64;

/// No run of any server.
const NOBODY: Incarnation = Incarnation(Uuid::nil());

/// Who begins with the state, and how far the ids jump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restoration {
    /// The first member's host, by its name in the cell.
    pub member: EntryName,
    /// Where it listens.
    pub addresses: Vec<Address>,
    /// It holds the authority's key.
    pub issuer: bool,
    /// Drawn from 1 to [`Restoration::JUMPS_MAX`].
    pub jumps: u64,
    /// Now.
    pub date: Timestamp,
}

impl Restoration {
    /// The most that may be drawn: a thousand restores leave most of the 48 bits of fileset ids.
    pub const JUMPS_MAX: u64 = 1 << 14;
}

impl Fldb {
    /// The state as the first member of a cell begins with it, and the number of that member.
    ///
    /// # Errors
    /// `Invalid` for a state without a cell; `Limit` when ids or eras are used up.
    pub fn restored(mut self, by: &Restoration) -> Result<(Fldb, u64)> {
        if self.cell.is_none() {
            return Err(Error::new(Kind::Invalid, "backup").because("there is no cell in it"));
        }
        let used_up = |what: &str| Error::new(Kind::Limit, what.to_owned()).because("they are used up");
        let wide = by.jumps * JUMP;
        let narrow = u32::try_from((by.jumps % NARROW_JUMPS_MAX + 1) * JUMP).map_err(|_| used_up("ids"))?;
        let narrow = |counter: u32| counter.checked_add(narrow).ok_or_else(|| used_up("ids"));
        self.next.fileset += wide;
        if self.next.fileset >= FilesetId::END {
            return Err(used_up("fileset ids"));
        }
        self.next.entry = narrow(self.next.entry)?;
        self.next.aggregate = narrow(self.next.aggregate)?;
        self.next.principal = narrow(self.next.principal)?;
        let number = self.next.member + wide;
        self.next.member = number + 1;
        let micros = u64::try_from(by.date.0 / 1_000).unwrap_or(0);
        self.applied = (self.applied + JUMP).max(micros);
        self.horizon = self.applied;
        (self.sessions, self.session_order, self.invitations) = (Map::default(), Map::default(), Map::default());
        let member = Member {
            number,
            name: by.member.clone(),
            addresses: by.addresses.clone(),
            issuer: by.issuer,
        };
        self.members = Map::default().insert(number, member);
        let servers: Vec<_> = self.servers.values().cloned().collect();
        for mut server in servers {
            server.incarnation = None;
            self.servers.insert_mut(server.id, server);
        }
        self.begin_era(by.date).ok_or_else(|| used_up("eras"))?;
        let event = Event {
            index: self.applied,
            date: by.date,
            by: PrincipalName::host(&by.member),
            what: "restore".to_owned(),
            on: "location database".to_owned(),
            detail: "from a file; what is newer is on the disks".to_owned(),
        };
        self.events.insert_mut(event.index, event);
        Ok((self, number))
    }

    /// Nobody serves anything; the next grants are of an era that nobody knows.
    fn begin_era(&mut self, date: Timestamp) -> Option<()> {
        let newest = self
            .aggregates
            .values()
            .map(|known| known.epoch.era())
            .max()
            .unwrap_or(0);
        let epoch = Epoch::new(newest.checked_add(1)?, 0);
        let all: Vec<_> = self.aggregates.values().cloned().collect();
        for mut aggregate in all {
            (aggregate.target, aggregate.epoch) = (None, epoch);
            // The owner is given time to claim it.
            aggregate.run = aggregate.owner.map(|_| NOBODY);
            if aggregate.state != AggregateState::Detached {
                aggregate.state = AggregateState::Unserved;
                aggregate.since = date;
                "the location database came back from a file".clone_into(&mut aggregate.reason);
            }
            self.aggregates.insert_mut(aggregate.id, aggregate);
        }
        Some(())
    }
}
