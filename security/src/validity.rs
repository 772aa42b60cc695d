//! From when to when a certificate is good, and when to ask for the next.

use baton_types::{Error, Kind, Result, Timestamp};

/// A certificate is good from a little before it was made, for machines whose clock is behind.
pub const SKEW_SECONDS: u64 = 300;

/// From when to when something is good, both ends included, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: Timestamp,
    /// The last.
    pub not_after: Timestamp,
}

impl Validity {
    /// From now, less [`SKEW_SECONDS`], for `seconds`.
    pub fn starting(now: Timestamp, seconds: u64) -> Validity {
        let before = SKEW_SECONDS as i64 * 1_000_000_000;
        Validity {
            not_before: Timestamp(now.0.saturating_sub(before)),
            not_after: now.plus_seconds(seconds),
        }
    }

    /// This, but over when `other` is.
    #[must_use]
    pub fn within(self, other: Validity) -> Validity {
        Validity {
            not_after: self.not_after.min(other.not_after),
            ..self
        }
    }

    /// True from two thirds of the lifetime on: time to renew, with a third left to try in.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let lifetime = self.not_after.0.saturating_sub(self.not_before.0);
        now.0 >= self.not_after.0.saturating_sub(lifetime / 3)
    }

    /// Refuses what is not good at `now`, naming both times.
    ///
    /// # Errors
    /// `Expired`, `Denied` before the first moment.
    pub fn check(&self, on: &str, now: Timestamp) -> Result<()> {
        if now.seconds() > self.not_after.seconds() {
            return Err(expired(on, now, self.not_after));
        }
        if now.seconds() < self.not_before.seconds() {
            return Err(not_yet(on, now, self.not_before));
        }
        Ok(())
    }
}

/// The refusal of something whose time is over.
pub(crate) fn expired(on: &str, now: Timestamp, not_after: Timestamp) -> Error {
    Error::new(Kind::Expired, on)
        .because(format!("expired at {}, and it is {} here", date(not_after), date(now)))
        .remedy("renew it, or set the clock if that is wrong")
}

/// The refusal of something whose time is to come.
pub(crate) fn not_yet(on: &str, now: Timestamp, not_before: Timestamp) -> Error {
    Error::new(Kind::Denied, on)
        .because(format!(
            "not valid before {}, and it is {} here",
            date(not_before),
            date(now)
        ))
        .remedy("set the clocks of both machines")
}

/// A date as RFC 3339 writes it, in UTC and whole seconds.
pub fn date(at: Timestamp) -> String {
    match jiff::Timestamp::from_second(at.seconds()) {
        Ok(at) => at.to_string(),
        Err(_) => format!("{} s after 1970", at.seconds()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1_000_000_000)
    }

    #[test]
    fn due_from_two_thirds_on() {
        let validity = Validity {
            not_before: seconds(1_000),
            not_after: seconds(4_000),
        };
        assert!(!validity.is_due(seconds(2_999)));
        assert!(validity.is_due(seconds(3_000)));
        assert!(validity.is_due(seconds(9_000)), "and for ever after");
    }

    #[test]
    fn both_times_are_told() {
        let validity = Validity {
            not_before: seconds(0),
            not_after: seconds(86_400),
        };
        let error = validity.check("certificate", seconds(86_401)).unwrap_err();
        assert_eq!(error.kind, Kind::Expired);
        assert!(
            error
                .to_string()
                .contains("1970-01-02T00:00:00Z, and it is 1970-01-02T00:00:01Z"),
            "{error}"
        );
        let error = validity.check("certificate", seconds(-1)).unwrap_err();
        assert_eq!(error.kind, Kind::Denied);
        assert!(
            error
                .to_string()
                .contains("1970-01-01T00:00:00Z, and it is 1969-12-31T23:59:59Z"),
            "{error}"
        );
        validity.check("certificate", seconds(0)).unwrap();
        validity.check("certificate", seconds(86_400)).unwrap();
    }

    #[test]
    fn starts_a_little_early_and_ends_with_its_issuer() {
        let authority = Validity {
            not_before: seconds(0),
            not_after: seconds(2_000),
        };
        let validity = Validity::starting(seconds(1_000), 5_000).within(authority);
        assert_eq!(
            validity,
            Validity {
                not_before: seconds(700),
                not_after: seconds(2_000)
            }
        );
    }

    #[test]
    fn no_date_is_too_far_to_print() {
        assert_eq!(date(Timestamp(i64::MAX)), "2262-04-11T23:47:16Z");
        assert_eq!(date(Timestamp(i64::MIN)), "1677-09-21T00:12:43Z");
    }
}
