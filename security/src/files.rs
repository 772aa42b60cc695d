//! Small secret files: made so that a crash leaves the old one or the new one, never half of either.
//!
//! A private key is 0600 from its first byte on, and one that others can read is refused when it is loaded.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use baton_types::{Error, Kind, Result};
use zeroize::Zeroizing;

/// Largest file read here; a key is 300 bytes, a certificate under 2 KiB.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Its owner alone.
    Owner,
    /// Everybody: certificates are no secret.
    All,
}

impl Readers {
    fn mode(self) -> u32 {
        match self {
            Readers::Owner => 0o600,
            Readers::All => 0o644,
        }
    }
}

/// Makes `directory`, 0700 where it is new.
pub fn make_directory(directory: &Path) -> Result<()> {
    let on = || format!("directory {}", directory.display());
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|e| Error::io(on(), e))
}

/// Writes a file that must not be there yet, and returns when it is on the disk.
pub fn create(path: &Path, bytes: &[u8], readers: Readers) -> Result<()> {
    write_new(path, bytes, readers)
        .and_then(|()| sync_parent(path))
        .map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => Error::new(Kind::Exists, path.display().to_string())
                .because("it is there already and is never overwritten")
                .remedy("move it away if it is no longer wanted"),
            _ => Error::io(path.display().to_string(), e),
        })
}

/// Puts `bytes` in the place of whatever is at `path`, whole or not at all.
pub fn replace(path: &Path, bytes: &[u8], readers: Readers) -> Result<()> {
    let new = path.with_extension("new");
    let result = match fs::remove_file(&new) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => write_new(&new, bytes, readers)
            .and_then(|()| fs::rename(&new, path))
            .and_then(|()| sync_parent(path)),
    };
    result.map_err(|e| Error::io(path.display().to_string(), e))
}

/// Reads a whole file.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let on = || path.display().to_string();
    let mut bytes = Zeroizing::new(Vec::new());
    let file = File::open(path).map_err(|e| Error::io(on(), e))?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::io(on(), e))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(
            Error::new(Kind::Invalid, on()).because(format!("over {FILE_BYTES_MAX} bytes, so not what it should be"))
        );
    }
    Ok(bytes)
}

/// Reads a file that only its owner may read.
pub fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let on = || path.display().to_string();
    let mode = fs::metadata(path).map_err(|e| Error::io(on(), e))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Error::new(Kind::Denied, on())
            .because(format!(
                "a private key that others may read (mode {:04o})",
                mode & 0o7777
            ))
            .remedy(format!("if nobody did: chmod 600 {}", path.display())));
    }
    read(path)
}

fn write_new(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(readers.mode())
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A new name is durable only when its directory is.
fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn created_once_and_then_only_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("host.key");
        create(&path, b"one", Readers::Owner).unwrap();
        let error = create(&path, b"two", Readers::Owner).unwrap_err();
        assert_eq!(error.kind, Kind::Exists);
        assert!(error.to_string().contains("never overwritten"), "{error}");
        assert_eq!(read_secret(&path).unwrap().as_slice(), b"one");

        fs::write(path.with_extension("new"), b"left by a crash").unwrap();
        replace(&path, b"two", Readers::Owner).unwrap();
        assert_eq!(read_secret(&path).unwrap().as_slice(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("host.key");
        create(&path, b"secret", Readers::All).unwrap();
        let error = read_secret(&path).unwrap_err();
        assert_eq!(error.kind, Kind::Denied);
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    #[test]
    fn missing_and_oversized_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        assert_eq!(read(&path).unwrap_err().kind, Kind::NotFound);
        fs::write(&path, vec![b'x'; 65_537]).unwrap();
        let error = read(&path).unwrap_err();
        assert_eq!(error.kind, Kind::Invalid);
        assert!(error.to_string().contains("ca.pem"), "{error}");
    }
}
