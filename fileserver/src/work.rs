//! What this server is at work on for administrators: for those who look, and so that one aggregate is worked on by
//! one at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use baton_types::control::Work;
use baton_types::{AggregateName, Clock, Error, Kind, Result};
use parking_lot::Mutex;

/// Pieces of work, one on each aggregate at most.
pub struct Works {
    clock: Arc<dyn Clock>,
    count: AtomicU64,
    under_way: Mutex<BTreeMap<AggregateName, Work>>,
}

/// A piece of work; it is over when this goes.
pub struct Turn<'a> {
    works: &'a Works,
    on: AggregateName,
}

impl Works {
    /// None yet.
    pub fn new(clock: Arc<dyn Clock>) -> Works {
        Works {
            clock,
            count: AtomicU64::new(0),
            under_way: Mutex::default(),
        }
    }

    /// Begins `what` on an aggregate.
    ///
    /// # Errors
    /// `Busy` while another piece of work is under way there.
    pub fn begin(&self, what: &str, on: &AggregateName) -> Result<Turn<'_>> {
        let mut under_way = self.under_way.lock();
        if let Some(other) = under_way.get(on) {
            return Err(Error::new(Kind::Busy, format!("aggregate {on}"))
                .because(format!("the server is at work there: {}", other.what))
                .remedy("try again when that is done: fts statftserver shows it"));
        }
        let work = Work {
            id: self.count.fetch_add(1, Ordering::Relaxed) + 1,
            what: what.to_owned(),
            on: on.to_string(),
            since: self.clock.date(),
        };
        under_way.insert(on.clone(), work);
        Ok(Turn {
            works: self,
            on: on.clone(),
        })
    }

    /// All that is under way, oldest first.
    pub fn list(&self) -> Vec<Work> {
        let mut list: Vec<Work> = self.under_way.lock().values().cloned().collect();
        list.sort_by_key(|work| work.id);
        list
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.works.under_way.lock().remove(&self.on);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_types::ManualClock;

    #[test]
    fn one_at_a_time_works_on_an_aggregate() {
        let works = Works::new(Arc::new(ManualClock::default()));
        let [one, other] = ["agg1", "agg2"].map(|name| AggregateName::parse(name).unwrap());
        let first = works.begin("export", &one).unwrap();
        let second = works.begin("create fileset", &other).unwrap();
        let error = works.begin("detach", &one).err().unwrap();
        assert_eq!(error.kind, Kind::Busy);
        assert!(error.to_string().contains("at work there: export"), "{error}");
        let what: Vec<String> = works.list().into_iter().map(|work| work.what).collect();
        assert_eq!(what, ["export", "create fileset"]);
        drop(first);
        works.begin("detach", &one).map(drop).unwrap();
        drop(second);
        assert!(works.list().is_empty());
    }
}
