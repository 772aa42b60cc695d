//! Mounts: machines of users, each with its batond, and the directory where the cell is seen.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::mount::{UnmountFlags, unmount};

use super::{Cell, Places, Role};

/// What the servers believe a client machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Who its users are.
    Users,
    /// That, and that its root is root.
    UsersAndRoot,
}

impl Places {
    /// Where the machine `client` shows the cell.
    pub fn mount(&self, client: &str) -> PathBuf {
        self.directory().join("mnt").join(client)
    }
}

impl Cell {
    /// Sets up a client machine, and mounts the cell there.
    ///
    /// # Errors
    /// What a command said that failed.
    pub async fn add_client(&mut self, name: &str, trust: Trust) -> Result<PathBuf> {
        self.add_machine(name, Role::Client)?;
        let token = self.invite(&[name])?;
        let seat = self.seat(name, self.administrator_name());
        seat.baton(&["join", &token, "--no-start"])?.done()?;
        self.fts(&["cell", "set", "auth", "cert,host-trust"])?.done()?;
        let principal = format!("hosts/{name}");
        let root = match trust {
            Trust::Users => "off",
            Trust::UsersAndRoot => "on",
        };
        let words = ["--may-assert-users", "on", "--may-assert-root", root];
        self.baton(&[&["cell", "principal", &principal][..], &words].concat())?
            .done()?;
        self.start(name)?;
        let socket = self.places().root(name).join("run/baton/client.sock");
        let what = format!("the batond of {name} answers");
        self.wait(&what, async || socket.exists().then_some(())).await?;
        self.mount(name).await
    }

    /// Mounts the cell at a machine whose batond runs, and waits until its root is seen.
    ///
    /// # Errors
    /// What the command said that failed.
    pub async fn mount(&self, name: &str) -> Result<PathBuf> {
        let directory = self.places().mount(name);
        std::fs::create_dir_all(&directory)?;
        let path = directory.to_str().context("the directory's name is no text")?;
        let seat = self.seat(name, self.administrator_name());
        let words = [self.name(), path];
        self.wait(&format!("{name} mounts the cell"), async || {
            let said = seat.run("mount.baton", &words).ok()?;
            (said.code == 0).then_some(())
        })
        .await?;
        ensure!(is_mounted(&directory)?, "{} is no mount", directory.display());
        let root = directory.clone();
        self.wait(&format!("{name} sees the root of the cell"), async || {
            let root = root.clone();
            let listed = tokio::task::spawn_blocking(move || std::fs::read_dir(root).map(Iterator::count));
            listed.await.ok()?.ok()
        })
        .await?;
        Ok(directory)
    }

    /// Takes away what is left of the mount of `clientNUMBER`, and mounts the cell there anew.
    ///
    /// # Errors
    /// When there is no such machine; what the command said that failed.
    pub async fn remount(&self, number: usize) -> Result<PathBuf> {
        let name = format!("client{number}");
        self.machine(&name)?;
        detach(&self.places().mount(&name));
        self.mount(&name).await
    }

    /// Takes away what is left of mounts.
    pub(super) fn unmount_all(&self) {
        for client in self.named(Role::Client) {
            detach(&self.places().mount(&client));
        }
    }
}

/// Unmounts all that is mounted at `directory`; one that is gone already is as it should be.
fn detach(directory: &Path) {
    while is_mounted(directory).unwrap_or(false) {
        if let Err(error) = unmount(directory, UnmountFlags::DETACH) {
            eprintln!("{}: {error}", directory.display());
            break;
        }
    }
}

/// Whether something is mounted at `directory`, asked of the kernel and not of the mount.
fn is_mounted(directory: &Path) -> Result<bool> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let directory = directory.to_str().context("the directory's name is no text")?;
    Ok(mounts
        .lines()
        .any(|line| line.split(' ').nth(1).is_some_and(|at| at == directory)))
}
