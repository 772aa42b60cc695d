//! Changes to filesets, each a record of its own.

use baton_types::{ClientId, Error, Fid, FileName, FilesetId, Kind, Result, Vnode};

use super::super::mend::Change;
use super::Repair;
use crate::aggregate::{Fileset, Need};
use crate::fileset::mend::{adopt, change_entry, drop_item, drop_name, set, set_places};
use crate::fileset::{Birth, Place, Progress, lookup, make_root, mkdir, remove_step, root};
use crate::format::{FileKind, MODE_TYPE};
use crate::transaction::{Operation, Reply, Transaction};
use crate::tree::Stop;

/// Where files go that no name leads to.
const LOST_AND_FOUND: &str = "lost+found";
/// Names that are tried besides one that is taken.
const OTHERS: u32 = 9;

impl Repair {
    /// Changes a fileset; says what became of it, where that is more than the change itself says.
    pub(super) fn change(&self, id: FilesetId, change: &Change) -> Result<Option<String>> {
        let fileset = self.aggregate.fileset(id)?;
        match change {
            Change::NextVnode(next) => self.aggregate.raise_next_vnode(id, *next)?,
            Change::Set(vnode, field) => self.record(&fileset, |transaction| {
                set(transaction, *vnode, |attributes| field.set(attributes))
            })?,
            Change::Entry(key, name, kind) => {
                self.record(&fileset, |transaction| change_entry(transaction, *key, name, *kind))?;
            }
            Change::Unname(key, name) => self.record(&fileset, |transaction| drop_name(transaction, *key, name))?,
            Change::Item(key) => self.record(&fileset, |transaction| drop_item(transaction, *key))?,
            Change::NoOrphan(vnode) => self.record(&fileset, |transaction| {
                transaction.delete(crate::format::Key::orphan(*vnode));
                Ok(())
            })?,
            Change::Usage(bytes, files) => self.record(&fileset, |transaction| {
                let usage = transaction.usage();
                (usage.bytes, usage.files) = (*bytes, *files);
                Ok(())
            })?,
            Change::Promised(blocks) => self.record(&fileset, |transaction| {
                transaction.usage().promised = *blocks;
                Ok(())
            })?,
            Change::Root => self.make_root(&fileset)?,
            Change::Places(run, birth, places) => {
                self.record(&fileset, |transaction| set_places(transaction, *run, *birth, *places))?;
            }
            Change::Dead(runs) => self.aggregate.leave_to_snapshots(id, runs)?,
            Change::Stray(vnode) => return self.take_in(&fileset, *vnode).map(Some),
            Change::Orphan(vnode) => {
                while self.record(&fileset, |transaction| remove_step(transaction, *vnode))? == Progress::More {}
            }
        }
        Ok(None)
    }

    /// A fileset that has lost its root directory gets another one, so that it can be mounted.
    fn make_root(&self, fileset: &Fileset) -> Result<()> {
        let operation = Operation {
            unique: random(),
            time: self.time,
            ..Operation::default()
        };
        let birth = Birth { mode: 0o755, acl: b"" };
        let made = fileset.operate(&operation, Need::UPKEEP, |transaction, names| {
            make_root(transaction, names, fileset.id(), birth)
        });
        made?.answer.map(drop)
    }

    fn record<T>(&self, fileset: &Fileset, mut make: impl FnMut(&mut Transaction<'_>) -> Result<T, Stop>) -> Result<T> {
        let operation = Operation {
            time: self.time,
            ..Operation::default()
        };
        let mut made = None;
        let done = fileset.change(&operation, Need::UPKEEP, |transaction| {
            made = Some(make(transaction)?);
            Ok(Reply::done())
        });
        done?.answer?;
        made.ok_or_else(|| Error::new(Kind::Invalid, "change"))
    }

    /// Gives a file a name in `lost+found`; says which.
    fn take_in(&self, fileset: &Fileset, vnode: Vnode) -> Result<String> {
        let (place, directory) = self.lost_and_found(fileset)?;
        let called = names(&format!("#{}", vnode.number()))?;
        let hashed = fileset.names();
        let name = self.record(fileset, |transaction| {
            adopt(transaction, &hashed, (directory, &called), vnode)
        })?;
        Ok(format!("in {place} as '{name}'"))
    }

    /// The directory for what has lost its name; made, if there is none.
    fn lost_and_found(&self, fileset: &Fileset) -> Result<(FileName, Fid)> {
        let hashed = fileset.names();
        let top = fileset.read(|view| root(view, fileset.id()))?;
        for name in names(LOST_AND_FOUND)? {
            let place = Place {
                directory: top.fid,
                name: &name,
            };
            match fileset.read(|view| lookup(view, &hashed, place)) {
                Ok(found) if found.attributes.mode & MODE_TYPE == FileKind::Directory.mode() => {
                    return Ok((name, found.fid));
                }
                Ok(_) => {}
                Err(error) if error.kind == Kind::NotFound => {
                    let operation = Operation {
                        vnode: Some(self.vnode(fileset.id())?),
                        unique: random(),
                        time: self.time,
                        uid: top.attributes.uid,
                        gid: top.attributes.gid,
                        ..Operation::default()
                    };
                    let birth = Birth { mode: 0o700, acl: b"" };
                    let made = fileset.operate(&operation, Need::UPKEEP, |transaction, names| {
                        mkdir(transaction, names, place, birth)
                    });
                    let made = made?.answer?;
                    return Ok((name, made.fid));
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(Kind::Exists, LOST_AND_FOUND).because("all names for it are taken"))
    }

    /// A vnode that nobody has or will be given: as any client gets one.
    fn vnode(&self, id: FilesetId) -> Result<Vnode> {
        let client = ClientId::random();
        let (_, session) = self.aggregate.open_session(client, self.time)?;
        let (_, range) = self.aggregate.grant_vnodes(session, id)?;
        self.aggregate.end_session(session)?;
        self.aggregate.forget_client(client, session)?;
        Ok(range.first)
    }
}

/// A name, and others for the case that it is taken.
fn names(name: &str) -> Result<Vec<FileName>> {
    let others = (1..=OTHERS).map(|number| format!("{name}.{number}"));
    let all = std::iter::once(name.to_owned()).chain(others);
    all.map(|name| FileName::parse(name.as_bytes())).collect()
}

fn random() -> u64 {
    let (high, low) = ClientId::random().0.as_u64_pair();
    high.rotate_left(32) ^ low
}
