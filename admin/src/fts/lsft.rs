//! `fts lsft`: all that is known of a fileset. In this version that is what the location database knows.

use baton_rpc::fldb::{Freshness, Query};
use baton_types::change::FilesetRef;
use baton_types::record::{Fileset, Site, Table, VersionState};
use baton_types::units::format_bytes;
use baton_types::{Address, Error, Kind, Result};
use serde_json::{Value, json};

use super::entry::Book;
use crate::grammar::fts::LsFt;
use crate::output::Output;
use crate::session::Session;

/// Prints it.
pub async fn lsft(session: &Session, words: LsFt) -> Result<Output> {
    let fileset = named(&words)?;
    let client = session.client()?;
    let tables = [Table::Server, Table::Entry, Table::Aggregate, Table::Fileset];
    let query = Query {
        fileset: Some(fileset),
        ..Query::tables(&tables, Freshness::Linearizable)
    };
    let book = Book::of(session.list(&client, query).await?.records, session.clock.date());
    let fileset = book
        .filesets
        .first()
        .ok_or_else(|| Error::new(Kind::NotFound, "fileset"))?;
    if let Some(server) = &words.server {
        check_server(&book, fileset, server)?;
    }
    Ok(output(&book, fileset))
}

/// The fileset that is meant; what a path is in, only a client that mounts the cell can say.
fn named(words: &LsFt) -> Result<FilesetRef> {
    words.fileset.clone().ok_or_else(|| {
        let on = words
            .path
            .as_ref()
            .map_or(".".to_owned(), |path| path.display().to_string());
        Error::new(Kind::Unsupported, format!("path {on}"))
            .because("no client of this version mounts the cell, so nobody knows which fileset that is in")
            .remedy("name it: fts lsft -fileset NAME; fts lsfldb lists them")
    })
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

fn output(book: &Book, fileset: &Fileset) -> Output {
    let mut json = book.to_json(fileset);
    json["aggregates"] = fileset.sites.iter().map(|site| aggregate_json(book, site)).collect();
    json["header"] = Value::Null;
    let text = format!("{}\n{}", header(book, fileset), book.print(fileset));
    Output::new("baton.fts.lsft/1", text, json)
}

/// As far as the location database knows what a fileset's header says.
fn header(book: &Book, fileset: &Fileset) -> String {
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
    use super::*;
    use baton_types::Timestamp;

    #[test]
    fn a_fileset_is_told_with_its_owner_and_its_entry() {
        let book = Book::of(records(), Timestamp(0));
        let output = output(&book, &book.filesets[0]);
        let head = "user.ito 0,,1201 RW   On-line or not: only its file server knows\n    \
             mlserva.example, aggregate lfs03 (ID 13), owned by mlserva under epoch 41\n    \
             quota limit 20GiB\n\nuser.ito\n        readWriteID  0,,1201  valid\n";
        assert!(output.text.starts_with(head), "{}", output.text);
        assert_eq!(
            output.json["aggregates"],
            json!([{ "name": "lfs03", "owner": "mlserva", "epoch": 41 }])
        );
        assert_eq!(output.json["header"], Value::Null);
    }

    #[test]
    fn one_that_nobody_made_yet_says_so() {
        let mut book = Book::of(records(), Timestamp(0));
        book.filesets[0].rw = VersionState::Invalid;
        assert!(header(&book, &book.filesets[0]).contains("'invalid' until a file server has made it"));
    }

    #[test]
    fn a_path_and_a_wrong_server_are_refused_with_the_way_out() {
        let words = LsFt {
            path: Some("/:/home".into()),
            fileset: None,
            server: None,
        };
        let error = named(&words).unwrap_err();
        assert_eq!(error.kind, Kind::Unsupported);
        assert!(error.to_string().contains("fts lsft -fileset NAME"), "{error}");
        let book = Book::of(records(), Timestamp(0));
        let server = Address::parse("elsewhere").unwrap();
        let error = check_server(&book, &book.filesets[0], &server).unwrap_err();
        assert_eq!(
            error.to_string(),
            "fileset user.ito: no version of it is at elsewhere; it is at mlserva.example"
        );
    }
}
