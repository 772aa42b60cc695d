//! Transcripts: what happens, `----`, what is to be done; and the short names in them.
//!
//! A client is a letter, a fileset `f1`, a file in it `f1.7`, a range `0-99` or, to the end, `0-`. Calls get tickets in
//! their order: `#1`, `#2`. `BATON_UPDATE_TESTDATA=1` writes the second halves anew.

use std::fmt::Write;
use std::path::Path;

use baton_types::call::{Hold, Lock, LockKind, Patience};
use baton_types::units::parse_duration;
use baton_types::{ClientId, Fid, FilesetId, Time, Vnode};
use uuid::Uuid;

use crate::tokens::Note;

/// Plays `testdata/NAME`; `line` does what one line says.
pub(crate) fn play(name: &str, mut line: impl FnMut(&str) -> Option<Vec<String>>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut happened = String::new();
    for part in text.split_inclusive("\n\n") {
        let input = part.split("----\n").next().unwrap();
        writeln!(happened, "{}\n----", input.trim_end()).unwrap();
        for input in input
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        {
            let shown = line(input).unwrap_or_else(|| panic!("{name}: cannot read: {input}"));
            shown.iter().for_each(|line| writeln!(happened, "{line}").unwrap());
        }
        happened.push('\n');
    }
    let happened = format!("{}\n", happened.trim_end());
    if std::env::var_os("BATON_UPDATE_TESTDATA").is_some() {
        return std::fs::write(&path, &happened).unwrap();
    }
    assert!(text == happened, "{name} happened otherwise:\n{happened}");
}

/// Every transcript of a folder has its test: a file that nobody plays shows nothing.
pub(crate) fn assert_all_played(folder: &str, played: &[&str]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(folder);
    let mut there: Vec<String> = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    there.sort();
    assert_eq!(there, played);
}

pub(crate) fn client(text: &str) -> Option<ClientId> {
    match text.as_bytes() {
        [letter @ b'a'..=b'z'] => Some(ClientId(Uuid::from_u128(u128::from(*letter)))),
        _ => None,
    }
}

pub(crate) fn client_name(client: ClientId) -> char {
    char::from(u8::try_from(client.0.as_u128()).unwrap())
}

pub(crate) fn fileset(text: &str) -> Option<FilesetId> {
    Some(FilesetId(text.strip_prefix('f')?.parse().ok()?))
}

pub(crate) fn fid(text: &str) -> Option<Fid> {
    let (in_fileset, vnode) = text.split_once('.')?;
    let vnode = Vnode::new(vnode.parse().ok()?).ok()?;
    Some(Fid {
        fileset: fileset(in_fileset)?,
        vnode,
        unique: vnode.number(),
    })
}

pub(crate) fn fid_name(fid: Fid) -> String {
    format!("f{}.{}", fid.fileset.0, fid.vnode.number())
}

pub(crate) fn micros(text: &str) -> Option<Time> {
    u64::try_from(parse_duration(text).ok()?.as_micros()).ok()
}

/// `1 write 0-99`: the lock of the client's program 1.
pub(crate) fn lock(owner: &str, kind: &str, range: &str) -> Option<Lock> {
    let kind = match kind {
        "read" => LockKind::Read,
        "write" => LockKind::Write,
        "unlock" => LockKind::Unlock,
        _ => return None,
    };
    let (first, last) = range.split_once('-')?;
    let owner: u32 = owner.parse().ok()?;
    Some(Lock {
        owner: u64::from(owner),
        first: first.parse().ok()?,
        last: if last.is_empty() { u64::MAX } else { last.parse().ok()? },
        kind,
        pid: owner,
    })
}

pub(crate) fn patience(rest: &[&str]) -> Option<Patience> {
    match rest {
        [] => Some(Patience::None),
        ["wait"] => Some(Patience::Wait),
        _ => None,
    }
}

pub(crate) fn lock_name(lock: &Lock) -> String {
    let last = if lock.last == u64::MAX {
        String::new()
    } else {
        lock.last.to_string()
    };
    let kind = match lock.kind {
        LockKind::Read => "read",
        LockKind::Write => "write",
        LockKind::Unlock => "unlock",
    };
    format!("{} {kind} {}-{last}", lock.owner, lock.first)
}

pub(crate) fn hold_name(hold: Hold) -> &'static str {
    match hold {
        Hold::Alone => "alone",
        Hold::Shared => "shared",
    }
}

pub(crate) fn note_name(note: Note) -> String {
    match note {
        Note::Hold(fileset, client) => format!("{} in f{}", client_name(client), fileset.0),
        Note::Drop(fileset, client) => format!("{} not in f{}", client_name(client), fileset.0),
        Note::Client(client) => format!("{} lives", client_name(client)),
        Note::Lapsed(client) => format!("{} lapsed", client_name(client)),
        Note::End(client) => format!("{} ends", client_name(client)),
    }
}
