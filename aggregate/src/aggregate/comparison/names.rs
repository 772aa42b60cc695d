//! The names of a directory in one moment or in two, in the order of their hashes, which is the same in both.

use std::collections::VecDeque;

use baton_types::{Fid, Kind, Result};

use super::Found;
use crate::aggregate::difference::Touched;
use crate::aggregate::fileset::Fileset;
use crate::fileset::{Cookie, Listed, PageMax, readdir};
use crate::format::FileKind;

/// Read under the fileset's lock at once: less than a tenth of a millisecond.
const PAGE: PageMax = PageMax {
    names: 400,
    bytes: 32 << 10,
};

/// A name, and what it leads to in either moment.
pub(super) struct Entry {
    pub name: Vec<u8>,
    pub from: Option<Fid>,
    pub to: Option<Fid>,
}

/// The names of a directory in one moment, read as they are asked for.
pub(super) struct Names<'a> {
    moment: &'a Fileset,
    directory: Fid,
    page: VecDeque<Listed>,
    /// Where the next page begins; `None` after the last one.
    next: Option<Cookie>,
}

impl<'a> Names<'a> {
    pub fn new(moment: &'a Fileset, directory: &Found) -> Names<'a> {
        Names {
            moment,
            directory: directory.object.fid,
            page: VecDeque::new(),
            next: Some(Cookie::START),
        }
    }

    /// The hash of the next name.
    fn head(&mut self) -> Result<Option<Cookie>> {
        while self.page.is_empty()
            && let Some(next) = self.next.take()
        {
            let listing = self.moment.read(|view| readdir(view, self.directory, next, PAGE));
            match listing {
                // It went from the live fileset meanwhile.
                Err(error) if error.kind == Kind::Stale && self.moment.snapshot().is_none() => break,
                listing => {
                    let listing = listing?;
                    (self.page, self.next) = (listing.names.into(), listing.next);
                }
            }
        }
        Ok(self.page.front().map(|listed| listed.cookie))
    }

    /// The next name, if it has this hash.
    fn take(&mut self, cookie: Cookie) -> Option<Listed> {
        self.page.pop_front_if(|listed| listed.cookie == cookie)
    }
}

/// What may differ behind the names of a directory that has the same ones in both moments.
pub(super) fn of_both(mut names: Names<'_>, touched: &Touched) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    while let Some(cookie) = names.head()? {
        while let Some(listed) = names.take(cookie) {
            if may_differ(&listed, touched) {
                let (name, from, to) = (listed.name, Some(listed.fid), Some(listed.fid));
                entries.push(Entry { name, from, to });
            }
        }
    }
    Ok(entries)
}

/// What may differ between two directories, or a directory and none.
pub(super) fn of_each(from: Option<Names<'_>>, to: Option<Names<'_>>, touched: &Touched) -> Result<Vec<Entry>> {
    let (mut from, mut to) = (from, to);
    let mut entries = Vec::new();
    loop {
        let heads = [&mut from, &mut to].map(|names| names.as_mut().map_or(Ok(None), Names::head));
        let [one, other] = heads;
        let Some(cookie) = [one?, other?].into_iter().flatten().min() else {
            return Ok(entries);
        };
        let mut group: Vec<Listed> = Vec::new();
        while let Some(listed) = from.as_mut().and_then(|names| names.take(cookie)) {
            group.push(listed);
        }
        while let Some(Listed { name, fid, .. }) = to.as_mut().and_then(|names| names.take(cookie)) {
            let known = group.iter().position(|listed| listed.name == name);
            let known = known.map(|index| group.swap_remove(index));
            if known
                .as_ref()
                .is_none_or(|known| known.fid != fid || may_differ(known, touched))
            {
                let (from, to) = (known.map(|known| known.fid), Some(fid));
                entries.push(Entry { name, from, to });
            }
        }
        entries.extend(group.into_iter().map(|Listed { name, fid, .. }| Entry {
            name,
            from: Some(fid),
            to: None,
        }));
    }
}

/// Whether what is the same file in both moments may differ, or something in it.
fn may_differ(listed: &Listed, touched: &Touched) -> bool {
    let vnode = listed.fid.vnode;
    touched.changed.contains(&vnode) || listed.kind == FileKind::Directory && touched.may_be_below(vnode)
}
