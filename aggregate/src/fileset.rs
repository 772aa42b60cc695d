//! A fileset: what can be done to its names, attributes and links; and the list of all filesets.
//!
//! Each operation is a function over a [`Transaction`](crate::transaction::Transaction), or over [`Items`] where it
//! only looks. It checks what the structure demands and nothing else: who may do it is the file server's business.
//! A refused operation leaves its transaction half made; whoever began it throws it away.
//!
//! | item | object | sub | one for each |
//! |---|---|---|---|
//! | attributes | vnode | 0 | file, directory, link, mount point |
//! | name | directory | hash | hash among the directory's names |
//! | xattr | vnode | hash · piece | piece of the extended attributes whose names have this hash |
//! | inline | symbolic link | piece | piece of its target |
//! | mount point | vnode | 0 | mount point |
//! | orphan | 0 | vnode | file without a name that is still there |
//! | shared | 0 | block | run of blocks that [several places](shared) have |
//! | ACL | 0 | id · piece | piece of a different ACL |
//!
//! What always holds: `links` of a file are its names, of a directory 2 and its directories and mount points, and 0
//! when it has no name; `size` of a directory is its names, `parent` where its own name is; a file without a name has
//! an orphan item, and nothing else has one. Usage: `files` are the attributes items, `bytes` what extents take and
//! the values of inline, xattr and ACL items, `promised` what [files were promised](promises).

mod acls;
mod attributes;
pub mod catalog;
mod create;
mod items;
mod links;
pub(crate) mod mend;
mod names;
mod object;
mod orphans;
mod pieces;
pub(crate) mod promises;
mod readdir;
mod rename;
pub(crate) mod shared;
mod targets;
mod xattrs;

pub use acls::{read_acl, set_acl};
pub use attributes::{SetAttributes, getattr, root, setattr};
pub(crate) use attributes::{kind, load, save};
pub use create::{Birth, create, create_mount_point, make_root, mkdir, mknod, symlink};
pub use items::Items;
pub use links::{Holders, link, remove_mount_point, rmdir, unlink};
pub use names::{Names, Place, lookup, lookup_parent};
pub use object::Object;
pub use orphans::{Nameless, Progress, STEP_ITEMS_MAX, is_orphan, orphans, remove_step};
pub use readdir::{Cookie, Listed, Listing, PageMax, readdir, readdirplus};
pub use rename::{Onto, rename};
pub use targets::{read_mount_point, readlink};
pub use xattrs::{SetXattr, get_xattr, list_xattrs, remove_xattr, set_xattr};

#[cfg(test)]
mod tests;
