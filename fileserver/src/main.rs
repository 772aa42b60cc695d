//! `fileserver`: exports aggregates to the clients of its cell.

use std::process::ExitCode;

use baton_fileserver::daemon;
use baton_rpc::config::{Config, Paths, env};
use baton_rpc::daemon::{abort_on_panic, log_to_stderr};
use baton_types::{Error, Kind, Result};
use clap::Parser;

/// A file server of a Baton cell.
///
/// It registers with the location database under its machine's certificate, looks for aggregates on the devices that
/// baton.toml names, and exports those that are its own; dfsexport makes them that. SIGTERM ends it when everything is
/// written; SIGHUP reads the certificate again.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example:\n  baton join TOKEN   once, with a token from 'baton cell invite HOST'\n  fileserver"
)]
struct Options {}

fn main() -> ExitCode {
    let Options {} = Options::parse();
    abort_on_panic();
    log_to_stderr("info");
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fileserver: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let paths = Paths::from_env(&env);
    let config = Config::load(&paths, &env)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::new(Kind::Io, "runtime").because(e.to_string()))?;
    runtime.block_on(daemon::run(&paths, &config))
}
