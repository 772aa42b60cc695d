//! Values as people write them, beyond what `baton_types` reads by itself.

use baton_proto::FromWire;
use baton_rpc::fldb::Owner;
use baton_types::change::{AggregateRef, FilesetRef};
use baton_types::units::parse_bytes;
use baton_types::{Address, Error, Kind, Result};
use clap::ValueEnum;

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
