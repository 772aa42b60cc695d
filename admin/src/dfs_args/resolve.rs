//! One word against a list of names: exact, then by prefix, DFS's names before Baton's.

use strsim::damerau_levenshtein;

/// A name that a word may mean.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a, T> {
    /// How it is spelled.
    pub text: &'a str,
    /// What it is called in messages; two spellings of one thing share it.
    pub meant: &'a str,
    /// DFS did not have it.
    pub is_added: bool,
    /// The thing itself.
    pub target: T,
}

/// Why a word means none of them.
#[derive(Debug, PartialEq, Eq)]
pub enum Miss {
    /// It begins several.
    Ambiguous(Vec<String>),
    /// It begins none; the one it resembles most.
    Unknown(Option<String>),
}

/// What `word` means among `names`.
///
/// # Errors
/// The word begins several names, or none.
pub fn resolve<T: Copy>(word: &str, names: &[Name<'_, T>]) -> Result<T, Miss> {
    if let Some(exact) = names.iter().find(|name| name.text == word) {
        return Ok(exact.target);
    }
    let begun: Vec<_> = names
        .iter()
        .filter(|name| !word.is_empty() && name.text.starts_with(word))
        .collect();
    for is_added in [false, true] {
        let mut tier = begun.iter().filter(|name| name.is_added == is_added);
        let Some(first) = tier.next() else { continue };
        if tier.all(|other| other.meant == first.meant) {
            return Ok(first.target);
        }
        let mut meant: Vec<String> = begun.iter().map(|name| name.meant.to_owned()).collect();
        meant.sort();
        meant.dedup();
        return Err(Miss::Ambiguous(meant));
    }
    Err(Miss::Unknown(nearest(word, names)))
}

/// The name fewest typing errors away: one in three letters, and one in any word.
fn nearest<T>(word: &str, names: &[Name<'_, T>]) -> Option<String> {
    let errors_max = (word.chars().count() / 3).max(1);
    let distance = |name: &Name<'_, T>| damerau_levenshtein(word, name.text);
    let name = names
        .iter()
        .filter(|name| distance(name) <= errors_max)
        .min_by_key(|name| distance(name))?;
    Some(name.meant.to_owned())
}
