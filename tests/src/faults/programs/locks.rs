//! `Holder`: one of those who take turns with a lock, and count them in the file that it is on.
//!
//! Whoever has the lock notes so in memory that all of them share, beside the cell: two at once are seen there whatever
//! the cell says. The count in the file is written under the lock and never made safe by itself: the next holder, at
//! another mount, must see it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, fcntl_lock};

use super::{Count, Meter, Program};

/// The file that is locked.
const NAME: &str = "locked";
/// How long a turn is held: most faults meet somebody inside.
const TURN: Duration = Duration::from_millis(3);

pub(super) struct Holder {
    file: File,
    shared: Arc<Shared>,
    turns: u64,
    twice: u64,
    damaged: u64,
}

#[derive(Default)]
struct Shared {
    inside: AtomicU64,
    turns: AtomicU64,
    audited: AtomicU64,
}

/// A holder for each of `directories`: the same one, as each mount shows it.
pub(super) fn holders(directories: &[PathBuf]) -> Result<Vec<Holder>> {
    let shared = Arc::<Shared>::default();
    let mut holders = Vec::new();
    for (index, directory) in directories.iter().enumerate() {
        let path = directory.join(NAME);
        if index == 0 {
            fs::write(&path, 0_u64.to_le_bytes()).with_context(|| path.display().to_string())?;
        }
        let file = File::options().read(true).write(true).open(&path);
        holders.push(Holder {
            file: file.with_context(|| path.display().to_string())?,
            shared: shared.clone(),
            turns: 0,
            twice: 0,
            damaged: 0,
        });
    }
    Ok(holders)
}

impl Holder {
    /// One more in the file; everybody's turns so far must be what it says.
    fn count(&mut self) -> Result<()> {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, 0).context("read under the lock")?;
        let (seen, done) = (
            u64::from_le_bytes(bytes),
            self.shared.turns.fetch_add(1, Ordering::SeqCst),
        );
        self.damaged += u64::from(seen != done);
        self.file
            .write_all_at(&(done + 1).to_le_bytes(), 0)
            .context("write under the lock")
    }
}

impl Program for Holder {
    fn step(&mut self, meter: &Meter) -> Result<()> {
        let asked = Instant::now();
        fcntl_lock(&self.file, FlockOperation::LockExclusive).context("lock")?;
        let others = self.shared.inside.fetch_add(1, Ordering::SeqCst);
        self.twice += u64::from(others > 0);
        let counted = self.count();
        thread::sleep(TURN);
        self.shared.inside.fetch_sub(1, Ordering::SeqCst);
        counted?;
        fcntl_lock(&self.file, FlockOperation::Unlock).context("unlock")?;
        self.turns += 1;
        meter.promised(asked);
        Ok(())
    }

    fn audit(&self, elsewhere: &Path) -> Result<Count> {
        let mut count = Count {
            promised: self.turns,
            found: self.turns,
            twice: self.twice,
            damaged: self.damaged,
        };
        // The last one to be audited reads what all have left.
        let audited = self.shared.audited.fetch_add(self.turns, Ordering::SeqCst) + self.turns;
        let turns = self.shared.turns.load(Ordering::SeqCst);
        if audited == turns {
            let left = fs::read(elsewhere.join(NAME))?;
            count.damaged += u64::from(left != turns.to_le_bytes());
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_inside_and_a_count_that_is_old_are_seen() {
        let directory = tempfile::tempdir().unwrap();
        let (path, meter) = (directory.path().to_owned(), Meter::default());
        let mut holders = holders(&[path.clone(), path.clone()]).unwrap();
        holders.iter_mut().for_each(|holder| holder.step(&meter).unwrap());
        let shared = holders[0].shared.clone();
        shared.inside.fetch_add(1, Ordering::SeqCst); // somebody who should have been kept out
        holders[0].step(&meter).unwrap();
        shared.inside.fetch_sub(1, Ordering::SeqCst);
        fs::write(path.join(NAME), 1_u64.to_le_bytes()).unwrap(); // what a cache held too long
        holders[1].step(&meter).unwrap();
        let counts = holders.iter().map(|holder| holder.audit(&path).unwrap());
        let counts: Vec<_> = counts
            .map(|count| (count.promised, count.twice, count.damaged))
            .collect();
        assert_eq!(counts, [(2, 1, 0), (2, 0, 1)]);
    }
}
