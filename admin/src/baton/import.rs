//! `baton cell import`: people and groups with their numbers, out of the files of a machine.
//!
//! | file | is |
//! |---|---|
//! | `import/files.rs` | the lines of the files |
//! | `import/plan.rs` | what they say against what the registry says |
//!
//! It only adds. What is there already is left alone, so that a command that was cut short is given again.

mod files;
mod plan;
#[cfg(test)]
mod tests;

use baton_rpc::FldbClient;
use baton_rpc::fldb::{Freshness, Query};
use baton_types::change::{Change, Import, ImportedPerson};
use baton_types::control::Carry;
use baton_types::limits::{IMPORT_BYTES_MAX, IMPORT_ROWS_MAX};
use baton_types::record::{Group, Record, Table};
use baton_types::{GroupName, Result};
use serde_json::{Value, json};

use self::files::{groups, people, read};
use self::plan::{Bounds, Conflict, Given, Known, Plan, Skipped, plan};
use crate::exit::Exit;
use crate::grammar::baton::Import as Words;
use crate::output::{Output, count, printable};
use crate::session::Session;

/// Carries it out.
pub async fn import(session: &Session, words: Words) -> Result<Output> {
    let given = Given {
        passwd: words
            .passwd
            .as_deref()
            .map(read)
            .transpose()?
            .map(|bytes| people(&bytes)),
        group: words
            .group
            .as_deref()
            .map(read)
            .transpose()?
            .map(|bytes| groups(&bytes)),
    };
    let bounds = Bounds {
        min_uid: words.min_uid,
        max_uid: words.max_uid,
        min_gid: words.min_gid,
    };
    let client = session.client()?;
    let known = known(session, &client).await?;
    let plan = plan(&given, bounds, &known);
    let carry = match words.noaction {
        true => Carry::Nothing,
        false => Carry::Out,
    };
    if carry == Carry::Out {
        carry_out(session, &client, batches(&plan, &known)).await?;
    }
    Ok(output(&plan, &known, carry))
}

async fn known(session: &Session, client: &FldbClient) -> Result<Known> {
    let query = Query::tables(&[Table::Principal, Table::Group], Freshness::Linearizable);
    let (mut people, mut groups) = (Vec::new(), Vec::new());
    for record in session.list(client, query).await?.records {
        match record {
            Record::Principal(principal) => people.push(principal),
            Record::Group(group) => groups.push(group),
            _ => {}
        }
    }
    Ok(Known::of(people, groups))
}

/// As many at a time as one change may hold; groups before those who are in them.
fn batches(plan: &Plan, known: &Known) -> Vec<Import> {
    let groups = plan.groups.chunks(IMPORT_ROWS_MAX).map(|groups| Import {
        groups: groups.to_vec(),
        people: Vec::new(),
    });
    let mut all: Vec<Import> = groups.collect();
    let (mut batch, mut bytes) = (Import::default(), 0);
    for person in &plan.people {
        let before = known.person(&person.name).map(|known| known.groups.as_slice());
        let own = person.bytes(before.unwrap_or_default().iter().chain(&person.groups));
        if batch.rows() == IMPORT_ROWS_MAX || bytes + own > IMPORT_BYTES_MAX {
            all.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        bytes += own;
        batch.people.push(person.clone());
    }
    all.push(batch);
    all.retain(|batch| batch.rows() > 0);
    all
}

async fn carry_out(session: &Session, client: &FldbClient, batches: Vec<Import>) -> Result<()> {
    let all: usize = batches.iter().map(Import::rows).sum();
    let mut done = 0;
    for batch in batches {
        let rows = batch.rows();
        if let Err(error) = client.change(Change::Import(batch)).await {
            if done > 0 {
                session.warn(&format!(
                    "{done} of {all} were done; given again, the command goes on from there"
                ));
            }
            return Err(error);
        }
        done += rows;
    }
    Ok(())
}

fn output(plan: &Plan, known: &Known, carry: Carry) -> Output {
    let would = |done: &str, would: &str| match carry {
        Carry::Out => done.to_owned(),
        Carry::Nothing => format!("Would {would}"),
    };
    let mut text = String::new();
    for group in &plan.groups {
        text += &format!("{} group {}: gid {}\n", would("Made", "make"), group.name, group.id);
    }
    for person in &plan.people {
        let groups = of_groups(person);
        text += &match known.person(&person.name) {
            Some(_) => format!("{} {} to {groups}\n", would("Added", "add"), person.name),
            None => {
                let uid = person.id.map(|id| format!(": uid {id}")).unwrap_or_default();
                let groups = if groups.is_empty() {
                    groups
                } else {
                    format!(", {groups}")
                };
                format!("{} principal {}{uid}{groups}\n", would("Made", "make"), person.name)
            }
        };
    }
    for Conflict { file, line, what } in &plan.conflicts {
        text += &match line {
            0 => format!("Conflict: {file}: {}\n", printable(what)),
            _ => format!("Conflict: {file} line {line}: {}\n", printable(what)),
        };
    }
    for note in &plan.notes {
        text += &format!("Note: {note}\n");
    }
    text += &summary(plan, known, carry);
    Output {
        exit: match plan.conflicts.is_empty() {
            true => Exit::Done as u8,
            false => Exit::Partly as u8,
        },
        ..Output::new("baton.cell.import/1", text, to_json(plan, known, carry))
    }
}

/// `groups dev, staff (primary)`.
fn of_groups(person: &ImportedPerson) -> String {
    let is_primary = |group: &GroupName| person.primary.as_ref() == Some(group);
    let mut groups: Vec<String> = person
        .groups
        .iter()
        .filter(|g| !is_primary(g))
        .map(ToString::to_string)
        .collect();
    groups.extend(person.primary.iter().map(|group| format!("{group} (primary)")));
    match groups.as_slice() {
        [] => String::new(),
        [one] => format!("group {one}"),
        many => format!("groups {}", many.join(", ")),
    }
}

fn summary(plan: &Plan, known: &Known, carry: Carry) -> String {
    let (added, made): (Vec<_>, Vec<_>) = plan.people.iter().partition(|p| known.person(&p.name).is_some());
    let Skipped {
        system,
        beyond,
        reserved,
        elsewhere,
        strangers,
    } = plan.skipped;
    let made = format!(
        "{} and {} {}, {} added to groups, {} unchanged, {}",
        count(made.len(), "principal"),
        count(plan.groups.len(), "group"),
        match carry {
            Carry::Out => "made",
            Carry::Nothing => "to be made",
        },
        added.len(),
        plan.unchanged,
        count(plan.conflicts.len(), "conflict"),
    );
    let skipped = [
        (system, "of the system"),
        (beyond, "above -max-uid"),
        (reserved, "with a number nobody can have"),
        (elsewhere, "that stand for what is in no file"),
    ];
    let skipped: Vec<String> = skipped
        .into_iter()
        .filter(|(lines, _)| *lines > 0)
        .map(|(lines, what)| format!("{lines} {what}"))
        .collect();
    let mut text = format!("{made}\n");
    if !skipped.is_empty() {
        text += &format!("Lines left out: {}\n", skipped.join(", "));
    }
    if strangers > 0 {
        text += &format!("Members left out who are none of the principals: {strangers}\n");
    }
    text
}

fn to_json(plan: &Plan, known: &Known, carry: Carry) -> Value {
    let person = |person: &ImportedPerson| {
        json!({
            "action": if known.person(&person.name).is_some() { "add" } else { "make" },
            "name": person.name,
            "id": person.id,
            "groups": person.groups,
            "primary": person.primary,
        })
    };
    let group = |group: &Group| json!({ "name": group.name, "id": group.id });
    let conflict = |c: &Conflict| json!({ "file": c.file, "line": c.line, "what": c.what });
    json!({
        "carried_out": carry == Carry::Out,
        "groups": plan.groups.iter().map(group).collect::<Vec<Value>>(),
        "principals": plan.people.iter().map(person).collect::<Vec<Value>>(),
        "unchanged": plan.unchanged,
        "skipped": {
            "system": plan.skipped.system,
            "beyond": plan.skipped.beyond,
            "reserved": plan.skipped.reserved,
            "elsewhere": plan.skipped.elsewhere,
            "strangers": plan.skipped.strangers,
        },
        "conflicts": plan.conflicts.iter().map(conflict).collect::<Vec<Value>>(),
        "notes": plan.notes,
    })
}
