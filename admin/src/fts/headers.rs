//! `lsheader`, and the header that `lsft` prints: what the disk says of a fileset, in DFS's layout.

use baton_types::change::AggregateRef;
use baton_types::control::FilesetReport;
use baton_types::record::Aggregate;
use baton_types::{AggregateName, Result};
use serde_json::{Value, json};

use crate::grammar::fts::LsHeader;
use crate::output::{Output, date};
use crate::servers::Servers;
use crate::session::Session;

/// Lists them, each aggregate by itself.
pub async fn lsheader(session: &Session, words: LsHeader) -> Result<Output> {
    let client = session.client()?;
    let servers = Servers::ask(&client).await?;
    let control = client.control(servers.find(&words.server)?).await?;
    let only = words
        .aggregate
        .as_ref()
        .map(|meant| name_of(&servers, meant))
        .transpose()?;
    let reports = control.filesets(only.as_ref(), None).await?;
    let exported = control.aggregates().await?.into_iter();
    let names = exported
        .filter(|report| report.exported.is_some())
        .map(|report| report.name);
    let names: Vec<AggregateName> = names
        .filter(|name| only.as_ref().is_none_or(|only| only == name))
        .collect();
    let form = match (words.fast, words.long) {
        (true, _) => Form::Fast,
        (false, true) => Form::Long,
        (false, false) => Form::Short,
    };
    Ok(output(&reports, &names, (&servers, &words.server.to_string()), form))
}

/// How much is printed of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Fast,
    Short,
    Long,
}

/// A server knows aggregates by name; a number is the location database's.
fn name_of(servers: &Servers, meant: &AggregateRef) -> Result<AggregateName> {
    match (servers.aggregate(meant), meant) {
        (Some(aggregate), _) => Ok(aggregate.name.clone()),
        (None, AggregateRef::Name(name)) => Ok(name.clone()),
        (None, AggregateRef::Number(number)) => Err(baton_types::Error::new(
            baton_types::Kind::NotFound,
            format!("aggregate {number}"),
        )),
    }
}

fn output(
    reports: &[FilesetReport],
    names: &[AggregateName],
    (servers, server): (&Servers, &str),
    form: Form,
) -> Output {
    let mut text = String::new();
    for name in names {
        let here: Vec<&FilesetReport> = reports.iter().filter(|report| report.aggregate == *name).collect();
        let record = servers.aggregates.iter().find(|aggregate| aggregate.name == *name);
        text += &format!(
            "Total filesets on server {server} aggregate {name} (id {}): {}\n",
            number(record),
            here.len()
        );
        for report in here {
            text += &match form {
                Form::Fast => format!("{}\n", report.id),
                Form::Short => line(report),
                Form::Long => format!("{}\n", header(report, server, record)),
            };
        }
    }
    let online = reports.iter().filter(|report| report.is_online).count();
    if form != Form::Fast {
        text += &format!(
            "Total filesets on-line {online}; total off-line {}; total busy 0\n",
            reports.len() - online
        );
    }
    let json: Vec<Value> = reports.iter().map(header_json).collect();
    let json = json!({ "filesets": json, "online": online, "offline": reports.len() - online });
    Output::new("baton.fts.lsheader/1", text, json)
}

fn line(report: &FilesetReport) -> String {
    let used = report.used_bytes.div_ceil(1_024);
    format!(
        "{:<24} {} RW {used:>6} K alloc {used:>6} K quota {}\n",
        report.name.as_str(),
        report.id,
        state(report)
    )
}

/// The block that `lsft` begins with.
pub fn header(report: &FilesetReport, server: &str, aggregate: Option<&Aggregate>) -> String {
    // DFS's bits: RW, and in the type's field LFS.
    const STATES: u32 = 0x1_0001;
    let used = report.used_bytes.div_ceil(1_024);
    format!(
        "{} {} RW LFS     states 0x{STATES:08x}   {}\n    \
             {server}, aggregate {} (ID {})\n    \
             Parent {}   Clone 0,,0   Backup {}\n    \
             llBack 0,,0      llFwd 0,,0   Version 0,,{}\n    \
         {:>10} K alloc limit; {used:>10} K alloc usage\n    \
         {:>10} K quota limit; {used:>10} K quota usage\n    \
             Creation {}\n",
        report.name,
        report.id,
        state(report),
        report.aggregate,
        number(aggregate),
        report.id,
        report.id.backup(),
        report.version,
        0,
        report.quota_bytes / 1_024,
        date(report.created),
    )
}

/// The same for programs.
pub fn header_json(report: &FilesetReport) -> Value {
    json!({
        "name": report.name,
        "id": report.id.to_string(),
        "number": report.id.0,
        "aggregate": report.aggregate,
        "state": if report.is_online { "online" } else { "offline" },
        "used_bytes": report.used_bytes,
        "used_files": report.used_files,
        "quota_bytes": report.quota_bytes,
        "quota_files": report.quota_files,
        "version": report.version,
        "created": date(report.created),
        "backup": report.has_backup,
    })
}

fn state(report: &FilesetReport) -> &'static str {
    match report.is_online {
        true => "On-line",
        false => "Off-line",
    }
}

fn number(aggregate: Option<&Aggregate>) -> String {
    aggregate.map_or_else(|| "unknown".to_owned(), |aggregate| aggregate.number.to_string())
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::fts::tests::records;
    use baton_types::{FilesetId, Timestamp};

    /// What the server says of the fileset of [`records`].
    pub fn report() -> FilesetReport {
        FilesetReport {
            id: FilesetId(1201),
            name: "user.ito".parse().unwrap(),
            aggregate: "lfs03".parse().unwrap(),
            used_bytes: 12_480 << 10,
            used_files: 3,
            quota_bytes: 20_000 << 10,
            quota_files: 0,
            created: Timestamp(0),
            version: 90_211,
            is_online: true,
            has_backup: true,
        }
    }

    #[test]
    fn headers_have_the_layout_of_dfs() {
        let servers = Servers::of(records());
        let names = ["lfs03".parse().unwrap()];
        let text = |form| output(&[report()], &names, (&servers, "mlserva"), form).text;
        assert_eq!(
            text(Form::Short),
            "Total filesets on server mlserva aggregate lfs03 (id 13): 1\n\
             user.ito                 0,,1201 RW  12480 K alloc  12480 K quota On-line\n\
             Total filesets on-line 1; total off-line 0; total busy 0\n"
        );
        assert_eq!(
            text(Form::Fast),
            "Total filesets on server mlserva aggregate lfs03 (id 13): 1\n0,,1201\n"
        );
        assert!(text(Form::Long).contains(
            "user.ito 0,,1201 RW LFS     states 0x00010001   On-line\n    \
             mlserva, aggregate lfs03 (ID 13)\n    \
             Parent 0,,1201   Clone 0,,0   Backup 0,,1203\n    \
             llBack 0,,0      llFwd 0,,0   Version 0,,90211\n"
        ));
        assert!(text(Form::Long).contains("     20000 K quota limit;      12480 K quota usage\n"));
    }
}
