//! `growaggr`: an aggregate takes in what its device has become, by the file server that exports it.

use baton_types::control::{Carry, GrowthReport};
use baton_types::{AggregateName, Error, Kind, Result};
use serde_json::json;

use crate::dfsexport::control;
use crate::grammar::Growaggr;
use crate::output::Output;
use crate::session::Session;

/// In what sizes are written, as in DFS.
const KIB: u64 = 1 << 10;

/// Carries it out.
pub async fn run(session: &Session, words: &Growaggr) -> Result<Output> {
    let too_large = || Error::new(Kind::Invalid, "").because("no device has so many bytes");
    let size = words.aggrsize.map(|size| size.checked_mul(KIB).ok_or_else(too_large));
    let size = size.transpose()?;
    if size == Some(0) {
        return Err(Error::new(Kind::Invalid, "").because("no aggregate shrinks"));
    }
    let carry = if words.noaction { Carry::Nothing } else { Carry::Out };
    let control = control(session, words.server.as_ref()).await?;
    let report = control.grow(&words.aggregate, size, carry).await?;
    Ok(output(&words.aggregate, carry, &report))
}

fn output(name: &AggregateName, carry: Carry, report: &GrowthReport) -> Output {
    let GrowthReport {
        before,
        least,
        most,
        bytes,
    } = *report;
    let [was, from, to, is] = [before, least, most, bytes].map(|bytes| bytes / KIB);
    let text = match carry {
        Carry::Out => format!("aggregate {name}: grown from {was} K to {is} K\n"),
        Carry::Nothing if most < least => {
            format!("aggregate {name}: {was} K, and its device has {to} K: it would have to have {from} K\n")
        }
        Carry::Nothing => {
            format!("aggregate {name}: {was} K, may have {from} K to {to} K; would be made {is} K\n")
        }
    };
    let json = json!({
        "aggregate": name,
        "before_bytes": before,
        "least_bytes": least,
        "most_bytes": most,
        "bytes": bytes,
        "grown": carry == Carry::Out,
    });
    Output::new("baton.growaggr/1", text, json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_said_in_units_of_1024_bytes() {
        let name: AggregateName = "lfs03".parse().unwrap();
        let report = |bytes, most| GrowthReport {
            before: 10 << 20,
            least: 12 << 20,
            most,
            bytes,
        };
        let text = |carry, report| output(&name, carry, &report).text;
        assert_eq!(
            text(Carry::Out, report(20 << 20, 20 << 20)),
            "aggregate lfs03: grown from 10240 K to 20480 K\n"
        );
        assert_eq!(
            text(Carry::Nothing, report(16 << 20, 20 << 20)),
            "aggregate lfs03: 10240 K, may have 12288 K to 20480 K; would be made 16384 K\n"
        );
        assert_eq!(
            text(Carry::Nothing, report(10 << 20, 11 << 20)),
            "aggregate lfs03: 10240 K, and its device has 11264 K: it would have to have 12288 K\n"
        );
    }
}
