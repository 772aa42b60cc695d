//! What was found out about the cell, and what follows from it.
//!
//! What a member says of itself goes before what the leader says of it: one that answers here and that the
//! leader does not hear is *cut off*.

use std::cmp::Reverse;
use std::time::Duration;

use baton_rpc::Target;
use baton_rpc::fldb::{MemberStatus, Status};
use baton_types::record::{Aggregate, AggregateState, Server, ServerState};
use baton_types::{CellName, EntryName, Error, Result, ServerId};

/// Leaders send to each member several times a second: one that was not heard for so long is not slow.
const CUT_OFF: Duration = Duration::from_secs(5);

/// What was found out.
#[derive(Debug)]
pub struct View {
    pub cell: CellName,
    /// Why nothing can be changed, if that is so.
    pub no_quorum: Option<Error>,
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

/// How a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Ok,
    /// It does not count for a quorum yet.
    Learning,
    /// It answers here, and has not answered the leader for so long.
    CutOff(Duration),
    /// It does not answer here; the leader heard it last so long ago.
    Silent(Option<Duration>),
}

impl View {
    /// What the members say that say anything.
    pub fn answers(&self) -> impl Iterator<Item = &Status> {
        self.members.iter().filter_map(|(_, answer)| answer.as_ref().ok())
    }

    /// The one that knows of the latest term.
    pub fn latest(&self) -> Option<&Status> {
        self.answers()
            .filter(|status| status.leader.is_some())
            .max_by_key(|status| (status.term, Reverse(status.member.clone())))
    }

    /// Who leads, if there is a quorum.
    pub fn leader(&self) -> Option<&EntryName> {
        let latest = self.latest().filter(|_| self.no_quorum.is_none());
        latest.and_then(|status| status.leader.as_ref())
    }

    /// The highest index that is known to be decided.
    pub fn committed(&self) -> u64 {
        self.answers().map(|status| status.committed).max().unwrap_or_default()
    }

    /// How many filesets there are, by the member that has applied most.
    pub fn filesets(&self) -> u64 {
        let latest = self.answers().max_by_key(|status| status.applied);
        latest.map_or(0, |status| status.filesets)
    }

    /// What the leader says of a member; only the leader knows.
    pub fn by_leader(&self, name: &str) -> Option<&MemberStatus> {
        let leader = self.leader()?;
        let leader = self.answers().find(|status| status.member == *leader)?;
        leader.members.iter().find(|member| member.member.name.as_str() == name)
    }

    /// How a member is.
    pub fn condition(&self, target: &Target, answer: &Result<Status>) -> Condition {
        let seen = self.by_leader(&name(target));
        let silent = seen.and_then(|seen| seen.silent);
        match (answer, silent) {
            (Err(_), silent) => Condition::Silent(silent),
            (Ok(_), Some(silent)) if silent > CUT_OFF => Condition::CutOff(silent),
            (Ok(_), _) if seen.is_some_and(|seen| !seen.is_voter) => Condition::Learning,
            (Ok(_), _) => Condition::Ok,
        }
    }

    /// The names of those members that are so.
    fn which(&self, is_so: fn(Condition) -> bool) -> Vec<String> {
        let members = self.members.iter();
        let such = members.filter(|(target, answer)| is_so(self.condition(target, answer)));
        such.map(|(target, _)| name(target)).collect()
    }

    /// How the cell is, and one sentence on what to do.
    pub fn advice(&self) -> (Health, String) {
        let silent = self.which(|condition| matches!(condition, Condition::Silent(_)));
        let cut_off = self.which(|condition| matches!(condition, Condition::CutOff(_)));
        let learning = self.which(|condition| condition == Condition::Learning);
        if self.no_quorum.is_some() {
            let what = match silent.as_slice() {
                [] => "the members answer and agree on no leader: look at the network between them".to_owned(),
                silent => format!("start flserver on {}", silent.join(" or ")),
            };
            return (
                Health::Critical,
                format!("No quorum, so nothing can be changed: {what}."),
            );
        }
        let warning = match (silent.as_slice(), cut_off.as_slice(), learning.as_slice()) {
            ([], [], []) => return self.of_servers(),
            ([], [], learning) => format!("Wait for {} to catch up.", learning.join(" and ")),
            ([], cut_off, _) => {
                let leader = self.leader().map_or("its leader", EntryName::as_str);
                format!("Look at the network between {leader} and {}.", cut_off.join(" and "))
            }
            (silent, _, _) => {
                let left = self.members.len() - silent.len() - cut_off.len();
                let danger = match left > self.members.len() / 2 + 1 {
                    true => "",
                    false => "; one failure more would stop all changes",
                };
                format!("Start flserver on {}{danger}.", silent.join(" and "))
            }
        };
        (Health::Warning, warning)
    }

    /// How the file servers are; the members are well.
    fn of_servers(&self) -> (Health, String) {
        if let Some(aggregate) = self.held().find(|aggregate| !aggregate.state.is_served()) {
            let name = &aggregate.name;
            let sentence = format!(
                "{name} is held and not served: look at it with salvage -check, then: fts unhold -aggregate {name}."
            );
            return (Health::Critical, sentence);
        }
        let unserved: Vec<&Aggregate> = self.in_state(AggregateState::Unserved).collect();
        if let [first, ..] = unserved.as_slice() {
            let names: Vec<&str> = unserved.iter().map(|aggregate| aggregate.name.as_str()).collect();
            let sentence = format!(
                "Nobody serves {}: start fileserver on {}.",
                names.join(", "),
                self.attached(first).join(" or ")
            );
            return (Health::Critical, sentence);
        }
        let such = |state| self.servers.iter().filter(move |server| server.state == state);
        let dead: Vec<&str> = such(ServerState::Dead).map(|server| server.name.as_str()).collect();
        if !dead.is_empty() {
            let sentence = format!(
                "Start fileserver on {}: others serve what was there, and may have nobody to take over from them.",
                dead.join(" and ")
            );
            return (Health::Warning, sentence);
        }
        if let Some(server) = such(ServerState::Pending).next() {
            let sentence = format!(
                "Wait: {} is late, and its aggregates are taken over if it stays so.",
                server.name
            );
            return (Health::Warning, sentence);
        }
        if let Some(aggregate) = self.in_state(AggregateState::Draining).next() {
            let name = &aggregate.name;
            let sentence = format!("Wait: {name} moves; if it takes long: fts failover -aggregate {name} -takeover.");
            return (Health::Well, sentence);
        }
        if let Some(aggregate) = self.held().next() {
            let name = &aggregate.name;
            let sentence =
                format!("Nobody would take {name} over: it is held; to end that: fts unhold -aggregate {name}.");
            return (Health::Warning, sentence);
        }
        (Health::Well, self.growth().to_owned())
    }

    fn held(&self) -> impl Iterator<Item = &Aggregate> {
        self.aggregates.iter().filter(|aggregate| aggregate.held.is_some())
    }

    fn in_state(&self, state: AggregateState) -> impl Iterator<Item = &Aggregate> {
        self.aggregates.iter().filter(move |aggregate| aggregate.state == state)
    }

    /// How long ago a server was heard, by whoever heard it last.
    pub fn beat(&self, server: ServerId) -> Option<Duration> {
        let silences = self.answers().flat_map(|status| &status.silences);
        silences
            .filter(|heard| heard.server == server)
            .map(|heard| heard.silent)
            .min()
    }

    /// What a cell without a fault lacks yet.
    fn growth(&self) -> &'static str {
        match (self.members.len(), self.servers.len()) {
            (1, _) => "One disk holds the location database: add two members (baton cell invite HOST --member).",
            (2, _) => "Two members stop when either does: add a third (baton cell invite HOST --member).",
            (_, 0) => "No file server has registered: add one (baton cell invite HOST).",
            _ => "All is well.",
        }
    }

    /// A server by its name; by its id where that is not known.
    pub fn server_name(&self, id: ServerId) -> String {
        let server = self.servers.iter().find(|server| server.id == id);
        server.map_or_else(|| id.to_string(), |server| server.name.to_string())
    }

    /// Who can reach an aggregate.
    pub fn attached(&self, aggregate: &Aggregate) -> Vec<String> {
        aggregate.attached.iter().map(|id| self.server_name(*id)).collect()
    }
}

/// What a member is called: by its address where its name is not known.
pub fn name(target: &Target) -> String {
    target
        .name
        .as_ref()
        .map_or_else(|| target.address.to_string(), ToString::to_string)
}
