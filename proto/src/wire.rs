//! Small pieces of the conversions: names, ids and lists out of bytes, each with a clear refusal.

use baton_types::{Error, Kind, Result};

/// Text out of wire bytes, parsed into a checked type.
pub trait FromWire: Sized {
    /// Takes `bytes` if they are a good value.
    ///
    /// # Errors
    /// `Invalid` for bytes that are not UTF-8; else what the type's own check says.
    fn from_wire(bytes: &[u8]) -> Result<Self>;

    /// The same, where empty bytes mean that there is none.
    ///
    /// # Errors
    /// As [`FromWire::from_wire`].
    fn optional(bytes: &[u8]) -> Result<Option<Self>> {
        if bytes.is_empty() {
            Ok(None)
        } else {
            Self::from_wire(bytes).map(Some)
        }
    }

    /// The same for a list of at most `max`.
    ///
    /// # Errors
    /// `Limit` if there are more; else as [`FromWire::from_wire`].
    fn list(items: &[Vec<u8>], max: usize, what: &str) -> Result<Vec<Self>> {
        at_most(items.len(), max, what)?;
        items.iter().map(|bytes| Self::from_wire(bytes)).collect()
    }
}

macro_rules! from_text {
    ($($name:ident),* $(,)?) => {$(
        impl FromWire for baton_types::$name {
            fn from_wire(bytes: &[u8]) -> Result<Self> {
                Self::parse(text(bytes)?)
            }
        }
    )*};
}

macro_rules! from_uuid {
    ($($name:ident),* $(,)?) => {$(
        impl FromWire for baton_types::$name {
            fn from_wire(bytes: &[u8]) -> Result<Self> {
                Self::from_slice(bytes)
            }
        }
    )*};
}

from_text!(
    Address,
    AggregateName,
    CellName,
    EntryName,
    FilesetName,
    GroupName,
    PrincipalName
);
from_uuid!(AggregateId, CellId, ClientId, Incarnation, ServerId);

impl FromWire for [u8; 32] {
    fn from_wire(bytes: &[u8]) -> Result<Self> {
        bytes
            .try_into()
            .map_err(|_| invalid("hash", format!("{} bytes, not 32", bytes.len())))
    }
}

impl FromWire for [u8; 16] {
    fn from_wire(bytes: &[u8]) -> Result<Self> {
        bytes
            .try_into()
            .map_err(|_| invalid("session", format!("{} bytes, not 16", bytes.len())))
    }
}

/// Refuses more than `max` of `what`.
pub(crate) fn at_most(count: usize, max: usize, what: &str) -> Result<()> {
    if count > max {
        return Err(Error::new(Kind::Limit, what.to_owned()).because(format!("{count} given, {max} at most")));
    }
    Ok(())
}

/// Free text of bounded length without control characters.
pub(crate) fn free_text(text: String, what: &str) -> Result<String> {
    at_most(text.len(), baton_types::limits::TEXT_BYTES_MAX, what)?;
    if text.chars().any(char::is_control) {
        return Err(invalid(what, "it has a control character"));
    }
    Ok(text)
}

pub(crate) fn invalid(on: &str, why: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, on.to_owned()).because(why)
}

/// A message without a part it cannot do without.
pub(crate) fn missing(part: &str) -> Error {
    invalid("message", format!("no {part} in it")).remedy("the two sides may be of versions that do not fit")
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| invalid(&format!("name '{}'", bytes.escape_ascii()), "not UTF-8"))
}

/// The bytes of anything that prints.
pub(crate) fn bytes(value: impl ToString) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// The bytes of each of a list.
pub(crate) fn bytes_list<T: ToString>(values: Vec<T>) -> Vec<Vec<u8>> {
    values.into_iter().map(bytes).collect()
}
