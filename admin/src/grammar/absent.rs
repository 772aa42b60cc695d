//! Commands that the parser knows and this version does not carry out.
//!
//! They are hidden from help, and whoever types one reads that it is not there, and what to use instead
//! where there is something.

use baton_types::{Error, Kind};
use clap::{Arg, ArgAction, Command};

use super::notation;
use crate::dfs_args::ADDED;
use crate::program::Program;

/// A command that is not there.
struct Absent {
    /// As [`notation`] writes it.
    line: &'static str,
    /// What it is for, in a few words; empty for a whole program, which knows it.
    does: &'static str,
    /// What to use instead; empty where there is nothing.
    instead: &'static str,
    /// Whether a later version may have it.
    when: When,
}

/// Whether a command may come.
#[derive(Clone, Copy)]
enum When {
    Later,
    Never,
}

const fn absent(line: &'static str, does: &'static str) -> Absent {
    Absent {
        line,
        does,
        instead: "",
        when: When::Later,
    }
}

impl Absent {
    const fn instead(self, instead: &'static str) -> Absent {
        Absent { instead, ..self }
    }

    /// Baton has no use for it.
    const fn never(self, instead: &'static str) -> Absent {
        Absent {
            instead,
            when: When::Never,
            ..self
        }
    }
}

const FTS: &[Absent] = &[
    absent(
        "addsite -fileset f -server s -aggregate a [-maxsiteage t]",
        "a replica's place",
    ),
    absent(
        "crfldbentry -ftname n -server s -aggrid n",
        "entries for partitions that are no aggregates",
    )
    .never(
        "'newaggr' makes an aggregate, 'dfsexport' exports it, and 'fts create' makes a fileset on it with its entry",
    ),
    absent(
        "dump -fileset f {-time t | -version v} [-server s] [-file n]",
        "a fileset as a stream of bytes",
    ),
    absent("lsreplicas -fileset f {-all | -server s}", "how far replicas have got"),
    absent(
        "move -fileset f -fromserver s -fromaggregate a -toserver s -toaggregate a",
        "another place for a fileset",
    ),
    absent("release -fileset f [-wait]", "bringing replicas up to date"),
    absent(
        "restore -ftname n -server s -aggregate a [-file f] [-ftid i] [-overwrite] [-disjoint]",
        "a fileset from its dump",
    ),
    absent("rmsite -fileset f -server s -aggregate a", "taking a replica away"),
    absent(
        "setprotectlevels -fileset f [-minlocalprotectlevel l] [-maxlocalprotectlevel l] \
         [-minremoteprotectlevel l] [-maxremoteprotectlevel l]",
        "how calls are protected",
    )
    .instead("every connection is encrypted"),
    absent(
        "setrepinfo -fileset f {-release | -scheduled} [-change] [-maxage t] [-failage t] [-reclaimwait t] \
         [-minrepdelay t] [-defaultsiteage t] [-clear]",
        "how a fileset is replicated",
    ),
    absent(
        "statrepserver -server s [-long]",
        "what a replication server is at work on",
    ),
    absent(
        "update -fileset f {-all | -server s}",
        "bringing replicas up to date at once",
    ),
    absent(
        "zap -ftid id -server s -aggregate a",
        "deleting data past the location database",
    ),
];

const CM: &[Absent] = &[
    absent("checkfilesets", "looking up all filesets anew"),
    absent("flushfileset [-path p…]", "forgetting cached filesets")
        .instead("'cm flush' of a fileset's root forgets all of it"),
    absent("getcachesize", "how large the cache is"),
    absent("getdevok [-path p…]", "whether device files work"),
    absent(
        "getpreferences [-path f] [-numeric] [-fldb]",
        "which servers are preferred",
    ),
    absent("getprotectlevels", "how calls are protected").instead("every connection is encrypted"),
    absent("getsetuid [-path p…]", "whether setuid programs work"),
    absent("lsstores", "data that waits for a server"),
    absent("resetstores", "giving up data that waits for a server"),
    absent("setcachesize {-size kb | -reset}", "how large the cache shall be"),
    absent("setdevok [-path p…] [-state s]", "whether device files shall work"),
    absent(
        "setpreferences -server rank… [-path f] [-stdin] [-fldb]",
        "which servers to prefer",
    ),
    absent(
        "setprotectlevels [-initiallocalprotectlevel l] [-minlocalprotectlevel l] \
         [-initialremoteprotectlevel l] [-minremoteprotectlevel l]",
        "how calls shall be protected",
    )
    .instead("every connection is encrypted"),
    absent("setsetuid [-path p…] [-state s]", "whether setuid programs shall work"),
    absent("sysname [-newsys s]", "what @sys stands for"),
];

const ACL: &[Absent] = &[
    absent("check path", "your rights to a file"),
    absent("delete path [-io | -ic]", "taking an ACL away"),
    absent(
        "modify path [-io | -ic] [-add e…] [-change e…] [-remove e…] [-purge] [-mask m]",
        "editing an ACL",
    ),
    absent("permissions path [-io | -ic]", "the rights there are"),
    absent("replace path [-io | -ic] [-acl e…] [-cell c] [-mask m]", "another ACL"),
    absent("show path [-io | -ic] [-cell]", "printing an ACL"),
];

const BATON: &[Absent] = &[
    absent("bugreport", "collecting what a report needs"),
    absent("doctor", "looking for what is wrong"),
];

fn table(program: Program) -> &'static [Absent] {
    match program {
        Program::Baton => BATON,
        Program::Fts => FTS,
        Program::Cm => CM,
        Program::Acl => ACL,
        Program::Newaggr | Program::Growaggr | Program::Salvage | Program::Dfsexport | Program::MountBaton => &[],
    }
}

/// A program of which nothing is there, with what help and manual may honestly say.
pub fn program(program: Program) -> Command {
    Command::new(program.name())
        .about(format!("{}: not in this version", program.about()))
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .args([flag("help"), flag("json").help_heading(ADDED)])
}

/// Understood, so that no prefix changes; not shown, since nothing comes of it.
fn flag(name: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .global(true)
        .hide(true)
        .action(ArgAction::SetTrue)
}

/// Adds what is not there to `command`, hidden.
pub fn add_to(command: Command, program: Program) -> Command {
    table(program).iter().fold(command, |command, absent| {
        let name = notation::name(absent.line);
        if name == program.name() {
            notation::arguments(command, absent.line)
        } else {
            command.subcommand(notation::arguments(Command::new(name).hide(true), absent.line))
        }
    })
}

/// What to tell somebody who types `command` of `program`, if that is not there.
pub fn absence(program: Program, command: &str) -> Option<Error> {
    let is_meant = |absent: &&Absent| {
        let name = notation::name(absent.line);
        name == command || name == program.name()
    };
    let absent = table(program).iter().find(is_meant)?;
    let error = match (absent.does, absent.when) {
        ("", _) => nothing(program),
        (does, When::Later) => error(notation::name(absent.line), does),
        (does, When::Never) => Error::new(Kind::Unsupported, notation::name(absent.line)).because(format!(
            "Baton has no {does}: a server exports aggregates and nothing else"
        )),
    };
    Some(error.remedy(absent.instead))
}

/// What to tell somebody who calls a program of which nothing is there.
pub fn nothing(program: Program) -> Error {
    error("", program.about())
}

fn error(on: &str, does: &str) -> Error {
    Error::new(Kind::Unsupported, on).because(format!("not in this version ({does})"))
}
