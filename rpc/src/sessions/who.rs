//! `Who`: a process that asks, how it proves that, and the numbers that sessions know those by who ever asked.

use std::collections::HashMap;
use std::sync::Arc;

use baton_security::auth::Initiator;
use baton_types::{Error, Result};

/// A process that asks, as the kernel says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Who {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// All other groups, in order.
    pub groups: Vec<u32>,
    /// Which process: for messages and for finding its credentials. Two processes of one user share their logins.
    pub pid: u32,
}

/// How the users of this machine prove who they are.
pub trait Logins: Send + Sync {
    /// What `who` logs in with; `None`: it calls as nobody. It may not block for long.
    ///
    /// # Errors
    /// When the user has something, but it cannot be used: the call fails with it.
    fn initiator(&self, who: &Who) -> Result<Option<Arc<dyn Initiator>>>;

    /// A server decided against a login of `who`; not told of one that broke off. A connection bears few such.
    fn refused(&self, _who: &Who, _error: &Error) {}
}

/// Those who ever asked: number by number, from 1.
#[derive(Default)]
pub(super) struct Callers {
    list: Vec<Arc<Who>>,
    numbers: HashMap<(u32, u32, Vec<u32>), u32>,
}

impl Callers {
    /// The number of one of them, new or not.
    pub(super) fn number(&mut self, who: &Arc<Who>) -> u32 {
        let key = (who.uid, who.gid, who.groups.clone());
        *self.numbers.entry(key).or_insert_with(|| {
            self.list.push(who.clone());
            self.list.len() as u32
        })
    }

    /// Who that is; nobody if it is no number of theirs.
    pub(super) fn who(&self, number: u32) -> Arc<Who> {
        let index = (number as usize).saturating_sub(1);
        self.list.get(index).cloned().unwrap_or_default()
    }
}
