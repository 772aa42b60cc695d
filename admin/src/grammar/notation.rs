//! A command in one line: `move -fileset f -fromserver s [-all | -path p…]`, as manuals write them.
//!
//! A word after an option is its value, with `…` a list of values; a bare word before the first option is
//! an argument without an option. Brackets and bars are for the reader: nothing here is carried out, so
//! nothing needs to be required or excluded.

use clap::{Arg, ArgAction, Command};

/// The name a line begins with.
pub fn name(line: &'static str) -> &'static str {
    line.split_whitespace().next().unwrap_or(line)
}

/// Adds the arguments of a line to `command`.
pub fn arguments(command: Command, line: &'static str) -> Command {
    let is_mark = |c: char| c.is_whitespace() || "[]{}|".contains(c);
    let mut args: Vec<Arg> = Vec::new();
    for word in line.split(is_mark).filter(|word| !word.is_empty()).skip(1) {
        match (word.strip_prefix('-'), args.pop()) {
            (Some(option), before) => {
                args.extend(before);
                args.push(Arg::new(option).long(option).action(ArgAction::SetTrue));
            }
            (None, Some(before)) if before.get_long().is_some() => args.push(valued(before, word)),
            (None, before) => {
                args.extend(before);
                args.push(valued(Arg::new(word), word));
            }
        }
    }
    command.args(args)
}

fn valued(arg: Arg, value: &str) -> Arg {
    if value.ends_with('…') {
        arg.num_args(1..).action(ArgAction::Append)
    } else {
        arg.action(ArgAction::Set)
    }
}
