//! Blocks in several places: who copies within a fileset copies no bytes.
//!
//! | an extent | its blocks are |
//! |---|---|
//! | without the flag | its own: they are freed with it |
//! | with it | those of shared items of the same tree, which say in how many places each run is |
//!
//! So a block is owned by one item of a tree, an extent or a shared one, and keeps its birth when it changes hands: to
//! snapshots nothing is new.

use baton_types::{Error, Kind};

use crate::format::{Block, Extent, Key, Shared};
use crate::transaction::{Run, Transaction};
use crate::tree::Stop;

/// An extent gives up `run`, which is a part of it.
pub(crate) fn give_up(transaction: &mut Transaction<'_>, extent: &Extent, run: Run) -> Result<(), Stop> {
    match extent.is_shared() {
        true => change(transaction, run, |places| places.checked_sub(1)),
        false => {
            transaction.free(run.block, run.count, extent.birth);
            Ok(())
        }
    }
}

/// What `run`, a part of an extent, has is in one place more.
pub(crate) fn share(transaction: &mut Transaction<'_>, extent: &Extent, run: Run) -> Result<(), Stop> {
    if extent.is_shared() {
        return change(transaction, run, |places| places.checked_add(1));
    }
    let shared = Shared {
        count: run.count,
        places: 2,
        birth: extent.birth,
    };
    transaction.put(Key::shared(run.block), shared.encode());
    Ok(())
}

/// Changes in how many places the blocks of `run` are; what is in none is free.
fn change(transaction: &mut Transaction<'_>, run: Run, by: impl Fn(u32) -> Option<u32>) -> Result<(), Stop> {
    let wrong =
        |reason: &str| Error::new(Kind::Damaged, format!("shared blocks from {} on", run.block)).because(reason);
    let (mut at, end) = (run.block.0, run.block.0 + u64::from(run.count));
    while at < end {
        let found = transaction.last_at_or_before(Key::shared(Block(at)))?;
        let (first, shared) = match found {
            Some((key, value)) => (key.sub, Shared::decode(&value)?),
            None => return Err(wrong("no item says in how many places they are").into()),
        };
        let upto = first + u64::from(shared.count);
        if upto <= at {
            return Err(wrong("no item says in how many places they are").into());
        }
        let part = |from: u64, to: u64, places| Shared {
            count: (to - from) as u16,
            places,
            ..shared
        };
        if first < at {
            transaction.put(Key::shared(Block(first)), part(first, at, shared.places).encode());
        }
        let until = upto.min(end);
        match by(shared.places) {
            Some(0) => {
                transaction.delete(Key::shared(Block(at)));
                transaction.free(Block(at), (until - at) as u16, shared.birth);
            }
            Some(places) => transaction.put(Key::shared(Block(at)), part(at, until, places).encode()),
            None => return Err(wrong("they are in too many places").into()),
        }
        if until < upto {
            transaction.put(Key::shared(Block(until)), part(until, upto, shared.places).encode());
        }
        at = until;
    }
    Ok(())
}
