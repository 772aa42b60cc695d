//! Who goes where: one function of the state, for a move that is made and for one that is only shown.

use baton_types::change::{Move, Moving, Takeover};
use baton_types::plan::{PlannedMove, Step};
use baton_types::record::{Aggregate, AggregateState, Server, ServerState};
use baton_types::{AggregateId, Error, Kind, Result, ServerId};

use super::Fldb;
use super::held;

impl Fldb {
    /// What `wish` comes to, aggregate by aggregate.
    ///
    /// # Errors
    /// `NotFound` for what is not there, and for a server that owns nothing.
    pub fn plan(&self, wish: &Move) -> Result<Vec<PlannedMove>> {
        if let Some(to) = wish.to {
            self.known_server(to)?;
        }
        let aggregates = match &wish.what {
            Moving::Aggregates(list) => list.iter().map(|a| self.aggregate(a)).collect::<Result<Vec<_>>>()?,
            Moving::Server(server) => {
                let name = self.known_server(*server)?.name.clone();
                let own: Vec<Aggregate> = self.owned_by(*server).cloned().collect();
                if own.is_empty() {
                    return Err(Error::new(Kind::NotFound, format!("server {name}")).because("it owns no aggregate"));
                }
                own
            }
        };
        Ok(aggregates
            .iter()
            .map(|aggregate| self.planned(aggregate, wish))
            .collect())
    }

    fn planned(&self, aggregate: &Aggregate, wish: &Move) -> PlannedMove {
        PlannedMove {
            aggregate: aggregate.id,
            name: aggregate.name.clone(),
            epoch: aggregate.epoch,
            from: aggregate.owner,
            step: self.step_of(aggregate, wish).unwrap_or_else(|why| Step::Stay { why }),
        }
    }

    fn step_of(&self, aggregate: &Aggregate, wish: &Move) -> Result<Step, String> {
        let Some(owner) = aggregate.owner.and_then(|id| self.servers.get(&id)) else {
            return Err(format!(
                "nobody owns it; to export it: dfsexport -aggregate {}, on a server that sees it",
                aggregate.name
            ));
        };
        let to = match wish.to {
            Some(to) => {
                self.may_take(aggregate, to)?;
                to
            }
            None => self.next_owner(aggregate)?,
        };
        let asks = wish.takeover == Takeover::Planned && owner.state != ServerState::Dead;
        match aggregate.state {
            AggregateState::Exported | AggregateState::Draining if asks => Ok(Step::HandOver { to }),
            AggregateState::Exported
            | AggregateState::Draining
            | AggregateState::Unserved
            | AggregateState::Detached => Ok(Step::Grant { to }),
        }
    }

    /// The first of those attached that may take an aggregate from its owner; else why nobody may.
    pub(super) fn next_owner(&self, aggregate: &Aggregate) -> Result<ServerId, String> {
        let mut obstacles = Vec::new();
        for server in aggregate.attached.iter().filter(|id| Some(**id) != aggregate.owner) {
            match self.may_take(aggregate, *server) {
                Ok(()) => return Ok(*server),
                Err(why) => obstacles.push(why),
            }
        }
        match obstacles.is_empty() {
            true => Err("no other server is attached to it".to_owned()),
            false => Err(obstacles.join("; ")),
        }
    }

    /// Whether an aggregate may be given to `server`; else why not.
    pub(super) fn may_take(&self, aggregate: &Aggregate, server: ServerId) -> Result<(), String> {
        let Some(Server {
            name,
            state,
            evidence,
            drained,
            ..
        }) = self.servers.get(&server)
        else {
            return Err(format!("server {server} has not registered"));
        };
        if let Some(why) = &aggregate.held {
            return Err(format!("it is held ({why}); {}", held::remedy(&aggregate.name)));
        }
        if aggregate.owner == Some(server) && aggregate.state.is_served() {
            return Err(format!("{name} owns it already, under epoch {}", aggregate.epoch));
        }
        if !aggregate.attached.contains(&server) {
            return Err(format!("{name} has not reported its label"));
        }
        match state {
            ServerState::Dead => return Err(format!("{name} is dead ({evidence})")),
            ServerState::Pending => return Err(format!("{name} is late ({evidence})")),
            ServerState::Alive => {}
        }
        match drained {
            true => Err(format!("{name} is drained; to have it back: fts undrain {name}")),
            false => Ok(()),
        }
    }

    /// The server with this id.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn known_server(&self, id: ServerId) -> Result<&Server> {
        let found = self.servers.get(&id);
        found.ok_or_else(|| Error::new(Kind::NotFound, format!("server {id}")).because("it has not registered"))
    }

    /// The aggregate with this id, where it is no fault if there is none.
    pub fn aggregate_by_id(&self, id: AggregateId) -> Option<&Aggregate> {
        self.aggregates.get(&id)
    }

    /// All aggregates of a server, in the order of their numbers.
    pub fn owned_by(&self, server: ServerId) -> impl Iterator<Item = &Aggregate> {
        let own = self.owned.range((server, 0)..=(server, u32::MAX));
        own.filter_map(|(_, id)| self.aggregates.get(id))
    }

    /// The last index at which a server or an aggregate changed, or a later one.
    pub fn owners_changed(&self) -> u64 {
        self.owners_changed.0
    }

    /// All servers.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.servers.values()
    }

    /// All aggregates, in the order of their numbers.
    pub fn aggregates(&self) -> impl Iterator<Item = &Aggregate> {
        self.aggregate_numbers.values().filter_map(|id| self.aggregates.get(id))
    }
}
