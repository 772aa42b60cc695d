//! What a line of Rust is: code or comment, shipped or test. Enough for rustfmt's layout, no more.

/// For each line of `text`, whether it belongs to an item of the outermost level under `#[cfg(test)]`.
pub fn test_lines(text: &str) -> Vec<bool> {
    let mut inside = false;
    let mut marks = Vec::new();
    for line in text.lines() {
        inside |= line == "#[cfg(test)]";
        marks.push(inside);
        // rustfmt ends an item of the outermost level by a line that begins with `}` or ends with `;`.
        let ends = line.starts_with('}') || (!line.starts_with([' ', '#', '/']) && line.ends_with(';'));
        inside &= !ends;
    }
    marks
}

/// `line` without its comment. A `//` inside of a string cuts too early, which hides a word, never invents one.
pub fn code(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code)
}

/// True if `word` stands in `text` on its own, not as part of a longer one.
pub fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(text: &str) -> Vec<usize> {
        test_lines(text)
            .iter()
            .enumerate()
            .filter(|(_, mark)| **mark)
            .map(|(index, _)| index + 1)
            .collect()
    }

    #[test]
    fn tests_end_where_their_item_ends() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    use x;\n}\nfn b() {}\n";
        assert_eq!(marked(text), [2, 3, 4, 5]);
        assert_eq!(marked("#[cfg(test)]\nmod tests;\nfn b() {}\n"), [1, 2]);
        assert_eq!(
            marked("#[cfg(test)]\n#[path = \"x;\"]\nmod tests;\nfn b() {}\n"),
            [1, 2, 3]
        );
        assert!(marked("fn a() {\n    #[cfg(test)]\n    x();\n}\n").is_empty());
    }

    #[test]
    fn comments_are_no_code() {
        assert_eq!(code("let x = 1; // as in y"), "let x = 1; ");
        assert_eq!(code("//! raft"), "");
    }

    #[test]
    fn words_stand_alone() {
        assert!(has_word("use openraft::Raft;", "openraft") && has_word("raft", "raft"));
        assert!(!has_word("openraft_rt", "openraft") && !has_word("my_raft", "raft"));
    }
}
