//! `salvage`: what is wrong with an aggregate, what of it can be put right, and its files without a cell.

mod repair;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use baton_aggregate::create::read_label;
use baton_aggregate::device::{Access, Device, FileDevice};
use baton_aggregate::nodes::Nodes;
use baton_aggregate::salvage::{Data, Extracted, Finding, Gravity, Report, check, extract};
use baton_types::{Error, Kind, Result};
use serde_json::json;

use crate::exit;
use crate::grammar::Salvage;
use crate::newaggr::served;
use crate::output::{Output, count};
use crate::program::Program;

/// DFS's bits: something is wrong.
const FOUND: u8 = 1;
/// Some of it came back.
const PARTLY: u8 = 4;
/// It could not run.
const COULD_NOT_RUN: u8 = 0x10;

/// What the line asks for.
enum Task<'a> {
    Check,
    Repair,
    Extract(&'a Path),
}

/// Carries `salvage` out.
pub fn run(command: &Salvage) -> ExitCode {
    match carry_out(command) {
        Ok(output) => {
            let text = match command.json {
                true => output.to_json(),
                false => output.text,
            };
            match exit::print(Program::Salvage, &text) {
                ExitCode::SUCCESS => ExitCode::from(output.exit),
                failed => failed,
            }
        }
        Err(error) => {
            exit::report(Program::Salvage, &error);
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

fn carry_out(command: &Salvage) -> Result<Output> {
    let (path, task) = task(command)?;
    let access = match (&task, command.noaction) {
        (Task::Repair, false) => Access::Write,
        (Task::Repair, true) | (Task::Check | Task::Extract(_), _) => Access::Read,
    };
    let device = Arc::new(FileDevice::open(path, access)?);
    let label = read_label(&*device)?;
    let owner = served(&*device, label.name.as_str())?;
    let nodes = Nodes::new(device.clone());
    match (task, owner) {
        (Task::Check, owner) => {
            if let Some(owner) = owner {
                let note = "what is found may be what changes meanwhile";
                exit::report(Program::Salvage, &owner.remedy(note));
            }
            let data = match command.fast {
                true => Data::Skip,
                false => Data::Read,
            };
            Ok(checked(command, &check(device, nodes, data)?))
        }
        (Task::Extract(_) | Task::Repair, Some(owner)) => Err(owner),
        (Task::Repair, None) => repair::run(command, (device, path), &label),
        (Task::Extract(directory), None) => {
            let extracted = extract(device as Arc<dyn Device>, nodes, directory, command.fileset.as_ref())?;
            Ok(given_back(directory, &extracted))
        }
    }
}

/// The device, and what to do with it.
fn task(command: &Salvage) -> Result<(&Path, Task<'_>)> {
    let invalid = |reason: &str, remedy: &str| Err(Error::new(Kind::Invalid, "").because(reason).remedy(remedy));
    if command.recoveronly {
        return invalid(
            "there is nothing to recover by hand",
            "who takes an aggregate over replays its log; -check replays it in memory",
        );
    }
    if let Some(device) = &command.check {
        return Ok((device, Task::Check));
    }
    if let Some(device) = &command.repair {
        return Ok((device, Task::Repair));
    }
    match (&command.extract[..], &command.aggregate) {
        ([device, directory], _) => Ok((device, Task::Extract(directory))),
        ([_], _) => invalid(
            "no directory is named",
            "say where the files are to go, after the device",
        ),
        ([_, _, ..], _) => invalid("a path too many", "'salvage -help' says what there is"),
        ([], Some(device)) if command.verifyonly => Ok((device, Task::Check)),
        ([], Some(device)) => Ok((device, Task::Repair)),
        ([], None) => invalid("no device is named", "give the disk or file of the aggregate"),
    }
}

fn checked(command: &Salvage, report: &Report) -> Output {
    let mut text = String::new();
    let is_fault = |gravity| gravity == Gravity::Fault;
    for finding in &report.findings {
        let word = if is_fault(finding.gravity) { "fault" } else { "notice" };
        text += &format!("{word} ({}): {finding}\n", finding.fault.name());
        text += &way_out(finding);
        if command.verbose {
            text += &format!("  {}\n", finding.fault.meaning());
        }
    }
    if report.more > 0 {
        text += &format!("and {} more\n", report.more);
    }
    let faults = report
        .findings
        .iter()
        .filter(|finding| is_fault(finding.gravity))
        .count();
    let verdict = match faults {
        0 => "sound".to_owned(),
        faults => count(faults, "fault"),
    };
    text += &format!(
        "aggregate {}: {verdict}; {}, {}, {}; {}, last record {}\n",
        report.name,
        count(report.filesets as usize, "fileset"),
        count(report.files as usize, "file"),
        count(report.nodes as usize, "node"),
        report.root,
        report.last,
    );
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|finding| {
            json!({
                "fault": finding.fault.name(),
                "gravity": if is_fault(finding.gravity) { "fault" } else { "notice" },
                "on": finding.on,
                "reason": finding.reason,
                "meaning": finding.fault.meaning(),
                "remedy": finding.remedy(),
            })
        })
        .collect();
    let json = json!({
        "aggregate": report.name,
        "sound": report.is_sound(),
        "root": { "epoch": report.root.epoch.0, "number": report.root.seq },
        "last_record": report.last.0,
        "filesets": report.filesets,
        "files": report.files,
        "nodes": report.nodes,
        "findings": findings,
        "more": report.more,
    });
    Output {
        exit: if report.is_sound() { 0 } else { FOUND },
        ..Output::new("baton.salvage.check/1", text, json)
    }
}

/// What can be done about what no repair does of its own accord: a line, or nothing.
fn way_out(finding: &Finding) -> String {
    finding
        .remedy()
        .map_or_else(String::new, |remedy| format!("  {remedy}\n"))
}

fn given_back(directory: &Path, extracted: &Extracted) -> Output {
    let mut text = String::new();
    for skipped in &extracted.skipped {
        text += &format!("left out: {}: {}\n", skipped.path, skipped.reason);
    }
    text += &format!(
        "{} of {} given back into {}, {} bytes, from {}\n",
        count(extracted.files as usize, "file"),
        count(extracted.filesets as usize, "fileset"),
        directory.display(),
        extracted.bytes,
        extracted.source,
    );
    let skipped: Vec<_> = extracted
        .skipped
        .iter()
        .map(|skipped| json!({ "path": skipped.path, "reason": skipped.reason }))
        .collect();
    let json = json!({
        "directory": directory.to_string_lossy(),
        "source": extracted.source,
        "filesets": extracted.filesets,
        "files": extracted.files,
        "bytes": extracted.bytes,
        "left_out": skipped,
    });
    Output {
        exit: if extracted.skipped.is_empty() { 0 } else { PARTLY },
        ..Output::new("baton.salvage.extract/1", text, json)
    }
}
