//! The library's own suite for a log and a state machine, run over ours.
//!
//! Left out are its tests that begin a log at index 1 or apply one index without the one before: no group does
//! that, and our store and our watchers refuse it.

use std::sync::Arc;
use std::time::Duration;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

use super::machine::Machine;
use super::snapshots::{Snapshots, Work};
use super::types::Config;
use super::{Log, Probe};
use crate::publish::Published;
use crate::store::{LogStore, MemoryDisk};

struct Builder;

impl StoreBuilder<Config, Log, Machine> for Builder {
    async fn build(&self) -> Result<((), Log, Machine), StorageError<Config>> {
        let store: Arc<dyn LogStore> = Arc::new(MemoryDisk::new().open());
        let (log, mut writer) = Log::open(store.clone()).unwrap();
        let disk = store.clone();
        tokio::spawn(async move {
            while let Some(pending) = writer.next().await {
                let result = disk.commit(&pending.batch);
                pending.finish(&result);
            }
        });
        let snapshots = Snapshots::new(store, Work::Here(Duration::ZERO));
        let machine = Machine::new(Arc::new(Published::default()), snapshots, Probe::default());
        Ok(((), log, machine))
    }
}

macro_rules! suite {
    ($($name:ident)*) => {$(
        #[tokio::test]
        async fn $name() {
            let ((), log, machine) = Builder.build().await.unwrap();
            Suite::<Config, Log, Machine, Builder, ()>::$name(log, machine).await.unwrap();
        }
    )*};
}

suite! {
    last_membership_in_log_initial
    get_membership_initial
    get_membership_from_empty_log_and_sm
    get_initial_state_without_init
    get_initial_state_membership_from_empty_log_and_sm
    get_initial_state_membership_from_log_insm_is_smaller
    get_initial_state_with_state
    get_initial_state_last_log_gt_sm
    get_initial_state_log_ids
    save_vote
    get_log_entries
    limited_get_log_entries
    leader_bounded_stream
    entries_stream
    try_get_log_entry
    log_reader_reads_new_entries
    initial_logs
    get_log_state
    get_log_id
    purge_logs_upto_0
    purge_logs_upto_5
    purge_logs_upto_20
    delete_logs_after_11
    delete_logs_after_5
    delete_logs_after_0
    delete_logs_after_none
    append_to_log
    snapshot_meta
    snapshot_meta_optional
    apply_single
    apply_multiple
}
