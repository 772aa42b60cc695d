//! What every program understands: one definition that the parser, the help, the manual and the
//! completions all read.
//!
//! Commands of this version are clap structs (`fts.rs`, `baton.rs`). The rest of DFS's commands are known
//! from the tables of `absent.rs`, because a prefix that is not ambiguous today must mean the same when
//! they come; whoever types one is told that it is not there. To add a command: a struct here, and its
//! line in `absent.rs` goes; its forms stay in `testdata/dfs_forms.txt`.

mod absent;
pub mod baton;
pub mod cm;
pub mod fts;
pub mod mount;
mod notation;
mod standard;
pub mod store;
#[cfg(test)]
mod tests;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;

use baton_types::Error;
use clap::{Command, CommandFactory};
use clap_complete::Shell;

pub use self::absent::absence;
pub use self::baton::Baton;
pub use self::cm::Cm;
pub use self::fts::Fts;
pub use self::mount::Mount;
pub use self::standard::{Identity, STANDARD, Standard};
pub use self::store::{Dfsexport, Growaggr, Newaggr, Salvage};
pub use self::values::Switch;

use crate::dfs_args::{ADDED, rewrite};
use crate::program::Program;
use crate::spelling;

/// What a person asked for.
#[derive(Debug)]
pub enum Parsed {
    /// A command of `fts`.
    Fts(Fts, Standard),
    /// A command of `baton` itself.
    Baton(Baton, Standard),
    /// A command of `cm`, and whether it prints JSON.
    Cm(Cm, bool),
    /// `mount.baton`.
    Mount(Mount),
    /// `dfsexport`.
    Dfsexport(Dfsexport),
    /// `newaggr`.
    Newaggr(Newaggr),
    /// `growaggr`.
    Growaggr(Growaggr),
    /// `salvage`.
    Salvage(Salvage),
    /// Text for standard output: what `-help` and `-version` print.
    Text(String),
    /// Help on the commands these words lead to; on the program if there are none.
    Help(Vec<String>),
    /// Commands whose line of help has this text in it.
    Apropos(String),
    /// The completion script for a shell.
    Completions(Shell),
    /// Manual pages, into a directory.
    Man(PathBuf),
}

/// Why a line is not carried out.
#[derive(Debug)]
pub enum Refusal {
    /// The line makes no sense.
    Usage {
        /// What is wrong with it.
        error: Box<Error>,
        /// How it is written; empty where that would not help.
        usage: String,
    },
    /// Nothing in this version does it.
    Absent(Box<Error>),
}

impl Refusal {
    /// A line that makes no sense.
    pub fn usage(error: Error, usage: String) -> Refusal {
        Refusal::Usage {
            error: Box::new(error),
            usage,
        }
    }
}

/// The commands of this version: what help, manual and completions show.
pub fn served(program: Program) -> Command {
    match program {
        Program::Fts => fts::Line::command(),
        // All of `baton` is an addition; no option in it needs to be marked as one.
        Program::Baton => baton::Line::command()
            .mut_arg("json", |arg| arg.help_heading(STANDARD))
            .next_help_heading(ADDED),
        Program::Newaggr => Newaggr::command(),
        Program::Salvage => Salvage::command(),
        Program::Dfsexport => Dfsexport::command(),
        // DFS's has not these, and its own -n must not mean two things.
        Program::Growaggr => Growaggr::command().mut_args(|arg| match arg.get_id().as_str() {
            "cell" | "noauth" | "localauth" | "verbose" => arg.help_heading(ADDED),
            _ => arg,
        }),
        Program::Cm => cm::Line::command(),
        Program::MountBaton => Mount::command(),
        Program::Acl => absent::program(program),
    }
}

/// All commands; those that are not in this version are hidden.
pub fn whole(program: Program) -> Command {
    absent::add_to(served(program), program)
}

/// Reads a line; `words` come after the program's name.
///
/// # Errors
/// [`Refusal`].
pub fn parse(program: Program, words: Vec<OsString>) -> Result<Parsed, Refusal> {
    let whole = whole(program);
    let words = match program {
        Program::MountBaton => words, // mount(8) has a spelling of its own
        _ => rewrite(&whole, words).map_err(|error| Refusal::usage(error, String::new()))?,
    };
    let first = words.first().and_then(|word| word.to_str()).unwrap_or_default();
    if let Some(error) = absence(program, first) {
        return Err(Refusal::Absent(Box::new(error)));
    }
    let typed = match program {
        Program::Fts => fts::parse,
        Program::Baton => baton::parse,
        Program::Newaggr => store::newaggr,
        Program::Salvage => store::salvage,
        Program::Dfsexport => store::dfsexport,
        Program::Growaggr => store::growaggr,
        Program::Cm => cm::parse,
        Program::MountBaton => mount::parse,
        Program::Acl => return nothing(program),
    };
    let on = spelling::commands_of(&words);
    let line = std::iter::once(OsString::from(program.name())).chain(words);
    let matches = whole.try_get_matches_from(line);
    matches
        .and_then(|matches| typed(&matches))
        .or_else(|error| spelling::explain(program, on, &error))
}

/// A program of which nothing is there was called without a command.
fn nothing(program: Program) -> Result<Parsed, Refusal> {
    Err(Refusal::Absent(Box::new(absent::nothing(program))))
}
