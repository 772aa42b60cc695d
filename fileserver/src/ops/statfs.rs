//! `statfs`: what a fileset takes, and what it may take.

use baton_aggregate::format::BLOCK_BYTES;
use baton_types::call::Answer;
use baton_types::file::Usage;

use super::Cx;

/// Anybody may know.
pub(super) fn statfs(cx: &Cx<'_>) -> Answer {
    let (usage, space) = (cx.fileset.usage(), cx.aggregate.space());
    let header = cx.fileset.header();
    Answer::Usage(Usage {
        bytes: usage.bytes,
        files: usage.files,
        quota_bytes: header.quota_bytes,
        quota_files: header.quota_files,
        free_bytes: space.free * BLOCK_BYTES as u64,
        aggregate_bytes: space.blocks * BLOCK_BYTES as u64,
    })
}
