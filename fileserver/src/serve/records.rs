//! What is written to the log about strangers: one line for each address a minute, however much nonsense it sends.

use std::collections::BTreeMap;
use std::net::IpAddr;

use baton_types::{Error, Time};
use parking_lot::Mutex;

/// Between two lines about one address.
const PAUSE_MICROS: Time = 60_000_000;
/// Addresses remembered; beyond that they are forgotten all at once.
const ADDRESSES_MAX: usize = 4_096;

/// When each address was written about, and how often it was passed over since.
#[derive(Debug, Default)]
pub(super) struct Records {
    table: Mutex<BTreeMap<IpAddr, (Time, u64)>>,
}

impl Records {
    /// Says why a connection from `address` was cut off.
    pub(super) fn refused(&self, now: Time, address: IpAddr, error: &Error) {
        if let Some(suppressed) = self.may(now, address) {
            tracing::warn!(%address, %error, suppressed, "connection cut off");
        }
    }

    fn may(&self, now: Time, address: IpAddr) -> Option<u64> {
        let mut table = self.table.lock();
        if table.len() >= ADDRESSES_MAX && !table.contains_key(&address) {
            table.clear();
        }
        match table.get_mut(&address) {
            Some((last, suppressed)) if now < *last + PAUSE_MICROS => {
                *suppressed += 1;
                None
            }
            Some(entry) => Some(std::mem::replace(entry, (now, 0)).1),
            None => {
                table.insert(address, (now, 0));
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn one_line_a_minute_says_how_many_were_left_out() {
        let (records, address) = (Records::default(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert_eq!(records.may(0, address), Some(0));
        assert_eq!(records.may(1, address), None);
        assert_eq!(records.may(2, address), None);
        assert_eq!(records.may(PAUSE_MICROS, address), Some(2));
        assert_eq!(records.may(PAUSE_MICROS + 1, IpAddr::V4(Ipv4Addr::BROADCAST)), Some(0));
    }
}
