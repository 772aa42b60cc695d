//! `readdir`: a directory's names from a cookie on, in the order of their hashes.
//!
//! A cookie is a name's hash: it says the same after inserts, deletes and takeovers. Names of one hash share it, so
//! they come all or not at all.

use baton_types::{Fid, FileName};

use super::attributes::{directory, named};
use super::items::Items;
use super::names::{Place, fid};
use super::object::Object;
use crate::format::{Attributes, FileKind, Key, NameEntry};
use crate::tree::Stop;

/// Where a listing goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cookie(pub u64);

impl Cookie {
    /// Before the first name.
    pub const START: Cookie = Cookie(0);
}

/// What a page of a listing may hold. All that shares the first name's cookie always fits.
#[derive(Clone, Copy, Debug)]
pub struct PageMax {
    /// So many names.
    pub names: usize,
    /// So many bytes of names, and [`Listed::BYTES`] for each besides.
    pub bytes: usize,
}

/// One name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Itself.
    pub name: Vec<u8>,
    /// What it leads to.
    pub fid: Fid,
    /// What that is.
    pub kind: FileKind,
    /// The listing that begins here goes on after this name and those of the same cookie.
    pub cookie: Cookie,
    /// For [`readdirplus`].
    pub attributes: Option<Attributes>,
}

impl Listed {
    /// What a name takes besides its bytes, as far as [`PageMax`] is concerned: FID, cookie, and the like.
    pub const BYTES: usize = 40;
}

/// A piece of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The directory, as it was.
    pub directory: Object,
    /// Its names.
    pub names: Vec<Listed>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cookie>,
}

/// Names of a directory.
///
/// # Errors
/// `NotDirectory`; `Stale`.
pub fn readdir(items: &impl Items, fid: Fid, from: Cookie, max: PageMax) -> Result<Listing, Stop> {
    list(items, fid, (from, max), |_| Ok(None))
}

/// Names of a directory, and the attributes of what they lead to, which count too.
///
/// # Errors
/// As [`readdir`].
pub fn readdirplus(items: &impl Items, directory: Fid, from: Cookie, max: PageMax) -> Result<Listing, Stop> {
    list(items, directory, (from, max), |entry| {
        let name = FileName::parse(&entry.name)?;
        Ok(Some(named(items, Place { directory, name: &name }, entry)?.attributes))
    })
}

fn list(
    items: &impl Items,
    of: Fid,
    (from, max): (Cookie, PageMax),
    look: impl Fn(&NameEntry) -> Result<Option<Attributes>, Stop>,
) -> Result<Listing, Stop> {
    let attributes = directory(items, of)?;
    let mut listing = Listing {
        directory: Object { fid: of, attributes },
        names: Vec::new(),
        next: None,
    };
    let mut bytes = 0;
    let [first, last] = [from.0.saturating_add(1), u64::MAX].map(|sub| Key::name(of.vnode, sub));
    for item in items.scan(first, last) {
        let (key, value) = item?;
        let cookie = Cookie(key.sub);
        let mut group = Vec::new();
        for entry in NameEntry::decode_all(&value)? {
            let attributes = look(&entry)?;
            bytes += entry.name.len() + Listed::BYTES + attributes.map_or(0, |_| Attributes::BYTES);
            let fid = fid(of, entry.vnode, entry.unique);
            group.push(Listed {
                name: entry.name,
                fid,
                kind: entry.kind,
                cookie,
                attributes,
            });
        }
        let count = listing.names.len();
        if count > 0 && (bytes > max.bytes || count + group.len() > max.names) {
            listing.next = listing.names.last().map(|listed| listed.cookie);
            break;
        }
        listing.names.append(&mut group);
    }
    Ok(listing)
}
