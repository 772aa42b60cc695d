//! `fts lsft`: all that is known of a fileset, by its file server and by the location database.

use std::path::PathBuf;

use baton_rpc::FldbClient;
use baton_rpc::fldb::{Freshness, Query};
use baton_types::change::FilesetRef;
use baton_types::control::FilesetReport;
use baton_types::record::{Fileset, Site, Table, VersionState};
use baton_types::units::format_bytes;
use baton_types::{Address, Error, FilesetId, Kind, Result};
use serde_json::{Value, json};

use super::entry::Book;
use super::headers;
use crate::cm;
use crate::grammar::fts::LsFt;
use crate::output::Output;
use crate::servers::Servers;
use crate::session::Session;

/// Prints it.
pub async fn lsft(session: &Session, words: LsFt) -> Result<Output> {
    let fileset = named(session, &words)?;
    let client = session.client()?;
    let tables = [Table::Server, Table::Entry, Table::Aggregate, Table::Fileset];
    let query = Query {
        fileset: Some(fileset),
        ..Query::tables(&tables, Freshness::Linearizable)
    };
    let records = session.list(&client, query).await?.records;
    let (servers, book) = (Servers::of(records.clone()), Book::of(records, session.clock.date()));
    let fileset = book
        .filesets
        .first()
        .ok_or_else(|| Error::new(Kind::NotFound, "fileset"))?;
    if let Some(server) = &words.server {
        check_server(&book, fileset, server)?;
    }
    let report = match ask(&client, &servers, &book, fileset).await {
        Ok(report) => report,
        Err(error) => {
            session.warn(&format!("what its file server says is left out: {error}"));
            None
        }
    };
    Ok(output(&book, fileset, report.as_ref()))
}

/// What the owner of its aggregate says of it; `None` of one that was not made yet.
async fn ask(client: &FldbClient, servers: &Servers, book: &Book, fileset: &Fileset) -> Result<Option<FilesetReport>> {
    let site = fileset.sites.iter().find(|site| site.versions & Site::RW != 0);
    let aggregate = site.and_then(|site| book.aggregate(site));
    let (VersionState::Valid, Some(aggregate)) = (fileset.rw, aggregate) else {
        return Ok(None);
    };
    let control = servers.control_of(client, aggregate).await?;
    let mut reports = control.filesets(Some(&aggregate.name), Some(fileset.id)).await?;
    Ok(reports.pop())
}

/// The fileset that is meant; what a path is in, this machine's batond says.
fn named(session: &Session, words: &LsFt) -> Result<FilesetRef> {
    if let Some(fileset) = &words.fileset {
        return Ok(fileset.clone());
    }
    let path = words.path.clone().unwrap_or_else(|| PathBuf::from("."));
    let place = cm::place_of(&session.paths, &path)?;
    Ok(FilesetRef::Id(FilesetId(place.fileset)))
}

fn check_server(book: &Book, fileset: &Fileset, server: &Address) -> Result<()> {
    let is_there = |site: &Site| book.entry(site).is_some_and(|entry| entry.addresses.contains(server));
    if fileset.sites.iter().any(is_there) {
        return Ok(());
    }
    let sites: Vec<_> = fileset.sites.iter().map(|site| book.address(site)).collect();
    Err(Error::new(Kind::NotFound, format!("fileset {}", fileset.name))
        .because(format!("no version of it is at {server}"))
        .remedy(format!("it is at {}", sites.join(", "))))
}

fn output(book: &Book, fileset: &Fileset, report: Option<&FilesetReport>) -> Output {
    let mut json = book.to_json(fileset);
    json["aggregates"] = fileset.sites.iter().map(|site| aggregate_json(book, site)).collect();
    json["header"] = report.map_or(Value::Null, headers::header_json);
    let text = format!("{}\n{}", head(book, fileset, report), book.print(fileset));
    Output::new("baton.fts.lsft/1", text, json)
}

/// What the disk says; or, where its server does not say it, what the location database knows of that.
fn head(book: &Book, fileset: &Fileset, report: Option<&FilesetReport>) -> String {
    let site = fileset.sites.iter().find(|site| site.versions & Site::RW != 0);
    let (Some(report), Some(site)) = (report, site) else {
        return unknown(book, fileset);
    };
    let text = headers::header(report, &book.address(site), book.aggregate(site));
    let owner = book
        .aggregate(site)
        .and_then(|aggregate| Some((aggregate, book.owner(aggregate)?)));
    match owner {
        Some((aggregate, owner)) => text + &format!("    Owned by {} under epoch {}\n", owner.name, aggregate.epoch),
        None => text,
    }
}

fn unknown(book: &Book, fileset: &Fileset) -> String {
    let state = match fileset.rw {
        VersionState::Valid => "On-line or not: only its file server knows",
        VersionState::Invalid => "not made yet: 'invalid' until a file server has made it",
    };
    let mut text = format!("{} {} RW   {state}\n", fileset.name, fileset.id);
    for site in &fileset.sites {
        let number = book
            .aggregate(site)
            .map_or_else(|| "unknown".to_owned(), |a| a.number.to_string());
        text += &format!(
            "    {}, aggregate {} (ID {number})",
            book.address(site),
            book.aggregate_name(site)
        );
        text += &match book.aggregate(site).map(|aggregate| (aggregate, book.owner(aggregate))) {
            Some((aggregate, Some(owner))) => format!(", owned by {} under epoch {}\n", owner.name, aggregate.epoch),
            Some((_, None)) => ", owned by nobody\n".to_owned(),
            None => "\n".to_owned(),
        };
    }
    let quota = match fileset.quota_bytes {
        0 => "none".to_owned(),
        bytes => format_bytes(bytes),
    };
    text + &format!("    quota limit {quota}\n")
}

fn aggregate_json(book: &Book, site: &Site) -> Value {
    let aggregate = book.aggregate(site);
    json!({
        "name": book.aggregate_name(site),
        "owner": aggregate.and_then(|a| book.owner(a)).map(|server| &server.name),
        "epoch": aggregate.map(|a| a.epoch.0),
    })
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::records;
    use super::super::headers::tests::report;
    use super::*;
    use baton_types::Timestamp;

    #[test]
    fn a_fileset_is_told_with_its_header_and_its_entry() {
        let book = Book::of(records(), Timestamp(0));
        let told = output(&book, &book.filesets[0], Some(&report()));
        assert!(
            told.text
                .starts_with("user.ito 0,,1201 RW LFS     states 0x00010001   On-line\n    mlserva.example, aggregate lfs03 (ID 13)\n"),
            "{}",
            told.text
        );
        assert!(
            told.text
                .contains("    Owned by mlserva under epoch 41\n\nuser.ito\n        readWriteID  0,,1201  valid\n")
        );
        assert_eq!(told.json["header"]["used_files"], json!(3));
        assert_eq!(
            told.json["aggregates"],
            json!([{ "name": "lfs03", "owner": "mlserva", "epoch": 41 }])
        );
    }

    #[test]
    fn one_whose_server_is_silent_is_told_by_its_entry() {
        let book = Book::of(records(), Timestamp(0));
        let told = output(&book, &book.filesets[0], None);
        let begins = "user.ito 0,,1201 RW   On-line or not: only its file server knows\n    \
             mlserva.example, aggregate lfs03 (ID 13), owned by mlserva under epoch 41\n    \
             quota limit 20GiB\n\nuser.ito\n        readWriteID  0,,1201  valid\n";
        assert!(told.text.starts_with(begins), "{}", told.text);
        assert_eq!(told.json["header"], Value::Null);
    }

    #[test]
    fn one_that_nobody_made_yet_says_so() {
        let mut book = Book::of(records(), Timestamp(0));
        book.filesets[0].rw = VersionState::Invalid;
        assert!(head(&book, &book.filesets[0], None).contains("'invalid' until a file server has made it"));
    }

    #[test]
    fn a_wrong_server_is_refused_with_the_way_out() {
        let book = Book::of(records(), Timestamp(0));
        let server = Address::parse("elsewhere").unwrap();
        let error = check_server(&book, &book.filesets[0], &server).unwrap_err();
        assert_eq!(
            error.to_string(),
            "fileset user.ito: no version of it is at elsewhere; it is at mlserva.example"
        );
    }
}
