//! Names, checked once when they arrive. A value of one of these types is a good name.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::{
    CELL_NAME_BYTES_MAX, ENTRY_NAME_BYTES_MAX, FILE_NAME_BYTES_MAX, FILESET_NAME_BYTES_MAX, GROUP_NAME_BYTES_MAX,
    PRINCIPAL_NAME_BYTES_MAX,
};
use crate::{Error, Kind, Result};

/// Where machines' principals are.
const HOSTS: &str = "hosts/";

macro_rules! text_name {
    ($($(#[$doc:meta])* $name:ident, $what:literal, $check:path;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Takes `text` if it is a good name.
            ///
            /// # Errors
            /// `NameTooLong` or `Invalid`, saying which rule is broken.
            pub fn parse(text: &str) -> Result<$name> {
                $check($what, text)?;
                Ok($name(text.to_owned()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<$name> {
                $name::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<$name> {
                $name::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )*};
}

text_name! {
    /// A cell: one or more DNS labels.
    CellName, "cell name", check_domain;
    /// An aggregate: 1 to 31 of `[A-Za-z0-9._-]`, unique in the cell.
    AggregateName, "aggregate name", check_entry;
    /// A server or a server entry: 1 to 31 of `[A-Za-z0-9._-]`, unique in the cell.
    EntryName, "server name", check_entry;
    /// A fileset, without the suffixes `.readonly` and `.backup`, which pick a version of it.
    FilesetName, "fileset name", check_fileset;
    /// A principal without its cell: `alice`, `alice/admin`, `hosts/fs1`.
    PrincipalName, "principal name", check_principal;
    /// A group of the registry.
    GroupName, "group name", check_group;
}

fn bad(what: &str, text: &str, why: &str) -> Error {
    Error::new(Kind::Invalid, format!("{what} '{}'", text.escape_debug())).because(why)
}

fn check_length(what: &str, text: &str, max: usize) -> Result<()> {
    match text.len() {
        0 => Err(bad(what, text, "empty").remedy(format!("give 1 to {max} characters"))),
        len if len > max => {
            let start: String = text.chars().take(24).collect();
            Err(
                Error::new(Kind::NameTooLong, format!("{what} '{}…'", start.escape_debug()))
                    .because(format!("{len} bytes, {max} at most")),
            )
        }
        _ => Ok(()),
    }
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')
}

fn check_words(what: &str, text: &str, max: usize) -> Result<()> {
    check_length(what, text, max)?;
    match text.chars().find(|c| !c.is_ascii() || !is_word(*c as u8)) {
        Some(c) => Err(bad(what, text, &format!("'{}' is not allowed", c.escape_debug()))
            .remedy("use letters, digits, '.', '_' and '-'")),
        None if text == "." || text == ".." => Err(bad(what, text, "reserved")),
        None if text.starts_with('-') => Err(bad(what, text, "starts with '-', as options do")),
        None => Ok(()),
    }
}

fn check_entry(what: &str, text: &str) -> Result<()> {
    check_words(what, text, ENTRY_NAME_BYTES_MAX)
}

fn check_group(what: &str, text: &str) -> Result<()> {
    check_words(what, text, GROUP_NAME_BYTES_MAX)
}

fn check_fileset(what: &str, text: &str) -> Result<()> {
    check_words(what, text, FILESET_NAME_BYTES_MAX)?;
    if !text.bytes().any(|b| b.is_ascii_alphabetic() || b == b'_') {
        return Err(bad(what, text, "no letter and no '_'").remedy("a name of digits would be taken for an id"));
    }
    if text.ends_with(".readonly") || text.ends_with(".backup") {
        return Err(bad(
            what,
            text,
            "the suffixes .readonly and .backup pick a version of a fileset",
        ));
    }
    Ok(())
}

fn check_domain(what: &str, text: &str) -> Result<()> {
    check_words(what, text, CELL_NAME_BYTES_MAX)?;
    for label in text.split('.') {
        let good = (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-');
        if !good || label.contains('_') {
            return Err(bad(what, text, "not a domain name").remedy("write it as DNS would, for example example.org"));
        }
    }
    Ok(())
}

/// Kerberos's shape: components between single slashes. `@`, quotes and control characters would let one
/// principal print as another. Under `hosts/` there are machines and nothing else.
fn check_principal(what: &str, text: &str) -> Result<()> {
    check_length(what, text, PRINCIPAL_NAME_BYTES_MAX)?;
    for part in text.split('/') {
        if part.is_empty() {
            return Err(bad(what, text, "an empty component"));
        }
        check_words(what, part, PRINCIPAL_NAME_BYTES_MAX)?;
    }
    match text.strip_prefix(HOSTS) {
        Some(host) => check_entry("server name", host),
        None => Ok(()),
    }
}

impl FilesetName {
    /// The fileset in which every mount of the cell begins.
    pub const ROOT_CELL: &str = "root.cell";

    /// The name of the fileset in which every mount of the cell begins.
    pub fn root_cell() -> FilesetName {
        FilesetName(Self::ROOT_CELL.to_owned())
    }

    /// Whether it is that one.
    pub fn is_root_cell(&self) -> bool {
        self.0 == Self::ROOT_CELL
    }
}

impl PrincipalName {
    /// The principal of the machine called `host`.
    pub fn host(host: &EntryName) -> PrincipalName {
        PrincipalName(format!("{HOSTS}{host}"))
    }

    /// The machine's name, if this is a machine's principal: always a good [`EntryName`].
    pub fn as_host(&self) -> Option<&str> {
        self.0.strip_prefix(HOSTS)
    }
}

/// A name in a directory: 1 to 255 bytes, compared as bytes, whatever their encoding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(Vec<u8>);

impl FileName {
    /// Takes `bytes` if a directory may hold them.
    ///
    /// # Errors
    /// `NameTooLong`; `Invalid` for an empty name, `.`, `..`, and any with `/` or NUL.
    pub fn parse(bytes: &[u8]) -> Result<FileName> {
        let bad = |kind, why: &str| Error::new(kind, format!("file name '{}'", bytes.escape_ascii())).because(why);
        match bytes {
            b"" => Err(bad(Kind::Invalid, "empty")),
            b"." | b".." => Err(bad(Kind::Invalid, "reserved")),
            _ if bytes.len() > FILE_NAME_BYTES_MAX => Err(Error::new(Kind::NameTooLong, "file name")
                .because(format!("{} bytes, {FILE_NAME_BYTES_MAX} at most", bytes.len()))),
            _ if bytes.contains(&b'/') => Err(bad(Kind::Invalid, "it has a '/'")),
            _ if bytes.contains(&0) => Err(bad(Kind::Invalid, "it has a NUL")),
            _ => Ok(FileName(bytes.to_vec())),
        }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Escaped, so that a newline in a name cannot forge a line of output.
impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(&self.0) {
            Ok(text) => write!(f, "{}", text.escape_debug()),
            Err(_) => write!(f, "{}", self.0.escape_ascii()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fileset_names_follow_dfs() {
        for good in ["user.ito", "root.cell", "_1", "a", &"x".repeat(102)] {
            assert_eq!(FilesetName::parse(good).unwrap().as_str(), good);
        }
        for (bad, kind) in [
            ("", Kind::Invalid),
            ("12.34", Kind::Invalid),
            ("a/b", Kind::Invalid),
            ("a b", Kind::Invalid),
            ("-a", Kind::Invalid),
            ("a.backup", Kind::Invalid),
            ("a.readonly", Kind::Invalid),
            ("h\u{e9}", Kind::Invalid),
            ("a\n", Kind::Invalid),
        ] {
            assert_eq!(FilesetName::parse(bad).unwrap_err().kind, kind, "{bad:?}");
        }
        let error = FilesetName::parse(&"x".repeat(103)).unwrap_err();
        assert_eq!(error.kind, Kind::NameTooLong);
        assert!(error.to_string().contains("103 bytes, 102 at most"), "{error}");
    }

    #[test]
    fn principals_have_components_and_no_tricks() {
        assert_eq!(PrincipalName::parse("hosts/fs1").unwrap().as_host(), Some("fs1"));
        for person in ["alice/admin", "hosts", "hostsx/fs1"] {
            assert_eq!(PrincipalName::parse(person).unwrap().as_host(), None);
        }
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "a@b",
            "a\0",
            "a\\@b",
            "a b",
            "a/../b",
            "hosts/fs1/x",
            &format!("hosts/{}", "x".repeat(32)),
            &"x".repeat(257),
        ] {
            assert!(PrincipalName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn cells_are_domains() {
        assert!(CellName::parse("example.org").is_ok());
        for bad in [
            "",
            ".",
            "a..b",
            "-a.org",
            "a-.org",
            "a_b.org",
            &format!("{}.org", "x".repeat(64)),
        ] {
            assert!(CellName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn file_names_are_bytes() {
        let euc_jp = [0xc6, 0xfc, 0xcb, 0xdc];
        assert_eq!(FileName::parse(&euc_jp).unwrap().as_bytes(), euc_jp);
        assert_eq!(FileName::parse(b"a\nb").unwrap().to_string(), "a\\nb");
        for bad in [&b""[..], b".", b"..", b"a/b", b"a\0b", &[b'x'; 256]] {
            assert!(FileName::parse(bad).is_err());
        }
    }
}
