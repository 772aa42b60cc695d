//! `restorehome`: what a home directory held is there again.

use std::os::unix::ffi::OsStrExt;

use baton_types::control::{Carry, Fate, RestoreReport};
use baton_types::record::Fileset;
use baton_types::{Error, Kind, Result};
use serde_json::{Value, json};

use super::snapshots::served;
use crate::grammar::fts::RestoreHome;
use crate::output::{Output, count, date, path_json, path_text, printable};
use crate::session::Session;

/// Brings it back, or shows what that would do.
pub async fn restorehome(session: &Session, words: RestoreHome) -> Result<Output> {
    let target = words.target().cloned();
    let target = target.ok_or_else(|| Error::new(Kind::Invalid, "fileset").because("none is named"))?;
    let (fileset, control) = served(session, target).await?;
    let path = words.path.as_ref().map(|path| path.as_os_str().as_bytes());
    let report = control
        .restore_fileset(fileset.id, &words.moment(), path.unwrap_or_default(), words.carry())
        .await?;
    Ok(output(&fileset, words.carry(), &report))
}

fn output(fileset: &Fileset, carry: Carry, report: &RestoreReport) -> Output {
    let (name, from) = (&fileset.name, printable(&report.from));
    let what = match carry {
        Carry::Out => "Restored",
        Carry::Nothing => "Would restore",
    };
    let taken = date(report.taken);
    let mut text = format!("{what} fileset {name} from its snapshot {from}, taken {taken}\n");
    for step in &report.steps {
        text += &format!("  {:<8} {}\n", fate(step.fate), path_text(&step.path));
    }
    let number = |wanted: Fate| report.steps.iter().filter(|step| step.fate == wanted).count();
    let [back, changed, gone] = [Fate::Back, Fate::Changed, Fate::Gone].map(number);
    text += &match report.steps.len() {
        0 => "Nothing differs\n".to_owned(),
        all => format!(
            "{}: {back} back, {changed} changed, {gone} gone\n",
            count(all, "difference")
        ),
    };
    if !report.before.is_empty() {
        text += &format!(
            "What was there before is in the snapshot {}; to bring that back: fts restorehome -fileset {name} -undo\n",
            printable(&report.before)
        );
    }
    let steps: Vec<Value> = report
        .steps
        .iter()
        .map(|step| json!({ "path": path_json(&step.path), "fate": fate(step.fate) }))
        .collect();
    let json = json!({
        "fileset": name,
        "done": carry == Carry::Out,
        "from": from,
        "taken": taken,
        "before": Some(printable(&report.before)).filter(|before| !before.is_empty()),
        "files": steps,
    });
    Output::new("baton.fts.restorehome/1", text, json)
}

fn fate(fate: Fate) -> &'static str {
    match fate {
        Fate::Back => "back",
        Fate::Changed => "changed",
        Fate::Gone => "gone",
    }
}

#[cfg(test)]
mod tests {
    use baton_types::Timestamp;
    use baton_types::control::Restored;

    use super::*;
    use crate::fts::tests::fileset;

    #[test]
    fn what_comes_back_is_shown_with_the_way_back() {
        let step = |path: &[u8], fate| Restored {
            path: path.to_vec(),
            fate,
        };
        let mut report = RestoreReport {
            from: "monday".to_owned(),
            taken: Timestamp(1_800_000_000 * 1_000_000_000),
            before: "before-restore.1".to_owned(),
            steps: vec![
                step(b"doc/a", Fate::Back),
                step(b"b", Fate::Changed),
                step(b"\xa4\xa2", Fate::Gone),
            ],
        };
        let told = output(&fileset(), Carry::Out, &report);
        assert_eq!(
            told.text,
            "Restored fileset user.ito from its snapshot monday, taken 2027-01-15T08:00:00Z\n  \
             back     doc/a\n  changed  b\n  gone     \\xa4\\xa2\n\
             3 differences: 1 back, 1 changed, 1 gone\n\
             What was there before is in the snapshot before-restore.1; \
             to bring that back: fts restorehome -fileset user.ito -undo\n"
        );
        assert_eq!(told.json["files"][2]["path"], json!({ "b64": "pKI=" }));
        (report.before, report.steps) = (String::new(), Vec::new());
        assert_eq!(
            output(&fileset(), Carry::Nothing, &report).text,
            "Would restore fileset user.ito from its snapshot monday, taken 2027-01-15T08:00:00Z\nNothing differs\n"
        );
    }
}
