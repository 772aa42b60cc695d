//! Scrub: an aggregate's owner reads everything on it from time to time, and when it is asked to.

use baton_types::control::{ScrubReport, ScrubWish};
use baton_types::{AggregateName, Result};

use crate::claims::Claims;

/// What is asked for.
pub struct Wish {
    /// Of which aggregate.
    pub aggregate: AggregateName,
    /// What.
    pub wish: ScrubWish,
}

/// Passes a wish on to the store, and says how the scrubs of the aggregate go.
///
/// # Errors
/// `NotFound` if it is not exported here, or if no scrub goes on that could be stopped; `Exists` if one goes on already.
pub fn ask(claims: &Claims, wish: &Wish) -> Result<ScrubReport> {
    let export = claims
        .exports
        .named(&wish.aggregate)
        .map_err(|error| error.remedy("its owner scrubs it: fts status shows who that is"))?;
    let aggregate = export.aggregate();
    match wish.wish {
        ScrubWish::Start(rate) => aggregate.start_scrub(rate)?,
        ScrubWish::Stop => aggregate.stop_scrub()?,
        ScrubWish::Look => {}
    }
    Ok(aggregate.scrub_report())
}
