//! Values as people write them, beyond what `baton_types` reads by itself.

use baton_proto::FromWire;
use baton_rpc::fldb::Owner;
use baton_types::change::{AggregateRef, FilesetRef};
use baton_types::units::parse_bytes;
use baton_types::{Address, Error, FileName, Kind, Result, Timestamp};
use clap::ValueEnum;
use jiff::civil::DateTime;
use jiff::{Span, Zoned};

/// Yes or no, where leaving it out means "as it is".
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// Yes.
    On,
    /// No.
    Off,
}

impl Switch {
    /// Whether it is on.
    pub fn is_on(self) -> bool {
        self == Switch::On
    }
}

/// A fileset by name or id. DFS lets `.readonly` and `.backup` pick a version; they lead to the same entry.
pub fn fileset(text: &str) -> Result<FilesetRef> {
    let name = text
        .strip_suffix(".readonly")
        .or_else(|| text.strip_suffix(".backup"))
        .unwrap_or(text);
    FilesetRef::from_wire(name.as_bytes())
}

/// The fileset of somebody's home directory.
pub fn home(user: &str) -> Result<FilesetRef> {
    fileset(&format!("user.{user}"))
}

/// The name of a snapshot.
pub fn file_name(text: &str) -> Result<FileName> {
    FileName::parse(text.as_bytes())
}

/// A moment: with its zone or by this machine's, or so long ago.
pub fn moment(text: &str) -> Result<Timestamp> {
    let now = Zoned::now();
    let zone = now.time_zone();
    let civil = |date: DateTime| date.to_zoned(zone.clone()).ok();
    let found = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let ago = text.ends_with("ago").then(|| text.parse::<Span>().ok()).flatten();
        let at = ago.and_then(|span| now.checked_add(span).ok());
        let at = at.or_else(|| text.parse::<DateTime>().ok().and_then(civil));
        at.map(|at| at.timestamp())
    });
    let nanos = found.and_then(|at| i64::try_from(at.as_nanosecond()).ok());
    nanos.map(Timestamp).ok_or_else(|| {
        Error::new(Kind::Invalid, format!("time '{}'", text.escape_debug()))
            .because("neither a date nor so long ago")
            .remedy("write it as 2026-11-20, '2026-11-20 17:30', 2026-11-20T17:30:00Z or '2 days ago'")
    })
}

/// A server by its address, or by the path that DCE had for its host in this cell.
pub fn server(text: &str) -> Result<Address> {
    if text.starts_with("/.../") {
        return Err(Error::new(Kind::Invalid, format!("server '{}'", text.escape_debug()))
            .because("a path that names its cell")
            .remedy("write the host alone, and -cell before the cell's name"));
    }
    Address::parse(text.strip_prefix("/.:/hosts/").unwrap_or(text))
}

/// An aggregate by name or number.
pub fn aggregate(text: &str) -> Result<AggregateRef> {
    AggregateRef::from_wire(text.as_bytes())
}

/// Owner and group of a directory, in numbers: `uid` or `uid:gid`.
pub fn owner(text: &str) -> Result<Owner> {
    let number = |part: &str| {
        part.parse::<u32>().map_err(|_| {
            Error::new(Kind::Invalid, format!("owner '{}'", text.escape_debug()))
                .because("not a number")
                .remedy("write uid or uid:gid, for example 1001:100")
        })
    };
    let (uid, gid) = text.split_once(':').unwrap_or((text, text));
    Ok(Owner {
        uid: number(uid)?,
        gid: number(gid)?,
    })
}

/// A size with its unit: DFS counted in units of 1,024 bytes and Baton counts bytes, so a bare number
/// would mean one thing to a person and another to the program.
pub fn size(text: &str) -> Result<u64> {
    if text != "0" && text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Error::new(Kind::Invalid, format!("size '{text}'"))
            .because("no unit")
            .remedy(format!("write {text}K for units of 1,024 bytes, as DFS counted")));
    }
    parse_bytes(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_dates_or_so_long_ago() {
        let second = 1_000_000_000;
        let at = moment("2026-11-20T17:30:00Z").unwrap();
        assert_eq!(at, Timestamp(1_795_195_800 * second));
        assert_eq!(moment("2026-11-20 18:30+01:00").unwrap(), at);
        let day = moment("2026-11-20").unwrap();
        assert_eq!(moment("2026-11-20 00:00").unwrap(), day);
        assert_eq!(moment("2026-11-20T01:00").unwrap(), day.plus_seconds(3_600));
        let [two, one] = ["2 hours ago", "1h ago"].map(|text| moment(text).unwrap());
        assert!(two < one && one < moment("1 minute ago").unwrap());
        for bad in ["", "ago", "yesterday", "2 days", "2026-13-01", "in 2 days"] {
            let error = moment(bad).unwrap_err();
            assert!(error.to_string().contains("'2 days ago'"), "{bad}: {error}");
        }
    }
}
