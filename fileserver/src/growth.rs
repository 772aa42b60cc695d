//! Growth: an aggregate takes in what its device has become, while it is served.

use baton_aggregate::aggregate::Growth;
use baton_types::control::{Carry, GrowthReport};
use baton_types::{AggregateName, Error, Kind, Result};

use crate::claims::{Claims, blocking};

/// What is asked for.
pub struct Wish {
    /// Of which aggregate.
    pub aggregate: AggregateName,
    /// How large it is to be; `None` for all of its device.
    pub bytes: Option<u64>,
    /// Whether it is done.
    pub carry: Carry,
}

/// Makes an aggregate larger, or says how large it could be made.
///
/// # Errors
/// `NotFound` if it is not exported here; `Invalid` or `NoSpace` if it cannot have the size; what the disk says.
pub async fn grow(claims: &Claims, wish: Wish) -> Result<GrowthReport> {
    let name = &wish.aggregate;
    let _turn = claims.works.begin("grow", name)?;
    let export = claims
        .exports
        .named(name)
        .map_err(|error| error.remedy("its owner grows it: growaggr -server OWNER; fts status shows who that is"))?;
    let on = format!("aggregate {name}");
    blocking(move || {
        let aggregate = export.aggregate();
        let growth = aggregate.growth()?;
        let bytes = match wish.carry {
            Carry::Out => aggregate.grow(wish.bytes),
            Carry::Nothing if wish.bytes.is_none() && growth.most < growth.least => Ok(growth.now),
            Carry::Nothing => aggregate.may_grow(wish.bytes),
        };
        let Growth { now, least, most } = growth;
        bytes.map(|bytes| GrowthReport {
            before: now,
            least,
            most,
            bytes,
        })
    })
    .await
    .map_err(|error| match error.kind {
        Kind::Invalid | Kind::NoSpace => Error { on, ..error },
        _ => error,
    })
}
