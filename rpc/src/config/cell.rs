//! `cells.d/NAME.toml`: where a cell's location database answers, and by whose word.

use std::path::Path;

use baton_security::Anchor;
use baton_types::record::Member;
use baton_types::{Address, CellId, CellName, Error, Kind, Result};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Paths, read};

const KEYS: &[&str] = &["cell", "id", "flservers", "authority"];

/// One cell that this machine can reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellFile {
    /// Its name.
    pub cell: CellName,
    /// Its id.
    id: Uuid,
    /// Where members of its location database answer; without a port, [`super::PORT_FLDB`].
    pub flservers: Vec<Address>,
    /// Its authority's certificate, in PEM form.
    authority: String,
}

impl CellFile {
    /// The cell under `anchor`, with members at `flservers`.
    pub fn new(anchor: &Anchor, flservers: Vec<Address>) -> CellFile {
        CellFile {
            cell: anchor.cell().clone(),
            id: anchor.id().0,
            flservers,
            authority: anchor.to_pem(),
        }
    }

    /// Reads the file of `cell`.
    ///
    /// # Errors
    /// `NotFound`, naming the cells there are; `Invalid`, naming file and line.
    pub fn load(paths: &Paths, cell: &CellName) -> Result<CellFile> {
        let path = paths.cell(cell);
        let file: CellFile = match read::load(&path, KEYS) {
            Err(e) if e.kind == Kind::NotFound => return Err(unknown(paths, cell)),
            result => result?,
        };
        file.check(&path)?;
        Ok(file)
    }

    /// The only cell there is, for those who named none.
    ///
    /// # Errors
    /// `NotFound` where there is none; `Invalid` where there is more than one.
    pub fn only(paths: &Paths) -> Result<CellFile> {
        match CellFile::list(paths)?.as_slice() {
            [cell] => CellFile::load(paths, cell),
            [] => Err(Error::new(Kind::NotFound, "cell")
                .because(format!(
                    "none is known on this machine ({} is empty)",
                    paths.cells().display()
                ))
                .remedy("make one: baton cell create NAME; or join one: baton join TOKEN")),
            cells => Err(Error::new(Kind::Invalid, "cell")
                .because(format!("there are {}, and none was named", names(cells)))
                .remedy("name one with -cell, or as 'cell' in baton.toml")),
        }
    }

    /// The cells that have a file here.
    ///
    /// # Errors
    /// When the directory cannot be read; that it is not there only means that there are none.
    pub fn list(paths: &Paths) -> Result<Vec<CellName>> {
        let directory = paths.cells();
        let failed = |e| Error::io(directory.display().to_string(), e);
        let entries = match std::fs::read_dir(&directory) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut cells = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            let stem = name.to_str().and_then(|name| name.strip_suffix(".toml"));
            cells.extend(stem.and_then(|stem| CellName::parse(stem).ok()));
        }
        cells.sort();
        Ok(cells)
    }

    /// Writes it, in the place of the one that is there.
    ///
    /// # Errors
    /// Whatever keeps the file from being written.
    pub fn save(&self, paths: &Paths) -> Result<()> {
        read::save(&paths.cell(&self.cell), self)
    }

    /// Writes down where the members are now, if that is news, so that the next start finds one whichever is left.
    ///
    /// # Errors
    /// Whatever keeps the file from being read or written.
    pub fn learn<'a>(paths: &Paths, cell: &CellName, members: impl IntoIterator<Item = &'a Member>) -> Result<bool> {
        let flservers: Vec<Address> = members
            .into_iter()
            .flat_map(|member| &member.addresses)
            .cloned()
            .collect();
        let known = CellFile::load(paths, cell)?;
        if flservers.is_empty() || flservers == known.flservers {
            return Ok(false);
        }
        CellFile { flservers, ..known }.save(paths)?;
        Ok(true)
    }

    /// Its id.
    pub fn id(&self) -> CellId {
        CellId(self.id)
    }

    /// Its authority.
    ///
    /// # Errors
    /// `Invalid` unless the text is the certificate of an authority; `Denied` when that is another cell's.
    pub fn anchor(&self) -> Result<Anchor> {
        let on = format!("authority of the cell {}", self.cell);
        let anchor = Anchor::from_pem(&on, &self.authority)?;
        if *anchor.cell() != self.cell || anchor.id() != self.id() {
            return Err(Error::new(Kind::Denied, on)
                .because(format!(
                    "it is the authority of {} with id {}",
                    anchor.cell(),
                    anchor.id()
                ))
                .remedy("join the cell again: baton join TOKEN"));
        }
        Ok(anchor)
    }

    fn check(&self, path: &Path) -> Result<()> {
        let bad = |why: &str| Err(Error::new(Kind::Invalid, path.display().to_string()).because(why));
        if path.file_stem() != Some(self.cell.as_str().as_ref()) {
            return bad(&format!("it is of the cell {}, which is not its own name", self.cell));
        }
        if self.flservers.is_empty() {
            return bad("it names no flservers");
        }
        self.anchor().map(drop).map_err(|e| Error {
            on: path.display().to_string(),
            ..e
        })
    }
}

fn unknown(paths: &Paths, cell: &CellName) -> Error {
    let known = match CellFile::list(paths) {
        Ok(cells) if !cells.is_empty() => format!("this machine knows {}", names(&cells)),
        _ => "this machine knows none".to_owned(),
    };
    Error::new(Kind::NotFound, format!("cell {cell}"))
        .because(format!("{} is not there; {known}", paths.cell(cell).display()))
        .remedy("to join it: baton join TOKEN")
}

fn names(cells: &[CellName]) -> String {
    cells.iter().map(CellName::as_str).collect::<Vec<_>>().join(", ")
}
