//! Long answers in messages of bounded size: lists, and the whole state for a watcher.

use std::iter::{Peekable, from_fn, once};

use baton_proto::v1::{self, ListReply, WatchReply, watch_reply::Reply};
use baton_types::limits::CHUNK_BYTES_MAX;
use baton_types::record::Table;
use prost::Message;

use super::Tables;
use crate::state::{Filter, Fldb};

/// What a piece takes besides its records: the index, and the message around it.
const HEAD_BYTES: usize = 32;

/// Records looked at for one piece: a millisecond's work.
const LOOKS_MAX: usize = 4_096;

/// All records of `tables`, and the end.
pub fn pieces(state: &Fldb, tables: Tables) -> impl Iterator<Item = WatchReply> + Send + '_ {
    let wanted = Table::ALL.into_iter().filter(|table| tables.contains(*table)).collect();
    let whole = list_pieces(state, wanted, Filter::default()).map(Reply::Whole);
    whole
        .chain(once(Reply::WholeEnd(state.applied())))
        .map(|reply| WatchReply { reply: Some(reply) })
}

/// The records of `tables` that `filter` wants; at least one piece, so that its reader learns the index. A piece may
/// be empty where nothing that was looked at is wanted: whoever sends them lets others have their turn.
pub fn list_pieces(state: &Fldb, tables: Vec<Table>, filter: Filter) -> impl Iterator<Item = ListReply> + Send + '_ {
    let records = tables
        .into_iter()
        .flat_map(move |table| state.scan(table, &filter).into_iter().flatten());
    let mut records = records.map(|record| record.map(v1::Record::from)).peekable();
    let index = state.applied();
    let mut begun = false;
    from_fn(move || {
        let more = !begun || records.peek().is_some();
        begun = true;
        more.then(|| piece(index, &mut records))
    })
}

/// As many records as fit, and at least one of those that were looked at if any is wanted.
fn piece(index: u64, records: &mut Peekable<impl Iterator<Item = Option<v1::Record>>>) -> ListReply {
    let mut piece = ListReply {
        index,
        records: Vec::new(),
    };
    let mut room = CHUNK_BYTES_MAX - HEAD_BYTES;
    for _ in 0..LOOKS_MAX {
        let fits = |record: &v1::Record| piece.records.is_empty() || bytes(record) <= room;
        match records.next_if(|record| record.as_ref().is_none_or(fits)) {
            Some(Some(record)) => {
                room = room.saturating_sub(bytes(&record));
                piece.records.push(record);
            }
            Some(None) => {}
            None => break,
        }
    }
    piece
}

/// What `record` takes in a message: itself, and its tag and length before it.
fn bytes(record: &v1::Record) -> usize {
    record.encoded_len() + 8
}
