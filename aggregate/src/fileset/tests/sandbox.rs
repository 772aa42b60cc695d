//! A fileset to play in: a root directory, and operations by the names of things.

use std::sync::Arc;

use baton_types::{Error, Fid, FileName, FilesetId, Kind, Result, Timestamp, Vnode};

use crate::device::{Device, Write};
use crate::fileset::{Birth, Holders, Names, Object, Onto, Place};
use crate::fileset::{create, getattr, link, lookup, make_root, mkdir, rename, rmdir, unlink};
use crate::format::HashKey;
use crate::nodes::Nodes;
use crate::transaction::scratch::Scratch;
use crate::transaction::{Change, Operation, Transaction};
use crate::tree::Stop;

pub const FILESET: FilesetId = FilesetId(7);
pub const BIRTH: Birth<'static> = Birth { mode: 0o755, acl: &[] };

/// A fileset over nothing but a layer.
pub struct Sandbox {
    pub scratch: Scratch,
    pub names: Names,
    pub root: Fid,
    next: u64,
}

/// Never asked: there is no tree.
struct NoDevice;

impl Device for NoDevice {
    fn len(&self) -> u64 {
        0
    }
    fn read(&self, _: u64, _: &mut [u8]) -> Result<()> {
        Err(Error::new(Kind::Io, "no device"))
    }
    fn submit(&self, _: &[Write<'_>]) -> Result<()> {
        Err(Error::new(Kind::Io, "no device"))
    }
    fn flush(&self) -> Result<()> {
        Err(Error::new(Kind::Io, "no device"))
    }
    fn discard(&self, _: u64, _: u64) -> Result<()> {
        Err(Error::new(Kind::Io, "no device"))
    }
}

pub fn scratch() -> Scratch {
    Scratch::new(Nodes::new(Arc::new(NoDevice)))
}

pub fn name(text: impl AsRef<[u8]>) -> FileName {
    FileName::parse(text.as_ref()).unwrap()
}

/// The kind of what went wrong.
pub fn refusal(stop: Stop) -> Kind {
    match stop {
        Stop::Failed(error) => error.kind,
        other => panic!("{other:?}: there is no tree to miss a node of"),
    }
}

impl Sandbox {
    pub fn new() -> Sandbox {
        Sandbox::with(Names::new(HashKey([3; 16])))
    }

    pub fn with(names: Names) -> Sandbox {
        let mut scratch = scratch();
        let operation = Scratch::operation(1);
        let root = scratch
            .change(&operation, |t| make_root(t, &names, FILESET, BIRTH))
            .unwrap();
        Sandbox {
            scratch,
            names,
            root: root.fid,
            next: 2,
        }
    }

    /// Does something as an operation of its own; begun twice, as after a missed node, it comes to the same.
    pub fn run(
        &mut self,
        operation: &Operation,
        make: impl Fn(&mut Transaction<'_>, &Names) -> Result<Object, Stop>,
    ) -> Result<Object, Kind> {
        let names = self.names;
        let mut first = None;
        let begun = self.scratch.change(operation, |t| -> Result<(), Stop> {
            first = Some(make(t, &names));
            Err(Error::new(Kind::Wait, "").into())
        });
        assert_eq!(begun.map_err(refusal), Err(Kind::Wait));
        let second = self.scratch.change(operation, |t| make(t, &names));
        assert_eq!(first.unwrap(), second);
        if let Ok(object) = &second {
            let reply = object.reply().into_result("").unwrap();
            assert_eq!(
                Object::decode(&reply).unwrap(),
                *object,
                "a replay gets the same answer"
            );
        }
        second.map_err(refusal)
    }

    /// An operation with a vnode and a time of its own.
    pub fn operation(&mut self) -> Operation {
        self.next += 1;
        Operation {
            uid: 11,
            gid: 12,
            ..Scratch::operation(self.next)
        }
    }

    pub fn act(&mut self, make: impl Fn(&mut Transaction<'_>, &Names) -> Result<Object, Stop>) -> Result<Object, Kind> {
        let operation = self.operation();
        self.run(&operation, make)
    }

    pub fn create(&mut self, directory: Fid, text: &str) -> Result<Object, Kind> {
        self.act(|t, names| {
            create(
                t,
                names,
                Place {
                    directory,
                    name: &name(text),
                },
                BIRTH,
            )
        })
    }

    pub fn mkdir(&mut self, directory: Fid, text: &str) -> Result<Object, Kind> {
        self.act(|t, names| {
            mkdir(
                t,
                names,
                Place {
                    directory,
                    name: &name(text),
                },
                BIRTH,
            )
        })
    }

    pub fn link(&mut self, directory: Fid, text: &str, file: Fid) -> Result<Object, Kind> {
        self.act(|t, names| {
            link(
                t,
                names,
                Place {
                    directory,
                    name: &name(text),
                },
                file,
            )
        })
    }

    pub fn unlink(&mut self, directory: Fid, text: &str, holders: Holders) -> Result<Object, Kind> {
        self.act(|t, names| {
            unlink(
                t,
                names,
                Place {
                    directory,
                    name: &name(text),
                },
                holders,
            )
        })
    }

    pub fn rmdir(&mut self, directory: Fid, text: &str, holders: Holders) -> Result<Object, Kind> {
        self.act(|t, names| {
            rmdir(
                t,
                names,
                Place {
                    directory,
                    name: &name(text),
                },
                holders,
            )
        })
    }

    pub fn rename(&mut self, source: (Fid, &str), target: (Fid, &str), onto: Onto) -> Result<Object, Kind> {
        self.act(|t, names| {
            let [source, target] = [source, target].map(|(directory, text)| (directory, name(text)));
            let [source, target] = [&source, &target].map(|(directory, name)| Place {
                directory: *directory,
                name,
            });
            rename(t, names, source, target, onto)
        })
    }

    pub fn lookup(&self, directory: Fid, text: &str) -> Result<Object, Kind> {
        let place = Place {
            directory,
            name: &name(text),
        };
        self.scratch
            .read(|view| lookup(view, &self.names, place))
            .map_err(refusal)
    }

    pub fn getattr(&self, fid: Fid) -> Result<Object, Kind> {
        self.scratch.read(|view| getattr(view, fid)).map_err(refusal)
    }

    /// What the last operation came to.
    pub fn last(&self) -> &Change {
        self.scratch.history.last().unwrap()
    }

    /// The time of the last operation.
    pub fn time(&self) -> Timestamp {
        Timestamp(self.next.cast_signed())
    }

    /// The FID with another `unique`.
    pub fn stale(fid: Fid) -> Fid {
        Fid {
            unique: fid.unique ^ 1,
            ..fid
        }
    }

    /// A vnode that no file has.
    pub fn nowhere(&self) -> Fid {
        Fid {
            vnode: Vnode::new(self.next + 1_000).unwrap(),
            ..self.root
        }
    }
}
