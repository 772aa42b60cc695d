//! `syncfldb`, `syncserv`: the location database and what is really on the disks of a server, made to agree.
//!
//! | file | is |
//! |---|---|
//! | `sync/fldb.rs` | headers → location database |
//! | `sync/serv.rs` | location database → headers |
//!
//! Both compare first, in a function that asks nobody, and then do what the comparison found; `-noaction` ends in
//! between. What has two answers is left to a person, with the way out.

mod fldb;
mod serv;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use baton_rpc::FldbClient;
use baton_rpc::fldb::{ControlClient, Freshness, Query};
use baton_types::change::AggregateRef;
use baton_types::control::{Carry, FilesetReport};
use baton_types::record::{Aggregate, Fileset, Record, Site, Table};
use baton_types::{AggregateId, Error, FilesetId, Kind, Result};
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::grammar::fts::SyncDisks;
use crate::output::Output;
use crate::servers::{Servers, is_meant};
use crate::session::Session;

pub use fldb::syncfldb;
pub use serv::syncserv;

/// What a server has on those of its aggregates that are meant.
struct Disks {
    servers: Servers,
    control: ControlClient,
    /// Those that were read.
    aggregates: Vec<Aggregate>,
    headers: Vec<FilesetReport>,
    /// Of this server's aggregates those that nobody exports, so that nobody could read them.
    unread: Vec<Aggregate>,
}

impl Disks {
    async fn read(client: &FldbClient, words: &SyncDisks) -> Result<Disks> {
        let servers = Servers::ask(client).await?;
        let server = servers.find(&words.server)?.clone();
        let control = client.control(&server).await?;
        let seen = control.aggregates().await?;
        let is_here = |aggregate: &Aggregate| {
            seen.iter()
                .any(|report| report.id == aggregate.id && report.exported.is_some())
        };
        let is_asked = |aggregate: &&Aggregate| words.aggregate.as_ref().is_none_or(|meant| is_meant(aggregate, meant));
        let asked: Vec<Aggregate> = servers.aggregates.iter().filter(is_asked).cloned().collect();
        let (aggregates, others): (Vec<_>, Vec<_>) = asked.into_iter().partition(is_here);
        if let (Some(meant), []) = (&words.aggregate, aggregates.as_slice()) {
            return Err(not_here(&servers, meant, &words.server.to_string()));
        }
        let mut headers = Vec::new();
        for aggregate in &aggregates {
            headers.extend(control.filesets(Some(&aggregate.name), None).await?);
        }
        let is_unread = |other: &Aggregate| other.owner.is_none() && other.attached.contains(&server.id);
        let unread = others.into_iter().filter(is_unread).collect();
        Ok(Disks {
            servers,
            control,
            aggregates,
            headers,
            unread,
        })
    }

    /// What is to be said of aggregates that could not be read.
    fn unread(&self) -> Vec<String> {
        let said = |aggregate: &Aggregate| format!("{}: not looked at", self.servers.unowned(aggregate));
        self.unread.iter().map(said).collect()
    }
}

fn not_here(servers: &Servers, meant: &AggregateRef, server: &str) -> Error {
    let Some(aggregate) = servers.aggregate(meant) else {
        return Error::new(Kind::NotFound, "aggregate")
            .because("there is none of this name or number")
            .remedy("fts status lists the aggregates of the cell");
    };
    match servers.owner(aggregate) {
        Some(owner) => Error::new(Kind::Moved, format!("aggregate {}", aggregate.name))
            .because(format!("server {server} does not export it, {} does", owner.name))
            .remedy(format!("give that server: -server {}", owner.name)),
        None => servers.unowned(aggregate),
    }
}

/// All entries of filesets.
async fn entries(session: &Session, client: &FldbClient) -> Result<BTreeMap<FilesetId, Fileset>> {
    let query = Query::tables(&[Table::Fileset], Freshness::Linearizable);
    let records = session.list(client, query).await?.records.into_iter();
    Ok(records
        .filter_map(|record| match record {
            Record::Fileset(fileset) => Some((fileset.id, fileset)),
            _ => None,
        })
        .collect())
}

/// Where the location database has the RW version of a fileset.
fn booked_on(fileset: &Fileset) -> Option<AggregateId> {
    let site = fileset.sites.iter().find(|site| site.versions & Site::RW != 0);
    site.map(|site| site.aggregate)
}

/// Whether a fileset is on another aggregate, where its entry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Elsewhere {
    /// It is.
    There,
    /// It is not: its owner says so.
    NotThere,
    /// Nobody can say; why.
    Unknown(String),
}

/// Asks for each header whose entry has it on another aggregate whether it is there.
async fn ask_elsewhere(
    client: &FldbClient,
    disks: &Disks,
    entries: &BTreeMap<FilesetId, Fileset>,
) -> BTreeMap<FilesetId, Elsewhere> {
    let mut all = BTreeMap::new();
    for header in &disks.headers {
        let Some(booked) = entries.get(&header.id).and_then(booked_on) else {
            continue;
        };
        let known = disks.servers.aggregates.iter().find(|known| known.id == booked);
        let Some(aggregate) = known.filter(|known| known.name != header.aggregate) else {
            if known.is_none() {
                let why = format!("nobody knows aggregate {booked}");
                all.insert(header.id, Elsewhere::Unknown(why));
            }
            continue;
        };
        let control = disks.servers.control_of(client, aggregate).await;
        let there = match control {
            Ok(control) => control.filesets(Some(&aggregate.name), Some(header.id)).await,
            Err(error) => Err(error),
        };
        let told = match there {
            Ok(found) if found.is_empty() => Elsewhere::NotThere,
            Ok(_) => Elsewhere::There,
            Err(error) => Elsewhere::Unknown(error.to_string()),
        };
        all.insert(header.id, told);
    }
    all
}

/// What only a person can decide, or must know.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Left {
    /// Whether it is something wrong.
    is_conflict: bool,
    /// In one line, with the way out.
    what: String,
}

impl Left {
    fn conflict(what: String) -> Left {
        Left {
            is_conflict: true,
            what,
        }
    }

    fn note(what: String) -> Left {
        Left {
            is_conflict: false,
            what,
        }
    }
}

/// Something that was done, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Deed {
    /// For programs: `create`, `mend`, `delete`, `rename`, `set_quota`.
    action: &'static str,
    fileset: String,
    id: FilesetId,
    /// A line each.
    lines: Vec<String>,
    /// Why it was not done after all.
    error: Option<String>,
}

/// All that a command has to say: its deeds line by line, what is left, and how many of each.
fn output(schema: &'static str, carry: Carry, (deeds, left): (&[Deed], &[Left]), summary: &str) -> Output {
    let mut text = String::new();
    for deed in deeds {
        match &deed.error {
            None => text.extend(deed.lines.iter().map(|line| format!("{line}\n"))),
            Some(error) => text += &format!("Failed on fileset {} ({}): {error}\n", deed.fileset, deed.id),
        }
    }
    for left in left {
        let what = if left.is_conflict { "Conflict" } else { "Note" };
        text += &format!("{what}: {}\n", left.what);
    }
    text += summary;
    let deed = |deed: &Deed| {
        json!({
            "action": deed.action,
            "fileset": deed.fileset,
            "id": deed.id.to_string(),
            "number": deed.id.0,
            "lines": deed.lines,
            "error": deed.error,
        })
    };
    let of = |is_conflict| -> Vec<&str> {
        let some = left.iter().filter(|left| left.is_conflict == is_conflict);
        some.map(|left| left.what.as_str()).collect()
    };
    let json = json!({
        "carried_out": carry == Carry::Out,
        "actions": deeds.iter().map(deed).collect::<Vec<Value>>(),
        "conflicts": of(true),
        "notes": of(false),
    });
    let is_whole = deeds.iter().all(|deed| deed.error.is_none()) && of(true).is_empty();
    Output {
        exit: match is_whole {
            true => Exit::Done as u8,
            false => Exit::Partly as u8,
        },
        ..Output::new(schema, text, json)
    }
}

/// `done` with a capital if it is done, else what would be.
fn verb(carry: Carry, done: &str, would: &str) -> String {
    match carry {
        Carry::Out => done.to_owned(),
        Carry::Nothing => format!("Would {would}"),
    }
}
