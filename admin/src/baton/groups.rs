//! `baton cell groups` and `group`: names with members, and the numbers that files know them by.

use std::collections::BTreeMap;

use baton_rpc::FldbClient;
use baton_rpc::fldb::{Freshness, Query};
use baton_types::change::Change;
use baton_types::record::{Record, Table};
use baton_types::{Error, GroupName, Kind, PrincipalName, Result};
use serde_json::{Value, json};

use crate::grammar::baton::Group as Words;
use crate::output::{Output, table};
use crate::session::Session;

/// A group: it has a number, or members, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Group {
    id: Option<u32>,
    members: Vec<PrincipalName>,
}

type Groups = BTreeMap<GroupName, Group>;

/// Lists them.
pub async fn groups(session: &Session) -> Result<Output> {
    let client = session.client()?;
    Ok(listing(&all(session, &client).await?))
}

/// Prints one, after it was given a number or lost it where the words say so.
pub async fn group(session: &Session, words: Words) -> Result<Output> {
    let client = session.client()?;
    if words.id.is_some() || words.no_id {
        let change = Change::EditGroup {
            name: words.name.clone(),
            id: words.id,
        };
        client.change(change).await?;
    }
    let all = all(session, &client).await?;
    match all.get(&words.name) {
        Some(group) => Ok(one(&words.name, group)),
        None if words.no_id => Ok(one(&words.name, &Group::default())),
        None => Err(Error::new(Kind::NotFound, format!("group {}", words.name))
            .because("it has no members and no id")
            .remedy("baton cell groups lists those that have")),
    }
}

async fn all(session: &Session, client: &FldbClient) -> Result<Groups> {
    let query = Query::tables(&[Table::Principal, Table::Group], Freshness::Linearizable);
    Ok(of(session.list(client, query).await?.records))
}

fn of(records: Vec<Record>) -> Groups {
    let mut all = Groups::new();
    for record in records {
        match record {
            Record::Group(group) => all.entry(group.name).or_default().id = Some(group.id),
            Record::Principal(principal) => {
                for group in principal.groups {
                    all.entry(group).or_default().members.push(principal.name.clone());
                }
            }
            _ => {}
        }
    }
    all
}

fn listing(groups: &Groups) -> Output {
    let row = |(name, group): (&GroupName, &Group)| vec![name.to_string(), id(group), group.members.len().to_string()];
    let text = table(&["NAME", "ID", "MEMBERS"], groups.iter().map(row));
    let groups: Vec<Value> = groups.iter().map(|(name, group)| to_json(name, group)).collect();
    Output::new("baton.cell.groups/1", text, json!({ "groups": groups }))
}

fn one(name: &GroupName, group: &Group) -> Output {
    let or_none = |text: String| if text.is_empty() { "none".to_owned() } else { text };
    let members: Vec<&str> = group.members.iter().map(PrincipalName::as_str).collect();
    let text = format!(
        "{name}\n  gid      {}\n  members  {}\n",
        or_none(id(group)),
        or_none(members.join(" "))
    );
    Output::new("baton.cell.group/1", text, to_json(name, group))
}

fn id(group: &Group) -> String {
    group.id.map(|id| id.to_string()).unwrap_or_default()
}

fn to_json(name: &GroupName, group: &Group) -> Value {
    json!({ "name": name, "id": group.id, "members": group.members })
}

#[cfg(test)]
mod tests {
    use baton_types::record::{Group as Numbered, Principal};

    use super::*;

    fn principal(name: &str, groups: &[&str]) -> Record {
        Record::Principal(Principal {
            name: name.parse().unwrap(),
            id: None,
            groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
            primary: None,
            disabled: false,
            may_assert_users: false,
            may_assert_root: false,
        })
    }

    #[test]
    fn groups_are_those_with_a_number_or_with_members() {
        let staff = Numbered {
            name: "staff".parse().unwrap(),
            id: 50,
        };
        let empty = Numbered {
            name: "empty".parse().unwrap(),
            id: 60,
        };
        let all = of(vec![
            principal("alice", &["cell-admin", "staff"]),
            principal("bob", &["staff"]),
            Record::Group(staff),
            Record::Group(empty),
        ]);
        let output = listing(&all);
        assert_eq!(
            output.text,
            "NAME        ID  MEMBERS\n\
             cell-admin      1\n\
             empty       60  0\n\
             staff       50  2\n"
        );
        assert_eq!(output.json["groups"][2]["members"], json!(["alice", "bob"]));
        assert_eq!(output.json["groups"][0]["id"], Value::Null);
        let (name, group) = all.iter().next().unwrap();
        assert_eq!(one(name, group).text, "cell-admin\n  gid      none\n  members  alice\n");
    }
}
