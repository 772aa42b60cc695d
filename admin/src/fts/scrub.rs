//! `fts scrub`: reads all that aggregates hold, and says what of it is damaged.

use baton_rpc::fldb::ControlClient;
use baton_types::control::{Damage, ScrubEnd, ScrubPass, ScrubReport, ScrubWish};
use baton_types::units::{format_bytes, format_duration};
use baton_types::{AggregateName, Error, Kind, Result};
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::grammar::fts::Scrub;
use crate::output::{Output, date, path_json, path_text, printable};
use crate::servers::Servers;
use crate::session::Session;

const MIB: u64 = 1 << 20;

/// Carries it out.
pub async fn scrub(session: &Session, words: Scrub) -> Result<Output> {
    let client = session.client()?;
    let servers = Servers::ask(&client).await?;
    let wish = words.wish();
    let (control, names) = match (&words.server, &words.aggregate) {
        (server, Some(meant)) => {
            let missing = || Error::new(Kind::NotFound, "aggregate").because("there is none of this name or number");
            let aggregate = servers.aggregate(meant).ok_or_else(missing)?;
            let control = match server {
                Some(server) => client.control(servers.find(server)?).await?,
                None => servers.control_of(&client, aggregate).await?,
            };
            (control, vec![aggregate.name.clone()])
        }
        (Some(server), None) => {
            let control = client.control(servers.find(server)?).await?;
            let names = exported(&control).await?;
            (control, names)
        }
        (None, None) => unreachable!("clap asks for one of them"),
    };
    let mut reports = Vec::new();
    for name in names {
        let report = control.scrub(&name, wish).await?;
        reports.push((name, report));
    }
    Ok(output(wish, &reports))
}

async fn exported(control: &ControlClient) -> Result<Vec<AggregateName>> {
    let reports = control.aggregates().await?.into_iter();
    Ok(reports
        .filter(|report| report.exported.is_some())
        .map(|report| report.name)
        .collect())
}

fn output(wish: ScrubWish, reports: &[(AggregateName, ScrubReport)]) -> Output {
    let text: String = reports
        .iter()
        .map(|(name, report)| match wish {
            ScrubWish::Start(_) => {
                let rate = format_bytes(report.rate);
                format!("aggregate {name}: scrubbed from now on, {rate} a second\n")
            }
            ScrubWish::Stop => format!("aggregate {name}: no scrub any more\n"),
            ScrubWish::Look => status(name, report),
        })
        .collect();
    let aggregates: Vec<Value> = reports.iter().map(|(name, report)| to_json(name, report)).collect();
    let is_damaged = |(_, report): &(AggregateName, ScrubReport)| passes(report).any(|pass| pass.scrubbed.count() > 0);
    Output {
        exit: match wish == ScrubWish::Look && reports.iter().any(is_damaged) {
            true => Exit::Failed as u8,
            false => Exit::Done as u8,
        },
        ..Output::new("baton.fts.scrub/1", text, json!({ "aggregates": aggregates }))
    }
}

/// The last one, and the last that was finished, if that is another one.
fn passes(report: &ScrubReport) -> impl Iterator<Item = &ScrubPass> {
    let finished = report.finished.as_ref().filter(|_| report.finished != report.last);
    finished.into_iter().chain(&report.last)
}

fn status(name: &AggregateName, report: &ScrubReport) -> String {
    let mut text = String::new();
    for pass in passes(report) {
        let read = pass.scrubbed.bytes / MIB;
        let (began, ended) = (date(pass.began), date(pass.ended));
        let how = match &pass.end {
            ScrubEnd::Underway => {
                format!("being scrubbed since {began}, {} a second", format_bytes(report.rate))
            }
            ScrubEnd::Finished => format!("scrubbed from {began} to {ended}"),
            ScrubEnd::Stopped => format!("scrub of {began} stopped at {ended}"),
            ScrubEnd::Failed(reason) => format!("scrub of {began} failed at {ended}: {}", printable(reason)),
        };
        let found = match pass.scrubbed.count() {
            0 => "nothing is damaged".to_owned(),
            count => format!("damaged: {count}"),
        };
        text += &format!("aggregate {name}: {how}; {read} MiB read; {found}\n");
        for damage in &pass.scrubbed.damages {
            text += &format!("  {}\n", line(damage));
        }
        if pass.scrubbed.more > 0 {
            text += &format!("  and {} more\n", pass.scrubbed.more);
        }
    }
    if report.finished.is_none() {
        text += &format!("aggregate {name}: its owner has read all of it not once yet\n");
    }
    let next = match report.every {
        Some(every) => format!("again {} after the end of one", format_duration(every)),
        None => "only when asked to".to_owned(),
    };
    text + &format!("aggregate {name}: scrubbed {next}\n")
}

fn line(damage: &Damage) -> String {
    let Some((_, fileset)) = &damage.fileset else {
        return printable(&damage.reason);
    };
    let snapshot = damage.snapshot.as_ref();
    let snapshot = snapshot.map_or_else(String::new, |name| format!(", snapshot {}", path_text(name.as_bytes())));
    let file = match &damage.path {
        Some(path) if path.is_empty() => "/".to_owned(),
        Some(path) => format!("/{}", path_text(path)),
        None => format!("vnode {}", damage.vnode),
    };
    let range = match &damage.range {
        Some(range) => format!(", bytes {} to {}", range.start, range.end.saturating_sub(1)),
        None => String::new(),
    };
    format!(
        "fileset {fileset}{snapshot}, {file}{range}: {}",
        printable(&damage.reason)
    )
}

fn to_json(name: &AggregateName, report: &ScrubReport) -> Value {
    json!({
        "aggregate": name,
        "rate": report.rate,
        "every_seconds": report.every.map(|every| every.as_secs()),
        "last": report.last.as_ref().map(pass_json),
        "finished": report.finished.as_ref().map(pass_json),
    })
}

fn pass_json(pass: &ScrubPass) -> Value {
    let (end, reason) = match &pass.end {
        ScrubEnd::Underway => ("underway", None),
        ScrubEnd::Finished => ("finished", None),
        ScrubEnd::Stopped => ("stopped", None),
        ScrubEnd::Failed(reason) => ("failed", Some(reason)),
    };
    let damages: Vec<Value> = pass.scrubbed.damages.iter().map(damage_json).collect();
    json!({
        "began": date(pass.began),
        "ended": date(pass.ended),
        "end": end,
        "reason": reason,
        "bytes": pass.scrubbed.bytes,
        "damages": damages,
        "more": pass.scrubbed.more,
    })
}

fn damage_json(damage: &Damage) -> Value {
    json!({
        "what": damage.what,
        "fileset": damage.fileset.as_ref().map(|(_, name)| name),
        "fileset_id": damage.fileset.as_ref().map(|(id, _)| id.0),
        "snapshot": damage.snapshot.as_ref().map(|name| path_json(name.as_bytes())),
        "vnode": damage.vnode,
        "path": damage.path.as_deref().map(path_json),
        "first_byte": damage.range.as_ref().map(|range| range.start),
        "bytes": damage.range.as_ref().map(|range| range.end - range.start),
        "reason": damage.reason,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use baton_types::control::Scrubbed;
    use baton_types::{FileName, FilesetId, Timestamp};

    use super::*;

    fn pass(end: ScrubEnd, damages: Vec<Damage>) -> ScrubPass {
        let at = |second: i64| Timestamp(second * 1_000_000_000);
        ScrubPass {
            began: at(1_800_000_000),
            ended: at(1_800_000_060),
            scrubbed: Scrubbed {
                bytes: 3 * MIB,
                is_finished: end == ScrubEnd::Finished,
                damages,
                more: 0,
            },
            end,
        }
    }

    fn look(last: Option<ScrubPass>, finished: Option<ScrubPass>) -> Output {
        let report = ScrubReport {
            rate: 50 * MIB,
            every: Some(Duration::from_hours(14 * 24)),
            last,
            finished,
        };
        output(ScrubWish::Look, &[("lfs03".parse().unwrap(), report)])
    }

    #[test]
    fn damage_is_said_by_its_path_and_is_a_failure() {
        let damage = Damage {
            what: "data".to_owned(),
            fileset: Some((FilesetId(7), "user.ito".parse().unwrap())),
            snapshot: Some(FileName::parse(b"monday").unwrap()),
            vnode: 5,
            path: Some(b"a/b\x1b".to_vec()),
            range: Some(4_096..8_192),
            reason: "rot".to_owned(),
        };
        let finished = pass(ScrubEnd::Finished, vec![damage]);
        let said = look(Some(finished.clone()), Some(finished.clone()));
        assert_eq!(
            said.text,
            "aggregate lfs03: scrubbed from 2027-01-15T08:00:00Z to 2027-01-15T08:01:00Z; 3 MiB read; damaged: 1\n  \
             fileset user.ito, snapshot monday, /a/b\\u{1b}, bytes 4096 to 8191: rot\n\
             aggregate lfs03: scrubbed again 14d after the end of one\n"
        );
        assert_eq!(said.exit, Exit::Failed as u8);
        let damage = &said.json["aggregates"][0]["last"]["damages"][0];
        assert_eq!(
            (&damage["first_byte"], &damage["bytes"]),
            (&json!(4_096), &json!(4_096))
        );
        // What the last whole one found is said while the next goes on.
        let said = look(Some(pass(ScrubEnd::Underway, Vec::new())), Some(finished));
        assert!(said.text.contains("damaged: 1") && said.text.contains("being scrubbed since"));
        assert_eq!(said.exit, Exit::Failed as u8);
    }

    #[test]
    fn sound_aggregate_is_said_to_be_so() {
        let finished = pass(ScrubEnd::Finished, Vec::new());
        let said = look(Some(finished.clone()), Some(finished));
        assert!(said.text.contains("nothing is damaged"), "{}", said.text);
        assert_eq!(said.exit, Exit::Done as u8);
        let said = look(None, None);
        assert!(
            said.text
                .starts_with("aggregate lfs03: its owner has read all of it not once yet\n")
        );
    }
}
