//! `baton login`, `baton logout`: whose files this machine's batond asks for, when the caller's programs ask.

use baton_proto::v1;
use baton_proto::v1::client_reply::What as Told;
use baton_proto::v1::client_request::What as Question;
use baton_security::Place;
use baton_security::files;
use baton_types::{Kind, Result};
use serde_json::json;

use super::join;
use crate::batond::{Batond, unexpected};
use crate::output::{Output, printable};
use crate::session::Session;

/// Gets a certificate if there is an invitation; then gives it to batond.
pub async fn login(session: &Session, invitation: Option<&str>) -> Result<Output> {
    let Some(token) = invitation else {
        let place = session.user_place(&session.cell()?.cell)?;
        return register(session, &place).map_err(|e| match e.kind {
            Kind::NotFound => e.remedy("get one: baton login --invite CODE"),
            _ => e,
        });
    };
    let joined = join::login(session, token).await?;
    let place = session.user_place(&join::cell_of(token)?)?;
    match register(session, &place) {
        Ok(_) => {}
        Err(e) if e.kind == Kind::Unreachable => {} // this machine mounts nothing
        Err(error) => session.warn(&format!("this machine does not use it for your files yet: {error}")),
    }
    Ok(joined)
}

/// The caller is again whoever this machine says.
pub fn logout(session: &Session) -> Result<Output> {
    let told = Batond::connect(&session.paths)?.ask(Question::Logout(v1::ClientLogout {}))?;
    shown("baton.logout/1", told)
}

fn register(session: &Session, place: &Place) -> Result<Output> {
    let mut batond = Batond::connect(&session.paths)?;
    let read = |path: std::path::PathBuf| files::read(&path).map(|bytes| bytes.to_vec());
    let login = v1::ClientLogin {
        authority: read(place.authority())?,
        certificate: read(place.certificate())?,
        key: files::read_secret(&place.key())?.to_vec(),
    };
    shown("baton.login/1", batond.ask(Question::Login(login))?)
}

fn shown(schema: &'static str, told: Option<Told>) -> Result<Output> {
    let Some(Told::Identity(identity)) = told else {
        return Err(unexpected());
    };
    let text = |bytes: &[u8]| printable(&String::from_utf8_lossy(bytes));
    let (principal, mech) = (text(&identity.principal), text(&identity.mech));
    let said = match (principal.as_str(), mech.as_str()) {
        ("", _) => "Your programs here are nobody to the cell.\n".to_owned(),
        (principal, "cert") => format!("Your programs here are {principal}, by your certificate.\n"),
        (principal, _) => {
            format!("Your programs here are {principal}, by this machine's word, if the cell believes it.\n")
        }
    };
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Ok(Output::new(
        schema,
        said,
        json!({"principal": some(&principal), "mech": some(&mech)}),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_types::Error;

    fn said(principal: &str, mech: &str) -> String {
        let identity = v1::ClientIdentity {
            principal: principal.as_bytes().to_vec(),
            mech: mech.as_bytes().to_vec(),
        };
        shown("baton.login/1", Some(Told::Identity(identity))).unwrap().text
    }

    #[test]
    fn whose_word_it_is_is_said() {
        assert_eq!(
            said("alice@example.org", "cert"),
            "Your programs here are alice@example.org, by your certificate.\n"
        );
        assert!(said("ito@example.org", "host-trust").contains("by this machine's word"));
        assert_eq!(said("", ""), "Your programs here are nobody to the cell.\n");
    }

    #[test]
    fn another_answer_is_no_login() {
        let error: Error = shown("baton.login/1", None).unwrap_err();
        assert_eq!(error.kind, Kind::Version);
    }
}
