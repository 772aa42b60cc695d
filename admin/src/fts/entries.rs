//! Server entries: `crserverentry`, `edserverentry`, `delserverentry`, `lsserverentry`.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use baton_rpc::FldbClient;
use baton_rpc::fldb::{Freshness, Query};
use baton_types::change::Change;
use baton_types::record::{Record, ServerEntry, Table};
use baton_types::{Address, Error, Kind, Result};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::grammar::fts::{CrServerEntry, EdServerEntry, LsServerEntry};
use crate::output::{Output, count};
use crate::servers::Servers;
use crate::session::Session;

/// How long the names of addresses are looked up: they are only told besides.
const NAMES_WITHIN: Duration = Duration::from_secs(1);

/// Makes one. DFS said nothing here, nor after an edit or a deletion; `-verbose` does.
pub async fn create(session: &Session, words: CrServerEntry) -> Result<Output> {
    let change = Change::CreateServerEntry {
        address: words.server,
        principal: words.principal,
        quota: words.quota,
        owner: words.owner,
    };
    let entry = changed(&session.client()?, change).await?;
    Ok(Output::new(
        "baton.fts.crserverentry/1",
        after(session, &entry).await,
        to_json(&entry),
    ))
}

/// Edits one.
pub async fn edit(session: &Session, words: EdServerEntry) -> Result<Output> {
    let (client, address) = (session.client()?, words.server.clone());
    let entry = changed(&client, edits(words)).await?;
    if let Some(line) = in_one_step(&Servers::ask(&client).await.unwrap_or_default(), &address) {
        session.note(&line);
    }
    Ok(Output::new(
        "baton.fts.edserverentry/1",
        after(session, &entry).await,
        to_json(&entry),
    ))
}

/// What does the whole of a swap, for who edits the entry of a server that owns something: entries move no aggregate.
fn in_one_step(servers: &Servers, address: &Address) -> Option<String> {
    let server = servers.find(address).ok()?;
    let owned = servers.owned_by(server);
    (owned > 0).then(|| {
        format!(
            "warning: {} owns {}; 'fts failover -server {}' does this in one step",
            server.name,
            count(owned, "aggregate"),
            server.name
        )
    })
}

fn edits(words: EdServerEntry) -> Change {
    Change::EditServerEntry {
        addresses: words.addresses(),
        owner: words.owner(),
        address: words.server,
        principal: words.principal,
        quota: words.quota,
    }
}

/// How an entry is after a change, for those who want to hear more.
async fn after(session: &Session, entry: &ServerEntry) -> String {
    match session.standard.verbose {
        true => describe(entry, &resolve(std::slice::from_ref(entry)).await),
        false => String::new(),
    }
}

async fn changed(client: &FldbClient, change: Change) -> Result<ServerEntry> {
    match client.change(change).await?.record {
        Some(Record::Entry(entry)) => Ok(entry),
        _ => Err(Error::new(Kind::Damaged, "server entry").because("the location database answered something else")),
    }
}

/// Deletes one.
pub async fn delete(session: &Session, address: Address) -> Result<Output> {
    let change = Change::DeleteServerEntry {
        address: address.clone(),
    };
    session.client()?.change(change).await?;
    let text = match session.standard.verbose {
        true => format!("Deleted server entry {address}\n"),
        false => String::new(),
    };
    Ok(Output::new(
        "baton.fts.delserverentry/1",
        text,
        json!({ "address": address }),
    ))
}

/// Lists one or all.
pub async fn list(session: &Session, words: LsServerEntry) -> Result<Output> {
    let client = session.client()?;
    let query = Query::tables(&[Table::Entry], Freshness::Linearizable);
    let listing = session.list(&client, query).await?;
    let entry = |record| match record {
        Record::Entry(entry) => Some(entry),
        _ => None,
    };
    let all: Vec<ServerEntry> = listing.records.into_iter().filter_map(entry).collect();
    let (shown, is_all) = match &words.server {
        Some(address) => (vec![find(&all, address)?], false),
        None => (all, true),
    };
    let resolved = resolve(&shown).await;
    let mut text: Vec<String> = shown.iter().map(|entry| describe(entry, &resolved)).collect();
    if is_all {
        text.push(format!("Total server entries: {}\n", shown.len()));
    }
    let entries: Vec<Value> = shown.iter().map(to_json).collect();
    let json = json!({ "cell": client.cell(), "index": listing.index, "entries": entries });
    Ok(Output::new("baton.fts.lsserverentry/1", text.join("\n"), json))
}

/// By address, as everywhere; by the name it was made under where that leads to none.
fn find(entries: &[ServerEntry], address: &Address) -> Result<ServerEntry> {
    let by_address = entries.iter().find(|entry| entry.addresses.contains(address));
    let by_name = || {
        entries
            .iter()
            .find(|entry| entry.name.as_str().eq_ignore_ascii_case(address.host()))
    };
    by_address.or_else(by_name).cloned().ok_or_else(|| {
        Error::new(Kind::NotFound, format!("server entry {address}"))
            .because("no entry has this address")
            .remedy("fts lsserverentry -all lists them")
    })
}

/// An entry in DFS's layout: each address by its name, and by its bytes where the name leads to any.
fn describe(entry: &ServerEntry, resolved: &HashMap<Address, SocketAddr>) -> String {
    let mut text = format!("Description for site '{}':\n", entry.name);
    for address in &entry.addresses {
        let bytes = resolved
            .get(address)
            .map_or_else(|| "unknown".to_owned(), |found| socket_bytes(*found));
        text += &format!("{address} ({bytes})\n");
    }
    let owner = entry.owner.as_ref().map_or("<nil>", |group| group.as_str());
    text + &format!(
        "FLDB quota: {};  uses: {};  principal=`{}';  owner={owner}\n",
        entry.quota, entry.uses, entry.principal
    )
}

/// `2:0.0.10.0.0.11`: family, then port and address byte by byte.
fn socket_bytes(address: SocketAddr) -> String {
    let (family, bytes) = match address.ip() {
        IpAddr::V4(ip) => (2, ip.octets().to_vec()),
        IpAddr::V6(ip) => (10, ip.octets().to_vec()),
    };
    let bytes = address.port().to_be_bytes().into_iter().chain(bytes);
    let bytes: Vec<String> = bytes.map(|byte| byte.to_string()).collect();
    format!("{family}:{}", bytes.join("."))
}

/// What the addresses lead to, as far as that is known in time.
async fn resolve(entries: &[ServerEntry]) -> HashMap<Address, SocketAddr> {
    let mut asked = JoinSet::new();
    for address in entries.iter().flat_map(|entry| entry.addresses.clone()) {
        asked.spawn(async move {
            let found = tokio::net::lookup_host(address.with_port(0)).await;
            found.ok()?.next().map(|found| (address, found))
        });
    }
    let mut resolved = HashMap::new();
    let all = async {
        while let Some(found) = asked.join_next().await {
            resolved.extend(found.ok().flatten());
        }
    };
    // Those that were found by then will do.
    let _ = timeout(NAMES_WITHIN, all).await;
    resolved
}

fn to_json(entry: &ServerEntry) -> Value {
    json!({
        "number": entry.number,
        "name": entry.name,
        "addresses": entry.addresses,
        "principal": entry.principal,
        "owner": entry.owner,
        "quota": entry.quota,
        "uses": entry.uses,
    })
}

#[cfg(test)]
mod tests {
    use crate::fts::tests::records;

    use super::*;
    use baton_types::{EntryName, GroupName, PrincipalName};

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn edit_of_an_owners_entry_names_what_moves_all_in_one_step() {
        let mut servers = Servers::of(records());
        let at = |text| address(text);
        assert_eq!(
            in_one_step(&servers, &at("mlserva")).unwrap(),
            "warning: mlserva owns 1 aggregate; 'fts failover -server mlserva' does this in one step"
        );
        assert_eq!(in_one_step(&servers, &at("dummy")), None, "no server is there");
        servers.aggregates[0].owner = None;
        assert_eq!(in_one_step(&servers, &at("mlserva")), None);
    }

    fn entry() -> ServerEntry {
        ServerEntry {
            number: 3,
            name: EntryName::parse("mlserva").unwrap(),
            addresses: vec![
                address("10.0.0.11"),
                address("mlserva.example"),
                address("[2001:db8::7]:7402"),
            ],
            principal: PrincipalName::parse("hosts/mlserva").unwrap(),
            owner: None,
            quota: 0,
            uses: 812,
        }
    }

    #[tokio::test]
    async fn an_entry_has_the_layout_of_dfs() {
        let mut entry = entry();
        entry.addresses.remove(1);
        let resolved = resolve(&[entry.clone()]).await;
        entry.addresses.push(address("nowhere.invalid"));
        assert_eq!(
            describe(&entry, &resolved),
            "Description for site 'mlserva':\n\
             10.0.0.11 (2:0.0.10.0.0.11)\n\
             [2001:db8::7]:7402 (10:28.234.32.1.13.184.0.0.0.0.0.0.0.0.0.0.0.7)\n\
             nowhere.invalid (unknown)\n\
             FLDB quota: 0;  uses: 812;  principal=`hosts/mlserva';  owner=<nil>\n"
        );
    }

    #[test]
    fn an_entry_is_found_by_address_first() {
        let other = ServerEntry {
            number: 4,
            name: EntryName::parse("other").unwrap(),
            addresses: vec![address("mlserva")],
            owner: GroupName::parse("staff").ok(),
            ..entry()
        };
        let all = [entry(), other];
        assert_eq!(
            find(&all, &address("mlserva")).unwrap().number,
            4,
            "an address, if any entry has it"
        );
        assert_eq!(find(&all[..1], &address("mlserva")).unwrap().number, 3);
        let error = find(&all, &address("nowhere")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "server entry nowhere: no entry has this address; fts lsserverentry -all lists them"
        );
    }

    #[test]
    fn an_entry_in_json_has_its_fields() {
        assert_eq!(
            to_json(&entry()),
            json!({
                "number": 3, "name": "mlserva", "principal": "hosts/mlserva", "owner": null, "quota": 0, "uses": 812,
                "addresses": ["10.0.0.11", "mlserva.example", "[2001:db8::7]:7402"],
            })
        );
    }
}
