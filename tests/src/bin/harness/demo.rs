//! `demo`: a cell, changes, the leader's death, files, the file server's death, and the count. Every figure is
//! measured in this run.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use baton_tests::cell::{Builder, Cell, Life, Programs, Role, Show, Trust};
use baton_tests::load::Load;
use baton_tests::suites::{copy_and_compare, kill_again_and_again};
use clap::Args;

/// Members, file servers, writers.
const MEMBERS: usize = 3;
const SERVERS: usize = 2;
const WRITERS: usize = 2;
/// Changes before the leader is killed, and again between its death and its return, and after that.
const CHANGES: usize = 300;
/// Deaths of the file server.
const KILLS: usize = 5;
/// Room for what is copied in: the files that stand for disks have holes.
const DISK_BYTES: u64 = 4 << 30;

/// How to show it.
#[derive(Args)]
pub struct Arguments {
    /// Do not wait for Enter between the steps, as where there is no terminal.
    #[arg(long)]
    once: bool,
    /// Leave the cell running at the end, and say how to work in it.
    #[arg(long)]
    keep: bool,
    /// Where to make the cell; a temporary directory unless given.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Shows it all, and removes it.
pub async fn run(arguments: &Arguments) -> Result<()> {
    let mut stage = Stage {
        number: 0,
        waits: !arguments.once && std::io::stdin().is_terminal() && std::io::stdout().is_terminal(),
    };
    tokio::select! {
        shown = show(arguments, &mut stage) => shown,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            bail!("interrupted")
        }
    }
}

async fn show(arguments: &Arguments, stage: &mut Stage) -> Result<()> {
    stage.heading("The programs").await?;
    let programs = Programs::find()?;
    println!(
        "flserver, fileserver and baton of the build in {}",
        programs.target().display()
    );

    stage
        .heading("A cell of three members and two file servers, made by commands")
        .await?;
    let begun = Instant::now();
    let mut builder = Builder::default()
        .flservers(MEMBERS)
        .servers(SERVERS)
        .aggregates(1)
        .disk_bytes(DISK_BYTES)
        .show(Show::Commands);
    if arguments.keep {
        builder = builder.life(Life::Free);
    }
    if let Some(directory) = &arguments.dir {
        builder = builder.directory(directory);
    }
    let mut cell = builder.start().await?;
    println!("(made in {:.1} s)", begun.elapsed().as_secs_f64());
    cell.fts(&["lsserverentry", "-all"])?.done()?;

    match story(&mut cell, stage).await {
        Ok(()) if arguments.keep => {
            let environment = cell.places().environment();
            println!("\nThe cell runs on. To work in it: . {}", environment.display());
            println!("To end it: cargo xtask cell down --dir {}", cell.leave().display());
            Ok(())
        }
        Ok(()) => {
            cell.down()?;
            println!("\nEverything is ended and removed.");
            Ok(())
        }
        Err(error) => Err(error.context(cell.log_ends())),
    }
}

async fn story(cell: &mut Cell, stage: &mut Stage) -> Result<()> {
    stage.heading("Two writers make filesets; a watcher listens").await?;
    let load = Load::start(cell, WRITERS)?;
    load.go_on(cell, WRITERS).await?;
    let begun = (Instant::now(), load.acknowledged());
    load.go_on(cell, CHANGES).await?;
    let rate = f64::from(u32::try_from(load.acknowledged() - begun.1)?) / begun.0.elapsed().as_secs_f64();
    println!("{} changes acknowledged, {rate:.0} a second", load.acknowledged());
    println!(
        "the longest wait of a writer for its next answer: {} ms",
        load.longest().as_millis()
    );

    let leader = cell.wait_for_leader().await?;
    stage.heading(&format!("The leader, {leader}, is killed")).await?;
    load.measure_anew();
    let process = cell.process(&leader).context("the leader has no process")?.pid();
    println!("$ kill -9 {process}");
    let begun = Instant::now();
    cell.kill(&leader)?;
    let successor = cell.wait_for_leader().await?;
    println!("{successor} leads: seen after {} ms", begun.elapsed().as_millis());
    load.go_on(cell, CHANGES).await?;
    println!(
        "the writers went on; the longest that one of them waited: {} ms",
        load.longest().as_millis()
    );
    println!("{} changes acknowledged", load.acknowledged());

    stage.heading(&format!("{leader} is started again")).await?;
    let begun = Instant::now();
    cell.start(&leader)?;
    cell.wait_for_all().await?;
    println!(
        "it has a vote and all changes again after {} ms",
        begun.elapsed().as_millis()
    );
    load.go_on(cell, CHANGES).await?;

    stage.heading("The count").await?;
    let verdict = load.finish(cell).await?;
    println!("{verdict}");
    println!("{} left without an answer", verdict.doubtful.len());
    verdict.check()?;
    cell.fts(&["status"])?.done()?;
    let running = cell.named(Role::Flserver).len();
    println!("({running} members; nothing lost, nothing done twice)");
    files(cell, stage).await
}

/// Two mounts, a real tree, and a server that is killed under a writer.
async fn files(cell: &mut Cell, stage: &mut Stage) -> Result<()> {
    stage
        .heading("A home for somebody: a fileset, two machines that mount the cell")
        .await?;
    let mut roots = Vec::new();
    for name in ["client1", "client2"] {
        roots.push(cell.add_client(name, Trust::UsersAndRoot).await?);
    }
    let words = ["create", "-ftname", "user.ito", "-server", "fs1", "-aggregate", "lfs01"];
    cell.fts(&words)?.done()?;
    let home = roots[0].join("ito");
    let place = home.to_str().context("the directory's name is no text")?;
    let seat = cell.seat("client1", "admin");
    seat.fts(&["crmount", "-dir", place, "-fileset", "user.ito"])?.done()?;
    cell.fts(&["lsft", "-fileset", "user.ito"])?.done()?;

    stage
        .heading("A real tree is copied in, and compared by the other machine")
        .await?;
    let directories: Vec<PathBuf> = roots.iter().map(|root| root.join("ito")).collect();
    let begun = Instant::now();
    let copied = {
        let directories = directories.clone();
        tokio::task::spawn_blocking(move || copy_and_compare(&directories[0], &directories[1])).await??
    };
    println!("{copied}, in {:.1} s", begun.elapsed().as_secs_f64());
    fs::remove_dir_all(directories[0].join("tree"))?;

    stage
        .heading(&format!("fs1 is killed {KILLS} times while programs write"))
        .await?;
    println!("{}", kill_again_and_again(cell, &directories, KILLS).await?);
    Ok(())
}

/// Numbers the steps, and waits between them for who watches.
struct Stage {
    number: u32,
    waits: bool,
}

impl Stage {
    async fn heading(&mut self, text: &str) -> Result<()> {
        if self.waits && self.number > 0 {
            print!("\n(Enter to go on) ");
            std::io::stdout().flush()?;
            let (send, entered) = tokio::sync::oneshot::channel();
            // Not a thread of the runtime, which would wait for it where ^C ends the demo.
            std::thread::spawn(move || send.send(std::io::stdin().read_line(&mut String::new())));
            entered.await??;
        }
        self.number += 1;
        println!("\n=== {}. {text}", self.number);
        Ok(())
    }
}
