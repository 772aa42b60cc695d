//! Questions: where something is, what there is, who is asking.

use baton_proto::{FromWire, v1};
use baton_types::change::{AggregateRef, FilesetRef};
use baton_types::record::{Aggregate, Fileset, Record, Server, Table};
use baton_types::{Address, AggregateId, FilesetId, FilesetName, GroupName, PrincipalName, Result, Timestamp};
use baton_types::{Error, Kind, limits};

use super::FldbClient;
use super::call::Share;

/// What to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sought {
    /// A fileset.
    Fileset(FilesetRef),
    /// An aggregate.
    Aggregate(AggregateId),
}

/// Where something is: everything needed to dial its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// As of this index.
    pub index: u64,
    /// `None` if an aggregate was asked for.
    pub fileset: Option<Fileset>,
    /// Those it is on.
    pub aggregates: Vec<Aggregate>,
    /// Those attached to these.
    pub servers: Vec<Server>,
}

/// How new an answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Whatever the member asked has applied: it answers without a quorum.
    Local,
    /// At least everything that was acknowledged before.
    Linearizable,
}

/// What to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// In this order.
    pub tables: Vec<Table>,
    /// How new.
    pub freshness: Freshness,
    /// Filesets only: this one.
    pub fileset: Option<FilesetRef>,
    /// Filesets only: booked under the entry with this address.
    pub entry: Option<Address>,
    /// Filesets only: on this aggregate.
    pub aggregate: Option<AggregateRef>,
    /// Filesets only: with a lock that has not ended.
    pub is_locked: bool,
    /// Events only: later than this index.
    pub after: u64,
}

impl Query {
    /// All of `tables`.
    pub fn tables(tables: &[Table], freshness: Freshness) -> Query {
        Query {
            tables: tables.to_vec(),
            freshness,
            fileset: None,
            entry: None,
            aggregate: None,
            is_locked: false,
            after: 0,
        }
    }

    fn to_wire(&self, caller: u32) -> v1::ListRequest {
        let text = |text: Option<String>| text.map(String::into_bytes).unwrap_or_default();
        v1::ListRequest {
            caller,
            tables: self.tables.iter().map(|table| v1::Table::from(*table) as i32).collect(),
            freshness: match self.freshness {
                Freshness::Local => v1::Freshness::Local,
                Freshness::Linearizable => v1::Freshness::Linearizable,
            } as i32,
            fileset: text(self.fileset.as_ref().map(|fileset| match fileset {
                FilesetRef::Id(id) => id.to_string(),
                FilesetRef::Name(name) => name.to_string(),
            })),
            entry: text(self.entry.as_ref().map(Address::to_string)),
            aggregate: text(self.aggregate.as_ref().map(|aggregate| match aggregate {
                AggregateRef::Number(number) => number.to_string(),
                AggregateRef::Name(name) => name.to_string(),
            })),
            locked: self.is_locked,
            after: self.after,
        }
    }
}

/// The records that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// As of this index.
    pub index: u64,
    /// In the order of the tables asked for, each in the order of its keys; filesets in that of their names.
    pub records: Vec<Record>,
}

/// As whom the database knows a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// `None`: as nobody.
    pub principal: Option<PrincipalName>,
    /// How that was proved.
    pub mech: String,
    /// Until when the proof is good.
    pub expires: Timestamp,
    /// The groups that the registry puts the principal in.
    pub groups: Vec<GroupName>,
}

impl FldbClient {
    /// Where something is, by what the member asked has applied.
    ///
    /// # Errors
    /// `NotFound`; `Unreachable` when nobody answers.
    pub async fn lookup(&self, sought: &Sought) -> Result<Location> {
        use v1::lookup_request::What;
        let what = match sought {
            Sought::Fileset(FilesetRef::Id(FilesetId(id))) => What::Fileset(*id),
            Sought::Fileset(FilesetRef::Name(name)) => What::Name(FilesetName::to_string(name).into_bytes()),
            Sought::Aggregate(id) => What::Aggregate(id.0.as_bytes().to_vec()),
        };
        let reply = self
            .call(Share::Part, |live| {
                let request = v1::LookupRequest {
                    caller: live.caller,
                    what: Some(what.clone()),
                };
                async move { Ok(live.connection.fldb().lookup(request).await?.into_inner()) }
            })
            .await?;
        Ok(Location {
            index: reply.index,
            fileset: reply.fileset.map(TryInto::try_into).transpose()?,
            aggregates: typed(reply.aggregates)?,
            servers: typed(reply.servers)?,
        })
    }

    /// All records that `query` asks for, of one index.
    ///
    /// # Errors
    /// `NotFound` when it names something that is not there; `Denied`; `Unreachable` when nobody answers, or no
    /// quorum does and the answer was to be new.
    pub async fn list(&self, query: &Query) -> Result<Listing> {
        let (index, records) = self
            .call(Share::All, |live| {
                let request = query.to_wire(live.caller);
                async move {
                    let mut pieces = live.connection.fldb().list(request).await?.into_inner();
                    let (mut index, mut records) = (0, Vec::new());
                    while let Some(piece) = pieces.message().await? {
                        index = piece.index;
                        records.extend(piece.records);
                    }
                    Ok((index, records))
                }
            })
            .await?;
        let records = typed(records)?;
        Ok(Listing { index, records })
    }

    /// As whom the database knows this client.
    ///
    /// # Errors
    /// `Denied` or `Expired` when it cannot log in; `Unreachable` when nobody answers.
    pub async fn who(&self) -> Result<Who> {
        let reply = self
            .call(Share::Part, |live| {
                let request = v1::WhoRequest { caller: live.caller };
                async move { Ok(live.connection.session().who(request).await?.into_inner()) }
            })
            .await?;
        if reply.mech.len() > limits::TEXT_BYTES_MAX {
            return Err(Error::new(Kind::Limit, "mechanism"));
        }
        Ok(Who {
            principal: PrincipalName::optional(&reply.principal)?,
            mech: reply.mech,
            expires: Timestamp(reply.expires),
            groups: GroupName::list(&reply.groups, limits::GROUPS_OF_PRINCIPAL_MAX, "groups")?,
        })
    }
}

fn typed<W, T: TryFrom<W, Error = Error>>(wire: Vec<W>) -> Result<Vec<T>> {
    wire.into_iter().map(T::try_from).collect()
}
