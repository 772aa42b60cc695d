//! `fileserver`: exports aggregates to the clients of its cell. What is started is the guard; it starts itself again
//! as the server.

use std::process::ExitCode;

use baton_fileserver::{daemon, guard};
use baton_rpc::config::{Config, Paths, env};
use baton_rpc::daemon::{abort_on_panic, exit_code, log_to_stderr};
use baton_types::{Error, Incarnation, Result};
use clap::Parser;
use tokio::process::Command;
use tokio::runtime::{Builder, Runtime};

/// A file server of a Baton cell.
///
/// It registers with the location database under its machine's certificate, looks for aggregates on the devices that
/// baton.toml names, and exports those that are its own; dfsexport makes them that. It runs as two processes: a guard,
/// and the server, whose end the guard attests. SIGTERM ends it when everything is written; SIGHUP reads the
/// certificate again.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example:\n  baton join TOKEN   once, with a token from 'baton cell invite HOST'\n  fileserver"
)]
struct Options {
    /// Be the server of this guard (a process number)
    #[arg(long, hide = true, requires = "run")]
    guard: Option<u32>,
    /// And be this run of it
    #[arg(long, hide = true, requires = "guard")]
    run: Option<Incarnation>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    abort_on_panic();
    log_to_stderr("info");
    let ended = match (options.guard, options.run) {
        (Some(guard), Some(run)) => serve(guard, run),
        (None, _) | (_, None) => run_guard(),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("fileserver: {error}");
        ExitCode::FAILURE
    })
}

fn run_guard() -> Result<ExitCode> {
    let (paths, config) = settings()?;
    let own = std::env::current_exe().map_err(|e| Error::io("fileserver", e))?;
    let run = Incarnation::random();
    let mut server = Command::new(own);
    server.arg("--guard").arg(std::process::id().to_string());
    server.arg("--run").arg(run.to_string());
    let guarded = guard::run(server, run, &paths, &config);
    let status = runtime(&mut Builder::new_current_thread())?.block_on(guarded)?;
    Ok(exit_code(status))
}

fn serve(guard: u32, run: Incarnation) -> Result<ExitCode> {
    guard::bind_to(guard)?;
    let (paths, config) = settings()?;
    runtime(&mut Builder::new_multi_thread())?.block_on(daemon::run(&paths, &config, run))?;
    Ok(ExitCode::SUCCESS)
}

fn settings() -> Result<(Paths, Config)> {
    let paths = Paths::from_env(&env);
    let config = Config::load(&paths, &env)?;
    Ok((paths, config))
}

fn runtime(builder: &mut Builder) -> Result<Runtime> {
    builder.enable_all().build().map_err(|e| Error::io("runtime", e))
}
