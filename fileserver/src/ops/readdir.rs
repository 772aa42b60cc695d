//! `readdir`: names of a directory, with or without the attributes of what they lead to.

use baton_aggregate::fileset::{self as store, Cookie, PageMax};
use baton_types::call::Answer;
use baton_types::file::Listed;
use baton_types::{Fid, Result};

use super::Cx;
use crate::{right, shape};

/// Most bytes of an answer, as the store counts them: on the wire they are a third more at worst, and a frame's
/// metadata has 64 KiB.
const BYTES_MAX: usize = 40 << 10;
/// Most names of an answer: the shortest ones take their tags and lengths besides.
const NAMES_MAX: usize = 800;

pub(super) fn readdir(cx: &Cx<'_>, fid: Fid, (cookie, bytes): (u64, u32), plus: bool) -> Result<Answer> {
    let max = PageMax {
        names: NAMES_MAX,
        bytes: BYTES_MAX.min(bytes as usize),
    };
    let listing = cx.fileset.read(|view| {
        right::list(cx.who, view, fid)?;
        match plus {
            true => store::readdirplus(view, fid, Cookie(cookie), max),
            false => store::readdir(view, fid, Cookie(cookie), max),
        }
    })?;
    let listed = |listed: store::Listed| {
        Ok(Listed {
            name: listed.name,
            fid: listed.fid,
            kind: shape::kind(listed.kind),
            cookie: listed.cookie.0,
            attributes: listed.attributes.map(|from| shape::attributes(&from)).transpose()?,
        })
    };
    Ok(Answer::Listing {
        names: listing.names.into_iter().map(listed).collect::<Result<_>>()?,
        is_end: listing.next.is_none(),
    })
}
