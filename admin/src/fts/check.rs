//! `fts status -check`: one line and an exit code, as Nagios wants them of a plugin.

use baton_types::{EntryName, Error, Kind};
use serde_json::json;

use super::status::{Health, View};
use crate::output::{Output, count};

/// Nagios's code for what a plugin could not find out.
const UNKNOWN: u8 = 3;

/// Its word for how the cell is.
pub fn word(health: Health) -> &'static str {
    match health {
        Health::Well => "OK",
        Health::Warning => "WARNING",
        Health::Critical => "CRITICAL",
    }
}

fn code(health: Health) -> u8 {
    match health {
        Health::Well => 0,
        Health::Warning => 1,
        Health::Critical => 2,
    }
}

/// The cell was looked at.
pub fn output(view: &View) -> Output {
    let (health, advice) = view.advice();
    let (members, answering) = (view.members.len(), view.answers().count());
    let says = match health {
        Health::Well => format!("leader {}", view.leader().map_or("unknown", EntryName::as_str)),
        Health::Warning | Health::Critical => advice.trim_end_matches('.').to_owned(),
    };
    let line = format!(
        "{}: {answering} of {} answer; {says} | members={members} answering={answering} servers={} aggregates={} \
         filesets={}",
        view.cell,
        count(members, "member"),
        view.servers.len(),
        view.aggregates.len(),
        view.filesets(),
    );
    of(word(health), code(health), &line)
}

/// It could not be. Nobody answering is the worst there is; anything else is this machine's own trouble.
pub fn failed(error: &Error) -> Output {
    match error.kind {
        Kind::Unreachable => of(word(Health::Critical), code(Health::Critical), &error.to_string()),
        _ => of("UNKNOWN", UNKNOWN, &error.to_string()),
    }
}

fn of(word: &str, code: u8, line: &str) -> Output {
    let text = format!("BATON {word} - {line}\n");
    let json = json!({ "health": word.to_lowercase(), "code": code, "line": text.trim_end() });
    Output {
        exit: code,
        ..Output::new("baton.fts.status.check/1", text, json)
    }
}

#[cfg(test)]
mod tests {
    use super::super::status::tests::view;
    use super::*;

    #[test]
    fn a_line_and_a_code_for_each_health() {
        let well = output(&view(&[true, true, true], true));
        assert_eq!(
            well.text,
            "BATON OK - example.org: 3 of 3 members answer; leader fl1 | members=3 answering=3 servers=1 aggregates=1 \
             filesets=2\n"
        );
        let warning = output(&view(&[true, true, false], true));
        assert_eq!(warning.exit, 1);
        assert!(
            warning
                .text
                .starts_with("BATON WARNING - example.org: 2 of 3 members answer; Start flserver on fl3")
        );
        let critical = output(&view(&[true, false, false], false));
        assert_eq!((well.exit, critical.exit), (0, 2));
        assert!(
            critical
                .text
                .starts_with("BATON CRITICAL - example.org: 1 of 3 members answer; No quorum")
        );
    }

    #[test]
    fn nobody_answering_is_critical_and_a_missing_file_unknown() {
        let nobody =
            failed(&Error::new(Kind::Unreachable, "location database of example.org").because("nobody answers"));
        assert_eq!(
            nobody.text,
            "BATON CRITICAL - location database of example.org: nobody answers\n"
        );
        assert_eq!(nobody.exit, 2);
        assert_eq!(failed(&Error::new(Kind::NotFound, "cell")).exit, 3);
    }
}
