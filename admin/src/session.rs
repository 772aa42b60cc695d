//! What a command works with: the machine's files, the cell that is meant, and as whom to call it.

use std::io::Write;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use baton_rpc::config::{CellFile, Config, Paths, env};
use baton_rpc::fldb::{Freshness, Listing, Query};
use baton_rpc::{FldbClient, Identity};
use baton_security::{Credential, HostTls, Place};
use baton_types::record::Table;
use baton_types::{BootClock, CellName, Clock, Error, Kind, Result};

use crate::grammar::{self, Standard};
use crate::program::Program;

/// How long a quorum is waited for before an older answer will do: an election takes two seconds.
const FRESH_WITHIN: Duration = Duration::from_secs(4);
/// How long a list may take: 100,000 filesets are 15 MB, which a line of 2 Mbit/s brings in a minute.
const LIST_WITHIN: Duration = Duration::from_secs(60);

/// One run of a command.
pub struct Session {
    program: Program,
    /// What every command takes.
    pub standard: Standard,
    /// Where everything lies.
    pub paths: Paths,
    /// For certificates.
    pub clock: Arc<dyn Clock>,
    /// The client that was made, for what it has learned.
    made: OnceLock<FldbClient>,
}

impl Session {
    /// On this machine, as the environment says.
    pub fn new(program: Program, standard: Standard) -> Session {
        Session {
            program,
            standard,
            paths: Paths::from_env(&env),
            clock: Arc::new(BootClock),
            made: OnceLock::new(),
        }
    }

    /// `baton.toml`, and the environment over it.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn config(&self) -> Result<Config> {
        Config::load(&self.paths, &env)
    }

    /// The cell that is meant: by `-cell`, by the configuration, or because there is only one.
    ///
    /// # Errors
    /// `NotFound` when this machine knows no such cell.
    pub fn cell(&self) -> Result<CellFile> {
        let named = match &self.standard.cell {
            Some(cell) => Some(cell.clone()),
            None => self.config()?.cell,
        };
        match named {
            Some(cell) => CellFile::load(&self.paths, &cell),
            None => CellFile::only(&self.paths),
        }
    }

    /// Where the caller's own identity lies.
    ///
    /// # Errors
    /// When the environment does not say.
    pub fn user_place(&self, cell: &CellName) -> Result<Place> {
        self.paths.user(cell).map(Place::user)
    }

    /// A client of the cell that is meant, as whom the options say.
    ///
    /// # Errors
    /// When the cell is not known, or the identity is not there or no good.
    pub fn client(&self) -> Result<FldbClient> {
        let cell = self.cell()?;
        self.call(&cell, self.identity(&cell)?)
    }

    /// The same, where a caller without an identity is nobody.
    ///
    /// # Errors
    /// When the cell is not known, or the identity is there and no good.
    pub fn client_or_nobody(&self) -> Result<FldbClient> {
        let cell = self.cell()?;
        let identity = match (self.identity(&cell), self.standard.identity()) {
            (Err(e), grammar::Identity::Caller) if e.kind == Kind::NotFound => Identity::Nobody,
            (identity, _) => identity?,
        };
        self.call(&cell, identity)
    }

    fn call(&self, cell: &CellFile, identity: Identity) -> Result<FldbClient> {
        let client = FldbClient::new(cell, identity, &self.clock)?;
        Ok(self.made.get_or_init(|| client).clone())
    }

    /// Writes down where the members are, if this command has heard something new of them and the caller may.
    pub fn remember_members(&self) {
        let Some(client) = self.made.get() else { return };
        // Only an improvement: who may not write there still finds the members that are written there.
        let _ = CellFile::learn(&self.paths, client.cell(), &client.members());
    }

    fn identity(&self, cell: &CellFile) -> Result<Identity> {
        match self.standard.identity() {
            grammar::Identity::Nobody => Ok(Identity::Nobody),
            grammar::Identity::Host => self.host(cell).map(Identity::Host),
            grammar::Identity::Caller => self.caller(&cell.cell).map(|caller| Identity::User(Arc::new(caller))),
        }
    }

    fn caller(&self, cell: &CellName) -> Result<Credential> {
        Credential::load(&self.user_place(cell)?).map_err(|e| match e.kind {
            Kind::NotFound => Error::new(Kind::NotFound, format!("your identity in {cell}"))
                .because(format!("{} is not there", e.on))
                .remedy("get one: baton login --invite TOKEN; or ask as nobody: -noauth"),
            _ => e,
        })
    }

    fn host(&self, cell: &CellFile) -> Result<Arc<HostTls>> {
        let way_out = "-localauth is for root on a machine that joined the cell";
        let host = HostTls::load(Place::host(self.paths.pki()), self.clock.clone()).map_err(|e| e.remedy(way_out))?;
        let own = host.with_credential(|credential| credential.anchor().cell().clone());
        if own != cell.cell {
            return Err(Error::new(Kind::Denied, "-localauth")
                .because(format!("this machine is of the cell {own}, not of {}", cell.cell)));
        }
        Ok(Arc::new(host))
    }

    /// Lists what is newest, or what a member has if there is no quorum: then a warning says so.
    ///
    /// # Errors
    /// As [`FldbClient::list`].
    pub async fn list(&self, client: &FldbClient, query: Query) -> Result<Listing> {
        let client = client.within(LIST_WITHIN);
        let error = match quorum(&client).await {
            Ok(()) => return client.list(&query).await,
            Err(e) if e.kind == Kind::Unreachable => e,
            Err(e) => return Err(e),
        };
        let old = Query {
            freshness: Freshness::Local,
            ..query
        };
        match client.within(FRESH_WITHIN).list(&old).await {
            // Nobody at all: the first error says more than a second one would.
            Err(e) if e.kind == Kind::Unreachable => Err(error),
            Err(e) => Err(e),
            Ok(listing) => {
                self.warn(&format!("{error}; what follows may be out of date"));
                Ok(listing)
            }
        }
    }

    /// Renews the caller's certificate in its last third. It is used, so it lives on; that it cannot be renewed
    /// now is no failure of the command.
    pub async fn renew(&self) {
        let Ok(cell) = self.cell() else { return };
        let Ok(place) = self.user_place(&cell.cell) else { return };
        let Ok(credential) = Credential::load(&place) else {
            return;
        };
        if !credential.is_due(self.clock.date()) || self.standard.identity() != grammar::Identity::Caller {
            return;
        }
        if let Err(error) = self.renew_at(&cell, &place).await {
            self.warn(&format!("your certificate was not renewed: {error}"));
        }
    }

    async fn renew_at(&self, cell: &CellFile, place: &Place) -> Result<()> {
        let credential = Arc::new(Credential::load(place)?);
        let client = FldbClient::new(cell, Identity::User(credential.clone()), &self.clock)?;
        let certificate = client.within(FRESH_WITHIN).renew(credential.key()).await?;
        credential.renew(place, &certificate)
    }

    /// Says on standard error what a person should know besides the result.
    pub fn warn(&self, what: &str) {
        self.note(&format!("warning: {what}"));
    }

    /// Says something on standard error, under the program's name.
    pub fn note(&self, what: &str) {
        // Where this cannot be written, there is nobody to tell.
        let _ = writeln!(std::io::stderr().lock(), "{}: {what}", self.program.name());
    }
}

/// Asks for something small that must be new.
///
/// # Errors
/// `Unreachable` where no quorum answers in time; as [`FldbClient::list`].
pub async fn quorum(client: &FldbClient) -> Result<()> {
    let query = Query::tables(&[Table::Cell], Freshness::Linearizable);
    client.within(FRESH_WITHIN).list(&query).await.map(drop)
}
