//! `cm`: what this machine's batond knows.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use baton_proto::v1;
use baton_proto::v1::client_reply::What as Told;
use baton_proto::v1::client_request::What as Question;
use baton_rpc::config::{CellFile, Config, Paths, env};
use baton_types::{FilesetId, Result};
use serde_json::{Value, json};

use crate::batond::{Batond, on, open, unexpected};
use crate::exit::{Exit, report};
use crate::grammar::Cm;
use crate::grammar::cm::StatServers;
use crate::output::{Output, printable};
use crate::program::Program;
use crate::run::{Form, finish};

/// Carries out a command.
pub fn run(command: Cm, json: bool) -> ExitCode {
    let paths = Paths::from_env(&env);
    let output = match command {
        Cm::Flush(files) => flush(&paths, &files.path),
        Cm::LsCellInfo => cells(&paths),
        Cm::StatServers(which) => servers(&paths, &which),
        Cm::WhereIs(files) => where_are(&paths, &files.path),
    };
    finish(Program::Cm, Form::of(json), output)
}

fn where_are(paths: &Paths, files: &[PathBuf]) -> Result<Output> {
    let mut batond = Batond::connect(paths)?;
    each("baton.cm.whereis/1", "files", Program::Cm, files, |file| {
        place(&mut batond, file).map(|place| described(file, &place))
    })
}

/// Where a file is.
///
/// # Errors
/// `Unreachable` without a batond; `Invalid` for a file of no cell.
pub fn place_of(paths: &Paths, file: &Path) -> Result<v1::ClientPlace> {
    place(&mut Batond::connect(paths)?, file)
}

fn place(batond: &mut Batond, file: &Path) -> Result<v1::ClientPlace> {
    match batond.ask_about(Question::WhereIs(v1::ClientWhereIs {}), &open(file)?)? {
        Some(Told::Place(place)) => Ok(place),
        _ => Err(unexpected()),
    }
}

fn described(file: &Path, place: &v1::ClientPlace) -> (String, Value) {
    let text = |bytes: &[u8]| printable(&String::from_utf8_lossy(bytes));
    let (name, cell) = (text(&place.name), text(&place.cell));
    let server = match (place.server.as_slice(), place.aggregate.as_slice()) {
        ([], []) => "which is on no aggregate".to_owned(),
        ([], aggregate) => format!("on aggregate '{}', which no server exports just now", text(aggregate)),
        (server, aggregate) => format!("on aggregate '{}' of server '{}'", text(aggregate), text(server)),
    };
    let file = printable(&file.display().to_string());
    let line = format!("'{file}' is in the cell '{cell}', in fileset '{name}', {server}\n");
    let some = |bytes: &[u8]| (!bytes.is_empty()).then(|| text(bytes));
    let addresses: Vec<String> = place.addresses.iter().map(|address| text(address)).collect();
    let json = json!({
        "path": file,
        "cell": cell,
        "fileset": name,
        "id": FilesetId(place.fileset).to_string(),
        "number": place.fileset,
        "aggregate": some(&place.aggregate),
        "server": some(&place.server),
        "addresses": addresses,
    });
    (line, json)
}

fn flush(paths: &Paths, files: &[PathBuf]) -> Result<Output> {
    let mut batond = Batond::connect(paths)?;
    each("baton.cm.flush/1", "files", Program::Cm, files, |file| {
        batond.ask_about(Question::Flush(v1::ClientFlush {}), &open(file)?)?;
        Ok((String::new(), json!({"path": printable(&file.display().to_string())})))
    })
}

/// Does something with each file, or with the directory one is in where none is named; what fails is told at once.
///
/// # Errors
/// The only one there was.
pub fn each(
    schema: &'static str,
    list: &'static str,
    program: Program,
    files: &[PathBuf],
    mut act: impl FnMut(&Path) -> Result<(String, Value)>,
) -> Result<Output> {
    let here = [PathBuf::from(".")];
    let files = if files.is_empty() { &here[..] } else { files };
    let (mut text, mut done, mut failed) = (String::new(), Vec::new(), 0);
    for file in files {
        match act(file) {
            Ok((line, value)) => {
                text += &line;
                done.push(value);
            }
            Err(error) => {
                let error = on(file, error);
                if files.len() == 1 {
                    return Err(error);
                }
                report(program, &error);
                failed += 1;
            }
        }
    }
    let exit = match (failed, done.len()) {
        (0, _) => Exit::Done,
        (_, 0) => Exit::Failed,
        _ => Exit::Partly,
    };
    Ok(Output {
        exit: exit as u8,
        ..Output::new(schema, text, json!({ list: done }))
    })
}

fn servers(paths: &Paths, which: &StatServers) -> Result<Output> {
    let list = match Batond::connect(paths)?.ask(Question::Servers(v1::ClientServers {}))? {
        Some(Told::Servers(list)) => list.servers,
        _ => return Err(unexpected()),
    };
    let is_meant = |server: &&v1::ClientServer| match &which.cell {
        Some(cell) => server.cell == cell.as_str().as_bytes(),
        None => true,
    };
    let text = |bytes: &[u8]| printable(&String::from_utf8_lossy(bytes));
    let meant: Vec<&v1::ClientServer> = list.iter().filter(is_meant).collect();
    let silent: Vec<String> = meant
        .iter()
        .filter(|server| server.silent)
        .map(|server| format!("{} of {}\n", text(&server.name), text(&server.cell)))
        .collect();
    let said = match silent.as_slice() {
        [] => "All servers that were asked answer.\n".to_owned(),
        some => format!("These servers do not answer:\n{}", some.concat()),
    };
    let json = json!({"servers": meant.iter().map(|server| json!({
        "cell": text(&server.cell),
        "name": text(&server.name),
        "silent": server.silent,
    })).collect::<Vec<_>>()});
    Ok(Output::new("baton.cm.statservers/1", said, json))
}

fn cells(paths: &Paths) -> Result<Output> {
    let own = Config::load(paths, &env)?.cell;
    let (mut text, mut list) = (String::new(), Vec::new());
    for name in CellFile::list(paths)? {
        let file = CellFile::load(paths, &name)?;
        let addresses: Vec<String> = file.flservers.iter().map(ToString::to_string).collect();
        let is_own = own.as_ref() == Some(&name);
        let mark = if is_own { " (this machine's)" } else { "" };
        text += &format!("{name}{mark}: location database at {}\n", addresses.join(", "));
        list.push(json!({"cell": name, "flservers": addresses, "own": is_own}));
    }
    if list.is_empty() {
        text = "No cell is known on this machine.\n".to_owned();
    }
    Ok(Output::new("baton.cm.lscellinfo/1", text, json!({ "cells": list })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_types::{Error, Kind};

    fn place() -> v1::ClientPlace {
        v1::ClientPlace {
            cell: b"example.org".to_vec(),
            fileset: 13,
            name: b"user.ito.readonly".to_vec(),
            aggregate: b"agg1".to_vec(),
            server: b"fs1".to_vec(),
            addresses: vec![b"192.0.2.7".to_vec()],
        }
    }

    #[test]
    fn whereis_says_cell_fileset_and_server() {
        let (line, json) = described(Path::new("/cell/ito"), &place());
        assert_eq!(
            line,
            "'/cell/ito' is in the cell 'example.org', in fileset 'user.ito.readonly', on aggregate 'agg1' of server 'fs1'\n"
        );
        assert_eq!(json["id"], "0,,13");
        let nobody = v1::ClientPlace {
            server: Vec::new(),
            ..place()
        };
        let (line, json) = described(Path::new("/cell/ito"), &nobody);
        assert!(
            line.ends_with("on aggregate 'agg1', which no server exports just now\n"),
            "{line}"
        );
        assert!(json["server"].is_null());
    }

    fn run_each(files: &[&str]) -> Result<Output> {
        let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
        each("baton.x/1", "files", Program::Cm, &files, |file| match file.to_str() {
            Some("bad") => Err(Error::new(Kind::NotFound, "")),
            _ => Ok((format!("{}\n", file.display()), json!(file.to_str()))),
        })
    }

    #[test]
    fn of_many_files_some_may_fail() {
        assert_eq!(run_each(&[]).unwrap().text, ".\n");
        assert_eq!(run_each(&["bad"]).unwrap_err().to_string(), "bad: no such thing");
        let partly = run_each(&["a", "bad"]).unwrap();
        assert_eq!((partly.text.as_str(), partly.exit), ("a\n", Exit::Partly as u8));
        assert_eq!(run_each(&["bad", "bad"]).unwrap().exit, Exit::Failed as u8);
        assert_eq!(run_each(&["a", "b"]).unwrap().exit, Exit::Done as u8);
    }
}
