//! `passwd(5)` and `group(5)`, line by line: what each says, and what is wrong with it.
//!
//! A line that makes no sense costs that line, and is named by its number. Lines that begin with `+` or `-` stand for
//! something that a name service would put there; it is not in the file, and they are counted.

use std::io::Read as _;
use std::path::Path;

use baton_types::{Error, Kind, Result};

/// A million people with long names; what is longer is no such file.
const FILE_BYTES_MAX: u64 = 128 << 20;
const PASSWD_FIELDS: usize = 7;
const GROUP_FIELDS: usize = 4;

/// A line of a passwd file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub line: usize,
    /// As it stands there: whether it is a good name is asked of those that are wanted.
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

/// A line of a group file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub line: usize,
    pub name: String,
    pub gid: u32,
    pub members: Vec<String>,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    pub line: usize,
    pub why: String,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines<T> {
    pub rows: Vec<T>,
    pub bad: Vec<Bad>,
    /// Lines that stand for what is somewhere else.
    pub elsewhere: usize,
}

/// All bytes of a file.
///
/// # Errors
/// When it cannot be read; `Limit` if it is too long.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let io = |error| Error::io(path.display().to_string(), error);
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(io)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Error::new(Kind::Limit, path.display().to_string())
            .because(format!("longer than {} MiB", FILE_BYTES_MAX >> 20)));
    }
    Ok(bytes)
}

/// The lines of a passwd file.
pub fn people(bytes: &[u8]) -> Lines<Person> {
    lines(bytes, |line, text| {
        let [name, _, uid, gid, _, _, _] = fields::<PASSWD_FIELDS>(text)?;
        Ok(Person {
            line,
            name: name_of(name)?,
            uid: number("uid", uid)?,
            gid: number("gid", gid)?,
        })
    })
}

/// The lines of a group file.
pub fn groups(bytes: &[u8]) -> Lines<Group> {
    lines(bytes, |line, text| {
        let [name, _, gid, members] = fields::<GROUP_FIELDS>(text)?;
        let members = members.split(|b| *b == b',').map(<[u8]>::trim_ascii);
        Ok(Group {
            line,
            name: name_of(name)?,
            gid: number("gid", gid)?,
            // A member whose name is no text is none of the people.
            members: members.filter(|name| !name.is_empty()).map(lossy).collect(),
        })
    })
}

fn lines<T>(bytes: &[u8], parse: impl Fn(usize, &[u8]) -> Result<T, String>) -> Lines<T> {
    let mut all = Lines {
        rows: Vec::new(),
        bad: Vec::new(),
        elsewhere: 0,
    };
    for (index, text) in bytes.split(|b| *b == b'\n').enumerate() {
        let (line, text) = (index + 1, text.trim_ascii_end());
        match text.trim_ascii_start().first() {
            None | Some(b'#') => {}
            Some(b'+' | b'-') => all.elsewhere += 1,
            Some(_) => match parse(line, text) {
                Ok(row) => all.rows.push(row),
                Err(why) => all.bad.push(Bad { line, why }),
            },
        }
    }
    all
}

fn fields<const COUNT: usize>(text: &[u8]) -> Result<[&[u8]; COUNT], String> {
    let all: Vec<&[u8]> = text.split(|b| *b == b':').collect();
    let count = all.len();
    all.try_into().map_err(|_| {
        format!(
            "{} with ':' between them, not {COUNT}",
            crate::output::count(count, "field")
        )
    })
}

fn name_of(bytes: &[u8]) -> Result<String, String> {
    match std::str::from_utf8(bytes) {
        Ok("") => Err("no name".to_owned()),
        Ok(name) => Ok(name.to_owned()),
        Err(_) => Err(format!("name '{}' is not UTF-8", bytes.escape_ascii())),
    }
}

fn number(what: &str, bytes: &[u8]) -> Result<u32, String> {
    let digits = std::str::from_utf8(bytes)
        .ok()
        .filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| format!("{what} '{}' is no number of 32 bits", bytes.escape_ascii()))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
