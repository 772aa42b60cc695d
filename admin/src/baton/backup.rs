//! `baton cell backup`, `baton cell restore`: the location database in one file, and a cell that lost all its members.

use std::path::Path;
use std::time::Duration;

use baton_rpc::config::{CellFile, Daemon, MemberFile, RESTORE};
use baton_rpc::{FldbClient, Identity};
use baton_security::files::{self, Readers};
use baton_security::{HostTls, Place};
use baton_types::{EntryName, Error, Kind, Result};
use serde_json::json;

use super::create;
use crate::grammar::baton::RestoreCell;
use crate::machine;
use crate::output::Output;
use crate::session::Session;

/// How long all of it may take: 100,000 filesets are 15 MB.
const BACKUP_WITHIN: Duration = Duration::from_secs(120);
/// How long somebody is looked for who answers for the cell still.
const ALIVE_WITHIN: Duration = Duration::from_secs(3);

/// Writes all that the location database holds into a new file.
pub async fn backup(session: &Session, file: &Path) -> Result<Output> {
    let backup = session.client()?.within(BACKUP_WITHIN).backup().await?;
    files::create(file, &backup.bytes, Readers::Owner)?;
    let text = format!(
        "The location database of {} as of index {} is in {} ({} bytes).\n\
         Keep it where none of its members is, and with it a copy of the authority's key.\n",
        session.cell()?.cell,
        backup.index,
        file.display(),
        backup.bytes.len()
    );
    let json = json!({ "file": file, "index": backup.index, "bytes": backup.bytes.len() });
    Ok(Output::new("baton.cell.backup/1", text, json))
}

/// Makes this machine the first member again of a cell that lost all of them.
pub async fn restore(session: &Session, words: RestoreCell) -> Result<Output> {
    // As large as the cell is: none of the small files that a machine has.
    let bytes = std::fs::read(&words.file).map_err(|e| Error::io(words.file.display().to_string(), e))?;
    let cell = session.cell()?;
    let name = own_name(session)?;
    let path = MemberFile::path(&session.paths);
    let directory = session.paths.state(Daemon::Flserver);
    for there in [&path, &directory.join("log.redb")] {
        if there.exists() {
            return Err(Error::new(Kind::Exists, there.display().to_string())
                .because("this machine is a member, and has a state of its own")
                .remedy("start it: flserver. If all members are lost, move its directory away first"));
        }
    }
    nobody_answers(session, &cell).await?;
    let addresses = match words.address.as_slice() {
        [] => vec![machine::address(&name)],
        given => given.to_vec(),
    };
    std::fs::create_dir_all(directory.join("..")).map_err(|e| Error::io(directory.display().to_string(), e))?;
    files::make_directory(&directory)?;
    files::create(&directory.join(RESTORE), &bytes, Readers::Owner)?;
    let member = MemberFile {
        number: 0, // the file says which is free
        name: name.clone(),
        addresses: addresses.clone(),
        founders: Vec::new(),
    };
    member.save(&session.paths)?;
    let mut text = format!("This machine, {name}, is the first member of {} again.\n", cell.cell);
    if words.no_start {
        text += "Nothing was started; it begins with the file once it runs: flserver\n";
    } else {
        let anchor = HostTls::load(Place::host(session.paths.pki()), session.clock.clone())?
            .with_credential(|credential| credential.anchor().clone());
        let log = create::start(session, &CellFile::new(&anchor, addresses.clone())).await?;
        text += &format!("flserver runs; its log is {}.\n", log.display());
    }
    text += "\nNext: fts status; of each file server: fts syncfldb SERVER, which makes the entries of what is newer than the \
             file.\nThe other members join anew: baton cell invite HOST --member\n";
    let json = json!({ "member": name, "addresses": addresses, "is_started": !words.no_start });
    Ok(Output::new("baton.cell.restore/1", text, json))
}

/// The machine's name in its own certificate.
fn own_name(session: &Session) -> Result<EntryName> {
    let host = HostTls::load(Place::host(session.paths.pki()), session.clock.clone()).map_err(|error| {
        error.remedy("a member is restored on a machine of the cell, with its certificate in etc/baton/pki")
    })?;
    let name = host.with_credential(|credential| credential.names().host().map(str::to_owned));
    EntryName::parse(&name.unwrap_or_default())
}

/// A second database beside one that lives would give out everything twice.
async fn nobody_answers(session: &Session, cell: &CellFile) -> Result<()> {
    let client = FldbClient::new(cell, Identity::Nobody, &session.clock)?;
    match client.within(ALIVE_WITHIN).status().await {
        Err(_) => Ok(()),
        Ok(status) => Err(Error::new(Kind::Busy, format!("cell {}", cell.cell))
            .because(format!("{} answers: the location database is not lost", status.member))
            .remedy("fts status shows what is wrong with it; a lost member is replaced: baton cell remove, baton cell invite")),
    }
}
