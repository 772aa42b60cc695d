//! Extended attributes, small and in pieces.

use baton_types::Kind;

use super::sandbox::{Sandbox, refusal};
use crate::fileset::{Names, SetXattr, get_xattr, list_xattrs, remove_xattr, set_xattr};
use crate::format::HashKey;

fn set(s: &mut Sandbox, name: &[u8], value: &[u8], how: SetXattr) -> Result<(), Kind> {
    let root = s.root;
    s.act(|t, names| set_xattr(t, names, root, (name, value), how))
        .map(|_| ())
}

fn get(s: &Sandbox, name: &[u8]) -> Result<Vec<u8>, Kind> {
    s.scratch
        .read(|view| get_xattr(view, &s.names, s.root, name))
        .map(Vec::from)
        .map_err(refusal)
}

fn remove(s: &mut Sandbox, name: &[u8]) -> Result<(), Kind> {
    let root = s.root;
    s.act(|t, names| remove_xattr(t, names, root, name)).map(|_| ())
}

fn list(s: &Sandbox) -> Vec<Vec<u8>> {
    let mut names = s.scratch.read(|view| list_xattrs(view, s.root)).unwrap();
    names.sort();
    names
}

#[test]
fn value_is_what_was_set_last_whatever_its_length() {
    for names in [Names::new(HashKey([1; 16])), Names::cut(HashKey([1; 16]), 0)] {
        let mut s = Sandbox::with(names);
        set(&mut s, b"user.other", b"stays", SetXattr::Always).unwrap();
        for len in [0, 1, 1_900, 2_000, 65_536, 4_000, 0] {
            let value = vec![len as u8; len];
            set(&mut s, b"user.a", &value, SetXattr::Always).unwrap();
            assert_eq!(get(&s, b"user.a"), Ok(value));
            assert_eq!(get(&s, b"user.other").as_deref(), Ok(&b"stays"[..]));
            assert_eq!(s.scratch.usage.bytes as usize, 5 + 6 + len + 5 + 10 + 5);
            assert_eq!(list(&s), [b"user.a".to_vec(), b"user.other".to_vec()]);
        }
        let root = s.getattr(s.root).unwrap().attributes;
        assert_eq!((root.changed, root.data_version), (s.time(), 1));
        remove(&mut s, b"user.a").unwrap();
        remove(&mut s, b"user.other").unwrap();
        assert_eq!((s.scratch.usage.bytes, list(&s).len()), (0, 0));
    }
}

#[test]
fn create_and_replace_say_what_must_be_there() {
    let mut s = Sandbox::new();
    assert_eq!(set(&mut s, b"user.a", b"1", SetXattr::Replace), Err(Kind::NoAttribute));
    assert_eq!(set(&mut s, b"user.a", b"1", SetXattr::Create), Ok(()));
    assert_eq!(set(&mut s, b"user.a", b"2", SetXattr::Create), Err(Kind::Exists));
    assert_eq!(set(&mut s, b"user.a", b"3", SetXattr::Replace), Ok(()));
    assert_eq!(get(&s, b"user.a").as_deref(), Ok(&b"3"[..]));
    assert_eq!(get(&s, b"user.b"), Err(Kind::NoAttribute));
    assert_eq!(remove(&mut s, b"user.b"), Err(Kind::NoAttribute));
}

#[test]
fn names_and_values_have_limits() {
    let mut s = Sandbox::new();
    assert_eq!(set(&mut s, &[b'x'; 255], &[0; 65_536], SetXattr::Always), Ok(()));
    assert_eq!(set(&mut s, &[b'x'; 256], b"", SetXattr::Always), Err(Kind::NameTooLong));
    assert_eq!(set(&mut s, b"", b"", SetXattr::Always), Err(Kind::Invalid));
    assert_eq!(set(&mut s, b"a\0b", b"", SetXattr::Always), Err(Kind::Invalid));
    assert_eq!(
        set(&mut s, b"user.a", &[0; 65_537], SetXattr::Always),
        Err(Kind::TooBig)
    );
    assert_eq!(get(&s, &[b'x'; 256]), Err(Kind::NameTooLong));
    assert_eq!(remove(&mut s, b""), Err(Kind::Invalid));
}

#[test]
fn all_of_a_file_end_at_1_mib_even_with_one_hash() {
    for names in [Names::new(HashKey([1; 16])), Names::cut(HashKey([1; 16]), 0)] {
        let mut s = Sandbox::with(names);
        for index in 0..15 {
            set(
                &mut s,
                format!("user.{index}").as_bytes(),
                &[index; 65_536],
                SetXattr::Always,
            )
            .unwrap();
        }
        assert_eq!(
            set(&mut s, b"user.15", &[0; 65_536], SetXattr::Always),
            Err(Kind::NoSpace)
        );
        assert_eq!(set(&mut s, b"user.15", &[15; 65_000], SetXattr::Always), Ok(()));
        assert_eq!(
            set(&mut s, b"user.0", &[16; 65_536], SetXattr::Always),
            Ok(()),
            "no longer than it was"
        );
        assert_eq!(list(&s).len(), 16);
        assert_eq!(get(&s, b"user.14").unwrap(), vec![14; 65_536]);
        remove(&mut s, b"user.3").unwrap();
        assert_eq!(set(&mut s, b"user.16", &[0; 65_000], SetXattr::Always), Ok(()));
    }
}

#[test]
fn stale_file_has_none() {
    let mut s = Sandbox::new();
    let stale = Sandbox::stale(s.root);
    assert_eq!(
        s.scratch.read(|view| list_xattrs(view, stale)).map_err(refusal),
        Err(Kind::Stale)
    );
    assert_eq!(
        s.scratch
            .read(|view| get_xattr(view, &s.names, stale, b"a"))
            .map_err(refusal),
        Err(Kind::Stale)
    );
    assert_eq!(
        s.act(|t, names| set_xattr(t, names, stale, (b"a", b""), SetXattr::Always)),
        Err(Kind::Stale)
    );
    assert_eq!(s.act(|t, names| remove_xattr(t, names, stale, b"a")), Err(Kind::Stale));
}
