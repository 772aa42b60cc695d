//! `snapshot diff`: in what a fileset differs between two moments, printed as it is found.
//!
//! | form | of each difference | at the end |
//! |---|---|---|
//! | text | a line; bytes that are no text are escaped | how many of each kind |
//! | `-0` | letter, blank, path, NUL; what was renamed has its new path in a record of its own, after `>` | |
//! | `-json` | an object | an object that says how many of each kind: without it there are more |

use std::os::unix::ffi::OsStrExt;

use baton_types::control::Difference;
use baton_types::{FileName, Result};
use serde_json::{Value, json};

use super::snapshots::served;
use crate::grammar::fts::SnapshotDiff;
use crate::output::{Output, count, json_line, path_json, path_text, print_now, printable};
use crate::session::Session;

/// One line of JSON each.
const SCHEMA: &str = "baton.fts.snapshot.diff/1";
/// The last line.
const SCHEMA_END: &str = "baton.fts.snapshot.diff.end/1";

/// For whom it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Nul,
    Json,
}

/// How many there were.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    added: usize,
    removed: usize,
    content: usize,
    attributes: usize,
    renamed: usize,
}

/// Prints it, until all is said or nobody reads any more.
pub async fn diff(session: &Session, words: SnapshotDiff) -> Result<Output> {
    let form = match (session.standard.json, words.nul) {
        (true, _) => Form::Json,
        (false, true) => Form::Nul,
        (false, false) => Form::Text,
    };
    let (fileset, control) = served(session, words.fileset).await?;
    let path = words.path.as_ref().map(|path| path.as_os_str().as_bytes());
    let moments = (&words.from, words.to.as_ref());
    let mut differences = control
        .diff_snapshots(fileset.id, moments, path.unwrap_or_default())
        .await?;
    let mut counts = Counts::default();
    while let Some(some) = differences.next().await? {
        let mut printed = Vec::new();
        for difference in &some {
            counts.note(difference);
            form.add(difference, &mut printed);
        }
        if !print_now(&printed)? {
            return Ok(Output::new(SCHEMA, "", Value::Null));
        }
    }
    let end = match form {
        Form::Text => counts.line(),
        Form::Nul => String::new(),
        Form::Json => json_line(SCHEMA_END, &counts.to_json(fileset.name.as_str(), moments)),
    };
    print_now(end.as_bytes())?;
    Ok(Output::new(SCHEMA, "", Value::Null))
}

impl Form {
    fn add(self, difference: &Difference, to: &mut Vec<u8>) {
        let (letter, word, path, new) = match difference {
            Difference::Added(path) => ('+', "added", path, None),
            Difference::Removed(path) => ('-', "removed", path, None),
            Difference::Content(path) => ('M', "modified", path, None),
            Difference::Attributes(path) => ('A', "attributes", path, None),
            Difference::Renamed { old, new } => ('R', "renamed", old, Some(new)),
        };
        match self {
            Form::Text => {
                let new = new.map_or(String::new(), |new| format!(" -> {}", path_text(new)));
                to.extend(format!("{letter} {}{new}\n", path_text(path)).bytes());
            }
            Form::Nul => {
                let root: &[u8] = b".";
                for (letter, path) in std::iter::once((letter, path)).chain(new.map(|new| ('>', new))) {
                    to.extend(format!("{letter} ").bytes());
                    to.extend(if path.is_empty() { root } else { path });
                    to.push(0);
                }
            }
            Form::Json => {
                let mut json = json!({ "change": word, "path": path_json(new.unwrap_or(path)) });
                if new.is_some() {
                    json["old"] = path_json(path);
                }
                to.extend(json_line(SCHEMA, &json).bytes());
            }
        }
    }
}

impl Counts {
    fn note(&mut self, difference: &Difference) {
        let one = match difference {
            Difference::Added(_) => &mut self.added,
            Difference::Removed(_) => &mut self.removed,
            Difference::Content(_) => &mut self.content,
            Difference::Attributes(_) => &mut self.attributes,
            Difference::Renamed { .. } => &mut self.renamed,
        };
        *one += 1;
    }

    fn line(self) -> String {
        let Counts {
            added,
            removed,
            content,
            attributes,
            renamed,
        } = self;
        match added + removed + content + attributes + renamed {
            0 => "Nothing differs\n".to_owned(),
            all => format!(
                "{}: {added} added, {removed} removed, {content} modified, {attributes} in attributes only, \
                 {renamed} renamed\n",
                count(all, "difference")
            ),
        }
    }

    fn to_json(self, fileset: &str, (from, to): (&FileName, Option<&FileName>)) -> Value {
        let name = |name: &FileName| printable(&name.to_string());
        json!({
            "fileset": fileset,
            "from": name(from),
            "to": to.map(name),
            "added": self.added,
            "removed": self.removed,
            "modified": self.content,
            "attributes": self.attributes,
            "renamed": self.renamed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Difference> {
        let path = |text: &[u8]| text.to_vec();
        vec![
            Difference::Attributes(path(b"")),
            Difference::Added(path(b"doc/new\nline")),
            Difference::Removed(path(b"\xa4\xa2")),
            Difference::Renamed {
                old: path(b"a"),
                new: path(b"b c"),
            },
            Difference::Content(path(b"b c")),
        ]
    }

    fn printed(form: Form) -> (Vec<u8>, Counts) {
        let (mut bytes, mut counts) = (Vec::new(), Counts::default());
        for difference in all() {
            counts.note(&difference);
            form.add(&difference, &mut bytes);
        }
        (bytes, counts)
    }

    #[test]
    fn each_difference_is_a_line_that_cannot_play_with_the_terminal() {
        let (bytes, counts) = printed(Form::Text);
        assert_eq!(
            String::from_utf8(bytes).unwrap() + &counts.line(),
            "A .\n+ doc/new\\u{a}line\n- \\xa4\\xa2\nR a -> b c\nM b c\n\
             5 differences: 1 added, 1 removed, 1 modified, 1 in attributes only, 1 renamed\n"
        );
        assert_eq!(Counts::default().line(), "Nothing differs\n");
    }

    #[test]
    fn records_that_end_with_nul_have_the_bytes_of_names() {
        let (bytes, _) = printed(Form::Nul);
        assert_eq!(bytes, b"A .\0+ doc/new\nline\0- \xa4\xa2\0R a\0> b c\0M b c\0");
    }

    #[test]
    fn each_difference_is_an_object_and_the_last_one_says_that_there_are_no_more() {
        let (bytes, counts) = printed(Form::Json);
        let lines: Vec<Value> = bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 5);
        assert!(lines.iter().all(|line| line["schema"] == json!(SCHEMA)));
        assert_eq!(lines[1]["path"], json!("doc/new\nline"));
        assert_eq!(lines[2]["path"], json!({ "b64": "pKI=" }));
        let renamed = json!({ "schema": SCHEMA, "change": "renamed", "path": "b c", "old": "a" });
        assert_eq!(lines[3], renamed);
        let monday = FileName::parse(b"monday").unwrap();
        let end = counts.to_json("user.ito", (&monday, None));
        assert_eq!((&end["to"], &end["modified"]), (&Value::Null, &json!(1)));
    }
}
