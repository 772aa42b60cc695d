//! The list of filesets: made, renamed, hidden, found by page.

use std::collections::BTreeMap;

use baton_types::{FilesetId, FilesetName, Kind, Timestamp};

use super::sandbox::{refusal, scratch};
use crate::fileset::catalog::{create, find, header, hide, list, list_hidden, rename, set_quota};
use crate::format::{FilesetHeader, FilesetKind, HashKey, Lsn};
use crate::transaction::Transaction;
use crate::transaction::scratch::Scratch;
use crate::tree::Stop;

fn name(text: &str) -> FilesetName {
    FilesetName::parse(text).unwrap()
}

fn fresh(text: &str) -> FilesetHeader {
    FilesetHeader {
        kind: FilesetKind::ReadWrite,
        name: name(text),
        hash_key: HashKey([1; 16]),
        created: Timestamp(5),
        quota_bytes: 0,
        quota_files: 0,
        newest_snapshot: Lsn(0),
        origin: 0,
        snapshots_taken: 0,
        version: 0,
    }
}

fn change(s: &mut Scratch, make: impl FnOnce(&mut Transaction<'_>) -> Result<(), Stop>) -> Result<(), Kind> {
    s.change(&Scratch::operation(0), make).map_err(refusal)
}

fn found(s: &Scratch, text: &str) -> Option<FilesetId> {
    s.read(|view| find(view, &name(text))).unwrap()
}

#[test]
fn fileset_is_found_by_name_and_by_id() {
    let mut s = scratch();
    let id = FilesetId(30);
    change(&mut s, |t| create(t, id, &fresh("user.ito"))).unwrap();
    assert_eq!(found(&s, "user.ito"), Some(id));
    assert_eq!(s.read(|view| header(view, id)).unwrap(), fresh("user.ito"));
    assert_eq!(
        s.read(|view| header(view, FilesetId(31))).map_err(refusal),
        Err(Kind::NotFound)
    );
    assert_eq!(change(&mut s, |t| create(t, id, &fresh("user.abe"))), Err(Kind::Exists));
    assert_eq!(
        change(&mut s, |t| create(t, FilesetId(33), &fresh("user.ito"))),
        Err(Kind::Exists)
    );
    for bad in [0, 1 << 63] {
        assert_eq!(
            change(&mut s, |t| create(t, FilesetId(bad), &fresh("x"))),
            Err(Kind::Invalid)
        );
    }
}

#[test]
fn rename_and_quota_change_the_header_and_nothing_else() {
    let mut s = scratch();
    let [a, b] = [FilesetId(30), FilesetId(33)];
    change(&mut s, |t| create(t, a, &fresh("a"))).unwrap();
    change(&mut s, |t| create(t, b, &fresh("b"))).unwrap();
    assert_eq!(change(&mut s, |t| rename(t, a, &name("b"))), Err(Kind::Exists));
    change(&mut s, |t| rename(t, a, &name("a"))).unwrap();
    change(&mut s, |t| rename(t, a, &name("c"))).unwrap();
    assert_eq!(
        (found(&s, "a"), found(&s, "b"), found(&s, "c")),
        (None, Some(b), Some(a))
    );
    change(&mut s, |t| set_quota(t, a, 1_000, 10)).unwrap();
    let expected = FilesetHeader {
        quota_bytes: 1_000,
        quota_files: 10,
        ..fresh("c")
    };
    assert_eq!(s.read(|view| header(view, a)).unwrap(), expected);
    assert_eq!(
        change(&mut s, |t| rename(t, FilesetId(36), &name("d"))),
        Err(Kind::NotFound)
    );
}

#[test]
fn hidden_fileset_gives_its_name_free_and_waits() {
    let mut s = scratch();
    let id = FilesetId(30);
    change(&mut s, |t| create(t, id, &fresh("a"))).unwrap();
    change(&mut s, |t| hide(t, id)).unwrap();
    assert_eq!(found(&s, "a"), None);
    assert_eq!(s.read(|view| header(view, id)).unwrap().kind, FilesetKind::Deleting);
    assert_eq!(s.read(|view| list(view, 0, 10)).unwrap().entries, []);
    let hidden = s.read(|view| list_hidden(view, 0, 10)).unwrap();
    assert_eq!(
        (hidden.entries.len(), hidden.entries[0].fileset, hidden.next),
        (1, id, None)
    );
    for again in [
        change(&mut s, |t| hide(t, id)),
        change(&mut s, |t| rename(t, id, &name("b"))),
    ] {
        assert_eq!(again, Err(Kind::NotFound));
    }
    assert_eq!(change(&mut s, |t| set_quota(t, id, 1, 1)), Err(Kind::NotFound));
    change(&mut s, |t| create(t, FilesetId(33), &fresh("a"))).unwrap();
    assert_eq!(found(&s, "a"), Some(FilesetId(33)));
    assert_eq!(
        change(&mut s, |t| create(t, id, &fresh("b"))),
        Err(Kind::Exists),
        "an id is never used again"
    );
}

#[test]
fn twenty_thousand_filesets_are_listed_once_each() {
    let mut s = scratch();
    let expected: BTreeMap<_, _> = (0..20_000)
        .map(|n| (FilesetId(3 * n + 1), format!("user.u{n}")))
        .collect();
    for (id, text) in &expected {
        change(&mut s, |t| create(t, *id, &fresh(text))).unwrap();
    }
    let (mut listed, mut from) = (BTreeMap::new(), 0);
    loop {
        let page = s.read(|view| list(view, from, 300)).unwrap();
        for entry in page.entries {
            assert!(listed.insert(entry.fileset, entry.name.as_str().to_owned()).is_none());
        }
        match page.next {
            Some(next) => from = next,
            None => break,
        }
    }
    assert_eq!(listed, expected);
    assert_eq!(found(&s, "user.u19999"), Some(FilesetId(59_998)));
}
