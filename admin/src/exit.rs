//! How a command ends: its exit code, and the one line on standard error that says why.

use std::io::{ErrorKind, Write, stderr, stdout};
use std::process::ExitCode;

use baton_types::{Error, Kind, Result};

use crate::program::Program;

/// Exit codes of every program, except where DFS's own are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed, and nothing was changed that the message does not name.
    Failed = 1,
    /// The line makes no sense.
    Usage = 2,
    /// Some of many were done.
    Partly = 3,
    /// Refused for safety; the message says which option insists.
    Refused = 4,
    /// Nobody answers, or those who do are no quorum.
    Unreachable = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

impl Exit {
    /// The code for a failure.
    pub fn of(error: &Error) -> Exit {
        if error.kind == Kind::Unreachable {
            Exit::Unreachable
        } else {
            Exit::Failed
        }
    }
}

/// Prints `fts: thing: reason; remedy`.
pub fn report(program: Program, error: &Error) -> ExitCode {
    complain(&format!("{}: {error}\n", program.name()));
    Exit::of(error).into()
}

/// Prints what is wrong with the line that was typed, and how it is written.
pub fn usage(program: Program, error: &Error, usage: &str) -> ExitCode {
    complain(&format!("{}: {error}\n{usage}", program.name()));
    Exit::Usage.into()
}

/// Prints the result of a command; a reader who went away early is no failure.
pub fn print(program: Program, text: &str) -> ExitCode {
    let mut stdout = stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => report(program, &Error::io("standard output", error)),
        _ => Exit::Done.into(),
    }
}

/// Prints the text of a command, or why there is none.
pub fn print_result(program: Program, text: Result<String>) -> ExitCode {
    match text {
        Ok(text) => print(program, &text),
        Err(error) => report(program, &error),
    }
}

fn complain(text: &str) {
    // Where this cannot be written, there is nobody to tell; the exit code remains.
    let _ = stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_tells_unreachable_from_failed() {
        assert_eq!(Exit::of(&Error::new(Kind::Unreachable, "fldb")), Exit::Unreachable);
        for &kind in Kind::ALL.iter().filter(|kind| **kind != Kind::Unreachable) {
            assert_eq!(Exit::of(&Error::new(kind, "x")), Exit::Failed);
        }
    }

    #[test]
    fn exit_codes_are_those_of_the_manual() {
        let codes = [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::Partly,
            Exit::Refused,
            Exit::Unreachable,
        ];
        assert_eq!(codes.map(|code| code as u8), [0, 1, 2, 3, 4, 5]);
    }
}
