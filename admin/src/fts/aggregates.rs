//! `aggrinfo`, `lsaggr`, `statftserver`: what a file server says of its aggregates, and of its work.

use baton_types::change::AggregateRef;
use baton_types::control::{AggregateExport, AggregateReport, Work};
use baton_types::record::{Aggregate, Server};
use baton_types::{Address, Error, Kind, Result};
use serde_json::{Value, json};

use crate::grammar::fts::AggrInfo;
use crate::output::{Output, date};
use crate::servers::{Servers, is_meant};
use crate::session::Session;

/// An aggregate in service: as its server and as the location database have it.
struct Exported<'a> {
    report: AggregateReport,
    export: AggregateExport,
    /// `None` while the location database has not heard of it.
    record: Option<&'a Aggregate>,
}

/// Prints the space on them.
pub async fn aggrinfo(session: &Session, words: AggrInfo) -> Result<Output> {
    let client = session.client()?;
    let servers = Servers::ask(&client).await?;
    let server = servers.find(&words.server)?;
    let reports = client.control(server).await?.aggregates().await?;
    let all = exported(&servers, reports);
    info(&all, server, words.aggregate.as_ref())
}

/// Lists them.
pub async fn lsaggr(session: &Session, server: Address) -> Result<Output> {
    let client = session.client()?;
    let servers = Servers::ask(&client).await?;
    let found = servers.find(&server)?;
    let reports = client.control(found).await?.aggregates().await?;
    Ok(list(&exported(&servers, reports), &server, found))
}

/// Prints what the server is at work on.
pub async fn statftserver(session: &Session, server: Address) -> Result<Output> {
    let client = session.client()?;
    let servers = Servers::ask(&client).await?;
    let work = client.control(servers.find(&server)?).await?.work().await?;
    Ok(at_work(&work, &server))
}

fn exported(servers: &Servers, reports: Vec<AggregateReport>) -> Vec<Exported<'_>> {
    let of = |report: AggregateReport| {
        Some(Exported {
            export: report.exported?,
            record: servers.aggregates.iter().find(|record| record.id == report.id),
            report,
        })
    };
    reports.into_iter().filter_map(of).collect()
}

fn info(all: &[Exported<'_>], server: &Server, only: Option<&AggregateRef>) -> Result<Output> {
    let is_asked = |exported: &&Exported<'_>| match (only, exported.record) {
        (None, _) => true,
        (Some(meant), Some(record)) => is_meant(record, meant),
        (Some(_), None) => false,
    };
    let asked: Vec<&Exported<'_>> = all.iter().filter(is_asked).collect();
    if let (Some(only), true) = (only, asked.is_empty()) {
        let names: Vec<&str> = all.iter().map(|exported| exported.report.name.as_str()).collect();
        return Err(Error::new(Kind::NotFound, format!("aggregate {}", shown(only)))
            .because(format!("{} does not export it", server.name))
            .remedy(format!("it exports: {}", names.join(", "))));
    }
    let line = |exported: &&Exported<'_>| {
        let Exported { report, export, .. } = exported;
        format!(
            "LFS aggregate {} ({}): {} K free out of total {} (0 reserved)\n",
            report.name,
            report.device,
            export.free_bytes / 1_024,
            export.total_bytes / 1_024,
        )
    };
    let text: String = asked.iter().map(line).collect();
    let json: Vec<Value> = asked.iter().map(|exported| exported_json(exported, server)).collect();
    Ok(Output::new("baton.fts.aggrinfo/1", text, json!({ "aggregates": json })))
}

fn list(all: &[Exported<'_>], asked: &Address, server: &Server) -> Output {
    let host = server.addresses.first().map(ToString::to_string).unwrap_or_default();
    let mut text = match all.len() {
        1 => format!("There is 1 aggregate on the server {asked} ({host}):\n"),
        count => format!("There are {count} aggregates on the server {asked} ({host}):\n"),
    };
    for exported in all {
        let id = exported
            .record
            .map_or_else(|| "unknown".to_owned(), |record| record.number.to_string());
        text += &format!("{} ({}): id={id} (LFS)\n", exported.report.name, exported.report.device);
    }
    let json: Vec<Value> = all.iter().map(|exported| exported_json(exported, server)).collect();
    Output::new(
        "baton.fts.lsaggr/1",
        text,
        json!({ "server": server.name, "aggregates": json }),
    )
}

fn exported_json(exported: &Exported<'_>, server: &Server) -> Value {
    let Exported { report, export, record } = exported;
    json!({
        "name": report.name,
        "id": report.id.to_string(),
        "number": record.map(|record| record.number),
        "device": report.device,
        "owner": server.name,
        "epoch": export.epoch.0,
        "total_bytes": export.total_bytes,
        "free_bytes": export.free_bytes,
        "filesets": export.filesets,
    })
}

fn at_work(work: &[Work], server: &Address) -> Output {
    let line = |work: &Work| {
        format!(
            "Transaction {}: {} on aggregate {}, since {}\n",
            work.id,
            work.what,
            work.on,
            date(work.since)
        )
    };
    let text = match work {
        [] => format!("No active transactions on {server}\n"),
        work => work.iter().map(line).collect(),
    };
    let json: Vec<Value> = work
        .iter()
        .map(|work| json!({ "id": work.id, "what": work.what, "aggregate": work.on, "since": date(work.since) }))
        .collect();
    Output::new("baton.fts.statftserver/1", text, json!({ "transactions": json }))
}

fn shown(aggregate: &AggregateRef) -> String {
    match aggregate {
        AggregateRef::Number(number) => number.to_string(),
        AggregateRef::Name(name) => name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fts::tests::records;
    use baton_types::{AggregateId, Epoch, Timestamp};

    fn reports() -> Vec<AggregateReport> {
        let report = |number, name: &str, epoch: Option<u64>| AggregateReport {
            id: AggregateId(uuid::Uuid::from_u128(number)),
            name: name.parse().unwrap(),
            device: format!("/dev/{name}"),
            exported: epoch.map(|epoch| AggregateExport {
                epoch: Epoch(epoch),
                total_bytes: 20 << 30,
                free_bytes: 5 << 30,
                filesets: 54,
            }),
        };
        vec![report(8, "lfs03", Some(41)), report(9, "lfs04", None)]
    }

    #[test]
    fn space_and_aggregates_have_the_layout_of_dfs() {
        let servers = Servers::of(records());
        let address = Address::parse("mlserva").unwrap();
        let server = servers.find(&address).unwrap();
        let all = exported(&servers, reports());
        let output = info(&all, server, None).unwrap();
        assert_eq!(
            output.text,
            "LFS aggregate lfs03 (/dev/lfs03): 5242880 K free out of total 20971520 (0 reserved)\n"
        );
        assert_eq!(output.json["aggregates"][0]["epoch"], json!(41));
        assert_eq!(
            list(&all, &address, server).text,
            "There is 1 aggregate on the server mlserva (mlserva.example):\nlfs03 (/dev/lfs03): id=13 (LFS)\n"
        );
        assert!(info(&all, server, Some(&AggregateRef::Number(13))).is_ok());
        let error = info(&all, server, Some(&AggregateRef::Number(14))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "aggregate 14: mlserva does not export it; it exports: lfs03"
        );
    }

    #[test]
    fn an_idle_server_says_so() {
        let server = Address::parse("mlserva").unwrap();
        assert_eq!(at_work(&[], &server).text, "No active transactions on mlserva\n");
        let work = Work {
            id: 7,
            what: "export".to_owned(),
            on: "lfs03".to_owned(),
            since: Timestamp(0),
        };
        assert_eq!(
            at_work(&[work], &server).text,
            "Transaction 7: export on aggregate lfs03, since 1970-01-01T00:00:00Z\n"
        );
    }
}
