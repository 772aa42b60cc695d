//! What is measured, in one directory.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use baton_tests::suites::sources;

const FILES: usize = 5_000;
const DATA_BYTES: usize = 4 << 10;
/// How often all files are looked at when that is done from memory.
const WARM_TIMES: usize = 20;
const DELIVERIES: usize = 500;
const PIECE_BYTES: usize = 1 << 20;
const LONG_BYTES: u64 = 1 << 30;
const RANDOM: usize = 4_000;
/// Packages in the tree that is unpacked: some thousand files.
const PACKAGES: usize = 40;

/// A tree, packed.
pub struct Archive {
    path: PathBuf,
    files: usize,
    _directory: tempfile::TempDir,
}

impl Archive {
    /// Of the sources that Baton is built upon.
    pub fn new() -> Result<Archive> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("tree.tar");
        let mut command = Command::new("tar");
        command.arg("-cf").arg(&path);
        for source in sources()?.iter().take(PACKAGES) {
            let (parent, name) = (
                source.parent().context("a folder")?,
                source.file_name().context("a name")?,
            );
            command.arg("-C").arg(parent).arg(name);
        }
        run(&mut command)?;
        let listed = Command::new("tar").arg("-tf").arg(&path).output()?;
        let files = listed.stdout.iter().filter(|byte| **byte == b'\n').count();
        Ok(Archive {
            path,
            files,
            _directory: directory,
        })
    }
}

/// A directory to be measured.
pub struct Place {
    /// Whose.
    pub name: &'static str,
    /// How many the last measurement did.
    pub count: usize,
    directory: PathBuf,
    tree_files: usize,
}

impl Place {
    /// A new directory.
    pub fn new(name: &'static str, directory: PathBuf) -> Result<Place> {
        fs::create_dir(&directory).with_context(|| directory.display().to_string())?;
        Ok(Place {
            name,
            count: 0,
            directory,
            tree_files: 0,
        })
    }

    /// Has everything done that was taken: it is on the disk.
    ///
    /// # Errors
    /// What the system says.
    pub fn settle(&self) -> Result<()> {
        let directory = File::open(&self.directory)?;
        directory.sync_all()?;
        Ok(rustix::fs::syncfs(&directory)?)
    }

    /// Removes it with all in it.
    pub fn remove(self) -> Result<()> {
        Ok(fs::remove_dir_all(&self.directory)?)
    }

    pub fn create(&mut self) -> Result<f64> {
        let folder = self.directory.join("small");
        fs::create_dir(&folder)?;
        let data = noise(DATA_BYTES);
        self.timed(FILES, |_| {
            for index in 0..FILES {
                File::create_new(folder.join(index.to_string()))?.write_all(&data)?;
            }
            Ok(())
        })
    }

    pub fn stat_cold(&mut self) -> Result<f64> {
        drop_caches()?;
        self.timed(FILES, Place::stat_all)
    }

    pub fn stat_warm(&mut self) -> Result<f64> {
        self.stat_all()?;
        let millis = self.timed(FILES * WARM_TIMES, |place| {
            (0..WARM_TIMES).try_for_each(|_| place.stat_all())
        })?;
        Ok(self.count as f64 / millis * 1e3)
    }

    pub fn read_cold(&mut self) -> Result<f64> {
        drop_caches()?;
        self.timed(FILES, Place::read_all)
    }

    pub fn read_warm(&mut self) -> Result<f64> {
        self.read_all()?;
        self.timed(FILES, Place::read_all)
    }

    pub fn deliver(&mut self) -> Result<f64> {
        for folder in ["tmp", "new"] {
            fs::create_dir(self.directory.join(folder))?;
        }
        let data = noise(DATA_BYTES);
        let millis = self.timed(DELIVERIES, |place| {
            for index in 0..DELIVERIES {
                let name = index.to_string();
                let (tmp, new) = (
                    place.directory.join("tmp").join(&name),
                    place.directory.join("new").join(&name),
                );
                let mut file = File::create_new(&tmp)?;
                file.write_all(&data)?;
                file.sync_all()?;
                fs::rename(&tmp, &new)?;
            }
            Ok(())
        })?;
        Ok(self.count as f64 / millis * 1e3)
    }

    pub fn untar(&mut self, archive: &Archive) -> Result<f64> {
        let tree = self.directory.join("tree");
        fs::create_dir(&tree)?;
        self.tree_files = archive.files;
        self.timed(archive.files, |_| {
            run(Command::new("tar").arg("-xf").arg(&archive.path).arg("-C").arg(&tree))
        })
    }

    pub fn remove_tree(&mut self) -> Result<f64> {
        let tree = self.directory.join("tree");
        self.timed(self.tree_files, |_| Ok(fs::remove_dir_all(&tree)?))
    }

    pub fn write_long(&mut self) -> Result<f64> {
        let piece = noise(PIECE_BYTES);
        let path = self.directory.join("long");
        let pieces = LONG_BYTES / PIECE_BYTES as u64;
        let millis = self.timed(pieces as usize, |_| {
            let mut file = File::create_new(&path)?;
            (0..pieces).try_for_each(|_| file.write_all(&piece))?;
            Ok(file.sync_all()?)
        })?;
        Ok(megabytes_per_second(millis))
    }

    pub fn read_long(&mut self) -> Result<f64> {
        drop_caches()?;
        self.read_again()
    }

    pub fn read_again(&mut self) -> Result<f64> {
        let path = self.directory.join("long");
        let mut piece = vec![0; PIECE_BYTES];
        let pieces = LONG_BYTES / PIECE_BYTES as u64;
        let millis = self.timed(pieces as usize, |_| {
            let mut file = File::open(&path)?;
            Ok((0..pieces).try_for_each(|_| file.read_exact(&mut piece))?)
        })?;
        Ok(megabytes_per_second(millis))
    }

    pub fn read_random(&mut self) -> Result<f64> {
        drop_caches()?;
        let file = File::open(self.directory.join("long"))?;
        let mut bytes = [0; DATA_BYTES];
        let millis = self.timed(RANDOM, |_| {
            Ok((0..RANDOM).try_for_each(|_| file.read_exact_at(&mut bytes, anywhere()))?)
        })?;
        Ok(self.count as f64 / millis * 1e3)
    }

    pub fn write_random(&mut self) -> Result<f64> {
        let file = OpenOptions::new().write(true).open(self.directory.join("long"))?;
        let data = noise(DATA_BYTES);
        let millis = self.timed(RANDOM, |_| {
            (0..RANDOM).try_for_each(|_| file.write_all_at(&data, anywhere()))?;
            Ok(file.sync_all()?)
        })?;
        Ok(self.count as f64 / millis * 1e3)
    }

    /// Milliseconds that `work` takes for `count` of something.
    fn timed(&mut self, count: usize, work: impl FnOnce(&mut Place) -> Result<()>) -> Result<f64> {
        self.count = count;
        let begun = Instant::now();
        work(self)?;
        let took: Duration = begun.elapsed();
        Ok(took.as_secs_f64() * 1e3)
    }

    fn stat_all(&mut self) -> Result<()> {
        let folder = self.directory.join("small");
        for index in 0..FILES {
            let metadata = fs::metadata(folder.join(index.to_string()))?;
            ensure!(
                metadata.len() == DATA_BYTES as u64,
                "file {index} has {} bytes",
                metadata.len()
            );
        }
        Ok(())
    }

    fn read_all(&mut self) -> Result<()> {
        let folder = self.directory.join("small");
        for index in 0..FILES {
            let bytes = fs::read(folder.join(index.to_string()))?;
            ensure!(bytes.len() == DATA_BYTES, "file {index} has {} bytes", bytes.len());
        }
        Ok(())
    }
}

fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rand::fill(&mut bytes[..]);
    bytes
}

fn anywhere() -> u64 {
    rand::random_range(0..LONG_BYTES / DATA_BYTES as u64) * DATA_BYTES as u64
}

fn megabytes_per_second(millis: f64) -> f64 {
    LONG_BYTES as f64 / 1e3 / millis
}

/// Writes back and forgets all that the kernel caches, of every file system.
fn drop_caches() -> Result<()> {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").context("only root can make the kernel forget")
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status()?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
