//! A large cell, made by the state machine itself: every record is what its change makes of it, in a process that has
//! no log and no disk. What comes out goes to real members as any backup does.

use anyhow::{Context, Result};
use baton_flserver::state::{Action, Committed, Fldb};
use baton_types::change::{AggregateRef, Change, ChangeSession, Proposal, Who};
use baton_types::{
    Address, AggregateId, AggregateName, Core, EntryName, FilesetName, Incarnation, PrincipalName, ServerId, Timestamp,
};
use uuid::Uuid;

/// Aggregates of a server that is failed over, as the budget of a failover has it.
pub const AGGREGATES: usize = 15;
/// Of every other server.
const AGGREGATES_OF_OTHERS: usize = 2;
/// Filesets of the first server that is failed over.
pub const FILESETS_OF_FEW: usize = 800;
/// Filesets of the second one, if there are so many.
const FILESETS_OF_MANY: usize = 100_000;
/// The first servers: two that are failed over, each with its standby beside it, which owns nothing.
const PAIRED: usize = 4;

/// Who makes the filesets.
pub const ADMINISTRATOR: &str = "admin";

/// What there is to be.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Filesets.
    pub filesets: usize,
    /// File servers: an even number, more than [`PAIRED`].
    pub servers: usize,
}

/// A file server of such a cell.
#[derive(Clone, Debug)]
pub struct Made {
    /// As in its certificate.
    pub id: ServerId,
    /// As in its certificate.
    pub name: EntryName,
    /// Where it would be.
    pub address: Address,
    /// What it owns at the beginning.
    pub own: Vec<(AggregateId, AggregateName)>,
    /// What it reaches besides: its neighbour's.
    pub reached: Vec<(AggregateId, AggregateName)>,
}

impl Layout {
    /// All servers.
    ///
    /// # Errors
    /// None for a sound layout.
    pub fn servers(&self) -> Result<Vec<Made>> {
        (0..self.servers).map(|number| self.server(number)).collect()
    }

    /// One of the servers that nobody fails over.
    ///
    /// # Errors
    /// None for a sound layout.
    pub fn spare(&self, number: usize) -> Result<Made> {
        self.server(PAIRED + number % (self.servers - PAIRED))
    }

    fn server(&self, number: usize) -> Result<Made> {
        let name = format!("fs{number:04}");
        Ok(Made {
            id: ServerId(id(1, number, 0)),
            address: Address::parse(&format!("{name}.example"))?,
            name: EntryName::parse(&name)?,
            own: aggregates(number)?,
            reached: aggregates(number ^ 1)?,
        })
    }

    /// Filesets of the second server that is failed over.
    pub fn filesets_of_many(&self) -> usize {
        FILESETS_OF_MANY.min(self.filesets / 2)
    }

    /// On which server the fileset of this number is, and on which of its aggregates.
    fn place(&self, fileset: usize) -> (usize, usize) {
        let of = |server: usize, within: usize| (server, within % count(server));
        let many = FILESETS_OF_FEW + self.filesets_of_many();
        match fileset {
            few if few < FILESETS_OF_FEW => of(0, few),
            many_th if many_th < many => of(2, many_th),
            other => of(
                PAIRED + other % (self.servers - PAIRED),
                other / (self.servers - PAIRED),
            ),
        }
    }
}

/// The name of the fileset of this number.
pub fn fileset(number: usize) -> String {
    format!("home.u{number:07}")
}

fn count(server: usize) -> usize {
    match server {
        standby if standby < PAIRED && standby % 2 == 1 => 0,
        paired if paired < PAIRED => AGGREGATES,
        _ => AGGREGATES_OF_OTHERS,
    }
}

fn aggregates(server: usize) -> Result<Vec<(AggregateId, AggregateName)>> {
    (0..count(server))
        .map(|within| {
            let name = AggregateName::parse(&format!("a{server:04}.{within:02}"))?;
            Ok((AggregateId(id(2, server, within)), name))
        })
        .collect()
}

/// The same at each run: whoever plays the servers knows it too.
fn id(kind: u8, server: usize, within: usize) -> Uuid {
    let hash = blake3::hash(format!("{kind} {server} {within}").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_bytes()[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// The state after all that is still to be done, which takes some ten microseconds for each fileset.
///
/// # Errors
/// What the state machine refused.
pub fn fill(state: Fldb, layout: &Layout) -> Result<Fldb> {
    let mut filling = Filling {
        state,
        session: ChangeSession(rand::random()),
        sequence: 0,
    };
    let servers = layout.servers()?;
    for server in &servers {
        filling.register(server)?;
    }
    for (number, server) in servers.iter().enumerate() {
        for (aggregate, name) in &server.own {
            for of in [server, &servers[number ^ 1]] {
                let change = Change::ReportAggregate {
                    server: of.id,
                    id: *aggregate,
                    name: name.clone(),
                };
                filling.change(by(of), change)?;
            }
        }
    }
    let administrator = Who::Principal {
        name: PrincipalName::parse(ADMINISTRATOR)?,
        mech: "cert".to_owned(),
    };
    for number in 0..layout.filesets {
        let (server, within) = layout.place(number);
        let change = Change::CreateFileset {
            name: FilesetName::parse(&fileset(number))?,
            server: servers[server].address.clone(),
            aggregate: AggregateRef::Name(servers[server].own[within].1.clone()),
            quota_bytes: 5 << 30,
        };
        filling.change(administrator.clone(), change)?;
    }
    Ok(filling.state)
}

/// A state that changes are made in, one after the other.
struct Filling {
    state: Fldb,
    session: ChangeSession,
    sequence: u32,
}

impl Filling {
    fn register(&mut self, server: &Made) -> Result<()> {
        let change = Change::RegisterServer {
            id: server.id,
            name: server.name.clone(),
            addresses: vec![server.address.clone()],
            incarnation: Incarnation(id(3, 0, 0)),
            beats: true,
        };
        self.change(by(server), change)
    }

    fn change(&mut self, who: Who, change: Change) -> Result<()> {
        self.sequence += 1;
        let index = self.state.applied() + 1;
        let proposal = Proposal {
            session: self.session,
            sequence: self.sequence,
            born: index,
            date: Timestamp(1_800_000_000_000_000_000),
            who,
            change,
        };
        let actions = self.state.step(0, Committed::Change(index, Box::new(proposal)));
        let answer = actions.into_iter().find_map(|action| match action {
            Action::Answer { outcome, .. } => Some(outcome),
            Action::Changed(_) => None,
        });
        answer.context("it has no answer")??;
        Ok(())
    }
}

/// A server speaks for itself, by its machine's certificate.
fn by(server: &Made) -> Who {
    Who::Host {
        name: PrincipalName::host(&server.name),
        server: Some(server.id),
    }
}
