//! `pjdfstest`: some hundred questions about POSIX. Which are answered otherwise, and why, is in a list; what fails
//! besides, and what is in the list and passes, is news.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Stage, Suite, tail};

/// Root whom the servers believe; and root whom they do not.
const EXPECTED: &str = include_str!("pjdfstest/expected.txt");
const EXPECTED_PLAIN: &str = include_str!("pjdfstest/expected-plain.txt");

/// Two users who own nothing; the suite becomes each of them in turn. Not `nobody`: so the servers see a root whom they
/// do not believe.
const CONFIGURATION: &str = r#"
[features]
posix_fallocate = {}
rename_ctime = {}
utimensat = {}
utime_now = {}

[settings]
naptime = 0.02
allow_remount = false

[dummy_auth]
entries = [["bin", "bin"], ["daemon", "daemon"]]
"#;

/// Failures that are known, each with its reason.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Expected(BTreeMap<String, String>);

/// What a run said.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Tests that passed.
    pub passed: Vec<String>,
    /// Tests that failed.
    pub failed: Vec<String>,
    /// Tests that did not apply.
    pub skipped: Vec<String>,
}

impl Expected {
    /// Lines of `test: reason`; those that begin with `#` are for people.
    ///
    /// # Errors
    /// A line without a reason.
    pub fn parse(text: &str) -> Result<Expected> {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let parsed = lines.map(|line| {
            let (test, reason) = line
                .split_once(": ")
                .with_context(|| format!("no reason in '{line}'"))?;
            Ok((test.to_owned(), reason.to_owned()))
        });
        Ok(Expected(parsed.collect::<Result<_>>()?))
    }

    /// What differs from `report`: failures without a reason, and reasons without a failure.
    pub fn news(&self, report: &Report) -> Vec<String> {
        let unknown = report.failed.iter().filter(|test| !self.0.contains_key(*test));
        let unknown = unknown.map(|test| format!("{test} fails"));
        let mended = self.0.keys().filter(|test| report.passed.contains(test));
        unknown.chain(mended.map(|test| format!("{test} passes now"))).collect()
    }
}

impl Report {
    /// Reads what `pjdfstest` printed.
    pub fn parse(text: &str) -> Report {
        let mut report = Report::default();
        for line in text.lines() {
            let plain = without_colours(line);
            let mut words = plain.split_whitespace();
            let (Some(test), Some(result), None) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            let list = match result {
                "ok" => &mut report.passed,
                "FAILED" => &mut report.failed,
                "skipped" => &mut report.skipped,
                _ => continue,
            };
            list.push(test.to_owned());
        }
        report
    }
}

fn without_colours(line: &str) -> String {
    let mut plain = String::new();
    let mut parts = line.split("\u{1b}[");
    plain.extend(parts.next());
    plain.extend(parts.filter_map(|part| part.split_once('m')).map(|(_, text)| text));
    plain
}

/// Runs all of it.
pub fn run(stage: &Stage, suite: Suite) -> Result<String> {
    let expected = Expected::parse(if suite == Suite::Pjdfstest {
        EXPECTED
    } else {
        EXPECTED_PLAIN
    })?;
    let outside = tempfile::tempdir()?;
    let configuration = outside.path().join("pjdfstest.toml");
    fs::write(&configuration, CONFIGURATION)?;
    let place = stage.first().join("pjdfstest");
    fs::create_dir(&place)?;
    fs::set_permissions(&place, fs::Permissions::from_mode(0o777))?;
    // The address of a socket has room for 108 bytes of path.
    let short = outside.path().join("p");
    std::os::unix::fs::symlink(&place, &short)?;
    fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o755))?;
    let mut command = Command::new("pjdfstest");
    command.arg("-c").arg(&configuration).arg("-p").arg(&short);
    let output = command.output().context("pjdfstest does not start; is it installed?")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let report = Report::parse(&said);
    ensure!(
        report.passed.len() + report.failed.len() > 100,
        "pjdfstest did not run:\n{}\n{}",
        tail(&said),
        tail(&String::from_utf8_lossy(&output.stderr))
    );
    let news = expected.news(&report);
    ensure!(news.is_empty(), "{}\n\n{}", news.join("\n"), tail(&said));
    Ok(format!(
        "{} pass, {} fail for known reasons, {} do not apply",
        report.passed.len(),
        report.failed.len(),
        report.skipped.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::{EXPECTED, EXPECTED_PLAIN, Expected, Report};

    #[test]
    fn failures_without_a_reason_and_reasons_without_a_failure_are_news() {
        let said = "\u{1b}[34mopen::a\u{1b}[0m    \u{1b}[32mok\u{1b}[0m\nopen::b  FAILED\nrename::c FAILED\n\tsome text\nx skipped\n";
        let report = Report::parse(said);
        assert_eq!(
            (report.passed.len(), report.failed.len(), report.skipped.len()),
            (1, 2, 1)
        );
        let expected = Expected::parse("# known\nopen::b: it cannot be\nopen::a: it could not be\n").unwrap();
        assert_eq!(expected.news(&report), ["rename::c fails", "open::a passes now"]);
        assert!(Expected::parse("no reason").is_err());
    }

    #[test]
    fn every_known_failure_has_its_reason() {
        Expected::parse(EXPECTED).unwrap();
        Expected::parse(EXPECTED_PLAIN).unwrap();
    }
}
