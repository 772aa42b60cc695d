//! `fileserver`: registers with its cell. It exports nothing yet.

use std::process::ExitCode;

use baton_fileserver::daemon;
use baton_rpc::config::{Config, Paths, env};
use baton_rpc::daemon::{abort_on_panic, log_to_stderr};
use baton_types::{Error, Kind, Result};
use clap::Parser;

/// A file server of a Baton cell.
///
/// This version registers with the location database under its machine's certificate and follows its
/// changes; it exports no aggregate yet. SIGTERM ends it; SIGHUP reads the certificate again.
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
