//! What is judged: a block, a name, the end of a file, a size. Each with what it is supposed to do.

use super::history::Object;

/// A block of a file: what was written last.
pub struct Block;

/// What happened to a block.
#[derive(Clone, Copy, Debug)]
pub enum BlockCall {
    /// It was overwritten with this.
    Write(u64),
    /// It held this.
    Read(u64),
}

impl Object for Block {
    type State = u64;
    type Call = BlockCall;

    fn initial(&self) -> u64 {
        0
    }

    fn after(&self, state: &u64, call: &BlockCall) -> Option<u64> {
        match call {
            BlockCall::Write(value) => Some(*value),
            BlockCall::Read(value) => (value == state).then_some(*state),
        }
    }
}

/// A name in a directory: which file it leads to, by that file's contents.
pub struct Name;

/// What happened to a name.
#[derive(Clone, Copy, Debug)]
pub enum NameCall {
    /// `link` of a file to it: done, or the name was there.
    Link(u64, bool),
    /// `rename` of a file over it.
    Rename(u64),
    /// `unlink`: done, or there was none.
    Unlink(bool),
    /// What a reader found behind it.
    Read(Option<u64>),
    /// Whether a listing had it.
    Listed(bool),
}

impl Object for Name {
    type State = Option<u64>;
    type Call = NameCall;

    fn initial(&self) -> Option<u64> {
        None
    }

    fn after(&self, state: &Option<u64>, call: &NameCall) -> Option<Option<u64>> {
        match (call, state) {
            (NameCall::Link(value, true), None) | (NameCall::Rename(value), _) => Some(Some(*value)),
            (NameCall::Link(_, false), Some(_)) | (NameCall::Unlink(false), None) => Some(*state),
            (NameCall::Unlink(true), Some(_)) => Some(None),
            (NameCall::Read(found), _) => (found == state).then_some(*state),
            (NameCall::Listed(is_there), _) => (*is_there == state.is_some()).then_some(*state),
            (NameCall::Link(..) | NameCall::Unlink(_), _) => None,
        }
    }
}

/// Records at the end of a file: each once, in one order for all.
pub struct Tail;

/// What happened to a file that is appended to.
#[derive(Clone, Debug)]
pub enum TailCall {
    /// A record was appended.
    Append(u64),
    /// All that a reader found.
    Read(Vec<u64>),
}

impl Object for Tail {
    type State = Vec<u64>;
    type Call = TailCall;

    fn initial(&self) -> Vec<u64> {
        Vec::new()
    }

    fn after(&self, state: &Vec<u64>, call: &TailCall) -> Option<Vec<u64>> {
        match call {
            TailCall::Append(value) => Some([state.as_slice(), &[*value]].concat()),
            TailCall::Read(found) => (found == state).then(|| state.clone()),
        }
    }
}

/// A file's size.
pub struct Size;

/// What happened to it.
#[derive(Clone, Copy, Debug)]
pub enum SizeCall {
    /// It was set.
    Truncate(u64),
    /// `stat` told it.
    Stat(u64),
}

impl Object for Size {
    type State = u64;
    type Call = SizeCall;

    fn initial(&self) -> u64 {
        0
    }

    fn after(&self, state: &u64, call: &SizeCall) -> Option<u64> {
        match call {
            SizeCall::Truncate(size) => Some(*size),
            SizeCall::Stat(size) => (size == state).then_some(*state),
        }
    }
}
