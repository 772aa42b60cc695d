//! The store on redb: two databases, and a checksum of our own on everything.
//!
//! | file | table | row |
//! |---|---|---|
//! | `log.redb` | `entries` | index → seal, bytes |
//! | | `marks` | → seal, format, [`Marks`] |
//! | `snapshot.redb` | `head` | → seal, format, meta, length and blake3 of the data |
//! | | `chunks` | number → bytes |
//!
//! Two files, because redb has one writer a database: a vote must not wait until a snapshot is written. A *seal*
//! is 16 bytes of blake3 over a tag and the row: redb proves its pages with a hash that is not cryptographic, and
//! only when it repairs, so what it returns is checked again here (I11). Marks that say which indexes exist prove
//! that none is missing.
//!
//! **Every commit is two-phase.** In one phase redb saves a sync, but cannot tell a damaged last commit from a
//! torn one: it goes back to the one before, and an acknowledged vote is forgotten in silence. In two phases a
//! commit that was made and does not verify is an error. Besides, clients choose the bytes of entries, and
//! against chosen bytes redb itself advises two phases. Commits of one entry took 0.34 ms so and 0.20 ms in one
//! phase, of 64 entries 0.56 and 0.42 ms, beside 0.13 ms for a bare write and sync (entries of 264 bytes, ext4 on
//! a virtual disk that syncs fast; on a slow one the second sync is what counts, and batches share it).
//!
//! **Every open proves every page.** After a kill redb does so anyway, on the walk that finds the free pages; after
//! a clean stop it is asked to. The walk took 3 ms with 10,000 such entries, 50 ms with 100,000 of 500 bytes,
//! 120 ms with a snapshot of 100 MB (page cache warm). *Quick repair*, which keeps the free pages in each commit,
//! would save those and cost 0.06 ms a commit, and the proof.
//!
//! What is left: redb believes a few bytes before it proves them, and panics at some of them when they are damaged;
//! then the process ends, and no wrong answer was given. And one bit says which of the two last commits counts: if
//! just that one turns over, in a member that was killed, its last commit is gone unnoticed.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use baton_types::{Error, Kind, Result};
use redb::{
    Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    StorageBackend, TableDefinition, WriteTransaction,
};
use serde::{Deserialize, Serialize};

use super::{Batch, LogStore, Marks, Snapshot};

const LOG: &str = "log.redb";
const SNAPSHOT: &str = "snapshot.redb";

const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");
const MARKS: TableDefinition<(), &[u8]> = TableDefinition::new("marks");
const HEAD: TableDefinition<(), &[u8]> = TableDefinition::new("head");
const CHUNKS: TableDefinition<u64, &[u8]> = TableDefinition::new("chunks");

/// What the rows above look like. A member refuses a format that it does not know.
const FORMAT: u16 = 1;
/// Enough for the entries that followers still ask for; redb's own default is 1 GiB.
const CACHE_BYTES: usize = 16 << 20;
/// Just under the 64 KiB of one redb page, which a full 64 KiB with its header would double.
const CHUNK_BYTES: usize = (64 << 10) - 512;
/// As many bytes of blake3 as a block of an aggregate has (I11).
const SEAL_BYTES: usize = 16;

const REMEDY_SPACE: &str = "make room on its file system, then start flserver again";
const REMEDY_DEVICE: &str = "see what the kernel's log says of the disk, then start flserver again";
const REMEDY_DAMAGED: &str = "set the directory aside and let this host join anew as a new member, it then learns \
     everything from the others; a cell without other members is restored from a file";

/// The log and the snapshot of a member in one directory.
pub struct RedbStore {
    log: Base,
    snapshot: Base,
    /// The first failed write. Since then nobody knows what the disk holds.
    failed: OnceLock<Error>,
}

/// One database and what a person calls it.
struct Base {
    database: Database,
    name: String,
}

/// What proves the chunks of a snapshot.
#[derive(Serialize, Deserialize)]
struct Head {
    meta: Vec<u8>,
    data_bytes: u64,
    data_hash: [u8; 32],
}

impl RedbStore {
    /// Opens the store in `dir`, which exists, and makes its files if the member is new. Whoever opens it holds
    /// the directory's lock.
    ///
    /// # Errors
    /// `Busy` if another process has it open; `Damaged` if a file is missing or does not verify; `Version` if its
    /// format is unknown; `NoSpace`, `Denied`, `Io` from the device.
    pub fn open(dir: &Path) -> Result<RedbStore> {
        let (log, snapshot) = (dir.join(LOG), dir.join(SNAPSHOT));

        if !log.exists() {
            // The log is made first: a snapshot without one is a member that lost its vote, not a new one.
            if snapshot.exists() {
                return Err(damaged(
                    &log.display().to_string(),
                    "missing, though there is a snapshot",
                ));
            }
            create(dir, &log, Base::initialize)?;
        }
        let log = Base::open_file(&log)?;
        let marks = log.verified()?;

        if !snapshot.exists() {
            if let Some((through, _)) = marks.purged {
                let reason = format!("missing, and the log before {through} is in it alone");
                return Err(damaged(&snapshot.display().to_string(), reason));
            }
            create(dir, &snapshot, |_| Ok(()))?;
        }
        let snapshot = Base::open_file(&snapshot)?;
        Ok(RedbStore {
            log,
            snapshot,
            failed: OnceLock::new(),
        })
    }

    /// Opens the store over two devices, new if they are empty.
    ///
    /// # Errors
    /// As [`RedbStore::open`].
    pub fn open_with(log: impl StorageBackend, snapshot: impl StorageBackend) -> Result<RedbStore> {
        let is_new = log.len().map_err(|e| Error::io(LOG, e))? == 0;
        let log = Base::open(LOG.into(), |builder| builder.create_with_backend(log))?;
        if is_new {
            log.initialize()?;
        }
        log.verified()?;
        let snapshot = Base::open(SNAPSHOT.into(), |builder| builder.create_with_backend(snapshot))?;
        Ok(RedbStore {
            log,
            snapshot,
            failed: OnceLock::new(),
        })
    }

    /// Refuses everything once a write has failed.
    fn usable(&self) -> Result<()> {
        match self.failed.get() {
            None => Ok(()),
            Some(error) => {
                let reason = format!("refused since a write failed: {}", error.reason);
                Err(error.clone().because(reason))
            }
        }
    }

    /// Remembers the first failed write. A batch refused by its rules has written nothing.
    fn remember<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && error.kind != Kind::Invalid
        {
            self.failed.get_or_init(|| error.clone());
        }
        result
    }

    fn write_batch(&self, batch: &Batch) -> Result<()> {
        let log = &self.log;
        let write = log.write()?;
        let marks = log.marks(&write.open_table(MARKS).at(log)?)?.after(batch, &log.name)?;
        {
            let mut entries = write.open_table(ENTRIES).at(log)?;
            if let Some(from) = batch.truncate_from {
                entries.retain_in(from.., |_, _| false).at(log)?;
            }
            for (index, bytes) in &batch.append {
                entries
                    .insert(index, sealed(&entry_tag(*index), bytes).as_slice())
                    .at(log)?;
            }
            if let Some((through, _)) = &batch.purge_through {
                entries.retain_in(..=*through, |_, _| false).at(log)?;
            }
        }
        log.put_marks(&write, &marks)?;
        write.commit().at(log)
    }

    fn write_snapshot(&self, snapshot: &Snapshot) -> Result<()> {
        let base = &self.snapshot;
        let write = base.write()?;
        write.delete_table(CHUNKS).at(base)?;
        {
            let mut chunks = write.open_table(CHUNKS).at(base)?;
            for (number, chunk) in (0u64..).zip(snapshot.data.chunks(CHUNK_BYTES)) {
                chunks.insert(number, chunk).at(base)?;
            }
            let head = Head {
                meta: snapshot.meta.clone(),
                data_bytes: snapshot.data.len() as u64,
                data_hash: *blake3::hash(&snapshot.data).as_bytes(),
            };
            let row = sealed(b"head", &encoded(&head, base)?);
            write.open_table(HEAD).at(base)?.insert((), row.as_slice()).at(base)?;
        }
        write.commit().at(base)
    }
}

impl LogStore for RedbStore {
    fn marks(&self) -> Result<Marks> {
        self.usable()?;
        let read = self.log.read()?;
        self.log.marks(&read.open_table(MARKS).at(&self.log)?)
    }

    fn entries(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<(u64, Vec<u8>)>> {
        self.usable()?;
        let log = &self.log;
        let read = log.read()?;
        let present = log.marks(&read.open_table(MARKS).at(log)?)?.indexes();
        let wanted = range.start.max(present.start)..range.end.min(present.end);
        if wanted.is_empty() {
            return Ok(Vec::new());
        }

        let mut rows = read.open_table(ENTRIES).at(log)?.range(wanted.clone()).at(log)?;
        let (mut found, mut bytes_found) = (Vec::new(), 0);
        for index in wanted {
            let row = rows.next().transpose().at(log)?;
            // A seal is of one index: with a row missing, the next one does not match.
            let (_, row) = row.ok_or_else(|| log.damaged(format!("entry {index} is missing")))?;
            let bytes = opened(&entry_tag(index), row.value())
                .ok_or_else(|| log.damaged(format!("entry {index} does not match its checksum")))?;
            bytes_found += bytes.len();
            if bytes_found > bytes_max && !found.is_empty() {
                break;
            }
            found.push((index, bytes.to_vec()));
        }
        Ok(found)
    }

    fn commit(&self, batch: &Batch) -> Result<()> {
        self.usable()?;
        self.remember(self.write_batch(batch))
    }

    fn save_snapshot(&self, snapshot: &Snapshot) -> Result<()> {
        self.usable()?;
        self.remember(self.write_snapshot(snapshot))
    }

    fn load_snapshot(&self) -> Result<Option<Snapshot>> {
        self.usable()?;
        let base = &self.snapshot;
        let read = base.read()?;
        let head = match read.open_table(HEAD) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            head => head.at(base)?,
        };
        let row = head
            .get(())
            .at(base)?
            .ok_or_else(|| base.damaged("the snapshot has no head"))?;
        let bytes = opened(b"head", row.value())
            .ok_or_else(|| base.damaged("the head of the snapshot does not match its checksum"))?;
        let head: Head = decoded(bytes, base)?;

        let mut data = Vec::with_capacity(usize::try_from(head.data_bytes).unwrap_or_default());
        for row in read.open_table(CHUNKS).at(base)?.iter().at(base)? {
            data.extend_from_slice(row.at(base)?.1.value());
        }
        if data.len() as u64 != head.data_bytes || *blake3::hash(&data).as_bytes() != head.data_hash {
            return Err(base.damaged("the snapshot does not match its checksum"));
        }
        Ok(Some(Snapshot { meta: head.meta, data }))
    }
}

impl Base {
    /// Opens a database and proves every page of it.
    fn open(name: String, open: impl FnOnce(&Builder) -> Result<Database, DatabaseError>) -> Result<Base> {
        let failed = |error: DatabaseError| failure(&name, error.into()).op("open");
        let is_proven = Arc::new(AtomicBool::new(false));
        let repaired = Arc::clone(&is_proven);
        let mut builder = Builder::new();
        builder
            .set_cache_size(CACHE_BYTES)
            .set_repair_callback(move |_| repaired.store(true, Ordering::Relaxed));

        let mut database = open(&builder).map_err(failed)?;
        // False says that all is there and only the record of free pages was not right, and now is.
        if !is_proven.load(Ordering::Relaxed) && !database.check_integrity().map_err(failed)? {
            tracing::warn!(file = name, "the record of free pages was wrong and was made anew");
        }
        Ok(Base { database, name })
    }

    fn open_file(path: &Path) -> Result<Base> {
        Base::open(path.display().to_string(), |builder| builder.open(path))
    }

    /// Writes the first marks: from then on a log without them is damaged.
    fn initialize(&self) -> Result<()> {
        let write = self.write()?;
        write.open_table(ENTRIES).at(self)?;
        self.put_marks(&write, &Marks::default())?;
        write.commit().at(self)
    }

    /// The marks, after proof that the entries they speak of are the ones present.
    fn verified(&self) -> Result<Marks> {
        let read = self.read()?;
        let marks = self.marks(&read.open_table(MARKS).at(self)?)?;
        let entries = read.open_table(ENTRIES).at(self)?;

        let first = entries.first().at(self)?.map(|(key, _)| key.value());
        let last = entries.last().at(self)?.map(|(key, _)| key.value());
        let expected = marks.indexes();
        let count = expected.end - expected.start;
        if (first, last, entries.len().at(self)?) != (marks.first(), marks.last(), count) {
            return Err(self.damaged(format!(
                "the log is not the entries {}..{}",
                expected.start, expected.end
            )));
        }
        Ok(marks)
    }

    fn marks(&self, table: &impl ReadableTable<(), &'static [u8]>) -> Result<Marks> {
        let row = table
            .get(())
            .at(self)?
            .ok_or_else(|| self.damaged("the log has no marks"))?;
        let bytes = opened(b"marks", row.value())
            .ok_or_else(|| self.damaged("the marks of the log do not match their checksum"))?;
        decoded(bytes, self)
    }

    fn put_marks(&self, write: &WriteTransaction, marks: &Marks) -> Result<()> {
        let row = sealed(b"marks", &encoded(marks, self)?);
        write.open_table(MARKS).at(self)?.insert((), row.as_slice()).at(self)?;
        Ok(())
    }

    fn read(&self) -> Result<ReadTransaction> {
        self.database.begin_read().at(self)
    }

    /// A transaction; it is durable when it is committed (redb's default).
    fn write(&self) -> Result<WriteTransaction> {
        let mut write = self.database.begin_write().at(self)?;
        write.set_two_phase_commit(true);
        Ok(write)
    }

    fn damaged(&self, reason: impl Into<String>) -> Error {
        damaged(&self.name, reason)
    }
}

/// Turns redb's errors into ours, about this database.
trait At<T> {
    fn at(self, base: &Base) -> Result<T>;
}

impl<T, E: Into<redb::Error>> At<T> for Result<T, E> {
    fn at(self, base: &Base) -> Result<T> {
        self.map_err(|error| failure(&base.name, error.into()))
    }
}

/// Makes a database that is there whole or not at all, whenever the power is cut: under another name first.
fn create(dir: &Path, path: &Path, fill: impl FnOnce(&Base) -> Result<()>) -> Result<()> {
    let draft = path.with_extension("new");
    let name = draft.display().to_string();
    let fault = |error: io::Error| Error::io(&name, error).op("create");

    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fault(error)),
        _ => {}
    }
    let base = Base::open(name.clone(), |builder| builder.create(&draft))?;
    fill(&base)?;
    drop(base);
    fs::File::open(&draft).and_then(|file| file.sync_all()).map_err(fault)?;
    fs::rename(&draft, path).map_err(fault)?;
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(fault)
}

fn entry_tag(index: u64) -> [u8; 13] {
    let mut tag = *b"entry\0\0\0\0\0\0\0\0";
    tag[5..].copy_from_slice(&index.to_le_bytes());
    tag
}

/// `bytes` behind the seal over `tag` and them. The tags are such that none begins another.
fn sealed(tag: &[u8], bytes: &[u8]) -> Vec<u8> {
    [&seal(tag, bytes), bytes].concat()
}

/// The bytes of a row whose seal is right.
fn opened<'a>(tag: &[u8], row: &'a [u8]) -> Option<&'a [u8]> {
    let (expected, bytes) = row.split_at_checked(SEAL_BYTES)?;
    (seal(tag, bytes) == expected).then_some(bytes)
}

fn seal(tag: &[u8], bytes: &[u8]) -> [u8; SEAL_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(tag).update(bytes);
    let mut seal = [0; SEAL_BYTES];
    hasher.finalize_xof().fill(&mut seal);
    seal
}

fn encoded(value: &impl Serialize, base: &Base) -> Result<Vec<u8>> {
    let unencodable = |error: postcard::Error| Error::new(Kind::Invalid, &base.name).because(error.to_string());
    postcard::to_stdvec(&(FORMAT, value)).map_err(unencodable)
}

fn decoded<'a, T: Deserialize<'a>>(bytes: &'a [u8], base: &Base) -> Result<T> {
    let unreadable = |error: postcard::Error| base.damaged(error.to_string());
    let (format, rest) = postcard::take_from_bytes::<u16>(bytes).map_err(unreadable)?;
    if format != FORMAT {
        return Err(Error::new(Kind::Version, &base.name)
            .because(format!("written in format {format}, this flserver knows {FORMAT}"))
            .remedy("run the flserver that wrote it"));
    }
    postcard::from_bytes(rest).map_err(unreadable)
}

fn damaged(name: &str, reason: impl Into<String>) -> Error {
    Error::new(Kind::Damaged, name).because(reason).remedy(REMEDY_DAMAGED)
}

fn failure(name: &str, error: redb::Error) -> Error {
    match error {
        // redb's word for a file that is not one of its own.
        redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => damaged(name, error.to_string()),
        redb::Error::Io(error) => {
            let error = Error::io(name, error);
            let remedy = if error.kind == Kind::NoSpace {
                REMEDY_SPACE
            } else {
                REMEDY_DEVICE
            };
            error.remedy(remedy)
        }
        redb::Error::Corrupted(_) | redb::Error::TableDoesNotExist(_) | redb::Error::TableTypeMismatch { .. } => {
            damaged(name, error.to_string())
        }
        redb::Error::DatabaseAlreadyOpen => Error::new(Kind::Busy, name)
            .because("another process has it open")
            .remedy("stop the other flserver of this directory first"),
        redb::Error::UpgradeRequired(_) => Error::new(Kind::Version, name)
            .because(error.to_string())
            .remedy("run the flserver that wrote it"),
        error => Error::new(Kind::Io, name)
            .because(error.to_string())
            .remedy(REMEDY_DEVICE)
            .from_source(error),
    }
}
