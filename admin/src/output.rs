//! What a command has to say: text for people, JSON for programs.

use std::io::{ErrorKind, IsTerminal, Write, stdout};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use baton_types::{Error, Result, Timestamp};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::{Map, Value, json};

use crate::exit::Exit;

/// The result of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// For people: lines, each with its end.
    pub text: String,
    /// For programs, without its schema; null of a command that printed its lines itself.
    pub json: Value,
    /// `baton.fts.lsfldb/1`.
    pub schema: &'static str,
    /// How it ended.
    pub exit: u8,
}

impl Output {
    /// Of a command that did what it should.
    pub fn new(schema: &'static str, text: impl Into<String>, json: Value) -> Output {
        Output {
            text: text.into(),
            json,
            schema,
            exit: Exit::Done as u8,
        }
    }

    /// One line of JSON; nothing of a command that printed its lines itself.
    pub fn to_json(&self) -> String {
        match self.json {
            Value::Null => String::new(),
            _ => json_line(self.schema, &self.json),
        }
    }
}

/// `value`, an object, as one line that names its schema.
pub fn json_line(schema: &str, value: &Value) -> String {
    let mut object = Map::new();
    object.insert("schema".to_owned(), schema.into());
    if let Value::Object(fields) = value {
        object.extend(fields.clone());
    }
    format!("{}\n", Value::Object(object))
}

/// A date as RFC 3339 writes it, in UTC, to the second.
pub fn date(at: Timestamp) -> String {
    match jiff::Timestamp::from_second(at.seconds()) {
        Ok(at) => at.to_string(),
        Err(_) => at.to_string(), // no year of four digits; nobody set a clock to it
    }
}

/// Text that somebody typed, without what could play with a terminal.
pub fn printable(text: &str) -> String {
    let plain = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    text.chars()
        .map(|c| {
            if plain(c) {
                c.to_string()
            } else {
                c.escape_unicode().to_string()
            }
        })
        .collect()
}

/// A path of a fileset: bytes, without what could play with a terminal; the root is a dot.
pub fn path_text(path: &[u8]) -> String {
    let chunk = |chunk: std::str::Utf8Chunk<'_>| {
        let invalid = chunk.invalid().escape_ascii().to_string();
        printable(chunk.valid()) + &invalid
    };
    match path {
        [] => ".".to_owned(),
        path => path.utf8_chunks().map(chunk).collect(),
    }
}

/// The same for programs: those that are no text are told as such.
pub fn path_json(path: &[u8]) -> Value {
    match std::str::from_utf8(path) {
        Ok(text) => json!(text),
        Err(_) => json!({ "b64": STANDARD.encode(path) }),
    }
}

/// Prints at once, for a command whose end is far. False when nobody reads any more.
///
/// # Errors
/// `Io`, when it cannot be written.
pub fn print_now(bytes: &[u8]) -> Result<bool> {
    let mut stdout = stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::io("standard output", error)),
    }
}

/// Columns with a header and no lines; as wide as what is in them.
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    lines(&table.to_string())
}

/// Without blanks at the ends of lines, and with an end to the last one.
fn lines(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// `3 members`, `1 member`.
pub fn count(number: usize, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {one}s"),
    }
}

/// Whether `ok` and `failed` are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// They are.
    On,
    /// They are not.
    Off,
}

impl Colour {
    /// On a terminal, unless `NO_COLOR` says otherwise.
    pub fn of_stdout() -> Colour {
        let is_wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        match is_wanted && stdout().is_terminal() {
            true => Colour::On,
            false => Colour::Off,
        }
    }

    /// What is well.
    pub fn ok(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// What is not.
    pub fn failed(self, text: &str) -> String {
        self.paint("31", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Colour::On => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            Colour::Off => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_one_line_with_its_schema() {
        let output = Output::new("baton.x/1", "text\n", json!({"name": "a\nb"}));
        let line = output.to_json();
        assert_eq!(line, "{\"schema\":\"baton.x/1\",\"name\":\"a\\nb\"}\n");
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn dates_are_in_utc() {
        assert_eq!(date(Timestamp(1_800_000_000_999_999_999)), "2027-01-15T08:00:00Z");
        assert_eq!(date(Timestamp(0)), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn text_cannot_play_with_the_terminal() {
        assert_eq!(printable("é 'x' \u{1b}[2J"), "é 'x' \\u{1b}[2J");
        assert_eq!(printable("a\nb\u{202e}c"), "a\\u{a}b\\u{202e}c");
    }

    #[test]
    fn paths_are_shown_whatever_bytes_they_are_of() {
        assert_eq!(path_text(b"doc/a\nb"), "doc/a\\u{a}b");
        assert_eq!(path_text(b"\xa4\xa2/\xc3\xa9"), "\\xa4\\xa2/\u{e9}");
        assert_eq!(path_text(b""), ".");
        assert_eq!(
            (path_json(b"a\nb"), path_json(b"\xa4\xa2")),
            (json!("a\nb"), json!({ "b64": "pKI=" }))
        );
    }

    #[test]
    fn tables_are_plain_and_end_without_blanks() {
        let text = table(
            &["NAME", "ID"],
            [
                vec!["alice".to_owned(), "1".to_owned()],
                vec!["b".to_owned(), String::new()],
            ],
        );
        assert_eq!(text, "NAME   ID\nalice  1\nb\n");
    }

    #[test]
    fn colour_is_for_ok_and_failed() {
        assert_eq!(Colour::On.ok("ok"), "\u{1b}[32mok\u{1b}[0m");
        assert_eq!(Colour::Off.failed("silent"), "silent");
    }
}
