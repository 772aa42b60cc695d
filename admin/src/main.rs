//! The binary `baton`; links to it are `fts` and the other programs.

use std::process::ExitCode;

fn main() -> ExitCode {
    baton_admin::main(std::env::args_os())
}
