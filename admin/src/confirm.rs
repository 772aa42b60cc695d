//! What is not done without a second thought: a name is typed first.

use std::io::{IsTerminal, Write, stderr, stdin};

use baton_types::{Error, Kind, Result};

/// Asks for `name` on the terminal, after saying what `asked` says.
///
/// # Errors
/// `Invalid` if another one is typed; what `unasked` says where nobody can be asked.
pub fn type_name(name: &str, on: &str, asked: &str, unasked: impl FnOnce() -> Error) -> Result<()> {
    if !stdin().is_terminal() {
        return Err(unasked());
    }
    let failed = |error| Error::io("terminal", error);
    write!(stderr(), "{asked} Type its name to go on: ").map_err(failed)?;
    let mut answer = String::new();
    stdin().read_line(&mut answer).map_err(failed)?;
    match answer.trim() == name {
        true => Ok(()),
        false => Err(Error::new(Kind::Invalid, on.to_owned()).because("its name was not typed, so nothing is changed")),
    }
}
