//! People and groups out of the files of a machine, some at a time.

use serde::{Deserialize, Serialize};

use crate::limits::{IMPORT_BYTES_MAX, IMPORT_ROWS_MAX};
use crate::record::Group;
use crate::{Error, GroupName, Kind, PrincipalName, Result};

/// What is to be in the registry after it; what is there already stays. It only ever adds, and never makes anybody an
/// administrator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// Groups and their numbers.
    pub groups: Vec<Group>,
    /// People, who may be members of these.
    pub people: Vec<ImportedPerson>,
}

/// Somebody in such a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedPerson {
    /// No machine.
    pub name: PrincipalName,
    /// His uid; `None`: he must be there.
    pub id: Option<u32>,
    /// One of his groups; `None` leaves it as it is.
    pub primary: Option<GroupName>,
    /// What he is to be a member of, besides what he is.
    pub groups: Vec<GroupName>,
}

impl ImportedPerson {
    /// What his name and the names of these groups take.
    pub fn bytes<'a>(&self, groups: impl IntoIterator<Item = &'a GroupName>) -> usize {
        let groups: usize = groups.into_iter().map(|group| group.as_str().len()).sum();
        self.name.as_str().len() + groups
    }
}

impl Import {
    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.groups.len() + self.people.len()
    }

    /// Refuses one that is too long for a change, or leaves more than `bytes` of names behind.
    ///
    /// # Errors
    /// `Limit`.
    pub fn check(&self, bytes: usize) -> Result<()> {
        let refuse = |why: String| {
            let error = Error::new(Kind::Limit, "import").because(why);
            Err(error.remedy("give fewer at a time"))
        };
        if self.rows() > IMPORT_ROWS_MAX {
            return refuse(format!("{} people and groups, {IMPORT_ROWS_MAX} at most", self.rows()));
        }
        if bytes > IMPORT_BYTES_MAX {
            return refuse(format!("{bytes} bytes of names, {IMPORT_BYTES_MAX} at most"));
        }
        Ok(())
    }
}
