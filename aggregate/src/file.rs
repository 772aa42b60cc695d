//! A file's bytes: extents, inline files, checksums (STORE §7).
//!
//! | a file's bytes lie | when |
//! |---|---|
//! | in an *inline* item, which holds the first bytes | the file was never longer than [`INLINE_BYTES_MAX`] when written |
//! | in *extents* of up to 64 blocks, with a checksum for each unit of 4 KiB | else |
//! | nowhere: they are zero | in holes, and past what an inline item holds |
//!
//! What always holds: a file has an inline item or extents, not both; an inline item is not longer than the file, no
//! extent begins past its end, and in its last block the bytes past the end are zero. So a file grows without
//! touching what it has. `blocks` counts the blocks of its extents; of the fileset's usage `bytes` has those and the
//! inline item.
//!
//! Blocks are never written again: a write takes new ones, cuts the old extents, and gives up what it replaced. What
//! can be made ready without a lock is ([`Data`](data::Data)): a copy in aligned memory, and its checksums. It goes to
//! the disk with its record, in one group, while its writer makes the next one ready: hashing takes nearly as long as
//! writing, and so the disk does not wait for it.

mod copy;
mod data;
mod extents;
mod fallocate;
mod read;
mod resize;
mod seek;
mod write;

use baton_types::{Error, Fid, Kind, Result};

#[cfg(test)]
pub(crate) use copy::take_back;
pub use copy::{Copy, SettleCopy, copy_as};
pub(crate) use extents::unit_of;
pub use fallocate::fallocate;
pub use read::{READ_BYTES_MAX, read, read_as};
pub use resize::{truncate, truncate_as};
pub use seek::{Sought, seek};
pub use write::{WRITE_BYTES_MAX, write, write_as};

use crate::aggregate::Fileset;
use crate::engine::{Patience, would_wait};
use crate::fileset::Items;
use crate::format::{Attributes, FileKind};
use crate::tree::Stop;

/// A file up to this length lies in an item, which a leaf has room for beside others.
pub const INLINE_BYTES_MAX: u64 = 1_900;
/// Sizes stay below this: what `off_t` holds.
const SIZE_END: u64 = 1 << 63;

const BLOCK: u64 = crate::format::BLOCK_BYTES as u64;

/// What the file server has to say about a change to a file: it sees the attributes as they were, and those that they
/// become, which it may change further; what it refuses does not happen. It runs in the change's own transaction.
pub type Settle<'a> = dyn FnMut(&Attributes, &mut Attributes) -> Result<(), Stop> + 'a;

/// Nothing to say.
fn as_it_is(_: &Attributes, _: &mut Attributes) -> Result<(), Stop> {
    Ok(())
}

/// The attributes of a regular file.
fn load(items: &impl Items, fid: Fid) -> Result<Attributes, Stop> {
    let attributes = crate::fileset::load(items, fid)?;
    let refused = match crate::fileset::kind(&attributes)? {
        FileKind::Regular => return Ok(attributes),
        FileKind::Directory | FileKind::MountPoint => Kind::IsDirectory,
        FileKind::Symlink | FileKind::Fifo | FileKind::Socket | FileKind::Character | FileKind::BlockDevice => {
            Kind::Invalid
        }
    };
    Err(Error::new(refused, format!("file {fid}"))
        .because("it has no bytes of its own")
        .into())
}

/// Tries again once what found damage, for an extent may have been freed and its blocks used again since it was looked
/// up; then looks at the slots, for a newer owner may have; and only then believes it.
fn believing<T>(fileset: &Fileset, fid: Fid, attempt: impl FnMut() -> Result<T>) -> Result<T> {
    believing_of(fileset, &|| place(fid), attempt)
}

fn place(fid: Fid) -> String {
    format!("fileset {}, vnode {}", fid.fileset, fid.vnode.number())
}

/// The same of several files, of which `on` says what they are to each other.
fn believing_of<T>(fileset: &Fileset, on: &dyn Fn() -> String, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let is_damage = |result: &Result<T>| matches!(result, Err(error) if error.kind == Kind::Damaged);
    let first = attempt();
    if !is_damage(&first) {
        return first;
    }
    if fileset.patience() == Patience::None {
        return Err(would_wait("second look at damage"));
    }
    let second = attempt();
    let Err(error) = second else { return second };
    if error.kind != Kind::Damaged {
        return Err(error);
    }
    fileset.engine().fence.look()?;
    let on = on();
    tracing::error!(%error, on, "a file is damaged");
    Err(Error::new(Kind::Damaged, on)
        .because(error.to_string())
        .remedy("take the file from a backup; salvage -check lists what else is damaged")
        .from_source(error))
}

#[cfg(test)]
mod tests;
