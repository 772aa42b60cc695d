//! `salvage -repair`: what can be put right is, under an epoch of its own; each thing is told, with what became of it.

use std::path::Path;
use std::sync::Arc;

use baton_aggregate::device::{Device, FileDevice};
use baton_aggregate::fence::{Grant, Ring, boot_id, ended, read_slots};
use baton_aggregate::format::Label;
use baton_aggregate::nodes::Nodes;
use baton_aggregate::salvage::{Data, Finding, Gravity, Report, Unreadable, plan, repair};
use baton_types::{BootClock, Clock, Error, Incarnation, Kind, Result, ServerId};
use serde_json::{Value, json};

use super::{FOUND, PARTLY};
use crate::confirm::type_name;
use crate::grammar::Salvage;
use crate::output::{Output, count};

/// DFS's bits: what was wrong is put right.
const FIXED: u8 = 2;
/// Nothing can be put right.
const HOPELESS: u8 = 8;

/// Repairs the aggregate of `label` on `device`, or says what that would do.
pub(super) fn run(command: &Salvage, (device, path): (Arc<FileDevice>, &Path), label: &Label) -> Result<Output> {
    let data = match command.fast {
        true => Data::Skip,
        false => Data::Read,
    };
    // The end of a repair reads the bytes of files.
    let before = match command.noaction {
        true => data,
        false => Data::Skip,
    };
    let unreadable = match command.cut {
        true => Unreadable::Cut,
        false => Unreadable::Leave,
    };
    let found = plan(device.clone(), Nodes::new(device.clone()), before, unreadable)?;
    if found.beyond.is_some() {
        return Ok(refused(command, &found));
    }
    if command.noaction {
        return Ok(planned(command, &found));
    }
    confirm(command, label, path)?;
    let grant = grant(command, &device, label)?;
    device.hold(grant.epoch)?;
    let epoch = grant.epoch;
    let repaired = repair(device, grant, BootClock.date(), data, unreadable).map_err(|error| match error.kind {
        Kind::Busy => error.remedy("end the server that had it; if all that ever had it are switched off: -force"),
        _ => error,
    })?;
    let is_left = !repaired.left.is_sound();
    let exit = match (repaired.done.is_empty(), is_left) {
        (true, false) => 0,
        (false, false) => FOUND | FIXED,
        (true, true) => FOUND,
        (false, true) => FOUND | PARTLY,
    };
    let done = repaired.done.iter().map(|(finding, became)| (finding, became.clone()));
    let left = faults(&repaired.left).map(|finding| (finding, "left as it is".to_owned()));
    let (mut text, findings) = told(command, done.chain(left));
    if repaired.left.more > 0 {
        text += &format!("and {} more\n", repaired.left.more);
    }
    let verdict = match is_left {
        false => "sound".to_owned(),
        true => format!("{} left", count(faults(&repaired.left).count(), "fault")),
    };
    text += &format!(
        "aggregate {}: {} done, {verdict}; detached under epoch {epoch}\n",
        label.name,
        count(repaired.done.len(), "repair"),
    );
    let json = json!({
        "aggregate": label.name.as_str(),
        "repaired": true,
        "sound": !is_left,
        "epoch": epoch.0,
        "findings": findings,
        "more": repaired.left.more,
    });
    Ok(Output {
        exit,
        ..Output::new("baton.salvage.repair/1", text, json)
    })
}

fn faults(report: &Report) -> impl Iterator<Item = &Finding> {
    let findings = report.findings.iter();
    findings.filter(|finding| finding.gravity == Gravity::Fault)
}

/// What a repair would do.
fn planned(command: &Salvage, found: &Report) -> Output {
    let is_told = |finding: &&Finding| finding.gravity == Gravity::Fault || finding.is_mended();
    let all: Vec<&Finding> = found.findings.iter().filter(is_told).collect();
    let mended = all.iter().filter(|finding| finding.is_mended()).count();
    let (mut text, findings) = told(command, all.iter().map(|finding| (*finding, finding.becomes())));
    text += &format!(
        "aggregate {}: would do {}, and leave {}; what is counted may follow from that\n",
        found.name,
        count(mended, "repair"),
        count(all.len() - mended, "fault"),
    );
    output(found, (text, findings), if all.is_empty() { 0 } else { FOUND })
}

/// What keeps a repair from being begun.
fn refused(command: &Salvage, found: &Report) -> Output {
    let beyond = found.beyond.iter().map(|finding| (finding, finding.becomes()));
    let (mut text, findings) = told(command, beyond);
    text += &format!(
        "aggregate {}: what is right cannot be told, so nothing is changed; salvage -extract gives the files back\n",
        found.name
    );
    output(found, (text, findings), FOUND | HOPELESS)
}

fn output(found: &Report, (text, findings): (String, Vec<Value>), exit: u8) -> Output {
    let json = json!({
        "aggregate": found.name,
        "repaired": false,
        "sound": found.is_sound(),
        "findings": findings,
        "more": found.more,
    });
    Output {
        exit,
        ..Output::new("baton.salvage.repair/1", text, json)
    }
}

/// Findings with what became of them: a line each, and the same for programs.
fn told<'a>(command: &Salvage, findings: impl Iterator<Item = (&'a Finding, String)>) -> (String, Vec<Value>) {
    let (mut text, mut values) = (String::new(), Vec::new());
    for (finding, became) in findings {
        text += &format!("{}: {finding}: {became}\n", finding.fault.name());
        text += &super::way_out(finding);
        if command.verbose {
            text += &format!("  {}\n", finding.fault.meaning());
        }
        values.push(json!({
            "fault": finding.fault.name(),
            "on": finding.on,
            "path": finding.path,
            "reason": finding.reason,
            "became": became,
            "remedy": finding.remedy(),
        }));
    }
    (text, values)
}

/// A repair takes the aggregate over: whoever asks for it says its name, or that he knows.
fn confirm(command: &Salvage, label: &Label, path: &Path) -> Result<()> {
    if command.yes {
        return Ok(());
    }
    let on = format!("aggregate {}", label.name);
    let asked = format!("This takes {on} on {} over.", path.display());
    type_name(label.name.as_str(), &on, &asked, || {
        Error::new(Kind::Invalid, on.clone())
            .because("a repair takes it over from whoever serves it")
            .remedy("-noaction says what it would do; to have it done without being asked: -yes")
    })
}

/// Leave to own it, under the first epoch of the next era: no location database has granted that to anybody.
fn grant(command: &Salvage, device: &FileDevice, label: &Label) -> Result<Grant> {
    let slots = read_slots(device as &dyn Device, label.id)?;
    let epoch = slots.next_era().ok_or_else(|| {
        Error::new(Kind::Damaged, format!("aggregate {}", label.name))
            .because("no epoch can follow those on its disk: more than one slot is unreadable")
            .remedy("salvage -extract gives the files back")
    })?;
    let (server, boot) = (ServerId::random(), boot_id()?);
    let ring = match command.force {
        true => Ring::Vouched,
        false => Ring::Ended(ended(device, &slots, (server, boot))?),
    };
    Ok(Grant {
        epoch,
        server,
        incarnation: Incarnation::random(),
        boot,
        principal: "salvage".to_owned(),
        ring,
    })
}
