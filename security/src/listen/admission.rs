//! Who may connect, decided before a byte is read: by address, by counting.
//!
//! Each source (an IPv4 address, or the /64 of an IPv6 one, since a host has all of that) has a number of
//! connections now, and a count of the connects of this minute and of the last. The last minute counts by
//! the part of it that the past 60 seconds still reach into, so a burst over a minute's end is one burst.
//!
//! | source | connect | after |
//! |---|---|---|
//! | below both limits | admitted, counted | |
//! | at the limit of connections | refused | until one ends |
//! | at the limit of connects a minute | refused, shut out | for `deny`; then counted from nothing |
//! | shut out | refused, not counted | |
//! | not known, and the table is full | refused | until a minute's end frees quiet sources |
//!
//! A value without clock, lock or socket: [`super::Listener`] keeps it behind a mutex.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use baton_types::Time;
use baton_types::limits::{
    CONNECT_DENY_SECONDS, CONNECT_SOURCES_MAX, CONNECTIONS_PER_ADDRESS_MAX, CONNECTS_PER_MINUTE_MAX,
};

const SECOND: Time = 1_000_000;
const MINUTE: Time = 60 * SECOND;

/// What one source may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Connections at once.
    pub connections: u32,
    /// Connects in any minute.
    pub connects_per_minute: u32,
    /// Seconds it is shut out after too many of them.
    pub deny_seconds: u64,
    /// Sources remembered.
    pub sources: usize,
}

impl Default for AdmissionLimits {
    fn default() -> AdmissionLimits {
        AdmissionLimits {
            connections: CONNECTIONS_PER_ADDRESS_MAX,
            connects_per_minute: CONNECTS_PER_MINUTE_MAX,
            deny_seconds: CONNECT_DENY_SECONDS,
            sources: CONNECT_SOURCES_MAX,
        }
    }
}

/// What counts as one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(IpAddr);

impl Source {
    /// The source that an address belongs to.
    pub fn of(address: IpAddr) -> Source {
        match address.to_canonical() {
            IpAddr::V4(v4) => Source(v4.into()),
            IpAddr::V6(v6) => Source(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into()),
        }
    }
}

/// Why a connect is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has as many connections as it may.
    Connections,
    /// It connects too often, and is shut out for a while.
    TooOften,
    /// More sources than can be remembered.
    Sources,
}

impl Refusal {
    /// For the log.
    pub fn text(self) -> &'static str {
        match self {
            Refusal::Connections => "it has as many connections as one address may have",
            Refusal::TooOften => "it connects too often and is shut out for a while",
            Refusal::Sources => "more addresses connect than can be counted",
        }
    }
}

/// The counts.
#[derive(Debug)]
pub struct Admission {
    limits: AdmissionLimits,
    counts: HashMap<Source, Count>,
    /// The minute in which quiet sources were last forgotten.
    swept: u64,
    /// Records about sources that have no count of their own.
    stranger: Record,
}

#[derive(Debug, Default)]
struct Count {
    connections: u32,
    /// The minute that `this` is about; `last` is about the one before.
    minute: u64,
    this: u32,
    last: u32,
    denied_until: Time,
    record: Record,
}

/// When a source was last written about in the log, and what was left out since.
#[derive(Debug, Default)]
struct Record {
    quiet_until: Time,
    suppressed: u64,
}

impl Admission {
    /// No source known yet.
    pub fn new(limits: AdmissionLimits) -> Admission {
        Admission {
            limits,
            counts: HashMap::new(),
            swept: 0,
            stranger: Record::default(),
        }
    }

    /// Counts a connect from `source`; one that is admitted is a connection until [`Admission::leave`].
    ///
    /// # Errors
    /// The reason to close it at once.
    pub fn enter(&mut self, now: Time, source: Source) -> Result<(), Refusal> {
        self.sweep(now);
        if !self.counts.contains_key(&source) && self.counts.len() >= self.limits.sources {
            return Err(Refusal::Sources);
        }
        let count = self.counts.entry(source).or_default();
        if now < count.denied_until {
            return Err(Refusal::TooOften);
        }
        count.turn(now);
        if count.in_past_minute(now) >= u64::from(self.limits.connects_per_minute) {
            count.denied_until = now.saturating_add(self.limits.deny_seconds.saturating_mul(SECOND));
            (count.this, count.last) = (0, 0);
            return Err(Refusal::TooOften);
        }
        count.this += 1; // a refusal for its number counts as a connect all the same
        if count.connections >= self.limits.connections {
            return Err(Refusal::Connections);
        }
        count.connections += 1;
        Ok(())
    }

    /// A connection of `source` is over.
    pub fn leave(&mut self, source: Source) {
        if let Some(count) = self.counts.get_mut(&source) {
            count.connections = count.connections.saturating_sub(1);
        }
    }

    /// Whether a record about `source` may be written now: one a minute. `Some(n)`: yes, after n that were not.
    pub fn may_record(&mut self, now: Time, source: Source) -> Option<u64> {
        let record = self
            .counts
            .get_mut(&source)
            .map_or(&mut self.stranger, |count| &mut count.record);
        if now < record.quiet_until {
            record.suppressed += 1;
            return None;
        }
        record.quiet_until = now + MINUTE;
        Some(std::mem::take(&mut record.suppressed))
    }

    /// Forgets, once a minute, the sources of which nothing needs to be known.
    fn sweep(&mut self, now: Time) {
        let minute = now / MINUTE;
        if minute > self.swept {
            self.swept = minute;
            self.counts.retain(|_, count| {
                let is_recent =
                    count.minute + 1 >= minute || now < count.denied_until || now < count.record.quiet_until;
                count.connections > 0 || is_recent
            });
        }
    }
}

impl Count {
    /// Moves the two counts to the minute of `now`.
    fn turn(&mut self, now: Time) {
        let minute = now / MINUTE;
        (self.last, self.this) = match minute.saturating_sub(self.minute) {
            0 => (self.last, self.this),
            1 => (self.this, 0),
            _ => (0, 0),
        };
        self.minute = minute.max(self.minute);
    }

    /// Connects in the past 60 seconds, as if those of the last minute had come evenly.
    fn in_past_minute(&self, now: Time) -> u64 {
        let reaches_back = MINUTE - now % MINUTE;
        u64::from(self.this) + (u64::from(self.last) * reaches_back).div_ceil(MINUTE)
    }
}

#[cfg(test)]
mod tests;
