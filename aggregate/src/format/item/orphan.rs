//! Orphans: files without a name.

/// What becomes of a file without a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphan {
    /// Somebody still has it open: all of it stays.
    Held,
    /// It is being taken apart: its extents before this block of the file are gone.
    Removing(u64),
}
