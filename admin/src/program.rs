//! The names under which this binary works.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// One name of the binary: what a person types first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Cells, identities, configuration.
    Baton,
    /// Filesets and the location database.
    Fts,
    /// Exports aggregates.
    Dfsexport,
    /// Makes them.
    Newaggr,
    /// Makes them larger.
    Growaggr,
    /// Checks and repairs them.
    Salvage,
    /// This machine's cache.
    Cm,
    /// Access control lists.
    Acl,
    /// What `mount -t baton` calls.
    MountBaton,
}

impl Program {
    /// All of them.
    pub const ALL: [Program; 9] = [
        Program::Baton,
        Program::Fts,
        Program::Dfsexport,
        Program::Newaggr,
        Program::Growaggr,
        Program::Salvage,
        Program::Cm,
        Program::Acl,
        Program::MountBaton,
    ];

    /// As a person types it.
    pub fn name(self) -> &'static str {
        match self {
            Program::Baton => "baton",
            Program::Fts => "fts",
            Program::Dfsexport => "dfsexport",
            Program::Newaggr => "newaggr",
            Program::Growaggr => "growaggr",
            Program::Salvage => "salvage",
            Program::Cm => "cm",
            Program::Acl => "acl",
            Program::MountBaton => "mount.baton",
        }
    }

    /// The program of this name.
    pub fn named(name: &OsStr) -> Option<Program> {
        Program::ALL.into_iter().find(|program| name == program.name())
    }

    /// What it is for, in a few words.
    pub fn about(self) -> &'static str {
        match self {
            Program::Baton => "cells, machines and people",
            Program::Fts => "filesets and the location database",
            Program::Dfsexport => "exporting and detaching aggregates",
            Program::Newaggr => "making an aggregate of a disk",
            Program::Growaggr => "making an aggregate larger",
            Program::Salvage => "checking and repairing an aggregate",
            Program::Cm => "this machine's cache",
            Program::Acl => "access control lists",
            Program::MountBaton => "mounting a cell",
        }
    }

    /// Takes the program from the front of a command line: the name the binary was called by, or the word
    /// after `baton`. A binary by a name of nobody is `baton`.
    pub fn of_line(line: impl IntoIterator<Item = OsString>) -> (Program, Vec<OsString>) {
        let mut words: VecDeque<OsString> = line.into_iter().collect();
        let called = words.pop_front().unwrap_or_default();
        let link = Path::new(&called).file_name().and_then(Program::named);
        if let Some(program) = link.filter(|program| *program != Program::Baton) {
            return (program, words.into());
        }
        match words.front().and_then(|word| Program::named(word)) {
            Some(program) => (program, words.split_off(1).into()),
            None => (Program::Baton, words.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_line(line: &str) -> (Program, String) {
        let (program, words) = Program::of_line(line.split(' ').map(OsString::from));
        (program, words.join(OsStr::new(" ")).into_string().unwrap())
    }

    #[test]
    fn program_is_the_name_it_was_called_by() {
        assert_eq!(of_line("fts lsfldb"), (Program::Fts, "lsfldb".to_owned()));
        assert_eq!(
            of_line("/usr/bin/dfsexport -all"),
            (Program::Dfsexport, "-all".to_owned())
        );
        assert_eq!(
            of_line("/sbin/mount.baton cell /mnt"),
            (Program::MountBaton, "cell /mnt".to_owned())
        );
        assert_eq!(of_line("baton whoami"), (Program::Baton, "whoami".to_owned()));
        assert_eq!(of_line("fts fts"), (Program::Fts, "fts".to_owned()));
    }

    #[test]
    fn program_is_the_word_after_baton() {
        assert_eq!(of_line("baton fts eds A"), (Program::Fts, "eds A".to_owned()));
        assert_eq!(of_line("target/debug/baton cm"), (Program::Cm, String::new()));
        assert_eq!(of_line("renamed acl show /"), (Program::Acl, "show /".to_owned()));
        assert_eq!(Program::of_line([]), (Program::Baton, vec![]));
    }
}
