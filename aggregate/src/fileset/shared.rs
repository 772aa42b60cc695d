//! Blocks in several places: who copies within a fileset copies no bytes.
//!
//! | an extent | its blocks are |
//! |---|---|
//! | without the flag | its own: they are freed with it |
//! | with it | those of shared items of the same tree, which say in how many places each run is |
//!
//! So a block is owned by one item of a tree, an extent or a shared one, and keeps its birth when it changes hands: to
//! snapshots nothing is new. Who copies from a snapshot what the tree has no more makes it one more
//! [owner](crate::space::Space::own) of the blocks, with a birth of its own.

use std::ops::Range;

use baton_types::{Error, Kind};

use super::Items;
use crate::format::{Block, Extent, Key, Lsn, Shared};
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

/// What an extent of a snapshot has as `run`, and none of the tree as its own, is in one place more: gives the parts of
/// it with the births that they have here, which is 0 for what the tree had not.
pub(crate) fn take_back(transaction: &mut Transaction<'_>, run: Run) -> Result<Vec<(Run, Lsn)>, Stop> {
    let (mut at, end) = (run.block.0, run.block.0 + u64::from(run.count));
    let mut parts = Vec::new();
    while at < end {
        let part = |upto: u64| Run {
            block: Block(at),
            count: (upto - at) as u16,
        };
        if let Some((known, shared)) = shared_at(transaction, at)? {
            let part = part(known.end.min(end));
            change(transaction, part, |places| places.checked_add(1))?;
            parts.push((part, shared.birth));
        } else {
            let next = transaction
                .scan(Key::shared(Block(at)), Key::shared(Block(end - 1)))
                .next()
                .transpose()?;
            let part = part(next.map_or(end, |(key, _)| key.sub));
            let shared = Shared {
                count: part.count,
                places: 1,
                birth: Lsn(0),
            };
            transaction.put(Key::shared(part.block), shared.encode());
            parts.push((part, Lsn(0)));
        }
        at += parts.last().map_or(0, |(part, _)| u64::from(part.count));
    }
    Ok(parts)
}

/// True if items say of all blocks of `run` in how many places they are.
pub(crate) fn knows(transaction: &Transaction<'_>, run: Run) -> Result<bool, Stop> {
    let (mut at, end) = (run.block.0, run.block.0 + u64::from(run.count));
    while at < end {
        let Some((known, _)) = shared_at(transaction, at)? else {
            return Ok(false);
        };
        at = known.end;
    }
    Ok(true)
}

/// The shared blocks among which `block` is.
pub(super) fn shared_at(items: &impl Items, block: u64) -> Result<Option<(Range<u64>, Shared)>, Stop> {
    let Some((key, value)) = items.last_at_or_before(Key::shared(Block(block)))? else {
        return Ok(None);
    };
    let shared = Shared::decode(&value)?;
    let range = key.sub..key.sub + u64::from(shared.count);
    Ok(range.contains(&block).then_some((range, shared)))
}

/// Changes in how many places the blocks of `run` are; what is in none is free.
pub(super) fn change(transaction: &mut Transaction<'_>, run: Run, by: impl Fn(u32) -> Option<u32>) -> Result<(), Stop> {
    let wrong =
        |reason: &str| Error::new(Kind::Damaged, format!("shared blocks from {} on", run.block)).because(reason);
    let (mut at, end) = (run.block.0, run.block.0 + u64::from(run.count));
    while at < end {
        let Some((
            Range {
                start: first,
                end: upto,
            },
            shared,
        )) = shared_at(transaction, at)?
        else {
            return Err(wrong("no item says in how many places they are").into());
        };
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
