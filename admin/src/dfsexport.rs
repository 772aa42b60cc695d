//! `dfsexport`: exports aggregates and detaches them, by the file server of this machine or of another.

use baton_rpc::config::Daemon;
use baton_rpc::fldb::ControlClient;
use baton_types::change::Takeover;
use baton_types::control::{AggregateReport, DetachReport, ExportReport, Force};
use baton_types::units::format_duration;
use baton_types::{Address, AggregateName, Error, Kind, Result};
use serde_json::{Value, json};
use std::time::Duration;

use crate::confirm::type_name;
use crate::exit::Exit;
use crate::grammar::Dfsexport;
use crate::output::{Output, count};
use crate::servers::Servers;
use crate::session::Session;

/// DFS's code for an aggregate whose log cannot be replayed: `salvage` is next.
const NEEDS_SALVAGE: u8 = 2;
/// DFS's code for one that is exported already.
const EXPORTED_ALREADY: u8 = 3;

/// Carries it out.
pub async fn run(session: &Session, words: &Dfsexport) -> Result<Output> {
    let control = control(session, words.server.as_ref()).await?;
    let named = match (&words.aggregate, words.all) {
        (Some(name), _) => vec![name.clone()],
        (None, true) => meant(control.aggregates().await?, words),
        (None, false) => return Ok(list(&control.aggregates().await?)),
    };
    let force = if words.force { Force::Yes } else { Force::No };
    let mut done = Done::default();
    for name in named {
        if words.seize {
            may_seize(words.yes, &name)?;
        }
        let result = match words.detach {
            false if words.seize => control.seize(&name).await.map(|report| exported(&report)),
            true => control.detach(&name, force).await.map(|report| detached(&report)),
            false => {
                let takeover = if words.takeover {
                    Takeover::Forced
                } else {
                    Takeover::Planned
                };
                control.export(&name, takeover).await.map(|report| exported(&report))
            }
        };
        match result {
            Ok((text, json)) => done.add(&text, json),
            Err(error) if words.all => done.fail(session, &name, &error),
            Err(error) => match code(&error) {
                Some(code) => {
                    session.note(&refusal(&error));
                    done.exit = code;
                }
                None => return Err(error),
            },
        }
    }
    Ok(done.output())
}

/// Whoever seizes an aggregate types its name, or says that he knows.
fn may_seize(is_sure: bool, name: &AggregateName) -> Result<()> {
    if is_sure {
        return Ok(());
    }
    let on = format!("aggregate {name}");
    type_name(
        name.as_str(),
        &on,
        &format!("This takes {on} over without the location database."),
        || {
            Error::new(Kind::Invalid, on.clone())
                .because("it is taken over from whoever serves it, and nobody granted that")
                .remedy("to have it done without being asked: -yes")
        },
    )
}

/// The file server of this machine, or the one that is named.
///
/// # Errors
/// `Unreachable` when it does not answer; `NotFound` if there is none of the name.
pub async fn control(session: &Session, server: Option<&Address>) -> Result<ControlClient> {
    let Some(address) = server else {
        return ControlClient::local(&session.paths.socket(Daemon::Fileserver)).await;
    };
    let client = session.client()?;
    let servers = Servers::ask(&client).await?;
    client.control(servers.find(address)?).await
}

/// What came of one or many.
#[derive(Default)]
struct Done {
    text: String,
    json: Vec<Value>,
    exit: u8,
}

impl Done {
    fn add(&mut self, text: &str, json: Value) {
        self.text += text;
        self.json.push(json);
    }

    /// One of many failed: the others are done all the same.
    fn fail(&mut self, session: &Session, name: &AggregateName, error: &Error) {
        session.note(&error.to_string());
        self.json.push(json!({ "aggregate": name, "error": error.to_string() }));
        self.exit = Exit::Failed as u8;
    }

    fn output(self) -> Output {
        Output {
            exit: self.exit,
            ..Output::new("baton.dfsexport/1", self.text, json!({ "aggregates": self.json }))
        }
    }
}

/// All that something is to be done to: those that are exported already are passed over, as DFS does.
fn meant(seen: Vec<AggregateReport>, words: &Dfsexport) -> Vec<AggregateName> {
    let is_meant = |report: &AggregateReport| report.exported.is_some() == words.detach;
    seen.into_iter().filter(is_meant).map(|report| report.name).collect()
}

fn code(error: &Error) -> Option<u8> {
    match error.kind {
        Kind::Exists => Some(EXPORTED_ALREADY),
        Kind::Damaged => Some(NEEDS_SALVAGE),
        Kind::Busy if is_anothers(error) => Some(Exit::Refused as u8),
        _ => None,
    }
}

/// The location database refused a claim, because another server exports the aggregate.
fn is_anothers(error: &Error) -> bool {
    error.kind == Kind::Busy && error.reason.starts_with("exported by ")
}

/// Who asks for what another exports is told the ways out, each on a line of its own.
fn refusal(error: &Error) -> String {
    if !is_anothers(error) {
        return error.to_string();
    }
    let ways: Vec<String> = error.remedy.split("; ").map(|way| format!("\n  {way}")).collect();
    format!("{}: {}.{}", error.on, error.reason, ways.concat())
}

fn exported(report: &ExportReport) -> (String, Value) {
    let text = format!(
        "{}: exported, epoch {}, replayed {} of the log in {}, {}\n",
        report.aggregate,
        report.epoch,
        count(usize::try_from(report.records).unwrap_or(usize::MAX), "record"),
        format_duration(Duration::from_millis(report.micros.div_ceil(1_000))),
        count(usize::try_from(report.filesets).unwrap_or(usize::MAX), "fileset"),
    );
    let json = json!({
        "aggregate": report.aggregate,
        "epoch": report.epoch.0,
        "records": report.records,
        "micros": report.micros,
        "filesets": report.filesets,
    });
    (text, json)
}

fn detached(report: &DetachReport) -> (String, Value) {
    let many = |number: u64, what| count(usize::try_from(number).unwrap_or(usize::MAX), what);
    let name = &report.aggregate;
    let mut text = format!(
        "{name}: {}, {} taken back",
        many(report.filesets, "fileset"),
        many(report.holds, "hold")
    );
    if report.unreachable > 0 {
        let clients = many(report.unreachable, "client");
        text += &format!(", {clients} not reachable (what they wrote goes to the next owner)");
    }
    text += &format!("\n{name}: detached, last epoch {}\n", report.epoch);
    let json = json!({
        "aggregate": report.aggregate,
        "epoch": report.epoch.0,
        "filesets": report.filesets,
        "holds": report.holds,
        "unreachable": report.unreachable,
    });
    (text, json)
}

fn list(reports: &[AggregateReport]) -> Output {
    let mut text = String::new();
    for report in reports {
        text += &format!("{}, {}, ", report.device, report.name);
        text += &match &report.exported {
            Some(exported) => format!(
                "exported, epoch {}, {}\n",
                exported.epoch,
                count(usize::try_from(exported.filesets).unwrap_or(usize::MAX), "fileset")
            ),
            None => "not exported\n".to_owned(),
        };
    }
    if reports.is_empty() {
        text = "no aggregate is seen; baton.toml says where to look: fileserver.devices\n".to_owned();
    }
    let report = |report: &AggregateReport| {
        json!({
            "aggregate": report.name,
            "id": report.id.to_string(),
            "device": report.device,
            "exported": report.exported.is_some(),
            "epoch": report.exported.map(|exported| exported.epoch.0),
            "filesets": report.exported.map(|exported| exported.filesets),
        })
    };
    let json: Vec<Value> = reports.iter().map(report).collect();
    Output::new("baton.dfsexport/1", text, json!({ "aggregates": json }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::{Parsed, parse};
    use crate::program::Program;
    use baton_types::control::AggregateExport;
    use baton_types::{AggregateId, Epoch};

    fn report(name: &str, epoch: Option<u64>) -> AggregateReport {
        AggregateReport {
            id: AggregateId(uuid::Uuid::from_u128(8)),
            name: name.parse().unwrap(),
            device: format!("/dev/{name}"),
            exported: epoch.map(|epoch| AggregateExport {
                epoch: Epoch(epoch),
                total_bytes: 10,
                free_bytes: 5,
                filesets: 54,
            }),
        }
    }

    fn words(line: &str) -> Dfsexport {
        match parse(Program::Dfsexport, line.split_whitespace().map(Into::into).collect()) {
            Ok(Parsed::Dfsexport(words)) => words,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn all_means_what_there_is_something_to_do_to() {
        let seen = vec![report("lfs03", Some(42)), report("lfs04", None)];
        let names = |line: &str| -> Vec<String> {
            let meant = meant(seen.clone(), &words(line));
            meant.iter().map(ToString::to_string).collect()
        };
        assert_eq!(names("-all"), ["lfs04"]);
        assert_eq!(names("-all -detach"), ["lfs03"]);
    }

    #[test]
    fn list_says_of_each_whether_it_is_exported() {
        let listed = list(&[report("lfs03", Some(42)), report("lfs04", None)]);
        assert_eq!(
            listed.text,
            "/dev/lfs03, lfs03, exported, epoch 42, 54 filesets\n/dev/lfs04, lfs04, not exported\n"
        );
        assert_eq!(listed.json["aggregates"][0]["epoch"], json!(42));
        assert_eq!(listed.json["aggregates"][1]["epoch"], Value::Null);
        assert!(list(&[]).text.contains("fileserver.devices"));
    }

    #[test]
    fn an_export_is_told_in_one_line() {
        let report = ExportReport {
            aggregate: "lfs03".parse().unwrap(),
            epoch: Epoch(42),
            records: 1,
            micros: 3_100,
            filesets: 54,
        };
        let text = exported(&report).0;
        assert_eq!(
            text,
            "lfs03: exported, epoch 42, replayed 1 record of the log in 4ms, 54 filesets\n"
        );
    }

    #[test]
    fn a_detach_tells_of_the_clients() {
        let mut report = DetachReport {
            aggregate: "lfs03".parse().unwrap(),
            epoch: Epoch(41),
            filesets: 54,
            holds: 212,
            unreachable: 0,
        };
        let quiet = "lfs03: 54 filesets, 212 holds taken back\nlfs03: detached, last epoch 41\n";
        assert_eq!(detached(&report).0, quiet);
        report.unreachable = 3;
        assert!(detached(&report).0.contains("3 clients not reachable (what they wrote"));
    }

    #[test]
    fn what_another_exports_is_refused_with_the_ways_out() {
        let error = Error::new(Kind::Busy, "aggregate lfs03")
            .because("exported by mlserva under epoch 41, heartbeat 0.1 s ago; its beat goes on. Not taken")
            .remedy("planned: fts failover -aggregate lfs03 -to mlservb; if mlserva must be stopped: add -takeover");
        assert_eq!(
            (refusal(&error), code(&error)),
            (
                "aggregate lfs03: exported by mlserva under epoch 41, heartbeat 0.1 s ago; its beat goes on. Not taken.\n  \
             planned: fts failover -aggregate lfs03 -to mlservb\n  if mlserva must be stopped: add -takeover"
                    .to_owned(),
                Some(4)
            )
        );
    }

    #[test]
    fn codes_are_those_of_dfs() {
        let of = |kind| code(&Error::new(kind, "lfs03"));
        assert_eq!(
            (of(Kind::Exists), of(Kind::Damaged), of(Kind::Busy)),
            (Some(3), Some(2), None)
        );
    }
}
