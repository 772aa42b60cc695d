//! `baton cell members` and `remove`.

use baton_rpc::fldb::{Freshness, Query};
use baton_types::change::Change;
use baton_types::record::{Member, Record, Table};
use baton_types::{Address, EntryName, Result};
use serde_json::{Value, json};

use crate::output::{Output, table};
use crate::session::Session;

/// Lists the members of the location database.
pub async fn members(session: &Session) -> Result<Output> {
    let client = session.client()?;
    let query = Query::tables(&[Table::Member], Freshness::Linearizable);
    let records = session.list(&client, query).await?.records;
    let member = |record| match record {
        Record::Member(member) => Some(member),
        _ => None,
    };
    Ok(listing(&records.into_iter().filter_map(member).collect::<Vec<_>>()))
}

fn listing(members: &[Member]) -> Output {
    let row = |member: &Member| {
        let key = if member.issuer { "yes" } else { "" };
        vec![
            member.number.to_string(),
            member.name.to_string(),
            addresses(member),
            key.to_owned(),
        ]
    };
    let text = table(
        &["NUMBER", "NAME", "ADDRESSES", "AUTHORITY'S KEY"],
        members.iter().map(row),
    );
    let members: Vec<Value> = members.iter().map(to_json).collect();
    Output::new("baton.cell.members/1", text, json!({ "members": members }))
}

fn to_json(member: &Member) -> Value {
    json!({
        "number": member.number,
        "name": member.name,
        "addresses": member.addresses,
        "is_issuer": member.issuer,
    })
}

fn addresses(member: &Member) -> String {
    member
        .addresses
        .iter()
        .map(Address::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Takes one out.
pub async fn remove(session: &Session, name: EntryName) -> Result<Output> {
    let done = session
        .client()?
        .change(Change::RemoveMember { name: name.clone() })
        .await?;
    let text = format!(
        "Removed member {name}; if its machine still runs, stop its flserver there.\n\
         To put another in its place: baton cell invite {name} --member\n"
    );
    Ok(Output::new(
        "baton.cell.remove/1",
        text,
        json!({ "member": name, "index": done.index }),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_a_table_and_an_array() {
        let member = |number: u64, issuer| Member {
            number,
            name: EntryName::parse(&format!("fl{number}")).unwrap(),
            addresses: vec![Address::parse(&format!("127.0.0.1{number}")).unwrap()],
            issuer,
        };
        let output = listing(&[member(1, true), member(2, false)]);
        assert_eq!(
            output.text,
            "NUMBER  NAME  ADDRESSES   AUTHORITY'S KEY\n\
             1       fl1   127.0.0.11  yes\n\
             2       fl2   127.0.0.12\n"
        );
        assert_eq!(
            output.json["members"][1],
            json!({"number": 2, "name": "fl2", "addresses": ["127.0.0.12"], "is_issuer": false})
        );
    }
}
