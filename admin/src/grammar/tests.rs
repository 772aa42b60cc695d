//! What lines become, what is refused and in which words, and that help, manual and examples keep their word.

use std::path::Path;

use baton_rpc::fldb::Owner;
use baton_types::change::{AddressEdit, AggregateRef, FilesetRef, OwnerEdit};
use baton_types::control::{Carry, Moment};
use baton_types::{Address, FilesetId, FilesetName, Kind};
use clap::Command;

use super::baton::{Cell, Config, CreateCell, Invite};
use super::fts::{CellSettings, CrMount, Create, EdServerEntry, FilesetOnly, LsFldb, Snapshots, Status};
use super::{Baton, Cm, Fts, Identity, Mount, Parsed, Refusal, Standard, parse, served, whole};
use crate::help::page;
use crate::program::Program;

/// Words of a line; single quotes keep some together.
fn line(line: &str) -> Result<Parsed, Refusal> {
    let parts = line.split('\'').enumerate().flat_map(|(at, part)| match at % 2 {
        0 => part.split_whitespace().collect::<Vec<_>>(),
        _ => vec![part],
    });
    let (program, words) = Program::of_line(parts.map(Into::into));
    parse(program, words)
}

fn fts(text: &str) -> (Fts, Standard) {
    match line(text) {
        Ok(Parsed::Fts(command, standard)) => (command, standard),
        other => panic!("{text}: {other:?}"),
    }
}

fn baton(text: &str) -> Baton {
    match line(text) {
        Ok(Parsed::Baton(command, _)) => command,
        other => panic!("{text}: {other:?}"),
    }
}

fn edit(text: &str) -> EdServerEntry {
    match fts(text).0 {
        Fts::EdServerEntry(edit) => edit,
        other => panic!("{text}: {other:?}"),
    }
}

/// What is wrong with a line, and its usage.
fn wrong(text: &str) -> (String, String) {
    match line(text) {
        Err(Refusal::Usage { error, usage }) => (error.to_string(), usage),
        other => panic!("{text}: {other:?}"),
    }
}

fn absent(text: &str) -> String {
    match line(text) {
        Err(Refusal::Absent(error)) => {
            assert_eq!(error.kind, Kind::Unsupported);
            error.to_string()
        }
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn fts_lines_become_typed_commands() {
    let create = Create {
        ftname: FilesetName::parse("user.ito").unwrap(),
        server: Address::parse("mlserva").unwrap(),
        aggregate: AggregateRef::Number(13),
        quota: Some(20 << 30),
        owner: Some(Owner { uid: 1001, gid: 100 }),
    };
    assert_eq!(
        fts("fts create user.ito mlserva 13 -quota 20GiB -owner 1001:100").0,
        Fts::Create(create)
    );

    let (command, standard) = fts("fts lsfl -f 0,,1201 -s 192.0.2.7 -lock -cell example.org -j");
    let lsfldb = LsFldb {
        fileset: Some(FilesetRef::Id(FilesetId(1201))),
        server: Some(Address::parse("192.0.2.7").unwrap()),
        aggregate: None,
        locked: true,
    };
    assert_eq!(command, Fts::LsFldb(lsfldb));
    assert_eq!(standard.cell.as_ref().unwrap().as_str(), "example.org");
    assert!(standard.json && !standard.verbose);
    assert_eq!(standard.identity(), Identity::Caller);

    assert_eq!(fts("fts dels /.:/hosts/mlserva").0, fts("fts dels mlserva").0);

    let user_ito = FilesetRef::Name(FilesetName::parse("user.ito").unwrap());
    for text in [
        "fts lock user.ito",
        "fts lock user.ito.backup",
        "fts lo user.ito.readonly",
    ] {
        assert_eq!(
            fts(text).0,
            Fts::Lock(FilesetOnly {
                fileset: user_ito.clone()
            })
        );
    }
    assert_eq!(fts("fts status -check").0, Fts::Status(Status { check: true }));
    let set = CellSettings::Set {
        setting: "description".to_owned(),
        value: "two words".to_owned(),
    };
    assert_eq!(fts("fts cell set description 'two words'").0, Fts::Cell(set));
}

#[test]
fn lines_about_snapshots_become_typed_commands() {
    let user_ito = FilesetRef::Name(FilesetName::parse("user.ito").unwrap());
    let Fts::Snapshot(Snapshots::Create { fileset, name }) = fts("fts snapshot create user.ito monday").0 else {
        panic!()
    };
    assert_eq!((&fileset, name.as_bytes()), (&user_ito, &b"monday"[..]));
    assert_eq!(
        wrong("fts snapshot create user.ito a/b").0,
        "snapshot create: invalid value 'a/b' for '<NAME>': file name 'a/b': it has a '/'"
    );
    let Fts::Snapshot(Snapshots::Diff(words)) = fts("fts snapshot diff -fileset user.ito -fr monday -p doc -0").0
    else {
        panic!()
    };
    assert_eq!((&words.fileset, words.from.as_bytes()), (&user_ito, &b"monday"[..]));
    assert_eq!((words.to, words.path, words.nul), (None, Some("doc".into()), true));
    let Fts::Snapshot(Snapshots::Rollback(words)) = fts("fts snapshot rollback -f user.ito -s monday -dry").0 else {
        panic!()
    };
    assert_eq!((&words.fileset, words.snapshot.as_bytes()), (&user_ito, &b"monday"[..]));
    assert_eq!(words.carry(), Carry::Nothing);
    let Fts::Snapshot(Snapshots::Clone(words)) = fts("fts snapshot clone -f user.ito -s monday -na test").0 else {
        panic!()
    };
    assert_eq!((&words.fileset, words.snapshot.as_bytes()), (&user_ito, &b"monday"[..]));
    assert_eq!(words.name.as_str(), "test");
    let restore = |text: &str| match fts(text).0 {
        Fts::RestoreHome(words) => words,
        other => panic!("{text}: {other:?}"),
    };
    let at = baton_types::Timestamp(1_795_195_800_000_000_000);
    let words = restore("fts restoreh ito -at 2026-11-20T17:30:00Z -path doc -dry-run");
    assert_eq!((words.target(), words.moment()), (Some(&user_ito), Moment::At(at)));
    assert_eq!((words.carry(), words.path), (Carry::Nothing, Some("doc".into())));
    let words = restore("fts restorehome -fileset user.ito -undo");
    assert_eq!((words.target(), words.moment()), (Some(&user_ito), Moment::BeforeLast));
    assert_eq!((words.carry(), words.path), (Carry::Out, None));
    for bad in [
        "fts restorehome ito",
        "fts restorehome -undo",
        "fts restorehome ito -fileset user.ito -undo",
        "fts restorehome ito -undo -at 2026-11-20",
        "fts restorehome ito -at yesterday",
        "fts clonesys -aggregate lfs03",
        "fts snapshot diff -fileset user.ito",
        "fts snapshot rollback -fileset user.ito",
        "fts snapshot clone -fileset user.ito -snapshot monday",
        "fts snapshot diff -fileset user.ito -from monday -0 -json",
    ] {
        wrong(bad);
    }
    // What DFS had comes first: no prefix of its words means one of these.
    assert!(absent("fts restore a b c").starts_with("restore: not in this version"));
    assert!(matches!(fts("fts clone user.ito").0, Fts::Clone(FilesetOnly { .. })));
}

#[test]
fn lines_about_files_become_typed_commands() {
    let (made, _) = fts("fts crm /:/home/ito user.ito.backup -r -fa");
    assert_eq!(
        made,
        Fts::CrMount(CrMount {
            dir: "/:/home/ito".into(),
            fileset: Some("user.ito.backup".to_owned()),
            global: false,
            rw: true,
            fast: true,
        })
    );
    assert!(matches!(fts("fts delm /:/a /:/b").0, Fts::DelMount(dirs) if dirs.dir.len() == 2));
    assert!(matches!(fts("fts lsm /:/a").0, Fts::LsMount(dirs) if dirs.dir.len() == 1));
    assert_eq!(
        wrong("fts crmount /:/a user.ito -global").0,
        "crmount: the argument '-fileset <FILESET>' cannot be used with '-global'"
    );
    assert!(matches!(line("cm w a b -j"), Ok(Parsed::Cm(Cm::WhereIs(files), true)) if files.path.len() == 2));
    assert!(matches!(line("cm flush"), Ok(Parsed::Cm(Cm::Flush(files), false)) if files.path.is_empty()));
    assert!(matches!(line("cm lsc"), Ok(Parsed::Cm(Cm::LsCellInfo, false))));
    let Ok(Parsed::Cm(Cm::StatServers(which), _)) = line("cm st example.org -fast") else {
        panic!()
    };
    assert_eq!(which.cell.unwrap().as_str(), "example.org");
    assert!(matches!(line("cm help whereis"), Ok(Parsed::Help(words)) if words == ["whereis"]));
    assert!(matches!(baton("baton login"), Baton::Login { invite: None }));
    assert!(matches!(baton("baton logout"), Baton::Logout));
}

fn mount(text: &str) -> Mount {
    match line(text) {
        Ok(Parsed::Mount(mount)) => mount,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn mount_is_written_as_mount_writes_it() {
    let asked =
        mount("mount.baton example.org /cell -v -o ro,nosuid -o rw,dev,source=192.0.2.7,_netdev,x-systemd.automount");
    assert_eq!(
        (asked.cell.as_str(), asked.directory.to_str()),
        ("example.org", Some("/cell"))
    );
    let options = asked.options().unwrap();
    assert_eq!(
        (options.read_only, options.suid, options.dev),
        (Some(false), Some(false), Some(true)),
        "the last word counts"
    );
    assert_eq!(options.source, "192.0.2.7".parse().ok());
    assert!(asked.verbose && !asked.fake);
    let together = mount("mount.baton -sfn example.org /cell -t baton -o whatever=1");
    assert!(together.sloppy && together.fake && together.options().is_ok());
    let error = mount("mount.baton example.org /cell -o soft").options().unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("option soft: not in this version; there are ro"),
        "{error}"
    );
    let (sentence, _) = wrong("mount.baton example.org /cell -o source=here");
    assert!(
        sentence.ends_with(
            "source 'here': not an address of this machine; write it in numbers, for example source=192.0.2.7"
        ),
        "{sentence}"
    );
    assert!(wrong("mount.baton example.org").0.contains("<DIRECTORY>"));
    assert!(matches!(line("mount.baton --help"), Ok(Parsed::Text(text)) if text.contains("Usage: mount.baton")));
}

#[test]
fn disk_lines_become_typed_commands() {
    let Ok(Parsed::Newaggr(made)) = line("newaggr /dev/sdb 8192 1024 -o -n -na agg1") else {
        panic!()
    };
    assert_eq!(
        (made.aggregate.to_str(), made.name.as_str()),
        (Some("/dev/sdb"), "agg1")
    );
    assert!(made.overwrite && made.noaction && !made.json);
    assert_eq!(made.without_effect(), ["blocksize", "fragsize"]);
    assert_eq!(wrong("newaggr /dev/sdb").0, "missing -name <NAME>");
    let Ok(Parsed::Salvage(checked)) = line("salvage /dev/sdb -veri -f") else {
        panic!()
    };
    assert!(checked.verifyonly && checked.force && checked.aggregate.is_some());
    let Ok(Parsed::Salvage(extracted)) = line("salvage -extract /dev/sdb /tmp/a -fileset user.ito") else {
        panic!()
    };
    assert_eq!(extracted.extract, ["/dev/sdb", "/tmp/a"].map(std::path::PathBuf::from));
    assert!(
        wrong("salvage -check /dev/sdb -extract /dev/sdb /tmp/a")
            .0
            .contains("cannot be used with")
    );
    assert!(matches!(line("salvage -help"), Ok(Parsed::Text(text)) if text.contains("Usage: salvage")));
}

#[test]
fn exports_are_asked_for_by_options_alone() {
    let dfsexport = |text: &str| match line(text) {
        Ok(Parsed::Dfsexport(words)) => words,
        other => panic!("{text}: {other:?}"),
    };
    let all = dfsexport("dfsexport");
    assert!(!all.all && all.aggregate.is_none() && !all.detach && all.server.is_none());
    let one = dfsexport("dfsexport lfs03 -d -f -server mlserva -j");
    assert_eq!(
        one.aggregate.as_ref().map(ToString::to_string).as_deref(),
        Some("lfs03")
    );
    assert!(one.detach && one.force && one.server.is_some() && one.standard.json);
    assert!(dfsexport("dfsexport -all -type lfs").all);
    for (text, sentence) in [
        (
            "dfsexport -detach",
            "nothing to detach; say what with -aggregate or -all",
        ),
        (
            "dfsexport -all -type ufs",
            "a partition that is no aggregate is never exported: copy its files into a fileset",
        ),
        ("dfsexport lfs03 -force", "missing -detach"),
        ("dfsexport a/b", "invalid value 'a/b' for '-aggregate <NAME>'"),
    ] {
        assert!(wrong(text).0.contains(sentence), "{text}: {}", wrong(text).0);
    }
    assert_eq!(
        wrong("fts create a A 1 -owner ito").0,
        "create: invalid value 'ito' for '-owner <UID>': owner 'ito': not a number; write uid or uid:gid, for example 1001:100"
    );
}

#[test]
fn edserverentry_says_what_happens_to_addresses_and_owner() {
    let dummy = Address::parse("Dummy").unwrap();
    assert_eq!(
        edit("fts eds A -ch Dummy").addresses(),
        Some(AddressEdit::ChangeTo(dummy.clone()))
    );
    assert_eq!(
        edit("fts eds A -addaddr Dummy").addresses(),
        Some(AddressEdit::Add(dummy))
    );
    assert_eq!(edit("fts eds A -rmaddr").addresses(), Some(AddressEdit::Remove));
    assert_eq!(edit("fts eds A -prin hosts/B").addresses(), None);
    assert_eq!(edit("fts eds A -prin hosts/B").owner(), None);
    assert_eq!(edit("fts eds A -noowner").owner(), Some(OwnerEdit::Clear));
    assert!(matches!(
        edit("fts eds A -owner staff").owner(),
        Some(OwnerEdit::Set(_))
    ));
}

#[test]
fn baton_lines_become_typed_commands() {
    assert!(
        matches!(baton("baton cell create example.org"), Baton::Cell(Cell::Create(create)) if create.name.as_str() == "example.org")
    );
    let all = "baton cell create example.org --host fl1 --address 127.0.0.11 --address fl1 --admin alice --admin-id 7 --no-start";
    assert!(matches!(
        baton(all),
        Baton::Cell(Cell::Create(CreateCell { host: Some(_), admin: Some(_), admin_id: Some(7), no_start: true, address, .. }))
            if address.len() == 2
    ));
    assert!(matches!(
        baton("baton join TOKEN --address 127.0.0.12"),
        Baton::Join(join) if join.token == "TOKEN" && join.address.len() == 1 && !join.no_start
    ));
    assert!(matches!(
        baton("baton cell invite fs2 --member"),
        Baton::Cell(Cell::Invite(Invite {
            host: Some(_),
            user: None,
            member: true,
            ..
        }))
    ));
    assert!(matches!(
        baton("baton cell invite --user alice --group staff cell-admin --id 1001"),
        Baton::Cell(Cell::Invite(Invite { host: None, user: Some(_), group, id: Some(1001), .. })) if group.len() == 2
    ));
    let Baton::Cell(Cell::Principal(kept)) = baton("baton cell principal alice") else {
        panic!()
    };
    assert_eq!((kept.groups, kept.disabled), (None, None));
    let Baton::Cell(Cell::Principal(cleared)) = baton("baton cell principal alice --groups --disabled on") else {
        panic!()
    };
    assert_eq!(cleared.groups, Some(vec![]));
    assert!(cleared.disabled.unwrap().is_on());
    assert!(matches!(baton("baton config show"), Baton::Config(Config::Show)));
}

#[test]
fn identity_is_one_of_three_wherever_its_option_stands() {
    assert_eq!(fts("fts -noauth lss -all").1.identity(), Identity::Nobody);
    assert_eq!(fts("fts lss -all -localauth").1.identity(), Identity::Host);
    let (sentence, _) = wrong("fts -noauth lss -all -localauth");
    assert_eq!(
        sentence,
        "lsserverentry: the argument '-noauth' cannot be used with '-localauth'"
    );
}

#[test]
fn a_line_that_lacks_something_is_answered_with_its_usage() {
    let (sentence, usage) = wrong("fts create user.ito");
    assert_eq!(sentence, "create: missing -server <SERVER>, -aggregate <AGGREGATE>");
    assert_eq!(
        usage,
        "Usage: fts create -ftname <NAME> -server <SERVER> -aggregate <AGGREGATE>\n"
    );
    let (sentence, usage) = wrong("fts lsfldb -aggregate lfs03");
    assert_eq!(sentence, "lsfldb: missing -server <SERVER>");
    assert_eq!(usage, "Usage: fts lsfldb -server <SERVER> -aggregate <AGGREGATE>\n");
    let (sentence, usage) = wrong("baton cell invite");
    assert_eq!(sentence, "cell invite: missing <HOST>");
    assert_eq!(usage, "Usage: baton cell invite <HOST>\n");
    let (sentence, usage) = wrong("fts");
    assert_eq!(sentence, "a command is missing");
    assert!(
        usage.contains("Usage: fts [OPTIONS] <COMMAND>") && usage.contains("  lsfldb "),
        "{usage}"
    );
    assert_eq!(wrong("fts cell").0, "cell: a command is missing");
}

#[test]
fn a_line_that_says_too_much_or_nonsense_is_refused() {
    let cases = [
        (
            "fts eds A",
            "edserverentry: nothing to edit; say what with -addaddr, -changeaddr, -rmaddr, -principal, -quota or -owner",
        ),
        (
            "fts eds A -rmaddr -ch B",
            "edserverentry: the argument '-rmaddr' cannot be used with '-changeaddr <ADDRESS>'",
        ),
        (
            "fts eds A -ch",
            "edserverentry: a value is required for '-changeaddr <ADDRESS>' but none was supplied",
        ),
        (
            "fts lss A -all",
            "lsserverentry: the argument '-server <SERVER>' cannot be used with '-all'",
        ),
        (
            "fts lock a -f b",
            "lock: the argument '-fileset <FILESET>' cannot be used multiple times",
        ),
        (
            "fts lsfldb -locked=yes",
            "lsfldb: unexpected value 'yes' for '-locked' found; no more were expected",
        ),
        ("fts lsft -- user.ito", "lsft: unexpected argument 'user.ito' found"),
        (
            "fts create a/b A 1",
            "create: invalid value 'a/b' for '-ftname <NAME>': fileset name 'a/b': '/' is not allowed; use letters, digits, '.', '_' and '-'",
        ),
        (
            "fts create a A 1 -quota 5000",
            "create: invalid value '5000' for '-quota <SIZE>': size '5000': no unit; write 5000K for units of 1,024 bytes, as DFS counted",
        ),
        (
            "fts lss /.../example.org/hosts/A",
            "lsserverentry: invalid value '/.../example.org/hosts/A' for '-server <SERVER>': \
             server '/.../example.org/hosts/A': a path that names its cell; \
             write the host alone, and -cell before the cell's name",
        ),
        (
            "baton cell principal alice --disabled yes",
            "cell principal: invalid value 'yes' for '--disabled <ON|OFF>' [possible values: on, off]",
        ),
        (
            "baton cell invite fs2 --user alice",
            "cell invite: the argument '--user <NAME>' cannot be used with '[HOST]'",
        ),
        (
            "baton cell invite fs2 --id 7",
            "cell invite: the argument '--id <ID>' cannot be used with '[HOST]'",
        ),
    ];
    for (text, sentence) in cases {
        assert_eq!(wrong(text).0, sentence, "{text}");
    }
}

#[test]
fn what_is_not_in_this_version_says_so_and_names_what_is() {
    assert_eq!(
        absent("fts m"),
        "move: not in this version (another place for a fileset)"
    );
    assert!(absent("fts move -help").starts_with("move: not in this version"));
    assert_eq!(
        absent("fts crf user.ito A 7"),
        "crfldbentry: Baton has no entries for partitions that are no aggregates: a server exports aggregates and nothing \
         else; 'newaggr' makes an aggregate, 'dfsexport' exports it, and 'fts create' makes a fileset on it with its entry"
    );
    assert!(absent("cm flushf /:/a").ends_with("; 'cm flush' of a fileset's root forgets all of it"));
    assert_eq!(absent("acl"), "not in this version (access control lists)");
    assert!(absent("acl show /:/a").starts_with("show: not in this version"));
    assert!(absent("baton doctor").starts_with("doctor: not in this version"));
    assert_eq!(
        wrong("salvage lfs1 -x").0,
        "'-x' is no option; -help lists what there is"
    );
}

#[test]
fn help_is_asked_for_in_four_ways() {
    let Ok(Parsed::Text(text)) = line("fts lsfldb -help") else {
        panic!()
    };
    assert!(text.contains("Usage: fts lsfldb"));
    // Help is given also for a line that lacks something.
    assert!(matches!(line("fts create --help"), Ok(Parsed::Text(_))));
    assert!(matches!(line("fts -h"), Ok(Parsed::Text(text)) if text.contains("Usage: fts [OPTIONS]")));
    assert!(matches!(line("fts help lsfldb"), Ok(Parsed::Help(words)) if words == ["lsfldb"]));
    assert!(matches!(line("baton help cell create"), Ok(Parsed::Help(words)) if words == ["cell", "create"]));
    assert!(matches!(line("fts apropos entry"), Ok(Parsed::Apropos(text)) if text == "entry"));
    assert!(matches!(line("baton --version"), Ok(Parsed::Text(text)) if text.starts_with("baton 0.")));
}

/// Calls `look` with every command that does something itself.
fn each_leaf(command: &Command, look: &mut impl FnMut(&Command)) {
    for below in command.get_subcommands() {
        if below.has_subcommands() {
            each_leaf(below, look);
        } else {
            look(below);
        }
    }
}

#[test]
fn every_command_has_an_example_that_parses() {
    for program in [Program::Fts, Program::Baton, Program::Cm] {
        let mut served = served(program);
        served.build();
        each_leaf(&served, &mut |command| {
            let name = command.get_bin_name().unwrap();
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<&str> = after.lines().filter_map(|text| text.strip_prefix("  ")).collect();
            assert!(
                after.starts_with("Example:\n") && !examples.is_empty(),
                "{name}: {after}"
            );
            for example in examples {
                assert!(example.starts_with(name), "{name}: {example}");
                let typed = example.split(" > ").next().unwrap();
                assert!(line(typed).is_ok(), "{example}: {:?}", line(typed));
            }
        });
    }
}

#[test]
fn clap_finds_no_fault_in_the_definitions() {
    for program in Program::ALL {
        served(program).debug_assert();
        whole(program).debug_assert();
    }
}

/// Compares with a file of `testdata`; `BATON_UPDATE_TESTDATA=1` writes it anew.
fn assert_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
    if std::env::var_os("BATON_UPDATE_TESTDATA").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "{name}");
}

#[test]
fn help_looks_as_written_down() {
    let cases = [
        (Program::Fts, "", "help_fts.txt"),
        (Program::Fts, "lsfldb", "help_fts_lsfldb.txt"),
        (Program::Fts, "edserverentry", "help_fts_edserverentry.txt"),
        (Program::Baton, "cell invite", "help_baton_cell_invite.txt"),
    ];
    for (program, commands, file) in cases {
        let mut whole = whole(program).term_width(100);
        whole.build();
        let command = commands
            .split_whitespace()
            .fold(&whole, |level, name| level.find_subcommand(name).unwrap());
        assert_golden(file, &page(program, command));
    }
}
