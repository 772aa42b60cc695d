//! The swap as it was typed in 1998: detach, exchange the addresses of two server entries, export.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use baton_tests::cell::Cell;
use baton_tests::faults::programs::Work;

use super::{AGGREGATES, aggregate, longest, pair};

/// Types all of it, one command after the other: how long that took, and the longest that a program waited meanwhile.
pub(super) async fn swap(cell: &Cell, work: &Work) -> Result<(Duration, Duration)> {
    let [owner, next] = pair(cell).await?;
    work.goes_on(cell).await?;
    work.waits();
    let begun = Instant::now();
    let seat = |server: &str| cell.seat(server, "root.here");
    for index in 0..AGGREGATES {
        let name = aggregate(index);
        seat(owner)
            .dfsexport(&["-aggregate", &name, "-detach", "-force"])?
            .done()?;
    }
    exchange(cell, owner, next)?;
    for index in 0..AGGREGATES {
        seat(next).dfsexport(&["-aggregate", &aggregate(index)])?.done()?;
    }
    let took = begun.elapsed();
    let id = cell.file_server(next).await?.id;
    cell.has_all(id).await?;
    work.goes_on(cell).await?;
    Ok((took, longest(work, begun)?))
}

/// The five steps, in their consistent form: each entry has the other's address and principal afterwards.
fn exchange(cell: &Cell, owner: &str, next: &str) -> Result<()> {
    let (a, b) = (cell.address(owner)?, cell.address(next)?);
    let principals = [format!("hosts/{owner}"), format!("hosts/{next}")];
    let steps: [[&str; 3]; 5] = [
        [&a, "-changeaddr", "dummy"],
        [&b, "-changeaddr", &a],
        ["dummy", "-changeaddr", &b],
        [&a, "-principal", &principals[0]],
        [&b, "-principal", &principals[1]],
    ];
    for step in steps {
        let words = [&["eds"][..], &step].concat();
        cell.fts(&words)?
            .done()
            .with_context(|| format!("fts {}", words.join(" ")))?;
    }
    Ok(())
}
