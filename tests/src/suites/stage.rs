//! Where a suite is played: a cell with mounts, and in it a fileset of the suite's own.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::cell::{Builder, Cell, Role, Trust};

/// A cell that serves one fileset for a suite.
#[derive(Debug)]
pub struct Stage {
    /// The cell.
    pub cell: Cell,
    /// The root of the cell, as each mount shows it.
    roots: Vec<PathBuf>,
    /// The fileset's root, as each mount shows it.
    pub directories: Vec<PathBuf>,
}

/// Room for what any suite writes.
const DISK_BYTES: u64 = 12 << 30;
/// Where the fileset is, unless said otherwise.
const AGGREGATE: &str = "lfs01";
/// The fileset, and its mount point in the root of the cell.
const FILESET: &str = "stage";

impl Stage {
    /// A cell of one member, and one server if `builder` asks for no more, with so many mounts, made as it says otherwise.
    ///
    /// # Errors
    /// As of [`Stage::within`].
    pub async fn set(builder: Builder, mounts: usize, trust: Trust) -> Result<Stage> {
        let cell = builder.flservers(1).servers_at_least(1).aggregates(1);
        Stage::within(cell.disk_bytes(DISK_BYTES).start().await?, mounts, trust).await
    }

    /// A fileset for a suite in `cell`, where fs1 exports lfs01, with so many mounts. The fileset is made by a root whom
    /// the servers believe; with [`Trust::Users`] they cease to when everybody may write there.
    ///
    /// # Errors
    /// What a command said that failed.
    pub async fn within(mut cell: Cell, mounts: usize, trust: Trust) -> Result<Stage> {
        let mut roots = Vec::new();
        for index in 0..mounts {
            roots.push(
                cell.add_client(&format!("client{}", index + 1), Trust::UsersAndRoot)
                    .await?,
            );
        }
        make(&cell, &roots, AGGREGATE, FILESET).await?;
        if trust == Trust::Users {
            for client in cell.named(Role::Client) {
                let principal = format!("hosts/{client}");
                let words = ["cell", "principal", &principal, "--may-assert-root", "off"];
                cell.baton(&words)?.done()?;
            }
        }
        let directories = roots.iter().map(|root| root.join(FILESET)).collect();
        Ok(Stage {
            cell,
            roots,
            directories,
        })
    }

    /// Another fileset, as each mount shows it: so far the first one is alone in it.
    ///
    /// # Errors
    /// What a command said that failed.
    pub async fn another(&self, name: &str) -> Result<Vec<PathBuf>> {
        self.another_on(AGGREGATE, name).await
    }

    /// The same, on an aggregate that fs1 exports.
    ///
    /// # Errors
    /// What a command said that failed.
    pub async fn another_on(&self, aggregate: &str, name: &str) -> Result<Vec<PathBuf>> {
        make(&self.cell, &self.roots, aggregate, name).await?;
        Ok(self.roots.iter().map(|root| root.join(name)).collect())
    }

    /// The directory at the first mount.
    pub fn first(&self) -> &PathBuf {
        &self.directories[0]
    }

    /// The directory at the last mount: another one, if there are two.
    pub fn last(&self) -> &PathBuf {
        &self.directories[self.directories.len() - 1]
    }
}

/// A fileset with a mount point of its name in the root of the cell, where everybody may write.
async fn make(cell: &Cell, roots: &[PathBuf], aggregate: &str, name: &str) -> Result<()> {
    let words = ["create", "-ftname", name, "-server", "fs1", "-aggregate", aggregate];
    // The server may just have been started.
    let made = async || cell.fts(&words).ok().filter(|said| said.code == 0);
    cell.wait(&format!("the fileset {name} is made"), made).await?;
    let place = roots.first().context("a stage needs a mount")?.join(name);
    let place = place.to_str().context("the directory's name is no text")?;
    let seat = cell.seat("client1", cell.administrator_name());
    seat.fts(&["crmount", "-dir", place, "-fileset", name])?.done()?;
    // The client hears of a new fileset by itself, sooner or later.
    let mode = || std::fs::Permissions::from_mode(0o1777);
    let opened = async || std::fs::set_permissions(place, mode()).ok();
    cell.wait(&format!("{place} leads to the fileset"), opened).await
}
