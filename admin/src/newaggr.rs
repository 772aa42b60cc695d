//! `newaggr`: a new aggregate on a disk or in a file.

use std::process::ExitCode;
use std::time::Duration;

use baton_aggregate::create::{Overwrite, Plan, check, create, read_label};
use baton_aggregate::device::{Access, Device, FileDevice};
use baton_aggregate::format::Label;
use baton_aggregate::salvage::served_by;
use baton_types::units::format_bytes;
use baton_types::{AggregateId, BootClock, Clock, Error, Kind, Result};
use serde_json::json;

use crate::exit;
use crate::grammar::Newaggr;
use crate::output::Output;
use crate::program::Program;

/// DFS's code for a device that holds something.
const HOLDS_SOMETHING: u8 = 16;
/// Longer than two beats of an owner, which come every half second.
const BEATS: Duration = Duration::from_millis(1_200);

/// Carries `newaggr` out.
pub fn run(command: &Newaggr) -> ExitCode {
    match make(command) {
        Ok(output) => match command.json {
            true => exit::print(Program::Newaggr, &output.to_json()),
            false => exit::print(Program::Newaggr, &output.text),
        },
        Err(error) if error.kind == Kind::Exists => {
            exit::report(Program::Newaggr, &error);
            ExitCode::from(HOLDS_SOMETHING)
        }
        Err(error) => exit::report(Program::Newaggr, &error),
    }
}

fn make(command: &Newaggr) -> Result<Output> {
    let access = match command.noaction {
        true => Access::Read,
        false => Access::Write,
    };
    let device = FileDevice::open(&command.aggregate, access)?;
    let overwrite = match command.overwrite {
        true => Overwrite::Insist,
        false => Overwrite::Refuse,
    };
    let plan = Plan {
        id: AggregateId::random(),
        name: command.name.clone(),
        geometry: None,
        overwrite,
        created: BootClock.date(),
    };
    let on = |error: Error| Error {
        on: match error.on.as_str() {
            "device" => format!("device {}", command.aggregate.display()),
            _ => error.on.clone(),
        },
        ..error
    };
    check(&device, &plan).map_err(on)?;
    if let Some(owner) = owner(&device)? {
        return Err(owner);
    }
    let label = match command.noaction {
        true => check(&device, &plan),
        false => create(&device, &plan),
    };
    Ok(output(command, &label.map_err(on)?))
}

/// Who serves the aggregate on `device`, as an error; nobody, if there is none that could be served.
fn owner(device: &dyn Device) -> Result<Option<Error>> {
    match read_label(device) {
        Ok(label) => served(device, &label.name.to_string()),
        Err(_) => Ok(None),
    }
}

/// What keeps an aggregate from being touched: its owner shows signs of life.
pub fn served(device: &dyn Device, name: &str) -> Result<Option<Error>> {
    let owner = served_by(device, || std::thread::sleep(BEATS))?;
    Ok(owner.map(|slot| {
        Error::new(Kind::Busy, format!("aggregate {name}"))
            .because(format!("{} serves it under epoch {}", slot.principal, slot.epoch))
            .remedy(format!(
                "to take it out of service first: dfsexport -aggregate {name} -detach"
            ))
    }))
}

fn output(command: &Newaggr, label: &Label) -> Output {
    let geometry = &label.geometry;
    let done = match command.noaction {
        true => "would be made",
        false => "made",
    };
    let mut text = format!("aggregate {} {done} on {}\n", label.name, command.aggregate.display());
    let ignored = command.without_effect();
    for option in &ignored {
        text += &format!("-{option} has no effect; 'newaggr -help' says why\n");
    }
    if command.verbose {
        text += &format!(
            "id {}\n{} bytes, {} segments of {}, nodes of {}\n",
            label.id,
            geometry.device_bytes,
            geometry.segment_count(),
            format_bytes(geometry.segment_bytes.into()),
            format_bytes(geometry.node_bytes.into()),
        );
    }
    let json = json!({
        "aggregate": label.name.as_str(),
        "id": label.id.to_string(),
        "device": command.aggregate.to_string_lossy(),
        "made": !command.noaction,
        "device_bytes": geometry.device_bytes,
        "segment_bytes": geometry.segment_bytes,
        "segments": geometry.segment_count(),
        "node_bytes": geometry.node_bytes,
        "without_effect": ignored,
    });
    Output::new("baton.newaggr/1", text, json)
}
