//! Completion scripts and manual pages, from the definitions that parse.
//!
//! Both are made of what this version serves, and show DFS's programs with one dash, as their help does.

use std::fs;
use std::path::{Path, PathBuf};

use baton_types::{Error, Result};
use clap::Command;
use clap_complete::{Shell, generate};
use clap_mangen::Man;

use crate::grammar::served;
use crate::program::Program;
use crate::spelling::one_dash;

/// The programs that people type; `mount` types the other one.
fn typed() -> impl Iterator<Item = Program> {
    Program::ALL
        .into_iter()
        .filter(|program| *program != Program::MountBaton)
}

/// The completion script of all programs for `shell`.
pub fn completions(shell: Shell) -> String {
    typed().map(|program| script(program, shell)).collect()
}

fn script(program: Program, shell: Shell) -> String {
    let mut bytes = Vec::new();
    generate(shell, &mut served(program), program.name(), &mut bytes);
    let script = String::from_utf8_lossy(&bytes).into_owned();
    match (program, shell) {
        (Program::Baton, _) => script,
        (_, Shell::Fish) => script.split_inclusive('\n').map(old_style).collect(),
        // Without `-s`, which would read one dash as a row of one-letter options.
        (_, Shell::Zsh) => one_dash(&script, "--", "-")
            .replace("(-s -S -C)", "(-S -C)")
            .replace("(-s -C)", "(-C)"),
        _ => one_dash(&script, "--", "-"),
    }
}

/// A line of fish that offers an option, with what fish calls an old-style one: one dash.
fn old_style(line: &str) -> String {
    match line.starts_with("complete ") {
        true => line.replacen(" -l ", " -o ", 1),
        false => line.to_owned(),
    }
}

/// Writes the manual pages of all programs into `dir`, and says which.
///
/// # Errors
/// `Io` and its kin for the directory or a file in it.
pub fn man(dir: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(dir).map_err(|error| Error::io(dir.display().to_string(), error))?;
    let mut written = Vec::new();
    for program in typed() {
        let mut served = served(program);
        served.build();
        pages(program, &served, dir, &mut written)?;
    }
    Ok(written)
}

fn pages(program: Program, command: &Command, dir: &Path, written: &mut Vec<PathBuf>) -> Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let path = dir.join(format!("{name}.1"));
    let failed = |error| Error::io(path.display().to_string(), error);

    let mut page = Vec::new();
    Man::new(command.clone())
        .title(name.to_uppercase())
        .date(" ") // the same input makes the same page
        .source(concat!("Baton ", env!("CARGO_PKG_VERSION")))
        .manual("Baton")
        .render(&mut page)
        .map_err(failed)?;
    let page = String::from_utf8_lossy(&page).replace(".SH EXTRA\n", ".SH NOTES\n");
    let page = if program == Program::Baton {
        page
    } else {
        one_dash(&page, r"\-\-", r"\-")
    };
    fs::write(&path, page).map_err(failed)?;
    written.push(path.clone());
    command
        .get_subcommands()
        .try_for_each(|command| pages(program, command, dir, written))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command as Process;

    const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

    /// Names of the commands of `program`, nested ones too.
    fn names(level: &Command) -> Vec<String> {
        level
            .get_subcommands()
            .flat_map(|it| std::iter::once(it.get_name().to_owned()).chain(names(it)))
            .collect()
    }

    #[test]
    fn completions_know_every_program_and_command() {
        for shell in SHELLS {
            for program in typed() {
                let script = script(program, shell);
                assert!(script.contains(program.name()), "{shell} {}", program.name());
                for name in names(&served(program)) {
                    assert!(script.contains(&name), "{shell} {name}");
                }
            }
            let all = completions(shell);
            assert!(
                !all.contains("setrepinfo") && !all.contains("addsite"),
                "{shell} offers what is not there"
            );
        }
    }

    #[test]
    fn completions_show_the_dash_of_the_program() {
        for (shell, one, two) in [
            (Shell::Bash, "-locked ", "--invite "),
            (Shell::Zsh, "'-locked[", "'--invite="),
            (Shell::Fish, " -o locked ", " -l invite "),
        ] {
            let (fts, baton) = (script(Program::Fts, shell), script(Program::Baton, shell));
            assert!(
                fts.contains(one) && !fts.contains("--locked") && !fts.contains(" -l locked"),
                "{shell}: {fts}"
            );
            assert!(baton.contains(two), "{shell}: {baton}");
            assert!(
                shell != Shell::Fish || fts.contains("set -l cmd "),
                "fish's own words are left alone: {fts}"
            );
        }
    }

    /// What bash offers for the last of `words`.
    fn offered(script: &str, words: &[&str]) -> String {
        let (program, last, before) = (words[0], words[words.len() - 1], words[words.len() - 2]);
        let line = format!(
            "{script}\nCOMP_WORDS=({}); COMP_CWORD={}; _{program} {program} '{last}' '{before}'; echo \"${{COMPREPLY[@]}}\"",
            words.join(" "),
            words.len() - 1,
        );
        let output = Process::new("bash").args(["--norc", "-c", &line]).output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    #[test]
    fn bash_completes_commands_and_options() {
        let script = completions(Shell::Bash);
        assert_eq!(offered(&script, &["fts", "lsf"]), "lsfldb lsft");
        assert_eq!(offered(&script, &["fts", "lsfldb", "-lo"]), "-locked -localauth");
        assert_eq!(offered(&script, &["fts", "cell", "s"]), "show set");
        assert_eq!(offered(&script, &["baton", "login", "--i"]), "--invite");
    }

    #[test]
    fn manual_has_a_page_for_every_program_and_command() {
        let dir = tempfile::tempdir().unwrap();
        let written = man(dir.path()).unwrap();
        let page = |name: &str| fs::read_to_string(dir.path().join(format!("{name}.1"))).unwrap();
        for program in typed() {
            let main = page(program.name());
            for command in served(program).get_subcommands() {
                let name = format!("{}-{}", program.name(), command.get_name());
                assert!(main.contains(&name.replace('-', r"\-")), "{name}");
                assert!(page(&name).contains("Example:") || command.has_subcommands(), "{name}");
            }
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), written.len());
        assert!(page("acl").contains("not in this version"));
        assert!(page("fts-cell-set").contains("SETTING"));
        let (fts, baton) = (page("fts-lsfldb"), page("baton-login"));
        assert!(fts.contains(r"\-locked") && !fts.contains(r"\-\-"), "{fts}");
        assert!(baton.contains(r"\-\-invite"), "{baton}");
    }

    #[test]
    fn manual_into_a_file_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(
            man(file.path())
                .unwrap_err()
                .to_string()
                .starts_with(&file.path().display().to_string())
        );
    }
}
