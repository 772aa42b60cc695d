//! Disks of equal making: an image file on the disk to be measured, under a loop device with direct I/O.
//!
//! Nothing of them stays, however the bench ends: the image has no name any more, the loop device goes with its last
//! user, and a file system is mounted nowhere, but held by a descriptor. So the kernel cleans up, at Ctrl-C too.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use baton_aggregate::buffer::Buffer;
use baton_aggregate::device::{Access, Device, FileDevice, Write};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

/// Bytes of each disk that were written before: room for the largest file twice, and more.
pub const WRITTEN_BYTES: u64 = 3 << 30;
/// What the images are filled by.
const PIECE_BYTES: usize = 1 << 20;

/// A disk that goes when this does.
pub struct Disk {
    path: PathBuf,
    /// While one has it open, the loop device stays.
    _held: File,
}

impl Disk {
    /// A new disk of `bytes` whose image lies in `directory`. The first [`WRITTEN_BYTES`] of it were written, and are
    /// not zero: nobody's first write pays for room on the disk below.
    pub fn new(directory: &Path, bytes: u64) -> Result<Disk> {
        let image = Image(directory.join(format!("bench-{:016x}.image", rand::random::<u64>())));
        image
            .fill(bytes)
            .with_context(|| format!("image {}", image.0.display()))?;
        let path = image.0.to_str().context("the directory's name is no text")?;
        let set_up = run("losetup", &["--find", "--show", "--direct-io=on", path])?;
        let path = PathBuf::from(set_up.trim());
        let held = File::open(&path).with_context(|| path.display().to_string());
        // While it is open this only says that it is to go when it is closed.
        run("losetup", &["--detach", set_up.trim()])?;
        Ok(Disk { path, _held: held? })
    }

    /// Its block device.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a file system on it and mounts it. Blocks are not discarded: those of the image would have to be found
    /// again at the next write.
    pub fn format(&self, kind: FileSystem) -> Result<Mount> {
        let device = self.path.to_str().context("the name of a loop device is text")?;
        run(kind.program(), &[kind.words(), &[device]].concat())?;
        mount(kind, device).with_context(|| format!("{} on {device}", kind.name()))
    }
}

/// A file system to be measured beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// With its journal, as `mkfs.ext4` makes it.
    Ext4,
    /// As `mkfs.btrfs` makes it.
    Btrfs,
}

impl FileSystem {
    /// All of them.
    pub const ALL: [FileSystem; 2] = [FileSystem::Ext4, FileSystem::Btrfs];

    /// As the kernel calls it.
    pub fn name(self) -> &'static str {
        match self {
            FileSystem::Ext4 => "ext4",
            FileSystem::Btrfs => "btrfs",
        }
    }

    fn program(self) -> &'static str {
        match self {
            FileSystem::Ext4 => "mkfs.ext4",
            FileSystem::Btrfs => "mkfs.btrfs",
        }
    }

    /// Its usual options, but everything is written now: nothing goes on behind the measurement.
    fn words(self) -> &'static [&'static str] {
        match self {
            FileSystem::Ext4 => &["-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"],
            FileSystem::Btrfs => &["-q", "-f", "-K"],
        }
    }
}

/// Says what is missing to make disks here.
///
/// # Errors
/// All of it at once.
pub fn check(directory: &Path, count: u64) -> Result<()> {
    let mut missing = Vec::new();
    if !rustix::process::geteuid().is_root() {
        missing.push("to be root: loop devices and file systems are made".to_owned());
    }
    if !Path::new("/dev/loop-control").exists() {
        missing.push("loop devices (/dev/loop-control)".to_owned());
    }
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    for kind in FileSystem::ALL {
        if !known.lines().any(|line| line.ends_with(&format!("\t{}", kind.name()))) {
            missing.push(format!("a kernel with {0} (or: modprobe {0})", kind.name()));
        }
    }
    for (program, package) in [
        ("losetup", "mount"),
        ("mkfs.ext4", "e2fsprogs"),
        ("mkfs.btrfs", "btrfs-progs"),
    ] {
        let found = Command::new(program)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if found.is_err() {
            missing.push(format!("{program} (package {package})"));
        }
    }
    let room = rustix::fs::statvfs(directory).with_context(|| directory.display().to_string())?;
    let (free, needed) = (room.f_bavail * room.f_frsize, (count * WRITTEN_BYTES) + (1 << 30));
    if free < needed {
        let [free, needed] = [free, needed].map(|bytes| bytes >> 20);
        missing.push(format!(
            "{needed} MiB in {} ({free} are free; --dir names another place)",
            directory.display()
        ));
    }
    ensure!(
        missing.is_empty(),
        "the store is not measured; missing: {}",
        missing.join("; ")
    );
    Ok(())
}

/// A file that loses its name when this goes.
struct Image(PathBuf);

impl Image {
    fn fill(&self, bytes: u64) -> Result<()> {
        File::create_new(&self.0)?.set_len(bytes)?;
        let device = FileDevice::open(&self.0, Access::Write)?;
        let mut piece = Buffer::scratch(PIECE_BYTES);
        rand::fill(&mut piece[..]);
        for offset in (0..WRITTEN_BYTES).step_by(PIECE_BYTES) {
            device.submit(&[Write { offset, bytes: &piece }])?;
        }
        Ok(device.flush()?)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // Only if it was never made, and then nothing is left of it.
        let _ = fs::remove_file(&self.0);
    }
}

/// A file system that is mounted nowhere: it goes when this does.
pub struct Mount {
    /// Its root directory.
    pub root: OwnedFd,
    _mount: OwnedFd,
}

impl Mount {
    /// Its root directory, for this process and those it starts.
    pub fn path(&self) -> PathBuf {
        let number = std::os::fd::AsRawFd::as_raw_fd(&self.root);
        PathBuf::from(format!("/proc/{}/fd/{number}", std::process::id()))
    }
}

fn mount(kind: FileSystem, device: &str) -> Result<Mount> {
    let context = rustix::mount::fsopen(kind.name(), FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(context.as_fd(), "source", device)?;
    match kind {
        FileSystem::Ext4 => rustix::mount::fsconfig_set_string(context.as_fd(), "data", "ordered")?,
        FileSystem::Btrfs => rustix::mount::fsconfig_set_flag(context.as_fd(), "nodiscard")?,
    }
    rustix::mount::fsconfig_create(context.as_fd())?;
    let flags = MountAttrFlags::empty();
    let mount = rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags)?;
    // The mount's own descriptor is good for paths only, not to synchronise.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(&mount, ".", flags, Mode::empty())?;
    Ok(Mount { root, _mount: mount })
}

fn run(program: &str, words: &[&str]) -> Result<String> {
    let output = Command::new(program).args(words).output();
    let output = output.with_context(|| format!("{program} does not start"))?;
    if !output.status.success() {
        bail!(
            "{program} {}: {}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}
