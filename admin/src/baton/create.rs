//! `baton cell create`: the authority, the first administrator, the first member, and that member running.
//!
//! Nothing is overwritten: what is in the way is found before anything is made.

use std::path::PathBuf;
use std::time::Duration;

use baton_rpc::config::{CellFile, Config, Daemon, GenesisFile, MemberFile};
use baton_rpc::{FldbClient, Identity};
use baton_security::{Authority, Credential, Key, Place, Request, Subject, files};
use baton_types::{Address, CellId, CellName, EntryName, Error, Kind, PrincipalName, Result, ServerId};
use serde_json::json;
use tokio::time::Instant;

use crate::grammar::baton::CreateCell;
use crate::machine::{self, Started};
use crate::output::Output;
use crate::session::Session;

/// What a new cell begins with, as its settings say from then on: 30 days.
const LIFETIME_SECONDS: u64 = 30 * 86_400;
/// How long the first start may take: a second on an idle machine.
const START_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks whether the daemon still runs.
const LOOK: Duration = Duration::from_millis(500);

/// What was decided before anything is made.
struct Plan {
    cell: CellName,
    host: EntryName,
    addresses: Vec<Address>,
    administrator: PrincipalName,
    administrator_id: u32,
    host_place: Place,
    user_place: Place,
}

/// Makes a cell.
pub async fn create(session: &Session, words: CreateCell) -> Result<Output> {
    let is_started = !words.no_start;
    let plan = Plan::new(session, words)?;
    plan.check(session)?;
    let cell = plan.make(session)?;
    let mut text = plan.made(&cell);
    if is_started {
        let log = start(session, &cell).await?;
        text += &format!("flserver runs; its log is {}.\n", log.display());
        text += "It starts again with 'flserver', as root; let the system do that when the machine boots.\n";
    } else {
        text += "Nothing was started; the cell's first member is started with 'flserver'.\n";
    }
    text += "\nNext: another machine, and another person:\n  baton cell invite HOST --member\n  baton cell invite --user NAME\n";
    let json = json!({
        "cell": plan.cell,
        "id": cell.id().to_string(),
        "host": plan.host,
        "addresses": plan.addresses,
        "administrator": plan.administrator,
        "administrator_id": plan.administrator_id,
        "authority_key": plan.authority_key(),
        "identity": plan.user_place.certificate(),
        "is_started": is_started,
    });
    Ok(Output::new("baton.cell.create/1", text, json))
}

impl Plan {
    fn new(session: &Session, words: CreateCell) -> Result<Plan> {
        let host = words.host.map_or_else(machine::name, Ok)?;
        let addresses = match words.address.as_slice() {
            [] => vec![machine::address(&host)],
            given => given.to_vec(),
        };
        let (administrator, uid) = match words.admin {
            None => machine::caller()?,
            Some(admin) => (admin.clone(), machine::uid_of(&admin)),
        };
        Ok(Plan {
            host_place: Place::host(session.paths.pki()),
            user_place: session.user_place(&words.name)?,
            cell: words.name,
            host,
            addresses,
            administrator,
            administrator_id: words.admin_id.unwrap_or(uid),
        })
    }

    fn authority_key(&self) -> PathBuf {
        self.host_place.directory().join("ca.key")
    }

    /// Refuses to go on where anything is in the way.
    fn check(&self, session: &Session) -> Result<()> {
        let way_out = "this machine belongs to a cell already; baton cell invite lets more machines in";
        self.host_place.check_free().map_err(|e| e.remedy(way_out))?;
        self.user_place.check_free()?;
        let files = [
            self.authority_key(),
            session.paths.cell(&self.cell),
            MemberFile::path(&session.paths),
            GenesisFile::path(&session.paths),
        ];
        match files.iter().find(|file| file.exists()) {
            None => Ok(()),
            Some(file) => Err(Error::new(Kind::Exists, file.display().to_string())
                .because("it is there already and is never overwritten")
                .remedy("move it away if it is left over from a try that failed")),
        }
    }

    fn make(&self, session: &Session) -> Result<CellFile> {
        let paths = &session.paths;
        let authority = Authority::create(&self.cell, CellId::random(), session.clock.date())?;
        // Everybody may read what is in these, so they are made before what only their owner may read.
        for directory in [paths.cells(), paths.state(Daemon::Flserver).join("..")] {
            std::fs::create_dir_all(&directory).map_err(|e| Error::io(directory.display().to_string(), e))?;
        }
        files::make_directory(&paths.state(Daemon::Flserver))?;
        authority.save(self.host_place.directory())?;
        let host = Subject::Host {
            name: self.host.clone(),
            server: Some(ServerId::random()),
        };
        self.certify(session, &authority, &host)?.save(&self.host_place)?;
        let user = Subject::User(self.administrator.clone());
        self.certify(session, &authority, &user)?.save(&self.user_place)?;

        let cell = CellFile::new(authority.anchor(), self.addresses.clone());
        cell.save(paths)?;
        write_config(session, &self.cell)?;
        let member = MemberFile {
            number: 1,
            name: self.host.clone(),
            addresses: self.addresses.clone(),
            founders: Vec::new(),
        };
        member.save(paths)?;
        let genesis = GenesisFile {
            cell_id: cell.id().0,
            cell: self.cell.clone(),
            administrator: self.administrator.clone(),
            administrator_id: self.administrator_id,
            member: self.host.clone(),
            addresses: self.addresses.clone(),
        };
        genesis.save(paths)?;
        Ok(cell)
    }

    fn certify(&self, session: &Session, authority: &Authority, subject: &Subject) -> Result<Credential> {
        let key = Key::generate()?;
        let request = Request::parse(&key.request()?)?;
        let certificate = authority.issue(&request, subject, session.clock.date(), LIFETIME_SECONDS)?;
        Credential::new(authority.anchor().clone(), certificate, key)
    }

    fn made(&self, cell: &CellFile) -> String {
        let addresses: Vec<_> = self.addresses.iter().map(Address::to_string).collect();
        format!(
            "Made the cell {} ({}).\n\
             Its first member is this machine, {}, found at {}.\n\
             Its first administrator is {}, uid {}; the identity is in {}.\n\
             \n\
             The authority's key is {}.\n\
             Who has it can be anybody in the cell; without it nobody new can come in.\n\
             Keep a copy where no network reaches it.\n\
             \n",
            self.cell,
            cell.id(),
            self.host,
            addresses.join(", "),
            self.administrator,
            self.administrator_id,
            self.user_place.directory().display(),
            self.authority_key().display(),
        )
    }
}

/// Writes `baton.toml` where there is none; one that is there is somebody's.
pub(super) fn write_config(session: &Session, cell: &CellName) -> Result<()> {
    let path = session.paths.config();
    let text = format!(
        "# This machine's configuration; 'baton config show' prints every setting there is.\ncell = \"{cell}\"\n"
    );
    match files::create(&path, text.as_bytes(), files::Readers::All) {
        Err(e) if e.kind == Kind::Exists => {
            let named = Config::load(&session.paths, &|_: &str| None)?.cell;
            if named.as_ref() != Some(cell) {
                session.warn(&format!(
                    "{} is kept as it is; commands mean the cell {cell} only with -cell {cell}, or with 'cell = \"{cell}\"' there",
                    path.display()
                ));
            }
            Ok(())
        }
        result => result,
    }
}

/// Starts the flserver, which answers at the addresses in `own`, and waits until it does.
pub(super) async fn start(session: &Session, own: &CellFile) -> Result<PathBuf> {
    let mut started = Started::start(Daemon::Flserver, &session.paths)?;
    let deadline = Instant::now() + START_WITHIN;
    loop {
        // A new client each time: one that was connected would know the other members, and ask those.
        let client = FldbClient::new(own, Identity::Nobody, &session.clock)?;
        let answer = client.within(LOOK).status().await;
        match answer {
            Ok(status) if status.leader.is_some() && status.applied > 0 => return Ok(started.log),
            Ok(_) | Err(_) if Instant::now() < deadline => {}
            Ok(_) => {
                return Err(Error::new(Kind::Unreachable, "flserver")
                    .because("it runs, and knows of no leader")
                    .remedy(format!("its log says why: {}", started.log.display())));
            }
            Err(e) => return Err(e.remedy(format!("flserver's log says why: {}", started.log.display()))),
        }
        started.check()?;
        tokio::time::sleep(LOOK / 5).await;
    }
}
