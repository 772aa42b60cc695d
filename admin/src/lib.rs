//! `baton` and, by its other names, `fts`, `dfsexport`, `newaggr`, `growaggr`, `salvage`, `cm`, `acl` and
//! `mount.baton`: parse, call, print.
//!
//! A line goes through [`program`] (which name was it called by?), [`dfs_args`] (DFS's spelling to clap's),
//! [`grammar`] (clap's words to a typed command), `run` (the doing) and [`exit`] (how it ended).

use std::ffi::OsString;
use std::process::ExitCode;

mod baton;
mod batond;
mod cm;
mod confirm;
pub mod dfs_args;
mod dfsexport;
pub mod exit;
mod fts;
pub mod generate;
pub mod grammar;
mod growaggr;
pub mod help;
mod machine;
mod mount;
mod newaggr;
mod output;
pub mod program;
mod run;
mod salvage;
mod servers;
mod session;
mod spelling;

use baton_types::Result;

use self::grammar::{Parsed, Refusal};
use self::program::Program;

/// Carries out a command line, the program's name included.
pub fn main(line: impl IntoIterator<Item = OsString>) -> ExitCode {
    let (program, words) = Program::of_line(line);
    let print = |text: Result<String>| exit::print_result(program, text);
    match grammar::parse(program, words) {
        Ok(Parsed::Fts(command, standard)) => run::fts(command, standard),
        Ok(Parsed::Baton(command, standard)) => run::baton(command, standard),
        Ok(Parsed::Cm(command, json)) => cm::run(command, json),
        Ok(Parsed::Mount(command)) => mount::run(&command),
        Ok(Parsed::Dfsexport(words)) => run::dfsexport(&words),
        Ok(Parsed::Newaggr(command)) => newaggr::run(&command),
        Ok(Parsed::Growaggr(words)) => run::growaggr(&words),
        Ok(Parsed::Salvage(command)) => salvage::run(&command),
        Ok(Parsed::Text(text)) => print(Ok(text)),
        Ok(Parsed::Help(words)) => print(help::help(program, &words)),
        Ok(Parsed::Apropos(text)) => print(help::apropos(program, &text)),
        Ok(Parsed::Completions(shell)) => print(Ok(generate::completions(shell))),
        Ok(Parsed::Man(dir)) => print(generate::man(&dir).map(|_| String::new())),
        Err(Refusal::Usage { error, usage }) => exit::usage(program, &error, &usage),
        Err(Refusal::Absent(error)) => exit::report(program, &error),
    }
}
