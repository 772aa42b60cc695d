//! `baton cell principals` and `principal`: the registry.

use baton_rpc::FldbClient;
use baton_rpc::fldb::{Freshness, Query};
use baton_types::change::Change;
use baton_types::record::{Principal, Record, Table};
use baton_types::{Error, GroupName, Kind, PrincipalName, Result};
use serde_json::{Value, json};

use crate::grammar::Switch;
use crate::grammar::baton::Principal as Words;
use crate::output::{Output, table};
use crate::session::Session;

/// Lists those who can prove who they are.
pub async fn principals(session: &Session) -> Result<Output> {
    let client = session.client()?;
    Ok(listing(&all(session, &client).await?))
}

async fn all(session: &Session, client: &FldbClient) -> Result<Vec<Principal>> {
    let query = Query::tables(&[Table::Principal], Freshness::Linearizable);
    let principal = |record| match record {
        Record::Principal(principal) => Some(principal),
        _ => None,
    };
    let records = session.list(client, query).await?.records;
    Ok(records.into_iter().filter_map(principal).collect())
}

fn listing(principals: &[Principal]) -> Output {
    let row = |p: &Principal| vec![p.name.to_string(), id(p), groups(&p.groups), flags(p).join(" ")];
    let text = table(&["NAME", "ID", "GROUPS", "FLAGS"], principals.iter().map(row));
    let principals: Vec<Value> = principals.iter().map(to_json).collect();
    Output::new("baton.cell.principals/1", text, json!({ "principals": principals }))
}

/// Prints one, after it was edited where the words say so.
pub async fn principal(session: &Session, words: Words) -> Result<Output> {
    let client = session.client()?;
    let edited = match edit(&words) {
        Some(change) => match client.change(change).await?.record {
            Some(Record::Principal(principal)) => Some(principal),
            _ => None,
        },
        None => find(&all(session, &client).await?, &words.name),
    };
    let principal = edited.ok_or_else(|| {
        Error::new(Kind::NotFound, format!("principal {}", words.name))
            .because("the registry does not know it")
            .remedy("baton cell principals lists those it knows")
    })?;
    Ok(one(&principal))
}

fn find(principals: &[Principal], name: &PrincipalName) -> Option<Principal> {
    principals.iter().find(|principal| principal.name == *name).cloned()
}

fn edit(words: &Words) -> Option<Change> {
    let options = [words.disabled, words.may_assert_users, words.may_assert_root];
    if words.groups.is_none() && words.primary.is_none() && options.iter().all(Option::is_none) {
        return None;
    }
    Some(Change::EditPrincipal {
        name: words.name.clone(),
        create: None,
        groups: words.groups.clone(),
        primary: words.primary.clone(),
        disabled: words.disabled.map(Switch::is_on),
        may_assert_users: words.may_assert_users.map(Switch::is_on),
        may_assert_root: words.may_assert_root.map(Switch::is_on),
    })
}

fn one(principal: &Principal) -> Output {
    let flags = flags(principal);
    let or_none = |text: String| if text.is_empty() { "none".to_owned() } else { text };
    let text = format!(
        "{}\n  uid      {}\n  groups   {}\n  primary  {}\n  flags    {}\n",
        principal.name,
        or_none(id(principal)),
        or_none(groups(&principal.groups)),
        or_none(principal.primary.as_ref().map(ToString::to_string).unwrap_or_default()),
        or_none(flags.join(" ")),
    );
    Output::new("baton.cell.principal/1", text, to_json(principal))
}

fn id(principal: &Principal) -> String {
    principal.id.map(|id| id.to_string()).unwrap_or_default()
}

fn groups(groups: &[GroupName]) -> String {
    groups.iter().map(GroupName::as_str).collect::<Vec<_>>().join(" ")
}

fn flags(principal: &Principal) -> Vec<&'static str> {
    let flags = [
        (principal.disabled, "disabled"),
        (principal.may_assert_users, "may-assert-users"),
        (principal.may_assert_root, "may-assert-root"),
    ];
    flags
        .into_iter()
        .filter_map(|(is_set, name)| is_set.then_some(name))
        .collect()
}

fn to_json(principal: &Principal) -> Value {
    json!({
        "name": principal.name,
        "id": principal.id,
        "groups": principal.groups,
        "primary": principal.primary,
        "is_disabled": principal.disabled,
        "may_assert_users": principal.may_assert_users,
        "may_assert_root": principal.may_assert_root,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(name: &str, id: Option<u32>, groups: &[&str]) -> Principal {
        Principal {
            name: PrincipalName::parse(name).unwrap(),
            id,
            groups: groups.iter().map(|group| GroupName::parse(group).unwrap()).collect(),
            primary: None,
            disabled: false,
            may_assert_users: false,
            may_assert_root: false,
        }
    }

    #[test]
    fn the_registry_is_a_table_and_an_array() {
        let alice = principal("alice", Some(1_000), &["cell-admin", "staff"]);
        let host = Principal {
            disabled: true,
            may_assert_users: true,
            ..principal("hosts/fs1", None, &[])
        };
        let output = listing(&[alice.clone(), host.clone()]);
        assert_eq!(
            output.text,
            "NAME       ID    GROUPS            FLAGS\n\
             alice      1000  cell-admin staff\n\
             hosts/fs1                          disabled may-assert-users\n"
        );
        assert_eq!(output.json["principals"][0]["groups"], json!(["cell-admin", "staff"]));
        assert_eq!(output.json["principals"][1]["id"], Value::Null);
        assert_eq!(
            one(&host).text,
            "hosts/fs1\n  uid      none\n  groups   none\n  primary  none\n  flags    disabled may-assert-users\n"
        );
    }

    #[test]
    fn nothing_is_edited_unless_an_option_says_so() {
        let words = Words {
            name: PrincipalName::parse("alice").unwrap(),
            groups: None,
            primary: None,
            disabled: None,
            may_assert_users: None,
            may_assert_root: None,
        };
        assert_eq!(edit(&words), None);
        let change = edit(&Words {
            groups: Some(Vec::new()),
            ..words
        })
        .unwrap();
        assert!(
            matches!(change, Change::EditPrincipal { groups: Some(groups), disabled: None, .. } if groups.is_empty())
        );
    }
}
