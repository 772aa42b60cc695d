//! Many watchers, and whose turn it is.

use baton_types::record::Key;
use tokio::task::JoinSet;

use super::*;
use crate::state::Committed;

const WATCHERS: usize = 3 * TOLD_AT_ONCE + 1;

/// Published, with a state that goes on.
struct Bed {
    published: Arc<Published>,
    state: Fldb,
}

impl Bed {
    fn new() -> Bed {
        Bed {
            published: Arc::default(),
            state: Fldb::default(),
        }
    }

    /// So many watchers, of everything there is.
    fn watched(&self, count: usize) -> Vec<Watching> {
        let watch = |_| self.published.watch(Tables::ALL, Tables::default(), 0);
        (0..count).map(watch).collect()
    }

    /// The next entry: something that was there is no more.
    fn change(&mut self) {
        let index = self.state.applied() + 1;
        self.state.step(0, Committed::Nothing(index));
        let gone = vec![Key::Cell];
        let put = Vec::new();
        self.published.applied(Changed { index, put, gone }, self.state.clone());
    }
}

/// The index that a watcher hears of.
fn index(action: &Action) -> u64 {
    match action {
        Action::Whole(_, _, state) => state.applied(),
        Action::Changed(_, changed) => changed.index,
        Action::Reached(_, index) => *index,
    }
}

#[test]
fn a_few_are_told_at_a_time() {
    let bed = Bed::new();
    let watching = bed.watched(WATCHERS);
    for turn in 1..=WATCHERS.div_ceil(TOLD_AT_ONCE) {
        let is_more = bed.published.hub.lock().tell();
        let told = watching.iter().filter(|watching| !watching.actions.is_empty()).count();
        assert_eq!(told, WATCHERS.min(turn * TOLD_AT_ONCE));
        assert_eq!(is_more, told < WATCHERS);
    }
}

#[tokio::test]
async fn all_are_told_all_in_order_also_who_comes_meanwhile_and_beside_who_leaves() {
    let mut bed = Bed::new();
    let telling = tokio::spawn(bed.published.tell());
    let mut watching = bed.watched(WATCHERS);
    bed.change();
    let leaving = watching.split_off(WATCHERS / 2);
    bed.change();
    drop(leaving);
    watching.extend(bed.watched(TOLD_AT_ONCE));
    bed.change();
    let mut all = JoinSet::new();
    for mut watching in watching {
        all.spawn(async move {
            let mut last = None;
            while last != Some(3) {
                let heard = index(&watching.next().await.expect("it is published"));
                assert!(last.is_none_or(|last| heard == last + 1), "{heard} after {last:?}");
                last = Some(heard);
            }
        });
    }
    all.join_all().await;
    assert_eq!(bed.published.hub.lock().queue.len(), 0);
    drop(bed);
    telling.await.expect("who tells ends with who publishes");
}
