//! `flserver`: one member of a cell's location database.

use std::process::ExitCode;

use baton_flserver::{daemon, raft};
use baton_rpc::config::{Config, Paths, env};
use baton_rpc::daemon::{abort_on_panic, log_to_stderr, raise_descriptors};
use baton_types::{Error, Kind, Result};
use clap::Parser;

/// One member of the location database of a Baton cell.
///
/// It reads BATON_ROOT/etc/baton/baton.toml, its certificate in etc/baton/pki, and its state in
/// var/lib/baton/flserver. SIGTERM hands leadership on and ends it; SIGHUP reads the certificate again.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example:\n  baton cell create example.org   makes a cell and starts its first flserver\n  flserver                        starts it again by hand"
)]
struct Options {
    /// Entries between two snapshots of the database.
    #[arg(long, env = "BATON_SNAPSHOT_EVERY", value_parser = clap::value_parser!(u64).range(16..))]
    snapshot_every: Option<u64>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    abort_on_panic();
    log_to_stderr(raft::LOG_FILTER);
    raise_descriptors();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "flserver ends");
            eprintln!("flserver: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let paths = Paths::from_env(&env);
    let config = Config::load(&paths, &env)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::new(Kind::Io, "runtime").because(e.to_string()))?;
    runtime.block_on(daemon::run(&paths, &config, options.snapshot_every))
}
