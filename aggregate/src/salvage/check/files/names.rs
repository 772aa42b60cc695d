//! Names: what each leads to, and whether directories lead up to the root.

use std::collections::{BTreeMap, BTreeSet};

use baton_types::Vnode;

use super::super::super::finding::Fault;
use super::super::super::mend::Change;
use super::{File, Files, ROOT};
use crate::format::{FileKind, Key, NameEntry};

impl Files<'_, '_> {
    /// Each name leads to the file it says.
    pub(super) fn follow_names(&mut self, entries: &[(Key, NameEntry)]) {
        for (key, entry) in entries {
            let (directory, name, vnode) = (key.object, entry.name.escape_ascii(), entry.vnode.number());
            if let Some(above) = self.files.get_mut(&directory) {
                above.entries += 1;
                above.directories += u32::from(matches!(entry.kind, FileKind::Directory | FileKind::MountPoint));
            }
            let (wrong, kind) = match self.files.get_mut(&vnode) {
                None => (format!("'{name}' leads to vnode {vnode}, which does not exist"), None),
                Some(file) => {
                    file.names += 1;
                    file.directory = directory;
                    file.is_in_parent |= file.attributes.parent.map(Vnode::number) == Some(directory);
                    if file.attributes.unique == entry.unique && file.kind == Some(entry.kind) {
                        continue;
                    }
                    let kind = file.kind.filter(|_| file.attributes.unique == entry.unique);
                    (format!("'{name}' leads to vnode {vnode}, which is another file"), kind)
                }
            };
            match self.unknown.contains(&vnode) {
                true => self.fault(Fault::Directory, directory, wrong),
                false => self.change(
                    Fault::Directory,
                    directory,
                    wrong,
                    Change::Entry(*key, entry.name.clone(), kind),
                ),
            }
        }
    }

    /// Every directory with a name has a way up to the root.
    pub(super) fn reach(&mut self, files: &BTreeMap<u64, File>, entries: &[(Key, NameEntry)]) {
        if !files.is_empty() && !files.contains_key(&ROOT) && !self.lacks_root {
            self.fault(Fault::Directory, ROOT, "the fileset has no root directory");
        }
        let mut reached = BTreeSet::from([ROOT, 0]);
        for (vnode, file) in files.iter().filter(|(_, file)| file.kind == Some(FileKind::Directory)) {
            let (mut at, mut way) = (*vnode, BTreeSet::new());
            let mut above = Some(file);
            while !reached.contains(&at) && way.insert(at) {
                at = above.map_or(0, |file| file.directory);
                above = files.get(&at);
            }
            if way.contains(&at) {
                // Without the name of one that is on the way round, that one is a stray, and has the others below it.
                let name = entries.iter().find(|(_, entry)| entry.vnode.number() == at);
                let reason = "the way up from it comes back to where it was";
                match name {
                    Some((key, entry)) => self.change(
                        Fault::Directory,
                        *vnode,
                        reason,
                        Change::Entry(*key, entry.name.clone(), None),
                    ),
                    None => self.fault(Fault::Directory, *vnode, reason),
                }
            }
            reached.extend(way);
        }
    }

    /// What was found of files that have a name is told with it.
    pub(super) fn name_findings(&mut self, files: &BTreeMap<u64, File>, entries: &[(Key, NameEntry)]) {
        let found = &mut self.check.findings.kept[self.found_before..];
        if found.is_empty() {
            return;
        }
        let named: BTreeMap<u64, &NameEntry> = entries.iter().map(|(_, entry)| (entry.vnode.number(), entry)).collect();
        for finding in found {
            let vnode = finding
                .on
                .rsplit_once(", vnode ")
                .and_then(|(_, vnode)| vnode.parse().ok());
            finding.path = vnode.and_then(|vnode| path(vnode, files, &named));
        }
    }
}

/// The path of a file, if the names lead up to the root.
fn path(mut vnode: u64, files: &BTreeMap<u64, File>, named: &BTreeMap<u64, &NameEntry>) -> Option<String> {
    let mut path = String::new();
    let mut steps = 0..files.len();
    while vnode != ROOT {
        steps.next()?;
        path = format!("/{}{path}", named.get(&vnode)?.name.escape_ascii());
        vnode = files.get(&vnode)?.directory;
    }
    Some(if path.is_empty() { "/".to_owned() } else { path })
}
