//! `fts failover`, `fts drain`, `fts undrain`: aggregates change servers, and are watched until they have.
//!
//! The move itself is one change of the location database, and goes on if the one who typed it leaves. A server is drained
//! by one move after the other.

use std::collections::BTreeMap;
use std::time::Duration;

use baton_rpc::{FldbClient, News};
use baton_types::change::{AggregateRef, Change, Move, Moving, Takeover};
use baton_types::plan::{PlannedMove, Step};
use baton_types::record::{Aggregate, AggregateState, Record, Table, Tenure};
use baton_types::{Address, AggregateId, Epoch, Error, Kind, Result, ServerId};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use crate::exit::Exit;
use crate::grammar::fts::FailOver;
use crate::output::{Output, count, printable};
use crate::servers::Servers;
use crate::session::Session;

/// How long owners may take to hand over: what they freeze for is bounded, and this is far beyond it.
const MOVED_WITHIN: Duration = Duration::from_secs(30);
/// How long the last takeover is waited for after that: longer only when clients do not come back.
const SERVED_WITHIN: Duration = Duration::from_secs(10);

/// Moves aggregates, or shows what would be done.
pub async fn failover(session: &Session, words: FailOver) -> Result<Output> {
    let client = session.client()?;
    let servers = Servers::ask(&client).await?;
    let id = |address: &Address| servers.find(address).map(|server| server.id);
    let wish = Move {
        what: match &words.server {
            Some(server) => Moving::Server(id(server)?),
            None => Moving::Aggregates(words.aggregate),
        },
        to: words.to.as_ref().map(id).transpose()?,
        takeover: if words.takeover {
            Takeover::Forced
        } else {
            Takeover::Planned
        },
    };
    let plan = client.plan(&wish).await?;
    if words.dry_run {
        return Ok(shown(&plan, &servers));
    }
    if !session.standard.json {
        session.note(plan_text(&plan, &servers).trim_end());
    }
    moved(&client, wish, &plan, &servers).await
}

/// Moves all off a server, and keeps it empty.
pub async fn drain(session: &Session, server: Address) -> Result<Output> {
    let client = session.client()?;
    let servers = Servers::ask(&client).await?;
    let server = servers.find(&server)?;
    set_drained(&client, server.id, true).await?;
    let wish = Move {
        what: Moving::Server(server.id),
        to: None,
        takeover: Takeover::Planned,
    };
    let plan = match client.plan(&wish).await {
        Err(error) if error.kind == Kind::NotFound => return Ok(drained(server.name.as_str(), true)),
        plan => plan?,
    };
    one_by_one(session, &client, &plan, &servers).await
}

/// Each is at rest before the next one moves: no more than one has a pause at a time, and whoever takes them sees what
/// each of them costs it. Left half way, what has not moved stays where it is; the same command goes on.
async fn one_by_one(session: &Session, client: &FldbClient, plan: &[PlannedMove], servers: &Servers) -> Result<Output> {
    let mut all = Progress::new(&[]);
    for (number, planned) in plan.iter().enumerate() {
        let wish = Move {
            what: Moving::Aggregates(vec![AggregateRef::Name(planned.name.clone())]),
            to: None,
            takeover: Takeover::Planned,
        };
        let mut one = Progress::new(std::slice::from_ref(planned));
        match one.make(client, wish).await {
            Err(error) if error.kind == Kind::Unreachable => return Err(error),
            Err(error) => one.refuse(&error),
            Ok(()) => {}
        }
        if !session.standard.json && plan.len() > 1 {
            let lines: String = one.rows.values().map(|row| row.line(servers)).collect();
            session.note(&format!("{}/{} {}", number + 1, plan.len(), lines.trim()));
        }
        all.rows.append(&mut one.rows);
    }
    Ok(all.output(servers))
}

/// Lets a server have aggregates again.
pub async fn undrain(session: &Session, server: Address) -> Result<Output> {
    let client = session.client()?;
    let servers = Servers::ask(&client).await?;
    let server = servers.find(&server)?;
    set_drained(&client, server.id, false).await?;
    Ok(drained(server.name.as_str(), false))
}

async fn set_drained(client: &FldbClient, server: ServerId, drained: bool) -> Result<()> {
    client.change(Change::SetDrained { server, drained }).await.map(drop)
}

fn drained(name: &str, is_drained: bool) -> Output {
    let text = match is_drained {
        true => format!("{name}: drained, it owns nothing\n"),
        false => {
            format!("{name}: may have aggregates again; to give it some: fts failover -aggregate NAME -to {name}\n")
        }
    };
    let json = json!({ "server": name, "drained": is_drained, "aggregates": [] });
    Output::new("baton.fts.failover/1", text, json)
}

/// Makes the move, and waits for what comes of it.
async fn moved(client: &FldbClient, wish: Move, plan: &[PlannedMove], servers: &Servers) -> Result<Output> {
    let mut progress = Progress::new(plan);
    progress.make(client, wish).await?;
    Ok(progress.output(servers))
}

/// What has become of each aggregate of a plan.
struct Progress {
    rows: BTreeMap<AggregateId, Row>,
}

struct Row {
    planned: PlannedMove,
    now: Option<Aggregate>,
    tenure: Option<Tenure>,
    /// Why it was not even begun.
    refused: Option<String>,
}

impl Row {
    /// It has another owner.
    fn granted(&self) -> Option<&Aggregate> {
        self.now.as_ref().filter(|a| a.epoch > self.planned.epoch)
    }

    /// Its owner keeps it, and says why.
    fn kept(&self) -> Option<&Aggregate> {
        let is_kept = |a: &&Aggregate| a.epoch == self.planned.epoch && a.state != AggregateState::Draining;
        self.now.as_ref().filter(is_kept)
    }

    fn is_served(&self) -> bool {
        self.tenure.as_ref().is_some_and(|tenure| tenure.time_line.is_some())
    }
}

impl Progress {
    fn new(plan: &[PlannedMove]) -> Progress {
        let row = |planned: &PlannedMove| {
            let row = Row {
                planned: planned.clone(),
                now: None,
                tenure: None,
                refused: None,
            };
            (planned.aggregate, row)
        };
        Progress {
            rows: plan.iter().map(row).collect(),
        }
    }

    /// Makes the move, and hears what comes of it, until all have moved or stay.
    async fn make(&mut self, client: &FldbClient, wish: Move) -> Result<()> {
        let done = client.change(Change::Move(wish)).await?;
        let mut watch = client.watch(&[Table::Aggregate, Table::Tenure], done.index.saturating_sub(1));
        let mut until = Instant::now() + MOVED_WITHIN;
        while !self.is_over() {
            let has_moved = self.has_moved();
            let records = match timeout_at(until, watch.next()).await {
                Ok(Ok((_, News::Changed(changed)))) => changed.put,
                Ok(Ok((_, News::Put(records)))) => records,
                Ok(Ok((_, News::Forget | News::Complete(_) | News::Reached(_)))) => continue,
                Ok(Err(error)) if error.kind == Kind::Unreachable => continue,
                Ok(Err(error)) => return Err(error),
                Err(_) => break,
            };
            records.into_iter().for_each(|record| self.hears(record));
            if self.has_moved() && !has_moved {
                until = Instant::now() + SERVED_WITHIN;
            }
        }
        Ok(())
    }

    fn refuse(&mut self, error: &Error) {
        for row in self.rows.values_mut() {
            row.refused = Some(error.to_string());
        }
    }

    fn hears(&mut self, record: Record) {
        match record {
            Record::Aggregate(aggregate) => {
                if let Some(row) = self.rows.get_mut(&aggregate.id) {
                    row.now = Some(aggregate);
                }
            }
            Record::Tenure(tenure) => {
                if let Some(row) = self.rows.get_mut(&tenure.aggregate)
                    && tenure.epoch > row.planned.epoch
                {
                    row.tenure = Some(tenure);
                }
            }
            _ => {}
        }
    }

    /// Every owner has handed over, or not.
    fn has_moved(&self) -> bool {
        self.rows
            .values()
            .all(|row| row.granted().is_some() || row.kept().is_some())
    }

    fn is_over(&self) -> bool {
        self.rows.values().all(|row| row.is_served() || row.kept().is_some())
    }

    fn output(&self, servers: &Servers) -> Output {
        let mut rows: Vec<&Row> = self.rows.values().collect();
        rows.sort_by(|one, other| one.planned.name.cmp(&other.planned.name));
        let text: String = rows.iter().map(|row| row.line(servers)).collect();
        let moved = rows.iter().filter(|row| row.granted().is_some()).count();
        let json: Vec<Value> = rows.iter().map(|row| row.to_json(servers)).collect();
        let exit = match moved {
            all if all == rows.len() => Exit::Done,
            0 => Exit::Failed,
            _ => Exit::Partly,
        };
        Output {
            exit: exit as u8,
            ..Output::new(
                "baton.fts.failover/1",
                format!("{text} done: {moved}/{}\n", rows.len()),
                json!({ "moved": moved, "aggregates": json }),
            )
        }
    }
}

impl Row {
    fn line(&self, servers: &Servers) -> String {
        let name = &self.planned.name;
        let from = self.planned.epoch;
        match (self.granted(), self.kept()) {
            (Some(now), _) => {
                let owner = now.owner.map_or_else(|| "-".to_owned(), |id| servers.name(id));
                let phases = self.tenure.as_ref().and_then(Tenure::phases);
                let phases = phases.unwrap_or_else(|| "not all of its clients are back yet".to_owned());
                format!(" {name}  {}  {owner}  {phases}\n", arrow(from, now.epoch))
            }
            (None, Some(kept)) => format!(" {name}  {from}  {}\n", printable(&kept.reason)),
            (None, None) if let Some(why) = &self.refused => format!(" {name}  {from}  {}\n", printable(why)),
            (None, None) => format!(" {name}  {from}  still draining; fts status shows how it goes on\n"),
        }
    }

    fn to_json(&self, servers: &Servers) -> Value {
        let now = self.now.as_ref();
        json!({
            "aggregate": self.planned.name,
            "epoch_before": self.planned.epoch.0,
            "epoch": now.map(|a| a.epoch.0),
            "owner": now.and_then(|a| a.owner).map(|id| servers.name(id)),
            "moved": self.granted().is_some(),
            "reason": self.refused.clone().or_else(|| now.map(|a| a.reason.clone())),
            "serving_micros": self.tenure.as_ref().and_then(|t| t.time_line).map(|t| t.serving_micros),
        })
    }
}

fn arrow(from: Epoch, to: Epoch) -> String {
    format!("{from}→{to}")
}

fn shown(plan: &[PlannedMove], servers: &Servers) -> Output {
    let rows: Vec<Value> = plan.iter().map(|planned| plan_json(planned, servers)).collect();
    let stays = plan.iter().any(|planned| matches!(planned.step, Step::Stay { .. }));
    let exit = if stays { Exit::Failed } else { Exit::Done };
    Output {
        exit: exit as u8,
        ..Output::new(
            "baton.fts.failover.plan/1",
            plan_text(plan, servers),
            json!({ "aggregates": rows }),
        )
    }
}

fn plan_text(plan: &[PlannedMove], servers: &Servers) -> String {
    let line = |planned: &PlannedMove| {
        let (name, epoch) = (&planned.name, planned.epoch);
        let from = planned.from.map_or_else(|| "-".to_owned(), |id| servers.name(id));
        let what = match &planned.step {
            Step::HandOver { to } => format!("{from} hands over to {}", servers.name(*to)),
            Step::Grant { to } => format!("taken from {from} by {}", servers.name(*to)),
            Step::Stay { why } => format!("stays: {}", printable(why)),
        };
        format!(" {name}  {epoch}  {what}\n")
    };
    let lines: String = plan.iter().map(line).collect();
    let stays = plan.iter().any(|planned| matches!(planned.step, Step::Stay { .. }));
    let end = if stays {
        " one that stays keeps all the others: nothing would be moved\n"
    } else {
        ""
    };
    format!(" plan: {}\n{lines}{end}", count(plan.len(), "aggregate"))
}

fn plan_json(planned: &PlannedMove, servers: &Servers) -> Value {
    let (step, to, why) = match &planned.step {
        Step::HandOver { to } => ("hand_over", Some(to), None),
        Step::Grant { to } => ("take", Some(to), None),
        Step::Stay { why } => ("stay", None, Some(why)),
    };
    json!({
        "aggregate": planned.name,
        "epoch": planned.epoch.0,
        "from": planned.from.map(|id| servers.name(id)),
        "step": step,
        "to": to.map(|id| servers.name(*id)),
        "why": why,
    })
}

#[cfg(test)]
mod tests {
    use baton_types::record::TimeLine;
    use baton_types::{AggregateName, Timestamp};
    use uuid::Uuid;

    use super::*;
    use crate::fts::tests::records;

    const A: ServerId = ServerId(Uuid::from_u128(7));
    const B: ServerId = ServerId(Uuid::from_u128(5));

    fn planned(number: u128, step: Step) -> PlannedMove {
        PlannedMove {
            aggregate: AggregateId(Uuid::from_u128(number)),
            name: AggregateName::parse(&format!("lfs{number:02}")).unwrap(),
            epoch: Epoch(41),
            from: Some(A),
            step,
        }
    }

    fn aggregate(number: u128, owner: ServerId, epoch: u64, reason: &str) -> Record {
        Record::Aggregate(Aggregate {
            owner: Some(owner),
            epoch: Epoch(epoch),
            state: AggregateState::Exported,
            reason: reason.to_owned(),
            ..Aggregate::new(
                AggregateId(Uuid::from_u128(number)),
                AggregateName::parse(&format!("lfs{number:02}")).unwrap(),
                1,
            )
        })
    }

    #[test]
    fn plan_says_of_each_what_would_become_of_it() {
        let servers = Servers::of(records());
        let plan = [
            planned(1, Step::HandOver { to: B }),
            planned(2, Step::Grant { to: B }),
            planned(
                3,
                Step::Stay {
                    why: "no other server is attached to it".to_owned(),
                },
            ),
        ];
        let output = shown(&plan, &servers);
        assert_eq!(
            output.text,
            format!(
                " plan: 3 aggregates\n lfs01  41  mlserva hands over to {B}\n lfs02  41  taken from mlserva by {B}\n \
                 lfs03  41  stays: no other server is attached to it\n one that stays keeps all the others: nothing \
                 would be moved\n"
            )
        );
        assert_eq!(output.exit, Exit::Failed as u8);
        assert_eq!(output.json["aggregates"][1]["step"], json!("take"));
        assert_eq!(shown(&plan[..1], &servers).exit, Exit::Done as u8);
    }

    #[test]
    fn move_is_over_when_each_is_served_elsewhere_or_kept() {
        let servers = Servers::of(records());
        let mut progress = Progress::new(&[
            planned(1, Step::HandOver { to: A }),
            planned(2, Step::HandOver { to: A }),
        ]);
        let draining = |number| match aggregate(number, B, 41, "moved by alice") {
            Record::Aggregate(aggregate) => Record::Aggregate(Aggregate {
                state: AggregateState::Draining,
                ..aggregate
            }),
            other => other,
        };
        progress.hears(draining(1));
        progress.hears(draining(2));
        assert!(!progress.has_moved());
        progress.hears(aggregate(1, A, 42, "moved by alice"));
        progress.hears(aggregate(2, B, 41, "not moved: calls do not end"));
        assert!(progress.has_moved() && !progress.is_over());
        progress.hears(Record::Tenure(Tenure {
            aggregate: AggregateId(Uuid::from_u128(1)),
            epoch: Epoch(42),
            owner: A,
            date: Timestamp(0),
            reason: String::new(),
            silent_micros: None,
            time_line: Some(TimeLine {
                serving_micros: 14_000,
                ..TimeLine::default()
            }),
        }));
        assert!(progress.is_over());
        let output = progress.output(&servers);
        assert_eq!(
            output.text,
            " lfs01  41→42  mlserva  fenced 0.0 ms, replayed 0.0 ms (0 records), serving 14.0 ms\n \
             lfs02  41  not moved: calls do not end\n done: 1/2\n"
        );
        assert_eq!(output.exit, Exit::Partly as u8);
    }
}
