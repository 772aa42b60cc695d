//! `fts status`: the state of the cell on one screen, and what to do about it.

use std::time::Duration;

use baton_rpc::Target;
use baton_rpc::fldb::{Freshness, Query, Status};
use baton_types::record::{Aggregate, AggregateState, Record, Server, Table};
use baton_types::{Address, CellName, Kind, Result, ServerId};
use serde_json::{Value, json};

use super::check;
use crate::grammar::fts;
use crate::output::{Colour, Output, count, date};
use crate::session::Session;

/// How long each step may take: whoever looks wants to know now, and a member that does not answer within
/// seconds is worth telling.
const WITHIN: Duration = Duration::from_secs(4);

/// What was found out.
#[derive(Debug)]
pub struct View {
    pub cell: CellName,
    /// Each member, and what it says or why it says nothing.
    pub members: Vec<(Target, Result<Status>)>,
    pub servers: Vec<Server>,
    pub aggregates: Vec<Aggregate>,
}

/// How the cell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Well,
    Warning,
    Critical,
}

/// Prints it, or one line of it for a monitor.
pub async fn status(session: &Session, words: fts::Status) -> Result<Output> {
    match (view(session).await, words.check) {
        (Ok(view), true) => Ok(check::output(&view)),
        (Err(error), true) => Ok(check::failed(&error)),
        (Ok(view), false) => Ok(output(&view, Colour::of_stdout())),
        (Err(error), false) => Err(error),
    }
}

async fn view(session: &Session) -> Result<View> {
    let client = session.client()?.within(WITHIN);
    client.status().await?;
    let members = client.status_of_all().await;
    // What a member has will do: whether it is the newest, the members' own lines say.
    let query = Query::tables(&[Table::Server, Table::Aggregate], Freshness::Local);
    let (mut servers, mut aggregates) = (Vec::new(), Vec::new());
    for record in client.list(&query).await?.records {
        match record {
            Record::Server(server) => servers.push(server),
            Record::Aggregate(aggregate) => aggregates.push(aggregate),
            _ => {}
        }
    }
    Ok(View {
        cell: client.cell().clone(),
        members,
        servers,
        aggregates,
    })
}

impl View {
    /// The leader's own words, if there is one that a quorum follows.
    pub fn leader(&self) -> Option<&Status> {
        self.answers().find(|status| status.has_quorum)
    }

    /// What the members say that say anything.
    pub fn answers(&self) -> impl Iterator<Item = &Status> {
        self.members.iter().filter_map(|(_, answer)| answer.as_ref().ok())
    }

    /// Those that say nothing.
    fn silent(&self) -> Vec<String> {
        let silent = self.members.iter().filter(|(_, answer)| answer.is_err());
        silent.map(|(target, _)| name(target)).collect()
    }

    /// Those that do not count for a quorum yet.
    fn learning(&self) -> Vec<String> {
        let members = self
            .leader()
            .map(|leader| leader.members.as_slice())
            .unwrap_or_default();
        let learning = members.iter().filter(|member| !member.is_voter);
        learning.map(|member| member.member.name.to_string()).collect()
    }

    /// How the cell is, and one sentence on what to do.
    pub fn advice(&self) -> (Health, String) {
        let (silent, learning) = (self.silent(), self.learning());
        let spare = self.answers().count().checked_sub(self.members.len() / 2 + 1);
        if self.leader().is_none() {
            let what = match silent.as_slice() {
                [] => "an election is under way: ask again in a few seconds".to_owned(),
                silent => format!("start flserver on {}", silent.join(" or ")),
            };
            return (
                Health::Critical,
                format!("No quorum, so nothing can be changed: {what}."),
            );
        }
        if !silent.is_empty() {
            let danger = match spare {
                Some(0) | None => "; one failure more would stop all changes",
                Some(_) => "",
            };
            return (
                Health::Warning,
                format!("Start flserver on {}{danger}.", silent.join(" and ")),
            );
        }
        if !learning.is_empty() {
            return (
                Health::Warning,
                format!("Wait for {} to catch up.", learning.join(" and ")),
            );
        }
        let text = match (self.members.len(), self.servers.len()) {
            (1, _) => "One disk holds the location database: add two members (baton cell invite HOST --member).",
            (2, _) => "Two members stop when either does: add a third (baton cell invite HOST --member).",
            (_, 0) => "No file server has registered: add one (baton cell invite HOST).",
            _ => "All is well.",
        };
        (Health::Well, text.to_owned())
    }

    fn server_name(&self, id: ServerId) -> String {
        let server = self.servers.iter().find(|server| server.id == id);
        server.map_or_else(|| id.to_string(), |server| server.name.to_string())
    }
}

fn name(target: &Target) -> String {
    target
        .name
        .as_ref()
        .map_or_else(|| target.address.to_string(), ToString::to_string)
}

fn output(view: &View, colour: Colour) -> Output {
    let (health, advice) = view.advice();
    let text = format!(
        "Cell {}\n\n{}{}{}\n{advice}\n",
        view.cell,
        members(view, colour),
        servers(view),
        aggregates(view),
    );
    let json = json!({
        "cell": view.cell,
        "health": check::word(health).to_lowercase(),
        "advice": advice,
        "leader": view.leader().map(|leader| &leader.member),
        "term": view.leader().map(|leader| leader.term),
        "index": view.leader().map(|leader| leader.applied),
        "filesets": view.answers().map(|status| status.filesets).max(),
        "members": view.members.iter().map(|(target, answer)| member_json(target, answer)).collect::<Vec<_>>(),
        "servers": view.servers.iter().map(server_json).collect::<Vec<_>>(),
        "aggregates": view.aggregates.iter().map(|aggregate| aggregate_json(view, aggregate)).collect::<Vec<_>>(),
    });
    Output::new("baton.fts.status/1", text, json)
}

fn members(view: &View, colour: Colour) -> String {
    let head = match view.leader() {
        Some(leader) => format!("leader {}, term {}", leader.member, leader.term),
        None => colour.failed("no quorum"),
    };
    let filesets = view.answers().map(|status| status.filesets).max().unwrap_or(0);
    let mut text = format!(
        "FLDB: {head}; {} of {} answer; {}\n",
        view.answers().count(),
        count(view.members.len(), "member"),
        count(usize::try_from(filesets).unwrap_or(usize::MAX), "fileset"),
    );
    let rows = view.members.iter().map(|(target, answer)| {
        let (word, says) = match answer {
            Ok(status) => (
                colour.ok("ok    "),
                format!("index {}{}", status.applied, role(view, status)),
            ),
            Err(error) if error.reason.is_empty() => (colour.failed("silent"), error.kind.text().to_owned()),
            Err(error) => (colour.failed("silent"), error.reason.clone()),
        };
        format!("  {:<16} {:<24} {word}  {says}\n", name(target), target.address)
    });
    text.extend(rows);
    text
}

fn role(view: &View, status: &Status) -> &'static str {
    match view.leader() {
        Some(leader) if leader.member == status.member => ", leader",
        Some(_) if view.learning().contains(&status.member.to_string()) => ", still learning",
        Some(_) | None => "",
    }
}

fn servers(view: &View) -> String {
    let line = |server: &Server| {
        let addresses: Vec<_> = server.addresses.iter().map(Address::to_string).collect();
        let (name, addresses) = (server.name.as_str(), addresses.join(" "));
        format!("  {name:<16} {addresses:<24} registered {}\n", date(server.registered))
    };
    let lines: String = view.servers.iter().map(line).collect();
    format!("Servers: {}\n{lines}", view.servers.len())
}

fn aggregates(view: &View) -> String {
    let line = |aggregate: &Aggregate| {
        let attached: Vec<_> = aggregate.attached.iter().map(|id| view.server_name(*id)).collect();
        let owner = match aggregate.owner {
            Some(owner) => format!(
                "{} by {} under epoch {}",
                state(aggregate),
                view.server_name(owner),
                aggregate.epoch
            ),
            None => state(aggregate).to_owned(),
        };
        format!("  {:<16} {owner}; attached to {}\n", aggregate.name, attached.join(" "))
    };
    let lines: String = view.aggregates.iter().map(line).collect();
    format!("Aggregates: {}\n{lines}", view.aggregates.len())
}

fn state(aggregate: &Aggregate) -> &'static str {
    match aggregate.state {
        AggregateState::Exported => "exported",
        AggregateState::Detached => "detached",
    }
}

fn member_json(target: &Target, answer: &Result<Status>) -> Value {
    let status = answer.as_ref().ok();
    let error = answer.as_ref().err();
    json!({
        "name": name(target),
        "address": target.address,
        "is_answering": status.is_some(),
        "is_leader": status.is_some_and(|status| status.has_quorum),
        "index": status.map(|status| status.applied),
        "watchers": status.map(|status| status.watchers),
        "error": error.map(ToString::to_string),
        "is_unreachable": error.is_some_and(|error| error.kind == Kind::Unreachable),
    })
}

fn server_json(server: &Server) -> Value {
    json!({
        "id": server.id.to_string(),
        "name": server.name,
        "addresses": server.addresses,
        "principal": server.principal,
        "registered": date(server.registered),
    })
}

fn aggregate_json(view: &View, aggregate: &Aggregate) -> Value {
    json!({
        "id": aggregate.id.to_string(),
        "name": aggregate.name,
        "number": aggregate.number,
        "state": state(aggregate),
        "owner": aggregate.owner.map(|owner| view.server_name(owner)),
        "epoch": aggregate.epoch.0,
        "attached": aggregate.attached.iter().map(|id| view.server_name(*id)).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
pub mod tests;
