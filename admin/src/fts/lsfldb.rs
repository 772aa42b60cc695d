//! `fts lsfldb`: entries of the location database.

use baton_rpc::fldb::{Freshness, Query};
use baton_types::Result;
use baton_types::record::Table;
use serde_json::{Value, json};

use super::entry::Book;
use crate::grammar::fts::LsFldb;
use crate::output::Output;
use crate::session::Session;

/// Lists them, in the order of their names.
pub async fn lsfldb(session: &Session, words: LsFldb) -> Result<Output> {
    let client = session.client()?;
    let asked = match words.fileset {
        Some(_) => Asked::One,
        None => Asked::Many,
    };
    let listing = session.list(&client, query(words)).await?;
    let book = Book::of(listing.records, session.clock.date());
    let mut output = output(&book, asked);
    output.json["cell"] = json!(client.cell());
    output.json["index"] = json!(listing.index);
    Ok(output)
}

fn query(words: LsFldb) -> Query {
    Query {
        fileset: words.fileset,
        entry: words.server,
        aggregate: words.aggregate,
        is_locked: words.locked,
        ..Query::tables(
            &[Table::Entry, Table::Aggregate, Table::Fileset],
            Freshness::Linearizable,
        )
    }
}

/// Totals are of use only under many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    One,
    Many,
}

fn output(book: &Book, asked: Asked) -> Output {
    let mut parts: Vec<String> = book.filesets.iter().map(|fileset| book.print(fileset)).collect();
    let locked = book.filesets.iter().filter(|fileset| fileset.lock.is_some()).count();
    if asked == Asked::Many || parts.is_empty() {
        parts.push(format!(
            "Total FLDB entries: {}; locked: {locked}\n",
            book.filesets.len()
        ));
    }
    let filesets: Vec<Value> = book.filesets.iter().map(|fileset| book.to_json(fileset)).collect();
    let json = json!({ "filesets": filesets, "total": filesets.len(), "locked": locked });
    Output::new("baton.fts.lsfldb/1", parts.join("\n"), json)
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::records;
    use super::*;
    use crate::grammar::{Fts, Parsed, parse};
    use crate::program::Program;
    use baton_types::change::{AggregateRef, FilesetRef};
    use baton_types::{Address, FilesetId, Timestamp};

    fn asked_by(line: &str) -> Query {
        match parse(Program::Fts, line.split(' ').map(Into::into).collect()) {
            Ok(Parsed::Fts(Fts::LsFldb(words), _)) => query(words),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn options_become_what_is_asked() {
        let all = asked_by("lsfldb");
        assert_eq!(all.freshness, Freshness::Linearizable);
        assert_eq!(all.tables, [Table::Entry, Table::Aggregate, Table::Fileset]);
        assert_eq!(
            (&all.fileset, &all.entry, &all.aggregate, all.is_locked),
            (&None, &None, &None, false)
        );
        let some = asked_by("lsfl -s mlserva -a 13 -lock");
        let server = Address::parse("mlserva").unwrap();
        assert_eq!(
            some,
            Query {
                entry: Some(server),
                aggregate: Some(AggregateRef::Number(13)),
                is_locked: true,
                ..all.clone()
            }
        );
        let one = asked_by("lsfl 1202");
        assert_eq!(
            one,
            Query {
                fileset: Some(FilesetRef::Id(FilesetId(1202))),
                ..all
            }
        );
    }

    #[test]
    fn a_list_ends_with_its_totals() {
        let book = Book::of(records(), Timestamp(0));
        let text = output(&book, Asked::Many).text;
        assert!(text.starts_with("user.ito\n        readWriteID"), "{text}");
        assert!(text.ends_with("<nil>\n\nTotal FLDB entries: 1; locked: 0\n"), "{text}");
        assert!(!output(&book, Asked::One).text.contains("Total"));
        let none = output(&Book::default(), Asked::Many);
        assert_eq!(none.text, "Total FLDB entries: 0; locked: 0\n");
        assert_eq!(none.json, json!({ "filesets": [], "total": 0, "locked": 0 }));
    }
}
