//! Directories by page, names that collide, many names.

use std::collections::BTreeMap;

use baton_types::Kind;

use super::sandbox::{Sandbox, name, refusal};
use crate::fileset::{Cookie, Holders, Listed, Listing, Names, Onto, PageMax, lookup_parent, readdir, readdirplus};
use crate::format::{Attributes, HashKey};

const ALL: PageMax = PageMax {
    names: usize::MAX,
    bytes: usize::MAX,
};

fn page(s: &Sandbox, from: Cookie, max: PageMax) -> Listing {
    s.scratch.read(|view| readdir(view, s.root, from, max)).unwrap()
}

/// All names of the root, `max` at a time.
fn walk(s: &Sandbox, max: PageMax) -> Vec<Listed> {
    let (mut names, mut from) = (Vec::new(), Cookie::START);
    loop {
        let page = page(s, from, max);
        names.extend(page.names);
        match page.next {
            Some(next) => from = next,
            None => return names,
        }
    }
}

#[test]
fn listing_has_every_name_once_whatever_fits_a_page() {
    let mut s = Sandbox::new();
    for index in 0..100 {
        s.create(s.root, &format!("f{index}")).unwrap();
    }
    s.mkdir(s.root, "d").unwrap();
    let all = walk(&s, ALL);
    assert_eq!(all.len(), 101);
    assert!(all.is_sorted_by_key(|listed| listed.cookie));
    for listed in &all {
        let found = s.lookup(s.root, std::str::from_utf8(&listed.name).unwrap()).unwrap();
        assert_eq!(listed.fid, found.fid);
        assert_eq!(listed.kind.mode(), found.attributes.mode & 0o170_000);
        assert!(listed.cookie >= Cookie(16) && listed.cookie.0 < 1 << 63);
    }
    for max in [
        PageMax { names: 0, bytes: 0 },
        PageMax { names: 7, ..ALL },
        PageMax { bytes: 300, ..ALL },
    ] {
        assert_eq!(walk(&s, max), all);
    }
    let bounded = page(&s, Cookie::START, PageMax { bytes: 300, ..ALL }).names;
    let bytes: usize = bounded.iter().map(|listed| listed.name.len() + Listed::BYTES).sum();
    assert!(bytes <= 300 && bounded.len() > 1, "{} names", bounded.len());
}

#[test]
fn cookie_stays_good_while_names_come_and_go() {
    let mut s = Sandbox::new();
    for index in 0..50 {
        s.create(s.root, &format!("f{index}")).unwrap();
    }
    let all = walk(&s, ALL);
    let first = page(&s, Cookie::START, PageMax { names: 20, ..ALL });
    for listed in &first.names[10..] {
        s.unlink(s.root, std::str::from_utf8(&listed.name).unwrap(), Holders::Nobody)
            .unwrap();
    }
    for index in 50..80 {
        s.create(s.root, &format!("f{index}")).unwrap();
    }
    let rest = page(&s, first.next.unwrap(), ALL).names;
    for listed in &all[20..] {
        assert!(rest.contains(listed));
    }
    for listed in &first.names {
        assert!(!rest.contains(listed));
    }
}

#[test]
fn names_of_one_hash_come_together_and_are_told_apart() {
    let mut s = Sandbox::with(Names::cut(HashKey([5; 16]), 0));
    let made: BTreeMap<_, _> = (0..20)
        .map(|index| format!("f{index}"))
        .map(|text| (text.clone(), s.create(s.root, &text).unwrap()))
        .collect();
    for (text, object) in &made {
        assert_eq!(s.lookup(s.root, text).as_ref(), Ok(object));
    }
    assert_eq!(s.create(s.root, "f7"), Err(Kind::Exists));
    let all = page(&s, Cookie::START, PageMax { names: 1, bytes: 1 });
    assert_eq!((all.names.len(), all.next), (20, None));
    s.unlink(s.root, "f7", Holders::Nobody).unwrap();
    assert_eq!(s.lookup(s.root, "f7"), Err(Kind::NotFound));
    assert_eq!(page(&s, Cookie::START, ALL).names.len(), 19);
    // An item is full one day: seven of the longest names.
    let long = |index: u8| String::from_utf8(vec![b'a' + index; 255]).unwrap();
    let fitted = (0..8)
        .take_while(|&index| s.create(s.root, &long(index)).is_ok())
        .count();
    assert!(fitted < 7);
    assert_eq!(s.create(s.root, &long(25)), Err(Kind::NoSpace));
    assert_eq!(s.getattr(s.root).unwrap().attributes.size, 19 + fitted as u64);
}

#[test]
fn readdirplus_tells_attributes_and_counts_them() {
    let mut s = Sandbox::new();
    for index in 0..10 {
        s.create(s.root, &format!("f{index}")).unwrap();
    }
    let max = PageMax {
        bytes: 4 * (2 + Listed::BYTES + Attributes::BYTES),
        ..ALL
    };
    let page = s
        .scratch
        .read(|view| readdirplus(view, s.root, Cookie::START, max))
        .unwrap();
    assert_eq!(page.names.len(), 4);
    for listed in &page.names {
        assert_eq!(listed.attributes, Some(s.getattr(listed.fid).unwrap().attributes));
    }
    assert_eq!(page.directory, s.getattr(s.root).unwrap());
}

#[test]
fn only_directories_are_listed() {
    let mut s = Sandbox::new();
    let f = s.create(s.root, "f").unwrap().fid;
    let list = |fid| {
        s.scratch
            .read(|view| readdir(view, fid, Cookie::START, ALL))
            .map_err(refusal)
    };
    assert_eq!(list(f), Err(Kind::NotDirectory));
    assert_eq!(list(Sandbox::stale(s.root)), Err(Kind::Stale));
    assert_eq!(page(&s, Cookie(u64::MAX), ALL).names, []);
    assert_eq!(s.lookup(f, "x"), Err(Kind::NotDirectory));
    assert_eq!(s.lookup(Sandbox::stale(s.root), "f"), Err(Kind::Stale));
}

/// A directory of `count` names: every name once, then all gone.
fn large_directory(count: usize) {
    let mut s = Sandbox::new();
    let text = |index: usize| format!("file-{index:07}");
    for index in 0..count {
        s.create(s.root, &text(index)).unwrap();
        s.scratch.history.clear();
    }
    assert_eq!(s.getattr(s.root).unwrap().attributes.size, count as u64);
    let all = walk(&s, PageMax { names: 1_000, ..ALL });
    assert!(all.is_sorted_by_key(|listed| listed.cookie));
    let mut seen = vec![false; count];
    for listed in &all {
        let index: usize = std::str::from_utf8(&listed.name[5..]).unwrap().parse().unwrap();
        assert!(!std::mem::replace(&mut seen[index], true));
    }
    assert!(seen.into_iter().all(|seen| seen));
    for index in (0..count).step_by(97) {
        assert!(s.lookup(s.root, &text(index)).is_ok());
    }
    for index in 0..count {
        s.unlink(s.root, &text(index), Holders::Nobody).unwrap();
        s.scratch.history.clear();
    }
    assert_eq!(
        (page(&s, Cookie::START, ALL).names.len(), s.scratch.usage.files),
        (0, 1)
    );
}

#[test]
fn directory_of_20_000_names() {
    large_directory(20_000);
}

#[test]
fn messages_name_the_place_and_escape_what_is_in_it() {
    let s = Sandbox::new();
    let place = crate::fileset::Place {
        directory: s.root,
        name: &name("a\nb"),
    };
    let stop = s
        .scratch
        .read(|view| crate::fileset::lookup(view, &s.names, place))
        .unwrap_err();
    let crate::tree::Stop::Failed(error) = stop else {
        panic!("{stop:?}");
    };
    assert_eq!(
        error.to_string(),
        format!("'a\\nb' in directory {}: no such thing", s.root)
    );
}

#[test]
fn way_up_follows_a_directory_that_moves_and_ends_with_it() {
    let mut s = Sandbox::new();
    let parent = |s: &Sandbox, fid| s.scratch.read(|view| lookup_parent(view, fid)).map_err(refusal);
    let a = s.mkdir(s.root, "a").unwrap().fid;
    let d = s.mkdir(a, "d").unwrap().fid;
    let f = s.create(a, "f").unwrap().fid;
    assert_eq!(parent(&s, d), s.getattr(a));
    assert_eq!(parent(&s, a), s.getattr(s.root));
    assert_eq!(parent(&s, s.root), s.getattr(s.root));
    assert_eq!(parent(&s, f), Err(Kind::NotDirectory));
    assert_eq!(parent(&s, Sandbox::stale(d)), Err(Kind::Stale));
    s.rename((a, "d"), (s.root, "d"), Onto::Nothing).unwrap();
    assert_eq!(parent(&s, d), s.getattr(s.root));
    s.rmdir(s.root, "d", Holders::Somebody).unwrap();
    assert_eq!(parent(&s, d), Err(Kind::NotFound));
}
