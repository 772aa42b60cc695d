//! `fts events`: what happened in the cell, and what happens.

use baton_rpc::fldb::{Freshness, Query};
use baton_rpc::{FldbClient, News};
use baton_types::record::{Event, Record, Table};
use baton_types::{Kind, Result};
use serde_json::{Value, json};

use crate::grammar::fts::Events;
use crate::output::{Output, date, json_line, print_now, printable};
use crate::session::Session;

/// One line of JSON each.
const SCHEMA: &str = "baton.fts.event/1";

/// Prints what the database keeps, and with `-follow` whatever comes until nobody reads on.
pub async fn events(session: &Session, words: Events) -> Result<Output> {
    let client = session.client()?;
    let listing = session
        .list(&client, Query::tables(&[Table::Event], Freshness::Linearizable))
        .await?;
    let kept = events_of(listing.records);
    if !words.follow {
        let text: String = kept.iter().map(line).collect();
        let json = json!({ "events": kept.iter().map(to_json).collect::<Vec<_>>() });
        return Ok(Output::new("baton.fts.events/1", text, json));
    }
    let is_read = print(session, &kept)?;
    if is_read {
        follow(session, &client, listing.index).await?;
    }
    Ok(Output::new(SCHEMA, "", Value::Null))
}

/// Until standard output is closed.
async fn follow(session: &Session, client: &FldbClient, after: u64) -> Result<()> {
    let mut watch = client.watch(&[Table::Event], after);
    let mut printed = after;
    loop {
        let records = match watch.next().await {
            Ok((_, News::Changed(changed))) => changed.put,
            Ok((_, News::Put(records))) => records,
            Ok((_, News::Forget | News::Complete(_) | News::Reached(_))) => continue,
            Err(error) if error.kind == Kind::Unreachable => {
                session.warn(&format!("{error}; still waiting"));
                continue;
            }
            Err(error) => return Err(error),
        };
        // After a long absence everything comes again.
        let new: Vec<Event> = events_of(records)
            .into_iter()
            .filter(|event| event.index > printed)
            .collect();
        printed = new.last().map_or(printed, |event| event.index);
        if !print(session, &new)? {
            return Ok(());
        }
    }
}

/// False when nobody reads any more.
fn print(session: &Session, events: &[Event]) -> Result<bool> {
    let text: String = events
        .iter()
        .map(|event| match session.standard.json {
            true => json_line(SCHEMA, &to_json(event)),
            false => line(event),
        })
        .collect();
    print_now(text.as_bytes())
}

fn events_of(records: Vec<Record>) -> Vec<Event> {
    let event = |record| match record {
        Record::Event(event) => Some(event),
        _ => None,
    };
    records.into_iter().filter_map(event).collect()
}

fn line(event: &Event) -> String {
    format!("{}  {:<20}  {}\n", date(event.date), event.by, sentence(event))
}

/// `create fileset` of `fileset user.ito` is told as `create fileset user.ito`.
fn sentence(event: &Event) -> String {
    let (what, on) = (printable(&event.what), printable(&event.on));
    let told = match what.split_once(' ').filter(|(_, noun)| on.starts_with(noun)) {
        Some((verb, _)) => format!("{verb} {on}"),
        None => format!("{what} {on}"),
    };
    match event.detail.is_empty() {
        true => told,
        false => format!("{told}: {}", printable(&event.detail)),
    }
}

fn to_json(event: &Event) -> Value {
    json!({
        "index": event.index,
        "date": date(event.date),
        "by": event.by,
        "what": event.what,
        "on": event.on,
        "detail": event.detail,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_types::{PrincipalName, Timestamp};

    #[test]
    fn an_event_is_one_line() {
        let event = Event {
            index: 12,
            date: Timestamp(1_800_000_000 * 1_000_000_000),
            by: PrincipalName::parse("alice").unwrap(),
            what: "create fileset".to_owned(),
            on: "fileset user.ito\u{1b}[2J".to_owned(),
            detail: String::new(),
        };
        assert_eq!(
            line(&event),
            "2027-01-15T08:00:00Z  alice                 create fileset user.ito\\u{1b}[2J\n"
        );
        let set = Event {
            what: "set".to_owned(),
            on: "lock-lifetime = 4h".to_owned(),
            ..event.clone()
        };
        assert_eq!(sentence(&set), "set lock-lifetime = 4h");
        let taken = Event {
            what: "serve".to_owned(),
            on: "aggregate lfs03 by mlservb under epoch 42".to_owned(),
            detail: "fenced 1.2 ms, serving 46.0 ms".to_owned(),
            ..event.clone()
        };
        assert_eq!(
            sentence(&taken),
            "serve aggregate lfs03 by mlservb under epoch 42: fenced 1.2 ms, serving 46.0 ms"
        );
        let json = json_line(SCHEMA, &to_json(&event));
        assert_eq!(json.matches('\n').count(), 1);
        assert!(json.contains("\"schema\":\"baton.fts.event/1\""), "{json}");
    }
}
