//! How text is shown: one dash before the options of DFS's programs, two before those of `baton`.
//!
//! clap writes two everywhere. Both are understood; what a person reads shows one of them.

use std::ffi::OsString;

use baton_types::{Error, Kind};
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::grammar::{Parsed, Refusal};
use crate::program::Program;

/// Text of clap's as `program` shows it.
pub fn shown(program: Program, text: &str) -> String {
    if matches!(program, Program::Baton | Program::MountBaton) {
        return text.to_owned();
    }
    let begins = |line: &str| line.trim_start_matches(' ').starts_with("--");
    let lines = text.split_inclusive('\n').map(|line| {
        let cut = one_dash(line, "--", "-");
        // In place of the dash, so that a description wrapped by clap stays in its column.
        let space = if begins(line) && !begins(&cut) { " " } else { "" };
        format!("{space}{cut}")
    });
    lines.collect()
}

/// Puts `one` for each `two` that stands before a letter, or before 0: the one option that is a number.
pub fn one_dash(text: &str, two: &str, one: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(two) {
        let (before, after) = (&rest[..at], &rest[at + two.len()..]);
        let is_option = !before.ends_with('-') && after.starts_with(|c: char| c.is_ascii_lowercase() || c == '0');
        shown += before;
        shown += if is_option { one } else { two };
        rest = after;
    }
    shown + rest
}

/// The command that canonical words begin with: `cell set`.
pub fn commands_of(words: &[OsString]) -> String {
    let words = words
        .iter()
        .map_while(|word| word.to_str())
        .take_while(|word| !word.starts_with('-'));
    words.collect::<Vec<_>>().join(" ")
}

/// What clap answered instead of a command: the text that was asked for, or what is wrong.
///
/// # Errors
/// `Usage`, in one sentence, with the usage line if clap shows one.
pub fn explain(program: Program, on: String, error: &clap::Error) -> Result<Parsed, Refusal> {
    let text = shown(program, &error.render().to_string());
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => return Ok(Parsed::Text(text)),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let error = Error::new(Kind::Invalid, on).because("a command is missing");
            return Err(Refusal::usage(error, text));
        }
        _ => {}
    }
    let mut paragraphs = text.split("\n\n");
    let sentence = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(missing)) if error.kind() == ErrorKind::MissingRequiredArgument => {
            shown(program, &format!("missing {}", missing.join(", ")))
        }
        _ => paragraphs
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" "),
    };
    let usage = paragraphs.find(|paragraph| paragraph.starts_with("Usage:"));
    let usage = usage.map(|usage| format!("{}\n", usage.trim_end())).unwrap_or_default();
    Err(Refusal::usage(Error::new(Kind::Invalid, on).because(sentence), usage))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dashes_of_options_are_cut() {
        let cases = [
            ("use --fileset or [--all]", "use -fileset or [-all]"),
            ("'--cell <CELL>'|--x", "'-cell <CELL>'|-x"),
            ("a -- b --- c --", "a -- b --- c --"),
            ("---three --9", "---three --9"),
            ("  --0  Yes", "   -0  Yes"),
            ("  --all  Yes\n  -- no", "   -all  Yes\n  -- no"),
        ];
        for (text, cut) in cases {
            assert_eq!(shown(Program::Fts, text), cut);
            assert_eq!(shown(Program::Baton, text), text);
        }
    }

    #[test]
    fn commands_end_at_the_first_option() {
        let commands = |words: &[&str]| commands_of(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(commands(&["cell", "set", "--", "auth", "cert"]), "cell set");
        assert_eq!(commands(&["lsfldb", "--locked"]), "lsfldb");
        assert_eq!(commands(&[]), "");
    }
}
