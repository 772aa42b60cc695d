//! `build`: a tree of items that are sorted already.

use baton_types::Result;

use crate::format::{Key, Pointer};
use crate::tree::writer::Writer;
use crate::tree::{Sink, TreeId};

/// Makes a tree of `items`, whose keys rise.
///
/// # Errors
/// What the sink says.
pub fn build<V: AsRef<[u8]>>(
    items: impl IntoIterator<Item = (Key, V)>,
    id: TreeId,
    sink: &mut dyn Sink,
) -> Result<Option<Pointer>> {
    let mut writer = Writer::new(id, sink);
    for (key, value) in items {
        writer.push(0, key.into(), value.as_ref())?;
    }
    writer.finish()
}
