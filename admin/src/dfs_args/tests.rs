//! Forms of `testdata/dfs_forms.txt`, and what holds of any words at all.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::{Arg, Command};
use proptest::prelude::*;

use super::{ADDED, rewrite};
use crate::grammar::{Refusal, parse, whole};
use crate::program::Program;

const FORMS: &str = include_str!("../../testdata/dfs_forms.txt");

/// Lines that mean one thing, the shortest first, and that thing: a canonical line, or a refusal.
struct Stanza {
    typed: Vec<&'static str>,
    meant: &'static str,
}

fn stanzas() -> Vec<Stanza> {
    let mut stanzas = Vec::new();
    let mut typed = Vec::new();
    for line in FORMS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.starts_with("= ") || line.starts_with("! ") {
            stanzas.push(Stanza {
                typed: std::mem::take(&mut typed),
                meant: line,
            });
        } else {
            typed.push(line);
        }
    }
    assert!(typed.is_empty(), "no meaning: {typed:?}");
    stanzas
}

fn words(line: &str) -> (Program, Vec<OsString>) {
    Program::of_line(line.split_whitespace().map(OsString::from))
}

/// What a line means, written as the file writes it.
fn meaning(line: &str) -> String {
    let (program, words) = words(line);
    match rewrite(&whole(program), words) {
        Ok(canonical) => {
            let canonical = canonical.iter().map(|word| format!(" {}", word.to_string_lossy()));
            format!("= {}{}", program.name(), canonical.collect::<String>())
        }
        Err(error) => format!("! {}: {error}", program.name()),
    }
}

#[test]
fn every_form_means_what_the_table_says() {
    for stanza in stanzas() {
        for line in &stanza.typed {
            assert_eq!(meaning(line), stanza.meant, "{line}");
        }
    }
}

#[test]
fn no_form_is_shorter_than_the_first() {
    let mut longer = Vec::new();
    for stanza in stanzas().iter().filter(|stanza| stanza.meant.starts_with('=')) {
        let words: Vec<&str> = stanza.typed[0].split(' ').collect();
        for (at, word) in words.iter().enumerate().skip(1) {
            let is_command = at == 1 && !word.starts_with('-');
            let is_option = word.starts_with('-') && word.as_bytes().get(1).is_some_and(u8::is_ascii_lowercase);
            let is_one_letter = word.trim_start_matches('-').len() == 1;
            if is_one_letter || word.contains('=') || words.contains(&"--") || !(is_command || is_option) {
                continue;
            }
            let mut shorter = words.clone();
            shorter[at] = &word[..word.len() - 1];
            if meaning(&shorter.join(" ")) == stanza.meant {
                longer.push(shorter.join(" "));
            }
        }
    }
    assert!(longer.is_empty(), "{longer:#?}");
}

/// What DFS had at `command`: options that are neither added nor standard.
fn dfs_options(command: &Command) -> impl Iterator<Item = &str> {
    let is_own = |arg: &&Arg| arg.get_help_heading() != Some(ADDED) && !arg.is_global_set();
    command.get_arguments().filter(is_own).filter_map(Arg::get_long)
}

#[test]
fn the_table_has_every_command_and_option() {
    let meant: Vec<BTreeSet<&str>> = stanzas()
        .iter()
        .map(|stanza| stanza.meant.split(['=', ' ']).filter(|word| !word.is_empty()).collect())
        .collect();
    let has = |words: &[&str]| meant.iter().any(|line| words.iter().all(|word| line.contains(word)));
    let dfs = Program::ALL
        .into_iter()
        .filter(|it| !matches!(it, Program::Baton | Program::MountBaton));
    let mut counts = Vec::new();
    for program in dfs {
        let whole = whole(program);
        for option in dfs_options(&whole) {
            assert!(
                has(&[program.name(), &format!("--{option}")]),
                "{} {option}",
                program.name()
            );
        }
        let commands = whole
            .get_subcommands()
            .filter(|command| command.get_next_help_heading() != Some(ADDED));
        let commands: Vec<&Command> = commands.collect();
        counts.push((program.name(), commands.len()));
        for command in commands {
            assert!(
                has(&[program.name(), command.get_name()]),
                "{} {}",
                program.name(),
                command.get_name()
            );
            for option in dfs_options(command) {
                let option = format!("--{option}");
                assert!(
                    has(&[program.name(), command.get_name(), &option]),
                    "{} {option}",
                    command.get_name()
                );
            }
        }
    }
    let with_commands: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(with_commands, [("fts", 41), ("cm", 21), ("acl", 6)]);
}

#[test]
fn prefixes_of_dfs_outlive_what_baton_adds() {
    let added = |name: &'static str| Command::new(name).next_help_heading(ADDED);
    let more = whole(Program::Fts).subcommands(["hold", "restorehome", "mirror", "zombies", "quorum"].map(added));
    for (typed, command) in [
        ("h", "help"),
        ("m", "move"),
        ("res", "restore"),
        ("z", "zap"),
        ("restoreh", "restorehome"),
    ] {
        assert_eq!(super::command(&more, typed).unwrap().get_name(), command);
        assert!(rewrite(&more, [OsString::from(typed)]).is_ok_and(|words| words == [command]));
    }
    assert_eq!(super::command(&more, "q").unwrap().get_name(), "quorum");

    let option = |name: &'static str| Arg::new(name).long(name).help_heading(ADDED);
    let more = whole(Program::Fts).mut_subcommand("lsfldb", |it| it.args(["first", "since", "watch"].map(option)));
    let line = ["lsfldb", "-f", "x", "-s", "A", "-w", "7"].map(OsString::from);
    let meant = ["lsfldb", "--fileset=x", "--server=A", "--watch=7"].map(OsString::from);
    assert_eq!(rewrite(&more, line).unwrap(), meant);
}

#[test]
fn aliases_are_names() {
    let program = Command::new("p").subcommand(Command::new("list").alias("ls").alias("dir"));
    for typed in ["ls", "li", "l", "dir", "d"] {
        assert_eq!(super::command(&program, typed).unwrap().get_name(), "list");
    }
}

#[test]
fn a_number_with_a_dash_is_a_value_unless_it_is_an_option() {
    let text = Arg::new("text").long("text");
    let program = Command::new("p").arg(text);
    let typed = ["-t", "-0"].map(OsString::from);
    assert_eq!(rewrite(&program, typed.clone()).unwrap(), ["--text=-0"]);
    let program = program.arg(Arg::new("0").long("0").action(clap::ArgAction::SetTrue));
    assert_eq!(rewrite(&program, typed).unwrap(), ["--text", "--0"]);
}

#[test]
fn values_that_are_not_text_go_through_as_they_are() {
    let euc_jp = OsString::from_vec(b"-path=/:/home/\xc6\xfc\xcb\xdc".to_vec());
    let meant = OsString::from_vec(b"--path=/:/home/\xc6\xfc\xcb\xdc".to_vec());
    let words = rewrite(&whole(Program::Fts), [OsString::from("lsft"), euc_jp]).unwrap();
    assert_eq!(words, [OsString::from("lsft"), meant]);
    let bare = OsString::from_vec(b"/:/\xc6\xfc".to_vec());
    let words = rewrite(&whole(Program::Fts), [OsString::from("lsft"), bare]).unwrap();
    assert_eq!(words[1], OsString::from_vec(b"--path=/:/\xc6\xfc".to_vec()));
    let option = OsString::from_vec(b"-\xc6\xfc".to_vec());
    assert!(rewrite(&whole(Program::Fts), [OsString::from("lsft"), option]).is_err());
}

/// Words near enough to the grammar to get into every corner of it, and any bytes.
fn word() -> impl Strategy<Value = OsString> {
    let names: Vec<String> = FORMS.split_whitespace().map(str::to_owned).collect();
    prop_oneof![
        4 => proptest::sample::select(names).prop_map(OsString::from),
        1 => "-{0,3}[a-z0-9.=]{0,4}".prop_map(OsString::from),
        1 => proptest::collection::vec(1u8.., 0..6).prop_map(OsString::from_vec),
    ]
}

proptest! {
    #[test]
    fn prop_canonical_words_stay_as_they_are(
        program in proptest::sample::select(Program::ALL.to_vec()),
        words in proptest::collection::vec(word(), 0..8),
    ) {
        let whole = whole(program);
        if let Ok(canonical) = rewrite(&whole, words) {
            prop_assert_eq!(rewrite(&whole, canonical.clone()).unwrap(), canonical);
        }
    }

    #[test]
    fn prop_any_line_is_parsed_or_refused(
        program in proptest::sample::select(Program::ALL.to_vec()),
        words in proptest::collection::vec(word(), 0..8),
    ) {
        if let Err(Refusal::Usage { error, .. }) = parse(program, words) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
