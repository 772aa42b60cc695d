//! Who owns what (I1): one owner under one epoch, epochs only grow, and all of it in one commit.
//!
//! ```text
//!                claim                                  move                     hand over
//!  detached ──────────────► exported ◄──────────────► draining ─────────────────────────────► exported, another's
//!      ▲                     │  ▲  │     abandon move                                            ▲
//!      └───── detach ────────┘  │  └──── give up, or its owner dead and nobody fit ──► unserved ─┘
//!                               └──── its owner alive after all, under the same run ─────┘  judge: grant; claim
//! ```
//! Whatever changes an owner goes through [`Draft::grant`]. A decision names the epoch that its maker knew; a row
//! that has moved since is passed over: late words do no harm, and a part of a decision is as sound as the whole.

use baton_types::change::{Ask, Change, Grant, Held, Move, Takeover, Verdict};
use baton_types::plan::Step;
use baton_types::record::{Aggregate, AggregateState, Record, Server, ServerState, Tenure};
use baton_types::{AggregateId, Epoch, Error, Incarnation, Kind, Result, ServerId};

use super::draft::Draft;
use super::held;

/// Why somebody becomes owner.
pub(super) struct Cause {
    /// In one line for people.
    reason: String,
    /// How long the owner before had not been heard of, if it was judged dead.
    silent_micros: Option<u64>,
}

impl Cause {
    pub(super) fn told(reason: impl Into<String>) -> Cause {
        Cause {
            reason: reason.into(),
            silent_micros: None,
        }
    }
}

impl Draft<'_> {
    /// A restarted owner gets a new epoch too: an epoch is used by one run of one process.
    pub(super) fn claim(&mut self, change: &Change) -> Result<Record> {
        let Change::Claim {
            aggregate,
            server: by,
            incarnation: run,
            disk_epoch,
            takeover,
        } = change
        else {
            unreachable!("routed by Draft::run")
        };
        let aggregate = self.state.known_aggregate(*aggregate)?;
        let on = format!("aggregate {}", aggregate.name);
        let me = self.server_name(*by);
        self.may_own(&aggregate, (*by, *run))?;
        if let Some(why) = &aggregate.held {
            return Err(Error::new(Kind::Busy, on)
                .because(format!("it is held: {why}"))
                .remedy(held::remedy(&aggregate.name)));
        }
        let cause = self.claimable(&aggregate, *by, *takeover)?;
        let record = self.grant(aggregate, (*by, *run), *disk_epoch, cause)?;
        if let Record::Aggregate(granted) = &record {
            self.tell(format!("{on} for {me} under epoch {}", granted.epoch));
        }
        Ok(record)
    }

    /// Why `by` may have what another may own.
    fn claimable(&self, aggregate: &Aggregate, by: ServerId, takeover: Takeover) -> Result<Cause> {
        let (name, me) = (&aggregate.name, self.server_name(by));
        if aggregate.owner == Some(by) {
            return Ok(Cause::told(format!("claimed anew by {me}")));
        }
        if self.state.servers.get(&by).is_some_and(|server| server.drained) {
            return Err(Error::new(Kind::Busy, format!("aggregate {name}"))
                .because(format!("{me} is drained"))
                .remedy(format!("to have it back: fts undrain {me}")));
        }
        let Some(owner) = aggregate.owner.and_then(|id| self.state.servers.get(&id)) else {
            return Ok(Cause::told(format!("claimed by {me}")));
        };
        match (owner.state, takeover) {
            (ServerState::Dead, _) => Ok(Cause::told(format!("{} is dead: {}", owner.name, owner.evidence))),
            (ServerState::Alive | ServerState::Pending, Takeover::Forced) => {
                Ok(Cause::told(format!("taken by {me} from {}, which lives", owner.name)))
            }
            (ServerState::Alive | ServerState::Pending, Takeover::Planned) => {
                Err(Error::new(Kind::Busy, format!("aggregate {name}"))
                    .because(format!("exported by {} under epoch {}", owner.name, aggregate.epoch))
                    .remedy(format!(
                        "planned: fts failover -aggregate {name} -to {me} (or on {}: dfsexport -aggregate {name} \
                         -detach); if {} must be stopped: add -takeover, it is fenced by the next epoch",
                        owner.name, owner.name
                    )))
            }
        }
    }

    pub(super) fn detach(&mut self, id: AggregateId, by: ServerId, epoch: Epoch) -> Result<Record> {
        let aggregate = self.held(id, by, epoch)?;
        self.tell(format!("aggregate {}", aggregate.name));
        let reason = format!("detached on {}", self.server_name(by));
        Ok(self.put_aggregate(Aggregate {
            owner: None,
            run: None,
            state: AggregateState::Detached,
            target: None,
            since: self.date,
            reason,
            ..aggregate
        }))
    }

    /// Its run holds it no more, and so does not get it back by being alive.
    pub(super) fn give_up(&mut self, id: AggregateId, by: ServerId, epoch: Epoch, why: &str) -> Result<Record> {
        let aggregate = self.held(id, by, epoch)?;
        self.tell_detail(format!("aggregate {}", aggregate.name), why);
        Ok(self.put_aggregate(Aggregate {
            run: None,
            state: AggregateState::Unserved,
            target: None,
            since: self.date,
            reason: format!("given up by {}: {why}", self.server_name(by)),
            ..aggregate
        }))
    }

    /// The aggregate, if `by` owns it under `epoch`.
    pub(super) fn held(&self, id: AggregateId, by: ServerId, epoch: Epoch) -> Result<Aggregate> {
        let aggregate = self.state.known_aggregate(id)?;
        if aggregate.owner != Some(by) || aggregate.epoch != epoch {
            return Err(Error::new(Kind::WrongEpoch, format!("aggregate {}", aggregate.name))
                .because(format!("it is under epoch {} now", aggregate.epoch))
                .remedy(format!(
                    "who owns it, and since when: fts history -aggregate {}",
                    aggregate.name
                )));
        }
        Ok(aggregate)
    }

    /// The arbiter's decision, as far as it still fits.
    pub(super) fn judge(&mut self, change: &Change) -> Result<Record> {
        let Change::Judge {
            verdicts,
            grants,
            asks,
            silent_micros,
            reason,
        } = change
        else {
            unreachable!("routed by Draft::run")
        };
        let (mut told, mut last) = (Vec::new(), None);
        let fitting: Vec<&Verdict> = verdicts.iter().filter(|v| self.verdict_fits(v)).collect();
        for verdict in &fitting {
            last = Some(self.set_state(verdict));
            told.push(format!(
                "server {} {}",
                self.server_name(verdict.server),
                state_word(verdict.state)
            ));
        }
        let dead = fitting.iter().any(|v| v.state == ServerState::Dead);
        for grant in grants {
            let cause = Cause {
                reason: reason.clone(),
                silent_micros: dead.then_some(*silent_micros),
            };
            if let Some((record, text)) = self.pass_on(grant, cause)? {
                told.push(text);
                last = Some(record);
            }
        }
        for ask in asks {
            if let Some((record, text)) = self.ask(ask, reason) {
                told.push(text);
                last = Some(record);
            }
        }
        for verdict in &fitting {
            self.follow(verdict, reason);
        }
        let last = last.ok_or_else(|| Error::new(Kind::Stale, "decision").because("nothing of it fits any more"))?;
        self.tell_detail(told.join(", "), reason);
        Ok(last)
    }

    fn verdict_fits(&self, verdict: &Verdict) -> bool {
        self.state.servers.get(&verdict.server).is_some_and(|s| {
            let is_news = s.state != verdict.state || s.evidence != verdict.evidence;
            s.incarnation == Some(verdict.incarnation) && is_news
        })
    }

    fn set_state(&mut self, verdict: &Verdict) -> Record {
        let Some(server) = self.state.servers.get(&verdict.server).cloned() else {
            unreachable!("it was found to fit")
        };
        self.put_server(Server {
            state: verdict.state,
            since: self.date,
            evidence: verdict.evidence.clone(),
            ..server
        })
    }

    /// A grant, if it fits; what is detached on purpose or held stays so.
    fn pass_on(&mut self, grant: &Grant, cause: Cause) -> Result<Option<(Record, String)>> {
        let (Ok(aggregate), Ok(to)) = (
            self.state.known_aggregate(grant.aggregate),
            self.state.known_server(grant.to).cloned(),
        ) else {
            return Ok(None);
        };
        let is_free = aggregate.held.is_none() && aggregate.state != AggregateState::Detached;
        let is_ours = aggregate.epoch == grant.from && is_free;
        let is_theirs = to.incarnation == Some(grant.run) && to.is_fit() && aggregate.attached.contains(&to.id);
        if !is_ours || !is_theirs {
            return Ok(None);
        }
        let text = format!("{} to {}", aggregate.name, to.name);
        let record = self.grant(aggregate, (to.id, grant.run), grant.disk, cause)?;
        Ok(Some((record, text)))
    }

    /// The owner of an aggregate is to hand it over, if the arbiter knew how it stands.
    fn ask(&mut self, ask: &Ask, reason: &str) -> Option<(Record, String)> {
        let aggregate = self.state.known_aggregate(ask.aggregate).ok()?;
        let is_its = aggregate.epoch == ask.from && aggregate.state == AggregateState::Exported;
        if !is_its || self.state.may_take(&aggregate, ask.to).is_err() {
            return None;
        }
        let text = format!("{} is to go to {}", aggregate.name, self.server_name(ask.to));
        let record = self.put_aggregate(Aggregate {
            state: AggregateState::Draining,
            target: Some(ask.to),
            since: self.date,
            reason: reason.to_owned(),
            ..aggregate
        });
        Some((record, text))
    }

    /// What a server's new state means for the aggregates that stay its own.
    fn follow(&mut self, verdict: &Verdict, reason: &str) {
        let own: Vec<Aggregate> = self.state.owned_by(verdict.server).cloned().collect();
        for aggregate in own {
            let state = match verdict.state {
                ServerState::Dead if aggregate.state.is_served() => AggregateState::Unserved,
                // It served all the time: nobody had taken it.
                ServerState::Alive
                    if aggregate.state == AggregateState::Unserved && aggregate.run == Some(verdict.incarnation) =>
                {
                    AggregateState::Exported
                }
                ServerState::Alive | ServerState::Pending | ServerState::Dead => continue,
            };
            self.put_aggregate(Aggregate {
                state,
                target: None,
                since: self.date,
                reason: reason.to_owned(),
                ..aggregate
            });
        }
    }

    /// All of a plan, or nothing.
    pub(super) fn move_aggregates(&mut self, wish: &Move) -> Result<Record> {
        let plan = self.state.plan(wish)?;
        for planned in &plan {
            if let Step::Stay { why } = &planned.step {
                return Err(Error::new(Kind::Busy, format!("aggregate {}", planned.name))
                    .because(why.clone())
                    .remedy("fts failover --dry-run shows the whole plan; nothing was moved"));
            }
        }
        let by = self
            .who
            .principal()
            .map_or_else(|| "nobody".to_owned(), ToString::to_string);
        let reason = match wish.takeover {
            Takeover::Planned => format!("moved by {by}"),
            Takeover::Forced => format!("taken by {by}"),
        };
        let (mut told, mut last) = (Vec::new(), None);
        for planned in &plan {
            let aggregate = self.state.known_aggregate(planned.aggregate)?;
            let (to, record) = match &planned.step {
                Step::HandOver { to } => (
                    *to,
                    self.put_aggregate(Aggregate {
                        state: AggregateState::Draining,
                        target: Some(*to),
                        since: self.date,
                        reason: reason.clone(),
                        ..aggregate
                    }),
                ),
                Step::Grant { to } => {
                    let run = self.run_of(*to)?;
                    let epoch = aggregate.epoch;
                    (
                        *to,
                        self.grant(aggregate, (*to, run), epoch, Cause::told(reason.clone()))?,
                    )
                }
                Step::Stay { .. } => unreachable!("refused above"),
            };
            told.push(format!("{} to {}", planned.name, self.server_name(to)));
            last = Some(record);
        }
        self.tell_detail(told.join(", "), &reason);
        last.ok_or_else(|| Error::new(Kind::Invalid, "move").because("it names nothing"))
    }

    /// The targets own what is draining, from here on. If a target is fit no more, another takes its place.
    pub(super) fn hand_over(&mut self, by: ServerId, rows: &[Held]) -> Result<Record> {
        let (mut told, mut last, mut obstacle) = (Vec::new(), None, None);
        for row in rows {
            let aggregate = match self.draining(by, row) {
                Ok(aggregate) => aggregate,
                Err(error) => {
                    obstacle = Some(error);
                    continue;
                }
            };
            let target = aggregate
                .target
                .filter(|id| self.state.servers.get(id).is_some_and(Server::is_fit));
            let to = match target.map_or_else(|| self.state.next_owner(&aggregate), Ok) {
                Ok(to) => to,
                Err(why) => {
                    obstacle = Some(Error::new(Kind::Busy, format!("aggregate {}", aggregate.name)).because(why));
                    continue;
                }
            };
            let run = self.run_of(to)?;
            told.push(format!("{} to {}", aggregate.name, self.server_name(to)));
            let cause = Cause::told(aggregate.reason.clone());
            last = Some(self.grant(aggregate, (to, run), row.epoch, cause)?);
        }
        match (last, obstacle) {
            (Some(record), _) => {
                self.tell(told.join(", "));
                Ok(record)
            }
            (None, Some(error)) => Err(error),
            (None, None) => Err(Error::new(Kind::Invalid, "hand-over").because("it names nothing")),
        }
    }

    /// The owner keeps what was to be handed over.
    pub(super) fn abandon_move(&mut self, by: ServerId, rows: &[Held], why: &str) -> Result<Record> {
        let (mut told, mut last) = (
            Vec::new(),
            Err(Error::new(Kind::Invalid, "move").because("it names nothing")),
        );
        for row in rows {
            match self.draining(by, row) {
                Err(error) if last.is_err() => last = Err(error),
                Err(_) => {}
                Ok(aggregate) => {
                    told.push(aggregate.name.to_string());
                    last = Ok(self.put_aggregate(Aggregate {
                        state: AggregateState::Exported,
                        target: None,
                        since: self.date,
                        reason: format!("not moved: {why}"),
                        ..aggregate
                    }));
                }
            }
        }
        let last = last?;
        self.tell_detail(told.join(", "), why);
        Ok(last)
    }

    /// The aggregate, if it is to be handed over by `by` and is held as `row` says.
    fn draining(&self, by: ServerId, row: &Held) -> Result<Aggregate> {
        let aggregate = self.held(row.aggregate, by, row.epoch)?;
        if aggregate.state != AggregateState::Draining {
            return Err(
                Error::new(Kind::Invalid, format!("aggregate {}", aggregate.name)).because("it is not draining")
            );
        }
        Ok(aggregate)
    }

    pub(super) fn report_takeover(&mut self, change: &Change) -> Result<Record> {
        let &Change::ReportTakeover {
            server: by,
            aggregate: id,
            epoch,
            time_line,
        } = change
        else {
            unreachable!("routed by Draft::run")
        };
        let aggregate = self.held(id, by, epoch)?;
        let on = format!(
            "aggregate {} by {} under epoch {epoch}",
            aggregate.name,
            self.server_name(by)
        );
        let known = self.state.tenures.get(&(id, epoch)).cloned();
        let tenure = known.ok_or_else(|| Error::new(Kind::NotFound, on.clone()).because("too long ago"))?;
        if tenure.time_line == Some(time_line) {
            return Ok(Record::Tenure(tenure));
        }
        let tenure = Tenure {
            time_line: Some(time_line),
            ..tenure
        };
        self.tell_detail(on, &tenure.phases().unwrap_or_default());
        Ok(self.put_tenure(tenure))
    }

    /// Makes a run of a server owner, under an epoch above every earlier one, the disk's included.
    fn grant(
        &mut self,
        aggregate: Aggregate,
        (owner, run): (ServerId, Incarnation),
        disk: Epoch,
        cause: Cause,
    ) -> Result<Record> {
        let epoch = aggregate.epoch.granted_over(disk).ok_or_else(|| {
            Error::new(Kind::Limit, format!("aggregate {}", aggregate.name))
                .because("the epochs of this era are used up")
        })?;
        Ok(self.own(aggregate, (owner, run), epoch, cause))
    }

    /// A server becomes owner under an epoch that is above every earlier one.
    pub(super) fn own(
        &mut self,
        aggregate: Aggregate,
        (owner, run): (ServerId, Incarnation),
        epoch: Epoch,
        cause: Cause,
    ) -> Record {
        self.put_tenure(Tenure {
            aggregate: aggregate.id,
            epoch,
            owner,
            date: self.date,
            reason: cause.reason.clone(),
            silent_micros: cause.silent_micros,
            time_line: None,
        });
        self.put_aggregate(Aggregate {
            owner: Some(owner),
            epoch,
            run: Some(run),
            state: AggregateState::Exported,
            target: None,
            since: self.date,
            reason: cause.reason,
            ..aggregate
        })
    }

    fn run_of(&self, server: ServerId) -> Result<Incarnation> {
        let run = self.state.known_server(server)?.incarnation;
        run.ok_or_else(|| {
            Error::new(Kind::Stale, format!("server {}", self.server_name(server))).because("it does not run")
        })
    }

    pub(super) fn server_name(&self, id: ServerId) -> String {
        let known = self.state.servers.get(&id);
        known.map_or_else(|| id.to_string(), |server| server.name.to_string())
    }
}

fn state_word(state: ServerState) -> &'static str {
    match state {
        ServerState::Alive => "alive",
        ServerState::Pending => "pending",
        ServerState::Dead => "dead",
    }
}
