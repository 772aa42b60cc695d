//! The batond of this machine, asked over its socket. What a question is about is opened here, as the caller.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use baton_proto::v1;
use baton_proto::v1::client_reply::What as Told;
use baton_proto::v1::client_request::What as Question;
use baton_rpc::config::{Daemon, Paths};
use baton_rpc::local::Line;
use baton_types::{Error, Kind, Result};
use rustix::fs::OFlags;

/// A conversation with it.
pub struct Batond(Line);

impl Batond {
    /// Begins one.
    ///
    /// # Errors
    /// `Unreachable` when none runs.
    pub fn connect(paths: &Paths) -> Result<Batond> {
        let line = Line::connect(&paths.socket(Daemon::Batond));
        line.map(Batond).map_err(|e| match e.kind {
            Kind::Unreachable => Error::new(Kind::Unreachable, "batond")
                .because("it does not run on this machine")
                .remedy("mount a cell, and it is started: mount -t baton CELL DIRECTORY"),
            _ => e,
        })
    }

    /// Asks about nothing in particular.
    ///
    /// # Errors
    /// What it refuses with; `Unreachable` when it has ended.
    pub fn ask(&mut self, question: Question) -> Result<Option<Told>> {
        self.exchange(question, None)
    }

    /// Asks about `file`.
    ///
    /// # Errors
    /// As for [`Batond::ask`].
    pub fn ask_about(&mut self, question: Question, file: &OwnedFd) -> Result<Option<Told>> {
        self.exchange(question, Some(file))
    }

    fn exchange(&mut self, question: Question, about: Option<&OwnedFd>) -> Result<Option<Told>> {
        let request = v1::ClientRequest { what: Some(question) };
        let descriptors: Vec<_> = about.iter().map(|file| file.as_fd()).collect();
        self.0.send(&request, &descriptors)?;
        match self.0.receive::<v1::ClientReply>()? {
            Some((v1::ClientReply { failure: Some(e), .. }, _)) => Err(e.into()),
            Some((v1::ClientReply { failure: None, what }, _)) => Ok(what),
            None => Err(Error::new(Kind::Unreachable, "batond").because("it ended before it answered")),
        }
    }
}

/// What it told is not what was asked for: it is of another version.
pub fn unexpected() -> Error {
    Error::new(Kind::Version, "batond")
        .because("its answer is none to this question")
        .remedy("it is of another version than this program: start it anew")
}

/// A file to ask about. Nothing is read, and no device is touched.
///
/// # Errors
/// Naming the path that leads nowhere.
pub fn open(path: &Path) -> Result<OwnedFd> {
    let file = File::options()
        .read(true)
        .custom_flags(OFlags::PATH.bits().cast_signed())
        .open(path);
    file.map(OwnedFd::from).map_err(|e| on(path, Error::io("", e)))
}

/// A name in a directory, which may be a mount point: it is not followed.
#[derive(Debug)]
pub struct Place {
    /// The directory.
    pub directory: OwnedFd,
    /// The name.
    pub name: Vec<u8>,
}

impl Place {
    /// Where `path` leads, but for its last step.
    ///
    /// # Errors
    /// Naming the path that leads nowhere, or has no last step.
    pub fn of(path: &Path) -> Result<Place> {
        let path = match path.file_name() {
            Some(_) => path.to_owned(),
            None => fs::canonicalize(path).map_err(|e| on(path, Error::io("", e)))?, // `.`, `a/..`
        };
        let none = || {
            on(
                &path,
                Error::new(Kind::Invalid, "").because("it has no directory above it"),
            )
        };
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(none());
        };
        let above = match parent.as_os_str().is_empty() {
            true => PathBuf::from("."),
            false => parent.to_owned(),
        };
        Ok(Place {
            directory: open(&above)?,
            name: name.as_bytes().to_vec(),
        })
    }
}

/// The same error, of `path`.
pub fn on(path: &Path, error: Error) -> Error {
    let path = crate::output::printable(&path.display().to_string());
    let on = match error.on.as_str() {
        "" => path,
        inner => format!("{path}: {inner}"),
    };
    Error { on, ..error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_directory_and_a_name() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("a")).unwrap();
        let same = |place: &Place, path: &Path| {
            use std::os::unix::fs::MetadataExt;
            let opened = File::from(place.directory.try_clone().unwrap()).metadata().unwrap();
            opened.ino() == fs::metadata(path).unwrap().ino()
        };
        for path in ["a", "a/", "a/.", "none"] {
            let place = Place::of(&directory.path().join(path)).unwrap();
            assert_eq!(place.name, path.trim_end_matches(['/', '.']).as_bytes(), "{path}");
            assert!(same(&place, directory.path()), "{path}");
        }
        let above = Place::of(&directory.path().join("a/..")).unwrap();
        assert_eq!(above.name, directory.path().file_name().unwrap().as_bytes());
        assert_eq!(Place::of(Path::new("a")).unwrap().name, b"a");
    }

    #[test]
    fn what_leads_nowhere_is_named() {
        assert!(
            Place::of(Path::new("/"))
                .unwrap_err()
                .to_string()
                .starts_with("/: it has no directory"),
        );
        let error = open(Path::new("/no/such")).unwrap_err();
        assert_eq!(error.kind, Kind::NotFound);
        assert!(error.to_string().starts_with("/no/such: "), "{error}");
    }
}
