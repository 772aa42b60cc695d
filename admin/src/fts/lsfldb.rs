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
    let query = Query {
        fileset: words.fileset,
        entry: words.server,
        aggregate: words.aggregate,
        is_locked: words.locked,
        ..Query::tables(
            &[Table::Entry, Table::Aggregate, Table::Fileset],
            Freshness::Linearizable,
        )
    };
    let listing = session.list(&client, query).await?;
    let book = Book::of(listing.records);
    let mut output = output(&book, asked);
    output.json["cell"] = json!(client.cell());
    output.json["index"] = json!(listing.index);
    Ok(output)
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

    #[test]
    fn a_list_ends_with_its_totals() {
        let book = Book::of(records());
        let text = output(&book, Asked::Many).text;
        assert!(text.starts_with("user.ito\n        readWriteID"), "{text}");
        assert!(text.ends_with("<nil>\n\nTotal FLDB entries: 1; locked: 0\n"), "{text}");
        assert!(!output(&book, Asked::One).text.contains("Total"));
        let none = output(&Book::default(), Asked::Many);
        assert_eq!(none.text, "Total FLDB entries: 0; locked: 0\n");
        assert_eq!(none.json, json!({ "filesets": [], "total": 0, "locked": 0 }));
    }
}
