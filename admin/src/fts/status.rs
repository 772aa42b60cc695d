//! `fts status`: the state of the cell on one screen, and what to do about it.
//!
//! Without a quorum it shows what a member has, and says so.

mod view;

use std::time::Duration;

use baton_rpc::Target;
use baton_rpc::fldb::{Freshness, Query, Status};
use baton_types::record::{Aggregate, AggregateState, Record, Server, ServerState, Table};
use baton_types::units::format_duration;
use baton_types::{Address, Kind, Result, ServerId};
use serde_json::{Value, json};

use self::view::{Condition, name};
pub use self::view::{Health, View};
use super::check;
use crate::grammar::fts;
use crate::output::{Colour, Output, date, printable, table};
use crate::session::{Session, quorum};

/// How long members are asked: whoever looks wants to know now, and one that takes seconds is worth telling.
/// With the wait for a quorum it stays below the ten seconds that monitors give a check.
const WITHIN: Duration = Duration::from_secs(2);

/// Prints it, or one line of it for a monitor.
pub async fn status(session: &Session, words: fts::Status) -> Result<Output> {
    match (look(session).await, words.check) {
        (Ok(view), true) => Ok(check::output(&view)),
        (Err(error), true) => Ok(check::failed(&error)),
        (Ok(view), false) => Ok(output(&view, Colour::of_stdout())),
        (Err(error), false) => Err(error),
    }
}

async fn look(session: &Session) -> Result<View> {
    let client = session.client()?.within(WITHIN);
    client.status().await?;
    let no_quorum = match quorum(&client).await {
        Ok(()) => None,
        Err(e) if e.kind == Kind::Unreachable => Some(e),
        Err(e) => return Err(e),
    };
    // Only now: the members know the leader by whom the quorum was found.
    let members = client.status_of_all().await;
    let query = Query::tables(&[Table::Server, Table::Aggregate], Freshness::Local);
    let (mut servers, mut aggregates) = (Vec::new(), Vec::new());
    for record in client.list(&query).await?.records {
        match record {
            Record::Server(server) => servers.push(server),
            Record::Aggregate(aggregate) => aggregates.push(aggregate),
            _ => {}
        }
    }
    servers.sort_by(|one, other| one.name.cmp(&other.name));
    aggregates.sort_by_key(|aggregate| aggregate.number);
    Ok(View {
        cell: client.cell().clone(),
        no_quorum,
        members,
        servers,
        aggregates,
    })
}

fn output(view: &View, colour: Colour) -> Output {
    let (health, advice) = view.advice();
    let text = format!(
        "{}{}{}{}{advice}\n",
        members(view, colour),
        servers(view),
        aggregates(view),
        reasons(view),
    );
    let json = json!({
        "cell": view.cell,
        "health": check::word(health).to_lowercase(),
        "advice": advice,
        "has_quorum": view.no_quorum.is_none(),
        "leader": view.leader(),
        "term": view.latest().map(|status| status.term),
        "committed": view.committed(),
        "filesets": view.filesets(),
        "members": view.members.iter().map(|(target, answer)| member_json(view, target, answer)).collect::<Vec<_>>(),
        "servers": view.servers.iter().map(|server| server_json(view, server)).collect::<Vec<_>>(),
        "aggregates": view.aggregates.iter().map(|aggregate| aggregate_json(view, aggregate)).collect::<Vec<_>>(),
    });
    Output::new("baton.fts.status/1", text, json)
}

fn members(view: &View, colour: Colour) -> String {
    let head = match (&view.no_quorum, view.leader(), view.latest()) {
        (Some(_), _, _) => colour.failed("no quorum"),
        (None, Some(leader), Some(status)) => format!("leader {leader} (term {})", status.term),
        (None, _, _) => "leader not known here".to_owned(),
    };
    let members: Vec<String> = view
        .members
        .iter()
        .map(|(target, answer)| format!("{} {}", name(target), view.condition(target, answer).text(colour)))
        .collect();
    format!(
        "FLDB   {head}   members {}   commit {}   filesets {}\n",
        members.join(", "),
        view.committed(),
        view.filesets(),
    )
}

impl Condition {
    fn text(self, colour: Colour) -> String {
        match self {
            Condition::Ok => colour.ok("ok"),
            Condition::Learning => "learning".to_owned(),
            Condition::CutOff(since) => colour.failed(&format!("cut off {}", seconds(since))),
            Condition::Silent(Some(since)) => colour.failed(&format!("silent {}", seconds(since))),
            Condition::Silent(None) => colour.failed("silent"),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Condition::Ok => "ok",
            Condition::Learning => "learning",
            Condition::CutOff(_) => "cut_off",
            Condition::Silent(_) => "silent",
        }
    }
}

/// To the second; who is silent for less is silent now.
fn seconds(since: Duration) -> String {
    format_duration(Duration::from_secs(since.as_secs()))
}

fn servers(view: &View) -> String {
    let row = |server: &Server| {
        let addresses: Vec<_> = server.addresses.iter().map(Address::to_string).collect();
        let (owned, attached) = aggregates_of(view, server.id);
        vec![
            server.name.to_string(),
            server_state(server),
            view.beat(server.id).map_or_else(|| "-".to_owned(), tenths),
            format!("{owned}/{attached}"),
            addresses.join(" "),
            date(server.since),
        ]
    };
    match view.servers.as_slice() {
        [] => String::new(),
        servers => table(
            &["SERVER", "STATE", "BEAT", "AGGR(OWNED/ATTACHED)", "ADDRESSES", "SINCE"],
            servers.iter().map(row),
        ),
    }
}

/// As the arbiter has it, with the evidence against it, and whether an administrator keeps it empty.
fn server_state(server: &Server) -> String {
    let evidence = || printable(&server.evidence);
    let state = match server.state {
        ServerState::Alive if is_ordinary(&server.evidence) => "alive".to_owned(),
        ServerState::Alive => format!("alive ({})", evidence()),
        ServerState::Pending => format!("pending ({})", evidence()),
        ServerState::Dead => format!("dead ({})", evidence()),
    };
    if server.drained {
        format!("{state}, drained")
    } else {
        state
    }
}

/// What is said of a server that is as it should be.
fn is_ordinary(evidence: &str) -> bool {
    matches!(evidence, "" | "registered" | "it beats")
}

/// `0.1s`.
fn tenths(since: Duration) -> String {
    format!("{}.{}s", since.as_secs(), since.subsec_millis() / 100)
}

/// How many a server owns, and how many it can reach.
fn aggregates_of(view: &View, server: ServerId) -> (usize, usize) {
    let count = |is_so: &dyn Fn(&Aggregate) -> bool| view.aggregates.iter().filter(|a| is_so(a)).count();
    (
        count(&|aggregate| aggregate.owner == Some(server)),
        count(&|aggregate| aggregate.attached.contains(&server)),
    )
}

fn aggregates(view: &View) -> String {
    let row = |aggregate: &Aggregate| {
        vec![
            aggregate.name.to_string(),
            aggregate.number.to_string(),
            aggregate
                .owner
                .map_or_else(|| "-".to_owned(), |id| view.server_name(id)),
            aggregate.epoch.to_string(),
            state(view, aggregate),
            view.attached(aggregate).join(" "),
            date(aggregate.since),
            printable(aggregate.held.as_ref().unwrap_or(&aggregate.reason)),
        ]
    };
    match view.aggregates.as_slice() {
        [] => String::new(),
        aggregates => table(
            &["AGGR", "ID", "OWNER", "EPOCH", "STATE", "ATTACHED", "SINCE", "WHY"],
            aggregates.iter().map(row),
        ),
    }
}

fn state(view: &View, aggregate: &Aggregate) -> String {
    match (aggregate.state, aggregate.target) {
        (AggregateState::Draining, Some(to)) => format!("draining to {}", view.server_name(to)),
        (state, _) if aggregate.held.is_some() => format!("{}, held", state_word(state)),
        (state, _) => state_word(state).to_owned(),
    }
}

fn state_word(state: AggregateState) -> &'static str {
    match state {
        AggregateState::Exported => "exported",
        AggregateState::Detached => "detached",
        AggregateState::Draining => "draining",
        AggregateState::Unserved => "unserved",
    }
}

/// Why the silent ones are silent, as far as that can be seen from here.
fn reasons(view: &View) -> String {
    let reason = |(target, answer): &(Target, Result<Status>)| {
        let error = answer.as_ref().err()?;
        let reason = match error.reason.as_str() {
            "" => error.kind.text(),
            reason => reason,
        };
        Some(format!("! {target}: {reason}\n"))
    };
    view.members.iter().filter_map(reason).collect()
}

fn member_json(view: &View, target: &Target, answer: &Result<Status>) -> Value {
    let (said, error) = (answer.as_ref().ok(), answer.as_ref().err());
    let seen = view.by_leader(&name(target));
    let silent = seen.and_then(|seen| seen.silent);
    json!({
        "name": name(target),
        "address": target.address,
        "condition": view.condition(target, answer).word(),
        "silent_micros": silent.map(|silent| u64::try_from(silent.as_micros()).unwrap_or(u64::MAX)),
        "is_leader": view.leader().is_some_and(|leader| Some(leader) == target.name.as_ref()),
        "is_voter": seen.map(|seen| seen.is_voter),
        "applied": said.map(|said| said.applied),
        "watchers": said.map(|said| said.watchers),
        "error": error.map(ToString::to_string),
    })
}

fn server_json(view: &View, server: &Server) -> Value {
    let (owned, attached) = aggregates_of(view, server.id);
    json!({
        "id": server.id.to_string(),
        "name": server.name,
        "principal": server.principal,
        "addresses": server.addresses,
        "registered": date(server.registered),
        "state": server.state,
        "since": date(server.since),
        "evidence": server.evidence,
        "drained": server.drained,
        "domain": server.domain,
        "beat_micros": view.beat(server.id).map(|beat| u64::try_from(beat.as_micros()).unwrap_or(u64::MAX)),
        "aggregates_owned": owned,
        "aggregates_attached": attached,
    })
}

fn aggregate_json(view: &View, aggregate: &Aggregate) -> Value {
    json!({
        "id": aggregate.id.to_string(),
        "name": aggregate.name,
        "number": aggregate.number,
        "owner": aggregate.owner.map(|owner| view.server_name(owner)),
        "epoch": aggregate.epoch.0,
        "state": state_word(aggregate.state),
        "target": aggregate.target.map(|to| view.server_name(to)),
        "since": date(aggregate.since),
        "reason": aggregate.reason,
        "held": aggregate.held,
        "attached": view.attached(aggregate),
    })
}

#[cfg(test)]
pub mod tests;
