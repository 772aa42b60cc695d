//! `help` and `apropos`: text from the definitions that parse.

use baton_types::{Error, Kind, Result};
use clap::Command;

use crate::dfs_args;
use crate::grammar::{absence, served, whole};
use crate::program::Program;
use crate::spelling::shown;

/// Help on each command that `words` lead to, or on the program if there are none.
///
/// # Errors
/// `Invalid` for a word that is no command; `Unsupported` for a command that is not in this version.
pub fn help(program: Program, words: &[String]) -> Result<String> {
    let mut whole = whole(program);
    whole.build();
    let mut pages = Vec::new();
    let mut level = &whole;
    for word in words {
        let found = dfs_args::command(level, word)?;
        if let Some(error) = absence(program, found.get_name()) {
            return Err(error);
        }
        // The words of `cell set` lead to one page, those of `lsfldb lsft` to two.
        level = if found.has_subcommands() { found } else { &whole };
        if !found.has_subcommands() {
            pages.push(found);
        }
    }
    if !std::ptr::eq(level, &whole) || pages.is_empty() {
        pages.push(level);
    }
    let pages: Vec<String> = pages.into_iter().map(|command| page(program, command)).collect();
    Ok(pages.join("\n"))
}

/// The help of a command that was built, as `program` shows it.
pub fn page(program: Program, command: &Command) -> String {
    shown(program, &command.clone().render_help().to_string())
}

/// The commands that have `text` in their name or their line of help, whatever its case.
///
/// # Errors
/// `NotFound` if there is none.
pub fn apropos(program: Program, text: &str) -> Result<String> {
    let mut lines = Vec::new();
    let mut served = served(program);
    served.build();
    collect(&served, &mut lines);
    let text_lower = text.to_lowercase();
    lines.retain(|line| line.to_lowercase().contains(&text_lower));
    if lines.is_empty() {
        let remedy = format!("'{} help' lists all commands", program.name());
        return Err(Error::new(Kind::NotFound, format!("'{}'", text.escape_debug()))
            .because("in no command's help")
            .remedy(remedy));
    }
    Ok(lines.concat())
}

/// A line for each command below `level` that does something itself.
fn collect(level: &Command, lines: &mut Vec<String>) {
    for command in level.get_subcommands() {
        if command.has_subcommands() {
            collect(command, lines);
        } else if let (Some(name), Some(about)) = (command.get_bin_name(), command.get_about()) {
            lines.push(format!("{name}: {about}\n"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn help_goes_down_into_nested_commands() {
        assert!(
            help(Program::Baton, &words(&["cell", "create"]))
                .unwrap()
                .contains("Usage: baton cell create")
        );
        assert!(help(Program::Baton, &words(&["cell"])).unwrap().contains("members"));
        let two = help(Program::Fts, &words(&["lsfl", "lsft"])).unwrap();
        assert!(
            two.contains("Usage: fts lsfldb") && two.contains("Usage: fts lsft"),
            "{two}"
        );
        let two = help(Program::Fts, &words(&["cell", "set", "lo"])).unwrap();
        assert!(
            two.contains("Usage: fts cell set") && two.contains("Usage: fts lock"),
            "{two}"
        );
    }

    #[test]
    fn help_on_what_is_not_there_says_so() {
        let absent = help(Program::Fts, &words(&["m"])).unwrap_err();
        assert_eq!(absent.kind, Kind::Unsupported);
        assert!(absent.to_string().starts_with("move: not in this version"), "{absent}");
        let unknown = help(Program::Fts, &words(&["lsfdlb"])).unwrap_err();
        assert_eq!(unknown.to_string(), "'lsfdlb' is no command; did you mean lsfldb?");
    }

    #[test]
    fn apropos_finds_names_and_help_of_what_is_there() {
        let found = apropos(Program::Fts, "SERVER ENTR").unwrap();
        assert!(found.contains("fts crserverentry: Makes a server entry\n"), "{found}");
        assert_eq!(found.lines().count(), 4, "{found}");
        assert!(apropos(Program::Fts, "setting").unwrap().contains("fts cell set: "));
        assert_eq!(apropos(Program::Fts, "tape").unwrap_err().kind, Kind::NotFound);
    }
}
