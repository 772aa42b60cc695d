//! `delfldbentry`, `unlockfldb`: entries of the location database alone, whatever is on disks.

use baton_rpc::FldbClient;
use baton_rpc::fldb::{Freshness, Query};
use baton_types::change::{Change, FilesetRef};
use baton_types::control::Carry;
use baton_types::record::{Fileset, Record, Table, VersionState};
use baton_types::{Error, Kind, Result};
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::grammar::fts::{DelFldbEntry, UnlockFldb};
use crate::output::Output;
use crate::session::Session;

/// Deletes entries; without `-yes` it says which it would delete, and that the files stay.
pub async fn delfldbentry(session: &Session, words: DelFldbEntry) -> Result<Output> {
    let client = session.client()?;
    let carry = words.carry();
    let query = Query {
        fileset: words.fileset.clone(),
        entry: words.server.clone(),
        aggregate: words.aggregate.clone(),
        ..Query::tables(&[Table::Fileset], Freshness::Linearizable)
    };
    let prefix = words.prefix.unwrap_or_default();
    // Without the root of the cell nobody finds anything: who means it names it.
    let is_meant = |fileset: &Fileset| match words.fileset {
        Some(_) => true,
        None => fileset.name.as_str().starts_with(&prefix) && !fileset.name.is_root_cell(),
    };
    let filesets = filesets(session, &client, query).await?.into_iter().filter(is_meant);
    let mut all = Vec::new();
    for fileset in filesets {
        let done = match carry {
            Carry::Nothing => Ok(()),
            Carry::Out => {
                let entry = FilesetRef::Id(fileset.id);
                client.change(Change::ForgetFileset { fileset: entry }).await.map(drop)
            }
        };
        all.push((fileset, done));
    }
    if all.is_empty() {
        return Err(Error::new(Kind::NotFound, "fileset").because("there is no entry like this"));
    }
    if carry == Carry::Nothing {
        session.note("nothing is deleted; -yes deletes these entries, and no file");
    }
    Ok(deleted(carry, &all))
}

fn deleted(carry: Carry, all: &[(Fileset, Result<()>)]) -> Output {
    let line = |(fileset, done): &(Fileset, Result<()>)| {
        let said = format!("FLDB entry for fileset {} ({})", fileset.name, fileset.id);
        match (carry, done) {
            (Carry::Nothing, _) => format!("Would delete {said}\n"),
            (Carry::Out, Ok(())) => format!("Deleted {said}\n"),
            (Carry::Out, Err(error)) => format!("Failed on {said}: {error}\n"),
        }
    };
    let mut text: String = all.iter().map(line).collect();
    if all
        .iter()
        .any(|(fileset, done)| fileset.rw == VersionState::Valid && done.is_ok())
    {
        text += "The files stay on their disks, and nobody is led to them: fts syncfldb of the server that has them brings \
                 an entry back\n";
    }
    let row = |(fileset, done): &(Fileset, Result<()>)| {
        json!({
            "fileset": fileset.name,
            "id": fileset.id.to_string(),
            "number": fileset.id.0,
            "deleted": carry == Carry::Out && done.is_ok(),
            "error": done.as_ref().err().map(ToString::to_string),
        })
    };
    let rows: Vec<Value> = all.iter().map(row).collect();
    let failed = all.iter().filter(|(_, done)| done.is_err()).count();
    Output {
        exit: match (carry, failed) {
            (Carry::Nothing, _) => Exit::Refused as u8,
            (Carry::Out, 0) => Exit::Done as u8,
            (Carry::Out, failed) if failed == all.len() => Exit::Failed as u8,
            (Carry::Out, _) => Exit::Partly as u8,
        },
        ..Output::new("baton.fts.delfldbentry/1", text, json!({ "entries": rows }))
    }
}

/// Unlocks all entries that are meant and locked.
pub async fn unlockfldb(session: &Session, words: UnlockFldb) -> Result<Output> {
    let client = session.client()?;
    let query = Query {
        entry: words.server,
        aggregate: words.aggregate,
        is_locked: true,
        ..Query::tables(&[Table::Fileset], Freshness::Linearizable)
    };
    let mut all = Vec::new();
    for fileset in filesets(session, &client, query).await? {
        let entry = FilesetRef::Id(fileset.id);
        let done = client.change(Change::UnlockFileset { fileset: entry }).await.map(drop);
        all.push((fileset, done));
    }
    Ok(unlocked(&all))
}

fn unlocked(all: &[(Fileset, Result<()>)]) -> Output {
    let line = |(fileset, done): &(Fileset, Result<()>)| match done {
        Ok(()) => format!("Unlocked FLDB entry for fileset {}\n", fileset.name),
        Err(error) => format!("Failed on FLDB entry for fileset {}: {error}\n", fileset.name),
    };
    let (done, failed): (Vec<_>, Vec<_>) = all.iter().partition(|(_, done)| done.is_ok());
    let text = all.iter().map(line).collect::<String>()
        + &format!(
            "Total FLDB entries unlocked: {}; failed: {}\n",
            done.len(),
            failed.len()
        );
    let names = |list: &[&(Fileset, Result<()>)]| -> Vec<String> {
        list.iter().map(|(fileset, _)| fileset.name.to_string()).collect()
    };
    let json = json!({ "unlocked": names(&done), "failed": names(&failed) });
    Output {
        exit: match (done.len(), failed.len()) {
            (_, 0) => Exit::Done as u8,
            (0, _) => Exit::Failed as u8,
            _ => Exit::Partly as u8,
        },
        ..Output::new("baton.fts.unlockfldb/1", text, json)
    }
}

async fn filesets(session: &Session, client: &FldbClient, query: Query) -> Result<Vec<Fileset>> {
    let records = session.list(client, query).await?.records.into_iter();
    Ok(records
        .filter_map(|record| match record {
            Record::Fileset(fileset) => Some(fileset),
            _ => None,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fts::tests::fileset;

    #[test]
    fn entry_that_would_be_deleted_is_shown_and_left() {
        let shown = deleted(Carry::Nothing, &[(fileset(), Ok(()))]);
        assert_eq!(
            shown.text,
            "Would delete FLDB entry for fileset user.ito (0,,1201)\n\
             The files stay on their disks, and nobody is led to them: fts syncfldb of the server that has them brings an \
             entry back\n"
        );
        assert_eq!(shown.exit, Exit::Refused as u8);
        assert_eq!(shown.json["entries"][0]["deleted"], json!(false));
    }

    #[test]
    fn deleted_entries_are_named_as_dfs_named_them() {
        let locked = || Err(Error::new(Kind::Busy, "fileset user.ito").because("its entry is locked by alice"));
        let told = deleted(Carry::Out, &[(fileset(), Ok(())), (fileset(), locked())]);
        assert!(told.text.starts_with(
            "Deleted FLDB entry for fileset user.ito (0,,1201)\n\
             Failed on FLDB entry for fileset user.ito (0,,1201): fileset user.ito: its entry is locked by alice\n"
        ));
        assert_eq!(told.exit, Exit::Partly as u8);
        assert_eq!(deleted(Carry::Out, &[(fileset(), locked())]).exit, Exit::Failed as u8);
        assert_eq!(deleted(Carry::Out, &[(fileset(), Ok(()))]).exit, Exit::Done as u8);
    }

    #[test]
    fn unlocked_entries_are_named_and_counted() {
        let told = unlocked(&[(fileset(), Ok(()))]);
        assert_eq!(
            told.text,
            "Unlocked FLDB entry for fileset user.ito\nTotal FLDB entries unlocked: 1; failed: 0\n"
        );
        assert_eq!(unlocked(&[]).text, "Total FLDB entries unlocked: 0; failed: 0\n");
        assert_eq!(told.exit, Exit::Done as u8);
    }
}
