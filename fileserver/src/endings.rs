//! What ended an earlier run of this server: a panic while it took an aggregate is told to the location database by
//! the next run, so that the input that caused it does not end one server after the other (I10).
//!
//! It is the hook of the panic that writes it down: a process that is killed from outside, or for want of memory,
//! leaves nothing, and the aggregate that it was taking is blameless.

use std::cell::Cell;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use baton_types::{AggregateId, Epoch};
use uuid::Uuid;

/// More than anybody reads of a panic.
const WHY_BYTES_MAX: usize = 400;
const SUFFIX: &str = ".ended";

thread_local! {
    static TAKING: Cell<Option<(AggregateId, Epoch)>> = const { Cell::new(None) };
}

/// This thread takes an aggregate for as long as this lives.
#[derive(Debug)]
pub struct Taking(());

impl Taking {
    /// It begins.
    pub fn begin(aggregate: AggregateId, epoch: Epoch) -> Taking {
        TAKING.set(Some((aggregate, epoch)));
        Taking(())
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        // While a panic unwinds it is not over: the hook has run by then.
        TAKING.set(None);
    }
}

/// What an earlier run left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What it was taking.
    pub aggregate: AggregateId,
    /// Under which epoch.
    pub epoch: Epoch,
    /// In one line for people.
    pub why: String,
    path: PathBuf,
}

impl Ending {
    /// It was told.
    pub fn forget(&self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, file = %self.path.display(), "what ended an earlier run is told again at the next start");
        }
    }
}

/// From now on a panic of a thread that takes an aggregate is written down in `directory`, before anything else.
pub fn note_in(directory: PathBuf) {
    let then = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if let Some((aggregate, epoch)) = TAKING.get() {
            // There is nothing left to do if it fails: the process ends.
            let _ = note(&directory, aggregate, epoch, &panic.to_string());
        }
        then(panic);
    }));
}

fn note(directory: &Path, aggregate: AggregateId, epoch: Epoch, why: &str) -> std::io::Result<()> {
    let mut file = File::create(directory.join(format!("{}{SUFFIX}", aggregate.0)))?;
    let why: String = why.chars().take(WHY_BYTES_MAX).collect();
    write!(
        file,
        "{epoch}\n{}\n",
        why.split_whitespace().collect::<Vec<_>>().join(" ")
    )?;
    file.sync_all()
}

/// What earlier runs left in `directory`. What cannot be understood is left alone.
pub fn left_in(directory: &Path) -> Vec<Ending> {
    let Ok(files) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    files.filter_map(|file| read(file.ok()?.path())).collect()
}

fn read(path: PathBuf) -> Option<Ending> {
    let id = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?;
    let aggregate = AggregateId(Uuid::parse_str(id).ok()?);
    let text = std::fs::read_to_string(&path).ok()?;
    let (epoch, why) = text.split_once('\n')?;
    Some(Ending {
        aggregate,
        epoch: Epoch(epoch.parse().ok()?),
        why: format!("an earlier run ended when it took it: {}", why.trim()),
        path,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_of_a_thread_that_takes_an_aggregate_is_told_once() {
        let directory = tempfile::tempdir().unwrap();
        let aggregate = AggregateId(Uuid::from_u128(7));
        note_in(directory.path().to_owned());
        let panics = |taking: fn() -> Option<Taking>| {
            let thread = std::thread::spawn(move || {
                let _taking = taking();
                panic!("block 9\nis nowhere");
            });
            assert!(thread.join().is_err());
        };
        panics(|| None);
        panics(|| {
            drop(Taking::begin(AggregateId(Uuid::from_u128(8)), Epoch(3)));
            None
        });
        assert_eq!(left_in(directory.path()), [], "neither took one");
        panics(|| Some(Taking::begin(AggregateId(Uuid::from_u128(7)), Epoch(4))));
        std::fs::write(directory.path().join("7.ended"), "nonsense").unwrap();
        let left = left_in(directory.path());
        assert_eq!((left[0].aggregate, left[0].epoch, left.len()), (aggregate, Epoch(4), 1));
        assert!(left[0].why.ends_with("block 9 is nowhere"), "{}", left[0].why);
        left[0].forget();
        assert_eq!(left_in(directory.path()), []);
    }
}
