//! `baton whoami`: as whom the cell knows the caller.

use baton_rpc::fldb::Who;
use baton_types::{CellName, GroupName, Result, Timestamp};
use serde_json::json;

use crate::output::{Output, date, printable};
use crate::session::Session;

/// Asks the cell.
pub async fn whoami(session: &Session) -> Result<Output> {
    let client = session.client_or_nobody()?;
    let who = client.who().await?;
    Ok(output(client.cell(), &who))
}

fn output(cell: &CellName, who: &Who) -> Output {
    let groups: Vec<_> = who.groups.iter().map(GroupName::as_str).collect();
    let text = match &who.principal {
        None => format!("nobody in {cell}; to be somebody: baton login --invite CODE\n"),
        Some(principal) => {
            let in_groups = match groups.as_slice() {
                [] => "none".to_owned(),
                groups => groups.join(" "),
            };
            format!(
                "{principal}@{cell}\n  groups  {in_groups}\n  proved  by {}, good until {}\n",
                printable(&who.mech),
                date(who.expires)
            )
        }
    };
    let json = json!({
        "cell": cell,
        "principal": who.principal,
        "mechanism": (!who.mech.is_empty()).then_some(&who.mech),
        "expires": (who.expires != Timestamp::default()).then(|| date(who.expires)),
        "groups": groups,
    });
    Output::new("baton.whoami/1", text, json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_types::PrincipalName;

    #[test]
    fn somebody_and_nobody_are_told_apart() {
        let cell = CellName::parse("example.org").unwrap();
        let alice = Who {
            principal: PrincipalName::parse("alice").ok(),
            mech: "cert".to_owned(),
            expires: Timestamp(1_800_000_000 * 1_000_000_000),
            groups: vec![GroupName::parse("cell-admin").unwrap()],
        };
        assert_eq!(
            output(&cell, &alice).text,
            "alice@example.org\n  groups  cell-admin\n  proved  by cert, good until 2027-01-15T08:00:00Z\n"
        );
        let nobody = Who {
            principal: None,
            mech: String::new(),
            expires: Timestamp(0),
            groups: Vec::new(),
        };
        let output = output(&cell, &nobody);
        assert!(output.text.starts_with("nobody in example.org"));
        assert_eq!(output.json["principal"], serde_json::Value::Null);
        assert_eq!(output.json["expires"], serde_json::Value::Null);
    }
}
