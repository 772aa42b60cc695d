//! Durations and sizes as people write them: `"250ms"`, `"8h"`, `"1d2h"`, `"64MiB"`.

use std::time::Duration;

use crate::{Error, Kind, Result};

const DURATIONS: [(&str, u64); 6] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
];

const SIZES: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("K", 1 << 10),
    ("M", 1 << 20),
    ("G", 1 << 30),
    ("T", 1 << 40),
];

/// Reads `15m`, `250ms`, or DFS's `[Nd][Nh][Nm][Ns]` in any order.
///
/// # Errors
/// `Invalid` with the units there are.
pub fn parse_duration(text: &str) -> Result<Duration> {
    let bad = || {
        Error::new(Kind::Invalid, format!("duration '{}'", text.escape_debug()))
            .because("not numbers with units")
            .remedy("write for example 250ms, 30s, 15m, 8h or 1d12h")
    };
    let mut rest = text.trim();
    let mut micros: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (number, after) = rest.split_at(digits);
        let unit_len = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        let scale = DURATIONS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?.1;
        let number: u64 = number.parse().map_err(|_| bad())?;
        micros = number
            .checked_mul(scale)
            .and_then(|part| micros.checked_add(part))
            .ok_or_else(bad)?;
        rest = after;
    }
    if text.trim().is_empty() {
        Err(bad())
    } else {
        Ok(Duration::from_micros(micros))
    }
}

/// Writes a duration so that [`parse_duration`] reads the same back.
pub fn format_duration(duration: Duration) -> String {
    let mut micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, scale) in DURATIONS.iter().rev() {
        if micros >= *scale {
            text += &format!("{}{unit}", micros / scale);
            micros %= scale;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Reads `64MiB`, `1G`, `4096`.
///
/// # Errors
/// `Invalid` with the units there are.
pub fn parse_bytes(text: &str) -> Result<u64> {
    let bad = || {
        Error::new(Kind::Invalid, format!("size '{}'", text.escape_debug()))
            .because("not a number with a unit")
            .remedy("write for example 4096, 512KiB, 64MiB, 10GiB or 1TiB")
    };
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = SIZES.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(bad)?.1;
    number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(scale))
        .ok_or_else(bad)
}

/// Writes a size with the largest unit that keeps it a whole number.
pub fn format_bytes(bytes: u64) -> String {
    for (unit, scale) in SIZES[2..6].iter().rev() {
        if bytes >= *scale && bytes.is_multiple_of(*scale) {
            return format!("{}{unit}", bytes / scale);
        }
    }
    format!("{bytes}B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_back() {
        for (text, micros) in [
            ("250ms", 250_000),
            ("15m", 900_000_000),
            ("1d2h", 93_600_000_000),
            ("0s", 0),
        ] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_micros(micros));
            assert_eq!(format_duration(Duration::from_micros(micros)), text);
        }
        for bad in [
            "",
            "5",
            "ms",
            "5 minutes",
            "-1s",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_read_and_written_back() {
        for (text, bytes) in [("64MiB", 64 << 20), ("4095B", 4095), ("1TiB", 1 << 40)] {
            assert_eq!(parse_bytes(text).unwrap(), bytes);
            assert_eq!(format_bytes(bytes), text);
        }
        assert_eq!(parse_bytes("10G").unwrap(), 10 << 30);
        for bad in ["", "MiB", "1XB", "-1", "1.5GiB", "18446744073709551615TiB"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }
}
