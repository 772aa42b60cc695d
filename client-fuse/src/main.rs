//! `batond`: mounts cells. What is started is the guard; it starts itself again as the daemon.

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use baton_client_fuse::{daemon, guard, serve};
use baton_rpc::config::{Config, Paths, env};
use baton_rpc::daemon::{abort_on_panic, exit_code, log_to_stderr};
use baton_types::{Error, Result};
use clap::{Parser, Subcommand};
use tokio::process::Command;
use tokio::runtime::{Builder, Runtime};

/// The cache manager of Baton: mounts cells, and keeps what is used of them.
///
/// It runs as two processes: a guard, and the daemon that it watches. SIGTERM writes back what is not on a server
/// yet and unmounts; SIGHUP reads the machine's certificate again.
#[derive(Parser)]
#[command(version, after_help = "Example:\n  batond\n  mount -t baton example.org /cell")]
struct Options {
    /// Be the daemon of the guard at standard input
    #[arg(long, hide = true)]
    daemon: bool,
    #[command(subcommand)]
    word: Option<Word>,
}

#[derive(Subcommand)]
enum Word {
    /// Mounts a cell; the same as mount.baton
    #[command(disable_help_flag = true)]
    Mount {
        /// What mount.baton takes
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<std::ffi::OsString>,
    },
}

fn main() -> ExitCode {
    let options = Options::parse();
    abort_on_panic();
    log_to_stderr("info");
    let ended = match options {
        Options {
            word: Some(Word::Mount { words }),
            ..
        } => Err(become_mount(words)),
        Options { daemon: true, .. } => run_daemon(),
        Options { daemon: false, .. } => run_guard(),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("batond: {error}");
        ExitCode::FAILURE
    })
}

/// Returns only when that program cannot be started.
fn become_mount(words: Vec<std::ffi::OsString>) -> Error {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name("baton"));
    let program = beside.filter(|path| path.is_file()).unwrap_or_else(|| "baton".into());
    let error = std::process::Command::new(&program)
        .arg0("mount.baton")
        .args(words)
        .exec();
    Error::io(program.display().to_string(), error)
}

fn run_guard() -> Result<ExitCode> {
    let own = std::env::current_exe().map_err(|e| Error::io("batond", e))?;
    let mut command = Command::new(own);
    command.arg("--daemon");
    let status = runtime(&mut Builder::new_current_thread())?.block_on(guard::run(command))?;
    Ok(exit_code(status))
}

fn run_daemon() -> Result<ExitCode> {
    let paths = Paths::from_env(&env);
    Config::load(&paths, &env)?; // what is wrong there is told at the start, as every daemon does
    runtime(&mut Builder::new_multi_thread())?.block_on(daemon::run(paths, serve::begin))?;
    Ok(ExitCode::SUCCESS)
}

fn runtime(builder: &mut Builder) -> Result<Runtime> {
    builder.enable_all().build().map_err(|e| Error::io("runtime", e))
}
