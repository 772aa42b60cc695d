//! `fts history`: who owned an aggregate, since when, on what evidence, and how long the takeover took.

use baton_rpc::fldb::{Freshness, Query};
use baton_types::record::{Record, Table, Tenure};
use baton_types::{Result, ServerId};
use serde_json::{Value, json};

use crate::grammar::fts::History;
use crate::output::{Output, date, printable, table};
use crate::session::Session;

/// Prints it, the newest last.
pub async fn history(session: &Session, words: History) -> Result<Output> {
    let client = session.client()?;
    let query = Query {
        aggregate: Some(words.aggregate),
        ..Query::tables(&[Table::Server, Table::Tenure], Freshness::Linearizable)
    };
    let (mut tenures, mut names) = (Vec::new(), Vec::new());
    for record in session.list(&client, query).await?.records {
        match record {
            Record::Server(server) => names.push((server.id, server.name.to_string())),
            Record::Tenure(tenure) => tenures.push(tenure),
            _ => {}
        }
    }
    let skipped = words.last.map_or(0, |last| tenures.len().saturating_sub(last));
    let name = |id: ServerId| {
        let known = names.iter().find(|(known, _)| *known == id);
        known.map_or_else(|| id.to_string(), |(_, name)| name.clone())
    };
    Ok(output(&tenures[skipped..], &name))
}

fn output(tenures: &[Tenure], name: &dyn Fn(ServerId) -> String) -> Output {
    let row = |tenure: &Tenure| {
        vec![
            tenure.epoch.to_string(),
            name(tenure.owner),
            date(tenure.date),
            printable(&tenure.reason),
            tenure.phases().unwrap_or_else(|| "-".to_owned()),
        ]
    };
    let text = match tenures {
        [] => "nobody has owned it yet\n".to_owned(),
        _ => table(&["EPOCH", "OWNER", "SINCE", "WHY", "TAKEOVER"], tenures.iter().map(row)),
    };
    let tenures: Vec<Value> = tenures.iter().map(|tenure| to_json(tenure, name)).collect();
    Output::new("baton.fts.history/1", text, json!({ "tenures": tenures }))
}

fn to_json(tenure: &Tenure, name: &dyn Fn(ServerId) -> String) -> Value {
    json!({
        "epoch": tenure.epoch.0,
        "owner": name(tenure.owner),
        "since": date(tenure.date),
        "reason": tenure.reason,
        "silent_micros": tenure.silent_micros,
        "takeover": tenure.time_line.map(|t| json!({
            "fenced_micros": t.fenced_micros,
            "replayed_micros": t.replayed_micros,
            "records": t.records,
            "first_reclaim_micros": t.first_reclaim_micros,
            "last_reclaim_micros": t.last_reclaim_micros,
            "serving_micros": t.serving_micros,
        })),
    })
}

#[cfg(test)]
mod tests {
    use baton_types::record::TimeLine;
    use baton_types::{AggregateId, Epoch, Timestamp};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn each_owner_is_one_line_with_its_evidence() {
        let tenure = |epoch, time_line| Tenure {
            aggregate: AggregateId(Uuid::from_u128(8)),
            epoch: Epoch(epoch),
            owner: ServerId(Uuid::from_u128(7)),
            date: Timestamp(1_800_000_000 * 1_000_000_000),
            reason: "mlserva: beat 1.0 s late, disk beat stale 1.1 s".to_owned(),
            silent_micros: Some(1_050_000),
            time_line,
        };
        let name = |_| "mlservb".to_owned();
        let served = TimeLine {
            fenced_micros: 1_250,
            replayed_micros: 12_300,
            records: 120,
            serving_micros: 46_000,
            ..TimeLine::default()
        };
        let output = output(&[tenure(41, None), tenure(42, Some(served))], &name);
        assert_eq!(
            output.text,
            "EPOCH  OWNER    SINCE                 WHY                                              TAKEOVER\n\
             41     mlservb  2027-01-15T08:00:00Z  mlserva: beat 1.0 s late, disk beat stale 1.1 s  -\n\
             42     mlservb  2027-01-15T08:00:00Z  mlserva: beat 1.0 s late, disk beat stale 1.1 s  \
             detected after 1050.0 ms, fenced 1.2 ms, replayed 12.3 ms (120 records), serving 46.0 ms\n"
        );
        assert_eq!(output.json["tenures"][1]["takeover"]["records"], json!(120));
        assert_eq!(output.json["tenures"][0]["takeover"], Value::Null);
    }
}
