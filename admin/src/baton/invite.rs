//! `baton cell invite`: a token, good once.

use baton_rpc::FldbClient;
use baton_security::invitation::{Contact, InvitationCode, Secret};
use baton_types::change::Change;
use baton_types::record::{InvitationKind, Record};
use baton_types::{Error, Kind, PrincipalName, Result};
use serde_json::json;

use crate::grammar::baton::Invite;
use crate::output::{Output, date};
use crate::session::Session;

/// Makes a token and prints it; only its hash stays in the cell.
pub async fn invite(session: &Session, words: Invite) -> Result<Output> {
    let client = session.client()?;
    let (kind, principal) = whom(&words)?;
    let secret = Secret::random()?;
    let change = Change::Invite {
        secret_hash: secret.hash(),
        kind,
        principal: principal.clone(),
        id: words.id,
        groups: words.group,
    };
    let Some(Record::Invitation(invitation)) = client.change(change).await?.record else {
        return Err(Error::new(Kind::Damaged, "invitation").because("the location database answered something else"));
    };
    let token = code(session, &client, kind, principal.clone(), secret)?.encode()?;
    let until = date(invitation.until);
    let (whose, command) = match kind {
        InvitationKind::Host => (principal.as_str(), "baton join TOKEN"),
        InvitationKind::Member => (principal.as_str(), "baton join TOKEN --address ADDRESS"),
        InvitationKind::User => (principal.as_str(), "baton login --invite TOKEN"),
    };
    session.note(&format!("good once, until {until}, for {whose}: {command}"));
    let json = json!({
        "token": token.as_str(),
        "kind": kind,
        "principal": principal,
        "until": until,
    });
    Ok(Output::new(
        "baton.cell.invite/1",
        format!("{}\n", token.as_str()),
        json,
    ))
}

fn whom(words: &Invite) -> Result<(InvitationKind, PrincipalName)> {
    match (&words.user, &words.host) {
        (Some(user), _) => Ok((InvitationKind::User, user.clone())),
        (None, Some(host)) if words.member => Ok((InvitationKind::Member, PrincipalName::host(host))),
        (None, Some(host)) => Ok((InvitationKind::Host, PrincipalName::host(host))),
        (None, None) => Err(Error::new(Kind::Invalid, "invitation").because("it is for nobody")),
    }
}

fn code(
    session: &Session,
    client: &FldbClient,
    kind: InvitationKind,
    principal: PrincipalName,
    secret: Secret,
) -> Result<InvitationCode> {
    let anchor = session.cell()?.anchor()?;
    let members = client.members().into_iter().map(|member| Contact {
        name: member.name,
        addresses: member.addresses,
    });
    Ok(InvitationCode {
        kind,
        principal,
        cell: anchor.cell().clone(),
        id: anchor.id(),
        pin: anchor.fingerprint(),
        members: members.collect(),
        secret,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_types::EntryName;

    fn words(host: Option<&str>, user: Option<&str>, member: bool) -> Invite {
        Invite {
            host: host.map(|host| EntryName::parse(host).unwrap()),
            user: user.map(|user| PrincipalName::parse(user).unwrap()),
            member,
            group: Vec::new(),
            id: None,
        }
    }

    #[test]
    fn machines_members_and_people_are_told_apart() {
        let whom = |host, user, member| whom(&words(host, user, member)).unwrap();
        let (kind, principal) = whom(Some("fs2"), None, false);
        assert_eq!((kind, principal.as_str()), (InvitationKind::Host, "hosts/fs2"));
        assert_eq!(whom(Some("fs2"), None, true).0, InvitationKind::Member);
        assert_eq!(whom(None, Some("alice"), false).0, InvitationKind::User);
    }
}
