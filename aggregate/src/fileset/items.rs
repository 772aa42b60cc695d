//! Where operations read: a fileset as it is, or with a change being made on top.

use bytes::Bytes;

use crate::format::Key;
use crate::transaction::Transaction;
use crate::tree::{Stop, View};

/// Items that can be read.
pub trait Items {
    /// The value of `key`.
    ///
    /// # Errors
    /// A miss; damage.
    fn get(&self, key: Key) -> Result<Option<Bytes>, Stop>;

    /// The items from `from` to `to`, both included, in order.
    fn scan(&self, from: Key, to: Key) -> impl Iterator<Item = Result<(Key, Bytes), Stop>>;

    /// The greatest item of `key`'s object and kind that is not after `key`.
    ///
    /// # Errors
    /// A miss; damage.
    fn last_at_or_before(&self, key: Key) -> Result<Option<(Key, Bytes)>, Stop>;
}

impl Items for View<'_> {
    fn get(&self, key: Key) -> Result<Option<Bytes>, Stop> {
        View::get(self, key)
    }

    fn scan(&self, from: Key, to: Key) -> impl Iterator<Item = Result<(Key, Bytes), Stop>> {
        View::scan(self, from, to)
    }

    fn last_at_or_before(&self, key: Key) -> Result<Option<(Key, Bytes)>, Stop> {
        View::last_at_or_before(self, key)
    }
}

impl Items for Transaction<'_> {
    fn get(&self, key: Key) -> Result<Option<Bytes>, Stop> {
        Transaction::get(self, key)
    }

    fn scan(&self, from: Key, to: Key) -> impl Iterator<Item = Result<(Key, Bytes), Stop>> {
        Transaction::scan(self, from, to)
    }

    fn last_at_or_before(&self, key: Key) -> Result<Option<(Key, Bytes)>, Stop> {
        Transaction::last_at_or_before(self, key)
    }
}
