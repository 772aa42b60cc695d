//! `baton join` and `baton login --invite`: a key made here, certified by the cell that gave out a token.
//!
//! The key is written before it is shown to anybody: a join whose answer was lost is made again with the same
//! token and the same key, which the cell takes once more; another key it would refuse.

use std::path::Path;

use baton_rpc::FldbClient;
use baton_rpc::config::{CellFile, Daemon, MemberFile};
use baton_rpc::fldb::Joined;
use baton_security::files::{self, Readers};
use baton_security::invitation::InvitationCode;
use baton_security::{Key, Place};
use baton_types::record::InvitationKind;
use baton_types::{Address, CellName, EntryName, Error, Kind, Result};
use serde_json::json;

use super::create;
use crate::grammar::baton::Join;
use crate::machine;
use crate::output::Output;
use crate::session::Session;

/// Joins, whatever the token is for.
pub async fn join(session: &Session, words: Join) -> Result<Output> {
    let code = InvitationCode::parse(&words.token)?;
    match code.kind {
        InvitationKind::User => person(session, &code).await,
        InvitationKind::Host => machine(session, &code).await,
        InvitationKind::Member => member(session, &code, &words).await,
    }
}

/// The same for people, who are told apart from machines before anything happens.
pub async fn login(session: &Session, token: &str) -> Result<Output> {
    let code = InvitationCode::parse(token)?;
    match code.kind {
        InvitationKind::User => person(session, &code).await,
        InvitationKind::Host | InvitationKind::Member => Err(Error::new(Kind::Invalid, "token")
            .because(format!("it is for the machine {}", code.principal))
            .remedy("there, as root: baton join TOKEN")),
    }
}

/// The cell that gave out a token.
pub fn cell_of(token: &str) -> Result<CellName> {
    InvitationCode::parse(token).map(|code| code.cell)
}

async fn person(session: &Session, code: &InvitationCode) -> Result<Output> {
    let place = session.user_place(&code.cell)?;
    let joined = certify(session, code, &place, &[]).await?;
    let cell = CellFile::new(joined.credential.anchor(), joined.members);
    if !session.paths.cell(&code.cell).exists()
        && let Err(error) = cell.save(&session.paths)
    {
        session.warn(&format!(
            "commands on this machine do not find {} yet: {error}; a machine that joins the cell does: baton join TOKEN",
            code.cell
        ));
    }
    let text = format!(
        "You are {} of {}; your identity is in {}.\nTry: baton whoami\n",
        code.principal,
        code.cell,
        place.directory().display()
    );
    Ok(output(code, text))
}

async fn machine(session: &Session, code: &InvitationCode) -> Result<Output> {
    let joined = join_machine(session, code, &[]).await?;
    save_machine(session, code, &joined)?;
    let text = format!(
        "This machine is {} of {}.\nNext, if it shall serve files: fileserver\n",
        code.principal, code.cell
    );
    Ok(output(code, text))
}

async fn member(session: &Session, code: &InvitationCode, words: &Join) -> Result<Output> {
    let path = MemberFile::path(&session.paths);
    if path.exists() {
        return Err(Error::new(Kind::Exists, path.display().to_string())
            .because("this machine is a member already")
            .remedy("move it away if it is left over from another cell"));
    }
    let name = EntryName::parse(code.principal.as_host().unwrap_or_default())?;
    let addresses = match words.address.as_slice() {
        [] => vec![machine::address(&name)],
        given => given.to_vec(),
    };
    let joined = join_machine(session, code, &addresses).await?;
    save_machine(session, code, &joined)?;
    let number = joined.number.ok_or_else(|| {
        Error::new(Kind::Damaged, "token").because("the cell made this machine no member, though the token says so")
    })?;
    let directory = session.paths.state(Daemon::Flserver);
    std::fs::create_dir_all(directory.join("..")).map_err(|e| Error::io(directory.display().to_string(), e))?;
    files::make_directory(&directory)?;
    let member = MemberFile {
        number,
        name,
        addresses: addresses.clone(),
        founders: code.members.iter().map(|contact| contact.name.clone()).collect(),
    };
    member.save(&session.paths)?;
    let mut text = format!(
        "This machine is {} of {}, and member {number} of its location database.\n",
        code.principal, code.cell
    );
    if words.no_start {
        text += "Nothing was started; it takes part once it runs: flserver\n";
    } else {
        let own = CellFile::new(joined.credential.anchor(), addresses);
        let log = create::start(session, &own).await?;
        text += &format!("flserver runs; its log is {}.\nNext: fts status\n", log.display());
    }
    Ok(output(code, text))
}

async fn join_machine(session: &Session, code: &InvitationCode, addresses: &[Address]) -> Result<Joined> {
    // Everybody may read what is beside the machine's keys.
    let cells = session.paths.cells();
    std::fs::create_dir_all(&cells)
        .map_err(|e| Error::io(cells.display().to_string(), e).remedy("a machine joins when root types it"))?;
    certify(session, code, &Place::host(session.paths.pki()), addresses).await
}

fn save_machine(session: &Session, code: &InvitationCode, joined: &Joined) -> Result<()> {
    CellFile::new(joined.credential.anchor(), joined.members.clone()).save(&session.paths)?;
    create::write_config(session, &code.cell)
}

/// Has a key of this place certified, and leaves the credential there.
async fn certify(session: &Session, code: &InvitationCode, place: &Place, addresses: &[Address]) -> Result<Joined> {
    place.check_free()?;
    let key = key_at(place)?;
    let client = FldbClient::invited(code, &session.clock)?;
    let joined = client.join(code, key, addresses).await?;
    joined.credential.save(place)?;
    Ok(joined)
}

/// The key of a join that did not finish, or a new one.
fn key_at(place: &Place) -> Result<Key> {
    let path = place.key();
    if path.exists() {
        return Key::from_pem(&path.display().to_string(), &files::read_secret(&path)?);
    }
    let key = Key::generate()?;
    files::make_directory(path.parent().unwrap_or(Path::new(".")))?;
    files::create(&path, key.to_pem().as_bytes(), Readers::Owner)?;
    Ok(key)
}

fn output(code: &InvitationCode, text: String) -> Output {
    let json = json!({ "cell": code.cell, "kind": code.kind, "principal": code.principal });
    Output::new("baton.join/1", text, json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_that_did_not_finish_goes_on_with_its_key() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::host(directory.path().join("pki"));
        let first = key_at(&place).unwrap().fingerprint();
        assert_eq!(key_at(&place).unwrap().fingerprint(), first);
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(place.key()).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
}
