//! Carrying out what was parsed.

use std::process::ExitCode;

use baton_types::{Error, Kind};

use crate::exit::report;
use crate::grammar::{Baton, Fts, Standard};
use crate::program::Program;

/// Carries out a command of `fts`.
pub fn fts(_command: Fts, _standard: Standard) -> ExitCode {
    report(Program::Fts, &not_connected())
}

/// Carries out a command of `baton`.
pub fn baton(_command: Baton, _standard: Standard) -> ExitCode {
    report(Program::Baton, &not_connected())
}

fn not_connected() -> Error {
    Error::new(Kind::Unreachable, "").because("not connected to a location database yet")
}
