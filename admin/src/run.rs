//! Carrying out what was parsed: a command makes an [`Output`], and it is printed here.

use std::process::ExitCode;

use baton_types::{Error, Kind, Result};

use crate::exit;
use crate::grammar::{Baton, Dfsexport, Fts, Growaggr, Standard};
use crate::output::Output;
use crate::program::Program;
use crate::session::Session;

/// Carries out a command of `fts`.
pub fn fts(command: Fts, standard: Standard) -> ExitCode {
    let session = Session::new(Program::Fts, standard);
    carry_out(Program::Fts, &session, crate::fts::run(&session, command))
}

/// Carries out a command of `baton`.
pub fn baton(command: Baton, standard: Standard) -> ExitCode {
    let session = Session::new(Program::Baton, standard);
    carry_out(Program::Baton, &session, crate::baton::run(&session, command))
}

/// Carries out `dfsexport`.
pub fn dfsexport(words: &Dfsexport) -> ExitCode {
    let session = Session::new(Program::Dfsexport, words.standard.clone());
    carry_out(Program::Dfsexport, &session, crate::dfsexport::run(&session, words))
}

/// Carries out `growaggr`.
pub fn growaggr(words: &Growaggr) -> ExitCode {
    let session = Session::new(Program::Growaggr, words.standard.clone());
    carry_out(Program::Growaggr, &session, crate::growaggr::run(&session, words))
}

fn carry_out(program: Program, session: &Session, command: impl Future<Output = Result<Output>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let output = runtime
        .map_err(|e| Error::new(Kind::Io, "runtime").because(e.to_string()))
        .and_then(|runtime| {
            runtime.block_on(async {
                let output = command.await;
                session.renew().await;
                session.remember_members();
                output
            })
        });
    finish(program, Form::of(session.standard.json), output)
}

/// For whom a command prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl Form {
    /// As `-json` says.
    pub fn of(json: bool) -> Form {
        if json { Form::Json } else { Form::Text }
    }
}

/// Prints what a command has to say.
pub fn finish(program: Program, form: Form, output: Result<Output>) -> ExitCode {
    match output {
        Ok(output) => {
            let text = match form {
                Form::Json => output.to_json(),
                Form::Text => output.text,
            };
            match exit::print(program, &text) {
                ExitCode::SUCCESS => ExitCode::from(output.exit),
                failed => failed,
            }
        }
        Err(error) => exit::report(program, &error),
    }
}
