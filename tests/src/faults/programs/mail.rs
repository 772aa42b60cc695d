//! `Delivery`: mail into a Maildir: written, made safe, renamed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};

use super::{Count, Meter, Program};

/// Of a short letter.
const DATA_BYTES: usize = 5_000;

pub(super) struct Delivery {
    maildir: PathBuf,
    promised: u64,
}

impl Delivery {
    pub(super) fn begin(maildir: &Path) -> Result<Delivery> {
        for folder in ["tmp", "new"] {
            fs::create_dir_all(maildir.join(folder)).with_context(|| maildir.display().to_string())?;
        }
        Ok(Delivery {
            maildir: maildir.to_owned(),
            promised: 0,
        })
    }
}

impl Program for Delivery {
    fn step(&mut self, meter: &Meter) -> Result<()> {
        let (asked, name) = (Instant::now(), self.promised.to_string());
        let tmp = self.maildir.join("tmp").join(&name);
        let mut file = File::create_new(&tmp).context("create")?;
        file.write_all(&contents(self.promised)).context("write")?;
        file.sync_all().context("fsync")?;
        fs::rename(&tmp, self.maildir.join("new").join(&name)).context("rename")?;
        self.promised += 1;
        meter.promised(asked);
        Ok(())
    }

    fn audit(&self, elsewhere: &Path) -> Result<Count> {
        let mut count = Count {
            promised: self.promised,
            damaged: fs::read_dir(elsewhere.join("tmp"))?.count() as u64,
            ..Count::default()
        };
        let mut seen = BTreeSet::new();
        for entry in fs::read_dir(elsewhere.join("new"))? {
            let entry = entry?;
            let number = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
            let is_good = |number: &u64| {
                *number < self.promised && fs::read(entry.path()).is_ok_and(|bytes| bytes == contents(*number))
            };
            match number.filter(is_good) {
                Some(number) if seen.insert(number) => count.found += 1,
                Some(_) => count.twice += 1,
                None => count.damaged += 1,
            }
        }
        Ok(count)
    }
}

fn contents(number: u64) -> Vec<u8> {
    number.to_le_bytes().iter().copied().cycle().take(DATA_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_are_gone_or_spoilt_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        let (maildir, meter) = (directory.path().join("mail"), Meter::default());
        let mut delivery = Delivery::begin(&maildir).unwrap();
        (0..4).for_each(|_| delivery.step(&meter).unwrap());
        assert!(delivery.audit(&maildir).unwrap().checked().is_ok());
        fs::remove_file(maildir.join("new/0")).unwrap();
        fs::write(maildir.join("new/1"), "something else").unwrap();
        fs::copy(maildir.join("new/2"), maildir.join("tmp/4")).unwrap();
        let count = delivery.audit(&maildir).unwrap();
        assert_eq!((count.promised, count.found, count.damaged), (4, 2, 2), "{count}");
    }
}
