//! The rules for one file.

use super::Finding;
use super::text::{code, has_word, test_lines};

/// Most lines of a file without its tests: what can be read in one sitting.
const LINES_MAX: usize = 500;

/// Fewest words of the sentence that opens a file.
const OPENING_WORDS_MIN: usize = 3;

/// Words that promise work instead of doing it, put together here so that this file does not hold them.
const UNFINISHED: [&str; 4] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("todo", "!"),
    concat!("unimple", "mented!"),
];

/// The imports by `*` that tests may have: one names one file, the other is what proptest's macros expect.
const TEST_GLOBS: [&str; 2] = ["use super::*;", "use proptest::prelude::*;"];

/// How a test is switched off.
const IGNORED: &str = concat!("#[igno", "re");

/// The consensus library, and where it may be named.
const RAFT: [&str; 3] = ["openraft", "openraft_rt", "openraft_rt_tokio"];
const RAFT_HOMES: [&str; 3] = ["flserver/src/raft.rs", "flserver/src/raft/", "tests/src/sim/"];

/// True for files with rules: sources, definitions, prose and scripts.
pub fn is_ours(path: &str) -> bool {
    let is_text = [".rs", ".proto", ".toml", ".md", ".sh"]
        .iter()
        .any(|ending| path.ends_with(ending));
    is_text || path.starts_with(".ci/")
}

/// What is wrong with the file `text` at `path`.
pub fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = unfinished(text);
    if path.ends_with(".rs") {
        findings.extend(opening(text));
        findings.extend(globs(path, text));
        findings.extend(ignored_tests(text));
        if !is_test_file(path) {
            findings.extend(length(text));
        }
        if !path.starts_with("xtask/") && !RAFT_HOMES.iter().any(|home| path.starts_with(home)) {
            findings.extend(raft(text));
        }
    }
    let located = findings.into_iter().map(|(line, what, way_out)| Finding {
        path: path.to_owned(),
        line,
        what,
        way_out,
    });
    located.collect()
}

/// A line's number, what is wrong with it, and the way out.
type Found = (usize, String, &'static str);

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines())
}

/// True for files that hold tests only.
fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

fn unfinished(text: &str) -> Vec<Found> {
    let found = numbered(text).flat_map(|(line, content)| {
        let words = UNFINISHED.iter().filter(|word| has_word(content, word));
        words.map(move |word| (line, format!("`{word}` in what is finished"), "do it, or leave it out"))
    });
    found.collect()
}

fn ignored_tests(text: &str) -> Vec<Found> {
    let found = numbered(text).filter(|(_, content)| content.contains(IGNORED));
    found
        .map(|(line, _)| (line, "a test that is not run".to_owned(), "repair it or delete it"))
        .collect()
}

fn opening(text: &str) -> Option<Found> {
    let first = text.lines().next().unwrap_or_default();
    let words = first
        .strip_prefix("//! ")
        .map_or(0, |sentence| sentence.split_whitespace().count());
    let what = "the file does not open with a `//!` sentence".to_owned();
    (words < OPENING_WORDS_MIN).then_some((1, what, "say in its first line what it is for"))
}

fn length(text: &str) -> Option<Found> {
    let lines = test_lines(text).iter().filter(|is_test| !**is_test).count();
    let what = format!("{lines} lines without tests, {LINES_MAX} are the limit");
    (lines > LINES_MAX).then_some((
        LINES_MAX + 1,
        what,
        "move a part with a name of its own to its own file",
    ))
}

/// Nothing hides where a name comes from.
fn globs(path: &str, text: &str) -> Vec<Found> {
    let marks = test_lines(text);
    let mut found = Vec::new();
    let mut is_import = false;
    for (line, content) in numbered(text) {
        let content = code(content).trim();
        is_import |= ["use ", "pub use ", "pub(crate) use ", "pub(super) use "]
            .iter()
            .any(|start| content.starts_with(start));
        let in_tests = marks[line - 1] || is_test_file(path);
        let is_glob = content.contains("::*") || content == "*,";
        if is_import && is_glob && !(in_tests && TEST_GLOBS.contains(&content)) {
            found.push((line, "an import by `*`".to_owned(), "name what is used"));
        }
        is_import &= !content.ends_with(';');
    }
    found
}

fn raft(text: &str) -> Vec<Found> {
    let named = |content: &str| RAFT.iter().any(|name| has_word(code(content), name));
    let found = numbered(text).filter(|(_, content)| named(content));
    let way_out = "go through flserver/src/raft.rs, which alone knows the library";
    found
        .map(|(line, _)| (line, format!("`{}` outside of its home", RAFT[0]), way_out))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENING: &str = "//! What this is for.\n";

    fn found(path: &str, rest: &str) -> Vec<String> {
        check(path, &format!("{OPENING}{rest}"))
            .iter()
            .map(Finding::to_string)
            .collect()
    }

    fn assert_found(path: &str, rest: &str, starts: &str) {
        let found = found(path, rest);
        assert!(found.len() == 1 && found[0].starts_with(starts), "{found:?}");
    }

    fn assert_clean(path: &str, rest: &str) {
        assert_eq!(found(path, rest), Vec::<String>::new());
    }

    #[test]
    fn finding_says_where_what_and_the_way_out() {
        let rest = format!("fn a() {{ {}() }}\n", UNFINISHED[2]);
        let expected = format!(
            "a.rs:2: `{}` in what is finished; do it, or leave it out",
            UNFINISHED[2]
        );
        assert_eq!(found("a.rs", &rest), [expected]);
    }

    #[test]
    fn unfinished_words_are_found_in_prose_too() {
        for word in UNFINISHED {
            assert_found("docs/a.md", &format!("text\n- {word} more\n"), "docs/a.md:3: ");
        }
        assert_clean("a.rs", "// MASTODON, methods\nlet todos = 1;\n");
    }

    #[test]
    fn test_that_is_switched_off_is_found() {
        assert_found(
            "a.rs",
            &format!("    {IGNORED} = \"slow\"]\n"),
            "a.rs:2: a test that is not run",
        );
        assert_clean("a.md", "ignore\n");
    }

    #[test]
    fn file_opens_with_a_sentence() {
        for text in ["use std::fmt;\n", "//! rpc.\n", "", "/// Not of the file.\n"] {
            assert_eq!(check("a.rs", text).len(), 1, "{text}");
        }
        assert!(check("a.toml", "[package]\n").is_empty());
    }

    #[test]
    fn tests_do_not_make_a_file_long() {
        let line = "fn a() {}\n";
        assert_clean("a.rs", &line.repeat(LINES_MAX - 1));
        assert_found("a.rs", &line.repeat(LINES_MAX), "a.rs:501: 501 lines without tests");
        let tests = format!(
            "{}#[cfg(test)]\nmod tests {{\n{}}}\n",
            line.repeat(400),
            "    fn a() {}\n".repeat(300)
        );
        assert_clean("a.rs", &tests);
        assert_clean("x/src/a/tests.rs", &line.repeat(900));
    }

    #[test]
    fn glob_import_is_found_outside_of_tests() {
        for import in [
            "use std::io::*;",
            "pub use crate::x::*;",
            "pub(crate) use x::*;",
            "    use super::*;",
        ] {
            assert_found("a.rs", &format!("{import}\n"), "a.rs:2: an import by `*`");
        }
        assert_found("a.rs", "use std::{\n    fmt,\n    io::*,\n};\n", "a.rs:4: ");
        assert_found(
            "a.rs",
            "#[cfg(test)]\nmod tests {\n    use std::io::*;\n}\n",
            "a.rs:4: ",
        );
        assert_clean("a.rs", "#[cfg(test)]\nmod tests {\n    use super::*;\n}\n");
        assert_clean("x/src/a/tests.rs", "use proptest::prelude::*;\nuse super::*;\n");
        assert_clean("a.rs", "// use x::*\nlet a = 2 * 3;\nuse std::fmt;\n");
    }

    #[test]
    fn consensus_library_is_named_at_home_only() {
        let import = "use openraft::Raft;\n";
        assert_found(
            "flserver/src/state.rs",
            import,
            "flserver/src/state.rs:2: `openraft` outside of its home",
        );
        assert_found(
            "admin/src/fts.rs",
            "type A = openraft_rt_tokio::Tokio;\n",
            "admin/src/fts.rs:2: ",
        );
        for home in [
            "flserver/src/raft.rs",
            "flserver/src/raft/log.rs",
            "tests/src/sim/cluster.rs",
        ] {
            assert_clean(home, import);
        }
        assert_clean("flserver/src/state.rs", "// openraft calls this in order.\n");
    }

    #[test]
    fn other_files_are_left_alone() {
        assert!(is_ours("types/src/id.rs") && is_ours("docs/index.md") && is_ours(".ci/run"));
        assert!(!is_ours("Cargo.lock") && !is_ours("LICENSE-MIT") && !is_ours("fuzz/corpus/a"));
    }
}
