//! A watcher misses nothing: its copy of the tables is at every moment the state as of its index.

use std::collections::BTreeMap;

use baton_flserver::state::{Filter, Fldb};
use baton_flserver::watch::Tables;
use baton_rpc::News;
use baton_types::record::{Changed, Key, Record, Table};

use super::Verdict;
use super::agreed::Agreed;

/// What a watcher made of the news it heard.
#[derive(Debug)]
pub struct Watcher {
    tables: Tables,
    copy: BTreeMap<Key, Record>,
    /// The copy is the state as of this index; none while the whole is on its way.
    index: Option<u64>,
    /// The highest index it ever heard of.
    heard: u64,
}

impl Watcher {
    /// One who wants to know of `tables`.
    pub fn new(tables: Tables) -> Watcher {
        Watcher {
            tables,
            copy: BTreeMap::new(),
            index: None,
            heard: 0,
        }
    }

    /// Where its copy stands.
    pub fn index(&self) -> Option<u64> {
        self.index
    }

    /// It hears `news`.
    ///
    /// # Errors
    /// Something was left out, comes twice, or is not what the log says.
    pub fn hears(&mut self, news: News, agreed: &Agreed) -> Verdict {
        match news {
            News::Forget => {
                self.copy.clear();
                self.index = None;
                Ok(())
            }
            News::Put(records) => {
                self.put(records);
                Ok(())
            }
            News::Complete(index) => {
                self.not_back(index)?;
                self.index = Some(index);
                self.is_whole(agreed)
            }
            News::Changed(changed) => {
                self.not_back(changed.index)?;
                self.nothing_missed(changed.index - 1, agreed)?;
                let said = agreed.at(changed.index).map(|step| cut(&step.changed, self.tables));
                if said.as_ref() != Some(&changed) {
                    return Err(format!("a watcher heard {changed:?}, the log says {said:?}"));
                }
                self.index = Some(changed.index);
                self.put(changed.put);
                for key in &changed.gone {
                    self.copy.remove(key);
                }
                Ok(())
            }
            News::Reached(index) => {
                self.not_back(index)?;
                self.nothing_missed(index, agreed)
            }
        }
    }

    /// Its copy is what the state was, to the last record.
    ///
    /// # Errors
    /// Which record differs.
    pub fn is_whole(&self, agreed: &Agreed) -> Verdict {
        let Some(state) = self.index.and_then(|index| agreed.state(index)) else {
            return Err(format!("a watcher stands at {:?}, where nobody ever was", self.index));
        };
        let wanted = records(state, self.tables);
        let differs = |key: &&Key| self.copy.get(*key) != wanted.get(*key);
        match self.copy.keys().chain(wanted.keys()).find(differs) {
            None => Ok(()),
            Some(key) => Err(format!(
                "a watcher at {} has {:?} for {key:?}, the state {:?}",
                state.applied(),
                self.copy.get(key),
                wanted.get(key)
            )),
        }
    }

    /// What it hears only grows, whatever member it hears it from.
    fn not_back(&mut self, index: u64) -> Verdict {
        if index < self.heard {
            return Err(format!(
                "a watcher that had heard up to {} was taken back to {index}",
                self.heard
            ));
        }
        self.heard = index;
        Ok(())
    }

    fn put(&mut self, records: Vec<Record>) {
        self.copy
            .extend(records.into_iter().map(|record| (record.key(), record)));
    }

    /// Nothing of its tables changed up to `index`, and there it stands now.
    fn nothing_missed(&mut self, index: u64, agreed: &Agreed) -> Verdict {
        let Some(before) = self.index else {
            return Err(format!("a watcher without a state was taken to index {index}"));
        };
        let wanted = |changed: &&Changed| !changed.put.is_empty() || !changed.gone.is_empty();
        let mut changes = agreed
            .between(before, index)
            .iter()
            .map(|step| cut(&step.changed, self.tables));
        match changes.find(|changed| wanted(&changed)) {
            Some(missed) => Err(format!(
                "a watcher that had heard up to {before} and then {index} missed {missed:?}"
            )),
            None => {
                self.index = Some(index.max(before));
                Ok(())
            }
        }
    }
}

/// What of a change is in `tables`.
fn cut(changed: &Changed, tables: Tables) -> Changed {
    let mut cut = changed.clone();
    cut.put.retain(|record| tables.contains(record.key().table()));
    cut.gone.retain(|key| tables.contains(key.table()));
    cut
}

fn records(state: &Fldb, tables: Tables) -> BTreeMap<Key, Record> {
    let wanted = Table::ALL.into_iter().filter(|table| tables.contains(*table));
    let records = wanted.flat_map(|table| state.list(table, &Filter::default()).into_iter().flatten());
    records.map(|record| (record.key(), record)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::{genesis, set};

    fn agreed() -> Agreed {
        let mut agreed = Agreed::default();
        for committed in [genesis(1), set(2, 1, "one"), set(3, 2, "two")] {
            agreed.applied("fl1", 1, &committed).unwrap();
        }
        agreed
    }

    /// A watcher with the whole state as of index 1.
    fn watcher(agreed: &Agreed) -> Watcher {
        let mut watcher = Watcher::new(Tables::ALL);
        let state = agreed.state(1).unwrap();
        let whole = records(state, Tables::ALL).into_values().collect();
        for news in [News::Forget, News::Put(whole), News::Complete(1)] {
            watcher.hears(news, agreed).unwrap();
        }
        watcher
    }

    #[test]
    fn who_hears_all_is_whole() {
        let agreed = agreed();
        let mut watcher = watcher(&agreed);
        for index in [2, 3] {
            let changed = agreed.at(index).unwrap().changed.clone();
            watcher.hears(News::Changed(changed), &agreed).unwrap();
        }
        watcher.hears(News::Reached(3), &agreed).unwrap();
        watcher.is_whole(&agreed).unwrap();
        assert_eq!(watcher.index(), Some(3));
    }

    #[test]
    fn what_was_left_out_is_noticed() {
        let agreed = agreed();
        let third = agreed.at(3).unwrap().changed.clone();
        let error = watcher(&agreed)
            .hears(News::Changed(third.clone()), &agreed)
            .unwrap_err();
        assert!(error.contains("missed"), "{error}");
        assert!(watcher(&agreed).hears(News::Reached(2), &agreed).is_err());
        let half = Changed {
            put: third.put[1..].to_vec(),
            index: 2,
            ..third
        };
        assert!(
            watcher(&agreed)
                .hears(News::Changed(half), &agreed)
                .unwrap_err()
                .contains("the log says")
        );
    }

    #[test]
    fn step_back_is_noticed() {
        let agreed = agreed();
        let mut watcher = watcher(&agreed);
        let changed = agreed.at(2).unwrap().changed.clone();
        watcher.hears(News::Changed(changed), &agreed).unwrap();
        let whole = records(agreed.state(1).unwrap(), Tables::ALL).into_values().collect();
        watcher.hears(News::Forget, &agreed).unwrap();
        watcher.hears(News::Put(whole), &agreed).unwrap();
        let error = watcher.hears(News::Complete(1), &agreed).unwrap_err();
        assert!(error.contains("taken back to 1"), "{error}");
    }

    #[test]
    fn record_missing_in_the_whole_is_noticed() {
        let agreed = agreed();
        let mut watcher = Watcher::new(Tables::ALL);
        let mut whole: Vec<Record> = records(agreed.state(1).unwrap(), Tables::ALL).into_values().collect();
        whole.pop();
        watcher.hears(News::Forget, &agreed).unwrap();
        watcher.hears(News::Put(whole), &agreed).unwrap();
        assert!(watcher.hears(News::Complete(1), &agreed).is_err());
        assert!(Watcher::new(Tables::ALL).hears(News::Reached(1), &agreed).is_err());
    }
}
