//! The DFS spelling: from the words a person types to the words clap expects.
//!
//! DFS let every command and option be cut to any prefix that is not ambiguous, wrote options with one
//! dash, and took leading bare words for the options in their listed order. [`rewrite`] resolves all of
//! that against the same `clap::Command` that then parses the result, so there is no second grammar.
//! What it returns is canonical: full command names, then `--option=value` (one for each word of a
//! list), then `--` and the bare words. Rewriting that again changes nothing.
//!
//! DFS's own names come first: one that Baton added ([`ADDED`]) is looked at only where no name of DFS
//! begins with the word, so a script of 1998 means the same for ever. What clap can check (values that
//! are missing, options that exclude each other) is left to clap.

mod resolve;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::vec;

use baton_types::{Error, Kind, Result};
use clap::{Arg, Command};

use self::resolve::{Miss, Name, resolve};

/// The help heading of what DFS did not have: on an option, or as the next heading of a command, and then
/// everything below it is Baton's own and takes no bare words for options.
pub const ADDED: &str = "Added by Baton";

/// Rewrites `words`, which come after the program's name.
///
/// # Errors
/// `Invalid`: a word that is no command or option (with the nearest), that could be several (with all of
/// them), or that is one bare word too many.
pub fn rewrite(program: &Command, words: impl IntoIterator<Item = OsString>) -> Result<Vec<OsString>> {
    let mut filter = Filter {
        path: Vec::new(),
        words: words.into_iter().collect(),
        options: Vec::new(),
        bare: Vec::new(),
        twins: Vec::new().into_iter(),
    };
    filter.descend(program);
    while let Some(word) = filter.words.pop_front() {
        if word == "--" {
            filter.bare.extend(filter.words.drain(..));
        } else if filter.is_option(&word) {
            filter.option(&word)?;
        } else {
            filter.bare_word(word)?;
        }
    }
    Ok(filter.finish())
}

/// The command of `level` that `word` means, as [`rewrite`] would read it.
///
/// # Errors
/// `Invalid`, as there.
pub fn command<'a>(level: &'a Command, word: &str) -> Result<&'a Command> {
    let mut names = Vec::new();
    for command in level.get_subcommands() {
        let (meant, is_added) = (command.get_name(), is_added(command));
        let spellings = std::iter::once(meant).chain(command.get_all_aliases());
        names.extend(spellings.map(|text| Name {
            text,
            meant,
            is_added,
            target: command,
        }));
    }
    resolve(word, &names).map_err(|miss| refuse(miss, word, "", "command"))
}

/// Whether DFS did not have `command`.
fn is_added(command: &Command) -> bool {
    command.get_next_help_heading() == Some(ADDED)
}

fn is_list(arg: &Arg) -> bool {
    arg.get_num_args().is_some_and(|count| count.max_values() > 1)
}

/// What messages of a program show before an option.
fn dash(program: &Command) -> &'static str {
    if is_added(program) { "--" } else { "-" }
}

fn refuse(miss: Miss, word: &str, dash: &str, what: &str) -> Error {
    let word = format!("'{dash}{}'", word.escape_debug());
    let help = if dash.is_empty() {
        "'help'".to_owned()
    } else {
        format!("{dash}help")
    };
    match miss {
        Miss::Ambiguous(names) => {
            let names: Vec<String> = names.iter().map(|name| format!("{dash}{name}")).collect();
            invalid(format!("{word} could be {}", names.join(", ")), String::new())
        }
        Miss::Unknown(Some(name)) => invalid(format!("{word} is no {what}"), format!("did you mean {dash}{name}?")),
        Miss::Unknown(None) => invalid(format!("{word} is no {what}"), format!("{help} lists what there is")),
    }
}

/// The commands before it are filled in by [`Filter::here`].
fn invalid(reason: String, remedy: String) -> Error {
    Error::new(Kind::Invalid, "").because(reason).remedy(remedy)
}

struct Filter<'a> {
    /// From the program to the command reached.
    path: Vec<&'a Command>,
    words: VecDeque<OsString>,
    options: Vec<OsString>,
    bare: Vec<OsString>,
    /// What the next bare words stand for: DFS takes them only before the first option.
    twins: vec::IntoIter<&'a Arg>,
}

impl<'a> Filter<'a> {
    fn level(&self) -> &'a Command {
        self.path[self.path.len() - 1]
    }

    /// Goes on with the words of `command`.
    fn descend(&mut self, command: &'a Command) {
        self.path.push(command);
        let is_dfs = !self.path.iter().any(|command| is_added(command));
        let may_be_bare = |arg: &&Arg| {
            is_dfs
                && arg.get_long().is_some()
                && arg.get_action().takes_values()
                && !arg.is_global_set()
                && arg.get_help_heading() != Some(ADDED)
        };
        self.twins = command
            .get_arguments()
            .filter(may_be_bare)
            .collect::<Vec<_>>()
            .into_iter();
    }

    /// A word that begins with a dash and does not merely look like a negative number.
    fn is_option(&self, word: &OsStr) -> bool {
        match word.as_bytes() {
            b"--" => false,
            [b'-', first, ..] if first.is_ascii_digit() || *first == b'.' => {
                let digits = &word.as_bytes()[1..];
                self.names().iter().any(|name| name.text.as_bytes() == digits)
            }
            [b'-', _, ..] => true,
            _ => false,
        }
    }

    /// Every option that may stand here, under each of its names.
    fn names(&self) -> Vec<Name<'a, &'a Arg>> {
        let (level, above) = (self.level(), &self.path[..self.path.len() - 1]);
        let inherited = above
            .iter()
            .flat_map(|command| command.get_arguments())
            .filter(|arg| arg.is_global_set());
        let mut names = Vec::new();
        for arg in level.get_arguments().chain(inherited) {
            let Some(meant) = arg.get_long() else { continue };
            let is_added = arg.get_help_heading() == Some(ADDED);
            let spellings = std::iter::once(meant).chain(arg.get_all_aliases().unwrap_or_default());
            names.extend(spellings.map(|text| Name {
                text,
                meant,
                is_added,
                target: arg,
            }));
        }
        names
    }

    fn option(&mut self, word: &OsStr) -> Result<()> {
        let bytes = word.as_bytes();
        let bytes = bytes.strip_prefix(b"--").unwrap_or(&bytes[1..]);
        let (name, value) = match bytes.iter().position(|b| *b == b'=') {
            Some(at) => (&bytes[..at], Some(OsStr::from_bytes(&bytes[at + 1..]))),
            None => (bytes, None),
        };
        let name = String::from_utf8_lossy(name);
        let arg = resolve(&name, &self.names())
            .map_err(|miss| self.here(refuse(miss, &name, dash(self.path[0]), "option")))?;
        self.twins = Vec::new().into_iter();
        if value.is_none() && arg.get_action().takes_values() {
            self.values(arg);
        } else {
            self.emit(arg, value);
        }
        Ok(())
    }

    /// Takes the words that belong to `arg`: one, or for a list all up to the next option.
    fn values(&mut self, arg: &Arg) {
        let is_value = |word: &&OsString| *word != "--" && !self.is_option(word);
        let available = self.words.iter().take_while(is_value).count();
        let count = if is_list(arg) { available } else { available.min(1) };
        for word in self.words.drain(..count).collect::<Vec<_>>() {
            self.emit(arg, Some(&word));
        }
        if count == 0 {
            self.emit(arg, None);
        }
    }

    fn emit(&mut self, arg: &Arg, value: Option<&OsStr>) {
        let mut word = OsString::from(format!("--{}", arg.get_long().unwrap_or_default()));
        if let Some(value) = value {
            word.push("=");
            word.push(value);
        }
        self.options.push(word);
    }

    fn bare_word(&mut self, word: OsString) -> Result<()> {
        let level = self.level();
        if level.has_subcommands() {
            let below = command(level, &word.to_string_lossy()).map_err(|error| self.here(error))?;
            self.descend(below);
        } else if level.get_positionals().next().is_some() {
            self.bare.push(word);
        } else if let Some(twin) = self.twins.next() {
            self.words.push_front(word);
            self.values(twin);
        } else {
            let reason = format!("'{}' is one word too many", word.to_string_lossy().escape_debug());
            return Err(self.here(invalid(reason, "give its option before it".to_owned())));
        }
        Ok(())
    }

    /// Says which command the error is about.
    fn here(&self, mut error: Error) -> Error {
        let commands: Vec<&str> = self.path[1..].iter().map(|command| command.get_name()).collect();
        error.on = commands.join(" ");
        error
    }

    fn finish(self) -> Vec<OsString> {
        let commands = self.path[1..].iter().map(|command| OsString::from(command.get_name()));
        let mut words: Vec<OsString> = commands.chain(self.options).collect();
        if !self.bare.is_empty() {
            words.push(OsString::from("--"));
            words.extend(self.bare);
        }
        words
    }
}
